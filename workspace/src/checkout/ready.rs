//! Questions about checkouts that their files answer beyond doubt, without a git: which there are, and whether one could move.
//! Each "I do not know" is git's to answer.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Checkout;
use crate::git::GitError;
use crate::ids::CommitId;
use crate::index::{Entry, IndexFile};
use crate::paths::bytes;
use crate::repo::Repo;
use crate::scan::is_as_noted;

impl Repo {
    /// Every worktree with a checkout, and the full name of the branch in it, as `git worktree list` tells; none where the
    /// files say anything unusual.
    pub(super) fn worktrees_by_files(&self) -> Option<Vec<(PathBuf, Option<String>)>> {
        let common = self.common_dir();
        // There the HEAD of every worktree lies in the table.
        if common.join("reftable").exists() {
            return None;
        }
        let mut found = Vec::new();
        if !self.is_bare() {
            found.push((self.main_worktree()?.to_owned(), branch_in(common)?));
        }
        let linked = match fs::read_dir(common.join("worktrees")) {
            Ok(entries) => entries.collect::<io::Result<Vec<_>>>().ok()?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(_) => return None,
        };
        for entry in linked {
            let back = fs::read(entry.path().join("gitdir")).ok()?;
            let file = Path::new(OsStr::from_bytes(back.strip_suffix(b"\n")?));
            let path = file.parent().filter(|_| file.is_absolute() && file.ends_with(".git"))?;
            found.push((path.to_owned(), branch_in(&entry.path())?));
        }
        Some(found)
    }
}

/// The branch that the HEAD of a git directory names: `Some(None)` where it is detached, none where it cannot be told.
fn branch_in(git_dir: &Path) -> Option<Option<String>> {
    let head = git_dir.join("HEAD");
    // A link is the oldest form of a HEAD, and its text would be a commit's.
    let text = head.symlink_metadata().is_ok_and(|m| m.is_file()).then(|| fs::read_to_string(&head).ok())??;
    let text = text.strip_suffix('\n')?;
    match text.strip_prefix("ref: ") {
        Some(name) => Some(Some(name.to_owned())),
        None => text.parse::<CommitId>().ok().map(|_| None),
    }
}

impl Checkout<'_> {
    /// Whether the checkout can certainly move from `old` to `new`: in the index and on the disk every path between the two
    /// is as `old` has it, and where `old` has none there is nothing. What the move itself meets a moment later it refuses
    /// all the same.
    pub(super) fn is_surely_ready(&self, old: &CommitId, new: &CommitId) -> Result<bool, GitError> {
        let Ok(file) = IndexFile::read(&self.git_dir.join("index")) else { return Ok(false) };
        let Some(entries) = file.entries(self.repo.id_bytes()) else { return Ok(false) };
        let before = self.repo.tree_of(old)?;
        for path in self.repo.changed_paths(&before, &self.repo.tree_of(new)?)? {
            let raw = bytes(&path);
            if !self.leads_nowhere_else(&raw) {
                return Ok(false);
            }
            let at = entries.binary_search_by(|entry| entry.path.cmp(&raw));
            let as_before = match (self.repo.entry(&before, &path)?, at) {
                (Some(was), Ok(at)) => {
                    let entry = &entries[at];
                    was.mode == entry.noted.mode
                        && was.id == hex(entry.id)
                        && is_as_noted(&self.path, entry, file.written)
                }
                (None, Err(at)) => self.is_free(&raw, &entries, at),
                (Some(_), Err(_)) | (None, Ok(_)) => false,
            };
            if !as_before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether no folder of a path is a link, as far as there are folders.
    fn leads_nowhere_else(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
        let mut folders = slashes.map(|(n, _)| self.path.join(OsStr::from_bytes(&path[..n])));
        folders.all(|folder| {
            folder.symlink_metadata().map_or_else(|e| e.kind() == io::ErrorKind::NotFound, |m| m.is_dir())
        })
    }

    /// Whether neither the index, whose place for the path is `at`, nor the disk has anything where a new file is to be.
    fn is_free(&self, path: &[u8], entries: &[Entry<'_>], at: usize) -> bool {
        let below = entries[at..].iter().any(|e| e.path.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/")));
        let has = |folder: &[u8]| entries.binary_search_by(|entry| entry.path.cmp(folder)).is_ok();
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
        let above = slashes.map(|(n, _)| &path[..n]).any(has);
        let gone = self.path.join(OsStr::from_bytes(path)).symlink_metadata();
        !below && !above && gone.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
