//! The tool Edit: text that stands in one place of a file is replaced by other text.

mod closest;
mod locate;
mod substitute;

use std::time::{Duration, Instant};

use serde::Deserialize;

use self::locate::{Missing, Places};
use super::confine::{FILE_BYTES_MAX, Located, Worktree};
use super::evidence::blob_id;
use super::text::{Lines, split_bom, trim, uniform_end};
use super::{Definition, ToolCall, ToolResult, gate, parse};

pub(super) use self::closest::report as closest;
pub(super) use self::locate::Tier;

/// Places that one call replaces; more is a job for a rule or a program.
const PLACES_MAX: usize = 100_000;
/// Lines that a message names.
const LINES_NAMED_MAX: usize = 10;
/// Bytes of a new text from which on its presence says something.
pub(super) const TELLING_BYTES_MIN: usize = 8;
/// Bound on comparing old texts with new ones, in one call; beyond it the comparison gets coarser, not wrong.
const COMPARE_MAX: Duration = Duration::from_millis(200);

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: "Edit",
    description: "Replaces text in a file. `old_string` has to stand in exactly one place, unless `replace_all` is set; give it exactly, indentation included. Where it is not there exactly, line ends, space at line ends, one uniform indentation and typographic characters are forgiven, in this order, and the result says so. The file has to have been read before. Line ends, byte order mark and mode of the file are kept; an edit after which the file no longer parses is refused.",
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

/// What an edit makes of a file.
enum Edited {
    /// The change is there already.
    Already,
    Bytes {
        bytes: Vec<u8>,
        /// How many places changed.
        places: usize,
        tier: Tier,
        /// Line of the first one, from 1.
        line: usize,
    },
}

/// Edits a file.
pub(super) fn call(worktree: &Worktree, call: &ToolCall) -> ToolResult {
    let input: Input = match parse("Edit", &call.input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let path = &input.file_path;
    let read = worktree.locate(path).and_then(|at| Ok((worktree.read_if_there(&at)?, at)));
    let (before, at) = match read {
        Ok((Some(before), at)) => (before, at),
        Ok((None, at)) if input.old_string.is_empty() => return made(worktree, &at, &input),
        Ok((None, _)) => return ToolResult::failed(format!("{path} does not exist")),
        Err(error) => return ToolResult::failed(error.to_string()),
    };
    let Some(seen) = call.seen.get(&at.name()) else {
        return ToolResult::failed(format!("{path} has not been read; read it before you edit it"));
    };
    let id_before = blob_id(&before.bytes);
    let changed = *seen != id_before;
    let (bytes, places, tier, line) = match edited(&before.bytes, &input, call.again) {
        Ok(Edited::Bytes { bytes, places, tier, line }) => (bytes, places, tier, line),
        Ok(Edited::Already) => {
            let mut result = ToolResult::done(format!("{path} holds this change already"));
            result.evidence.read.push((at.name(), id_before));
            return result;
        }
        Err(message) => return ToolResult::failed(format!("{path}: {message}")),
    };
    if let Some(message) = gate::refusal(at.relative(), &before.bytes, &bytes) {
        return ToolResult::failed(message);
    }
    if let Err(error) = worktree.replace(&at, Some(&before), &bytes) {
        return ToolResult::failed(error.to_string());
    }
    let times = if places == 1 { String::new() } else { format!(", {places} times, first") };
    let note = if changed { " (It had changed since you read it; the text was still unique.)" } else { "" };
    let told = tier.told();
    let mut result =
        ToolResult::done(format!("{path} was edited{times} in line {line}; old_string matched {told}.{note}"));
    result.evidence.wrote.push((at.name(), Some(id_before), Some(blob_id(&bytes))));
    result
}

/// An empty text stands in a file that does not exist: the edit makes it.
fn made(worktree: &Worktree, at: &Located, input: &Input) -> ToolResult {
    let bytes = input.new_string.as_bytes();
    if let Err(error) = worktree.replace(at, None, bytes) {
        return ToolResult::failed(error.to_string());
    }
    let mut result = ToolResult::done(format!("{} was made.", input.file_path));
    result.evidence.wrote.push((at.name(), None, Some(blob_id(bytes))));
    result
}

fn edited(whole: &[u8], input: &Input, again: bool) -> Result<Edited, String> {
    if input.old_string.is_empty() {
        return Err("old_string is empty, and the file exists; use Write to replace all of it".to_owned());
    }
    if input.old_string == input.new_string {
        return Err("old_string and new_string are the same".to_owned());
    }
    let (mark, bytes) = split_bom(whole);
    let (old, new) = match (mark.is_empty(), input.old_string.strip_prefix('\u{feff}')) {
        (false, Some(old)) => (old, input.new_string.strip_prefix('\u{feff}').unwrap_or(&input.new_string)),
        (true, _) | (false, None) => (input.old_string.as_str(), input.new_string.as_str()),
    };
    if old.is_empty() {
        return Err("old_string holds nothing but a byte order mark".to_owned());
    }
    let max = if input.replace_all || again { PLACES_MAX + 1 } else { LINES_NAMED_MAX + 1 };
    let found = locate::find(bytes, old.as_bytes(), max);
    if again && holds_already(bytes, found.as_ref(), new.as_bytes()) {
        return Ok(Edited::Already);
    }
    let places = match found {
        Ok(places) => places,
        Err(Missing::Absent) => return Err(absent(bytes, old, new)),
        Err(Missing::TooMuch) => {
            return Err("old_string does not occur exactly, and it repeats itself too much to look for it in other ways; give it exactly".to_owned());
        }
    };
    let lines = Lines::new(bytes);
    if places.overlap || (places.spans.len() > 1 && !input.replace_all) {
        return Err(ambiguous(&places, &lines));
    }
    if places.spans.len() > PLACES_MAX {
        return Err(format!("old_string occurs more than {PLACES_MAX} times; use Bash for that"));
    }
    let after = substituted(bytes, &places, (old.as_bytes(), new.as_bytes()))?;
    if after == bytes {
        return Err("the edit changes nothing; the file is so already".to_owned());
    }
    let line = lines.line_of(places.spans[0].start) + 1;
    Ok(Edited::Bytes { bytes: [mark, &after].concat(), places: places.spans.len(), tier: places.tier, line })
}

fn substituted(bytes: &[u8], places: &Places, texts: (&[u8], &[u8])) -> Result<Vec<u8>, String> {
    let end = uniform_end(bytes);
    let deadline = Instant::now() + COMPARE_MAX;
    let mut after = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for place in &places.spans {
        after.extend_from_slice(&bytes[from..place.start]);
        after.extend(substitute::replacement(places.tier, place, bytes, texts, (end, deadline))?);
        if after.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("the result would have more than {FILE_BYTES_MAX} bytes"));
        }
        from = place.end;
    }
    after.extend_from_slice(&bytes[from..]);
    Ok(after)
}

