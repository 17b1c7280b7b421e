//! The tool Write: a whole file.

use std::borrow::Cow;

use serde::Deserialize;

use super::confine::Worktree;
use super::evidence::blob_id;
use super::text::{split_bom, uniform_end, with_ends};
use super::{Definition, ToolCall, ToolResult, gate, parse};

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Write",
    description: "Writes a whole file; its folders are made if need be. A file that exists has to have been read before; its line ends, byte order mark and mode are kept.",
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
    let given = input.content.as_bytes();
    let kept = before.as_ref().map_or(Cow::Borrowed(given), |before| as_before(&before.bytes, given));
    let bytes: &[u8] = &kept;
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
    if let Some(message) = before.as_ref().and_then(|before| gate::refusal(at.relative(), &before.bytes, bytes)) {
        return ToolResult::failed(message);
    }
    if let Err(error) = worktree.replace(&at, before.as_ref(), bytes) {
        return ToolResult::failed(error.to_string());
    }
    let done = if id_before.is_some() { "written" } else { "made" };
    let note = if bytes == given { "" } else { " (Its line ends and byte order mark were kept.)" };
    let mut result = ToolResult::done(format!("{path} was {done}, {} lines.{note}", input.content.lines().count()));
    result.evidence.wrote.push((at.name(), id_before, Some(blob_id(bytes))));
    result
}

/// What Read does not show, and a text that was written after it therefore cannot have: the byte order mark, the
/// kind of line ends, and the last of them.
fn as_before<'a>(before: &[u8], given: &'a [u8]) -> Cow<'a, [u8]> {
    let ((mark, before), (_, text)) = (split_bom(before), split_bom(given));
    let end = uniform_end(before).filter(|_| !given.contains(&b'\r'));
    let mut kept = match end {
        Some(end) => with_ends(text, end).into_owned(),
        None => text.to_vec(),
    };
    if before.ends_with(b"\n") && !kept.is_empty() && !kept.ends_with(b"\n") {
        kept.extend_from_slice(end.unwrap_or(b"\n"));
    }
    if mark.is_empty() && text.len() < given.len() {
        // A mark that the file did not have was meant.
        return Cow::Owned([&given[..given.len() - text.len()], &kept].concat());
    }
    Cow::Owned([mark, &kept].concat())
}
