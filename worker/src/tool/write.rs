//! The tool Write: a whole file.

use serde::Deserialize;

use super::confine::Worktree;
use super::evidence::blob_id;
use super::{Definition, ToolCall, ToolResult, parse};

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Write",
    description: "Writes a whole file; its folders are made if need be. A file that exists has to have been read before.",
    schema: r#"{"type":"object","properties":{"file_path":{"type":"string"},"content":{"type":"string"}},"required":["file_path","content"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    file_path: String,
    content: String,
}

/// Writes a file.
pub(super) fn call(worktree: &Worktree, call: &ToolCall) -> ToolResult {
    let input: Input = match parse("Write", &call.input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let path = &input.file_path;
    let read = worktree.locate(path).and_then(|at| Ok((worktree.read_if_there(&at)?, at)));
    let (before, at) = match read {
        Ok(read) => read,
        Err(error) => return ToolResult::failed(error.to_string()),
    };
    let bytes = input.content.as_bytes();
    let id_before = before.as_ref().map(|contents| blob_id(&contents.bytes));
    if let Some(id) = &id_before {
        let there = before.as_ref().is_some_and(|contents| contents.bytes == bytes);
        match call.seen.get(&at.name()) {
            _ if call.again && there => {}
            Some(seen) if seen == id => {}
            Some(_) => {
                return ToolResult::failed(format!("{path} has changed since you read it; read it again"));
            }
            None => {
                return ToolResult::failed(format!("{path} exists and has not been read; read it before you write it"));
            }
        }
    }
    if let Err(error) = worktree.replace(&at, before.as_ref(), bytes) {
        return ToolResult::failed(error.to_string());
    }
    let done = if id_before.is_some() { "written" } else { "made" };
    let mut result = ToolResult::done(format!("{path} was {done}, {} lines.", input.content.lines().count()));
    result.evidence.wrote.push((at.name(), id_before, Some(blob_id(bytes))));
    result
}
