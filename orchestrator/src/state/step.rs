//! The states of a step: from waiting for what it needs to its end.

use super::{Machine, Row, names};

names! {
    /// Where a step is.
    pub(crate) enum Step {
        /// Something that it needs is not there yet.
        Waiting = "waiting",
        /// It can start as soon as a slot is free.
        Ready = "ready",
        /// A worker is at it.
        Running = "running",
        /// Its worker has asked a human.
        NeedsInput = "needs_input",
        /// Its own check runs on its commit.
        Checking = "checking",
        /// Its commit waits for a human.
        Review = "review",
        /// A human has approved its commit.
        Approved = "approved",
        /// Its commit waits for its landing.
        Queued = "queued",
        /// Its commit is in a candidate.
        Landing = "landing",
        /// Stopped with everything kept; `resume` goes on.
        Parked = "parked",
        /// Its base has lost something: its change has to move to a new base.
        Stale = "stale",
        /// Its commit is on the target branch.
        Landed = "landed",
        /// It has done what was asked and has nothing to land.
        Done = "done",
        /// A write step that changed nothing.
        Unchanged = "unchanged",
        /// It did not do what was asked, and its retries are used up.
        Failed = "failed",
        /// Something that it needs ended badly.
        Blocked = "blocked",
        /// It was told not to start.
        Skipped = "skipped",
        /// It was told to end while it ran.
        Cancelled = "cancelled",
        /// A human rejected its work, which is kept aside.
        Rejected = "rejected",
    }
}

names! {
    /// What happens to a step.
    pub(crate) enum StepEvent {
        /// All it needs is there.
        Ready = "ready",
        /// A worker starts (a new attempt).
        Start = "start",
        /// The worker asks.
        Ask = "ask",
        /// A human has answered.
        Answer = "answer",
        /// The step's own check starts.
        Check = "check",
        /// A repair starts.
        Repair = "repair",
        /// What it needs does not merge; it waits for a landing.
        NeedsConflict = "needs_conflict",
        /// It ended with nothing to land.
        Done = "done",
        /// It ended and changed nothing.
        Unchanged = "unchanged",
        /// Its commit goes to review.
        Review = "review",
        /// Its commit goes to the queue.
        Queue = "queue",
        /// A human approves.
        Approve = "approve",
        /// An approval no longer binds what it was given for.
        Lapse = "lapse",
        /// The attempt failed or was sent back, and a retry is left.
        Retry = "retry",
        /// The attempt failed or was sent back, and no retry is left.
        Fail = "fail",
        /// A candidate is made of it.
        Land = "land",
        /// Its candidate came to nothing through no fault of its own.
        Requeue = "requeue",
        /// The target holds it.
        Landed = "landed",
        /// Its base has lost something.
        Stale = "stale",
        /// The run stops, or a human stops the step, or the machine refuses to go on with it.
        Park = "park",
        /// The run goes on.
        Unpark = "unpark",
        /// The process that ran it died.
        Interrupt = "interrupt",
        /// Something that it needs ended badly.
        Block = "block",
        /// What blocked it is tried again.
        Unblock = "unblock",
        /// A human wants it done again, with words.
        Redo = "redo",
        /// A human wants it tried again.
        Retried = "retried",
        /// A human rejects its work.
        Reject = "reject",
        /// A human does not want it started.
        Skip = "skip",
        /// A human ends it while it runs.
        Cancel = "cancel",
    }
}

impl StepEvent {
    /// Is it caused by a human's verb (or by the consequence of one for a dependent)?
    #[cfg(test)]
    pub(crate) fn by_verb(self) -> bool {
        matches!(self, Self::Redo | Self::Retried | Self::Unblock | Self::Reject)
    }
}

use Step as S;
use StepEvent as E;

const fn row(from: &'static [S], event: E, to: S, leaves: &'static str) -> Row<S, E> {
    Row { from, event, to, leaves }
}

