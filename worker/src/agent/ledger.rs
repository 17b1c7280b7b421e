//! The working ledger of a conversation: what it is about, what it has done, and where it stands.
//!
//! It is kept by code from what happened (messages and the evidence of tools), never from a model's own account of it:
//! a summary forgets the step that was under way (openai/codex#34095) or turns an old prompt into the goal (#31659).
//! So it is a pure fold, the same from a live conversation, after an interruption and from a journal. Its Markdown is
//! what a worker gets in place of the messages that no longer fit; `wattle log STEP --ledger` shows all of it.

mod fold;
mod render;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::outcome::Evidence;

/// Version of its JSON.
const VERSION: u32 = 1;

/// What a conversation is about, has done, and is at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Version of the form: 1.
    pub v: u32,
    /// What was asked for, verbatim.
    pub task: String,
    /// What the result is held to, as the first message says: mode, paths.
    pub acceptance: Vec<String>,
    /// The newest list that the worker wrote of what it is going to do.
    pub plan: Option<Note>,
    /// What was under way last.
    pub frontier: Frontier,
    /// Files that were read, by path.
    pub read: BTreeMap<String, FileRead>,
    /// Files that were changed by name, by path.
    pub changed: BTreeMap<String, FileChanged>,
    /// Commands, oldest first.
    pub commands: Vec<CommandRun>,
    /// What failed, and what resolved it.
    pub errors: Vec<Failure>,
    /// Words for the worker after its task, verbatim.
    pub corrections: Vec<Note>,
    /// Answers to its questions, and reports that it set.
    pub decisions: Vec<Note>,
    /// What is not settled: questions without an answer, and what its reports say is left.
    pub open: Vec<Note>,
    /// Calls of tools.
    pub calls: u32,
    /// Messages so far, the first one included.
    pub messages: u32,
}

/// Words, and the message they stand in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Index of the message.
    pub message: u32,
    /// The words.
    pub text: String,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRead {
    /// Index of the message with its content when it was read first.
    pub first: u32,
    /// Index of the newest one.
    pub message: u32,
    /// Id of its blob then; `None` = unknown.
    pub blob: Option<String>,
    /// How often it was read.
    pub times: u32,
}

/// A file that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChanged {
    /// Index of the newest message that says so.
    pub message: u32,
    /// Id of its blob afterwards; `None` = unknown, or it is gone.
    pub blob: Option<String>,
    /// How often it was changed.
    pub times: u32,
}

/// A command that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRun {
    /// Index of the message with its result.
    pub message: u32,
    /// The command.
    pub command: String,
    /// Its exit code, where it ended by itself.
    pub exit: Option<i32>,
    /// Name of its output where that was too long to be shown.
    pub output: Option<String>,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Index of the message that says so.
    pub message: u32,
    /// The call: a command, or a tool with its file or pattern.
    pub call: String,
    /// The line that says why.
    pub line: String,
    /// What resolved it.
    pub resolved: Option<Resolved>,
}

/// The same call went well later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Index of the message that says so.
    pub message: u32,
    /// Files that were changed in between.
    pub by: Vec<String>,
}

/// What was under way last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    /// Index of the worker's newest message.
    pub message: u32,
    /// What it said with it.
    pub said: String,
    /// What it called, each with what came of it.
    pub calls: Vec<Step>,
}

/// One call of the frontier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The call.
    pub call: String,
    /// What came of it, its last line; `None` = nobody has answered.
    pub result: Option<String>,
}

impl Ledger {
    /// The ledger of a conversation: its messages as JSON, the first one included, and what its tools did, by the ids
    /// of their calls in the order they ended. Without evidence hashes are unknown, and exit codes are read from results.
    pub fn of<'a>(messages: impl IntoIterator<Item = &'a str>, evidence: &[(String, Evidence)]) -> Ledger {
        let mut fold = fold::Fold::new(evidence);
        for message in messages {
            fold.message(message);
        }
        fold.finish()
    }

    /// As the worker reads it: at most about 2,000 tokens, newest first where not all fits.
    pub fn markdown(&self) -> String {
        render::markdown(self)
    }

    /// A number that grows with what was achieved: distinct contents that were written.
    pub fn written(&self) -> u32 {
        self.changed.values().map(|file| file.times).sum()
    }
}

#[cfg(test)]
mod tests;
