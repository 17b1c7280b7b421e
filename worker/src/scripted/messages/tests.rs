//! Tests of [`super`].

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::read as read_body;
use crate::scripted::prompt::Prompt;
use crate::scripted::refusal::Refusal;
use crate::scripted::script::Script;
use crate::scripted::seal::Seal;

const GOOD: [(&str, &str); 3] =
    [("x-api-key", "k"), ("content-type", "application/json"), ("anthropic-version", "2026-10-21")];

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap()));
    pairs.collect()
}

fn good() -> Value {
    json!({
        "model": "m", "max_tokens": 10, "stream": true,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "Read", "description": "d", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "brief"}, {"type": "text", "text": "Role: worker\ndo"}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "1", "name": "Read", "input": {}},
                {"type": "tool_use", "id": "2", "name": "Read", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "2", "content": "two"},
                {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "one"}], "is_error": false},
                {"type": "text", "text": "go on"}]},
        ],
    })
}

fn check(headers: &HeaderMap, body: &Value, settings: &str) -> Result<Prompt, Refusal> {
    let script = Script::parse(&format!("version: 1\nreplies: []\n{settings}")).unwrap();
    read_body(headers, body.to_string().as_bytes(), &script.settings, false).map(|(prompt, _)| prompt)
}

fn read(body: &Value) -> Result<Prompt, Refusal> {
    check(&headers(&GOOD), body, "")
}

#[test]
fn a_proper_request_is_read() {
    let parsed = read(&good()).unwrap();
    assert_eq!(parsed.turns, 1);
    assert_eq!(parsed.user_texts, ["Role: worker\ndo", "go on"]);
    assert_eq!(parsed.tool_results, ["two", "one"]);
    assert_eq!(parsed.positions.len(), 9);
}

#[test]
fn headers_are_checked() {
    let check_headers = |pairs: &[(&str, &str)], status: u16, part: &str| {
        let refusal = check(&headers(pairs), &good(), "keys: [k]").unwrap_err();
        assert_eq!(refusal.status, status, "{refusal:?}");
        assert!(refusal.message.contains(part), "{refusal:?}");
    };
    check_headers(&GOOD[1..], 401, "x-api-key");
    check_headers(&[("x-api-key", "other"), GOOD[1], GOOD[2]], 401, "invalid x-api-key");
    check_headers(&[GOOD[0], GOOD[1], GOOD[2], ("authorization", "Bearer k")], 401, "only one");
    check_headers(&[GOOD[0], GOOD[2]], 400, "content-type");
    check_headers(&GOOD[..2], 400, "anthropic-version");
    check_headers(&[GOOD[0], GOOD[1], ("anthropic-version", "2024-01-01")], 400, "valid version");
    assert!(check(&headers(&GOOD[1..]), &good(), "keyless: true").is_ok());
}

/// Applies a change to a proper request and expects a refusal that says `part`.
fn refused(part: &str, change: impl FnOnce(&mut Value)) {
    let mut body = good();
    change(&mut body);
    let refusal = read(&body).expect_err(part);
    assert_eq!(refusal.status, 400);
    assert!(refusal.message.contains(part), "{part}: {refusal:?}");
}

fn marked(text: &str, ttl: &str) -> Value {
    json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": ttl}})
}

#[test]
fn fields_are_checked() {
    refused("max_tokens: Field required", |body| {
        body.as_object_mut().unwrap().remove("max_tokens");
    });
    refused("frobnicate: Extra inputs", |body| body["frobnicate"] = json!(1));
    refused("temperature", |body| body["temperature"] = json!(1.0));
    refused("output_config.effort", |body| body["output_config"] = json!({"effort": "huge"}));
    refused("unique", |body| {
        let tool = body["tools"][0].clone();
        body["tools"].as_array_mut().unwrap().push(tool);
    });
    refused("input_schema", |body| body["tools"][0]["input_schema"] = json!({}));
    refused("non-whitespace", |body| body["system"][0]["text"] = json!(" "));
    refused("messages.0.id", |body| body["messages"][0]["id"] = json!("m"));
    refused("not allowed", |body| body["messages"][0]["content"][0]["type"] = json!("thinking"));
    refused("Invalid `signature`", |body| {
        body["messages"][1]["content"][0] = json!({"type": "thinking", "thinking": "x", "signature": "forged"});
    });
    refused("0 is not allowed with stream", |body| body["max_tokens"] = json!(0));
}

