//! A model behind HTTP: one streamed request, tried again while that can help.
//!
//! A turn counts only after the last event of its stream. What came before a fault is thrown away and the
//! whole request is sent again: half a turn can never be continued, and the cached prefix makes it cheap.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use reqwest::{Client, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{Origin, Target};

use super::assemble::{self, Assembled, Assembly, Progress};
use super::error::Reason;
use super::pressure::{Gate, GateKey, Pressure};
use super::retry::{self, Fault, FaultKind, Tally};
use super::setup::{Setup, redacted};
use super::sse::Decoder;
use super::transport::{self, Pace};
use super::{Attempt, Model, ModelError, ModelErrorKind, ModelRequest, Reply, SetupError, Streaming, WireOptions};
use super::{limits, refusal};

/// Bound on a request, by the strictest provider's rule; more is refused before it is sent.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A model behind one of the three wires.
pub struct HttpModel {
    client: Client,
    setup: Setup,
    target: Target,
    pace: Pace,
    pressure: Arc<Pressure>,
    /// Hash of the key: limits hold per key.
    key: [u8; 32],
}

impl fmt::Debug for HttpModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpModel").field("target", &self.target).finish_non_exhaustive()
    }
}

/// One attempt under way: what it has told so far.
struct Try {
    assembly: Box<dyn Assembly>,
    attempt: Attempt,
    sent: Instant,
}

impl HttpModel {
    /// Sets up a client; nothing is sent yet.
    ///
    /// # Errors
    /// Fails where the address, the key or the version cannot be used.
    pub fn new(options: WireOptions) -> Result<HttpModel, SetupError> {
        HttpModel::with_pace(options, Pace::default())
    }

    pub(crate) fn with_pace(options: WireOptions, pace: Pace) -> Result<HttpModel, SetupError> {
        let setup = Setup::new(&options)?;
        let client = transport::client(&setup.base, &pace).map_err(|source| SetupError::Client { source })?;
        let key = blake3::hash(setup.secrets.join("\n").as_bytes()).into();
        let WireOptions { target, pressure, .. } = options;
        Ok(HttpModel { client, setup, target, pace, pressure, key })
    }

