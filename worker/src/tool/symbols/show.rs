//! What was found, as lines for a model.

use super::ask::{Answer, Parsed};
use crate::symbols::{Definition, Kind, one_line};

/// Lines of a result when no other bound is given.
const HEAD_DEFAULT: usize = 200;
/// Bound on a result, in bytes.
const RESULT_BYTES_MAX: usize = 30_000;
/// Notes that are shown: more than that say the same.
const NOTES_MAX: usize = 5;
/// Characters of a source line that are shown.
const LINE_CHARS_MAX: usize = 200;
/// Depth of the outline of a folder: its types and functions, and the methods of those types.
const FOLDER_DEPTH_MAX: u32 = 1;

/// Lines, and what has to be said about them.
pub(super) struct Found {
    head: Option<String>,
    lines: Vec<String>,
    none: String,
    notes: Vec<String>,
}

impl Found {
    /// The lines from `offset` on, within the bounds.
    pub(super) fn page(self, offset: usize, limit: Option<usize>) -> String {
        let limit = limit.filter(|limit| *limit > 0).unwrap_or(HEAD_DEFAULT);
        let mut out = String::new();
        let mut push = |line: &str| {
            out.push_str(line);
            out.push('\n');
        };
        if self.lines.is_empty() {
            push(&self.none);
        } else if let Some(head) = &self.head {
            push(head);
        }
        let (mut shown, mut bytes) = (0, 0);
        for line in self.lines.iter().skip(offset).take(limit) {
            bytes += line.len() + 1;
            if bytes > RESULT_BYTES_MAX {
                break;
            }
            push(line);
            shown += 1;
        }
        let (next, all) = (offset + shown, self.lines.len());
        if offset > 0 && offset >= all && all > 0 {
            push(&format!("(There are {all} lines; offset {offset} is behind the last.)"));
        } else if next < all {
            push(&format!("(There are {} more; narrow the path, or go on with offset {next}.)", all - next));
        }
        for note in self.notes.iter().take(NOTES_MAX) {
            push(&format!("({note}.)"));
        }
        if self.notes.len() > NOTES_MAX {
            push(&format!("({} more files were not parsed.)", self.notes.len() - NOTES_MAX));
        }
        out
    }
}

/// The definitions in these files; of one file all, of a folder those near its surface.
pub(super) fn outline(answer: &Answer, one: bool) -> Found {
    let mut lines = Vec::new();
    for file in &answer.files {
        let definitions = file.tags.definitions.iter().filter(|found| one || found.depth <= FOLDER_DEPTH_MAX);
        let shown: Vec<String> = definitions.map(outlined).collect();
        if one || !shown.is_empty() {
            lines.push(format!("{} ({})", file.path, file.language.name()));
            lines.extend(shown);
        }
    }
    let none = "No source file of a language that Symbols knows.".to_owned();
    Found { head: None, lines, none, notes: answer.notes.clone() }
}

fn outlined(found: &Definition) -> String {
    let indent = "  ".repeat(found.depth as usize + 1);
    format!("{indent}{}-{}: {}", found.line, found.end_line, found.signature)
}

/// Definitions of a name: those that have it, else those whose name begins with it, else those that contain it.
pub(super) fn definitions(answer: &Answer, query: &str) -> Found {
    let (mut exact, mut prefix, mut part) = (Vec::new(), Vec::new(), Vec::new());
    for file in &answer.files {
        for found in &file.tags.definitions {
            let same = found.name == query;
            // Who asks for a type does not ask for each of its implementations, but may ask for their names.
            let into = match same {
                true => &mut exact,
                false if found.kind == Kind::Implementation => continue,
                false if found.name.starts_with(query) => &mut prefix,
                false if found.name.contains(query) => &mut part,
                false => continue,
            };
            into.push(defined(file, found));
        }
    }
    let notes = answer.notes.clone();
    let none = format!("No definition of `{query}`, and none whose name contains it.");
    let head = |what: &str| Some(format!("No definition of `{query}`; {what}:"));
    if !exact.is_empty() {
        return Found { head: None, lines: exact, none, notes };
    }
    if !prefix.is_empty() {
        return Found { head: head("names that begin with it"), lines: prefix, none, notes };
    }
    Found { head: head("names that contain it"), lines: part, none, notes }
}

fn defined(file: &Parsed, found: &Definition) -> String {
    let container = found.container.as_ref().map(|name| format!("  [in {name}]")).unwrap_or_default();
    format!("{}:{}-{}: {}{container}", file.path, found.line, found.end_line, found.signature)
}

/// Lines that refer to a name.
pub(super) fn references(answer: &Answer, query: &str) -> Found {
    let mut lines = Vec::new();
    for file in &answer.files {
        let text: Vec<&[u8]> = file.bytes.split(|byte| *byte == b'\n').collect();
        let mut last = 0;
        for found in file.tags.references.iter().filter(|found| found.name == query) {
            // A line is shown once, however often it has the name.
            if std::mem::replace(&mut last, found.line) == found.line {
                continue;
            }
            let line = text.get(found.line as usize - 1).copied().unwrap_or_default();
            let line = one_line(&String::from_utf8_lossy(line), LINE_CHARS_MAX);
            lines.push(format!("{}:{}: {line}", file.path, found.line));
        }
    }
    let none =
        format!("No reference to `{query}`. Local variables and text in comments are not found; Grep finds those.");
    Found { head: None, lines, none, notes: answer.notes.clone() }
}
