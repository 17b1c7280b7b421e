//! One model, shared by all workers of a run: the gate before its cache, its prices, and the wall it may hit.
//!
//! [`Shared`] is a [`Model`] around another. It decides nothing of its own: who may go is the gate's business
//! (`wattle_cache::warm`), what a request costs the table's; here is the waiting, the clock, and what one worker's call
//! means for the others. A refusal that every other request would meet as well is met once: from then on each call ends
//! with it and nothing is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{Target, prewarm};
use wattle_cache::price::{Price, Table};
use wattle_cache::warm::differ::first_difference;
use wattle_cache::warm::kind::CacheKind;
use wattle_cache::warm::{Gate, Miss, Policy, Role, Sizes, Ticket, Verdict};

use super::{Asking, Attempt, Model, ModelError, ModelErrorKind, ModelRequest, Reply, Streaming, Watch};

/// Tokens below which nothing is cached, where the price table does not say: the higher of today's usual ones.
const MIN_TOKENS: u64 = 1024;

/// What a shared model needs beside the model itself.
#[derive(Clone)]
pub struct SharedOptions {
    /// How the gate behaves.
    pub policy: Policy,
    /// Is the prefix written by a request of its own, before the first worker asks? Where no worker's request would leave
    /// it for the others, it always is.
    pub prewarm: bool,
    /// Prices.
    pub prices: Arc<Table>,
    /// Today, `YYYY-MM-DD`: prices have dates.
    pub today: Arc<dyn Fn() -> String + Send + Sync>,
}

/// A model that many workers ask.
pub struct Shared {
    inner: Arc<dyn Model>,
    options: SharedOptions,
    state: Arc<State>,
}

struct State {
    all: Mutex<All>,
    /// Somebody who waits may go, perhaps.
    changed: Notify,
    /// Time begins here.
    origin: Instant,
}

#[derive(Default)]
struct All {
    /// Workers that have begun to ask.
    workers: u32,
    /// By the hash of the prefix.
    gates: BTreeMap<String, Gate>,
    /// The prefix that the requests to each model begin with, with its hash.
    prefixes: BTreeMap<String, (String, Bytes)>,
    /// The refusal that every request would meet.
    wall: Option<ModelErrorKind>,
}

/// A request that is past the gate, until dropped.
struct Pass {
    state: Arc<State>,
    key: String,
    ticket: Ticket,
    role: Role,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.state.all().gates.get_mut(&self.key).is_some_and(|gate| gate.ended(self.ticket)) {
            self.state.changed.notify_waiters();
        }
    }
}

/// Follows one call for the others.
struct Follow {
    state: Arc<State>,
    key: String,
    ticket: Ticket,
    inner: Option<Arc<dyn Watch>>,
}

impl Watch for Follow {
    fn started(&self) {
        if self.state.all().gates.get_mut(&self.key).is_some_and(|gate| gate.started(self.ticket)) {
            self.state.changed.notify_waiters();
        }
        if let Some(inner) = &self.inner {
            inner.started();
        }
    }

    fn again<'a>(&'a self, failed: &'a Attempt) -> Asking<'a> {
        Box::pin(async move {
            // Another worker has met a refusal meanwhile that this one would meet as well.
            let walled = self.state.all().wall.is_some();
            match &self.inner {
                _ if walled => false,
                Some(inner) => inner.again(failed).await,
                None => true,
            }
        })
    }
}

impl State {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Shared {
    /// Shares a model.
    pub fn new(inner: Arc<dyn Model>, options: SharedOptions) -> Shared {
        let (all, changed, origin) = (Mutex::default(), Notify::new(), Instant::now());
        Shared { inner, options, state: Arc::new(State { all, changed, origin }) }
    }

    async fn ask(&self, mut request: ModelRequest, cancel: CancellationToken) -> Result<Reply, ModelError> {
        let changed = self.compare(&request);
        let sizes = self.sizes(&request);
        let pass = self.pass(&request, sizes, &cancel).await?;
        let apart = self.options.prewarm || !CacheKind::of(self.target()).lead_warms();
        let warmed = match prewarm(self.target(), &request.bytes[..request.prefix_len]) {
            Some(bytes) if apart && pass.role == Role::Lead => self.prewarm(bytes, &request, &pass, &cancel).await,
            _ => Vec::new(),
        };
        let first = request.first;
        request.watch = Some(Arc::new(self.follow(&pass, request.watch.take())));
        let answered = self.inner.stream(request, cancel).await;
        match answered {
            Ok(mut reply) => {
                if first && let Some(attempt) = reply.attempts.last_mut() {
                    attempt.miss = self.missed(&pass, sizes, attempt, changed);
                }
                // Before the last one, which gave the reply: those before it are journaled by their order.
                let last = reply.attempts.len().saturating_sub(1);
                reply.attempts.splice(last..last, warmed);
                Ok(reply)
            }
            Err(mut error) => {
                self.failed(&error);
                error.attempts.extend(warmed);
                Err(error)
            }
        }
    }

