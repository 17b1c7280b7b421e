//! Tests of [`super`].

use super::super::sse::Event;
use super::super::{Block, Stop};
use super::{Assembly, Progress};

fn assemble(events: &[(&str, &str)]) -> (Assembly, Vec<Progress>) {
    let mut assembly = Assembly::default();
    let mut progress = Vec::new();
    for (name, data) in events {
        let event = Event { name: (*name).to_owned(), data: (*data).to_owned() };
        progress.push(assembly.take(&event).unwrap());
    }
    (assembly, progress)
}

#[test]
fn blocks_are_echoed_as_they_came() {
    let (assembly, progress) = assemble(&[
        (
            "message_start",
            r#"{"message":{"usage":{"input_tokens":3,"cache_creation_input_tokens":10,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":6,"ephemeral_1h_input_tokens":4}}}}"#,
        ),
        ("ping", "{}"),
        ("content_block_start", r#"{"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#),
        ("content_block_delta", r#"{"index":0,"delta":{"type":"signature_delta","signature":"s1"}}"#),
        ("content_block_stop", r#"{"index":0}"#),
        ("content_block_start", r#"{"index":1,"content_block":{"type":"redacted_thinking","data":"A=="}}"#),
        ("content_block_start", r#"{"index":2,"content_block":{"type":"text","text":""}}"#),
        ("content_block_delta", r#"{"index":2,"delta":{"type":"text_delta","text":"ein "}}"#),
        ("content_block_delta", r#"{"index":2,"delta":{"type":"text_delta","text":"Wörtchen\n"}}"#),
        (
            "content_block_start",
            r#"{"index":3,"content_block":{"id":"t1","type":"tool_use","name":"Edit","input":{},"caller":{"z":1,"a":2.50}}}"#,
        ),
        ("content_block_delta", r#"{"index":3,"delta":{"type":"input_json_delta","partial_json":"{\"b\": 1.0, "}}"#),
        ("content_block_delta", r#"{"index":3,"delta":{"type":"input_json_delta","partial_json":"\"a\":1e2}"}}"#),
        ("content_block_start", r#"{"index":4,"content_block":{"type":"of_tomorrow","x":[1, 2]}}"#),
        ("of_tomorrow", "not json"),
        ("message_delta", r#"{"delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}"#),
        ("message_delta", r#"{"delta":{"stop_reason":null},"usage":{"output_tokens":9}}"#),
        ("message_stop", "{}"),
    ]);
    assert_eq!(progress.last(), Some(&Progress::Complete));
    assert!(assembly.exact());
    let tokens = assembly.tokens();
    assert_eq!((tokens.uncached_in, tokens.cache_read, tokens.out), (3, 7, 9));
    assert_eq!((tokens.cache_write_short, tokens.cache_write_long), (6, 4));
    let message = assembly.finish();
    assert_eq!(message.stop, Stop::ToolUse);
    insta::assert_snapshot!(message.message_json, @r#"{"role":"assistant","content":[{"type":"thinking","thinking":"","signature":"s1"},{"type":"redacted_thinking","data":"A=="},{"type":"text","text":"ein Wörtchen\n"},{"id":"t1","type":"tool_use","name":"Edit","input":{"b": 1.0, "a":1e2},"caller":{"z":1,"a":2.50}},{"type":"of_tomorrow","x":[1, 2]}]}"#);
    assert!(matches!(&message.blocks[3], Block::ToolUse { input, .. } if input.get() == "{\"b\": 1.0, \"a\":1e2}"));
}

#[test]
fn a_tool_input_that_is_no_object_is_wrapped() {
    for given in ["{\"a\":", "[1]", "null"] {
        let delta = serde_json::json!({
            "index": 0, "delta": {"type": "input_json_delta", "partial_json": given},
        });
        let (assembly, _) = assemble(&[
            (
                "content_block_start",
                r#"{"index":0,"content_block":{"type":"tool_use","id":"t","name":"Read","input":{}}}"#,
            ),
            ("content_block_delta", &delta.to_string()),
        ]);
        let wrapped = serde_json::json!({ "invalid_json": given }).to_string();
        assert!(matches!(&assembly.finish().blocks[0], Block::ToolUse { input, .. } if input.get() == wrapped));
    }
}

#[test]
fn an_empty_argument_stream_leaves_the_input_of_the_start() {
    let (assembly, _) = assemble(&[
        (
            "content_block_start",
            r#"{"index":0,"content_block":{"type":"tool_use","id":"t","name":"Read","input":{"file_path":"a"}}}"#,
        ),
        ("content_block_delta", r#"{"index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#),
    ]);
    let message = assembly.finish();
    assert!(matches!(&message.blocks[0], Block::ToolUse { input, .. } if input.get() == r#"{"file_path":"a"}"#));
}

#[test]
fn an_error_event_is_reported_and_counts_are_not_exact() {
    let (assembly, progress) = assemble(&[
        ("message_start", r#"{"message":{"usage":{"input_tokens":3}}}"#),
        ("error", r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#),
    ]);
    assert_eq!(
        progress.last(),
        Some(&Progress::Failed { code: "overloaded_error".to_owned(), message: "busy".to_owned() })
    );
    assert!(!assembly.exact());
    assert_eq!(assembly.tokens().uncached_in, 3);
}
