//! Every fault that the scripted server knows, on every wire: the client gets the whole reply in the end, or a typed
//! error.

use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::Codec;

use super::{model, raw_request, statuses};
use crate::model::{Model as _, ModelError, ModelErrorKind, Reason, Reply, Stop, Wall};
use crate::scripted::serve_text;

const WIRES: [Codec; 3] = [Codec::AnthropicMessages, Codec::OpenaiChat, Codec::OpenaiResponses];

const BLOCKS: &str =
    r#"[{ text: "Ich sehe nach: 😀, und dann gleich noch einmal." }, { tool: Read, input: { file_path: ä.rs } }]"#;

async fn ask(codec: Codec, replies: &str) -> Result<Reply, ModelError> {
    let server = serve_text(&format!("version: 1\nreplies:\n{replies}"), 0).await.unwrap();
    let (path, body) = match codec {
        Codec::AnthropicMessages => {
            ("", r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#)
        }
        Codec::OpenaiChat => ("/v1", r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#),
        Codec::OpenaiResponses => ("/v1", r#"{"model":"m","stream":true,"input":"x"}"#),
    };
    // Only a stall has to be waited for; on a busy machine other replies take their time, too.
    let stalls = replies.contains("stall_after_bytes") && !replies.contains("stall_ms");
    let client = model(codec, &format!("{}{path}", server.base_url()), if stalls { 700 } else { 20_000 });
    let answered = client.stream(raw_request(body.to_owned()), CancellationToken::new()).await;
    server.shutdown().await;
    answered
}

/// What passes: the reply is whole, after so many attempts.
const PASSING: &[(&str, usize)] = &[
    ("{ status: 429, retry_after: 0 }", 2),
    ("{ status: 429, retry_after_ms: 1 }", 2),
    ("{ status: 429 }", 2),
    ("{ status: 529 }", 2),
    ("{ status: 500 }", 2),
    ("{ status: 400, should_retry: true }", 2),
    ("{ status: 502, page: true }", 2),
    ("{ reset: true }", 2),
    ("{ error_event: overloaded_error }", 2),
    ("{ cut_after_bytes: 0 }", 2),
    ("{ cut_after_bytes: 300 }", 2),
    ("{ stall_after_bytes: 0 }", 2),
    ("{ stall_after_bytes: 300 }", 2),
    ("{ stall_after_bytes: 300, stall_ms: 20 }", 1),
    ("{ chunk_bytes: 1 }", 1),
    ("{ crlf: true }", 1),
    ("{ pings: 3 }", 1),
    ("{ whole: true }", 1),
    ("{ unknown: true }", 1),
    ("{ duplicate: [message_start, content_block_stop, message_delta, message_stop, ping] }", 1),
    ("{ duplicate: [response.created, response.output_item.done, response.completed] }", 1),
    ("{ chunk_bytes: 1, crlf: true, pings: 1, unknown: true }", 1),
];

#[tokio::test]
async fn what_passes_leaves_a_whole_reply() {
    for codec in WIRES {
        for (fault, attempts) in PASSING {
            let replies = format!("  - {{ times: 1, fault: {fault}, blocks: {BLOCKS} }}\n  - {{ blocks: {BLOCKS} }}\n");
            let reply = ask(codec, &replies).await.unwrap_or_else(|error| panic!("{codec:?} {fault}: {error}"));
            let case = format!("{codec:?} {fault}: {reply:?}");
            assert_eq!(statuses(&reply.attempts).len(), *attempts, "{case}");
            assert_eq!((&reply.stop, reply.blocks.len()), (&Stop::ToolUse, 2), "{case}");
            assert!(reply.message_json.contains("Ich sehe nach: 😀, und dann gleich noch einmal."), "{case}");
            assert!(reply.message_json.contains("ä.rs"), "{case}");
        }
    }
}

#[tokio::test]
async fn what_does_not_pass_is_typed() {
    let codes = [("enforced_spend_limit_reached", 0), ("insufficient_quota", 1), ("insufficient_quota", 2)];
    for (code, codec) in codes.map(|(code, wire)| (code, WIRES[wire])) {
        let fault = format!("  - fault: {{ status: 429, code: {code}, should_retry: true, retry_after: 0 }}\n");
        let error = ask(codec, &fault).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), Some(Wall::Money), "{codec:?}: {error}");
        assert_eq!(error.attempts.len(), 1, "{codec:?}: {error}");
    }
    for codec in WIRES {
        for (fault, reason) in [
            ("{ status: 400 }", Some(Reason::Request)),
            ("{ status: 401 }", Some(Reason::Key)),
            ("{ status: 402 }", Some(Reason::Money)),
            ("{ status: 403 }", Some(Reason::Key)),
            ("{ status: 404, page: true }", Some(Reason::Address)),
            ("{ status: 413 }", Some(Reason::TooLarge)),
            ("{ status: 529, retry_after: 0 }", None),
            ("{ cut_after_bytes: 200 }", None),
            ("{ reset: true }", None),
        ] {
            let error = ask(codec, &format!("  - {{ fault: {fault}, blocks: {BLOCKS} }}\n")).await.unwrap_err();
            let found = match &error.kind {
                ModelErrorKind::Fatal { reason, .. } => Some(*reason),
                ModelErrorKind::Exhausted { .. } => None,
                other => panic!("{codec:?} {fault}: {other:?}"),
            };
            assert_eq!(found, reason, "{codec:?} {fault}: {error}");
        }
    }
}
