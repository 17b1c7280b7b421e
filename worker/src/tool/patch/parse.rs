//! The text of a patch, read strictly: the envelope `*** Begin Patch` … `*** End Patch`.

use thiserror::Error;

/// Files that one patch may touch: more is a job for a rule or a program.
const FILES_MAX: usize = 200;

/// What a patch asks for, file by file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// A new file with this text.
    Add { path: String, text: String },
    /// The file goes.
    Delete { path: String },
    /// The file changes, and may get another path.
    Update { path: String, to: Option<String>, hunks: Vec<Hunk> },
}

/// One place of a file that changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Line of the patch where it starts, from 1.
    pub(super) number: usize,
    /// Lines that stand before the place, each after the one before.
    pub(super) anchors: Vec<String>,
    pub(super) lines: Vec<Line>,
    /// The place is at the end of the file.
    pub(super) at_end: bool,
}

/// One line of a hunk, without its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Context(String),
    Old(String),
    New(String),
}

/// Why a text is no patch. The messages are for the model.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum ParseError {
    /// A diff as git and diff print it.
    #[error(
        "this is a unified diff, which is not supported; give `*** Begin Patch`, `*** Update File: path`, `@@` and lines that start with ` `, `-` or `+`, with no line numbers"
    )]
    Unified,
    /// The envelope is not there.
    #[error("the patch has to start with `*** Begin Patch` and to end with `*** End Patch`")]
    Envelope,
    /// Nothing in it.
    #[error("the patch names no file")]
    Empty,
    /// More files than the bound.
    #[error("the patch names more than {FILES_MAX} files; send it in parts")]
    TooMany,
    /// A line that has no place where it stands.
    #[error("line {line} of the patch: {problem}: {text:?}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: &'static str,
        /// The line.
        text: String,
    },
}

/// Reads a patch.
pub(super) fn parse(patch: &str) -> Result<Vec<Operation>, ParseError> {
    let all: Vec<(usize, &str)> = (1..).zip(patch.lines()).collect();
    // Some models send the command of a shell around it, as they have learnt it.
    let around = |line: &(usize, &str)| matches!(line.1.trim(), "" | "EOF" | "PATCH") || line.1.contains("<<");
    let first = all.iter().take_while(|line| around(line)).count();
    let after = all[first..].iter().rev().take_while(|line| around(line)).count();
    let lines = &all[first..all.len() - after];
    let unified = |line: &&str| line.starts_with("diff --git ") || line.starts_with("--- ") || numbered(line);
    let begins = lines.first().is_some_and(|line| line.1.trim() == "*** Begin Patch");
    let ends = lines.last().is_some_and(|line| line.1.trim() == "*** End Patch");
    if !begins && lines.iter().map(|line| line.1).any(|line| unified(&line)) {
        return Err(ParseError::Unified);
    }
    if !begins || !ends || lines.len() < 2 {
        return Err(ParseError::Envelope);
    }
    let mut reader = Reader { lines: &lines[1..lines.len() - 1], at: 0 };
    let mut operations = Vec::new();
    while let Some((line, text)) = reader.next() {
        if text.trim().is_empty() {
            continue;
        }
        if operations.len() == FILES_MAX {
            return Err(ParseError::TooMany);
        }
        operations.push(reader.operation(line, text)?);
    }
    if operations.is_empty() { Err(ParseError::Empty) } else { Ok(operations) }
}

/// The head of a hunk with line numbers, as in a unified diff.
fn numbered(line: &str) -> bool {
    let head = line.strip_prefix("@@ -").and_then(|rest| rest.split_once(" @@"));
    head.is_some_and(|(numbers, _)| numbers.chars().all(|char| char.is_ascii_digit() || " ,+-".contains(char)))
}

