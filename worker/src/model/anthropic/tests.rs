//! Tests of [`super`]: blocks as they are echoed.

use wattle_cache::prefix::Codec;

use super::super::Stop;
use super::super::assemble::recorded::{Ended, Message, STREAMS, read, read_data, read_whole};

const WIRE: Codec = Codec::AnthropicMessages;

fn recorded() -> Message {
    match read(WIRE, STREAMS[0].1) {
        Ended::Complete(message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn blocks_are_echoed_as_they_came() {
    let message = recorded();
    insta::assert_snapshot!(message.content.join("\n"), @r#"
    {"type":"thinking","thinking":"","signature":"EqQBCg=="}
    {"type":"redacted_thinking","data":"QUJD"}
    {"type":"text","text":"Ich ändere die Datei: 😀\n"}
    {"type":"tool_use","id":"toolu_01","name":"Edit","input":{"file_path": "src/a.rs", "line": 1.0, "n": 1e2, "new_string": "ä\n"},"caller":{"type":"direct"}}
    {"type":"block_of_tomorrow","x":[1,2]}
    "#);
    assert_eq!(
        message.calls(),
        [("toolu_01", "Edit", r#"{"file_path": "src/a.rs", "line": 1.0, "n": 1e2, "new_string": "ä\n"}"#)]
    );
    assert_eq!(message.served.as_deref(), Some("claude-sonnet-5-5-20261001"));
}

const START: &str = r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

#[test]
fn a_stream_whose_events_have_no_names_is_read_by_their_types() {
    let message = read_data(
        WIRE,
        &[
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"Read","input":{"file_path":"a"}}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":9}}"#,
            STOP,
        ],
    );
    assert_eq!(message.calls(), [("t", "Read", r#"{"file_path":"a"}"#)], "the input of the start stays");
    assert_eq!((message.stop, message.tokens.out, message.exact), (Stop::ToolUse, 9, true));
}

#[test]
fn inputs_that_are_no_objects_are_wrapped_and_ids_are_unique() {
    let block = |index: u32, json: &str| {
        let delta = serde_json::json!({
            "type": "content_block_delta", "index": index,
            "delta": {"type": "input_json_delta", "partial_json": json},
        });
        let start = format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"same","name":"Read","input":{{}}}}}}"#
        );
        [start, delta.to_string()]
    };
    let events = [block(0, "{\"a\":"), block(1, "[1]"), block(2, "null")].concat();
    let mut all = vec![START];
    all.extend(events.iter().map(String::as_str));
    all.push(STOP);
    let message = read_data(WIRE, &all);
    let calls = message.calls();
    assert_eq!(calls[0], ("same", "Read", r#"{"invalid_json":"{\"a\":"}"#));
    assert_eq!(calls[1], ("same_1", "Read", r#"{"invalid_json":"[1]"}"#));
    assert_eq!(calls[2].2, r#"{"invalid_json":"null"}"#);
    assert!(message.content[1].contains(r#""id":"same_1""#), "the echo names it as the results will");
    assert!(!message.exact, "nobody has counted the output");
}

#[test]
fn a_reply_that_came_whole_is_read_as_well() {
    let body = r#"{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":" \n"},{"type":"text","text":"hi"},{"type":"tool_use","id":"t","name":"Read","input":{"a": 1.50}}],"stop_reason":"refusal","stop_details":{"category":"cyber"},"usage":{"input_tokens":4,"output_tokens":2}}"#;
    let Ended::Complete(message) = read_whole(WIRE, body) else { panic!() };
    assert_eq!(message.content.len(), 2, "blank text would be refused in a request");
    assert_eq!(message.text(), "hi");
    assert_eq!(message.stop, Stop::Refusal { category: Some("cyber".to_owned()) });
    assert!(message.exact);
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    assert!(matches!(read_whole(WIRE, error), Ended::Failed(words) if words.code == "overloaded_error"));
    assert!(matches!(read_whole(WIRE, "{}"), Ended::Unreadable(why) if !why.is_empty()));
}

#[test]
fn an_error_event_ends_the_stream() {
    let stream = format!(
        "data: {START}\n\nevent: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\"message\":\"m\"}}}}\n\n"
    );
    assert!(matches!(read(WIRE, stream.as_bytes()), Ended::Failed(words) if words.code == "api_error"));
    // Whatever an error holds, it is one.
    assert!(matches!(read(WIRE, b"event: error\ndata: oh no\n\n"), Ended::Failed(words) if words.message == "oh no"));
}

#[test]
fn every_stop_reason_is_told() {
    for (reason, expected) in [
        ("end_turn", Stop::End),
        ("max_tokens", Stop::MaxTokens),
        ("stop_sequence", Stop::StopSequence),
        ("pause_turn", Stop::Pause),
        ("model_context_window_exceeded", Stop::ContextFull),
        ("compaction", Stop::Other("compaction".to_owned())),
    ] {
        let delta = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{}}}}"#);
        assert_eq!(read_data(WIRE, &[START, &delta, STOP]).stop, expected, "{reason}");
    }
}