#[test]
fn marks_are_checked() {
    refused("maximum of 4", |body| {
        body["messages"][0]["content"] = (0..4).map(|_| marked("x", "5m")).collect();
    });
    refused("must not come after", |body| body["messages"][0]["content"][0] = marked("x", "1h"));
    refused("'5m' or '1h'", |body| body["messages"][0]["content"][0] = marked("x", "2h"));
    refused("sub-block", |body| body["messages"][2]["content"][1]["content"][0] = marked("x", "5m"));
    refused("Extra inputs", |body| {
        let signature = Seal::default().sign(0, "");
        body["messages"][1]["content"][0] =
            json!({"type": "thinking", "thinking": "", "signature": signature, "cache_control": {"type": "ephemeral"}});
    });
}

#[test]
fn the_conversation_is_checked() {
    refused("without `tool_result`", |body| {
        body["messages"][2]["content"].as_array_mut().unwrap().remove(0);
    });
    refused("come first", |body| body["messages"][2]["content"].as_array_mut().unwrap().reverse());
    refused("unexpected `tool_use_id`", |body| {
        body["messages"][2]["content"][0]["tool_use_id"] = json!("9");
    });
    refused("unique", |body| body["messages"][1]["content"][1]["id"] = json!("1"));
    refused("prefill", |body| {
        body["messages"].as_array_mut().unwrap().push(json!({"role": "assistant", "content": "so"}));
    });
    refused("first message", |body| {
        body["messages"].as_array_mut().unwrap().remove(0);
    });
    refused("Input should be an object", |body| body["messages"][1]["content"][0]["input"] = json!(null));
    refused("non-empty content", |body| body["messages"][0]["content"] = json!([]));
    refused("at least one", |body| body["messages"] = json!([]));
}

#[test]
fn what_depends_on_the_version_does() {
    let old = [GOOD[0], GOOD[1], ("anthropic-version", "2023-06-01")];
    let taken = |change: fn(&mut Value), newer: bool| {
        let mut body = good();
        change(&mut body);
        check(&headers(if newer { &GOOD } else { &old }), &body, "").is_ok()
    };
    let cases: [fn(&mut Value); 5] = [
        |body| body["temperature"] = json!(1.0),
        |body| body["top_p"] = json!(1),
        |body| body["top_k"] = json!(1),
        |body| body["messages"][0]["content"][0]["citations"] = json!([{"type": "char_location"}]),
        |body| {
            let document = json!({"type": "document", "source": {"type": "text", "data": "d"}});
            body["messages"][1]["content"].as_array_mut().unwrap().insert(0, document);
        },
    ];
    for (index, change) in cases.into_iter().enumerate() {
        assert!(taken(change, false), "case {index} with the older version");
        assert!(!taken(change, true), "case {index} with the newer version");
    }
}

#[test]
fn thinking_is_checked_by_the_model() {
    let with = |model: &'static str, thinking: Value| {
        move |body: &mut Value| {
            body["model"] = json!(model);
            body["max_tokens"] = json!(5000);
            body["thinking"] = thinking.clone();
        }
    };
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    refused("'enabled' is not supported", with("claude-opus-4-7", budget(2000)));
    refused("greater than or equal to 1024", with("claude-opus-4-6", budget(1000)));
    refused("must be greater than", with("claude-opus-4-6", budget(5000)));
    refused("'disabled' is not supported", with("claude-fable-5-1", json!({"type": "disabled"})));
    refused("output_config.effort", |body| {
        with("claude-opus-5", json!({"type": "disabled"}))(body);
        body["output_config"] = json!({"effort": "max"});
    });
    refused("block_binding: Extra inputs", with("claude-opus-5-5", json!({"type": "adaptive", "block_binding": {}})));
    let mut proper = good();
    with("claude-opus-4-6", budget(2000))(&mut proper);
    read(&proper).unwrap();
}

