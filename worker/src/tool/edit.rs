//! The tool Edit: an exact replacement of text that occurs once.

use std::fmt::Write as _;

use regex::bytes::Regex;
use serde::Deserialize;

use super::confine::{Contents, Worktree};
use super::evidence::blob_id;
use super::{Definition, ToolCall, ToolResult, parse};

/// How many places are shown that look like the text that was not found.
const CLOSEST: usize = 3;
/// Lines of a file up to which they are looked for: beyond it the search costs more than it helps.
const CLOSEST_LINES_MAX: usize = 20_000;
/// Lines of such a place that are shown.
const WINDOW_LINES_MAX: usize = 12;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Edit",
    description: "Replaces text in a file. `old_string` has to occur exactly once, unless `replace_all` is set; it is matched exactly, indentation included. The file has to have been read before.",
    schema: r#"{"type":"object","properties":{"file_path":{"type":"string"},"old_string":{"type":"string"},"new_string":{"type":"string"},"replace_all":{"type":"boolean"}},"required":["file_path","old_string","new_string"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    file_path: String,
    old_string: String,
    new_string: String,
    #[serde(default)]
    replace_all: bool,
}

/// Edits a file.
pub(super) fn call(worktree: &Worktree, call: &ToolCall) -> ToolResult {
    let input: Input = match parse("Edit", &call.input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let path = &input.file_path;
    let read = worktree.locate(path).and_then(|at| Ok((worktree.read(&at)?, at)));
    let (before, at) = match read {
        Ok(read) => read,
        Err(error) => return ToolResult::failed(error.to_string()),
    };
    let Some(seen) = call.seen.get(&at.name()) else {
        return ToolResult::failed(format!("{path} has not been read; read it before you edit it"));
    };
    let id_before = blob_id(&before.bytes);
    let changed = *seen != id_before;
    let after = match replaced(&before, &input, call.again) {
        Ok(Some((bytes, count))) => Ok((bytes, count)),
        Ok(None) => {
            let mut result = ToolResult::done(format!("{path} holds this change already"));
            result.evidence.read.push((at.name(), id_before));
            return result;
        }
        Err(message) => Err(message),
    };
    let (bytes, count) = match after {
        Ok(after) => after,
        Err(message) => return ToolResult::failed(format!("{path}: {message}")),
    };
    if let Err(error) = worktree.replace(&at, Some(&before), &bytes) {
        return ToolResult::failed(error.to_string());
    }
    let times = if count == 1 { String::new() } else { format!(", {count} times") };
    let note = if changed { " (It had changed since you read it; the text was still unique.)" } else { "" };
    let mut result = ToolResult::done(format!("{path} was edited{times}.{note}"));
    result.evidence.wrote.push((at.name(), Some(id_before), Some(blob_id(&bytes))));
    result
}

/// The new bytes and how many places changed; `None` = the change is there already.
fn replaced(before: &Contents, input: &Input, again: bool) -> Result<Option<(Vec<u8>, usize)>, String> {
    if input.old_string.is_empty() {
        return Err("old_string is empty; use Write to make a file".to_owned());
    }
    if input.old_string == input.new_string {
        return Err("old_string and new_string are the same".to_owned());
    }
    let (old, new) = with_line_ends_of(&before.bytes, input);
    let found = count(&before.bytes, &old);
    if again && holds_already(&before.bytes, &old, &new, found) {
        return Ok(None);
    }
    match found {
        0 => Err(not_found(&String::from_utf8_lossy(&before.bytes), &input.old_string)),
        1 => Ok(Some((substitute(&before.bytes, &old, &new), 1))),
        many if input.replace_all => Ok(Some((substitute(&before.bytes, &old, &new), many))),
        many => {
            Err(format!("old_string occurs {many} times; add lines around it until it is unique, or set replace_all"))
        }
    }
}

/// Read shows lines without their ends, so a text of several lines arrives with LF; in a file that uses CRLF
/// throughout it means those.
fn with_line_ends_of(bytes: &[u8], input: &Input) -> (String, String) {
    let line_feeds = bytes.iter().filter(|byte| **byte == b'\n').count();
    let crlf = line_feeds > 0 && count(bytes, "\r\n") == line_feeds;
    let given = input.old_string.contains('\r') || input.new_string.contains('\r');
    if crlf && !given {
        (input.old_string.replace('\n', "\r\n"), input.new_string.replace('\n', "\r\n"))
    } else {
        (input.old_string.clone(), input.new_string.clone())
    }
}

fn literal(text: &str) -> Regex {
    let escaped = regex::escape(text);
    regex::bytes::RegexBuilder::new(&escaped)
        .size_limit(usize::MAX)
        .build()
        .expect("an escaped text is a valid pattern")
}

fn count(bytes: &[u8], text: &str) -> usize {
    literal(text).find_iter(bytes).count()
}

fn substitute(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    literal(old).replace_all(bytes, regex::bytes::NoExpand(new.as_bytes())).into_owned()
}

/// Was the change made before an interruption? Either the old text is gone and the new one is there, or the new
/// text holds the old one and every place of it is inside a new one.
fn holds_already(bytes: &[u8], old: &str, new: &str, found: usize) -> bool {
    if new.is_empty() {
        return found == 0;
    }
    let new_found = count(bytes, new);
    let inside = count(new.as_bytes(), old);
    new_found > 0 && found == new_found * inside
}

fn not_found(text: &str, old: &str) -> String {
    let mut message = "old_string does not occur in the file".to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let wanted: Vec<&str> = old.lines().collect();
    if lines.len() > CLOSEST_LINES_MAX || wanted.is_empty() {
        return message;
    }
    let mut scored: Vec<(usize, usize)> = (0..lines.len())
        .map(|start| {
            let pairs = wanted.iter().zip(&lines[start..]);
            (pairs.map(|(a, b)| likeness(a, b)).sum::<usize>() / wanted.len(), start)
        })
        .filter(|(score, _)| *score >= 50)
        .collect();
    scored.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, start) in scored.into_iter().take(CLOSEST) {
        let end = (start + wanted.len().min(WINDOW_LINES_MAX)).min(lines.len());
        write!(message, "\nthis looks like it (lines {} to {end}):\n", start + 1)
            .expect("writing to a string cannot fail");
        for (number, line) in (start + 1..).zip(&lines[start..end]) {
            writeln!(message, "{number:>6}\t{line}").expect("writing to a string cannot fail");
        }
    }
    message
}

/// How alike two lines are, of 100: what they share at both ends, indentation aside.
fn likeness(a: &str, b: &str) -> usize {
    let (a, b) = (a.trim().as_bytes(), b.trim().as_bytes());
    let longest = a.len().max(b.len());
    if longest == 0 {
        return 100;
    }
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (&a[head..], &b[head..]);
    let tail = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(x, y)| x == y).count();
    (head + tail) * 100 / longest
}
