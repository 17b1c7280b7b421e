//! The events of the journal and their JSON, which is the public one of `run --json` and `log --json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wattle_cache::prefix::PrefixTtl;
use wattle_cache::warm::Miss;
use wattle_planner::{GroupId, StepId};
use wattle_worker::host::{Intent, Usage};
use wattle_worker::outcome::Verdict;
use wattle_workspace::{CommitId, TreeId};

pub(crate) use super::change::{AttemptChange, Candidate, CheckRef, Entry, LandingChange, StepChange, Work};
use crate::ids::{Blob, LandingId, RunId};
use crate::options::RunOptions;
use crate::state::run::{Run, RunEvent};

/// Version of the event's JSON.
pub(crate) const VERSION: u32 = 1;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Event {
    /// Version of this JSON.
    pub(crate) v: u32,
    /// Place in the journal of the repository, from 1.
    pub(crate) seq: u64,
    /// When, RFC 3339 in UTC.
    pub(crate) ts: String,
    /// The run.
    pub(crate) run: RunId,
    /// What happened.
    #[serde(flatten)]
    #[schemars(with = "serde_json::Value")]
    pub(crate) body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Body {
    /// A run exists, with its frozen inputs.
    RunStarted(Box<RunStarted>),
    /// A plan waits for its user.
    PlanReady {
        /// The plan's text.
        plan: Blob,
    },
    /// A step turned out too large: the plan has more steps now.
    PlanAmended {
        /// Number of the amendment, from 1.
        revision: u32,
        /// The step that was split.
        step: StepId,
        /// The whole plan's text as it is now.
        plan: Blob,
        /// The steps that are new, at its end.
        steps: Vec<StepId>,
    },
    /// The run changed its state.
    RunState {
        /// What made it change.
        event: RunEvent,
        /// The state it is in now.
        state: Run,
        /// Code of the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The run goes on with changed options.
    Resumed {
        /// The options that hold from here on.
        options: RunOptions,
        /// Tip of the target branch now.
        tip: CommitId,
    },
    /// Somebody else moved the target branch.
    TargetMoved {
        /// Its tip now.
        tip: CommitId,
    },
    /// A step changed its state.
    StepState(Box<StepChange>),
    /// An attempt changed its state.
    AttemptState(Box<AttemptChange>),
    /// A worker is about to do something.
    Intent {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// What it will do.
        intent: Intent,
    },
    /// A tool or an executor of a worker has ended.
    Evidence {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// What it was: `execute`, `check`, or the id of a tool call.
        of: String,
        /// The evidence, JSON.
        evidence: Blob,
        /// Exit code, where a process ended by itself.
        exit: Option<i32>,
    },
    /// A message joined an agent's conversation.
    Turn {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// Index of the message, from 0.
        index: u32,
        /// Its verbatim JSON.
        message: Blob,
    },
    /// A worker says that the rest of its step should be done by others.
    SplitAsked {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The parts as it sees them, JSON.
        parts: Blob,
    },
    /// What is shown of an agent's conversation changes from its next request on.
    ViewEdit {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The edit, JSON.
        edit: Blob,
    },
    /// A repair starts.
    RepairStarted {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// Number of the repair, from 1.
        number: u32,
    },
    /// A check starts.
    CheckStarted(CheckRef),
    /// A check has a verdict.
    CheckFinished {
        /// Which check, on what.
        #[serde(flatten)]
        check: CheckRef,
        /// The verdict.
        verdict: Verdict,
        /// Was the verdict known already?
        cached: bool,
        /// Exit code.
        exit: Option<i32>,
        /// Wall time, in milliseconds.
        elapsed_ms: u64,
        /// Its evidence, JSON.
        output: Option<Blob>,
    },
    /// A landing changed its state.
    LandingState(Box<LandingChange>),
    /// A step's commit is on the target branch (or gathered for it).
    Landed {
        /// The step.
        step: StepId,
        /// Its group.
        group: Option<GroupId>,
        /// The commit that the target moved to with it.
        commit: CommitId,
        /// That commit's tree.
        tree: TreeId,
        /// Did every check of the plan that applies pass on a tree that holds it?
        verified: bool,
        /// The tip whose exact tree was tested, where it is a later one of the same landing.
        verified_by: Option<CommitId>,
    },
    /// A checkout of the target stands in the way.
    LandingHeld {
        /// The landing.
        landing: LandingId,
        /// That checkout.
        worktree: String,
        /// Paths that stand in the way.
        paths: Vec<String>,
        /// Code of the reason.
        why: String,
    },
    /// A step was sent back by the queue.
    Ejected {
        /// The step.
        step: StepId,
        /// Code of the reason.
        reason: String,
        /// Evidence for people and for the worker.
        message: String,
    },
    /// Work was put aside under a ref before a slot was used again.
    Salvaged {
        /// Number of the slot.
        slot: u32,
        /// Full name of the ref.
        #[serde(rename = "ref")]
        name: String,
        /// The commit it names.
        commit: CommitId,
    },
    /// Tokens and money of one HTTP attempt.
    Usage {
        /// The step; `None` for the lead.
        step: Option<StepId>,
        /// The attempt.
        attempt: u32,
        /// The counts.
        #[serde(flatten)]
        usage: Box<Usage>,
    },
    /// The first request of a worker did not find the shared prefix in the provider's cache.
    CacheMiss {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// What was expected, what was read, and why.
        #[serde(flatten)]
        miss: Miss,
    },
    /// A step's commit will not merge once another has landed.
    ConflictPredicted(Box<Prediction>),
    /// A bound bit.
    BoundHit {
        /// The step, where it belongs to one.
        step: Option<StepId>,
        /// Name of the bound.
        bound: String,
        /// What it did.
        message: String,
    },
    /// What has landed was looked for on the target, by other means than those that landed it.
    Audited {
        /// The landing.
        landing: LandingId,
        /// What is not there, in words; empty = all of it is.
        missing: Vec<String>,
    },
    /// A worker waits for a human.
    NeedsInput {
        /// The step.
        step: StepId,
        /// Id of the question.
        gate: String,
        /// What kind of question.
        kind: String,
        /// The question.
        question: String,
        /// Answers on offer; empty = free text.
        options: Vec<String>,
        /// When it lapses; never, for now.
        expires: Option<String>,
    },
    /// A worker asks the lead; no human is waited for.
    LeadAsked {
        /// The step.
        step: StepId,
        /// Id of the question.
        gate: String,
        /// The question.
        question: String,
    },
    /// A human answered, or the lead.
    Answered {
        /// The step.
        step: StepId,
        /// Id of the question.
        gate: String,
        /// The answer.
        text: String,
        /// Who.
        by: String,
    },
    /// A human approved a commit.
    Approved {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// The commit.
        commit: CommitId,
        /// Who.
        by: String,
        /// Paths outside `touches` that are accepted.
        widen: Vec<String>,
    },
    /// A human drafted a comment.
    Comment {
        /// The step.
        step: StepId,
        /// What.
        text: String,
        /// Where: `PATH:LINE`.
        at: Option<String>,
        /// Who.
        by: String,
    },
    /// A human wants a worker to end, and its step with it.
    CancelAsked {
        /// The step.
        step: StepId,
    },
    /// A human's verb was taken up.
    Command {
        /// Who.
        by: String,
        /// The verb with its arguments.
        verb: String,
    },
    /// Approved steps may land now.
    MergeAsked {
        /// The steps.
        steps: Vec<StepId>,
    },
    /// The process that drove the run is done with it.
    RunFinished {
        /// The state it is left in.
        state: Run,
        /// Number of steps.
        total: usize,
        /// Number of steps by state.
        counts: BTreeMap<String, usize>,
        /// Money spent; `None` = unknown.
        usd: Option<f64>,
        /// Exit code.
        exit: u8,
    },
}

/// The types of events, each with the keys that it always has.
pub(crate) const KINDS: [(&str, &str); 35] = [
    ("run_started", "name task base target plan_name plan files brief options isolation pid"),
    ("plan_ready", "plan"),
    ("plan_amended", "revision step plan steps"),
    ("run_state", "event state"),
    ("resumed", "options tip"),
    ("target_moved", "tip"),
    ("step_state", "step event state attempt terminal"),
    ("attempt_state", "step attempt state"),
    ("intent", "step attempt intent"),
    ("evidence", "step attempt of evidence"),
    ("turn", "step attempt index message"),
    ("split_asked", "step attempt parts"),
    ("view_edit", "step attempt edit"),
    ("repair_started", "step attempt number"),
    ("check_started", "check at tree"),
    ("check_finished", "check at tree verdict cached elapsed_ms"),
    ("landing_state", "landing state entries"),
    ("landed", "step group commit tree verified"),
    ("landing_held", "landing worktree paths why"),
    ("ejected", "step reason message"),
    ("audited", "landing missing"),
    ("salvaged", "slot ref commit"),
    ("conflict_predicted", "a b paths a_commit b_commit detail feedback"),
    ("usage", "step attempt provider model uncached_in cache_read cache_write out nano_usd exact"),
    ("cache_miss", "step attempt expected read cause"),
    ("bound_hit", "step bound message"),
    ("needs_input", "step gate kind question options expires"),
    ("lead_asked", "step gate question"),
    ("answered", "step gate text by"),
    ("approved", "step attempt commit by widen"),
    ("comment", "step text at by"),
    ("cancel_asked", "step"),
    ("command", "by verb"),
    ("merge_asked", "steps"),
    ("run_finished", "state total counts usd exit"),
];

impl Body {
    /// The name of its type, as in the JSON.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::RunStarted(_) => "run_started",
            Self::PlanReady { .. } => "plan_ready",
            Self::PlanAmended { .. } => "plan_amended",
            Self::RunState { .. } => "run_state",
            Self::Resumed { .. } => "resumed",
            Self::TargetMoved { .. } => "target_moved",
            Self::StepState(_) => "step_state",
            Self::AttemptState(_) => "attempt_state",
            Self::Intent { .. } => "intent",
            Self::Evidence { .. } => "evidence",
            Self::Turn { .. } => "turn",
            Self::SplitAsked { .. } => "split_asked",
            Self::ViewEdit { .. } => "view_edit",
            Self::RepairStarted { .. } => "repair_started",
            Self::CheckStarted(_) => "check_started",
            Self::CheckFinished { .. } => "check_finished",
            Self::LandingState(_) => "landing_state",
            Self::Landed { .. } => "landed",
            Self::LandingHeld { .. } => "landing_held",
            Self::Ejected { .. } => "ejected",
            Self::Audited { .. } => "audited",
            Self::Salvaged { .. } => "salvaged",
            Self::Usage { .. } => "usage",
            Self::CacheMiss { .. } => "cache_miss",
            Self::ConflictPredicted(_) => "conflict_predicted",
            Self::BoundHit { .. } => "bound_hit",
            Self::NeedsInput { .. } => "needs_input",
            Self::LeadAsked { .. } => "lead_asked",
            Self::Answered { .. } => "answered",
            Self::Approved { .. } => "approved",
            Self::Comment { .. } => "comment",
            Self::CancelAsked { .. } => "cancel_asked",
            Self::Command { .. } => "command",
            Self::MergeAsked { .. } => "merge_asked",
            Self::RunFinished { .. } => "run_finished",
        }
    }
}

