//! Tests of [`super`].

mod tails;
mod trackers;
mod wires;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    MARKS_MAX, PrefixTtl, RawMessage, Rendered, RequestOptions, SharedPrefix, ToolDefinition, first_message, render,
    split_first,
};

fn tool(name: &str) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        description: format!("does {name}"),
        input_schema: r#"{"type":"object"}"#.to_owned(),
    }
}

fn shared() -> SharedPrefix {
    SharedPrefix::new(vec![tool("Read"), tool("Bash")], "be exact", "the brief").unwrap()
}

fn options(max_tokens: u32) -> RequestOptions {
    RequestOptions {
        model: "claude-sonnet-5-5".to_owned(),
        max_tokens,
        effort: Some("high".to_owned()),
        stream: true,
        prefix_ttl: PrefixTtl::FiveMinutes,
        min_cache_tokens: 0,
        tail: String::new(),
    }
}

fn messages(texts: &[String]) -> Vec<RawMessage> {
    texts.iter().map(|text| RawMessage::parse(text).unwrap()).collect()
}

fn assistant(blocks: &Value) -> String {
    json!({"role": "assistant", "content": blocks}).to_string()
}

fn user(blocks: &Value) -> String {
    json!({"role": "user", "content": blocks}).to_string()
}

/// Paths of all marks in a body, in document order.
fn marks(rendered: &Rendered) -> Vec<String> {
    fn walk(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    if key == "cache_control" {
                        found.push(path.to_owned());
                    }
                    walk(&format!("{path}/{key}"), inner, found);
                }
            }
            Value::Array(list) => {
                for (index, inner) in list.iter().enumerate() {
                    walk(&format!("{path}/{index}"), inner, found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let body: Value = serde_json::from_slice(&rendered.bytes).unwrap();
    let mut found = Vec::new();
    walk("", &body, &mut found);
    found
}

#[test]
fn a_first_request_is_laid_out_as_the_essay_says() {
    let rendered = render(&shared(), "step api", &[], &options(100));
    insta::assert_snapshot!(String::from_utf8(rendered.bytes.clone()).unwrap(), @r#"{"model":"claude-sonnet-5-5","output_config":{"effort":"high"},"tools":[{"name":"Bash","description":"does Bash","input_schema":{"type":"object"}},{"name":"Read","description":"does Read","input_schema":{"type":"object"}}],"system":[{"type":"text","text":"be exact","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"the brief","cache_control":{"type":"ephemeral"}},{"type":"text","text":"step api","cache_control":{"type":"ephemeral"}}]}],"max_tokens":100,"stream":true}"#);
    let shared_part = std::str::from_utf8(&rendered.bytes[..rendered.prefix_len]).unwrap();
    let end = r#"[{"type":"text","text":"the brief","cache_control":{"type":"ephemeral"}}"#;
    assert!(shared_part.ends_with(end), "{shared_part}");
}

#[test]
fn the_marks_roll_with_the_conversation() {
    let check = |history: &[String], expected: &[&str]| {
        let rendered = render(&shared(), "step", &messages(history), &options(100));
        assert_eq!(marks(&rendered), expected, "{history:?}");
    };
    let call = assistant(&json!([
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "tool_use", "id": "1", "name": "Read", "input": {}},
    ]));
    let result = user(&json!([{"type": "tool_result", "tool_use_id": "1", "content": "x"}]));
    let (a, b, worker) = ("/system/0", "/messages/0/content/0", "/messages/0/content/1");
    check(&[], &[a, b, worker]);
    check(&[call.clone(), result.clone()], &[a, b, worker, "/messages/2/content/0"]);
    check(
        &[call.clone(), result.clone(), call.clone(), result.clone()],
        &[a, b, "/messages/2/content/0", "/messages/4/content/0"],
    );
    // A thinking block and blank text never carry one: the mark falls back to the block before.
    let thinking_last = assistant(&json!([
        {"type": "text", "text": "so"},
        {"type": "text", "text": " "},
        {"type": "thinking", "thinking": "", "signature": "s"},
    ]));
    check(&[call, result, thinking_last], &[a, b, "/messages/2/content/0", "/messages/3/content/0"]);
}

#[test]
fn what_a_provider_would_reject_is_refused() {
    let check = |json: &str, part: &str| {
        let error = RawMessage::parse(json).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check("[]", "invalid");
    check(r#"{"role":"system","content":[]}"#, "system");
    check(r#"{"role":"user","content":[]}"#, "no block");
    check(r#"{"role":"user","content":[{"type":"text","text":"x"}],"id":"m"}"#, "id");
    check(r#"{"role":"user","content":[{"type":"text","text":"x","cache_control":{}}]}"#, "marked");
    let twice = SharedPrefix::new(vec![tool("A"), tool("A")], "s", "").unwrap_err();
    assert!(twice.to_string().contains("two tools"), "{twice}");
    let mut broken = tool("A");
    broken.input_schema = "[]".to_owned();
    assert!(SharedPrefix::new(vec![broken], "s", "").is_err());
    assert!(SharedPrefix::new(vec![], " \n", "").is_err());
}

#[test]
fn what_is_surely_too_short_to_be_cached_is_not_marked() {
    let history = messages(&[
        assistant(&json!([{"type": "tool_use", "id": "1", "name": "Read", "input": {}}])),
        user(&json!([{"type": "tool_result", "tool_use_id": "1", "content": "x".repeat(1000)}])),
    ]);
    let (a, b, worker, tail) = ("/system/0", "/messages/0/content/0", "/messages/0/content/1", "/messages/2/content/0");
    let prefix = render(&shared(), "step", &[], &options(1)).prefix_len as u64;
    for (min, history, expected) in [
        (0, &[][..], vec![a, b, worker]),
        (prefix / 2, &[], vec![a, b, worker]),
        // The first request is too short as well, a later one is not: only what rolls can be cached.
        (prefix, &[], vec![]),
        (prefix, &history, vec![worker, tail]),
    ] {
        let options = RequestOptions { min_cache_tokens: min, ..options(1) };
        let one = render(&shared(), "step", history, &options);
        assert_eq!(marks(&one), expected, "{min}");
        let other = render(&shared(), "another", &[], &options);
        assert_eq!(one.prefix_sha, other.prefix_sha, "it is the same for all workers: {min}");
    }
}

#[test]
fn the_long_time_to_live_stands_before_the_short_one() {
    let hour = RequestOptions { prefix_ttl: PrefixTtl::OneHour, ..options(1) };
    let body = String::from_utf8(render(&shared(), "w", &[], &hour).bytes).unwrap();
    let long = body.rfind("\"ttl\":\"1h\"").unwrap();
    assert_eq!(body.matches("\"ttl\":\"1h\"").count(), 2);
    assert!(long < body.rfind("cache_control").unwrap());
}

fn arb_turn() -> impl Strategy<Value = Vec<String>> {
    let block = prop_oneof![
        "\\PC{1,12}".prop_map(|text| json!({"type": "text", "text": format!("t{text}")})),
        "\\PC{0,6}".prop_map(|text| json!({"type": "thinking", "thinking": text, "signature": "s"})),
        Just(json!({"type": "text", "text": " "})),
    ];
    (prop::collection::vec(block, 0..4), 1usize..25).prop_map(|(mut blocks, calls)| {
        let mut results = Vec::new();
        for call in 0..calls {
            blocks.push(json!({"type": "tool_use", "id": format!("c{call}"), "name": "Read", "input": {}}));
            results.push(json!({"type": "tool_result", "tool_use_id": format!("c{call}"), "content": "ok"}));
        }
        vec![assistant(&Value::from(blocks)), user(&Value::from(results))]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_shared_bytes_do_not_depend_on_the_worker(
        worker in "\\PC{1,40}", other in "\\PC{1,40}", brief in "\\PC{0,40}",
        turns in prop::collection::vec(arb_turn(), 0..4), max_tokens in 1u32..9000,
    ) {
        let shared = SharedPrefix::new(vec![tool("Write"), tool("Ask")], "system", &brief).unwrap();
        let history = messages(&turns.concat());
        let one = render(&shared, &worker, &history, &options(max_tokens));
        let two = render(&shared, &other, &[], &options(7));
        prop_assert_eq!(&one.bytes[..one.prefix_len], &two.bytes[..two.prefix_len]);
        prop_assert_eq!(&one.prefix_sha, &two.prefix_sha);
        let found = marks(&one);
        prop_assert!(found.len() <= MARKS_MAX, "{found:?}");
        prop_assert!(!String::from_utf8_lossy(&one.bytes[..one.prefix_len]).contains("max_tokens"));
    }

    #[test]
    fn a_request_holds_the_one_before_it_verbatim(
        turns in prop::collection::vec(arb_turn(), 1..5),
    ) {
        let all = turns.concat();
        let longer = render(&shared(), "w", &messages(&all), &options(5));
        let shorter = render(&shared(), "w", &messages(&all[..all.len() - 2]), &options(5));
        let bare = |rendered: &Rendered| {
            String::from_utf8(rendered.bytes.clone()).unwrap().replace(super::MARK, "")
        };
        let (longer_text, shorter_text) = (bare(&longer), bare(&shorter));
        let end = shorter_text.rfind("],\"max_tokens\"").unwrap();
        prop_assert!(longer_text.starts_with(&shorter_text[..end]));
        for text in &all {
            prop_assert!(longer_text.contains(text.as_str()));
        }
        // C stands exactly where D stood one request earlier.
        let (now, before) = (marks(&longer), marks(&shorter));
        prop_assert!(now.contains(before.last().unwrap()), "{now:?} {before:?}");
    }

    #[test]
    fn a_first_message_is_split_as_it_was_joined(brief in "\\PC{1,30}", worker in "\\PC{1,30}") {
        let shared = SharedPrefix::new(vec![], "s", &format!("b{brief}")).unwrap();
        let text = first_message(&shared, &format!("w{worker}"));
        prop_assert_eq!(split_first(&text).unwrap(), (format!("b{brief}"), format!("w{worker}")));
    }
}
