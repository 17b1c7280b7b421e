//! Changes of several files, written all or not at all.
//!
//! Everything is in memory and checked before the first byte is written. Files are then replaced one after another,
//! each in one move; if one cannot be, those before it are put back. A process that is killed in between leaves
//! whole files, some old and some new: the call is then repeated, and takes those that are done as done.

use super::super::confine::{Contents, Located, PathError, Worktree};
use super::super::evidence::blob_id;
use crate::outcome::Evidence;

/// One file that changes.
pub(super) struct Change {
    pub(super) at: Located,
    /// What it holds; `None` = it is new.
    pub(super) before: Option<Contents>,
    /// What it will hold; `None` = it goes. The mode of a new file is `None` for the usual one.
    pub(super) after: Option<(Vec<u8>, Option<u32>)>,
}

impl Change {
    fn make(&self, worktree: &Worktree) -> Result<(), PathError> {
        match (&self.before, &self.after) {
            (before, Some((bytes, mode))) => worktree.put(&self.at, before.as_ref(), bytes, *mode),
            (Some(before), None) => worktree.remove(&self.at, &before.bytes),
            (None, None) => Ok(()),
        }
    }

    fn undo(&self, worktree: &Worktree) -> Result<(), PathError> {
        match (&self.before, &self.after) {
            (Some(before), Some((bytes, mode))) => {
                let now = Contents { bytes: bytes.clone(), mode: mode.unwrap_or(before.mode) };
                worktree.put(&self.at, Some(&now), &before.bytes, Some(before.mode))
            }
            (Some(before), None) => worktree.put(&self.at, None, &before.bytes, Some(before.mode)),
            (None, Some((bytes, _))) => worktree.remove(&self.at, bytes),
            (None, None) => Ok(()),
        }
    }

    fn record(&self, evidence: &mut Evidence) {
        let before = self.before.as_ref().map(|contents| blob_id(&contents.bytes));
        let after = self.after.as_ref().map(|(bytes, _)| blob_id(bytes));
        evidence.wrote.push((self.at.name(), before, after));
    }
}

/// Writes all changes, or none. The evidence names what is there afterwards; on an error that is what could not be
/// put back, which the message names, too.
pub(super) fn write(worktree: &Worktree, changes: &[Change]) -> (Evidence, Result<(), String>) {
    let mut evidence = Evidence::default();
    let mut folders = Vec::new();
    for (index, change) in changes.iter().enumerate() {
        if change.after.is_some() {
            folders.extend(worktree.missing_folders(&change.at));
        }
        let Err(error) = change.make(worktree) else {
            continue;
        };
        let mut message = format!("nothing was changed: {error}");
        for made in changes[..index].iter().rev() {
            if let Err(undo) = made.undo(worktree) {
                made.record(&mut evidence);
                message = format!("{message}; but {} was changed and could not be put back: {undo}", made.at.name());
            }
        }
        for folder in &folders {
            // Best effort: an empty folder is nothing to git, and the error to report is the one that led here.
            let _ = worktree.remove_folder(folder);
        }
        return (evidence, Err(message));
    }
    for change in changes {
        change.record(&mut evidence);
    }
    (evidence, Ok(()))
}
