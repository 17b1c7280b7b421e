//! Tests of [`super`]: what is refused. What is answered is tested over the wire, in `scripted/tests`.

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::{encrypted, read as read_body};
use crate::scripted::prompt::{Life, Prompt};
use crate::scripted::refusal::Refusal;
use crate::scripted::script::Script;

fn read(body: &Value) -> Result<Prompt, Refusal> {
    let script = Script::parse("version: 1\nreplies: []\n").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer k"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    read_body(&headers, body.to_string().as_bytes(), &script.settings)
}

fn call(id: &str) -> Value {
    json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "Read", "arguments": "{}"})
}

fn output(id: &str, text: &str) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": text})
}

fn good() -> Value {
    let summary = json!([{"type": "summary_text", "text": "hm"}]);
    json!({
        "model": "gpt-6-sol", "stream": true, "store": false, "include": ["reasoning.encrypted_content"],
        "instructions": "be good",
        "tools": [{"type": "function", "name": "Read", "parameters": {"type": "object"}, "strict": false}],
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "brief", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
                {"type": "input_text", "text": "Role: worker\ndo"}]},
            {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": encrypted(0, "hm")},
            call("1"), call("2"), output("2", "two"), output("1", "one"),
        ],
    })
}

#[test]
fn a_proper_request_is_read() {
    let prompt = read(&good()).unwrap();
    assert_eq!(prompt.turns, 1);
    assert_eq!(prompt.user_texts, ["Role: worker\ndo"]);
    assert_eq!(prompt.tool_results, ["two", "one"]);
    assert_eq!(prompt.positions.len(), 9);
    assert_eq!(prompt.positions[2].mark, Some(Life::Long));
    assert!(prompt.thinking_hidden, "no summary was asked for");
    assert_eq!(read(&json!({"model": "m", "input": "hi"})).unwrap().user_texts, ["hi"]);
}

#[test]
fn what_is_wrong_is_refused() {
    let refused = |part: &str, change: &dyn Fn(&mut Value)| {
        let mut body = good();
        change(&mut body);
        let refusal = read(&body).expect_err(part);
        assert_eq!(refusal.status, 400);
        assert!(refusal.message.contains(part), "{part}: {refusal:?}");
    };
    refused("Unknown parameter: 'messages'", &|body| body["messages"] = json!([]));
    refused("Missing required parameter: 'input'", &|body| body["input"] = Value::Null);
    refused("not found", &|body| body["previous_response_id"] = json!("resp_1"));
    refused("below minimum", &|body| body["max_output_tokens"] = json!(15));
    refused("No tool output found for function call 1", &|body| {
        body["input"].as_array_mut().unwrap().pop();
    });
    refused("No tool call found", &|body| body["input"][5]["call_id"] = json!("9"));
    refused("Duplicate or empty call_id", &|body| body["input"][3]["call_id"] = json!("1"));
    refused("without its required following item", &|body| {
        let input = body["input"].as_array_mut().unwrap();
        input.truncate(2);
    });
    refused("could not be verified", &|body| body["input"][1]["summary"][0]["text"] = json!("other"));
    refused("could not be decrypted", &|body| {
        body["input"][1]["summary"] = json!([]);
        body["input"][1]["encrypted_content"] = json!("forged");
    });
    refused("Invalid value: 'text'", &|body| body["input"][0]["content"][0]["type"] = json!("text"));
    refused("Unknown parameter", &|body| body["model"] = json!("gpt-5.5"));
}
