//! The states of a landing: one move of the target branch, over one or more entries.

use super::{Machine, Row, names};

names! {
    /// Where a landing is.
    pub(crate) enum Landing {
        /// It waits for its turn.
        Queued = "queued",
        /// Its candidate commit is being made.
        Candidate = "candidate",
        /// Checks run on the candidate's exact tree.
        Checking = "checking",
        /// Every check passed; the ref may move.
        Green = "green",
        /// A check is red; the base is tried as a control.
        Red = "red",
        /// A checkout of the target stands in the way.
        Held = "held",
        /// The target holds it.
        Landed = "landed",
        /// Its entries were sent back.
        Ejected = "ejected",
    }
}

names! {
    /// What happens to a landing.
    pub(crate) enum LandingEvent {
        /// It is its turn.
        Build = "build",
        /// The candidate exists and checks start.
        Check = "check",
        /// Every check that applies has passed on the tree.
        Pass = "pass",
        /// A check is red.
        Fail = "fail",
        /// It does not merge, or it is red and the base is not.
        Eject = "eject",
        /// The target moved.
        Move = "move",
        /// A checkout stands in the way.
        Hold = "hold",
    }
}

use Landing as S;
use LandingEvent as E;

const fn row(from: &'static [S], event: E, to: S, leaves: &'static str) -> Row<S, E> {
    Row { from, event, to, leaves }
}

impl Machine for Landing {
    type Event = LandingEvent;
    const NAME: &'static str = "landing";
    const STATES: &'static [Self] = Self::ALL;
    const EVENTS: &'static [LandingEvent] = LandingEvent::ALL;
    const ROWS: &'static [Row<S, E>] = &[
        row(&[S::Queued], E::Build, S::Candidate, "nothing"),
        row(&[S::Candidate], E::Check, S::Checking, "the candidate commit and its ref"),
        row(&[S::Candidate, S::Checking], E::Pass, S::Green, "a verdict for every check on the tree"),
        row(&[S::Checking], E::Fail, S::Red, "the red check's evidence"),
        row(
            &[S::Queued, S::Candidate, S::Checking, S::Green, S::Red, S::Held],
            E::Eject,
            S::Ejected,
            "evidence; the entries' work under their attempt refs",
        ),
        row(&[S::Green, S::Held], E::Move, S::Landed, "the target ref and its checkouts at the new commit"),
        row(
            &[S::Candidate, S::Checking, S::Red, S::Green],
            E::Hold,
            S::Held,
            "the paths that stand in the way; the ref unmoved",
        ),
    ];

    fn name(self) -> &'static str {
        self.as_str()
    }
    fn event_name(event: LandingEvent) -> &'static str {
        event.as_str()
    }
    fn terminal(self) -> bool {
        match self {
            S::Landed | S::Ejected => true,
            S::Queued | S::Candidate | S::Checking | S::Green | S::Red | S::Held => false,
        }
    }
    fn exit(self) -> u8 {
        match self {
            S::Landed => 0,
            S::Ejected => 1,
            S::Queued | S::Candidate | S::Checking | S::Green | S::Held => 4,
            S::Red => 7,
        }
    }
    fn why(self) -> &'static [&'static str] {
        match self {
            S::Held => &[
                "dirty",
                "rebase",
                "merge",
                "cherry_pick",
                "revert",
                "bisect",
                "index_locked",
                "checkout_failed",
                "target_gone",
                "environment",
            ],

            S::Ejected => &[
                "conflict",
                "red",
                "final_red",
                "branch_moved",
                "tip_moved",
                "base_red",
                "interrupted",
                "released",
                "withdrawn",
                "timeout",
                "split",
                "clash",
                "not_generated",
                "superseded",
                "held",
                "base_changed",
            ],
            S::Queued | S::Candidate | S::Checking | S::Green | S::Red | S::Landed => &[],
        }
    }
}