    async fn ask(&self, request: ModelRequest, cancel: CancellationToken) -> Result<Reply, ModelError> {
        let mut attempts = Vec::new();
        let cancelled = |attempts| Err(ModelError { kind: ModelErrorKind::Cancelled, attempts });
        if let Some(kind) = self.too_large(&request) {
            return Err(ModelError { kind, attempts });
        }
        let gate = self.gate(&request.model);
        let mut tally = Tally::default();
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return cancelled(attempts),
                () = gate.pass() => {}
            }
            let assembly = assemble::assembly(self.target.codec);
            let mut current = Try { assembly, attempt: Attempt::default(), sent: Instant::now() };
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                ended = self.attempt(&request, &mut current, &gate) => Some(ended.map_err(|fault| self.hidden(fault))),
            };
            self.settle(&mut current, &request, ended.as_ref());
            attempts.push(current.attempt.clone());
            let fault = match ended {
                None => return cancelled(attempts),
                Some(Ok(())) => {
                    let usage = current.attempt.usage;
                    gate.succeeded(usage.uncached_in.saturating_add(usage.cache_write()));
                    self.pressure.give_retry();
                    return Ok(self.reply(&request, current, attempts));
                }
                Some(Err(fault)) => fault,
            };
            let pause = match self.plan(&fault, &mut tally) {
                Ok(pause) => pause,
                Err(kind) => return Err(ModelError { kind, attempts }),
            };
            if fault.kind == FaultKind::Busy {
                gate.cool_down(Instant::now() + pause);
            }
            let again = async {
                tokio::time::sleep(pause).await;
                request.again(&current.attempt).await
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return cancelled(attempts),
                again = again => if !again { return cancelled(attempts) },
            }
        }
    }

    /// Where requests to a model with this key pass.
    fn gate(&self, model: &str) -> Arc<Gate> {
        let (provider, model) = (self.target.provider.clone(), model.to_owned());
        self.pressure.gate(GateKey { provider, model, key: self.key })
    }

    fn too_large(&self, request: &ModelRequest) -> Option<ModelErrorKind> {
        let bytes = request.bytes.len();
        (bytes > REQUEST_BYTES_MAX).then(|| ModelErrorKind::Fatal {
            provider: self.target.provider.clone(),
            status: 413,
            code: "request_too_large".to_owned(),
            message: format!(
                "the request has {bytes} bytes, at most {REQUEST_BYTES_MAX} can be sent; nothing was sent"
            ),
            reason: Reason::TooLarge,
        })
    }

    /// The fault as it may be told to anybody.
    fn hidden(&self, fault: Fault) -> Fault {
        let hide = |text: &str| redacted(text, &self.setup.secrets);
        Fault { words: hide(&fault.words), code: hide(&fault.code), ..fault }
    }

    /// What follows a fault: a pause, or the end.
    fn plan(&self, fault: &Fault, tally: &mut Tally) -> Result<Duration, ModelErrorKind> {
        let provider = &self.target.provider;
        tally.count(fault.kind);
        tracing::debug!(%provider, attempt = tally.made, fault = %fault.line(), "model attempt failed");
        let chance = (RandomState::new().build_hasher().finish() % 1024) as f64 / 1024.0;
        let pause = retry::next(fault, *tally, provider, self.pace.backoff_first, chance)?;
        if self.pressure.take_retry() {
            return Ok(pause);
        }
        let (provider, budget, last) = (provider.clone(), self.pressure.retries(), fault.line());
        Err(ModelErrorKind::RetriesSpent { provider, budget, last })
    }

    /// Fills in what an attempt has cost and how it ended.
    fn settle(&self, current: &mut Try, request: &ModelRequest, ended: Option<&Result<(), Fault>>) {
        let Try { assembly, attempt, sent } = current;
        let told = assembly.told();
        let fault = ended.and_then(|ended| ended.as_ref().err());
        // Nothing was processed where nothing could be sent, or where the answer was an error to begin with.
        let unbilled = fault.is_some_and(|fault| fault.kind == FaultKind::Unreachable) || attempt.status >= 300;
        if unbilled && !told.started {
            attempt.exact = true;
        } else {
            (attempt.usage, attempt.exact) = told.usage(request.bytes.len());
        }
        attempt.reasoning_out = told.reasoning_out;
        // Names that its sender has given; one that repeats what it was sent may repeat a key.
        let hide = |text: &String| redacted(text, &self.setup.secrets);
        attempt.served = told.served.as_ref().map(hide);
        attempt.request_id = attempt.request_id.as_ref().map(hide);
        attempt.tier.clone_from(&told.tier);
        attempt.total_ms = millis(sent.elapsed());
        attempt.fault = fault.map(|fault| fault.code.clone());
    }

    fn reply(&self, request: &ModelRequest, current: Try, attempts: Vec<Attempt>) -> Reply {
        let origin = Origin {
            codec: self.target.codec,
            provider: self.target.provider.clone(),
            model: request.model.clone(),
            id: current.assembly.told().id.clone(),
        };
        let Assembled { content, blocks, stop } = current.assembly.finish();
        let origin = serde_json::to_string(&origin).expect("strings and names are JSON");
        let message_json =
            format!("{{\"role\":\"assistant\",\"content\":[{}],\"origin\":{origin}}}", content.join(","));
        Reply { message_json, blocks, stop, usage: current.attempt.usage, attempts }
    }

    /// One HTTP attempt.
    async fn attempt(&self, request: &ModelRequest, current: &mut Try, gate: &Gate) -> Result<(), Fault> {
        let base = &self.setup.base;
        let post = self.client.post(self.setup.endpoint.clone()).headers(self.setup.headers.clone());
        let sent = post.body(request.bytes.clone()).send().await;
        let response = sent.map_err(|error| transport::broken(error, base))?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        current.attempt.status = response.status().as_u16();
        current.attempt.request_id =
            header("request-id").or_else(|| header("x-request-id")).map(|id| id.chars().take(200).collect());
        gate.learn(limits::read(response.headers()));
        if !response.status().is_success() {
            let (status, headers) = (current.attempt.status, response.headers().clone());
            let body = match transport::body_text(response, base).await {
                Ok(body) => body,
                Err(fault) => fault.words,
            };
            return Err(refusal::answered(status, &headers, &body));
        }
        let kind = header("content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("text/event-stream") || kind.is_empty() || kind.starts_with("text/plain") {
            let base = self.setup.base.clone();
            let chunks = response.bytes_stream().map(|chunk| chunk.map_err(|error| transport::broken(error, &base)));
            read_stream(request, chunks, current).await
        } else {
            self.read_whole(request, response, current).await
        }
    }

    /// A reply that came whole, as some gateways answer a request for a stream; or a page.
    async fn read_whole(&self, request: &ModelRequest, response: Response, current: &mut Try) -> Result<(), Fault> {
        begun(request, current);
        current.attempt.whole = true;
        let body = transport::body_text(response, &self.setup.base).await?;
        if refusal::is_page(&body) {
            let fault = refusal::answered(current.attempt.status, &Default::default(), &body);
            return Err(unreadable(&format!("a page came in place of a reply: {}", fault.words)));
        }
        match current.assembly.take_whole(&body) {
            Ok(Progress::Failed(words)) => Err(refusal::reported(words)),
            Ok(Progress::More | Progress::Complete) => Ok(()),
            Err(error) => Err(unreadable(&error.to_string())),
        }
    }
}

/// Reads a stream to the terminal event of its message.
async fn read_stream(
    request: &ModelRequest,
    mut chunks: impl Stream<Item = Result<Bytes, Fault>> + Unpin,
    current: &mut Try,
) -> Result<(), Fault> {
    let mut decoder = Decoder::default();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let assembly = &mut current.assembly;
        let decoded = decoder.push(&chunk, |event| match assembly.take(event) {
            Ok(Progress::More) => ControlFlow::Continue(()),
            Ok(Progress::Complete) => ControlFlow::Break(Ok(())),
            Ok(Progress::Failed(words)) => ControlFlow::Break(Err(refusal::reported(words))),
            Err(error) => ControlFlow::Break(Err(unreadable(&format!("event {}: {error}", event.name)))),
        });
        if current.attempt.ttft_ms.is_none() && current.assembly.told().started {
            begun(request, current);
        }
        match decoded {
            Ok(None) => {}
            Ok(Some(ended)) => return ended,
            Err(error) => return Err(unreadable(&error.to_string())),
        }
    }
    if current.assembly.ended() {
        return Ok(());
    }
    let words = "the stream ended before the message did";
    Err(Fault::of(FaultKind::Truncated, "stream_truncated", words.to_owned()))
}

fn begun(request: &ModelRequest, current: &mut Try) {
    current.attempt.ttft_ms = Some(millis(current.sent.elapsed()));
    request.started();
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn unreadable(why: &str) -> Fault {
    Fault::of(FaultKind::Unreadable, "unreadable", format!("read the reply: {why}"))
}

impl Model for HttpModel {
    fn name(&self) -> &str {
        &self.target.provider
    }

    fn target(&self) -> &Target {
        &self.target
    }

    fn stream<'a>(&'a self, request: ModelRequest, cancel: CancellationToken) -> Streaming<'a> {
        Box::pin(self.ask(request, cancel))
    }
}

#[cfg(test)]
mod tests;