/// A conflict of two commits that have not landed, seen before the queue sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    /// Who lands first: a step, or the target for what is on it already.
    pub(crate) a: String,
    /// The step that is told.
    pub(crate) b: StepId,
    /// Where they conflict.
    pub(crate) paths: Vec<String>,
    /// The commit of the first.
    pub(crate) a_commit: CommitId,
    /// The commit of the step.
    pub(crate) b_commit: CommitId,
    /// The conflict as data: what each side has at each path, and what git says.
    pub(crate) detail: Blob,
    /// What the step's worker is told.
    pub(crate) feedback: String,
}

/// The frozen inputs of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunStarted {
    /// Name for people.
    pub(crate) name: String,
    /// What the user asked.
    pub(crate) task: String,
    /// Where the run starts from.
    pub(crate) base: Base,
    /// Short name of the target branch.
    pub(crate) target: String,
    /// Name of the plan file.
    pub(crate) plan_name: String,
    /// The plan's text.
    pub(crate) plan: Blob,
    /// Every file that the plan names, by path.
    pub(crate) files: BTreeMap<String, Blob>,
    /// The part of the prompt that all workers share.
    pub(crate) brief: Blob,
    /// The options that hold.
    pub(crate) options: RunOptions,
    /// How well workers are kept apart from the machine.
    pub(crate) isolation: String,
    /// Who drives it.
    pub(crate) pid: u32,
    /// Who has asked for it; empty where an older version did not say.
    #[serde(default)]
    pub(crate) by: String,
    /// Under which id the lead's rows are in the journal as well: they were written while it planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) planning: Option<RunId>,
    /// The lead's conversation, JSON; `None` = the plan is a file's, or of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lead: Option<Blob>,
    /// How long the shared part of a prompt stays in the provider's cache.
    #[serde(default)]
    pub(crate) prefix_ttl: PrefixTtl,
    /// Instructions of the base commit beside those of the brief, JSON; `None` = an older version froze none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instructions: Option<Blob>,
    /// The agent definitions that the plan names, as the base commit has them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) agents: BTreeMap<String, AgentFile>,
}

/// An agent definition as a run uses it: resolved when the run was prepared, so that resuming reads no tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentFile {
    /// The file.
    pub(crate) source: String,
    /// Its words.
    pub(crate) body: Blob,
    /// Tools that it may use at most; `None` = all that the step has.
    #[serde(default)]
    pub(crate) tools: Option<Vec<String>>,
    /// Tools that it may not use.
    #[serde(default)]
    pub(crate) disallowed: Vec<String>,
    /// Its model; `None` = the run's.
    #[serde(default)]
    pub(crate) model: Option<String>,
    /// Bound on its turns, where the plan has none.
    #[serde(default)]
    pub(crate) max_turns: Option<u32>,
}

/// What the first line of a run says about its base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Base {
    /// The commit.
    #[schemars(with = "String")]
    pub(crate) commit: CommitId,
    /// Its upstream branch.
    pub(crate) upstream: Option<String>,
    /// Commits that the upstream has not.
    pub(crate) ahead: usize,
    /// Commits of the upstream that the base has not.
    pub(crate) behind: usize,
    /// Dirty files of the checkout, which are not included.
    pub(crate) dirty: Vec<String>,
}
