//! The server over loopback, asked by a plain HTTP client: cache and bill, faults, limits, quirks.

mod bills;
mod faults;
mod wires;

use std::time::Duration;

use serde_json::{Value, json};

use super::{Record, Server, Wire, serve_text};

/// Bound on every request of these tests: it only ends a test that would hang.
const WAIT: Duration = Duration::from_secs(60);

async fn server(script: &str) -> Server {
    serve_text(&format!("version: 1\n{script}"), 0).await.unwrap()
}

fn client() -> reqwest::Client {
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder().no_proxy().timeout(WAIT).build().unwrap()
}

/// Status, headers and body of an answer; the body as far as it came.
struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: String,
    cut: bool,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The data of all events.
    fn events(&self) -> Vec<Value> {
        let lines = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

async fn post(server: &Server, path: &str, body: &Value) -> Got {
    let request = client().post(format!("{}{path}", server.base_url())).header("content-type", "application/json");
    let request = if path.contains("/messages") {
        request.header("x-api-key", "k").header("anthropic-version", "2026-10-21")
    } else {
        request.bearer_auth("k")
    };
    let mut response = match request.body(body.to_string()).send().await {
        Ok(response) => response,
        Err(error) => {
            assert!(!error.is_timeout(), "{error}");
            return Got { status: 0, headers: Default::default(), body: String::new(), cut: true };
        }
    };
    let mut got = Got {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: String::new(),
        cut: false,
    };
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(_) => {
                got.cut = true;
                break;
            }
        }
    }
    got.body = String::from_utf8_lossy(&bytes).into_owned();
    got
}

fn path(wire: Wire) -> &'static str {
    match wire {
        Wire::Messages => "/v1/messages",
        Wire::Chat => "/v1/chat/completions",
        Wire::Responses => "/v1/responses",
    }
}

/// A request of one text.
fn body(wire: Wire, model: &str, text: &str) -> Value {
    match wire {
        Wire::Messages => {
            json!({"model": model, "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": text}]})
        }
        Wire::Chat => json!({"model": model, "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": text}]}),
        Wire::Responses => json!({"model": model, "stream": true, "input": text}),
    }
}

async fn ask(server: &Server, wire: Wire) -> Got {
    post(server, path(wire), &body(wire, "m", "hello")).await
}

/// The settled records, waited for: a reply ends at its client a moment before it does here.
async fn settled(server: &Server, count: usize) -> Vec<Record> {
    let wait = async {
        loop {
            let records = server.journal();
            if records.len() == count && records.iter().all(|record| record.settled) {
                return records;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, wait).await.expect("every record is settled in the end")
}
