//! Brings the files of a worktree back to a tree, after a process that may have changed any of them.
//!
//! Only what differs is touched, ignored files stay, and nothing is written through a link. Whether a file is
//! executable or a link is not asked of git: the likely answer is tried first, and the tree of the result says
//! whether it was right.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use wattle_workspace::{CaptureError, CaptureOptions, Change, CommitId, GitError, Repo, TreeId};

/// Mode of a new file.
const PLAIN: u32 = 0o644;
/// The bits that make a file executable.
const EXECUTABLE: u32 = 0o111;

/// The worktree could not be brought back.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    /// It holds what no tree can hold.
    #[error("read back the worktree {}: {source}", path.display())]
    Capture { path: PathBuf, source: CaptureError },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file could not be written.
    #[error("restore {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// All was tried.
    #[error("restore the worktree {}: {} still differ", path.display(), paths.join(", "))]
    Differs { path: PathBuf, paths: Vec<String> },
}

/// What a file in the way of being restored is made as, in the order of trying.
#[derive(Clone, Copy)]
enum Shape {
    /// As it is, or a plain file.
    Same,
    /// Executable if it was not, and the reverse.
    OtherMode,
    /// A symbolic link.
    Link,
}

/// What in the worktree differs from a tree: paths of both sides, sorted.
pub(super) fn paths(changes: &[Change]) -> Vec<String> {
    let both = changes.iter().flat_map(|change| change.from.iter().chain([&change.path]));
    let mut paths: Vec<String> = both.cloned().collect();
    paths.sort();
    paths.dedup();
    paths
}

/// How the files in the worktree differ from `tree`.
pub(super) fn differences(
    repo: &Repo,
    worktree: &Path,
    base: &CommitId,
    tree: &TreeId,
) -> Result<Vec<Change>, RestoreError> {
    let captured = repo
        .capture(worktree, base, &CaptureOptions::default())
        .map_err(|source| RestoreError::Capture { path: worktree.to_path_buf(), source })?;
    // From what is there to what should be.
    Ok(repo.changes(&captured.tree, tree)?)
}

/// Makes the files of the worktree those of `tree`; gives the paths that were different.
pub(super) fn restore(
    repo: &Repo,
    worktree: &Path,
    base: &CommitId,
    tree: &TreeId,
) -> Result<Vec<String>, RestoreError> {
    let mut wrong = differences(repo, worktree, base, tree)?;
    let before = paths(&wrong);
    for shape in [Shape::Same, Shape::OtherMode, Shape::Link] {
        if wrong.is_empty() {
            return Ok(before);
        }
        put_back(repo, worktree, tree, &wrong, shape)?;
        wrong = differences(repo, worktree, base, tree)?;
    }
    if wrong.is_empty() {
        return Ok(before);
    }
    Err(RestoreError::Differs { path: worktree.to_path_buf(), paths: paths(&wrong) })
}

fn put_back(repo: &Repo, worktree: &Path, tree: &TreeId, wrong: &[Change], shape: Shape) -> Result<(), RestoreError> {
    let mut write = Vec::new();
    for path in paths(wrong) {
        match repo.read_file(tree, &path)? {
            Some(bytes) => write.push((path, bytes)),
            // Removing comes first: a link that stands where a folder was must be gone before its files come back.
            None => remove(worktree, &path)?,
        }
    }
    for (path, bytes) in write {
        let target = worktree.join(&path);
        let error = |source| RestoreError::File { path: target.clone(), source };
        make_folder(worktree, &path).map_err(error)?;
        put(&target, &bytes, shape).map_err(error)?;
    }
    Ok(())
}

/// Removes a file and the folders that are empty without it.
fn remove(worktree: &Path, path: &str) -> Result<(), RestoreError> {
    let target = worktree.join(path);
    if through_link(worktree, path) {
        return Ok(());
    }
    match fs::remove_file(&target) {
        Ok(()) => {}
        // It may be gone already, or be a folder by now; what then differs is found afterwards.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
            ) => {}
        Err(source) => {
            return Err(RestoreError::File { path: target, source });
        }
    }
    let folders = target.ancestors().skip(1).take_while(|folder| *folder != worktree);
    for folder in folders {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

fn through_link(worktree: &Path, path: &str) -> bool {
    let target = worktree.join(path);
    let mut folders = target.ancestors().skip(1).take_while(|folder| *folder != worktree);
    folders.any(|folder| fs::symlink_metadata(folder).is_ok_and(|found| found.is_symlink()))
}

/// Makes the folder of a file; what is no folder but stands in its way is removed.
fn make_folder(worktree: &Path, path: &str) -> io::Result<()> {
    let mut folder = worktree.to_path_buf();
    let Some(parent) = Path::new(path).parent() else {
        return Ok(());
    };
    for part in parent.components() {
        folder.push(part);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                fs::remove_file(&folder)?;
                fs::create_dir(&folder)?;
            }
            Err(_) => fs::create_dir(&folder)?,
        }
    }
    Ok(())
}

fn put(target: &Path, bytes: &[u8], shape: Shape) -> io::Result<()> {
    let found = fs::symlink_metadata(target).ok();
    let mode = found.as_ref().filter(|found| found.is_file()).map_or(PLAIN, |found| found.permissions().mode());
    match &found {
        // Ignored files in it are lost to nobody, but a folder with files is never removed here.
        Some(found) if found.is_dir() => fs::remove_dir(target)?,
        Some(found) if !found.is_file() => fs::remove_file(target)?,
        Some(_) | None => {}
    }
    let mode = match shape {
        Shape::Same => mode,
        Shape::OtherMode if mode & EXECUTABLE == 0 => mode | EXECUTABLE,
        Shape::OtherMode => mode & !EXECUTABLE,
        Shape::Link => {
            if fs::symlink_metadata(target).is_ok() {
                fs::remove_file(target)?;
            }
            return std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(bytes), target);
        }
    };
    let folder = target.parent().unwrap_or(target);
    let mut file = tempfile::Builder::new().prefix(".wattle-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode & 0o7777))?;
    file.persist(target)?;
    Ok(())
}
