//! The states of an attempt: one try of one step by one worker.

use super::{Machine, Row, names};

names! {
    /// Where an attempt is.
    pub(crate) enum Attempt {
        /// It has a number, and its base and slot are being prepared.
        Leased = "leased",
        /// Its executor runs.
        Executing = "executing",
        /// Its commit object exists.
        Committed = "committed",
        /// The step's own check runs on that commit.
        Checking = "checking",
        /// A repair runs after a red check.
        Repairing = "repairing",
        /// It waits for a human's answer.
        Asking = "asking",
        /// It did what was asked.
        Succeeded = "succeeded",
        /// It did not.
        Failed = "failed",
        /// It was stopped and keeps its slot.
        Parked = "parked",
        /// Its process died; it keeps its slot.
        Interrupted = "interrupted",
    }
}

names! {
    /// What happens to an attempt.
    pub(crate) enum AttemptEvent {
        /// The executor starts.
        Execute = "execute",
        /// The commit is about to be made.
        Commit = "commit",
        /// The check starts.
        Check = "check",
        /// A repair starts.
        Repair = "repair",
        /// The worker asks.
        Ask = "ask",
        /// It got its answer.
        Answer = "answer",
        /// It ended well.
        Succeed = "succeed",
        /// It ended badly.
        Fail = "fail",
        /// It was stopped.
        Park = "park",
        /// Its process died.
        Interrupt = "interrupt",
        /// It goes on in its kept slot.
        Resume = "resume",
    }
}

use Attempt as S;
use AttemptEvent as E;

const fn row(from: &'static [S], event: E, to: S, leaves: &'static str) -> Row<S, E> {
    Row { from, event, to, leaves }
}

const LIVE: &[S] = &[S::Leased, S::Executing, S::Committed, S::Checking, S::Repairing, S::Asking];

impl Machine for Attempt {
    type Event = AttemptEvent;
    const NAME: &'static str = "attempt";
    const STATES: &'static [Self] = Self::ALL;
    const EVENTS: &'static [AttemptEvent] = AttemptEvent::ALL;
    const ROWS: &'static [Row<S, E>] = &[
        row(&[S::Leased], E::Execute, S::Executing, "processes of the step's group"),
        row(
            &[S::Leased, S::Executing, S::Committed, S::Repairing, S::Checking],
            E::Commit,
            S::Committed,
            "a commit object whose id is in the journal",
        ),
        // From `executing`, too: a commit that was there before (moved to a new base, or made before a crash).
        row(&[S::Leased, S::Executing, S::Committed], E::Check, S::Checking, "processes of the check's group"),
        row(&[S::Checking], E::Repair, S::Repairing, "the red check's evidence"),
        row(&[S::Executing, S::Repairing], E::Ask, S::Asking, "a question"),
        row(&[S::Asking], E::Answer, S::Executing, "the answer"),
        row(LIVE, E::Succeed, S::Succeeded, "the attempt ref where there is a commit; a report"),
        row(LIVE, E::Fail, S::Failed, "the attempt ref where there is a commit; evidence"),
        row(LIVE, E::Park, S::Parked, "its slot, untouched"),
        row(LIVE, E::Interrupt, S::Interrupted, "its slot, untouched"),
        row(&[S::Parked, S::Interrupted], E::Resume, S::Leased, "nothing"),
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
    fn event_name(event: AttemptEvent) -> &'static str {
        event.as_str()
    }
    fn terminal(self) -> bool {
        match self {
            S::Succeeded | S::Failed => true,
            S::Leased | S::Executing | S::Committed | S::Checking | S::Repairing | S::Asking => false,
            S::Parked | S::Interrupted => false,
        }
    }
    fn exit(self) -> u8 {
        match self {
            S::Succeeded => 0,
            S::Failed => 1,
            S::Asking => 4,
            S::Leased | S::Executing | S::Committed | S::Checking | S::Repairing => 130,
            S::Parked | S::Interrupted => 130,
        }
    }
    fn why(self) -> &'static [&'static str] {
        match self {
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
            ],
            S::Parked => &["stopped", "interrupted", "environment"],
            S::Interrupted => &["died"],
            S::Leased | S::Executing | S::Committed | S::Checking | S::Repairing => &[],
            S::Asking | S::Succeeded => &[],
        }
    }
}
