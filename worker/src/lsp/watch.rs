//! Which files of a worktree have changed since it was last looked at: a server is told of them, because a worker's
//! tools and commands change files that the server does not have open.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

/// Files that are watched: a walk of so many takes a tenth of a second, which every request pays. In a larger
/// worktree the servers' own eyes have to do.
const FILES_MAX: usize = 20_000;

/// What tells one content of a file from the next, without reading it.
type Stamp = (u64, i64, i64, i64, i64, u64);

/// What happened to a file, as the protocol numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Created = 1,
    Changed = 2,
    Deleted = 3,
}

/// The files of a worktree as they were when they were last looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    stamps: BTreeMap<PathBuf, Stamp>,
}

impl Watch {
    /// Looks at the files below `root`, all but those that .gitignore names.
    pub(super) fn look(root: &Path) -> Watch {
        let mut walk = WalkBuilder::new(root);
        walk.hidden(false).parents(false).git_global(false).require_git(false).follow_links(false);
        walk.filter_entry(|entry| !entry.file_name().eq_ignore_ascii_case(".git"));
        // What cannot be read cannot have been changed by a tool.
        let files = walk.build().flatten().filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
        let stamps = files.take(FILES_MAX).filter_map(|entry| {
            let data = entry.metadata().ok()?;
            let stamp = (data.ino(), data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec(), data.size());
            Some((entry.into_path(), stamp))
        });
        Watch { stamps: stamps.collect() }
    }

    /// What is different in `now`.
    pub(super) fn changes(&self, now: &Watch) -> Vec<(PathBuf, Event)> {
        let after = now.stamps.iter().filter_map(|(path, stamp)| match self.stamps.get(path) {
            None => Some((path.clone(), Event::Created)),
            Some(before) if before != stamp => Some((path.clone(), Event::Changed)),
            Some(_) => None,
        });
        let gone = self.stamps.keys().filter(|path| !now.stamps.contains_key(*path));
        after.chain(gone.map(|path| (path.clone(), Event::Deleted))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_changed_and_removed_is_seen_and_what_is_ignored_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join(".git")).unwrap();
        for (name, text) in [("a", "1"), ("b", "1"), (".gitignore", "out\n"), (".git/x", "1"), ("same", "1")] {
            std::fs::write(root.join(name), text).unwrap();
        }
        let before = Watch::look(root);
        assert_eq!(before.changes(&Watch::look(root)), []);
        // Replaced by another file of the same size, as Edit does it.
        std::fs::write(root.join("new"), "2").unwrap();
        std::fs::rename(root.join("new"), root.join("a")).unwrap();
        std::fs::remove_file(root.join("b")).unwrap();
        for name in ["c", "out", ".git/x"] {
            std::fs::write(root.join(name), "22").unwrap();
        }
        let found = before.changes(&Watch::look(root));
        let expected = [("a", Event::Changed), ("c", Event::Created), ("b", Event::Deleted)];
        assert_eq!(found, expected.map(|(name, event)| (root.join(name), event)));
    }
}
