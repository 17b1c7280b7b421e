//! The files of a worktree that a search sees: what .gitignore excludes and `.git` are left out, hidden files
//! are not, and no symlink is followed.

use std::path::Path;

use ignore::overrides::Override;
use ignore::types::Types;
use ignore::{DirEntry, WalkBuilder};

use super::confine::{Located, Worktree};

/// Calls `visit` with each file below `start`, in the order of their paths, until it says stop. The path is
/// relative to the root.
pub(super) fn files(
    worktree: &Worktree,
    start: &Located,
    globs: Option<Override>,
    types: Option<Types>,
    mut visit: impl FnMut(&Path, &Path) -> bool,
) -> Result<(), ignore::Error> {
    let root = worktree.root();
    let wanted = root.join(start.relative());
    // The walk starts at the root even for a folder below it: the .gitignore files on the way count, and those
    // above the worktree are none of its business.
    let mut walk = WalkBuilder::new(root);
    walk.hidden(false).parents(false).git_global(false).require_git(false).follow_links(false);
    walk.sort_by_file_path(Path::cmp);
    if let Some(globs) = globs {
        walk.overrides(globs);
    }
    if let Some(types) = types {
        walk.types(types);
    }
    let below = wanted.clone();
    walk.filter_entry(move |entry: &DirEntry| {
        let on_the_way = entry.path().starts_with(&below) || below.starts_with(entry.path());
        on_the_way && !entry.file_name().eq_ignore_ascii_case(".git")
    });
    for entry in walk.build() {
        let entry = entry?;
        let file = entry.file_type().is_some_and(|kind| kind.is_file());
        if !file || !entry.path().starts_with(&wanted) {
            continue;
        }
        let relative = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if !visit(entry.path(), relative) {
            break;
        }
    }
    Ok(())
}
