//! What a worker is asked to do: plain data that crosses the Host boundary.
//!
//! An assignment names everything its worker may touch. It holds no plan, no other step, no target
//! branch and no key. Paths are absolute paths on the machine the worker runs on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wattle_cache::prefix::PrefixTtl;
use wattle_workspace::{CommitId, Signature, TreeId};

use crate::fork::Fork;
use crate::instructions::Instructions;
use crate::outcome::{Cause, Evidence};

/// One piece of work for one worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Assignment {
    /// Do a step of a plan.
    Step(Box<StepAssignment>),
    /// Run one check on an exact tree.
    Check(CheckAssignment),
    /// Prepare a slot.
    Setup(SetupAssignment),
    /// Explore a snapshot and propose steps.
    Lead(LeadAssignment),
}

/// Who an assignment is for; also the `WATTLE_*` variables of its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Id of the run.
    pub run: String,
    /// Id of the step; empty for what belongs to no step.
    pub step: String,
    /// Number of the attempt, from 1; 0 where there is none.
    pub attempt: u32,
}

/// What a step may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing: it sees a shared snapshot.
    Read,
    /// Its worktree, whose files become one commit.
    Write,
    /// Its worktree, whose changes are thrown away.
    Scratch,
}

/// A directory where processes run: a leased slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Root of the worktree, absolute.
    pub path: PathBuf,
    /// Number of the slot.
    pub slot: u32,
    /// The commit that the worktree held when it was leased.
    pub base: CommitId,
}

/// Bounds of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Wall time, in milliseconds.
    pub timeout_ms: u64,
    /// Longest silence on both outputs, in milliseconds; `None` = no bound of its own.
    pub idle_ms: Option<u64>,
    /// Captured output kept, head and tail together, in bytes.
    pub output_bytes_max: u64,
}

/// A shell command with its bounds: `sh -c` in a process group of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Text for `sh -c`.
    pub run: String,
    /// Exit codes that count as success.
    pub ok_exit: Vec<i32>,
    /// Variables added to the environment.
    pub env: BTreeMap<String, String>,
    /// Its bounds.
    pub bounds: Bounds,
}

/// A report of a step that this one needs, shown as `$WATTLE_NEEDS/<step>.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedReport {
    /// Id of the needed step.
    pub step: String,
    /// Its report, Markdown.
    pub markdown: String,
}

/// A structural rewrite, with the text of its rules (the worker reads no rule file itself).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// Rule documents in ast-grep's YAML form.
    Rules {
        /// Name shown in messages, the path of the file as a rule.
        name: String,
        /// One or more YAML documents.
        yaml: String,
    },
    /// A pattern and its replacement.
    Pattern {
        /// The pattern.
        pattern: String,
        /// What replaces a match.
        fix: String,
        /// Name of the language.
        lang: String,
    },
}

/// A job for a model with tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentWork {
    /// What the user wants of this step.
    pub prompt: String,
    /// Name of the model on the wire, with no provider.
    pub model: String,
    /// Bound on the number of model turns.
    pub max_turns: u32,
    /// Bound on money in nano-dollars; `None` = the run's bound alone.
    pub max_nano_usd: Option<u64>,
    /// Names of the tools that are allowed when a call is dispatched.
    pub tools: Vec<String>,
    /// The part of the prompt that all workers of the run share.
    pub brief: String,
    /// How long that part stays in the provider's cache: the same for all workers of a run.
    #[serde(default)]
    pub prefix_ttl: PrefixTtl,
    /// The conversation that it goes on from; `None` = it begins with the brief and its task.
    #[serde(default)]
    pub fork: Option<Fork>,
    /// Instructions of the repository beside those of the brief.
    #[serde(default)]
    pub instructions: Instructions,
    /// Who the agent is, where the plan names a definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
}

/// How an agent works, by a definition file of the repository. It says nothing about what the agent may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its words, Markdown.
    pub body: String,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A plain command.
    Run(Command),
    /// A structural rewrite.
    Rewrite(Rewrite),
    /// A model with tools.
    Agent(AgentWork),
}

