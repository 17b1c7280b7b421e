//! What a user may get wrong, and what a server may: each ends in an error that says what to do.

use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::Codec;

use super::peer::{Answer, Peer, Then};
use super::{model, raw_request, statuses};
use crate::model::assemble::recorded::STREAMS;
use crate::model::{Model as _, ModelError, ModelErrorKind, Reason, Reply, Wall};

const WIRES: [Codec; 3] = [Codec::AnthropicMessages, Codec::OpenaiChat, Codec::OpenaiResponses];

async fn ask(codec: Codec, answers: Vec<Answer>) -> Result<Reply, ModelError> {
    let peer = Peer::serve(answers).await;
    model(codec, &peer.url, 300).stream(raw_request("{}".to_owned()), CancellationToken::new()).await
}

/// An error for this reason (`None` = it was given up), after so many attempts, with these words.
#[track_caller]
fn check(error: &ModelError, attempts: usize, reason: Option<Reason>, words: &[&str]) {
    let shown = error.to_string();
    let found = match &error.kind {
        ModelErrorKind::Fatal { reason, .. } => Some(*reason),
        ModelErrorKind::Exhausted { .. } | ModelErrorKind::RetriesSpent { .. } | ModelErrorKind::Cancelled => None,
    };
    assert_eq!((found, error.attempts.len()), (reason, attempts), "{shown}");
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in {shown:?}");
    }
    assert!(!format!("{shown} {error:?}").contains("secret-key"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_key_is_said_and_never_shown() {
    for codec in WIRES {
        let body = r#"{"error":{"message":"Incorrect API key provided: secret-key","type":"authentication_error"}}"#;
        let error = ask(codec, vec![Answer::json("401 Unauthorized", body)]).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), Some(Wall::Access));
        check(&error, 1, Some(Reason::Key), &["401", "authentication_error", "set a key", "(hidden)"]);
    }
}

#[tokio::test]
async fn a_key_that_comes_back_in_a_name_is_not_shown() {
    let (codec, stream) = STREAMS[0];
    let stream = std::str::from_utf8(stream).unwrap().replace("claude-sonnet-5-5-20261001", "for secret-key");
    let headers: &[(&str, &str)] = &[("content-type", "text/event-stream"), ("request-id", "req-secret-key-1")];
    let broken = Answer::json("500 Oh", r#"{"error":{"code":"no_secret-key","message":"m"}}"#);
    let reply = ask(codec, vec![broken, Answer::new("200 OK", headers, stream.as_bytes())]).await.unwrap();
    assert_eq!(reply.attempts[0].fault.as_deref(), Some("no_(hidden)"));
    assert_eq!(reply.attempts[1].served.as_deref(), Some("for (hidden)"));
    assert_eq!(reply.attempts[1].request_id.as_deref(), Some("req-(hidden)-1"));
}

#[tokio::test]
async fn a_wrong_address_is_said() {
    for codec in WIRES {
        // Nobody listens there: a port that was free a moment ago.
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let gone = model(codec, &format!("http://me:secret-key@{free}"), 300);
        let error = gone.stream(raw_request("{}".to_owned()), CancellationToken::new()).await.unwrap_err();
        assert!(error.attempts.iter().all(|attempt| attempt.exact && attempt.usage.prompt() == 0), "{error:?}");
        assert_eq!(statuses(&error.attempts), [0, 0, 0, 0]);
        check(&error, 4, None, &["refused", "is the server running", "base_url", "127.0.0.1"]);
        // Something else listens there.
        let page = Answer::json("404 Not Found", "<html><title>Welcome</title></html>");
        let error = ask(codec, vec![page]).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), Some(Wall::Access));
        check(&error, 1, Some(Reason::Address), &["404", "Welcome", "base_url"]);
        let moved = Answer::new("301 Moved", &[("location", "https://elsewhere.example")], b"");
        check(&ask(codec, vec![moved]).await.unwrap_err(), 1, Some(Reason::Address), &["301", "base_url"]);
    }
}

#[tokio::test]
async fn a_proxy_that_answers_with_a_page_is_tried_again_and_named() {
    for (codec, stream) in STREAMS {
        let page = Answer::new("200 OK", &[("content-type", "text/html")], b"<html><title>Sign in</title></html>");
        let error = ask(codec, vec![page.clone()]).await.unwrap_err();
        check(&error, 4, None, &["a page came in place of a reply", "Sign in", "proxy"]);
        let bad = Answer::new("502 Bad Gateway", &[("content-type", "text/html")], b"<html>502</html>");
        let reply = ask(codec, vec![page, bad, Answer::stream(stream)]).await.unwrap();
        assert_eq!(statuses(&reply.attempts), [200, 502, 200]);
    }
}

