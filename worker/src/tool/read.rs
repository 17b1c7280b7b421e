//! The tool Read: a text file with line numbers, one page at a time.

use std::fmt::Write as _;

use serde::Deserialize;

use super::confine::Worktree;
use super::evidence::blob_id;
use super::{Definition, ToolResult, parse};

/// Lines of a page when no range is asked for.
const PAGE_LINES: usize = 2000;
/// Characters of a line that are shown: longer ones are generated or minified.
const LINE_CHARS_MAX: usize = 2000;
/// Bound on a result, in bytes: about 25,000 tokens, a good part of what a turn should hold.
const RESULT_BYTES_MAX: usize = 100_000;

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Read",
    description: "Reads a text file with line numbers. Without a range it gives the first 2000 lines and says so if there are more.",
    schema: r#"{"type":"object","properties":{"file_path":{"type":"string"},"offset":{"type":"integer","description":"First line, from 1"},"limit":{"type":"integer","description":"Number of lines"}},"required":["file_path"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    file_path: String,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// Reads a file.
pub(super) fn call(worktree: &Worktree, input: &str) -> ToolResult {
    let input: Input = match parse("Read", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let read = worktree.locate(&input.file_path).and_then(|at| Ok((worktree.read(&at)?, at)));
    let (contents, at) = match read {
        Ok(read) => read,
        Err(error) => return ToolResult::failed(error.to_string()),
    };
    if contents.bytes.contains(&0) {
        return ToolResult::failed(format!("{} is a binary file", input.file_path));
    }
    let text = String::from_utf8_lossy(&contents.bytes);
    let mut result = match page(&text, input.offset, input.limit) {
        Ok(shown) => ToolResult::done(shown),
        Err(message) => ToolResult::failed(message),
    };
    if matches!(text, std::borrow::Cow::Owned(_)) {
        result.content.push_str("\n(The file is not valid UTF-8; what is not is shown as \u{fffd}.)");
    }
    result.evidence.read.push((at.name(), blob_id(&contents.bytes)));
    result
}

/// Lines of a text with their numbers.
pub(super) fn page(text: &str, offset: Option<usize>, limit: Option<usize>) -> Result<String, String> {
    if text.is_empty() {
        return Ok("(The file is empty.)".to_owned());
    }
    let total = text.lines().count();
    let first = offset.unwrap_or(1).max(1);
    if first > total {
        return Err(format!("the file has {total} lines; there is no line {first}"));
    }
    let wanted = limit.unwrap_or(PAGE_LINES).max(1);
    let mut out = String::new();
    let mut last = first - 1;
    for (number, line) in (1..).zip(text.lines()).skip(first - 1).take(wanted) {
        let mut shown: String = line.chars().take(LINE_CHARS_MAX).collect();
        if shown.len() < line.len() {
            shown.push_str(" … (the line goes on)");
        }
        if out.len() + shown.len() > RESULT_BYTES_MAX {
            if limit.is_some() {
                let fits = number - first;
                return Err(format!("{wanted} lines from line {first} are too much at once; ask for {fits}"));
            }
            break;
        }
        writeln!(out, "{number:>6}\t{shown}").expect("writing to a string cannot fail");
        last = number;
    }
    if limit.is_none() && last < total {
        let next = last + 1;
        write!(out, "PARTIAL view: lines {first} to {last} of {total}. Go on with offset {next}.")
            .expect("writing to a string cannot fail");
    }
    Ok(out)
}
