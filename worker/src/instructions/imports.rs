//! The words of an instruction file: comments taken out, imports found.
//!
//! An import is `@path` after white space or at the start of a line, outside code. It is relative to the file it
//! stands in. Much else begins with `@` (people, packages, decorators), so what names no file and looks like none is no
//! import.

/// A file, read.
pub(super) struct Page {
    /// Its text without block comments.
    pub(super) text: String,
    /// What it imports, in order.
    pub(super) imports: Vec<String>,
    /// Is there anything in it but imports?
    pub(super) says_something: bool,
}

/// Where an import leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a file of the tree.
    File(String),
    /// Out of it.
    Outside,
    /// To something that looks like a file and is none.
    Missing,
    /// It is none.
    NoImport,
}

/// Reads a text.
pub(super) fn page(text: &str) -> Page {
    let text = without_comments(text);
    let mut imports = Vec::new();
    let mut says_something = false;
    let mut fence = None;
    for line in text.lines() {
        if step_fence(&mut fence, line) || fence.is_some() {
            says_something = true;
            continue;
        }
        let plain = without_spans(line);
        for word in plain.split_whitespace() {
            match word.strip_prefix('@').filter(|path| !path.is_empty()) {
                Some(path) => imports.push(path.to_owned()),
                None => says_something = true,
            }
        }
        says_something |= plain.len() != line.len();
    }
    Page { text, imports, says_something }
}

/// Takes a line and says whether it opens or closes a fence.
pub(super) fn step_fence(fence: &mut Option<(char, usize)>, line: &str) -> bool {
    let trimmed = line.trim_start();
    let indented = line.len() - trimmed.len() > 3;
    let Some(mark) = trimmed.chars().next().filter(|c| matches!(c, '`' | '~') && !indented) else { return false };
    let length = trimmed.chars().take_while(|c| *c == mark).count();
    let rest = &trimmed[length..];
    match fence {
        None if length >= 3 && !(mark == '`' && rest.contains('`')) => {
            *fence = Some((mark, length));
            true
        }
        Some((open, least)) if *open == mark && length >= *least && rest.trim().is_empty() => {
            *fence = None;
            true
        }
        Some(_) | None => false,
    }
}

/// A line without its code spans; what opens one and never closes is text.
fn without_spans(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].bytes().take_while(|byte| *byte == b'`').count();
        let inner = &rest[start + ticks..];
        match closing(inner, ticks) {
            Some(end) => {
                out.push_str(&rest[..start]);
                out.push(' ');
                rest = &inner[end + ticks..];
            }
            None => {
                out.push_str(&rest[..start + ticks]);
                rest = inner;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Where a run of exactly so many ticks begins.
fn closing(text: &str, ticks: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(start) = text[at..].find('`').map(|found| at + found) {
        let length = text[start..].bytes().take_while(|byte| *byte == b'`').count();
        if length == ticks {
            return Some(start);
        }
        at = start + length;
    }
    None
}

/// The text without HTML comments that begin a line, outside fences. One that never ends takes all that follows.
fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut fence = None;
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        if !inside && (step_fence(&mut fence, line.trim_end_matches('\n')) || fence.is_some()) {
            out.push_str(line);
            continue;
        }
        let mut rest = line;
        loop {
            if inside {
                let Some(end) = rest.find("-->") else { break };
                rest = &rest[end + 3..];
                inside = false;
            }
            match rest.trim_start().strip_prefix("<!--") {
                Some(comment) => {
                    rest = comment;
                    inside = true;
                }
                None => {
                    // The line of a comment leaves nothing behind.
                    if rest.len() == line.len() || !rest.trim().is_empty() {
                        out.push_str(rest);
                    }
                    break;
                }
            }
        }
    }
    out
}

/// Where an import in the file `from` leads.
pub(super) fn resolve(from: &str, import: &str, exists: impl Fn(&str) -> bool) -> Target {
    let bare = import.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '"', '\'', '*']);
    let mut outside = false;
    for path in [import, bare] {
        match beside(from, path) {
            Some(file) if exists(&file) => return Target::File(file),
            Some(_) => {}
            None => outside = true,
        }
    }
    let last = bare.rsplit('/').next().unwrap_or_default();
    let like_a_file = last.rsplit_once('.').is_some_and(|(stem, extension)| {
        !stem.is_empty() && extension.len() <= 8 && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if outside {
        Target::Outside
    } else if like_a_file || bare.starts_with("./") {
        Target::Missing
    } else {
        Target::NoImport
    }
}

/// A path as it is written in the file `from`, from the root of the tree; `None` = it leads outside.
pub(super) fn beside(from: &str, path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
