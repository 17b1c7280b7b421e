//! From an error to what its user sees: whose fault it is, what to try, and the exit code, in one table.

use std::path::Path;

use serde::Serialize;
use wattle_planner::Problems;
use wattle_worker::outcome::Cause;
use wattle_workspace::{GitError, OpenError, PoolError, RefError, StaleError};

use crate::config::ConfigError;
use crate::config::model::ModelProblem;
use crate::config::trust::TrustError;
use crate::journal::JournalError;
use crate::journal::command::Refusal;
use crate::journal::recorder::RecordError;
use crate::run::begin::RunError;
use crate::run::recover::RecoverError;
use crate::run::verbs::SubmitError;
use crate::ui::Ui;

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The asked end was reached.
    Reached,
    /// A step failed or was blocked.
    Failed,
    /// Bad usage.
    Usage,
    /// Invalid plan or configuration.
    Invalid,
    /// Waits for a human.
    Waits,
    /// Environment.
    Environment,
    /// Busy, try again.
    Busy,
    /// What a run ended with.
    Run(u8),
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Reached => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Waits => 4,
            Self::Environment => 5,
            Self::Busy => 8,
            Self::Run(code) => code,
        }
    }
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct At {
    /// The file, as the user named it.
    pub(crate) file: String,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column, from 1.
    pub(crate) column: u32,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    /// What.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// Where.
    pub(crate) at: Option<At>,
}

/// An error as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    exit: Exit,
    code: &'static str,
    items: Vec<Item>,
}

impl CliError {
    /// An error with one message.
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, items: vec![Item { message: message.into(), hint: None, at: None }] }
    }

    /// Bad usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// A file of the user that cannot be read or written.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        Self::new(Exit::Usage, "file", format!("{doing} {}: {error}", path.display()))
    }

    /// The same error with what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(first) = self.items.first_mut() {
            first.hint = Some(hint.into());
        }
        self
    }

    /// The same error with its place.
    pub(crate) fn at(mut self, at: At) -> Self {
        if let Some(first) = self.items.first_mut() {
            first.at = Some(at);
        }
        self
    }

    /// What the program ends with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// Its first message and what to do about it.
    pub(crate) fn words(&self) -> (String, Option<&str>) {
        let first = &self.items[0];
        (first.message.clone(), first.hint.as_deref())
    }

    /// Prints it, as JSON on stdout or as text on stderr, and gives its exit code.
    pub(crate) fn report(&self, ui: &Ui) -> Exit {
        if ui.json {
            ui.object(&self.json());
        } else {
            for item in &self.items {
                let place =
                    item.at.as_ref().map_or(String::new(), |at| format!("{}:{}:{}: ", at.file, at.line, at.column));
                let lead = if item.at.is_some() { "" } else { "failed to " };
                let sentence = ["usage", "refused"].contains(&self.code);
                let lead = if sentence { "" } else { lead };
                ui.warn(&format!("error: {lead}{place}{}", item.message));
                if let Some(hint) = &item.hint {
                    ui.warn(&format!("  hint: {hint}"));
                }
            }
        }
        self.exit
    }

    /// The error object of the contract; `problems` is there when there is more than one.
    fn json(&self) -> serde_json::Value {
        let first = &self.items[0];
        let mut error = serde_json::json!({
            "code": self.code, "message": first.message, "hint": first.hint, "at": first.at,
        });
        if self.items.len() > 1 {
            error["problems"] = serde_json::json!(self.items);
        }
        serde_json::json!({ "v": 1, "error": error })
    }
}

