//! Steps, the nodes of a plan: what each does, what it may touch, and within which bounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::globs::Glob;
use crate::id::{GroupId, StepId};

/// A step of a plan. What is optional in the file is resolved here: defaults, mode, globs of `needs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// What people read; the id where none is given.
    pub title: String,
    /// The group it lands with.
    pub group: Option<GroupId>,
    /// The steps it needs, in plan order.
    pub needs: Vec<StepId>,
    /// What it may do to files.
    pub mode: Mode,
    /// The paths a write step may change (all, where it does not say); empty for the other modes.
    pub touches: Vec<Glob>,
    /// Whether the file says what it touches.
    pub touches_given: bool,
    /// What it does.
    pub work: Work,
    /// `expect: none` on a read step with a rewrite: nothing is changed, and the step fails if the rule matches.
    pub expect_none: bool,
    /// Its own check, run on its commit.
    pub check: Option<StepCheck>,
    /// What is done when its check is red.
    pub repair: Option<Repair>,
    /// The tools an agent may use; `None` is what its mode allows.
    pub tools: Option<Vec<String>>,
    /// Variables for its processes.
    pub env: BTreeMap<String, String>,
    /// Exit codes of `run` that are a success; never empty.
    pub ok_exit: Vec<i32>,
    /// How often it is tried again.
    pub retries: u32,
    /// Bound on one attempt in milliseconds.
    pub timeout_ms: u64,
    /// Bound on silence in milliseconds; `None` where the file says `idle: null`.
    pub idle_ms: Option<u64>,
    /// The line of the plan file it begins on.
    pub line: u32,
}

/// What a step may do to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Sees a shared snapshot and changes nothing.
    Read,
    /// Has a slot; its changes become a commit.
    Write,
    /// Has a slot; its changes are thrown away.
    Scratch,
}

impl Mode {
    /// The word in the plan file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Scratch => "scratch",
        }
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// A command for `sh -c`.
    Run {
        /// The command.
        command: String,
    },
    /// A structural rewrite.
    Rewrite(RuleSource),
    /// A model with tools.
    Agent(AgentSpec),
    /// The inverse of changes that have landed, merged onto what is there now; the newest first.
    Revert(Vec<Undo>),
}

/// One change that is to be undone: what differs between two commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// The commit before it, by its full id.
    pub before: String,
    /// The commit with it, by its full id.
    pub after: String,
    /// What it was, as `RUN/STEP`, for people and for the message of the commit.
    pub of: Vec<String>,
}

/// Where a rewrite rule comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleSource {
    /// A rule file, as the plan names it.
    File(String),
    /// The text of a rule file.
    Inline(String),
    /// A pattern, what replaces it, and the language.
    Pattern {
        /// The pattern.
        pattern: String,
        /// The replacement; empty where `expect: none` leaves it out.
        fix: String,
        /// The language.
        lang: String,
    },
}

/// A step done by a model with tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSpec {
    /// What it is told.
    pub prompt: String,
    /// `PROVIDER/NAME` or `script:FILE`; `None` is the run's model.
    pub model: Option<String>,
    /// Whose loop runs it; `wattle` is the only one yet.
    pub via: String,
    /// What it knows when it starts.
    pub context: Context,
    /// Bound on its turns.
    pub max_turns: u32,
    /// Bound on its cost in billionths of a US dollar.
    pub max_nano_usd: Option<u64>,
    /// The agent definition of the repository that says how it works.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<Use>,
}

/// An agent definition, as a plan names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Its name.
    pub name: String,
    /// Line of the plan file, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// Does the plan itself bound the turns of this agent?
    pub turns_given: bool,
}

/// What an agent knows when it starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// The run decides.
    #[default]
    Auto,
    /// The brief and its task, nothing else.
    Fresh,
    /// All that the lead knew when its plan was taken, byte for byte; where there is no such lead, as `Fresh`.
    Fork,
}

/// A step's own check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepCheck {
    /// The command for `sh -c`.
    pub run: String,
    /// Bound in milliseconds.
    pub timeout_ms: u64,
}

/// What is done when a step's check is red.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The work.
    pub work: Work,
    /// How often at most.
    pub attempts: u32,
}
