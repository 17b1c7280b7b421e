//! `.worktreeinclude`: ignored files of the user's checkout that a fresh slot needs, such as `.env`.
//!
//! Patterns are in gitignore's syntax, and git itself matches them. Only files that are ignored as well are copied: what
//! is tracked comes from the commit, what is merely untracked is the user's own business. Links are not followed on
//! either side.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use crate::git::GitError;
use crate::repo::Repo;

/// The file's name, at the root of a checkout.
const NAME: &str = ".worktreeinclude";

/// A file could not be copied into a slot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IncludeError {
    #[error("copy {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Copies what the checkout's `.worktreeinclude` names into `slot`.
pub(crate) fn copy(repo: &Repo, slot: &Path) -> Result<(), IncludeError> {
    let Some(checkout) = repo.worktree().filter(|w| w.join(NAME).is_file()) else {
        return Ok(());
    };
    let matching = listed(repo, &["--exclude-from", NAME])?;
    if matching.is_empty() {
        return Ok(());
    }
    let ignored = listed(repo, &["--exclude-standard"])?;
    for path in matching.intersection(&ignored) {
        let relative = Path::new(std::ffi::OsStr::from_bytes(path));
        copy_file(checkout, slot, relative).map_err(|source| {
            let path = checkout.join(relative);
            IncludeError::Io { path, source }
        })?;
    }
    Ok(())
}

/// The untracked files that are excluded by these rules.
fn listed(repo: &Repo, rules: &[&str]) -> Result<BTreeSet<Vec<u8>>, GitError> {
    let ran = repo.checkout().args(["ls-files", "-z", "--others", "--ignored"]).args(rules).run()?;
    Ok(ran.fields().map(<[u8]>::to_vec).collect())
}

/// Whether a folder on the way to `relative` is a link, below `root`.
fn through_link(root: &Path, relative: &Path) -> bool {
    let mut at = root.to_owned();
    let parents = relative.parent().into_iter().flat_map(Path::components);
    for component in parents {
        at.push(component);
        if fs::symlink_metadata(&at).is_ok_and(|m| m.is_symlink()) {
            return true;
        }
    }
    false
}

fn copy_file(from: &Path, to: &Path, relative: &Path) -> io::Result<()> {
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
    if !plain || through_link(from, relative) || through_link(to, relative) {
        return Ok(());
    }
    let (source, target) = (from.join(relative), to.join(relative));
    if !fs::symlink_metadata(&source)?.is_file() {
        return Ok(());
    }
    if let Some(dir) = target.parent() {
        fs::create_dir_all(dir)?;
    }
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    let mut read = File::options().read(true).custom_flags(no_follow).open(&source)?;
    let mut write = match OpenOptions::new().write(true).create_new(true).open(&target) {
        Ok(file) => file,
        // The commit has a file there; it stays.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) => return Err(e),
    };
    io::copy(&mut read, &mut write)?;
    write.set_permissions(read.metadata()?.permissions())
}
