//! What reaches the dispatcher, in one order: words of workers, ends of effects, verbs, signals.

use tokio::sync::oneshot;
use wattle_planner::StepId;
use wattle_worker::host::{Message, Reply};
use wattle_worker::outcome::Outcome;
use wattle_workspace::{CommitId, Salvaged, TreeId};

use super::check::Told;
use super::predict::Predicted;
use super::shared::Failure;
use crate::ids::LandingId;
use crate::journal::event::{Entry, Work};
use crate::queue::land::{CandidateEnd, MoveEnd};

/// One thing that the dispatcher has to take up.
pub(crate) enum Input {
    /// A worker speaks and waits for the reply.
    Worker {
        /// Its step.
        step: StepId,
        /// Its attempt.
        attempt: u32,
        /// What it says.
        message: Message,
        /// Where the reply goes.
        reply: oneshot::Sender<Reply>,
    },
    /// An attempt has its base and its slot; its worker starts when this is answered.
    Leased {
        /// Its step.
        step: StepId,
        /// Its slot, where it needed one.
        slot: Option<u32>,
        /// Its base.
        base: CommitId,
        /// Unlanded commits in the base.
        on: Vec<Entry>,
        /// Where the reply goes.
        reply: oneshot::Sender<Reply>,
    },
    /// An attempt is over.
    Attempt {
        /// Its step.
        step: StepId,
        /// How.
        end: AttemptEnd,
    },
    /// A lead that is asked for a step speaks and waits for the reply.
    Lead {
        /// The step.
        step: StepId,
        /// What it says.
        message: Message,
        /// Where the reply goes.
        reply: oneshot::Sender<Reply>,
    },
    /// A lead that was asked for a step has ended.
    Consulted {
        /// The step.
        step: StepId,
        /// How.
        outcome: Box<Outcome>,
    },
    /// A candidate was made, or not.
    Candidate {
        /// For which landing.
        landing: LandingId,
        /// How it went.
        end: Result<CandidateEnd, String>,
    },
    /// A check of the queue ended.
    Check {
        /// For which landing.
        landing: LandingId,
        /// Its name.
        check: String,
        /// On which tree.
        tree: TreeId,
        /// What it says.
        told: Box<Told>,
    },
    /// What has landed was looked for on the target.
    Audit {
        /// The landing.
        landing: LandingId,
        /// What is not there.
        missing: Result<Vec<String>, String>,
    },
    /// The target was moved, or not.
    Move {
        /// By which landing.
        landing: LandingId,
        /// How it went.
        end: Result<MoveEnd, String>,
    },
    /// A slot that an ended attempt had kept was given back, or could not be.
    Freed,
    /// A slot was given back and what it held is under a ref.
    Salvaged(Salvaged),
    /// A slot holds what no commit can hold, and stays as it is.
    Retired {
        /// Where it lies.
        path: String,
        /// Why.
        why: String,
    },
    /// There is no room on the disk for another slot, and somebody waits for one.
    NoRoom(String),
    /// Commits that are to land were merged, to warn of conflicts.
    Predicted(Result<Predicted, String>),
    /// Look at table `command`.
    Wake,
    /// SIGINT or SIGTERM.
    Signal,
}

/// How an attempt ended.
pub(crate) enum AttemptEnd {
    /// The commits it needs do not merge.
    NeedsConflict {
        /// Where.
        message: String,
    },
    /// Its worker ended.
    Outcome {
        /// How.
        outcome: Box<Outcome>,
        /// Its base.
        base: CommitId,
        /// Unlanded commits in the base.
        on: Vec<Entry>,
        /// Is its patch the one that was approved, on a new base?
        same_patch: bool,
        /// Did somebody else move the step's branch?
        branch_moved: bool,
    },
    /// Its change does not move to the new base by itself.
    RestackConflict {
        /// Where.
        message: String,
    },
    /// Its change is in the new base already.
    RestackEmpty,
    /// It could not be started or kept.
    Refused(Failure),
}

/// The parts of a finished commit that the journal keeps.
pub(crate) fn work_of(outcome: &Outcome, attempt: u32, base: &CommitId, on: &[Entry]) -> Option<Work> {
    let committed = outcome.commit.as_ref()?;
    let paths =
        committed.changes.iter().flat_map(|change| change.from.clone().into_iter().chain([change.path.clone()]));
    Some(Work {
        attempt,
        commit: committed.commit.clone(),
        tree: committed.tree.clone(),
        base: base.clone(),
        on: on.to_vec(),
        paths: paths.collect(),
        outside: committed.outside.clone(),
    })
}
