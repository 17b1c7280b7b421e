//! What of a worktree no listing of git's tells: what git cannot store, and folders that hold nothing.

use std::fs;
use std::path::{Path, PathBuf};

use crate::git::GitError;

/// What git's own listings leave out of a worktree.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Special files, and folders with a `.git` of their own (which are not entered), relative to the root.
    pub(crate) suspects: Vec<PathBuf>,
    /// There is a folder that holds nothing.
    pub(crate) hollow: bool,
}

/// Reads every folder below `root` for what git cannot store and does not list.
pub(crate) fn walk(root: &Path) -> Result<Walked, GitError> {
    walk_from(root, PathBuf::new())
}

/// Reads the folder `from` below `root`, and every folder in it.
pub(crate) fn walk_from(root: &Path, from: PathBuf) -> Result<Walked, GitError> {
    let mut found = Walked::default();
    let mut pending = vec![from];
    while let Some(relative) = pending.pop() {
        let dir = root.join(&relative);
        let mut inside = Vec::new();
        let (mut nested, mut empty) = (false, true);
        for entry in fs::read_dir(&dir).map_err(|e| GitError::io(&dir, e))? {
            let entry = entry.map_err(|e| GitError::io(&dir, e))?;
            let kind = entry.file_type().map_err(|e| GitError::io(&entry.path(), e))?;
            empty = false;
            // Git refuses the name in every spelling.
            if entry.file_name().eq_ignore_ascii_case(".git") {
                nested |= !relative.as_os_str().is_empty();
            } else if kind.is_dir() {
                inside.push(relative.join(entry.file_name()));
            } else if !kind.is_file() && !kind.is_symlink() {
                found.suspects.push(relative.join(entry.file_name()));
            }
        }
        found.hollow |= empty;
        if nested {
            found.suspects.push(relative);
        } else {
            pending.append(&mut inside);
        }
    }
    Ok(found)
}
