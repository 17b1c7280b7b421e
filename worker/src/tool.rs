//! The tools of an agent: their definitions, and the data that goes in and comes out.
//!
//! There is one list of definitions for every role, because definitions come first in the cached prefix. What
//! a step may not do is refused when a call is dispatched, by the loop. A tool keeps nothing between calls:
//! what the conversation has read comes with the call.

mod confine;
mod edit;
mod evidence;
mod glob;
mod grep;
pub(crate) mod host;
mod read;
pub(crate) mod shell;
mod walk;
mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wattle_cache::prefix::ToolDefinition;
use wattle_workspace::BlobId;

use crate::outcome::Evidence;

/// Tools that read and change nothing; calls of them may run at once.
pub(crate) const READ_ONLY: [&str; 3] = ["Glob", "Grep", "Read"];
/// Tools that change files of the worktree by name.
pub(crate) const FILE_WRITERS: [&str; 2] = ["Edit", "Write"];
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

/// The definitions of all tools, the same for every role.
pub(crate) fn definitions() -> Vec<ToolDefinition> {
    let all = [
        (
            ASK,
            "Asks a human a question and waits for the answer. Use it only when the task cannot be decided from the repository.",
            r#"{"type":"object","properties":{"question":{"type":"string"},"options":{"type":"array","items":{"type":"string"},"description":"Answers on offer; leave out for free text"}},"required":["question"],"additionalProperties":false}"#,
        ),
        (
            BASH,
            "Runs a shell command with `sh -c` in the root of the worktree and returns its output and exit code. Nothing is kept between calls (no directory, no variables) and nothing may run on after it. Prefer Read, Glob and Grep for looking at files.",
            r#"{"type":"object","properties":{"command":{"type":"string"},"timeout":{"type":"integer","description":"Milliseconds, default 120000, at most 600000"},"description":{"type":"string","description":"What it does, in a few words"}},"required":["command"],"additionalProperties":false}"#,
        ),
        (
            "Edit",
            "Replaces text in a file. `old_string` has to occur exactly once, unless `replace_all` is set; it is matched exactly, indentation included. The file has to have been read before.",
            r#"{"type":"object","properties":{"file_path":{"type":"string"},"old_string":{"type":"string"},"new_string":{"type":"string"},"replace_all":{"type":"boolean"}},"required":["file_path","old_string","new_string"],"additionalProperties":false}"#,
        ),
        (
            "Glob",
            "Lists files whose path matches a pattern such as `src/**/*.rs`, sorted by path. What .gitignore excludes is left out.",
            r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"Folder to look in, default the root of the worktree"}},"required":["pattern"],"additionalProperties":false}"#,
        ),
        (
            "Grep",
            "Searches the contents of files for a regular expression (ripgrep's syntax). What .gitignore excludes is left out.",
            r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":"string","description":"File or folder, default the root of the worktree"},"glob":{"type":"string","description":"Only files that match, such as `*.rs`"},"type":{"type":"string","description":"Only files of a type, such as `rust`"},"output_mode":{"type":"string","enum":["files_with_matches","content","count"]},"-i":{"type":"boolean","description":"Ignore case"},"-n":{"type":"boolean","description":"Line numbers in content mode, default true"},"-A":{"type":"integer"},"-B":{"type":"integer"},"-C":{"type":"integer"},"multiline":{"type":"boolean","description":"Let a match span lines, and `.` match a line end"},"head_limit":{"type":"integer","description":"At most so many lines or files"},"offset":{"type":"integer","description":"Leave out so many first"}},"required":["pattern"],"additionalProperties":false}"#,
        ),
        (
            "Read",
            "Reads a text file with line numbers. Without a range it gives the first 2000 lines and says so if there are more.",
            r#"{"type":"object","properties":{"file_path":{"type":"string"},"offset":{"type":"integer","description":"First line, from 1"},"limit":{"type":"integer","description":"Number of lines"}},"required":["file_path"],"additionalProperties":false}"#,
        ),
        (
            REPORT,
            "Sets the report of your work, in Markdown: what you did or found, for reviewers and for the steps that depend on yours. Without it your last words are the report.",
            r#"{"type":"object","properties":{"markdown":{"type":"string"}},"required":["markdown"],"additionalProperties":false}"#,
        ),
        (
            SUBMIT_PLAN,
            "Proposes the steps of a plan; only for the lead planner. The plan is validated, and its problems come back to you.",
            r#"{"type":"object","properties":{"steps":{"type":"array","items":{"type":"object"}}},"required":["steps"]}"#,
        ),
        (
            "Write",
            "Writes a whole file; its folders are made if need be. A file that exists has to have been read before.",
            r#"{"type":"object","properties":{"file_path":{"type":"string"},"content":{"type":"string"}},"required":["file_path","content"],"additionalProperties":false}"#,
        ),
    ];
    let all = all.into_iter().map(|(name, description, schema)| ToolDefinition {
        name: name.to_owned(),
        description: description.to_owned(),
        input_schema: schema.to_owned(),
    });
    all.collect()
}

#[cfg(test)]
mod tests;
