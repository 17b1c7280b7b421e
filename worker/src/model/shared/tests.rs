//! Workers that share a model, over loopback.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{self, BriefPlace, Codec, Dialect, PrefixTtl, RequestOptions, SharedPrefix, Target};
use wattle_cache::price::Table;
use wattle_cache::warm::{Cause, Policy};

use super::{Shared, SharedOptions};
use crate::model::transport::Pace;
use crate::model::wire::HttpModel;
use crate::model::{Asking, Attempt, Auth, Model, ModelError, ModelErrorKind, ModelRequest, Reply, Watch, WireOptions};
use crate::scripted::{self, Server};

const MODEL: &str = "claude-sonnet-5-5";

async fn shared(server: &Server, policy: Policy) -> Arc<Shared> {
    sharing(server, policy, false)
}

fn sharing(server: &Server, policy: Policy, prewarm: bool) -> Arc<Shared> {
    over(Target::anthropic("anthropic"), server.base_url(), policy, prewarm)
}

fn over(target: Target, base_url: String, policy: Policy, prewarm: bool) -> Arc<Shared> {
    let auth = match target.codec {
        Codec::AnthropicMessages => Auth::ApiKey("k".to_owned()),
        Codec::OpenaiChat | Codec::OpenaiResponses => Auth::Bearer("k".to_owned()),
    };
    let options =
        WireOptions { target, base_url, auth, version: Some("2026-10-21".to_owned()), pressure: Arc::default() };
    let pace = Pace { idle: Duration::from_secs(20), backoff_first: Duration::from_millis(1) };
    let inner = Arc::new(HttpModel::with_pace(options, pace).unwrap());
    let today = Arc::new(|| "2026-11-28".to_owned());
    let prices = Arc::new(Table::builtin().clone());
    Arc::new(Shared::new(inner, SharedOptions { policy, prewarm, prices, today }))
}

fn quick() -> Policy {
    Policy { ramp_ms: 0, ..Policy::default() }
}

/// A worker's request: a brief of so many bytes, and a message of its own.
fn request(brief_bytes: usize, worker: &str, watch: Option<Arc<dyn Watch>>) -> ModelRequest {
    let request = request_for(&Target::anthropic("anthropic"), MODEL, &"b".repeat(brief_bytes), worker);
    ModelRequest { watch, ..request }
}

fn request_for(target: &Target, model: &str, brief: &str, worker: &str) -> ModelRequest {
    let shared = SharedPrefix::new(Vec::new(), "Be exact.", brief).unwrap();
    let options = RequestOptions {
        model: model.to_owned(),
        max_tokens: 100,
        effort: None,
        stream: true,
        prefix_ttl: PrefixTtl::FiveMinutes,
        min_cache_tokens: 0,
        tail: String::new(),
    };
    let rendered = prefix::render_for(target, &shared, worker, &[], &options);
    ModelRequest {
        bytes: rendered.bytes.into(),
        prefix_len: rendered.prefix_len,
        prefix_sha: rendered.prefix_sha,
        model: model.to_owned(),
        first: true,
        watch: None,
    }
}

/// Notes how many requests the server has had when a reply begins.
struct Counting {
    server: Arc<Server>,
    seen: Arc<Mutex<Vec<usize>>>,
}

impl Watch for Counting {
    fn started(&self) {
        self.seen.lock().unwrap().push(self.server.requests().len());
    }

    fn again<'a>(&'a self, _: &'a Attempt) -> Asking<'a> {
        Box::pin(std::future::ready(true))
    }
}

