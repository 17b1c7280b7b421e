//! A worktree's files as a tree, whatever a worker did to its index, HEAD or configuration.

use std::path::Path;

use crate::git::{At, GitError};
use crate::ids::{CommitId, TreeId};
use crate::objects::Change;
use crate::repo::Repo;

/// What to take from a worktree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Anchored regular expressions; paths that match keep the base's content.
    pub discard: Vec<String>,
}

/// What a worktree holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// All its files but the ignored ones.
    pub tree: TreeId,
    /// How that differs from the base.
    pub changes: Vec<Change>,
}

/// A worktree could not be made a tree.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It holds what no tree can: nested repositories, pipes, sockets, devices.
    #[error("express as files of a commit: {}", paths.join(", "))]
    Unexpressible {
        /// Where they are.
        paths: Vec<String>,
    },
    /// A discard pattern is no regular expression.
    #[error("compile the discard pattern `{pattern}`: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Repo {
    /// Makes a tree of the files in `worktree`: tracked and untracked, without ignored ones, relative to `base`.
    pub fn capture(
        &self,
        worktree: &Path,
        base: &CommitId,
        o: &CaptureOptions,
    ) -> Result<Captured, CaptureError> {
        let git = |e: std::io::Error| CaptureError::Git(GitError::io(worktree, e));
        let temp = tempfile::tempdir_in(self.state_dir()).map_err(git)?;
        let index = temp.path().join("index");
        let at = At::Files {
            work_tree: worktree,
            index: &index,
        };
        self.git().at(at).args(["read-tree", base.as_str()]).run()?;
        self.git().at(at).args(["add", "-A"]).run()?;
        let ran = self.git().at(at).args(["write-tree"]).run()?;
        let tree: TreeId = ran
            .text()
            .parse()
            .map_err(|e| ran.unreadable(format!("{e}")))?;
        let from = self.tree_of(base)?;
        let changes = self.changes(&from, &tree)?;
        if let Some(pattern) = o.discard.first() {
            return Err(CaptureError::Pattern {
                pattern: pattern.clone(),
                why: "not compiled yet".to_owned(),
            });
        }
        Ok(Captured { tree, changes })
    }
}
