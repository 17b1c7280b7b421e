//! What all requests of a run to one model share: a pause after "busy", the pace of the provider's limits, and the
//! retries that the run has.
//!
//! A provider that refuses one worker refuses them all, so what it said is kept once per provider, model and key.
//! After a pause the waiting requests go out one by one, not all in the same moment, until one succeeds.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use super::limits::{Limit, Unit};

/// Retries that a run may have open: 32 workers that meet a spell of load of eight attempts each.
const RETRIES: u32 = 256;
/// Between two releases after a pause, until one request has succeeded.
const RAMP: Duration = Duration::from_millis(250);

/// What all models of a run share.
pub struct Pressure {
    gates: DashMap<GateKey, Arc<Gate>>,
    retries_left: AtomicU32,
    retries: u32,
}

impl Default for Pressure {
    fn default() -> Pressure {
        Pressure::with_retries(RETRIES)
    }
}

impl fmt::Debug for Pressure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pressure").field("retries_left", &self.retries_left).finish_non_exhaustive()
    }
}

/// A provider, a model, and the hash of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GateKey {
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) key: [u8; 32],
}

impl Pressure {
    /// A run may fail so many requests beyond those that succeeded.
    pub fn with_retries(retries: u32) -> Pressure {
        Pressure { gates: DashMap::new(), retries_left: AtomicU32::new(retries), retries }
    }

    /// How many retries a run has.
    pub(super) fn retries(&self) -> u32 {
        self.retries
    }

    /// Takes one retry; `false` = there is none left.
    pub(super) fn take_retry(&self) -> bool {
        let taken = self.retries_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        taken.is_ok()
    }

    /// A success gives one back, so that a long run is not ended by faults that it got over.
    pub(super) fn give_retry(&self) {
        let max = self.retries;
        let give = |left: u32| (left < max).then_some(left + 1);
        // An error says that all are there.
        let _ = self.retries_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }

    pub(super) fn gate(&self, key: GateKey) -> Arc<Gate> {
        Arc::clone(&self.gates.entry(key).or_default())
    }
}

/// The one place that requests to a model with a key pass.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

impl Gate {
    /// Waits until a request may be sent.
    pub(super) async fn pass(&self) {
        loop {
            let wait = self.with(|state| state.admit(Instant::now()));
            match wait {
                None => return,
                Some(until) => tokio::time::sleep_until(until).await,
            }
        }
    }

    /// The provider is busy: nobody sends before `until`.
    pub(super) fn cool_down(&self, until: Instant) {
        self.with(|state| state.cool_down(until));
    }

    /// Would a request have to wait for a pause to end?
    #[cfg(test)]
    pub(super) fn pauses(&self) -> bool {
        self.with(|state| state.until.is_some_and(|until| until > Instant::now()))
    }

    /// What an answer told of the limits.
    pub(super) fn learn(&self, limits: Vec<Limit>) {
        if !limits.is_empty() {
            self.with(|state| state.learn(limits, Instant::now()));
        }
    }