impl From<Problems> for CliError {
    fn from(problems: Problems) -> Self {
        let file = problems.file.clone();
        let item = |p: wattle_planner::Problem| Item {
            message: p.message,
            hint: p.hint,
            at: Some(At { file: file.clone(), line: p.line, column: p.column }),
        };
        Self { exit: Exit::Invalid, code: "plan", items: problems.problems.into_iter().map(item).collect() }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let message = error.to_string();
        match error {
            ConfigError::Read { .. } => Self::new(Exit::Invalid, "config", message),
            ConfigError::Mistakes { path, mistakes } => {
                let file = path.display().to_string();
                let item = |m: crate::config::file::Mistake| Item {
                    message: m.message,
                    hint: m.hint,
                    at: Some(At { file: file.clone(), line: m.mark.line, column: m.mark.column }),
                };
                Self { exit: Exit::Invalid, code: "config", items: mistakes.into_iter().map(item).collect() }
            }
            ConfigError::Variable { .. } => Self::new(Exit::Invalid, "config", message),
            ConfigError::Untrusted { .. } => Self::new(Exit::Environment, "untrusted", message)
                .hint("read it, then `wattle trust` (in CI: WATTLE_TRUST=1)"),
            ConfigError::Trust(error) => error.into(),
            ConfigError::NoStateDir => Self::new(Exit::Environment, "state_dir", message).hint("give --state-dir PATH"),
        }
    }
}

impl From<TrustError> for CliError {
    fn from(error: TrustError) -> Self {
        Self::new(Exit::Environment, "state_dir", error.to_string()).hint("make it writable, or give --state-dir PATH")
    }
}

impl From<ModelProblem> for CliError {
    fn from(problem: ModelProblem) -> Self {
        let hint = problem.mend();
        Self::new(Exit::Environment, "no_model", problem.to_string()).hint(hint)
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        let message = error.to_string();
        match error {
            OpenError::NotARepository { .. } => {
                Self::new(Exit::Environment, "no_repository", message).hint("go into a git repository, or give -C PATH")
            }
            OpenError::GitMissing => {
                Self::new(Exit::Environment, "git_missing", message).hint("install git 2.38 or newer")
            }
            OpenError::GitTooOld { .. } => {
                Self::new(Exit::Environment, "git_too_old", message).hint("install git 2.38 or newer")
            }
            OpenError::StateDir { .. } => Self::new(Exit::Environment, "state_dir", message)
                .hint("make it writable, or give --state-dir PATH (or set WATTLE_STATE_DIR)"),
            OpenError::Id { .. } => Self::new(Exit::Environment, "repo_id", message)
                .hint("see the folder `wattle` in the common git directory, and WATTLE_REPO_ID"),
            OpenError::Git(error) => error.into(),
        }
    }
}

impl From<GitError> for CliError {
    fn from(error: GitError) -> Self {
        Self::new(Exit::Environment, "git", error.to_string()).hint("`wattle doctor` looks at git and the repository")
    }
}

impl From<PoolError> for CliError {
    fn from(error: PoolError) -> Self {
        Self::new(Exit::Environment, "slots", error.to_string()).hint("`wattle doctor` looks at the disk and the slots")
    }
}

impl From<RefError> for CliError {
    fn from(error: RefError) -> Self {
        let message = error.to_string();
        match error {
            RefError::Occupied { by, .. } => Self::occupied(message, &by),
            RefError::Moved { .. } => Self::new(Exit::Busy, "ref_moved", message).hint("try again"),
            RefError::Git(error) => error.into(),
        }
    }
}

impl CliError {
    /// A branch of the user's where ours have to be.
    fn occupied(message: String, by: &str) -> Self {
        let short = by.trim_start_matches("refs/heads/");
        Self::new(Exit::Environment, "branch_in_the_way", message)
            .hint(format!("git branch -m {short} some-other-name"))
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        if error.is_busy() {
            return Self::new(Exit::Busy, "busy", error.to_string()).hint("another wattle is writing to it; try again");
        }
        let hint = match &error {
            JournalError::Newer { .. } => "use the newer wattle",
            JournalError::Fenced { .. } => "`wattle status` shows who drives the run now",
            JournalError::Sql { .. } | JournalError::Event { .. } | JournalError::Blob(_) | JournalError::Replay(_) => {
                "`wattle doctor` looks at the state directory and its disk; then wattle resume"
            }
        };
        Self::new(Exit::Environment, "journal", error.to_string()).hint(hint)
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self {
            exit: if refusal.code == "busy" { Exit::Busy } else { Exit::Usage },
            code: "refused",
            items: vec![Item { message: refusal.message, hint: Some(refusal.hint), at: None }],
        }
    }
}

