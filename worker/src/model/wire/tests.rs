//! Tests of [`super`]: over loopback against the scripted model, against small peers that do one thing each
//! ([`peer`]), and without a network at every byte of the recorded streams ([`offsets`]).

mod bad_input;
mod bill;
mod faults;
mod offsets;
mod peer;
mod pressure;

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{Codec, Dialect, Target};

use super::HttpModel;
use crate::model::transport::Pace;
use crate::model::{
    Attempt, Auth, Block, Model as _, ModelError, ModelErrorKind, ModelRequest, Reply, Stop, WireOptions,
};
use crate::scripted::{Server, serve_text};

/// A client that does not wait as long as a real one.
fn model(codec: Codec, base_url: &str, idle_ms: u64) -> HttpModel {
    let options = WireOptions {
        target: Target { codec, provider: "script".to_owned(), dialect: Dialect::plain() },
        base_url: base_url.to_owned(),
        auth: match codec {
            Codec::AnthropicMessages => Auth::ApiKey("secret-key".to_owned()),
            Codec::OpenaiChat | Codec::OpenaiResponses => Auth::Bearer("secret-key".to_owned()),
        },
        version: Some("2026-10-21".to_owned()),
        pressure: Default::default(),
    };
    let pace = Pace { idle: Duration::from_millis(idle_ms), backoff_first: Duration::from_millis(1) };
    HttpModel::with_pace(options, pace).unwrap()
}

fn client(server: &Server) -> HttpModel {
    model(Codec::AnthropicMessages, &server.base_url(), 20_000)
}

fn request(text: &str) -> ModelRequest {
    let body = json!({
        "model": "m", "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": text}],
    });
    raw_request(body.to_string())
}

fn raw_request(body: String) -> ModelRequest {
    ModelRequest {
        bytes: body.into(),
        prefix_len: 0,
        prefix_sha: "p".to_owned(),
        model: "claude-m".to_owned(),
        first: true,
        watch: None,
    }
}

async fn ask(server: &Server, text: &str) -> Result<Reply, ModelError> {
    client(server).stream(request(text), CancellationToken::new()).await
}

fn statuses(attempts: &[Attempt]) -> Vec<u16> {
    attempts.iter().map(|attempt| attempt.status).collect()
}

const TWO_BLOCKS: &str = r#"
    blocks:
      - thinking: hm
      - text: "Ich ändere die Datei, in einem Zug und ohne Umschweife."
      - tool: Edit
        input: { file_path: src/a.rs, old_string: "a\n\"b\"", new_string: 1.50 }
"#;

