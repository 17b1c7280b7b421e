//! Structural rewrites with ast-grep's own crates: the same files end up the same as after
//! `ast-grep scan -U -r RULES` (or `run -p P -r F -l L -U`).
//!
//! What decides that is small: which files are walked (`walk`), which rules see a file, and which
//! of two overlapping fixes wins (`program`: the first in document order, on one node the one whose rule id
//! sorts first). Two differences are meant. Ignore files above `root` are not read, because a slot
//! lies in a folder that has nothing to do with the repository; and code of one language inside a file of
//! another (JavaScript in HTML) is left alone.

mod apply;
mod language;
mod program;
pub(crate) mod search;
pub(crate) mod step;
#[cfg(test)]
mod tests;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

pub use self::apply::{Applied, Match, Rewritten};
use self::program::Program;
use crate::assignment::Rewrite;

/// Why a rewrite cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The name of the language means nothing.
    #[error("use {name}: there is no language `{language}`")]
    UnknownLanguage {
        /// Name of the rules.
        name: String,
        /// What was given.
        language: String,
    },
    /// The grammar of the language is not in this binary.
    #[error("use {name}: the grammar of {language} is not built in ({mend})")]
    NotBuiltIn {
        /// Name of the rules.
        name: String,
        /// The language.
        language: String,
        /// What would help.
        mend: String,
    },
    /// The rules cannot be understood.
    #[error("use {name}: {why}")]
    Invalid {
        /// Name of the rules.
        name: String,
        /// What is wrong, with line and column where they are known.
        why: String,
    },
    /// A pattern of `touches` is not a regex.
    #[error("use the write set of the step: {0}")]
    Touches(#[from] regex::Error),
    /// The files of the worktree cannot be listed.
    #[error("list the files of {}: {source}", path.display())]
    Walk {
        /// Its root.
        path: PathBuf,
        /// Why.
        source: ignore::Error,
    },
    /// A file cannot be read or written.
    #[error("{verb} {}: {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A fix made text that is not UTF-8.
    #[error("rewrite {path}: the fix of `{rule}` splits a character")]
    Split {
        /// The file, relative to the root.
        path: String,
        /// Id of the rule.
        rule: String,
    },
    /// It was told to stop; some files may be rewritten and others not.
    #[error("finish the rewrite: it was stopped")]
    Cancelled,
}

impl RuleError {
    /// Is the rule itself at fault, so that trying again is no use?
    pub fn is_rule(&self) -> bool {
        match self {
            Self::UnknownLanguage { .. }
            | Self::NotBuiltIn { .. }
            | Self::Invalid { .. }
            | Self::Touches(_)
            | Self::Split { .. } => true,
            Self::Walk { .. } | Self::File { .. } | Self::Cancelled => false,
        }
    }
}

/// Checks rules or a pattern without looking at any file.
pub fn validate(rewrite: &Rewrite) -> Result<(), RuleError> {
    Program::compile(rewrite).map(|_| ())
}

/// Paths of the files that match, relative to `root`, sorted.
///
/// A file matches when a rule with a fix matches in it; if no rule has a fix, when any rule does.
pub fn matching_files(root: &Path, rewrite: &Rewrite) -> Result<Vec<String>, RuleError> {
    let found = matches(root, rewrite, &[], &CancellationToken::new())?;
    let mut paths: Vec<String> = found.into_iter().map(|found| found.path).collect();
    paths.dedup();
    Ok(paths)
}

/// Where the rules match (as [`matching_files`] counts), in the order of paths and lines, in the files that
/// one of the regexes `within` covers; none given = everywhere.
pub fn matches(
    root: &Path,
    rewrite: &Rewrite,
    within: &[String],
    cancel: &CancellationToken,
) -> Result<Vec<Match>, RuleError> {
    apply::find(root, &Program::compile(rewrite)?, within, cancel)
}

/// Rewrites the files under `root` that one of the regexes `within` covers; none given = all.
///
/// Every file is written whole or not at all, keeps its mode, and is left alone when nothing in it
/// changes, when it is not UTF-8, or when it is too large for ast-grep's own limits.
pub fn apply(
    root: &Path,
    rewrite: &Rewrite,
    within: &[String],
    cancel: &CancellationToken,
) -> Result<Applied, RuleError> {
    apply::apply(root, &Program::compile(rewrite)?, within, cancel)
}
