//! The tools of an agent: their definitions, and the data that goes in and comes out.
//!
//! There is one list of definitions for every role, because definitions come first in the cached prefix. What
//! a step may not do is refused when a call is dispatched, by the loop. A tool keeps nothing between calls:
//! what the conversation has read comes with the call.

pub(crate) mod ast;
mod confine;
mod edit;
mod evidence;
mod gate;
mod glob;
mod grep;
pub(crate) mod host;
mod lsp;
pub(crate) mod named;
mod open;
pub(crate) mod out;
mod own;
mod patch;
mod read;
pub(crate) mod shell;
mod symbols;
mod text;
mod walk;
mod window;
mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wattle_cache::prefix::ToolDefinition;
use wattle_workspace::BlobId;

use crate::assignment::Mode;
use crate::outcome::Evidence;

/// Tools that read and change nothing; calls of them may run at once.
pub(crate) const READ_ONLY: [&str; 6] = ["AstGrep", "Glob", "Grep", LSP, "Read", "Symbols"];
/// Tools that change files of the worktree by name.
pub(crate) const FILE_WRITERS: [&str; 3] = ["ApplyPatch", "Edit", "Write"];
/// Tools that the loop itself answers, and that every role has.
pub(crate) const ALWAYS: [&str; 2] = [ASK, REPORT];
/// Asks a human.
pub(crate) const ASK: &str = "Ask";
/// Sets the report.
pub(crate) const REPORT: &str = "Report";
/// Proposes a plan; for the lead.
pub(crate) const SUBMIT_PLAN: &str = "SubmitPlan";
/// The shell.
pub(crate) const BASH: &str = "Bash";
/// Looks at a command of the shell that runs in the background.
pub(crate) const BASH_OUTPUT: &str = "BashOutput";
/// Ends one.
pub(crate) const KILL_SHELL: &str = "KillShell";
/// The language servers.
pub(crate) const LSP: &str = "Lsp";

/// One call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Id that the model gave the call.
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Input, JSON text as the model sent it.
    pub input: String,
    /// Files that the conversation has read or written, each with the blob it then held.
    pub seen: BTreeMap<String, BlobId>,
    /// The call may have run before, and its result was lost: a change that is there already is a success.
    pub again: bool,
}

/// What came of a call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolResult {
    /// What the model reads; bounded.
    pub content: String,
    /// Was it refused or did it fail?
    pub is_error: bool,
    /// What happened.
    pub evidence: Evidence,
}

impl ToolResult {
    pub(crate) fn failed(message: impl Into<String>) -> ToolResult {
        ToolResult { content: message.into(), is_error: true, evidence: Evidence::default() }
    }

    pub(crate) fn done(content: impl Into<String>) -> ToolResult {
        ToolResult { content: content.into(), is_error: false, evidence: Evidence::default() }
    }
}

/// A result that is still to come.
pub type Calling<'a> = Pin<Box<dyn Future<Output = ToolResult> + Send + 'a>>;

/// Runs tools: data in, data out.
pub trait ToolHost: Send + Sync {
    /// Runs one call to its end.
    fn call(&self, call: ToolCall) -> Calling<'_>;
}

/// The input of a call, read strictly; the message is for the model.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, input: &str) -> Result<T, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Invalid {
        invalid_json: String,
    }
    serde_json::from_str(input).map_err(|error| match serde_json::from_str::<Invalid>(input) {
        Ok(Invalid { invalid_json }) => match serde_json::from_str::<serde::de::IgnoredAny>(&invalid_json) {
            Ok(_) => format!("the input of {name} has to be a JSON object"),
            Err(error) => format!("the input of {name} was not valid JSON: {error}"),
        },
        Err(_) => format!("the input of {name} does not fit its schema: {error}"),
    })
}

/// A tool as the model is told of it; each stands in the file of its tool.
#[derive(Debug, Clone, Copy)]
struct Definition {
    name: &'static str,
    description: &'static str,
    /// JSON Schema of its input: JSON text of an object.
    schema: &'static str,
}

/// All tools, the same list for every role; sorted by name where it is used.
const DEFINITIONS: [Definition; 15] = [
    patch::DEFINITION,
    own::ASK,
    ast::DEFINITION,
    shell::DEFINITION,
    shell::OUTPUT,
    edit::DEFINITION,
    glob::DEFINITION,
    grep::DEFINITION,
    shell::KILL,
    lsp::DEFINITION,
    read::DEFINITION,
    own::REPORT,
    own::SUBMIT_PLAN,
    symbols::DEFINITION,
    write::DEFINITION,
];

/// The tools of a step that lists none.
pub fn usual(mode: Mode) -> Vec<&'static str> {
    match mode {
        Mode::Read => READ_ONLY.to_vec(),
        Mode::Write | Mode::Scratch => names(),
    }
}

/// The names of all tools.
pub fn names() -> Vec<&'static str> {
    DEFINITIONS.iter().map(|tool| tool.name).collect()
}

/// The definitions of all tools, the same for every role.
pub(crate) fn definitions() -> Vec<ToolDefinition> {
    let all = DEFINITIONS.iter().map(|tool| ToolDefinition {
        name: tool.name.to_owned(),
        description: tool.description.to_owned(),
        input_schema: tool.schema.to_owned(),
    });
    all.collect()
}

#[cfg(test)]
mod tests;