    fn follow(&self, pass: &Pass, inner: Option<Arc<dyn Watch>>) -> Follow {
        Follow { state: Arc::clone(&self.state), key: pass.key.clone(), ticket: pass.ticket, inner }
    }

    /// Writes the prefix with a request of its own. Its price is covered by what was reserved for the lead's: what that one
    /// then reads it does not write. Where it fails the lead's own request does the work.
    async fn prewarm(
        &self,
        bytes: Vec<u8>,
        request: &ModelRequest,
        pass: &Pass,
        cancel: &CancellationToken,
    ) -> Vec<Attempt> {
        let warm =
            ModelRequest { bytes: bytes.into(), watch: Some(Arc::new(self.follow(pass, None))), ..request.clone() };
        match self.inner.stream(warm, cancel.clone()).await {
            Ok(reply) => reply.attempts,
            Err(error) => {
                tracing::debug!(%error, "the prefix was not warmed");
                error.attempts
            }
        }
    }

    /// What a failed call means for the others.
    fn failed(&self, error: &ModelError) {
        if error.kind.stops_all().is_some() {
            self.state.all().wall.get_or_insert(error.kind.clone());
            self.state.changed.notify_waiters();
        }
    }

    fn sizes(&self, request: &ModelRequest) -> Sizes {
        let min_tokens = self.price(&request.model).and_then(|price| price.min_cache_tokens).unwrap_or(MIN_TOKENS);
        Sizes { prefix_len: request.prefix_len, body_len: request.bytes.len(), min_tokens }
    }

    /// Waits at the gate of its prefix.
    async fn pass(&self, request: &ModelRequest, sizes: Sizes, cancel: &CancellationToken) -> Result<Pass, ModelError> {
        let end = |kind| ModelError { kind, attempts: Vec::new() };
        let key = request.prefix_sha.clone();
        let ticket = {
            let mut all = self.state.all();
            let usual = self.options.policy;
            let policy = Policy { enabled: usual.enabled && !sizes.too_short(), ..usual };
            all.gates.entry(key.clone()).or_insert_with(|| Gate::new(policy)).ticket()
        };
        let mut pass = Pass { state: Arc::clone(&self.state), key, ticket, role: Role::Alone };
        loop {
            let changed = self.state.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let verdict = {
                let mut all = self.state.all();
                if let Some(kind) = &all.wall {
                    return Err(end(kind.clone()));
                }
                let gate = all.gates.get_mut(&pass.key).expect("it was made above, and none is ever removed");
                gate.ask(ticket, request.first, self.state.now_ms())
            };
            let until_ms = match verdict {
                Verdict::Go(role) => {
                    pass.role = role;
                    return Ok(pass);
                }
                Verdict::Wait { until_ms } => until_ms,
            };
            // A time that far away is none; an hour is as good.
            let left = Duration::from_millis(until_ms.saturating_sub(self.state.now_ms()).min(3_600_000));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(left) => {}
                () = cancel.cancelled() => return Err(end(ModelErrorKind::Cancelled)),
            }
        }
    }

    /// Is the prefix the one that all others to its model have? Where it is not, a cache cannot know it: a mistake of
    /// ours, found in tests by the assertion and in the field by the event.
    fn compare(&self, request: &ModelRequest) -> Option<Miss> {
        let prefix = request.bytes.slice(..request.prefix_len);
        let mut all = self.state.all();
        let Some((sha, known)) = all.prefixes.get(&request.model) else {
            all.prefixes.insert(request.model.clone(), (request.prefix_sha.clone(), prefix));
            return None;
        };
        if *sha == request.prefix_sha {
            return None;
        }
        let found = first_difference(known, &prefix)?;
        drop(all);
        debug_assert!(false, "the shared prefix of {} differs: {found:?}", request.model);
        tracing::warn!(model = %request.model, at = found.at, cause = %found.cause, "the shared prefix differs");
        Some(Miss { expected: 0, read: 0, cause: found.cause, at: Some(found.at as u64) })
    }

    /// Did the first request of a worker find the prefix in the cache?
    fn missed(&self, pass: &Pass, sizes: Sizes, attempt: &Attempt, changed: Option<Miss>) -> Option<Miss> {
        let mut all = self.state.all();
        let found = all.gates.get_mut(&pass.key)?.first_usage(pass.role, sizes, &attempt.usage);
        match (found, changed) {
            (Some(found), Some(changed)) => Some(Miss { cause: changed.cause, at: changed.at, ..found }),
            (None, Some(changed)) => Some(Miss { read: attempt.usage.cache_read, ..changed }),
            (found, None) => found,
        }
    }
}

impl Model for Shared {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn target(&self) -> &Target {
        self.inner.target()
    }

    fn stream<'a>(&'a self, request: ModelRequest, cancel: CancellationToken) -> Streaming<'a> {
        Box::pin(self.ask(request, cancel))
    }

    fn join(&self) -> u32 {
        let mut all = self.state.all();
        all.workers += 1;
        all.workers - 1
    }

    fn price(&self, model: &str) -> Option<Price> {
        self.options.prices.find(self.inner.name(), model, &(self.options.today)())
    }
}

#[cfg(test)]
mod tests;
