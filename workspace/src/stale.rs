//! What the git processes of an owner who died leave behind: themselves, for a moment, and their locks.
//!
//! A killed owner's git goes on: it may still move a ref or write files, so nobody may look at the world before it has
//! ended. Where it was killed too, its lock files stay. Those on refs of ours are removed; any other (on the target, on
//! HEAD, on `packed-refs`, on the index of a checkout) may be somebody else's: git names it when it is met, and only its
//! user can know that nobody holds it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::git::GitError;
use crate::repo::Repo;

/// How long a git of a dead owner is waited for. The longest of its commands writes a checkout: 100,000 files take ten
/// seconds on a slow disk.
const AT_WORK_MAX: Duration = Duration::from_secs(60);
/// A lock on a ref is held for the time of one write and its fsync; one that has not changed for so long has no holder.
const LOCK_MAX: Duration = Duration::from_secs(2);
/// How often is looked: the granularity of what waits, at a cost of a few milliseconds of reading `/proc`.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A dead owner's traces are still there.
#[derive(Debug, thiserror::Error)]
pub enum StaleError {
    /// A git that it has started goes on and on.
    #[error("wait for git (process {pid}), which a wattle that died has started: it is still at work")]
    AtWork {
        /// The process.
        pid: u32,
    },
    /// A stale lock cannot be removed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Repo {
    /// Waits until no git of a dead owner is at work any more, and removes the locks on refs of ours that such a git has
    /// left. To be called by the owner alone, before it looks at anything.
    pub fn bury(&self) -> Result<(), StaleError> {
        let since = Instant::now();
        while let Some(pid) = orphan(&self.git().marker()) {
            if since.elapsed() > AT_WORK_MAX {
                return Err(StaleError::AtWork { pid });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        for folder in self.half_made() {
            tracing::warn!(path = %folder.display(), "a worktree that a killed git was adding is removed");
            fs::remove_dir_all(&folder).map_err(|e| GitError::io(&folder, e))?;
        }
        let ours = ["refs/wattle", "refs/heads/wattle"].map(|folder| self.common_dir().join(folder));
        let found = || ours.iter().flat_map(|folder| locks(folder)).collect::<Vec<_>>();
        let mut stale = found();
        let since = Instant::now();
        while !stale.is_empty() && since.elapsed() < LOCK_MAX {
            std::thread::sleep(LOOK_EVERY);
            let now = found();
            stale.retain(|lock| now.contains(lock));
        }
        for Lock { path, .. } in stale {
            tracing::warn!(path = %path.display(), "a lock that a killed git has left is removed");
            fs::remove_file(&path).map_err(|e| GitError::io(&path, e))?;
        }
        Ok(())
    }
}

impl Repo {
    /// Folders of worktrees in our pool that a killed `worktree add` has not finished; git itself leaves these alone for
    /// ever, and `worktree list` may die of them.
    fn half_made(&self) -> Vec<PathBuf> {
        let slots = self.state_dir().join("slots");
        let entries = fs::read_dir(self.common_dir().join("worktrees")).into_iter().flatten().flatten();
        let half = |folder: &PathBuf| {
            let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
            text("locked").trim_end() == "initializing" && Path::new(text("gitdir").trim_end()).starts_with(&slots)
        };
        entries.map(|entry| entry.path()).filter(half).collect()
    }
}

/// A lock file; with inode and time, so that another one by the same name is another lock.
#[derive(PartialEq, Eq)]
struct Lock {
    path: PathBuf,
    inode: u64,
    changed: (i64, i64),
}

fn locks(folder: &Path) -> Vec<Lock> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            found.extend(locks(&path));
        } else if path.extension().is_some_and(|end| end == "lock") {
            found.push(Lock { path, inode: meta.ino(), changed: (meta.mtime(), meta.mtime_nsec()) });
        }
    }
    found
}

/// A process with this variable in its environment whose starter is not a program like this one: whoever started it has
/// died. Systems without `/proc` have none to show; there only the locks are waited for.
fn orphan(marker: &[u8]) -> Option<u32> {
    let ours = fs::read_link("/proc/self/exe").ok()?;
    let marked = |pid: u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == marker)
    };
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| marked(*pid)).find(|pid| {
        let parent = parent(*pid).unwrap_or_default();
        // What git itself has started counts with the git.
        !marked(parent) && fs::read_link(format!("/proc/{parent}/exe")).ok().as_ref() != Some(&ours)
    })
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}
