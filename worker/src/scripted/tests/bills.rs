//! Cache, clock, limits and bill, over the wire.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Server, Wire, body, path, post, server, settled};

const RATES: &str = "rates: { input: 2000, output: 10000, cache_read: 100, write_short: 2500, write_long: 4000 }";

/// A worker's request: a shared brief of some 1,000 tokens, and a task.
fn worker(task: &str) -> Value {
    let brief = json!({"type": "text", "text": "brief ".repeat(700), "cache_control": {"type": "ephemeral"}});
    let mut body = body(Wire::Messages, "m", "");
    body["messages"] = json!([{"role": "user", "content": [brief, {"type": "text", "text": task}]}]);
    body
}

async fn usage(server: &Server, body: &Value) -> [u64; 3] {
    let got = post(server, "/v1/messages", body).await;
    let usage = got.events()[0]["message"]["usage"].clone();
    ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"].map(|name| usage[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_fan_out_with_no_gate_pays_every_write() {
    let script = "prefill_tokens_per_second: 5000\nreplies: [{ blocks: [{ text: a }] }]\n";
    let server = server(script).await;
    let bodies: Vec<Value> = (0..8).map(|number| worker(&format!("task {number}"))).collect();
    let all = futures_util::future::join_all(bodies.iter().map(|body| usage(&server, body))).await;
    let writes = all.iter().filter(|[_, written, read]| *written > 1000 && *read == 0).count();
    assert_eq!(writes, 8, "none could read what was not answered yet: {all:?}");
    let [_, written, read] = usage(&server, &worker("late")).await;
    assert_eq!((written, read > 1000), (0, true));
}

#[tokio::test]
async fn an_entry_ages_with_the_clock_of_the_server() {
    let script = "replies:\n  - match: { text: later }\n    times: 1\n    advance_ms: 300000\n    blocks: [{ text: a }]\n  - blocks: [{ text: a }]\n";
    let server = server(script).await;
    let reads = |body: Value| {
        let server = &server;
        async move { usage(server, &body).await[2] > 0 }
    };
    assert!(!reads(worker("one")).await);
    assert!(reads(worker("two")).await);
    assert!(!reads(worker("later")).await, "the script has moved the clock");
    assert!(reads(worker("later")).await);
    server.advance(Duration::from_secs(300));
    assert!(!reads(worker("three")).await);
}

#[tokio::test]
async fn the_bill_of_every_wire_is_its_rows_times_the_rates() {
    let script = format!("models: {{ \"*\": {{ {RATES} }} }}\nreplies: [{{ blocks: [{{ text: four }}] }}]\n");
    let server = server(&script).await;
    let mut long = worker("hour");
    long["messages"][0]["content"][0]["cache_control"]["ttl"] = json!("1h");
    for body in [&worker("a"), &worker("b"), &long] {
        usage(&server, body).await;
    }
    post(&server, path(Wire::Chat), &body(Wire::Chat, "gpt-6-sol", &"word ".repeat(1000))).await;
    post(&server, path(Wire::Responses), &body(Wire::Responses, "gpt-6-sol", &"word ".repeat(1000))).await;
    let records = settled(&server, 5).await;
    for record in &records {
        let t = record.tokens;
        let sum = t.uncached * 2000 + t.read * 100 + t.written_short * 2500 + t.written_long * 4000 + t.out * 10_000;
        assert_eq!(record.nano_usd, Some(sum));
        assert!(record.complete && t.out == 1);
    }
    assert!(records[0].tokens.written_short > 1000 && records[1].tokens.read > 1000);
    assert!(records[2].tokens.read > 1000, "an entry that is there is not written again");
    assert!(records[3].tokens.written_short > 1000 && records[4].tokens.written_short > 1000);
}

#[tokio::test]
async fn a_reply_that_was_cut_is_billed_as_far_as_it_went() {
    let text = "word ".repeat(60);
    let reply = format!("blocks: [{{ text: \"{text}\" }}]");
    let script = format!(
        "models: {{ \"*\": {{ {RATES} }} }}\nreplies:\n  - {{ times: 1, fault: {{ cut_after_bytes: 1500 }}, {reply} }}\n  - {{ times: 1, fault: {{ status: 500 }} }}\n  - {{ {reply} }}\n"
    );
    let server = server(&script).await;
    for _ in 0..3 {
        post(&server, "/v1/messages", &body(Wire::Messages, "m", "x")).await;
    }
    let records = settled(&server, 3).await;
    let out: Vec<u64> = records.iter().map(|record| record.tokens.out).collect();
    assert!(out[0] > 0 && out[0] < 75, "{out:?}");
    assert_eq!(out[1..], [0, 75]);
    assert_eq!(records[1].nano_usd, None, "nothing was done");
    let complete: Vec<bool> = records.iter().map(|record| record.complete).collect();
    assert_eq!(complete, [false, false, true]);
    assert_eq!(records[0].fault, "cut after 1500");
}

#[tokio::test]
async fn a_prewarm_fills_the_cache_and_says_nothing() {
    let server = server("replies: [{ blocks: [{ text: a }] }]\n").await;
    let mut warm = worker("warm");
    warm["max_tokens"] = json!(0);
    warm["stream"] = json!(false);
    let got = post(&server, "/v1/messages", &warm).await.json();
    assert_eq!((&got["content"], &got["stop_reason"]), (&json!([]), &json!("max_tokens")));
    assert_eq!(got["usage"]["output_tokens"], 0);
    assert!(usage(&server, &worker("one")).await[2] > 1000);
    let mut warm = body(Wire::Responses, "gpt-6-sol", &"word ".repeat(1000));
    warm["prompt_cache_options"] = json!({"prewarm": true});
    warm["stream"] = json!(false);
    let got = post(&server, "/v1/responses", &warm).await.json();
    assert_eq!((&got["output"], &got["usage"]["output_tokens"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn limits_are_told_in_headers_and_kept() {
    let script =
        "limits: { requests_per_minute: 2, input_tokens_per_minute: 100000 }\nreplies: [{ blocks: [{ text: a }] }]\n";
    for (wire, remaining) in
        [(Wire::Messages, "anthropic-ratelimit-requests-remaining"), (Wire::Chat, "x-ratelimit-remaining-requests")]
    {
        let server = server(script).await;
        let mut seen = Vec::new();
        for _ in 0..3 {
            let got = post(&server, path(wire), &body(wire, "m", "x")).await;
            seen.push((got.status, got.header(remaining).unwrap().to_owned(), got.header("retry-after").is_some()));
        }
        let row = |status, left: &str, retry| (status, left.to_owned(), retry);
        assert_eq!(seen, [row(200, "1", false), row(200, "0", false), row(429, "0", true)]);
        server.advance(Duration::from_secs(30));
        assert_eq!(post(&server, path(wire), &body(wire, "m", "x")).await.status, 200);
    }
}

#[tokio::test]
async fn the_journal_holds_every_byte_and_no_key() {
    let server = server("replies: [{ blocks: [{ text: a }] }]\n").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let odd = "{\"model\":\"m\",  \"max_tokens\":1e1,\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e4\"}]}";
    let request = super::client().post(format!("{}/v1/messages", server.base_url()));
    let request = request.header("content-type", "application/json").header("anthropic-version", "2023-06-01");
    request.header("x-api-key", "canary").body(odd).send().await.unwrap();
    settled(&server, 1).await;
    server.write_journal(&file).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["body"], odd);
    assert!(!text.contains("canary") && text.contains("2023-06-01"), "{text}");
    assert_eq!(server.requests(), [odd]);
}
