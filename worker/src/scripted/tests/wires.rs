//! What is said on each wire, put together again.

use serde_json::{Value, json};

use super::{Wire, ask, body, path, post, server};

const REPLY: &str = r#"
replies:
  - blocks:
      - thinking: hm
      - text: "Ich ändere die Datei, in einem Zug und ohne Umschweife."
      - { tool: Edit, input: { path: a, new: 1.50 } }
      - { tool: Read, arguments: '{"path": "b"}' }
"#;
const TEXT: &str = "Ich ändere die Datei, in einem Zug und ohne Umschweife.";

/// All strings at a place of all events, in one.
fn joined(events: &[Value], pointer: &str) -> String {
    events.iter().filter_map(|event| event.pointer(pointer)?.as_str()).collect()
}

#[tokio::test]
async fn messages_say_everything_block_by_block() {
    let server = server(REPLY).await;
    let events = ask(&server, Wire::Messages).await.events();
    let of = |index: u64| -> Vec<Value> { events.iter().filter(|event| event["index"] == index).cloned().collect() };
    assert_eq!(joined(&of(0), "/delta/thinking"), "hm");
    assert!(joined(&of(0), "/delta/signature").starts_with("sig_"));
    assert_eq!(joined(&of(1), "/delta/text"), TEXT);
    assert_eq!(joined(&of(2), "/delta/partial_json"), r#"{"path":"a","new":1.5}"#);
    assert_eq!(joined(&of(3), "/delta/partial_json"), r#"{"path": "b"}"#);
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!((kinds[0], kinds[1], *kinds.last().unwrap()), ("message_start", "ping", "message_stop"));
    let delta = &events[events.len() - 2];
    assert_eq!(delta["delta"]["stop_reason"], "tool_use");
    assert_eq!(delta["usage"]["output_tokens"], 27);
}

#[tokio::test]
async fn hidden_thinking_is_signed_all_the_same_and_its_block_can_be_sent_back() {
    let server = server("replies:\n  - match: { turn: 1 }\n    blocks: [{ text: done }]\n  - blocks: [{ thinking: hm }, { text: so }]\n").await;
    let mut body = body(Wire::Messages, "claude-opus-5-5", "hello");
    body["thinking"] = json!({"type": "adaptive", "display": "omitted"});
    body["stream"] = json!(false);
    let reply = post(&server, "/v1/messages", &body).await.json();
    assert_eq!(reply["content"][0]["thinking"], "");
    assert_eq!(reply["usage"]["output_tokens_details"]["thinking_tokens"], 1, "it is paid for");
    let turn = json!({"role": "assistant", "content": reply["content"]});
    body["messages"].as_array_mut().unwrap().extend([turn, json!({"role": "user", "content": "go on"})]);
    assert_eq!(post(&server, "/v1/messages", &body).await.json()["content"][0]["text"], "done");
    body["messages"][0]["content"] = json!("hullo");
    let refused = post(&server, "/v1/messages", &body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("bound to a different conversation"), "{}", refused.body);
}

#[tokio::test]
async fn chat_says_everything_chunk_by_chunk() {
    let server = server(REPLY).await;
    let got = ask(&server, Wire::Chat).await;
    assert!(got.body.ends_with("data: [DONE]\n\n"));
    let events = got.events();
    assert_eq!(joined(&events, "/choices/0/delta/content"), TEXT);
    assert_eq!(joined(&events, "/choices/0/delta/reasoning_content"), "hm");
    let calls: Vec<&Value> = events.iter().filter_map(|event| event.pointer("/choices/0/delta/tool_calls/0")).collect();
    let arguments = |index: u64| -> String {
        let parts = calls.iter().filter(|call| call["index"] == index);
        parts.filter_map(|call| call["function"]["arguments"].as_str()).collect()
    };
    assert_eq!(arguments(0), r#"{"path":"a","new":1.5}"#);
    assert_eq!(arguments(1), r#"{"path": "b"}"#);
    assert_eq!(joined(&events, "/choices/0/finish_reason"), "tool_calls");
    let usage = &events.last().unwrap()["usage"];
    assert_eq!(usage["completion_tokens"], 27);
    assert_eq!(usage["total_tokens"].as_u64(), Some(27 + usage["prompt_tokens"].as_u64().unwrap()));
}

#[tokio::test]
async fn responses_say_everything_item_by_item() {
    let server = server(REPLY).await;
    let events = ask(&server, Wire::Responses).await.events();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let of = |kind: &str| -> Vec<Value> { events.iter().filter(|event| event["type"] == kind).cloned().collect() };
    assert_eq!(joined(&of("response.output_text.delta"), "/delta"), TEXT);
    assert_eq!(
        joined(&of("response.function_call_arguments.delta"), "/delta"),
        r#"{"path":"a","new":1.5}{"path": "b"}"#
    );
    let items: Vec<Value> = of("response.output_item.done").iter().map(|event| event["item"].clone()).collect();
    let ended = &events.last().unwrap()["response"];
    assert_eq!(ended["output"], json!(items), "the end repeats what was done");
    assert_eq!((&ended["status"], &ended["usage"]["output_tokens"]), (&json!("completed"), &json!(27)));
}

#[tokio::test]
async fn a_count_is_what_a_request_has_and_is_free() {
    let server = server("replies: [{ blocks: [{ text: a }] }]\n").await;
    let mut body = body(Wire::Messages, "m", &"word ".repeat(100));
    let usage = post(&server, "/v1/messages", &body).await.events()[0]["message"]["usage"].clone();
    body.as_object_mut().unwrap().retain(|key, _| !["max_tokens", "stream"].contains(&key.as_str()));
    let counted = post(&server, "/v1/messages/count_tokens", &body).await.json();
    assert_eq!(counted["input_tokens"], usage["input_tokens"]);
    assert_eq!(server.requests().len(), 1, "a count is no request for a reply");
    assert_eq!(server.journal().len(), 2);
}

#[tokio::test]
async fn each_habit_of_a_lesser_server_shows() {
    let calls = "blocks: [{ tool: Edit, input: { a: 1 } }, { tool: Read, arguments: '{not' }]";
    let check = |quirk: &'static str, expected: fn(&str) -> bool| async move {
        let server = server(&format!("replies: [{{ quirks: [{quirk}], {calls} }}]\n")).await;
        let got = ask(&server, Wire::Chat).await;
        assert!(expected(&got.body), "{quirk}: {}", got.body);
    };
    check("no_index", |body| !body.contains(r#"{"name":"Edit","arguments":""},"index""#) && body.contains("Edit"))
        .await;
    check("zero_index", |body| body.contains(r#"},"index":0}"#) && !body.contains(r#"},"index":1}"#)).await;
    check("empty_id", |body| body.contains(r#""id":"","type":"function""#)).await;
    check("repeated_id", |body| body.matches(r#"_0""#).count() == 2).await;
    check("object_arguments", |body| body.contains(r#""arguments":{"a":1}"#)).await;
    check("stop_with_tools", |body| body.contains(r#""finish_reason":"stop""#)).await;
    check("no_usage", |body| !body.contains("usage")).await;
    check("no_done", |body| !body.contains("[DONE]") && body.contains(r#""finish_reason":"tool_calls""#)).await;
    check("no_finish", |body| !body.contains("[DONE]") && !body.contains("tool_calls\"}")).await;
    check("null_content", |body| body.contains(r#""content":null"#)).await;
    check("empty_content", |body| body.matches(r#""content":"""#).count() > 2).await;
    check("repeated_role", |body| body.matches(r#""role":"assistant""#).count() > 2).await;
    check("unknown_fields", |body| body.contains("of_tomorrow")).await;
    check("comments", |body| body.contains("\n: ping\n")).await;
    let server = server("replies: [{ quirks: [reasoning], blocks: [{ thinking: hm }, { text: a }] }]\n").await;
    assert!(ask(&server, Wire::Chat).await.body.contains(r#""reasoning":"hm""#));
}

#[tokio::test]
async fn what_nobody_serves_is_not_found() {
    let server = server("models: { known: {} }\nslots: 3\nreplies: [{ blocks: [{ text: a }] }]\n").await;
    for (wire, code) in [(Wire::Messages, Value::Null), (Wire::Chat, json!("model_not_found"))] {
        let got = post(&server, path(wire), &body(wire, "other", "x")).await;
        assert_eq!((got.status, &got.json()["error"]["code"]), (404, &code));
        assert_eq!(post(&server, path(wire), &body(wire, "known", "x")).await.status, 200);
    }
    assert_eq!(post(&server, "/v1/nothing", &json!({})).await.status, 404);
    let got = |path: &str| super::client().get(format!("{}{path}", server.base_url())).send();
    assert_eq!(got("/props").await.unwrap().text().await.unwrap(), r#"{"total_slots":3}"#);
    assert!(got("/v1/models").await.unwrap().text().await.unwrap().contains("\"known\""));
}
