//! Tests of [`super`]: the recorded stream, and what servers do differently.

use wattle_cache::prefix::Codec;

use super::super::Stop;
use super::super::assemble::recorded::{Ended, Message, STREAMS, read, read_data, read_whole};

const WIRE: Codec = Codec::OpenaiChat;

#[test]
fn calls_are_echoed_with_their_arguments_as_text() {
    let Ended::Complete(message) = read(WIRE, STREAMS[1].1) else { panic!() };
    insta::assert_snapshot!(message.content.join("\n"), @r#"
    {"type":"opaque","raw":{"reasoning_content":"hm, ja"}}
    {"type":"text","text":"Ich ändere 😀"}
    {"type":"tool_use","id":"call_a","name":"Read","input":{"file_path": "ä.rs", "limit": 1.0},"raw":{"id":"call_a","type":"function","function":{"name":"Read","arguments":"{\"file_path\": \"ä.rs\", \"limit\": 1.0}"}}}
    {"type":"tool_use","id":"call_b","name":"Glob","input":{},"raw":{"id":"call_b","type":"function","function":{"name":"Glob","arguments":"{}"},"extra_content":{"google":{"thought_signature":"s=="}}}}
    "#);
}

/// A quirk: the data of a stream, and what has to come of it.
struct Quirk {
    name: &'static str,
    data: &'static [&'static str],
    text: &'static str,
    calls: &'static [(&'static str, &'static str, &'static str)],
    stop: Stop,
    exact: bool,
}

