//! What a worker gives back, and the evidence that every tool and command result carries.

use serde::{Deserialize, Serialize};
use wattle_workspace::{BlobId, Change, CommitId, TreeId};

/// The last word on an assignment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Report for people and for dependents, Markdown; bounded by its writer.
    pub report: String,
    /// The step's commit, where it made one. Kept on a failure too: work is never thrown away.
    pub commit: Option<Committed>,
    /// The verdict of the step's own check or of the check that was assigned.
    pub check: Option<CheckResult>,
    /// Evidence of the executor's last process or rewrite.
    pub evidence: Evidence,
}

/// How an assignment ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum End {
    /// It did what was asked and leaves no commit (read, scratch, check, setup, lead).
    Done,
    /// It did what was asked and left a commit.
    Committed,
    /// A write step that changed nothing.
    Unchanged,
    /// It did not do what was asked.
    Failed {
        /// Why.
        cause: Cause,
        /// One line for people.
        message: String,
    },
    /// It was told to stop, and everything it had is in its worktree and its journal.
    Parked,
    /// It waits for a human; its worktree and conversation are kept.
    NeedsInput {
        /// The question.
        question: String,
        /// Answers on offer; empty = free text.
        options: Vec<String>,
    },
}

/// Why an assignment failed; decides whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The command ended with an exit code that does not count as success.
    Exit,
    /// A signal that was not ours ended the command.
    Signal,
    /// The wall-time bound was reached.
    Timeout,
    /// The bound on silence was reached.
    Idle,
    /// The step's own check is red, after all repairs.
    CheckRed,
    /// A rewrite rule or a pattern is not valid. No retry.
    BadRule,
    /// The files of the worktree cannot be committed (nested repository, special file).
    Uncommittable,
    /// A step that may not write changed files.
    WroteInReadMode,
    /// The model could not be reached, or gave nothing that can be used.
    Model,
    /// The model's provider refused for good: a wrong key, an unknown name, no money. No retry.
    ModelRefused,
    /// The provider refused this conversation for good (too long, against its policy); others may go on. No retry.
    RequestRefused,
    /// The model ended its turns with no result, or reached a bound on turns.
    Turns,
    /// A bound on money or tokens was reached. No retry.
    Budget,
    /// Something that is ours or the machine's: a spawn, a disk, git.
    Environment,
}

/// A commit that a worker made from the files of its worktree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// What it changes against its base.
    pub changes: Vec<Change>,
    /// Changed paths that no pattern of `touches` covers.
    pub outside: Vec<String>,
}

/// One check, run once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Verdict.
    pub verdict: Verdict,
    /// Evidence of its process.
    pub evidence: Evidence,
    /// Paths that the check changed in the worktree; they were discarded.
    pub changed_by_check: Vec<String>,
}

/// What a check says of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The tree passed.
    Green,
    /// The tree did not pass: an exit code.
    Red,
    /// A bound on time was reached: says nothing certain of the tree.
    Timeout,
    /// It could not be run.
    Error,
}

/// What happened, so that nobody has to believe a summary.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was executed; empty for what starts no process.
    pub argv: Vec<String>,
    /// Exit code, where the process ended by itself.
    pub exit: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Captured output, both streams in the order they came: at most the bound, head and tail.
    pub output: String,
    /// Bytes the process wrote in all.
    pub output_bytes: u64,
    /// Wall time, in milliseconds.
    pub elapsed_ms: u64,
    /// Files read, with the blob id of what was read.
    pub read: Vec<(String, BlobId)>,
    /// Files written: path, blob before (`None` = new), blob after (`None` = deleted).
    pub wrote: Vec<(String, Option<BlobId>, Option<BlobId>)>,
    /// The tree of the worktree afterwards, where it was taken.
    pub tree: Option<TreeId>,
}
