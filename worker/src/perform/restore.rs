//! Brings the files of a worktree back to a tree, after a process that may have changed any of them.

use std::path::{Path, PathBuf};

use wattle_workspace::{CaptureError, CaptureOptions, Change, CommitId, GitError, Repo, TreeId};

/// The worktree could not be brought back.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    /// It holds what no tree can hold.
    #[error("read back the worktree {}: {source}", path.display())]
    Capture { path: PathBuf, source: CaptureError },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// It was written, and still is not what it should be.
    #[error("restore the worktree {}: {} still differ", path.display(), paths.join(", "))]
    Differs { path: PathBuf, paths: Vec<String> },
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
    let capture = |source| RestoreError::Capture { path: worktree.to_path_buf(), source };
    let wrong = repo.restore_tree(worktree, base, tree).map_err(capture)?;
    if wrong.is_empty() {
        return Ok(Vec::new());
    }
    let left = differences(repo, worktree, base, tree)?;
    if left.is_empty() {
        return Ok(paths(&wrong));
    }
    Err(RestoreError::Differs { path: worktree.to_path_buf(), paths: paths(&left) })
}
