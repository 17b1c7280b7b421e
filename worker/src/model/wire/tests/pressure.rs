//! What requests of several workers share.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{Codec, Dialect, Target};

use super::super::HttpModel;
use super::peer::{Answer, Peer};
use super::{raw_request, request, statuses};
use crate::model::assemble::recorded::STREAMS;
use crate::model::pressure::Pressure;
use crate::model::transport::Pace;
use crate::model::{Asking, Attempt, Auth, Model as _, ModelErrorKind, ModelRequest, Watch, WireOptions};

fn model(url: &str, pressure: &Arc<Pressure>, key: &str) -> HttpModel {
    let options = WireOptions {
        target: Target { codec: Codec::AnthropicMessages, provider: "p".to_owned(), dialect: Dialect::plain() },
        base_url: url.to_owned(),
        auth: Auth::Bearer(key.to_owned()),
        version: None,
        pressure: Arc::clone(pressure),
    };
    let pace = Pace { idle: Duration::from_secs(20), backoff_first: Duration::from_millis(1) };
    HttpModel::with_pace(options, pace).unwrap()
}

fn good() -> Answer {
    Answer::stream(STREAMS[0].1)
}

/// A watch that only says when an attempt has failed.
#[derive(Default)]
struct Failed(CancellationToken);

impl Watch for Failed {
    fn started(&self) {}

    fn again<'a>(&'a self, _: &'a Attempt) -> Asking<'a> {
        self.0.cancel();
        Box::pin(std::future::ready(true))
    }
}

#[tokio::test]
async fn one_busy_answer_holds_back_every_request_with_that_key() {
    let error = br#"{"error":{"type":"rate_limit_error"}}"#;
    let busy = Answer::new("429 Too Many Requests", &[("retry-after", "1")], error);
    let peer = Peer::serve(vec![busy, good()]).await;
    let pressure = Arc::new(Pressure::default());
    let (one, other) = (model(&peer.url, &pressure, "k"), model(&peer.url, &pressure, "other-key"));
    let start = Instant::now();
    let cancel = CancellationToken::new();
    let failed = Arc::new(Failed::default());
    let watch = Some(Arc::clone(&failed) as Arc<dyn Watch>);
    let lead = one.stream(ModelRequest { watch, ..request("lead") }, cancel.clone());
    let followers = async {
        // By now the lead has been refused, and waits.
        while !one.gate("claude-m").pauses() {
            tokio::task::yield_now().await;
        }
        let free = async {
            other.stream(request("free"), cancel.clone()).await.unwrap();
            failed.0.is_cancelled()
        };
        let held = async {
            one.stream(request("held"), cancel.clone()).await.unwrap();
            start.elapsed()
        };
        tokio::join!(free, held)
    };
    let (lead, (over, held)) = tokio::join!(lead, followers);
    assert_eq!(statuses(&lead.unwrap().attempts), [429, 200]);
    assert!(!over, "a request with another key ends while the pause goes on");
    assert!(held >= Duration::from_secs(1), "{held:?}");
}

#[tokio::test]
async fn the_retries_of_a_run_are_bounded() {
    let peer = Peer::serve(vec![Answer::json("500 Oh", r#"{"error":{"message":"m"}}"#)]).await;
    let pressure = Arc::new(Pressure::with_retries(5));
    let model = model(&peer.url, &pressure, "k");
    let calls = (0..4).map(|number| model.stream(request(&number.to_string()), CancellationToken::new()));
    let ended: Vec<_> = join_all(calls).await.into_iter().map(|ended| ended.unwrap_err().kind).collect();
    let spent = ended.iter().filter(|kind| matches!(kind, ModelErrorKind::RetriesSpent { budget: 5, .. })).count();
    assert!(spent >= 2, "{ended:?}");
    assert_eq!(peer.requests().len(), 4 + 5, "each request once, and five again");
}

/// What a watch was told.
#[derive(Default)]
struct Told {
    started: Mutex<u32>,
    failed: Mutex<Vec<(u16, Option<String>)>>,
    stop_at: usize,
}

impl Watch for Told {
    fn started(&self) {
        *self.started.lock().unwrap() += 1;
    }

    fn again<'a>(&'a self, failed: &'a Attempt) -> Asking<'a> {
        let mut all = self.failed.lock().unwrap();
        all.push((failed.status, failed.fault.clone()));
        let go_on = all.len() != self.stop_at;
        Box::pin(std::future::ready(go_on))
    }
}

#[tokio::test]
async fn a_watch_hears_of_the_start_and_is_asked_before_another_attempt() {
    let half = &STREAMS[0].1[..1000];
    let peer = Peer::serve(vec![Answer::json("502 Bad", "<html>"), Answer::stream(half), good()]).await;
    let model = model(&peer.url, &Arc::default(), "k");
    let told = Arc::new(Told::default());
    let watch = Some(Arc::clone(&told) as Arc<dyn Watch>);
    let request = ModelRequest { watch, ..raw_request("{}".to_owned()) };
    model.stream(request, CancellationToken::new()).await.unwrap();
    assert_eq!(*told.started.lock().unwrap(), 2);
    let failed = told.failed.lock().unwrap().clone();
    let words = |text: &str| Some(text.to_owned());
    assert_eq!(failed, [(502, words("(a page, no error object)")), (200, words("stream_truncated"))]);
}

#[tokio::test]
async fn a_watch_can_end_the_call() {
    let peer = Peer::serve(vec![Answer::json("500 Oh", "{}")]).await;
    let model = model(&peer.url, &Arc::default(), "k");
    let told = Arc::new(Told { stop_at: 2, ..Told::default() });
    let watch = Some(Arc::clone(&told) as Arc<dyn Watch>);
    let request = ModelRequest { watch, ..raw_request("{}".to_owned()) };
    let error = model.stream(request, CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind, ModelErrorKind::Cancelled);
    assert_eq!(statuses(&error.attempts), [500, 500]);
}

#[tokio::test]
async fn requests_wait_for_room_under_a_limit() {
    let full: &[(&str, &str)] = &[
        ("content-type", "text/event-stream"),
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "3s"),
    ];
    let peer = Peer::serve(vec![Answer::new("200 OK", full, STREAMS[0].1), good()]).await;
    let model = model(&peer.url, &Arc::default(), "k");
    model.stream(request("one"), CancellationToken::new()).await.unwrap();
    let start = Instant::now();
    model.stream(request("two"), CancellationToken::new()).await.unwrap();
    let waited = start.elapsed();
    // Ten come in within 3 s, so one within 0.3 s.
    assert!(waited >= Duration::from_millis(200), "{waited:?}");
}
