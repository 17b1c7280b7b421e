//! The parse gate: a change that turns a file which parses into one that does not is refused.
//!
//! Only clean to broken is refused. A file that did not parse before is nobody's fault here, and a new one may be
//! anything. What is refused stays refused, however often it is sent: letting the second try pass would teach every
//! model to send everything twice. It costs little, because a file that its grammar cannot read is broken before
//! as well as after, and so never refused; what is left is a change that brings syntax newer than the grammar into
//! a file without any, for which the shell is there.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use ast_grep_language::{LanguageExt as _, SupportLang};
use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::text::{Lines, shown, split_bom};
use crate::grammar;

/// Files above this are not judged: source that people write is smaller, and a parse takes about 100 ms for it.
const BYTES_MAX: usize = 1024 * 1024;
/// Bound on one parse, of which there are two for each change; beyond it a file is not judged. Grammars are known
/// to take minutes over single files; twenty times what the largest sound one needs is enough on a busy machine.
const PARSE_MAX: Duration = Duration::from_secs(2);
/// Lines of the result that are shown on either side of the first error.
const AROUND: usize = 3;
/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 160;
/// Extensions that stand for several languages, of which the grammar knows one: SCSS as CSS, other shells than Bash.
const MISJUDGED: [&str; 9] = ["scss", "zsh", "ksh", "tmux", "env", "tool", "command", "cgi", "fcgi"];

/// Why a change is refused; `None` = it is not.
pub(super) fn refusal(path: &Path, before: &[u8], after: &[u8]) -> Option<String> {
    let language = judged(path)?;
    let broken = |bytes: &[u8]| parsed(language, bytes).map(|tree| tree.root_node().has_error());
    if broken(before) != Some(false) {
        return None;
    }
    let tree = parsed(language, after)?;
    let (line, what) = first_error(tree.root_node())?;
    Some(told(path, after, line, &what))
}

/// The language whose grammar is trusted with a file.
fn judged(path: &Path) -> Option<SupportLang> {
    let extension = path.extension()?.to_str()?;
    // No grammar knows what the preprocessor makes of a text: it calls 30 of 48 sound files of C broken, where for
    // Rust it is 0 of 690. What it says of an edit there is worth nothing.
    let preprocessed = |language: &SupportLang| matches!(language, SupportLang::C | SupportLang::Cpp);
    grammar::of_path(path).filter(|language| !preprocessed(language) && !MISJUDGED.contains(&extension))
}

/// The tree of a text; `None` = not judged.
fn parsed(language: SupportLang, bytes: &[u8]) -> Option<Tree> {
    let (_, text) = split_bom(bytes);
    if text.len() > BYTES_MAX || std::str::from_utf8(text).is_err() {
        return None;
    }
    let mut parser = Parser::new();
    parser.set_language(&language.get_ts_language()).ok()?;
    let until = Instant::now() + PARSE_MAX;
    let mut progress = |_: &tree_sitter::ParseState| {
        if Instant::now() < until { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    parser.parse_with_options(&mut |offset, _| text.get(offset..).unwrap_or_default(), None, Some(options))
}

/// The first error of a tree: its line, from 0, and what is wrong there.
fn first_error(root: Node<'_>) -> Option<(usize, String)> {
    if !root.has_error() {
        return None;
    }
    let mut cursor = root.walk();
    loop {
        let node = cursor.node();
        if node.is_missing() {
            return Some((node.start_position().row, format!("`{}` is missing", node.kind())));
        }
        // Down to the innermost error: the outermost one often starts long before anything is wrong.
        let deeper = node.has_error() && cursor.goto_first_child();
        if !deeper {
            return Some((node.start_position().row, "a syntax error".to_owned()));
        }
        while !cursor.node().has_error() && !cursor.node().is_missing() {
            if !cursor.goto_next_sibling() {
                let at = error_itself(cursor.node().parent().unwrap_or(root));
                return Some((at.start_position().row, "a syntax error".to_owned()));
            }
        }
    }
}

/// Where an error with sound children starts to be one: after the last child that is whole.
fn error_itself(error: Node<'_>) -> Node<'_> {
    let named = u32::try_from(error.named_child_count()).unwrap_or(u32::MAX);
    named.checked_sub(1).and_then(|last| error.named_child(last)).unwrap_or(error)
}

fn told(path: &Path, after: &[u8], line: usize, what: &str) -> String {
    let lines = Lines::new(after);
    let line = line.min(lines.len() - 1);
    let around = (line.saturating_sub(AROUND)..(line + AROUND + 1).min(lines.count().max(line + 1))).map(|at| {
        let mark = if at == line { '>' } else { ' ' };
        format!("{mark}{:>5}\t{}", at + 1, shown(lines.text(at), LINE_CHARS_MAX))
    });
    let around: Vec<String> = around.collect();
    format!(
        "{} parses now and would not afterwards, so nothing was written: {what} near line {} of the result:\n{}\nMend the edit; sending it again changes nothing.",
        path.display(),
        line + 1,
        around.join("\n")
    )
}

#[cfg(test)]
mod tests;