struct Reader<'a> {
    lines: &'a [(usize, &'a str)],
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let line = self.peek()?;
        self.at += 1;
        Some(line)
    }

    fn peek(&self) -> Option<(usize, &'a str)> {
        self.lines.get(self.at).copied()
    }

    fn operation(&mut self, line: usize, text: &str) -> Result<Operation, ParseError> {
        let wrong = |problem| ParseError::Line { line, problem, text: text.to_owned() };
        let named = |prefix: &str| text.trim_end().strip_prefix(prefix).map(|path| path.trim().to_owned());
        let checked = |path: String| if path.is_empty() { Err(wrong("a path is missing")) } else { Ok(path) };
        if let Some(path) = named("*** Add File:") {
            return Ok(Operation::Add { path: checked(path)?, text: self.added()? });
        }
        if let Some(path) = named("*** Delete File:") {
            return Ok(Operation::Delete { path: checked(path)? });
        }
        let Some(path) = named("*** Update File:") else {
            return Err(wrong("expected `*** Add File: `, `*** Delete File: ` or `*** Update File: `"));
        };
        let path = checked(path)?;
        let to = self.peek().and_then(|line| line.1.trim_end().strip_prefix("*** Move to:"));
        let to = to.map(|to| checked(to.trim().to_owned())).transpose()?;
        self.at += usize::from(to.is_some());
        let hunks = self.hunks()?;
        if hunks.is_empty() && to.is_none() {
            return Err(wrong("this file has no change"));
        }
        Ok(Operation::Update { path, to, hunks })
    }

    fn added(&mut self) -> Result<String, ParseError> {
        let mut text = String::new();
        while let Some((line, given)) = self.peek().filter(|line| !line.1.starts_with("*** ")) {
            self.at += 1;
            match given.strip_prefix('+') {
                Some(rest) => {
                    text.push_str(rest);
                    text.push('\n');
                }
                None if given.trim().is_empty() && self.peek().is_none_or(|next| next.1.starts_with("*** ")) => {}
                None => {
                    let problem = "each line of a new file starts with `+`";
                    return Err(ParseError::Line { line, problem, text: given.to_owned() });
                }
            }
        }
        Ok(text)
    }

    fn hunks(&mut self) -> Result<Vec<Hunk>, ParseError> {
        let mut hunks: Vec<Hunk> = Vec::new();
        // Is there a hunk that takes further lines?
        let mut open = false;
        while let Some((number, text)) = self.peek() {
            let wrong = |problem| ParseError::Line { line: number, problem, text: text.to_owned() };
            let ended = text.trim_end() == "*** End of File";
            if text.starts_with("*** ") && !ended {
                break;
            }
            self.at += 1;
            if numbered(text) {
                return Err(ParseError::Unified);
            }
            if text == "@@" || text.starts_with("@@ ") {
                // Several anchors may follow each other, from the outside to the inside.
                if !hunks.last().is_some_and(|hunk| open && hunk.lines.is_empty()) {
                    hunks.push(Hunk { number, ..Hunk::default() });
                    open = true;
                }
                let anchor = text.get(3..).unwrap_or_default();
                if let Some(hunk) = hunks.last_mut().filter(|_| !anchor.trim().is_empty()) {
                    hunk.anchors.push(anchor.to_owned());
                }
                continue;
            }
            if !open {
                let last = self.peek().is_none_or(|next| next.1.starts_with("*** "));
                match text.trim().is_empty() {
                    true if last || !hunks.is_empty() => continue,
                    _ if !hunks.is_empty() => {
                        return Err(wrong("after the end of the file, a new hunk starts with `@@`"));
                    }
                    _ => {}
                }
                hunks.push(Hunk { number, ..Hunk::default() });
                open = true;
            }
            let hunk = hunks.last_mut().expect("a hunk was opened above");
            if ended {
                hunk.at_end = true;
                open = false;
                continue;
            }
            hunk.lines.push(match (text.chars().next(), text.get(1..)) {
                // Editors and models drop the space of an empty line.
                (None, _) => Line::Context(String::new()),
                (Some(' '), Some(rest)) => Line::Context(rest.to_owned()),
                (Some('-'), Some(rest)) => Line::Old(rest.to_owned()),
                (Some('+'), Some(rest)) => Line::New(rest.to_owned()),
                _ => return Err(wrong("a line of a hunk starts with ` `, `-` or `+`")),
            });
        }
        for hunk in &mut hunks {
            finish(hunk)?;
        }
        Ok(hunks)
    }
}

/// Blank lines before the next head belong to nobody; a hunk that is left with no change is a mistake.
fn finish(hunk: &mut Hunk) -> Result<(), ParseError> {
    while hunk.lines.last().is_some_and(|line| *line == Line::Context(String::new())) {
        hunk.lines.pop();
    }
    if hunk.lines.iter().all(|line| matches!(line, Line::Context(_))) {
        let text = hunk.anchors.last().cloned().unwrap_or_default();
        return Err(ParseError::Line { line: hunk.number, problem: "this hunk changes nothing", text });
    }
    Ok(())
}