#[test]
fn the_top_level_mark_takes_a_place_of_its_own() {
    let mut body = good();
    body["cache_control"] = json!({"type": "ephemeral"});
    let prompt = read(&body).unwrap();
    assert!(prompt.positions.last().unwrap().mark.is_some());
    refused("maximum of 4", |body| {
        body["cache_control"] = json!({"type": "ephemeral"});
        body["messages"][0]["content"] = (0..3).map(|_| marked("x", "5m")).collect();
    });
    refused("another ttl", |body| {
        body["cache_control"] = json!({"type": "ephemeral", "ttl": "1h"});
        body["messages"][2]["content"][2] = marked("go on", "5m");
    });
}

#[test]
fn a_prewarm_asks_for_nothing_else() {
    let mut body = good();
    body["max_tokens"] = json!(0);
    body["stream"] = json!(false);
    assert!(read(&body).unwrap().prewarm);
    for (part, field, value) in [
        ("thinking", "thinking", json!({"type": "adaptive"})),
        ("output_config.format", "output_config", json!({"format": {"type": "json_schema"}})),
        ("tool_choice", "tool_choice", json!({"type": "any"})),
    ] {
        let mut body = body.clone();
        body[field] = value;
        let refusal = read(&body).expect_err(part);
        assert!(refusal.message.contains(&format!("0 is not allowed with {part}")), "{refusal:?}");
    }
}

#[test]
fn an_operator_speaks_between_turns_where_the_model_listens() {
    let spoken = |model: &str| {
        let mut body = good();
        body["model"] = json!(model);
        body["messages"].as_array_mut().unwrap().push(json!({"role": "system", "content": "hurry"}));
        read(&body)
    };
    spoken("claude-opus-5-5").unwrap();
    assert!(spoken("claude-sonnet-5").unwrap_err().message.contains("'system' is not supported"));
}

/// A conversation whose assistant has thought, with what it thought and signed.
fn thought(model: &str, brief: &str, signature: &str) -> Value {
    json!({
        "model": model, "max_tokens": 10, "stream": true,
        "messages": [
            {"role": "user", "content": brief},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "", "signature": signature},
                {"type": "text", "text": "so"}]},
            {"role": "user", "content": "go on"},
        ],
    })
}

#[test]
fn a_thinking_block_is_bound_to_what_stands_before_it_where_the_model_binds() {
    let mut seal = Seal::default();
    seal.push("user", json!({"type": "text", "text": "brief"}).as_object().unwrap());
    let signature = seal.sign(0, "");
    for model in ["claude-opus-5-5", "claude-opus-5"] {
        read(&thought(model, "brief", &signature)).unwrap();
    }
    let moved = thought("claude-opus-5-5", "another", &signature);
    assert!(read(&moved).unwrap_err().message.contains("bound to a different conversation"));
    read(&thought("claude-opus-5", "another", &signature)).unwrap();
    check(&headers(&GOOD), &moved, "models: { \"*\": { bound: false } }").unwrap();
    let betas = [GOOD[0], GOOD[1], GOOD[2], ("anthropic-beta", "thinking-binding-controls-2026-08-01")];
    let mut dropping = moved;
    dropping["thinking"] = json!({"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}});
    assert_eq!(check(&headers(&betas), &dropping, "").unwrap().positions.len(), 3);
    assert!(read(&thought("claude-opus-5", "brief", "sig_")).unwrap_err().message.contains("Invalid `signature`"));
}

#[test]
fn a_mark_a_null_and_the_order_of_fields_do_not_move_a_block() {
    let of = |block: Value| {
        let mut seal = Seal::default();
        seal.push("user", block.as_object().unwrap());
        seal.sign(0, "hm")
    };
    let plain = of(json!({"type": "text", "text": "a"}));
    let dressed = json!({"citations": null, "text": "a", "type": "text", "cache_control": {"type": "ephemeral"}});
    assert_eq!(of(dressed), plain);
    assert_ne!(of(json!({"type": "text", "text": "b"})), plain);
    let call = |input: Value| of(json!({"type": "tool_use", "id": "1", "name": "n", "input": input}));
    assert_ne!(call(json!({"a": 1, "b": 2})), call(json!({"b": 2, "a": 1})), "an input counts to the byte");
}