#[tokio::test]
async fn a_streamed_reply_is_put_together() {
    let script = format!("version: 1\nreplies:\n  - match: {{ text: rename, turn: 0 }}{TWO_BLOCKS}");
    let server = serve_text(&script, 0).await.unwrap();
    let reply = ask(&server, "please rename it").await.unwrap();
    assert_eq!(reply.stop, Stop::ToolUse);
    let [Block::Opaque, Block::Text(text), Block::ToolUse { name, input, .. }] = reply.blocks.as_slice() else {
        panic!("{:?}", reply.blocks);
    };
    assert_eq!(text, "Ich ändere die Datei, in einem Zug und ohne Umschweife.");
    assert_eq!(name, "Edit");
    assert_eq!(input.get(), r#"{"file_path":"src/a.rs","old_string":"a\n\"b\"","new_string":1.5}"#);
    assert_eq!(statuses(&reply.attempts), [200]);
    let attempt = &reply.attempts[0];
    assert!(attempt.exact && reply.usage.out > 0 && reply.usage.uncached_in > 0);
    assert!(attempt.ttft_ms.is_some_and(|ttft| ttft <= attempt.total_ms) && attempt.fault.is_none(), "{attempt:?}");
    assert_eq!(server.requests().len(), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn a_cut_anywhere_in_the_stream_is_tried_again_from_the_start() {
    for cut in (0..1600).step_by(23) {
        let script = format!(
            "version: 1\nreplies:\n  - times: 1\n    fault: {{ cut_after_bytes: {cut} }}{TWO_BLOCKS}  - {}",
            TWO_BLOCKS.trim_start()
        );
        let server = serve_text(&script, 0).await.unwrap();
        let reply = ask(&server, "x").await.unwrap();
        assert_eq!(reply.blocks.len(), 3, "cut at {cut}");
        assert_eq!(reply.attempts.len(), 2, "cut at {cut}");
        assert!(!reply.attempts[0].exact && reply.attempts[1].exact, "cut at {cut}");
        assert!(reply.attempts[0].fault.is_some(), "cut at {cut}");
        server.shutdown().await;
    }
}

#[tokio::test]
async fn a_busy_provider_is_asked_again_after_the_pause_it_names() {
    let script = "version: 1\nreplies:\n  - { times: 2, fault: { status: 529, retry_after: 0 } }\n  - { times: 1, fault: { error_event: overloaded_error }, blocks: [{ text: half }] }\n  - { times: 1, fault: { status: 500 } }\n  - blocks: [{ text: done }]\n";
    let server = serve_text(script, 0).await.unwrap();
    let reply = ask(&server, "x").await.unwrap();
    let start = r#"{"role":"assistant","content":[{"type":"text","text":"done"}],"origin":{"codec":"anthropic-messages","provider":"script","model":"claude-m","id":"#;
    assert!(reply.message_json.starts_with(start), "{}", reply.message_json);
    assert_eq!(statuses(&reply.attempts), [529, 529, 200, 500, 200]);
    server.shutdown().await;
}

#[tokio::test]
async fn what_no_retry_helps_ends_at_once() {
    for status in [400u16, 401, 403, 404, 413] {
        let script = format!("version: 1\nreplies:\n  - fault: {{ status: {status} }}\n");
        let server = serve_text(&script, 0).await.unwrap();
        let error = ask(&server, "x").await.unwrap_err();
        assert!(matches!(error.kind, ModelErrorKind::Fatal { status: found, .. } if found == status), "{error}");
        assert_eq!(statuses(&error.attempts), [status]);
        assert!(error.attempts[0].exact, "a refusal costs nothing");
        assert_eq!(server.requests().len(), 1);
        server.shutdown().await;
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    for (status, expected) in [(529u16, 8), (503, 4)] {
        let script = format!("version: 1\nreplies:\n  - fault: {{ status: {status}, retry_after: 0 }}\n");
        let server = serve_text(&script, 0).await.unwrap();
        let error = ask(&server, "x").await.unwrap_err();
        assert!(matches!(error.kind, ModelErrorKind::Exhausted { .. }), "{error}");
        assert_eq!(server.requests().len(), expected);
        server.shutdown().await;
    }
}

#[tokio::test]
async fn a_request_that_no_reply_matches_is_described() {
    let script = "version: 1\nreplies:\n  - { match: { text: other }, blocks: [{ text: hi }] }\n";
    let server = serve_text(script, 0).await.unwrap();
    let error = ask(&server, "Role: worker\nwhat?").await.unwrap_err().to_string();
    assert!(error.contains("role worker, turn 0") && error.contains("what?"), "{error}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_cancelled_call_ends_while_the_server_still_waits() {
    let script = "version: 1\nreplies:\n  - { delay_ms: 600000, blocks: [{ text: late }] }\n";
    let server = serve_text(script, 0).await.unwrap();
    let model = client(&server);
    let cancel = CancellationToken::new();
    let call = model.stream(request("x"), cancel.clone());
    let stop = async {
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(call, stop);
    assert_eq!(ended.unwrap_err().kind, ModelErrorKind::Cancelled);
    server.shutdown().await;
}

#[tokio::test]
async fn a_silent_stream_is_given_up_at_the_idle_bound() {
    let script = "version: 1\nreplies:\n  - { times: 1, delay_ms: 600000, blocks: [{ text: late }] }\n  - blocks: [{ text: soon }]\n";
    let server = serve_text(script, 0).await.unwrap();
    let model = model(Codec::AnthropicMessages, &server.base_url(), 100);
    let reply = model.stream(request("x"), CancellationToken::new()).await.unwrap();
    assert_eq!(statuses(&reply.attempts), [0, 200]);
    assert_eq!(reply.attempts[0].fault.as_deref(), Some("idle"));
    server.shutdown().await;
}

#[tokio::test]
async fn a_reply_that_was_not_streamed_is_read_as_well() {
    let script = "version: 1\nreplies:\n  - blocks: [{ text: whole }, { tool: Read, input: { file_path: a } }]\n";
    let server = serve_text(script, 0).await.unwrap();
    let body = json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "x"}]});
    let reply = client(&server).stream(raw_request(body.to_string()), CancellationToken::new()).await.unwrap();
    assert_eq!(reply.blocks.len(), 2);
    assert!(reply.attempts[0].exact && reply.attempts[0].whole);
    server.shutdown().await;
}

#[test]
fn no_debug_output_shows_a_key() {
    let shown = format!("{:?}", model(Codec::AnthropicMessages, "https://me:pass-word@x", 1));
    assert!(!shown.contains("secret-key") && !shown.contains("pass-word"), "{shown}");
}
