//! Tests of [`super`].

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::{Parsed, Refusal, check};

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

fn read(body: &Value) -> Result<Parsed, Refusal> {
    check(&headers(&GOOD), body.to_string().as_bytes(), false)
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
        let refusal = check(&headers(pairs), good().to_string().as_bytes(), false).unwrap_err();
        assert_eq!(refusal.status, status, "{refusal:?}");
        assert!(refusal.message.contains(part), "{refusal:?}");
    };
    check_headers(&GOOD[1..], 401, "x-api-key");
    check_headers(&[GOOD[0], GOOD[1], GOOD[2], ("authorization", "Bearer k")], 401, "only one");
    check_headers(&[GOOD[0], GOOD[2]], 400, "content-type");
    check_headers(&GOOD[..2], 400, "anthropic-version");
    check_headers(&[GOOD[0], GOOD[1], ("anthropic-version", "2024-01-01")], 400, "valid version");
}

/// Applies a change to a proper request and expects a refusal that says `part`.
fn refused(part: &str, change: impl FnOnce(&mut Value)) {
    let mut body = good();
    change(&mut body);
    let refusal = read(&body).expect_err(part);
    assert_eq!((refusal.status, refusal.kind), (400, "invalid_request_error"));
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
        let signature = crate::scripted::wire::signature("");
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