const QUIRKS: &[Quirk] = &[
    Quirk {
        name: "(b) no index",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"Read","arguments":"{\"x\""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"Glob","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("a", "Read", r#"{"x":1}"#), ("b", "Glob", "{}")],
        stop: Stop::ToolUse,
        exact: false,
    },
    Quirk {
        name: "(b) every call at index 0, each with an id of its own",
        data: &[
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":"{\"x\":1}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"Read","arguments":"{\"x\":2}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("a", "Read", r#"{"x":1}"#), ("b", "Read", r#"{"x":2}"#)],
        stop: Stop::ToolUse,
        exact: false,
    },
    Quirk {
        name: "(b) the id and the name repeated with every delta",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":"{\"x\""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("a", "Read", r#"{"x":1}"#)],
        stop: Stop::ToolUse,
        exact: false,
    },
    Quirk {
        name: "(b) empty ids, all at index 0",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"Read","arguments":"{\"x\":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"","function":{"name":"Read","arguments":"{\"x\":2}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("call_0", "Read", r#"{"x":1}"#), ("call_1", "Read", r#"{"x":2}"#)],
        stop: Stop::ToolUse,
        exact: false,
    },
    Quirk {
        name: "(b) one id for two calls at two places",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"Read","arguments":"{}"}},{"index":1,"id":"x","function":{"name":"Glob","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("x", "Read", "{}"), ("x_1", "Glob", "{}")],
        stop: Stop::ToolUse,
        exact: false,
    },
    Quirk {
        name: "(b) arguments as an object",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":{"b": 1.0,"a":[2]}}}]},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("a", "Read", r#"{"b": 1.0,"a":[2]}"#)],
        stop: Stop::ToolUse,
        exact: false,
    },
    Quirk {
        name: "(c) stop although tools are called, (d) counts in a chunk with no choices",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3}}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("a", "Read", "{}")],
        stop: Stop::ToolUse,
        exact: true,
    },
    Quirk {
        name: "(d) no choices at all, DeepSeek's counts",
        data: &[
            r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}"#,
            r#"{"choices":null,"usage":{"prompt_tokens":10,"completion_tokens":3,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":2}}"#,
            "[DONE]",
        ],
        text: "hi",
        calls: &[],
        stop: Stop::End,
        exact: true,
    },
    Quirk {
        name: "(e) no [DONE] after the finish reason, (g) null and empty content, (h) the role repeated",
        data: &[
            r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":"hi"}}]}"#,
            r#"{"choices":[{"delta":{"role":"assistant","content":null},"finish_reason":"stop"}]}"#,
        ],
        text: "hi",
        calls: &[],
        stop: Stop::End,
        exact: false,
    },
    Quirk {
        name: "(f) thoughts apart from text, (j) unknown fields everywhere, null lists",
        data: &[
            r#"{"x":1,"choices":[{"y":2,"delta":{"z":3,"reasoning":"hm","tool_calls":null},"logprobs":null,"finish_reason":null}],"usage":null,"error":null}"#,
            r#"{"choices":[{"delta":{"content":[{"type":"text","text":"hi"}]},"finish_reason":"eos"}],"timings":{"cache_n":3}}"#,
            "[DONE]",
        ],
        text: "hi",
        calls: &[],
        stop: Stop::End,
        exact: false,
    },
    Quirk {
        name: "(i) arguments that are no JSON",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":"{\"x\": oops"}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("a", "Read", r#"{"invalid_json":"{\"x\": oops"}"#)],
        stop: Stop::ToolUse,
        exact: false,
    },
    Quirk {
        name: "a cut at the bound, a call under way",
        data: &[
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":"{\"x\""}}]},"finish_reason":"length"}]}"#,
            "[DONE]",
        ],
        text: "",
        calls: &[("a", "Read", r#"{"invalid_json":"{\"x\""}"#)],
        stop: Stop::MaxTokens,
        exact: false,
    },
    Quirk {
        name: "a refusal, and a filter",
        data: &[r#"{"choices":[{"delta":{"refusal":"I will not"},"finish_reason":"stop"}]}"#, "[DONE]"],
        text: "I will not",
        calls: &[],
        stop: Stop::Refusal { category: None },
        exact: false,
    },
    Quirk {
        name: "another choice that nobody asked for",
        data: &[
            r#"{"choices":[{"index":1,"delta":{"content":"no"}},{"index":0,"delta":{"content":"yes"},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
        text: "yes",
        calls: &[],
        stop: Stop::End,
        exact: false,
    },
];

#[test]
fn every_quirk_is_taken() {
    for quirk in QUIRKS {
        let message: Message = read_data(WIRE, quirk.data);
        assert_eq!(message.text(), quirk.text, "{}", quirk.name);
        assert_eq!(message.calls(), quirk.calls, "{}", quirk.name);
        assert_eq!((&message.stop, message.exact), (&quirk.stop, quirk.exact), "{}", quirk.name);
    }
}

#[test]
fn counts_of_the_prompt_leave_out_what_was_cached() {
    let message = read_data(
        WIRE,
        &[
            r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":3,"prompt_cache_hit_tokens":8}}"#,
            "[DONE]",
        ],
    );
    assert_eq!((message.tokens.uncached_in, message.tokens.cache_read, message.tokens.out), (2, 8, 3));
    // A server that counts wrongly gives no negative numbers.
    let odd = read_data(
        WIRE,
        &[
            r#"{"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":9}}}"#,
            "[DONE]",
        ],
    );
    assert_eq!((odd.tokens.uncached_in, odd.tokens.cache_read), (0, 9));
}

/// (a): a body in place of a stream; (e): neither a finish reason nor `[DONE]`.
#[test]
fn a_reply_that_came_whole_is_read_and_one_that_broke_is_not() {
    let body = r#"{"id":"x","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"Read","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#;
    let Ended::Complete(message) = read_whole(WIRE, body) else { panic!() };
    assert_eq!((message.calls(), message.exact), (vec![("a", "Read", "{}")], true));
    assert!(matches!(read_whole(WIRE, r#"{"error":"model not loaded"}"#), Ended::Failed(_)));
    assert!(matches!(read_whole(WIRE, "{}"), Ended::Unreadable(why) if !why.is_empty()));
    for stream in ["data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n", "data: [DONE]\n\n", ""] {
        assert!(matches!(read(WIRE, stream.as_bytes()), Ended::Truncated), "{stream}");
    }
}

#[test]
fn errors_of_every_shape_end_the_stream() {
    for stream in [
        "data: {\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}\n\n",
        "event: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n",
        "data: {\"object\":\"error\",\"message\":\"m\",\"code\":500}\n\n",
        "data: {\"error\":\"m\"}\n\n",
    ] {
        let ended = read(WIRE, stream.as_bytes());
        assert!(matches!(&ended, Ended::Failed(words) if words.message == "m"), "{stream}: {ended:?}");
    }
}
