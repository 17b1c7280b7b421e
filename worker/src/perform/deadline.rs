//! The wall-time bound of a whole attempt: a host that says stop when the time is over.
//!
//! The clock stands still while a human is asked: waiting for an answer is nobody's slow work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::host::{Host, Message, Pending, Reply};

/// A process is given exactly the time that is left; what stops everything else comes this much later, so
/// that a process which is too slow is reported as that.
const SLACK: Duration = Duration::from_secs(1);
/// Stands for "no end" where a bound is too large for the clock: a century.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// When the time is over, as far as is known.
#[derive(Debug, Clone, Copy)]
struct Clock {
    end: Instant,
    /// Questions to a human that are open; the clock stands while there is one.
    open: u32,
    /// When the first of them was asked.
    since: Instant,
}

impl Clock {
    /// The end if everything went on from now.
    fn end(&self, now: Instant) -> Instant {
        if self.open == 0 { self.end } else { self.end + now.saturating_duration_since(self.since) }
    }
}

/// A host whose workers stop at a deadline, too.
struct Bounded {
    inner: Arc<dyn Host>,
    stop: CancellationToken,
    clock: watch::Sender<Clock>,
}

impl Bounded {
    async fn ask(&self, message: Message) -> Reply {
        self.clock.send_modify(|clock| {
            if clock.open == 0 {
                clock.since = Instant::now();
            }
            clock.open += 1;
        });
        let answered = Answered(&self.clock);
        let reply = self.inner.send(message).await;
        drop(answered);
        reply
    }
}

/// Starts the clock again, also when nobody waits for the answer any more.
struct Answered<'a>(&'a watch::Sender<Clock>);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|clock| {
            if clock.open == 1 {
                clock.end = clock.end(Instant::now());
            }
            clock.open -= 1;
        });
    }
}

impl Host for Bounded {
    fn send(&self, message: Message) -> Pending<'_> {
        match message {
            Message::Ask { .. } => Box::pin(self.ask(message)),
            Message::Intent(_)
            | Message::Result(_)
            | Message::Usage(_)
            | Message::Reserve { .. }
            | Message::Propose(_) => self.inner.send(message),
        }
    }

    fn cancelled(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// The deadline of an attempt.
pub(super) struct Deadline {
    host: Arc<Bounded>,
    inner: CancellationToken,
    timeout_ms: u64,
    timer: JoinHandle<()>,
}

impl Deadline {
    pub(super) fn new(inner: Arc<dyn Host>, timeout_ms: u64) -> Self {
        let now = Instant::now();
        let end = now + Duration::from_millis(timeout_ms).min(FOREVER);
        let (clock, seen) = watch::channel(Clock { end, open: 0, since: now });
        let outer = inner.cancelled();
        let stop = outer.child_token();
        let timer = tokio::spawn(tick(seen, stop.clone()));
        let host = Arc::new(Bounded { inner, stop, clock });
        Self { host, inner: outer, timeout_ms, timer }
    }

    /// The host to work with.
    pub(super) fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.host) as Arc<dyn Host>
    }

    /// Milliseconds that are left.
    pub(super) fn left_ms(&self) -> u64 {
        let now = Instant::now();
        let left = self.host.clock.borrow().end(now).saturating_duration_since(now);
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    /// Was the work stopped by the deadline, and not by the host?
    pub(super) fn passed(&self) -> bool {
        !self.inner.is_cancelled() && self.host.stop.is_cancelled()
    }

    /// What to say when it has passed.
    pub(super) fn message(&self) -> String {
        format!("the attempt took longer than {} ms", self.timeout_ms)
    }

    /// Ends the timer.
    pub(super) async fn close(mut self) {
        self.host.stop.cancel();
        // It only waits; it cannot panic.
        let _ = (&mut self.timer).await;
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.host.stop.cancel();
    }
}

/// Says stop at the end, whenever that is by then.
async fn tick(mut clock: watch::Receiver<Clock>, stop: CancellationToken) {
    loop {
        let now = *clock.borrow_and_update();
        let end = async {
            if now.open > 0 {
                return std::future::pending().await;
            }
            tokio::time::sleep_until(now.end + SLACK).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = clock.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = end => return stop.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    /// A host that answers when it is told to.
    #[derive(Default)]
    struct Slow {
        answer: Notify,
        cancel: CancellationToken,
    }

    impl Host for Slow {
        fn send(&self, _message: Message) -> Pending<'_> {
            Box::pin(async {
                self.answer.notified().await;
                Reply::Answer { text: "yes".to_owned() }
            })
        }

        fn cancelled(&self) -> CancellationToken {
            self.cancel.clone()
        }
    }

    #[tokio::test]
    async fn the_clock_stands_while_a_human_is_asked() {
        let deadline = Deadline::new(Arc::new(Slow::default()), 200);
        let host = deadline.host();
        let asked = host.send(Message::Ask { to: Default::default(), question: "on?".to_owned(), options: Vec::new() });
        let stopped = host.cancelled();
        let asked = timeout(SLACK + Duration::from_millis(400), asked).await;
        assert!(asked.is_err() && !stopped.is_cancelled(), "nobody answered, and no time went by");
        // Nobody waits any more: the clock goes on.
        timeout(SLACK * 10, stopped.cancelled()).await.unwrap();
        assert!(deadline.passed());
        assert_eq!(deadline.left_ms(), 0);
        deadline.close().await;
    }

    #[tokio::test]
    async fn a_stop_of_the_host_is_not_the_deadline() {
        let host = Slow::default();
        let cancel = host.cancel.clone();
        let deadline = Deadline::new(Arc::new(host), u64::MAX);
        assert!(deadline.left_ms() > 1_000_000);
        cancel.cancel();
        deadline.host().cancelled().cancelled().await;
        assert!(!deadline.passed());
        deadline.close().await;
    }
}