async fn all(model: &Arc<Shared>, requests: Vec<ModelRequest>) -> Vec<Result<Reply, ModelError>> {
    let calls = requests.into_iter().map(|request| {
        let model = Arc::clone(model);
        tokio::spawn(async move { model.stream(request, CancellationToken::new()).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn nobody_asks_before_the_leads_reply_has_begun() {
    let script = "version: 1\nreplies: [{ delay_ms: 150, blocks: [{ text: ok }] }]\n";
    let server = Arc::new(scripted::serve_text(script, 0).await.unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let model = shared(&server, quick()).await;
    let watch = || {
        let counting = Counting { server: Arc::clone(&server), seen: Arc::clone(&seen) };
        Some(Arc::new(counting) as Arc<dyn Watch>)
    };
    let requests = (0..6).map(|worker| request(9_000, &format!("worker {worker}"), watch())).collect();
    let answers = all(&model, requests).await;
    let usages: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap().usage).collect();
    assert_eq!(usages.iter().filter(|usage| usage.cache_read == 0).count(), 1, "{usages:?}");
    assert_eq!(seen.lock().unwrap()[0], 1, "the others came after the lead's reply had begun");
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().attempts[0].miss.is_none()));

    // Without the gate they all come at once.
    seen.lock().unwrap().clear();
    let model = shared(&server, Policy { enabled: false, ..quick() }).await;
    let requests = (0..6).map(|worker| request(9_100, &format!("worker {worker}"), watch())).collect();
    let before = server.requests().len();
    all(&model, requests).await;
    assert!(seen.lock().unwrap()[0] > before + 1, "{seen:?}");
}

#[tokio::test]
async fn a_request_of_its_own_can_write_the_prefix() {
    let script = "version: 1\nprefill_tokens_per_second: 50000\nreplies: [{ blocks: [{ text: ok }] }]\n";
    let server = scripted::serve_text(script, 0).await.unwrap();
    let model = sharing(&server, quick(), true);
    let answers = all(&model, (0..4).map(|worker| request(36_000, &format!("{worker}"), None)).collect()).await;
    let records = server.journal();
    assert_eq!(records.len(), 5);
    assert!(records[0].tokens.written() >= 9_000 && records[0].tokens.out == 0, "{:?}", records[0]);
    assert!(records[1..].iter().all(|record| record.tokens.read >= 9_000), "{records:?}");
    let rows: usize = answers.iter().map(|answer| answer.as_ref().unwrap().attempts.len()).sum();
    assert_eq!(rows, 5, "it is a row of the lead's");
    assert!(answers.iter().flatten().all(|reply| reply.attempts.iter().all(|attempt| attempt.miss.is_none())));
}

#[tokio::test]
async fn where_only_whole_messages_are_held_the_brief_is_sent_alone_first() {
    let script = "version: 1\nprefill_tokens_per_second: 50000\nreplies: [{ blocks: [{ text: ok }] }]\n";
    let server = scripted::serve_text(script, 0).await.unwrap();
    for (brief, alone) in [(BriefPlace::Message, true), (BriefPlace::Joined, false)] {
        let dialect = Dialect { brief, ..Dialect::plain() };
        let target = Target { codec: Codec::OpenaiChat, provider: "deepseek".to_owned(), dialect };
        let model = over(target.clone(), format!("{}/v1", server.base_url()), quick(), false);
        let before = server.journal().len();
        let begin = if alone { "a" } else { "b" };
        let asked =
            |worker| request_for(&target, "deepseek-v4-flash", &begin.repeat(36_000), &format!("worker {worker}"));
        let answers = all(&model, (0..4).map(asked).collect()).await;
        let records = &server.journal()[before..];
        let read = records.iter().filter(|record| record.tokens.read >= 8_000).count();
        // Beginnings that several requests had in common are kept, too, but only once a second one has come.
        assert_eq!((records.len(), read >= 4), if alone { (5, true) } else { (4, false) }, "{records:?}");
        let rows: usize = answers.iter().map(|answer| answer.as_ref().unwrap().attempts.len()).sum();
        assert_eq!(rows, records.len(), "each is a row of somebody's");
    }
}

#[tokio::test]
async fn a_lead_that_fails_is_replaced_by_another() {
    let script = r#"
version: 1
replies:
  - { times: 1, delay_ms: 100, fault: { status: 400 } }
  - { blocks: [{ text: ok }] }
"#;
    let server = scripted::serve_text(script, 0).await.unwrap();
    let model = shared(&server, quick()).await;
    let answers = all(&model, (0..4).map(|worker| request(9_000, &format!("{worker}"), None)).collect()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    let good: Vec<_> = answers.iter().flatten().collect();
    assert_eq!(good.iter().filter(|reply| reply.usage.cache_read == 0).count(), 1, "one of the others led");
}

#[tokio::test]
async fn a_refusal_for_all_is_met_once() {
    let script = "version: 1\nreplies: [{ delay_ms: 50, fault: { status: 401 } }]\n";
    let server = scripted::serve_text(script, 0).await.unwrap();
    let model = shared(&server, quick()).await;
    let answers = all(&model, (0..8).map(|worker| request(9_000, &format!("{worker}"), None)).collect()).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.kind.stops_all().is_some(), "{error}");
    }
    assert_eq!(server.requests().len(), 1);
    let later = model.stream(request(9_000, "later", None), CancellationToken::new()).await;
    assert!(later.unwrap_err().attempts.is_empty());
}

#[tokio::test]
async fn a_prefix_that_is_too_short_to_be_cached_is_named_or_not_waited_for() {
    let script = "version: 1\nreplies: [{ delay_ms: 100, blocks: [{ text: ok }] }]\n";
    let server = scripted::serve_text(script, 0).await.unwrap();
    let model = shared(&server, quick()).await;
    // By its length it could be cached; the provider counts fewer tokens.
    for (worker, expected) in [("one", None), ("two", Some(Cause::BelowMinimum))] {
        let reply = model.stream(request(1_750, worker, None), CancellationToken::new()).await.unwrap();
        assert_eq!(reply.attempts[0].miss.as_ref().map(|miss| miss.cause), expected, "{worker}");
    }
    let model = shared(&server, quick()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Arc::new(server);
    let watch = || {
        let counting = Counting { server: Arc::clone(&server), seen: Arc::clone(&seen) };
        Some(Arc::new(counting) as Arc<dyn Watch>)
    };
    let before = server.requests().len();
    let answers = all(&model, (0..4).map(|worker| request(400, &format!("{worker}"), watch())).collect()).await;
    assert!(seen.lock().unwrap()[0] > before + 1, "they go at once: {seen:?}");
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().attempts[0].miss.is_none()));
}

#[tokio::test]
async fn a_fan_out_writes_the_prefix_once_and_without_the_gate_every_time() {
    const N: usize = 8;
    // 9,000 tokens of prefix take 180 ms to read, and nobody can read them from the cache before that.
    let script = "version: 1\nprefill_tokens_per_second: 50000\nreplies: [{ blocks: [{ text: ok }] }]\n";
    for (enabled, writes) in [(true, 1), (false, N)] {
        let server = scripted::serve_text(script, 0).await.unwrap();
        let model = shared(&server, Policy { enabled, ..quick() }).await;
        all(&model, (0..N).map(|worker| request(36_000, &format!("{worker}"), None)).collect()).await;
        let tokens: Vec<_> = server.journal().into_iter().map(|record| record.tokens).collect();
        assert_eq!(tokens.iter().filter(|tokens| tokens.written() >= 9_000).count(), writes, "{tokens:?}");
        assert_eq!(tokens.iter().filter(|tokens| tokens.read >= 9_000).count(), N - writes, "{tokens:?}");
    }
}

#[tokio::test]
async fn who_waits_at_the_gate_can_be_stopped() {
    let script = "version: 1\nreplies: [{ delay_ms: 600000, blocks: [{ text: late }] }]\n";
    let server = scripted::serve_text(script, 0).await.unwrap();
    let model = shared(&server, quick()).await;
    let cancel = CancellationToken::new();
    let calls = ["lead", "waits"].map(|worker| {
        let (model, cancel) = (Arc::clone(&model), cancel.clone());
        tokio::spawn(async move { model.stream(request(9_000, worker, None), cancel).await })
    });
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().kind, ModelErrorKind::Cancelled);
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
#[should_panic(expected = "differs")]
async fn a_prefix_that_differs_between_workers_is_a_mistake() {
    let server = scripted::serve_text("version: 1\nreplies: [{ blocks: [{ text: ok }] }]\n", 0).await.unwrap();
    let model = shared(&server, quick()).await;
    for brief in [9_000, 9_001] {
        let answer = model.stream(request(brief, "w", None), CancellationToken::new()).await;
        assert!(answer.is_ok());
    }
}
