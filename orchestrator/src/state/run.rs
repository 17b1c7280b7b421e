//! The states of a run: one execution of a plan.

use super::{Machine, Row, names};

names! {
    /// Where a run is.
    pub(crate) enum Run {
        /// The lead explores and proposes.
        Planning = "planning",
        /// The plan waits for its user.
        PlanReady = "plan_ready",
        /// Steps are being done.
        Running = "running",
        /// Nothing is left to do but what waits for review, or a landing is held.
        Review = "review",
        /// Nothing is left to do but what waits for an answer.
        NeedsInput = "needs_input",
        /// A human stopped it.
        Parked = "parked",
        /// Its budget is used up.
        Budget = "budget",
        /// A check is red on the base itself.
        BaseRed = "base_red",
        /// A signal or a crash stopped it.
        Interrupted = "interrupted",
        /// Everything that was asked is there.
        Completed = "completed",
        /// A step failed or was blocked.
        Failed = "failed",
    }
}

names! {
    /// What happens to a run.
    pub(crate) enum RunEvent {
        /// A plan exists.
        PlanReady = "plan_ready",
        /// Steps may start.
        Start = "start",
        /// Only reviews are left.
        Review = "review",
        /// Only questions are left.
        NeedsInput = "needs_input",
        /// A human stops it.
        Park = "park",
        /// The budget is used up.
        Budget = "budget",
        /// The base is red.
        BaseRed = "base_red",
        /// A signal or a crash.
        Interrupt = "interrupt",
        /// All is done.
        Complete = "complete",
        /// Something failed, and nothing else is left to do.
        Fail = "fail",
        /// It goes on.
        Resume = "resume",
    }
}

use Run as S;
use RunEvent as E;

const fn row(from: &'static [S], event: E, to: S, leaves: &'static str) -> Row<S, E> {
    Row { from, event, to, leaves }
}

impl Machine for Run {
    type Event = RunEvent;
    const NAME: &'static str = "run";
    const STATES: &'static [Self] = Self::ALL;
    const EVENTS: &'static [RunEvent] = RunEvent::ALL;
    const ROWS: &'static [Row<S, E>] = &[
        row(&[S::Planning], E::PlanReady, S::PlanReady, "the plan, by hash"),
        row(&[S::Planning, S::PlanReady], E::Start, S::Running, "frozen inputs, by hash"),
        row(&[S::Running], E::Review, S::Review, "step branches"),
        row(&[S::Running], E::NeedsInput, S::NeedsInput, "questions; kept slots"),
        row(&[S::Running], E::Park, S::Parked, "kept slots"),
        row(&[S::Running], E::Budget, S::Budget, "kept slots and conversations; what was under way is finished"),
        row(&[S::Running], E::BaseRed, S::BaseRed, "the red check's evidence; nobody is blamed"),
        row(&[S::Planning, S::Running], E::Interrupt, S::Interrupted, "kept slots"),
        row(&[S::Running], E::Complete, S::Completed, "the report"),
        row(&[S::Running], E::Fail, S::Failed, "the report; attempt refs of what failed"),
        row(
            &[S::Review, S::NeedsInput, S::Parked, S::Budget, S::BaseRed, S::Interrupted, S::Completed, S::Failed],
            E::Resume,
            S::Running,
            "nothing",
        ),
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
    fn event_name(event: RunEvent) -> &'static str {
        event.as_str()
    }
    fn terminal(self) -> bool {
        match self {
            S::Completed | S::Failed => true,
            S::Planning | S::PlanReady | S::Running | S::Review | S::NeedsInput => false,
            S::Parked | S::Budget | S::BaseRed | S::Interrupted => false,
        }
    }
    fn exit(self) -> u8 {
        match self {
            S::Completed => 0,
            S::Failed => 1,
            S::PlanReady | S::Review | S::NeedsInput | S::Parked => 4,
            S::Budget => 6,
            S::BaseRed => 7,
            S::Planning | S::Running | S::Interrupted => 130,
        }
    }
    fn why(self) -> &'static [&'static str] {
        match self {
            S::Review => &["review", "held"],
            S::Failed => &["step", "final_red"],
            S::Interrupted => &["signal", "died"],
            S::Parked => &["model"],
            S::Planning | S::PlanReady | S::Running | S::NeedsInput => &[],
            S::Budget | S::BaseRed | S::Completed => &[],
        }
    }
}
