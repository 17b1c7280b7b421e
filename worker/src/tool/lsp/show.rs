//! What a language server answered, as a model reads it: places with their lines, nothing of what lies outside.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::super::confine::Worktree;
use crate::lsp::{Answer, Encoding, Place, Question, Target, line, spot};

/// Places that are shown: more are no answer but a flood; Grep with a narrower pattern is better then.
const PLACES_MAX: usize = 200;
/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 200;
/// Bound on the words of a hover, in bytes, and on a message: a few pages.
const WORDS_BYTES_MAX: usize = 8 * 1024;
/// Diagnostics that are shown.
const PROBLEMS_MAX: usize = 100;
/// Symbols that are shown.
const SYMBOLS_MAX: usize = 500;
/// What is said of an answer of a server that has not seen everything yet.
const PARTIAL: &str = "(The server was still at work: there may be more.)\n";

/// Shows answers; keeps the files that it has read for that.
pub(super) struct Show<'a> {
    worktree: &'a Worktree,
    texts: BTreeMap<String, Option<String>>,
}

impl<'a> Show<'a> {
    pub(super) fn new(worktree: &'a Worktree) -> Show<'a> {
        Show { worktree, texts: BTreeMap::new() }
    }

    /// An answer, for the model.
    pub(super) fn answer(&mut self, question: &Question, answer: &Answer) -> String {
        let file = &question.file;
        let mut out = String::new();
        match answer {
            Answer::Places { places, encoding, partial } => {
                let mut lines: Vec<String> = places.iter().map(|place| self.place(place, *encoding)).collect();
                if matches!(question.target, Target::References(_)) {
                    lines.sort_by_cached_key(|line| key(line));
                }
                lines.dedup();
                let what = if matches!(question.target, Target::References(_)) { "reference" } else { "definition" };
                list(&mut out, what, &lines, PLACES_MAX);
                out.push_str(if *partial { PARTIAL } else { "" });
            }
            Answer::Text(Some(words)) => out.push_str(&cut(words)),
            Answer::Text(None) => out.push_str("The language server knows nothing about this place."),
            Answer::Problems { problems, partial } => {
                let text = self.text(file).unwrap_or_default();
                let lines = problems.iter().map(|problem| {
                    let source =
                        if problem.source.is_empty() { String::new() } else { format!(" [{}]", problem.source) };
                    let message = cut(&problem.message);
                    let at = problem.spot;
                    let shown = short(line(&text, at.line));
                    format!("{file}:{}:{} {}: {message}{source}\n    {shown}", at.line, at.column, problem.severity)
                });
                let lines: Vec<String> = lines.collect();
                if lines.is_empty() {
                    write!(out, "No problems in {file} as it is now.").expect("writing to a string cannot fail");
                } else {
                    list(&mut out, "problem", &lines, PROBLEMS_MAX);
                }
                out.push_str(if *partial { PARTIAL } else { "" });
            }
            Answer::Symbols { symbols, encoding } => {
                let text = self.text(file).unwrap_or_default();
                let lines = symbols.iter().map(|symbol| {
                    let at = spot(&text, symbol.start, *encoding);
                    let indent = "  ".repeat(symbol.depth);
                    format!("{indent}{file}:{}:{} {} {}", at.line, at.column, symbol.kind, short(&symbol.name))
                });
                list(&mut out, "symbol", &lines.collect::<Vec<_>>(), SYMBOLS_MAX);
            }
        }
        out
    }

    fn place(&mut self, place: &Place, encoding: Encoding) -> String {
        let path = match &place.file {
            Ok(path) => path,
            Err(address) => return format!("{} (outside the worktree)", short(address)),
        };
        match self.inside(path) {
            None => format!("{} (outside the worktree)", short(&path.display().to_string())),
            Some(name) => match self.text(&name) {
                Some(text) => {
                    let at = spot(&text, place.start, encoding);
                    format!("{name}:{}:{}\t{}", at.line, at.column, short(line(&text, at.line)))
                }
                None => format!("{name}:{}", place.start.line + 1),
            },
        }
    }

    /// The name of a file of the worktree; `None` = it lies outside, or belongs to git.
    fn inside(&self, path: &Path) -> Option<String> {
        let at = self.worktree.locate(path.to_str()?).ok()?;
        Some(at.name())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let read = || super::text(self.worktree, name).ok();
        self.texts.entry(name.to_owned()).or_insert_with(read).clone()
    }
}

/// Files in the order of their names, lines in the order of their numbers.
fn key(shown: &str) -> (String, usize, usize) {
    let place = shown.split('\t').next().unwrap_or_default();
    let mut parts = place.rsplitn(3, ':');
    let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let (column, line) = (number(), number());
    (parts.next().unwrap_or(place).to_owned(), line, column)
}

fn list(out: &mut String, what: &str, lines: &[String], max: usize) {
    let count = lines.len();
    let many = if count == 1 { "" } else { "s" };
    if count == 0 {
        writeln!(out, "No {what}s.").expect("writing to a string cannot fail");
        return;
    }
    writeln!(out, "{count} {what}{many}:").expect("writing to a string cannot fail");
    for line in lines.iter().take(max) {
        writeln!(out, "{line}").expect("writing to a string cannot fail");
    }
    if count > max {
        writeln!(out, "({} more are not shown.)", count - max).expect("writing to a string cannot fail");
    }
}

/// A line as it is shown: without its indentation, not too long.
fn short(line: &str) -> String {
    let line = line.trim();
    let shown: String = line.chars().take(LINE_CHARS_MAX).collect();
    if shown.len() < line.len() { format!("{shown} …") } else { shown }
}

fn cut(words: &str) -> String {
    if words.len() <= WORDS_BYTES_MAX {
        return words.to_owned();
    }
    let end = (0..=WORDS_BYTES_MAX).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n(It goes on.)", &words[..end])
}
