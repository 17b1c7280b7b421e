//! Instruction files: what a repository tells everybody who works on it.
//!
//! They are read from the tree of one commit, the base of the run, and from nowhere else: no worker can rewrite its
//! own rules, and no path of the machine is followed. Three things come of them:
//!
//! - the shared part, which every worker of a run has in its brief,
//! - texts that are held back until a worker touches what they are about: files of subfolders, rules with `paths`,
//! - the hard rules, which stand on the card at the end of every request.
//!
//! Order is outer before inner, `AGENTS.md` before `CLAUDE.md`: where two differ, the nearer one has the last word.
//! What is in no instruction file is data, whatever it says.

mod gather;
mod imports;
mod rules;

use serde::{Deserialize, Serialize};
use wattle_workspace::{GitError, Repo, TreeId};

use self::gather::{File, Gather};

/// Bound on the shared part: what comparable agents read, and a tenth of a small context.
const SHARED_BYTES_MAX: usize = 32 << 10;
/// Bound on one text that is held back: it joins a conversation whole, and each of its turns pays for it.
const HELD_BYTES_MAX: usize = 16 << 10;
/// Bound on all of them together: they travel with every assignment.
const HELD_BYTES_SUM_MAX: usize = 512 << 10;
/// Bound on the hard rules; the card takes a part of that.
const RULES_BYTES_MAX: usize = 2 << 10;
/// How every text that was held back begins, when it is given.
const HEAD: &str = "# Instructions for ";

/// What a conversation needs of the instruction files beside its brief: frozen with the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// The hard rules, verbatim.
    pub rules: String,
    /// Texts that are given when what they are about is touched, outer before inner.
    pub held: Vec<Held>,
}

/// A text that is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The files it comes from.
    pub source: String,
    /// What it is about.
    pub about: About,
    /// Its words.
    pub text: String,
}

/// What a text is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// Everything below a folder, relative to the root.
    Folder(String),
    /// Paths that match one of these globs, relative to the root; `*` stops at `/`, `**` crosses it.
    Paths(Vec<String>),
}

/// Everything that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Sections for the brief, Markdown; empty where the repository says nothing.
    pub shared: String,
    /// What the workers are given beside it.
    pub instructions: Instructions,
    /// What could not be used, in words.
    pub warnings: Vec<String>,
}

impl Held {
    /// The line by which it is known in a conversation.
    fn head(&self) -> String {
        let about = match &self.about {
            About::Folder(folder) => format!("what lies in {folder}/"),
            About::Paths(globs) => globs.join(", "),
        };
        format!("{HEAD}{about} (from {})", self.source)
    }

    /// The block of a message that gives it.
    pub(crate) fn block(&self) -> String {
        format!("{}\n\n{}", self.head(), self.text)
    }

    /// Is this block of a message the one that gives it?
    pub(crate) fn is_in(&self, block: &str) -> bool {
        block.lines().next() == Some(self.head().as_str())
    }
}

/// Does a block of a message give instructions? Such words are ours, and no feedback.
pub(crate) fn is_given(block: &str) -> bool {
    block.starts_with(HEAD)
}

/// Reads the instruction files of a tree.
///
/// # Errors
/// Fails where git cannot read the tree; what is wrong with a file is a warning.
pub fn load(repo: &Repo, tree: &TreeId) -> Result<Loaded, GitError> {
    let names = repo.files(tree)?;
    let read = |path: &str| {
        let Some(bytes) = repo.read_file(tree, path)? else { return Ok(None) };
        Ok(Some(File { bytes, link: repo.is_link(tree, path)? }))
    };
    loaded(names, &read)
}

/// The same of any set of files.
fn loaded(names: Vec<String>, read: &dyn Fn(&str) -> Result<Option<File>, GitError>) -> Result<Loaded, GitError> {
    let mut gather = Gather::new(names, read);
    let shared = gather.shared()?;
    let held = gather.held()?;
    let rules = rules::hard(shared.iter().map(|section| section.text.as_str()));
    let mut warnings = gather.warnings;
    let mut text = String::new();
    for section in &shared {
        text.push_str(&format!("\n# {}\n\n{}\n", section.path, section.text));
    }
    if text.len() > SHARED_BYTES_MAX {
        let names: Vec<&str> = shared.iter().map(|section| section.path.as_str()).collect();
        warnings.push(format!(
            "cut {} at {} KiB: they have {}",
            names.join(", "),
            SHARED_BYTES_MAX >> 10,
            text.len().div_ceil(1 << 10)
        ));
        text = cut(&text, SHARED_BYTES_MAX);
    }
    Ok(Loaded { shared: text, instructions: Instructions { rules, held: bounded(held, &mut warnings) }, warnings })
}

/// Held texts within their bounds, outer before inner.
fn bounded(mut held: Vec<Held>, warnings: &mut Vec<String>) -> Vec<Held> {
    let depth = |held: &Held| match &held.about {
        About::Paths(_) => 0,
        About::Folder(folder) => 1 + folder.matches('/').count(),
    };
    held.sort_by(|a, b| (depth(a), &a.source).cmp(&(depth(b), &b.source)));
    let mut sum = 0;
    let mut kept = Vec::new();
    let mut dropped = 0;
    for mut one in held {
        if one.text.len() > HELD_BYTES_MAX {
            warnings.push(format!("cut {} at {} KiB", one.source, HELD_BYTES_MAX >> 10));
            one.text = cut(&one.text, HELD_BYTES_MAX);
        }
        sum += one.text.len();
        if sum > HELD_BYTES_SUM_MAX {
            dropped += 1;
        } else {
            kept.push(one);
        }
    }
    if dropped > 0 {
        warnings.push(format!("leave out {dropped} instructions: together they are too long"));
    }
    kept
}

/// The YAML between the two lines `---` at the start of a text, and what follows.
pub fn frontmatter(text: &str) -> (Option<&str>, &str) {
    let Some(rest) = text.strip_prefix("---\n") else { return (None, text) };
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return (Some(&rest[..at]), &rest[at + line.len()..]);
        }
        at += line.len();
    }
    (None, text)
}

/// The start of a text that is too long, and a word about it.
fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n\n(Cut here: there is more than {} KiB.)\n", &text[..end], bytes_max >> 10)
}

#[cfg(test)]
mod tests;