impl Machine for Step {
    type Event = StepEvent;
    const NAME: &'static str = "step";
    const STATES: &'static [Self] = Self::ALL;
    const EVENTS: &'static [StepEvent] = StepEvent::ALL;
    const ROWS: &'static [Row<S, E>] = &[
        row(&[S::Waiting], E::Ready, S::Ready, "nothing"),
        row(&[S::Ready, S::Stale], E::Start, S::Running, "an attempt and a slot lease"),
        row(&[S::Running], E::Ask, S::NeedsInput, "a question; slot and conversation kept"),
        row(&[S::NeedsInput], E::Answer, S::Running, "the answer, with who gave it"),
        row(&[S::Running], E::Check, S::Checking, "the commit object of the attempt"),
        row(&[S::Checking], E::Repair, S::Running, "the red check's evidence"),
        row(&[S::Running], E::NeedsConflict, S::Waiting, "the paths in conflict"),
        row(&[S::Running], E::Done, S::Done, "a report"),
        row(&[S::Running, S::Checking], E::Unchanged, S::Unchanged, "a report, no commit"),
        // From review and approved, too: its user has put another commit on its branch.
        row(
            &[S::Running, S::Checking, S::Review, S::Approved, S::Queued, S::Landing],
            E::Review,
            S::Review,
            "attempt ref and step branch",
        ),
        row(&[S::Running, S::Checking, S::Review, S::Approved], E::Queue, S::Queued, "attempt ref and step branch"),
        row(&[S::Review], E::Approve, S::Approved, "who approved which attempt and commit"),
        row(&[S::Approved], E::Lapse, S::Review, "why it lapsed"),
        row(
            &[S::Running, S::Checking, S::Queued, S::Landing],
            E::Retry,
            S::Ready,
            "evidence; earlier attempts keep their refs",
        ),
        row(&[S::Running, S::Checking, S::Queued, S::Landing], E::Fail, S::Failed, "evidence; attempt refs kept"),
        row(&[S::Queued], E::Land, S::Landing, "a candidate to be made"),
        row(&[S::Landing], E::Requeue, S::Queued, "nothing"),
        row(&[S::Landing], E::Landed, S::Landed, "the commit on the target branch"),
        row(
            &[S::Running, S::Checking, S::Review, S::Approved, S::Queued],
            E::Stale,
            S::Stale,
            "the commit, on its old base",
        ),
        row(&[S::Ready, S::Running, S::Checking, S::NeedsInput], E::Park, S::Parked, "slot and conversation kept"),
        row(&[S::Parked], E::Unpark, S::Waiting, "nothing"),
        row(&[S::Running, S::Checking, S::NeedsInput], E::Interrupt, S::Waiting, "slot and conversation kept"),
        row(&[S::Waiting, S::Ready, S::Stale, S::Parked], E::Block, S::Blocked, "the step it needed"),
        row(&[S::Blocked], E::Unblock, S::Waiting, "nothing"),
        row(
            &[S::Review, S::Approved, S::Queued, S::Stale, S::Failed, S::Unchanged],
            E::Redo,
            S::Waiting,
            "the comments; the old attempt keeps its ref",
        ),
        row(
            &[S::Failed, S::Blocked, S::Cancelled, S::Skipped, S::Parked],
            E::Retried,
            S::Waiting,
            "nothing; old attempts keep their refs",
        ),
        row(
            &[S::Review, S::Approved, S::Queued, S::Stale, S::Failed],
            E::Reject,
            S::Rejected,
            "the work under its attempt ref",
        ),
        row(&[S::Waiting, S::Ready], E::Skip, S::Skipped, "nothing"),
        row(
            &[S::Running, S::Checking, S::NeedsInput, S::Parked],
            E::Cancel,
            S::Cancelled,
            "what the slot held, salvaged",
        ),
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
    fn event_name(event: StepEvent) -> &'static str {
        event.as_str()
    }
    fn terminal(self) -> bool {
        match self {
            S::Waiting | S::Ready | S::Running | S::NeedsInput | S::Checking | S::Review => false,
            S::Approved | S::Queued | S::Landing | S::Parked | S::Stale => false,
            S::Landed | S::Done | S::Unchanged | S::Failed | S::Blocked => true,
            S::Skipped | S::Cancelled | S::Rejected => true,
        }
    }
    fn exit(self) -> u8 {
        match self {
            S::Landed | S::Done | S::Unchanged | S::Skipped | S::Rejected => 0,
            S::Failed | S::Blocked | S::Cancelled => 1,
            S::Waiting | S::Ready | S::Running | S::NeedsInput | S::Checking | S::Review => 4,
            S::Approved | S::Queued | S::Landing | S::Parked | S::Stale => 4,
        }
    }
    fn why(self) -> &'static [&'static str] {
        match self {
            S::Waiting => &["needs", "after", "needs_conflict", "interrupted", "redo", "retry"],
            S::Ready => &[
                "exit",
                "signal",
                "timeout",
                "idle",
                "check_red",
                "model",
                "turns",
                "environment",
                "conflict",
                "red",
                "restack",
            ],
            S::Failed => &[
                "exit",
                "signal",
                "timeout",
                "idle",
                "check_red",
                "bad_rule",
                "uncommittable",
                "wrote_in_read_mode",
                "model",
                "turns",
                "budget",
                "environment",
                "conflict",
                "red",
                "denied",
            ],
            S::Review => &["manual", "outside_touches", "branch_moved", "final_red", "lapsed", "group"],
            S::Stale => &["base_changed"],
            S::Blocked => &["needed"],
            S::Parked => &["stopped", "interrupted", "budget", "base_red", "environment", "model"],
            S::Queued => &[
                "held",
                "tip_moved",
                "gathered",
                "group",
                "split",
                "clash",
                "not_generated",
                "superseded",
                "base_changed",
                "interrupted",
                "released",
                "withdrawn",
            ],
            S::NeedsInput => &["question"],
            S::Running => &["restack", "repair"],
            S::Checking | S::Approved | S::Landing | S::Landed | S::Done | S::Unchanged => &[],
            S::Skipped | S::Cancelled | S::Rejected => &["human"],
        }
    }
}
