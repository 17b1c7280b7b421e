//! Tests of [`super`]: items as they are echoed.

use wattle_cache::prefix::Codec;

use super::super::Stop;
use super::super::assemble::recorded::{Ended, STREAMS, read, read_data, read_whole};

const WIRE: Codec = Codec::OpenaiResponses;

#[test]
fn items_are_echoed_as_they_came() {
    let Ended::Complete(message) = read(WIRE, STREAMS[2].1) else { panic!() };
    insta::assert_snapshot!(message.content.join("\n"), @r#"
    {"type":"opaque","raw":{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"gAAA=="}}
    {"type":"text","text":"Ich ändere 😀","raw":{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Ich ändere 😀","annotations":[]}]}}
    {"type":"tool_use","id":"call_a","name":"Read","input":{"file_path": "ä.rs", "limit": 1.0},"raw":{"id":"fc_1","type":"function_call","status":"completed","call_id":"call_a","name":"Read","arguments":"{\"file_path\": \"ä.rs\", \"limit\": 1.0}"}}
    {"type":"opaque","raw":{"id":"x_1","type":"item_of_tomorrow","z":1,"a":[2.5]}}
    "#);
}

const CREATED: &str = r#"{"type":"response.created","response":{"id":"r","model":"m","status":"in_progress"}}"#;

#[test]
fn the_end_says_why() {
    let check = |last: &str, expected: Stop| {
        let message = read_data(WIRE, &[CREATED, last]);
        assert_eq!(message.stop, expected, "{last}");
    };
    check(
        r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}"#,
        Stop::MaxTokens,
    );
    check(
        r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}"#,
        Stop::ContentFilter,
    );
    check(r#"{"type":"response.completed","response":{"status":"completed","output":[]}}"#, Stop::End);
    check(
        r#"{"type":"response.completed","response":{"output":[{"type":"message","content":[{"type":"refusal","refusal":"no"}]}]}}"#,
        Stop::Refusal { category: None },
    );
}

#[test]
fn errors_of_every_shape_end_the_stream() {
    for data in [
        r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"m"}}}"#,
        r#"{"type":"error","code":"server_error","message":"m","param":null}"#,
        r#"{"type":"error","error":{"type":"x","code":"server_error","message":"m"}}"#,
    ] {
        let ended = read(WIRE, format!("data: {CREATED}\n\ndata: {data}\n\n").as_bytes());
        assert!(
            matches!(&ended, Ended::Failed(words) if words.code == "server_error" && words.message == "m"),
            "{ended:?}"
        );
    }
}

#[test]
fn what_servers_leave_out_is_made_good() {
    // Arguments only in their own event, one id twice, the stream ended as on the other wire.
    let item = |index: u32| {
        format!(
            r#"{{"type":"response.output_item.done","output_index":{index},"item":{{"type":"function_call","call_id":"c","name":"Read","arguments":""}}}}"#
        )
    };
    let message = read_data(
        WIRE,
        &[
            CREATED,
            r#"{"type":"response.function_call_arguments.done","output_index":0,"arguments":"{\"a\":1}"}"#,
            &item(0),
            &item(1),
            r#"{"type":"response.completed","response":{"status":"completed"}}"#,
            "[DONE]",
        ],
    );
    assert_eq!(message.calls(), [("c", "Read", r#"{"a":1}"#), ("c_1", "Read", "{}")]);
    assert!(message.content[0].contains(r#""arguments":"{\"a\":1}""#), "{:?}", message.content);
    assert!(message.content[1].contains(r#""call_id":"c_1""#), "{:?}", message.content);
    assert!(!message.exact);
}

#[test]
fn a_reply_that_came_whole_is_read_as_well() {
    let body = r#"{"id":"r","model":"m","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":5,"output_tokens":2}}"#;
    let Ended::Complete(message) = read_whole(WIRE, body) else { panic!() };
    assert_eq!((message.text().as_str(), message.exact), ("hi", true));
    let failed = r#"{"status":"failed","error":{"code":"rate_limit_exceeded","message":"m"},"output":[]}"#;
    assert!(matches!(read_whole(WIRE, failed), Ended::Failed(words) if words.code == "rate_limit_exceeded"));
    assert!(matches!(read_whole(WIRE, r#"{"error":{"message":"m"}}"#), Ended::Failed(_)));
    assert!(matches!(read_whole(WIRE, "{}"), Ended::Unreadable(why) if !why.is_empty()));
}
