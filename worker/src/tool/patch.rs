//! The tool ApplyPatch: changes of several files in one text, all of them or none.

mod hunks;
mod parse;
mod stage;

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use wattle_workspace::BlobId;

use self::hunks::Patched;
use self::parse::{Hunk, Operation};
use self::stage::Change;
use super::confine::{Contents, FILE_BYTES_MAX, Located, Worktree};
use super::evidence::blob_id;
use super::{Definition, ToolCall, ToolResult, gate};

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "ApplyPatch",
    description: "Changes, adds, deletes and moves several files at once: all of it or nothing. The patch starts with `*** Begin Patch` and ends with `*** End Patch`. In between, each file starts with `*** Add File: PATH` (each line of it after a `+`), `*** Delete File: PATH` or `*** Update File: PATH`, the last one with an optional `*** Move to: PATH`. An update has hunks: `@@` or `@@ a whole line that stands before the place`, then lines that start with ` ` (kept), `-` (removed) or `+` (added), three kept lines around a change; `*** End of File` where it is at the end. The kept and removed lines of a hunk have to fit in exactly one place. Paths are relative. No line numbers: unified diffs are refused. Files that are updated or deleted have to have been read before.",
    schema: r#"{"type":"object","properties":{"patch":{"type":"string"}},"required":["patch"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(alias = "input")]
    patch: String,
}

/// One operation that can be done, and the line that tells of it.
struct Planned {
    changes: Vec<Change>,
    /// A file that holds the change already, with what it holds.
    already: Option<(String, BlobId)>,
    told: String,
}

/// Applies a patch.
pub(super) fn call(worktree: &Worktree, call: &ToolCall) -> ToolResult {
    let operations = match operations(&call.input) {
        Ok(operations) => operations,
        Err(message) => return ToolResult::failed(message),
    };
    let mut planned = Vec::new();
    let mut problems = Vec::new();
    for operation in &operations {
        match plan(worktree, call, operation) {
            Ok(plan) => planned.push(plan),
            Err(problem) => problems.push(problem),
        }
    }
    let mut names = BTreeSet::new();
    for change in planned.iter().flat_map(|plan| &plan.changes) {
        if !names.insert(change.at.name()) {
            problems.push(format!("{} is named twice; put all of its hunks under one head", change.at.name()));
        }
    }
    if !problems.is_empty() {
        let fits = match planned.len() {
            0 => String::new(),
            fits => format!("\n({fits} of {} files would have fitted.)", operations.len()),
        };
        return ToolResult::failed(format!("nothing was changed:\n{}{fits}", problems.join("\n")));
    }
    let there: Vec<(String, BlobId)> = planned.iter().filter_map(|plan| plan.already.clone()).collect();
    let told: Vec<String> = planned.iter().map(|plan| plan.told.clone()).collect();
    let changes: Vec<Change> = planned.into_iter().flat_map(|plan| plan.changes).collect();
    let (mut evidence, written) = stage::write(worktree, &changes);
    evidence.read = there;
    match written {
        Ok(()) => ToolResult { content: told.join("\n"), is_error: false, evidence },
        Err(message) => ToolResult { content: message, is_error: true, evidence },
    }
}

/// The paths that a call names, as they are written there.
pub(super) fn paths(input: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for operation in operations(input).unwrap_or_default() {
        match operation {
            Operation::Add { path, .. } | Operation::Delete { path } => paths.push(path),
            Operation::Update { path, to, .. } => {
                paths.push(path);
                paths.extend(to);
            }
        }
    }
    paths
}

fn operations(input: &str) -> Result<Vec<Operation>, String> {
    let input: Input = super::parse("ApplyPatch", input)?;
    parse::parse(&input.patch).map_err(|error| error.to_string())
}

fn plan(worktree: &Worktree, call: &ToolCall, operation: &Operation) -> Result<Planned, String> {
    match operation {
        Operation::Add { path, text } => add(worktree, call, path, text),
        Operation::Delete { path } => {
            let (at, before) = at(worktree, path)?;
            match before {
                None if call.again => Ok(already(path, None)),
                None => Err(format!("{path} does not exist")),
                Some(before) => {
                    known(call, &at, path, &before)?;
                    let change = Change { at, before: Some(before), after: None };
                    Ok(Planned { changes: vec![change], already: None, told: format!("{path} was deleted.") })
                }
            }
        }
        Operation::Update { path, to, hunks } => update(worktree, call, path, to.as_deref(), hunks),
    }
}

