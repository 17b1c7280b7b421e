//! The user's checkouts: a branch and every checkout of it move together, or not at all.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::git::{At, GitError};
use crate::ids::CommitId;
use crate::refs::{Expect, RefChange, RefError};
use crate::repo::Repo;

/// Why a checkout cannot be moved now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldWhy {
    /// Changed, staged or untracked files are in the way.
    Dirty,
    /// A rebase is under way.
    RebaseInProgress,
    /// A merge is under way.
    MergeInProgress,
    /// A cherry-pick is under way.
    CherryPickInProgress,
    /// A revert is under way.
    RevertInProgress,
    /// A bisection is under way.
    BisectInProgress,
    /// Another git command works on its index, or one died there.
    IndexLocked,
    /// Its checkout failed after the branch had moved, and everything was put back.
    CheckoutFailed,
}

/// What came of moving a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// It moved, and these checkouts with it.
    Moved {
        /// Where it is checked out.
        checkouts: Vec<PathBuf>,
    },
    /// It did not move, because of a checkout.
    Held {
        /// The checkout.
        worktree: PathBuf,
        /// What stands in the way there, where that is files.
        paths: Vec<String>,
        /// Why.
        why: HeldWhy,
    },
    /// It is not where it was expected to be.
    TargetMoved {
        /// Where it is.
        found: Option<CommitId>,
    },
}

impl Repo {
    /// Every worktree in which the branch (short name) is checked out; none when git cannot tell.
    pub fn checkouts_of(&self, branch: &str) -> Vec<PathBuf> {
        self.checkouts(branch).unwrap_or_default()
    }

    fn checkouts(&self, branch: &str) -> Result<Vec<PathBuf>, GitError> {
        let wanted = format!("branch refs/heads/{branch}");
        let ran = self
            .common()
            .args(["worktree", "list", "--porcelain", "-z"])
            .run()?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let blocks = text
            .split("\0\0")
            .filter(|block| block.split('\0').any(|line| line == wanted));
        Ok(blocks
            .filter_map(|b| b.split('\0').find_map(|l| l.strip_prefix("worktree ")))
            .map(PathBuf::from)
            .collect())
    }

    /// Moves the branch (short name) from `old` to `new`, and every checkout of it, or nothing. When the branch is at `new`
    /// already, completes checkouts that are still at `old`. Nothing of the user's is reset, stashed or cleaned.
    pub fn advance(
        &self,
        branch: &str,
        old: &CommitId,
        new: &CommitId,
        reason: &str,
    ) -> Result<Advance, GitError> {
        let name = format!("refs/heads/{branch}");
        let checkouts = self.checkouts(branch)?;
        for worktree in &checkouts {
            let args = ["read-tree", "-n", "-m", "-u", old.as_str(), new.as_str()];
            if self.git().at(self.own(worktree)).args(args).run().is_err() {
                return Ok(Advance::Held {
                    worktree: worktree.clone(),
                    paths: Vec::new(),
                    why: HeldWhy::Dirty,
                });
            }
        }
        let change = RefChange {
            name,
            new: Some(new.clone()),
            old: Expect::Is(old.clone()),
        };
        match self.update_refs(&[change], reason) {
            Ok(()) => {}
            Err(RefError::Moved { found, .. }) => return Ok(Advance::TargetMoved { found }),
            Err(RefError::Git(e)) => return Err(e),
            Err(RefError::Occupied { .. }) => return Ok(Advance::TargetMoved { found: None }),
        }
        for worktree in &checkouts {
            self.git()
                .at(self.own(worktree))
                .args(["read-tree", "-m", "-u", old.as_str(), new.as_str()])
                .run()?;
        }
        Ok(Advance::Moved { checkouts })
    }

    fn own<'a>(&'a self, worktree: &'a Path) -> At<'a> {
        At::Worktree {
            git_dir: self.git_dir(),
            work_tree: Some(worktree),
        }
    }
}