impl From<SubmitError> for CliError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(refusal) => refusal.into(),
            SubmitError::Silent => Self::new(Exit::Busy, "busy", error.to_string()).hint("try again"),
            SubmitError::Run(error) => error.into(),
        }
    }
}

impl From<RunError> for CliError {
    fn from(error: RunError) -> Self {
        let message = error.to_string();
        let environment = |code, hint: &str| Self::new(Exit::Environment, code, message.clone()).hint(hint);
        match error {
            RunError::Busy { .. } => {
                Self::new(Exit::Busy, "busy", message).hint("wattle status shows it; try again when it is done")
            }
            RunError::Empty => environment("empty", "make a first commit"),
            RunError::Detached => Self::new(Exit::Invalid, "no_target", message).hint("--target BRANCH"),
            RunError::NoBase(rev) => {
                Self::usage(format!("there is no commit `{rev}` to start from")).hint("--base takes a revision")
            }
            RunError::BadTarget(name) => {
                Self::usage(format!("no branch can be named `{name}` here")).hint("--target takes the name of a branch")
            }
            RunError::Occupied { by } => Self::occupied(message, &by),
            RunError::Plan(problems) => problems.into(),
            RunError::NoChecks => {
                Self::new(Exit::Invalid, "no_checks", message).hint("write `checks: []` to land unverified")
            }
            RunError::Refused(refusal) => refusal.into(),
            RunError::BranchTaken(name) => Self::usage(format!("there is a branch {name} already, at another commit"))
                .hint("--branch takes a new name"),
            RunError::NoWork(_) => environment("no_work", "wattle status shows what each step has left"),
            RunError::Lead { cause: Cause::Model | Cause::ModelRefused | Cause::RequestRefused, .. } => {
                environment("model", "look at the key, the address and the name of the model, then try again")
            }
            RunError::Lead { cause: Cause::Budget, .. } => {
                Self::new(Exit::Run(6), "budget", message).hint("--max-usd X allows more")
            }
            RunError::Lead { .. } => {
                Self::new(Exit::Failed, "lead", message).hint("say more in the task, or write a plan file")
            }
            RunError::Interrupted => Self::new(Exit::Run(130), "interrupted", message).hint("give the task again"),
            RunError::Model(error) => environment("no_model", &error.mend()),
            RunError::Rule(_) => Self::new(Exit::Invalid, "rule", message).hint("mend the rule; nothing was started"),
            RunError::Lock(_) => environment("lock", "see the folder `wattle` in the common git directory"),
            RunError::Record(RecordError::Journal(error))
            | RunError::Recover(RecoverError::Journal(error) | RecoverError::Record(RecordError::Journal(error))) => {
                error.into()
            }
            RunError::Record(_) => {
                environment("journal", "`wattle doctor` looks at the state directory and its disk; then wattle resume")
            }
            RunError::Git(error) | RunError::Stale(StaleError::Git(error)) => error.into(),
            RunError::Stale(StaleError::AtWork { .. }) => {
                Self::new(Exit::Busy, "busy", message).hint("try again when it has ended, or end it")
            }
            RunError::Pool(error) => error.into(),
            RunError::Ref(error) => error.into(),
            RunError::Theirs(_) => environment("by_hand", "`wattle doctor` looks at git and the repository"),
            RunError::Recover(_) => environment("recover", "`wattle doctor`, then `wattle resume` again"),
            RunError::Io { .. } => environment("io", "`wattle doctor` looks at the disk"),
        }
    }
}