fn already(path: &str, there: Option<(&Located, &Contents)>) -> Planned {
    let already = there.map(|(at, contents)| (at.name(), blob_id(&contents.bytes)));
    Planned { changes: Vec::new(), already, told: format!("{path} holds this change already.") }
}

fn at(worktree: &Worktree, path: &str) -> Result<(Located, Option<Contents>), String> {
    if Path::new(path).is_absolute() {
        return Err(format!("{path} is absolute; paths of a patch are relative to the root of the worktree"));
    }
    let at = worktree.locate(path).map_err(|error| error.to_string())?;
    let contents = worktree.read_if_there(&at).map_err(|error| error.to_string())?;
    Ok((at, contents))
}

/// A file may be changed only as it was read.
fn known(call: &ToolCall, at: &Located, path: &str, before: &Contents) -> Result<(), String> {
    match call.seen.get(&at.name()) {
        Some(seen) if *seen == blob_id(&before.bytes) => Ok(()),
        Some(_) => Err(format!("{path} has changed since you read it; read it again")),
        None => Err(format!("{path} has not been read; read it before you change it")),
    }
}

fn add(worktree: &Worktree, call: &ToolCall, path: &str, text: &str) -> Result<Planned, String> {
    let (at, before) = at(worktree, path)?;
    match before {
        Some(before) if call.again && before.bytes == text.as_bytes() => Ok(already(path, Some((&at, &before)))),
        Some(_) => Err(format!("{path} exists already; update it, or delete it first in a patch of its own")),
        None => {
            let after = Some((text.as_bytes().to_vec(), None));
            let told = format!("{path} was added, {} lines.", text.lines().count());
            Ok(Planned { changes: vec![Change { at, before: None, after }], already: None, told })
        }
    }
}

fn update(
    worktree: &Worktree,
    call: &ToolCall,
    path: &str,
    to: Option<&str>,
    hunks: &[Hunk],
) -> Result<Planned, String> {
    let (from, before) = at(worktree, path)?;
    let target = to.map(|to| at(worktree, to)).transpose()?.filter(|(target, _)| *target.name() != from.name());
    let Some(before) = before else {
        let moved = target.and_then(|(target, there)| Some((target, there?)));
        return match moved.filter(|(_, there)| call.again && hunks::holds_already(&there.bytes, hunks)) {
            Some((target, there)) => Ok(already(path, Some((&target, &there)))),
            None => Err(format!("{path} does not exist")),
        };
    };
    if call.again && target.is_none() && hunks::holds_already(&before.bytes, hunks) {
        return Ok(already(path, Some((&from, &before))));
    }
    known(call, &from, path, &before)?;
    let (bytes, how) = if hunks.is_empty() {
        (before.bytes.clone(), String::new())
    } else {
        let Patched { bytes, tier, line } =
            hunks::apply(&before.bytes, hunks).map_err(|message| format!("{path}: {message}"))?;
        (bytes, format!(" from line {line} on; its hunks matched {}", tier.told()))
    };
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{path}: the result would have more than {FILE_BYTES_MAX} bytes"));
    }
    let named = target.as_ref().map_or(&from, |(target, _)| target);
    if let Some(message) = gate::refusal(named.relative(), &before.bytes, &bytes) {
        return Err(message);
    }
    let mode = Some(before.mode);
    let Some((target, there)) = target else {
        let change = Change { at: from, before: Some(before), after: Some((bytes, mode)) };
        return Ok(Planned { changes: vec![change], already: None, told: format!("{path} was updated{how}.") });
    };
    // A move that was killed between its two writes has made the new file already.
    let made = there.as_ref().is_some_and(|there| call.again && there.bytes == bytes);
    let to = to.unwrap_or_default();
    if there.is_some() && !made {
        return Err(format!("{path}: {to} exists already"));
    }
    let mut changes = Vec::new();
    let already = made.then(|| (target.name(), blob_id(&bytes)));
    if !made {
        changes.push(Change { at: target, before: None, after: Some((bytes, mode)) });
    }
    changes.push(Change { at: from, before: Some(before), after: None });
    Ok(Planned { changes, already, told: format!("{path} was moved to {to}{how}.") })
}

#[cfg(test)]
mod tests;