    /// A request succeeded, and this much of its input counted against the limits.
    pub(super) fn succeeded(&self, counted_tokens: u64) {
        self.with(|state| state.succeeded(counted_tokens));
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is known of a model's limits; decides with the time it is given.
#[derive(Debug, Default)]
struct State {
    /// Nobody sends before this.
    until: Option<Instant>,
    /// After a pause, until a request succeeds: the next release.
    ramp: Option<Instant>,
    limits: Vec<Limit>,
    learned: Option<Instant>,
    /// Requests that were let through since.
    sent: u64,
    /// Tokens of a usual request that count against a limit: a moving mean of those that succeeded. What is read
    /// from a cache does not count, and only an answer tells how much that was.
    usual_tokens: u64,
}

impl State {
    /// `None` = a request may be sent now, and is counted; else when to ask again.
    fn admit(&mut self, now: Instant) -> Option<Instant> {
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Some(until);
        }
        if self.until.take().is_some() {
            self.ramp = Some(now);
        }
        if let Some(next) = self.ramp {
            if next > now {
                return Some(next);
            }
            self.ramp = Some(now + RAMP);
        }
        let since = self.learned.map_or(Duration::ZERO, |learned| now.saturating_duration_since(learned));
        let usual = self.usual_tokens;
        let wait = self.limits.iter().map(|limit| match limit.unit {
            Unit::Requests => limit.wait(1, self.sent, since),
            Unit::Tokens => limit.wait(usual, usual.saturating_mul(self.sent), since),
        });
        if let Some(wait) = wait.max().filter(|wait| !wait.is_zero()) {
            return Some(now + wait);
        }
        self.sent += 1;
        None
    }

    fn cool_down(&mut self, until: Instant) {
        self.until = Some(self.until.map_or(until, |earlier| earlier.max(until)));
    }

    fn learn(&mut self, limits: Vec<Limit>, now: Instant) {
        self.limits = limits;
        self.learned = Some(now);
        self.sent = 0;
    }

    fn succeeded(&mut self, counted_tokens: u64) {
        self.ramp = None;
        self.usual_tokens = match self.usual_tokens {
            0 => counted_tokens,
            usual => (usual.saturating_mul(3).saturating_add(counted_tokens)) / 4,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Limit, Pressure, RAMP, State, Unit};

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_pause_holds_for_all_and_ends_one_by_one() {
        let start = Instant::now();
        let mut state = State::default();
        assert_eq!(state.admit(start), None);
        state.cool_down(start + 3 * S);
        state.cool_down(start + 2 * S);
        assert_eq!(state.admit(start + S), Some(start + 3 * S));
        let over = start + 3 * S;
        assert_eq!(state.admit(over), None);
        assert_eq!(state.admit(over), Some(over + RAMP));
        assert_eq!(state.admit(over + RAMP), None);
        assert_eq!(state.admit(over + RAMP), Some(over + 2 * RAMP));
        state.succeeded(10);
        assert_eq!(state.admit(over + RAMP), None);
        assert_eq!(state.admit(over + RAMP), None);
    }

    #[test]
    fn requests_are_paced_by_what_the_limits_leave() {
        let start = Instant::now();
        let mut state = State::default();
        let bucket = |unit, limit, remaining, reset| Limit { unit, limit, remaining, reset };
        state.learn(vec![bucket(Unit::Requests, 10, 2, 8 * S)], start);
        assert_eq!(state.admit(start), None);
        assert_eq!(state.admit(start), None);
        // Eight of ten are missing and come in within 8 s: one a second.
        assert_eq!(state.admit(start), Some(start + S));
        assert_eq!(state.admit(start + S), None);
        assert_eq!(state.admit(start + S), Some(start + 2 * S));
        assert_eq!(state.admit(start + 2 * S), None);
        // Tokens: a request that costs what requests usually cost.
        state.succeeded(400);
        state.learn(vec![bucket(Unit::Tokens, 1000, 100, 9 * S)], start);
        assert_eq!(state.admit(start), Some(start + 3 * S));
        assert_eq!(state.admit(start + 9 * S), None);
    }

    #[test]
    fn the_usual_cost_follows_what_is_seen() {
        let mut state = State::default();
        state.succeeded(60_000);
        assert_eq!(state.usual_tokens, 60_000);
        for _ in 0..20 {
            state.succeeded(100);
        }
        assert!(state.usual_tokens < 400, "{}", state.usual_tokens);
    }

    #[test]
    fn retries_are_bounded_and_successes_give_them_back() {
        let pressure = Pressure::with_retries(2);
        assert!(pressure.take_retry() && pressure.take_retry() && !pressure.take_retry());
        pressure.give_retry();
        assert!(pressure.take_retry() && !pressure.take_retry());
        for _ in 0..5 {
            pressure.give_retry();
        }
        assert!(pressure.take_retry() && pressure.take_retry() && !pressure.take_retry());
    }
}