/// Was the change made before an interruption? Either the old text is gone and the new one is there, or the new
/// text holds the old one and every place of it is inside a new one.
fn holds_already(bytes: &[u8], old: Result<&Places, &Missing>, new: &[u8]) -> bool {
    if new.is_empty() {
        return old.is_err();
    }
    let Ok(made) = locate::find(bytes, new, PLACES_MAX) else {
        return false;
    };
    let inside = |start: usize, end: usize| {
        let next = made.spans.partition_point(|span| span.start <= start);
        next > 0 && made.spans[next - 1].end >= end
    };
    old.map_or(true, |old| old.spans.iter().all(|span| inside(span.start, span.end)))
}

fn ambiguous(places: &Places, lines: &Lines<'_>) -> String {
    let named: Vec<String> =
        places.spans.iter().take(LINES_NAMED_MAX).map(|span| (lines.line_of(span.start) + 1).to_string()).collect();
    let many = places.spans.len();
    let count = if many > LINES_NAMED_MAX { format!("more than {LINES_NAMED_MAX}") } else { many.to_string() };
    let how = match places.tier {
        Tier::Exact => String::new(),
        other @ (Tier::LineEnds | Tier::TrailingSpace | Tier::Indent | Tier::Unicode) => format!(" {}", other.told()),
    };
    let mend = if places.overlap {
        "they overlap, so it is not clear what to replace; add lines around it until it is unique"
    } else {
        "add lines around it until it is unique, or set replace_all"
    };
    format!("old_string occurs {count} times{how}, in lines {}; {mend}", named.join(", "))
}

fn absent(bytes: &[u8], old: &str, new: &str) -> String {
    let lines = Lines::new(bytes);
    let mut message = "old_string does not occur in the file, neither exactly nor but for line ends, space at line ends, one indentation or typographic characters".to_owned();
    let telling = trim(new.as_bytes()).len() >= TELLING_BYTES_MIN;
    if let Some(there) = locate::find(bytes, new.as_bytes(), 1).ok().filter(|_| telling) {
        let line = lines.line_of(there.spans[0].start) + 1;
        message.push_str(&format!("; new_string is there already, in line {line}: has this edit been made before?"));
    }
    message.push_str(&closest(&lines, old.as_bytes()));
    message.push_str("\nNothing was changed. Read the lines you mean and give them as they are.");
    message
}

#[cfg(test)]
mod tests;
