//! What the events about steps, attempts, checks and landings say.

use serde::{Deserialize, Serialize};
use wattle_planner::{GroupId, StepId};
use wattle_worker::outcome::Cause;
use wattle_workspace::{CommitId, TreeId};

use crate::ids::{Blob, LandingId};
use crate::state::attempt::{Attempt, AttemptEvent};
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};

/// A change of a step's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepChange {
    /// The step.
    pub(crate) step: StepId,
    /// What made it change.
    pub(crate) event: StepEvent,
    /// The state it is in now.
    pub(crate) state: Step,
    /// Number of its newest attempt; 0 = none yet.
    pub(crate) attempt: u32,
    /// Is that state an end?
    pub(crate) terminal: bool,
    /// Code of the reason.
    #[serde(default)]
    pub(crate) why: Option<String>,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// What it produced, with an event that ends an attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) work: Option<Work>,
    /// Its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<Blob>,
    /// Words for its next worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) feedback: Option<String>,
}

/// A commit that a step made, and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// The attempt that made it.
    pub(crate) attempt: u32,
    /// The commit.
    pub(crate) commit: CommitId,
    /// Its tree.
    pub(crate) tree: TreeId,
    /// Its parent.
    pub(crate) base: CommitId,
    /// Steps whose commits were in the base and had not landed; not those that only another one of them brought.
    pub(crate) on: Vec<Entry>,
    /// Paths it changes.
    pub(crate) paths: Vec<String>,
    /// Those outside `touches`.
    pub(crate) outside: Vec<String>,
}

/// A step with the exact commit that is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The step.
    pub(crate) step: StepId,
    /// The commit.
    pub(crate) commit: CommitId,
}

/// A change of an attempt's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AttemptChange {
    /// The step.
    pub(crate) step: StepId,
    /// The attempt.
    pub(crate) attempt: u32,
    /// What made it change; `None` when it begins.
    pub(crate) event: Option<AttemptEvent>,
    /// The state it is in now.
    pub(crate) state: Attempt,
    /// Does it only move an existing change to a new base?
    #[serde(default)]
    pub(crate) restack: bool,
    /// Its slot, once leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<u32>,
    /// Its base, once made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<CommitId>,
    /// As in [`Work`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) on: Vec<Entry>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<Cause>,
}

/// Which check, on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckRef {
    /// Its name.
    pub(crate) check: String,
    /// `step`, `land` or `final`.
    pub(crate) at: String,
    /// The tree.
    pub(crate) tree: TreeId,
    /// The step, for a step's own check.
    pub(crate) step: Option<StepId>,
    /// The landing, for a check of the queue.
    pub(crate) landing: Option<LandingId>,
    /// Is it the base that is tried, to see who is to blame?
    #[serde(default)]
    pub(crate) control: bool,
    /// What the verdict depends on: it holds wherever this is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// A change of a landing's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LandingChange {
    /// The landing.
    pub(crate) landing: LandingId,
    /// What made it change; `None` when it is opened.
    pub(crate) event: Option<LandingEvent>,
    /// The state it is in now.
    pub(crate) state: Landing,
    /// What it lands, in order.
    pub(crate) entries: Vec<Entry>,
    /// The group, if it is one.
    pub(crate) group: Option<GroupId>,
    /// Is it the one that moves the target after the final checks?
    #[serde(default)]
    pub(crate) last: bool,
    /// The candidate, once made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) candidate: Option<Candidate>,
    /// Code of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The step that does not merge with those before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) culprit: Option<StepId>,
}

/// A commit made for a landing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    /// The tip it was made on.
    pub(crate) old: CommitId,
    /// That tip's tree.
    pub(crate) old_tree: TreeId,
    /// The new tip.
    pub(crate) new: CommitId,
    /// Its tree.
    pub(crate) tree: TreeId,
    /// The commit made for each entry, in order.
    pub(crate) commits: Vec<CommitId>,
    /// The trees of those commits.
    pub(crate) trees: Vec<TreeId>,
    /// Paths that differ between the two tips.
    pub(crate) changed: Vec<String>,
}
