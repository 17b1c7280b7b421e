//! The wall-time bound of a whole attempt: a host that says stop when the time is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::host::{Host, Message, Pending};

/// A process is given exactly the time that is left; what stops everything else comes this much later, so
/// that a process which is too slow is reported as that.
const SLACK: Duration = Duration::from_secs(1);

/// A host whose workers stop at a deadline, too.
struct Bounded {
    inner: Arc<dyn Host>,
    stop: CancellationToken,
}

impl Host for Bounded {
    fn send(&self, message: Message) -> Pending<'_> {
        self.inner.send(message)
    }

    fn cancelled(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// The deadline of an attempt.
pub(super) struct Deadline {
    host: Arc<dyn Host>,
    inner: CancellationToken,
    stop: CancellationToken,
    timeout_ms: u64,
    at: Instant,
    timer: JoinHandle<()>,
}

impl Deadline {
    pub(super) fn new(inner: Arc<dyn Host>, timeout_ms: u64) -> Self {
        let limit = Duration::from_millis(timeout_ms);
        let outer = inner.cancelled();
        let stop = outer.child_token();
        let ticking = stop.clone();
        let timer = tokio::spawn(async move {
            tokio::select! {
                () = ticking.cancelled() => {}
                () = tokio::time::sleep(limit.saturating_add(SLACK)) => ticking.cancel(),
            }
        });
        let host = Arc::new(Bounded {
            inner,
            stop: stop.clone(),
        });
        let at = Instant::now()
            .checked_add(limit)
            .unwrap_or_else(Instant::now);
        Self {
            host,
            inner: outer,
            stop,
            timeout_ms,
            at,
            timer,
        }
    }

    /// The host to work with.
    pub(super) fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.host)
    }

    /// Milliseconds that are left.
    pub(super) fn left_ms(&self) -> u64 {
        let left = self.at.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    /// Was the work stopped by the deadline, and not by the host?
    pub(super) fn passed(&self) -> bool {
        !self.inner.is_cancelled() && self.stop.is_cancelled()
    }

    /// What to say when it has passed.
    pub(super) fn message(&self) -> String {
        format!("the attempt took longer than {} ms", self.timeout_ms)
    }

    /// Ends the timer.
    pub(super) async fn close(mut self) {
        self.stop.cancel();
        // It only waits; it cannot panic.
        let _ = (&mut self.timer).await;
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