/// How the commit of a write step is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitForm {
    /// Whole message, trailers included.
    pub message: String,
    /// Author.
    pub author: Signature,
    /// Committer.
    pub committer: Signature,
    /// Author and committer date, in seconds since the epoch (UTC).
    pub time_s: i64,
    /// The immutable ref of this attempt.
    pub attempt_ref: String,
    /// Anchored regexes of the paths that are restored before the commit.
    pub discard: Vec<String>,
    /// Anchored regexes of the paths that the step may change.
    pub touches: Vec<String>,
}

/// What to try when the step's own check is red.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The work of one repair.
    pub work: Work,
    /// How many repairs at most.
    pub attempts: u32,
}

/// What an earlier, interrupted try of the same attempt has left.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// The commit it had made: the executor does not run again.
    pub committed: Option<CommitId>,
    /// Why the executor that left that commit had failed; `None` = it had not.
    #[serde(default)]
    pub failed: Option<(Cause, String)>,
    /// Completed turns of its conversation, verbatim JSON of messages, oldest first.
    pub messages: Vec<String>,
    /// Edits of what is shown of them, JSON, oldest first.
    #[serde(default)]
    pub views: Vec<String>,
    /// What its tools did, by the ids of their calls, in the order they ended; an output only where it was too long
    /// to be shown.
    #[serde(default)]
    pub evidence: Vec<(String, Evidence)>,
    /// What it has spent, in nano-dollars: it counts against the bound of its work.
    pub spent_nano_usd: u64,
}

/// Do one step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepAssignment {
    /// Who it is for.
    pub owner: Owner,
    /// Name for people.
    pub title: String,
    /// What it may change.
    pub mode: Mode,
    /// Where it runs.
    pub place: Place,
    /// What it does.
    pub work: Work,
    /// How its commit is made; present exactly for [`Mode::Write`].
    pub commit: Option<CommitForm>,
    /// The step's own check, run on its commit in its worktree.
    pub check: Option<Command>,
    /// What to try when that check is red.
    pub repair: Option<Repair>,
    /// Variables for every process of the step.
    pub env: BTreeMap<String, String>,
    /// Reports of the steps that it needs.
    pub needs: Vec<NeedReport>,
    /// Words for this worker: review comments, or why its change was sent back. Oldest first.
    pub feedback: Vec<String>,
    /// What an interrupted try has left.
    pub resume: Resume,
    /// Wall-time bound of the whole attempt, in milliseconds.
    pub timeout_ms: u64,
}

/// Run one check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckAssignment {
    /// Who it is for.
    pub owner: Owner,
    /// Name of the check.
    pub name: String,
    /// Where it runs: a check slot that holds exactly `tree`.
    pub place: Place,
    /// The tree under test.
    pub tree: TreeId,
    /// The pool has just proved that the slot holds its base, and nothing has run in it since.
    pub proved: bool,
    /// What runs.
    pub command: Command,
    /// Paths that differ from the tip the candidate was made on (`WATTLE_CHANGED`).
    pub changed: Vec<String>,
}

/// Prepare a slot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetupAssignment {
    /// Who it is for.
    pub owner: Owner,
    /// Where it runs.
    pub place: Place,
    /// What runs.
    pub command: Command,
}

/// What a lead is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeadTask {
    /// Steps: it explores the snapshot and proposes them.
    #[default]
    Plan,
    /// Words: it answers with what it knows, in one turn, and may call no tool.
    Answer,
}

/// Explore a snapshot and propose steps, or answer a question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeadAssignment {
    /// Who it is for.
    pub owner: Owner,
    /// A snapshot to read.
    pub place: Place,
    /// What is asked for.
    #[serde(default)]
    pub task: LeadTask,
    /// The request: task and rules of a plan, or a question, Markdown.
    pub request: String,
    /// Model, tools, bounds and brief; its `prompt` is not used.
    pub agent: AgentWork,
    /// JSON Schema of the input of the `SubmitPlan` tool.
    pub plan_schema: String,
    /// How many proposals may be sent back with problems.
    pub proposals_max: u32,
}
