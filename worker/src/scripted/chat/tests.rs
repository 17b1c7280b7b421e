//! Tests of [`super`]: what is refused. What is answered is tested over the wire, in `scripted/tests`.

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::read as read_body;
use crate::scripted::prompt::{Life, Prompt};
use crate::scripted::refusal::Refusal;
use crate::scripted::script::Script;

fn headers(key: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_str(key).unwrap());
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers
}

fn check(headers: &HeaderMap, body: &Value) -> Result<Prompt, Refusal> {
    let script = Script::parse("version: 1\nkeys: [k]\nreplies: []\n").unwrap();
    read_body(headers, body.to_string().as_bytes(), &script.settings)
}

fn read(body: &Value) -> Result<Prompt, Refusal> {
    check(&headers("Bearer k"), body)
}

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "Read", "arguments": "{}"}})
}

fn good() -> Value {
    json!({
        "model": "gpt-6-sol", "stream": true, "stream_options": {"include_usage": true},
        "tools": [{"type": "function", "function": {"name": "Read", "parameters": {"type": "object"}}}],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "s", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
            {"role": "user", "content": [{"type": "text", "text": "brief"}, {"type": "text", "text": "Role: worker\ndo"}]},
            {"role": "assistant", "content": null, "tool_calls": [call("1"), call("2")]},
            {"role": "tool", "tool_call_id": "2", "content": "two"},
            {"role": "tool", "tool_call_id": "1", "content": "one"},
        ],
    })
}

#[test]
fn a_proper_request_is_read() {
    let prompt = read(&good()).unwrap();
    assert_eq!(prompt.turns, 1);
    assert_eq!(prompt.user_texts, ["Role: worker\ndo"]);
    assert_eq!(prompt.tool_results, ["two", "one"]);
    assert_eq!(prompt.positions.len(), 8);
    assert_eq!(prompt.positions[1].mark, Some(Life::Short));
    assert!(prompt.stream && prompt.usage_wanted);
}

#[test]
fn keys_are_checked() {
    for (key, code) in [("", "missing_api_key"), ("Bearer other", "invalid_api_key"), ("k", "missing_api_key")] {
        let refusal = check(&headers(key), &good()).unwrap_err();
        assert_eq!((refusal.status, refusal.code.as_deref()), (401, Some(code)), "{key}");
    }
}

/// Applies a change to a proper request and expects a refusal that says `part`.
fn refused(part: &str, change: impl FnOnce(&mut Value)) {
    let mut body = good();
    change(&mut body);
    let refusal = read(&body).expect_err(part);
    assert_eq!(refusal.status, 400);
    assert!(refusal.message.contains(part), "{part}: {refusal:?}");
}

#[test]
fn fields_are_checked() {
    refused("Unknown parameter: 'frobnicate'", |body| body["frobnicate"] = json!(1));
    refused("Unknown parameter: 'cache_prompt'", |body| body["cache_prompt"] = json!(true));
    refused("Missing required parameter: 'model'", |body| {
        body.as_object_mut().unwrap().remove("model");
    });
    refused("only allowed when 'stream'", |body| body["stream"] = json!(false));
    refused("'max_tokens' is not supported", |body| body["max_tokens"] = json!(5));
    refused("below minimum", |body| body["max_completion_tokens"] = json!(0));
    refused("unique", |body| {
        let tool = body["tools"][0].clone();
        body["tools"].as_array_mut().unwrap().push(tool);
    });
    refused("does not match pattern", |body| body["tools"][0]["function"]["name"] = json!("a b"));
    refused("JSON Schema", |body| body["tools"][0]["function"]["parameters"] = json!({"type": "array"}));
    refused("reasoning_effort", |body| body["reasoning_effort"] = json!("huge"));
}

#[test]
fn the_conversation_is_checked() {
    refused("did not have response messages: 1", |body| {
        body["messages"].as_array_mut().unwrap().pop();
    });
    refused("must be a response", |body| body["messages"][3]["tool_call_id"] = json!("9"));
    refused("unique and not empty", |body| body["messages"][2]["tool_calls"][1]["id"] = json!("1"));
    refused("expected a string, got null", |body| body["messages"][2] = json!({"role": "assistant", "content": null}));
    refused("Supported values", |body| body["messages"][0]["role"] = json!("operator"));
    refused("empty array", |body| body["messages"] = json!([]));
    refused("Extra inputs", |body| body["messages"][2]["reasoning_content"] = json!("hm"));
}

#[test]
fn the_cache_is_told_what_its_model_knows() {
    refused("cannot be given together", |body| {
        body["prompt_cache_retention"] = json!("24h");
        body["prompt_cache_options"] = json!({"mode": "explicit"});
    });
    refused("prompt_cache_options.ttl", |body| body["prompt_cache_options"] = json!({"ttl": "12h"}));
    refused("Unknown parameter", |body| body["model"] = json!("gpt-5.5"));
    refused("Unknown parameter", |body| body["model"] = json!("qwen"));
    let mut body = good();
    body["prompt_cache_options"] = json!({"mode": "explicit", "ttl": "30m"});
    body["prompt_cache_key"] = json!("run-1");
    let prompt = read(&body).unwrap();
    assert!(prompt.explicit_only && prompt.routing_key == "run-1");
    let mut elsewhere = good();
    elsewhere["model"] = json!("qwen");
    elsewhere["max_tokens"] = json!(5);
    elsewhere["cache_prompt"] = json!(true);
    elsewhere["messages"][0]["content"] = json!("s");
    elsewhere["messages"][2]["reasoning_content"] = json!("hm");
    read(&elsewhere).unwrap();
}