#[tokio::test]
async fn json_that_is_no_reply_is_named() {
    for codec in WIRES {
        let error = ask(codec, vec![Answer::json("200 OK", "{\"hello\":\"world\"}")]).await.unwrap_err();
        check(&error, 4, None, &["read the reply", "no model on this wire"]);
        let spent = Answer::json("200 OK", r#"{"error":{"type":"insufficient_quota","message":"no more"}}"#);
        let error = ask(codec, vec![spent]).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), Some(Wall::Money));
        check(&error, 1, Some(Reason::Money), &["no more", "add money", "wattle resume"]);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_inside_a_character_is_tried_again() {
    for (codec, stream) in STREAMS {
        let start = std::str::from_utf8(stream).unwrap().find('😀').unwrap();
        let half = |then| Answer::broken(&stream[..start + 2], then);
        let answers = vec![half(Then::Close), half(Then::Short), half(Then::Stall), Answer::stream(stream)];
        let reply = ask(codec, answers).await.unwrap();
        assert_eq!(statuses(&reply.attempts), [200; 4]);
        let faults: Vec<_> = reply.attempts.iter().map(|attempt| attempt.fault.as_deref()).collect();
        assert_eq!(faults, [Some("stream_truncated"), Some("broken"), Some("idle"), None], "{codec:?}");
        assert!(reply.message_json.contains('😀'));
        // What was counted before the break stays counted; the rest is estimated.
        let first = &reply.attempts[0];
        assert!(!first.exact && first.usage.out > 0, "{first:?}");
        if codec == Codec::AnthropicMessages {
            assert_eq!(first.usage.cache_read, 2000);
        }
    }
}

#[tokio::test]
async fn a_prompt_of_32_megabytes_is_refused_before_it_is_sent() {
    let peer = Peer::serve(vec![Answer::json("200 OK", "{}")]).await;
    for codec in WIRES {
        let request = raw_request("x".repeat(32 * 1024 * 1024 + 1));
        let error = model(codec, &peer.url, 300).stream(request, CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), None);
        check(&error, 0, Some(Reason::TooLarge), &["33554433 bytes", "split the step"]);
    }
    assert!(peer.requests().is_empty());
    let gateway = Answer::json("413 Payload Too Large", "<html>too large</html>");
    check(&ask(WIRES[0], vec![gateway]).await.unwrap_err(), 1, Some(Reason::TooLarge), &["413", "split the step"]);
}

#[tokio::test]
async fn a_context_that_overflows_is_said() {
    let cases = [
        r#"{"error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}"#,
        r#"{"error":{"code":400,"message":"x","type":"exceed_context_size_error"}}"#,
        r#"{"error":{"code":"context_length_exceeded","message":"x","type":"invalid_request_error"}}"#,
    ];
    for (codec, body) in WIRES.into_iter().zip(cases) {
        let error = ask(codec, vec![Answer::json("400 Bad Request", body)]).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), None);
        check(&error, 1, Some(Reason::Context), &["split the step", "larger context"]);
    }
}

#[tokio::test]
async fn an_unknown_model_is_said() {
    let cases = [
        r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#,
        r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error"}}"#,
        r#"{"error":{"code":"model_not_found","message":"The model `x` does not exist"}}"#,
    ];
    for (codec, body) in WIRES.into_iter().zip(cases) {
        let error = ask(codec, vec![Answer::json("404 Not Found", body)]).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), Some(Wall::Access));
        check(&error, 1, Some(Reason::UnknownModel), &["404", "--model"]);
    }
}

#[tokio::test]
async fn a_spend_limit_ends_the_call_at_once() {
    let limit = r#"{"error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    let own =
        r#"{"error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits"}}"#;
    for (status, body) in [
        ("429 Too Many Requests", limit),
        ("429 Too Many Requests", r#"{"error":{"code":"insufficient_quota","message":"m"}}"#),
        ("402 Payment Required", r#"{"error":{"type":"billing_error","message":"m"}}"#),
        ("400 Bad Request", own),
    ] {
        let error = ask(Codec::AnthropicMessages, vec![Answer::json(status, body)]).await.unwrap_err();
        assert_eq!(error.kind.stops_all(), Some(Wall::Money));
        check(&error, 1, Some(Reason::Money), &["add money", "wattle resume"]);
    }
}

#[tokio::test]
async fn each_attempt_names_its_request_and_the_model_that_served_it() {
    let headers: &[(&str, &str)] = &[("content-type", "text/event-stream"), ("x-request-id", "req_7")];
    for (codec, stream) in STREAMS {
        let reply = ask(codec, vec![Answer::new("200 OK", headers, stream)]).await.unwrap();
        let attempt = &reply.attempts[0];
        assert_eq!(attempt.request_id.as_deref(), Some("req_7"));
        assert!(attempt.served.is_some() && attempt.reasoning_out == 7, "{attempt:?}");
        assert!(attempt.ttft_ms.is_some() && attempt.exact, "{attempt:?}");
    }
}
