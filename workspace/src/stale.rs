//! What the git processes of an owner who died leave behind: themselves, for a moment, and their locks.
//!
//! A killed owner's git goes on: it may still move a ref or write files, so nobody may look at the world before it has
//! ended. Where it was killed too, its lock files stay. Those on refs of ours are removed. Any other (on the target, on
//! HEAD, on `packed-refs`, on the index of a checkout) may be somebody else's. It is removed only where a claim says that
//! a git of ours, begun when the lock was not there, was to take it (`git::claim`), and where nobody is seen at work who
//! could have taken it in those milliseconds instead. Every other lock stays: git names it when it is met, and only its user
//! can know that nobody holds it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::git::{GitError, claim};
use crate::refs::OURS;
use crate::repo::Repo;
use crate::warm::SLOTS;

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
    /// Whether a git of ours has died that left something, with or without its owner.
    pub fn is_to_bury(&self) -> bool {
        !claim::left(&self.git().claims()).is_empty()
    }

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
        let ours = OURS.map(|folder| self.common_dir().join(folder));
        let claims = claim::left(&self.git().claims());
        // Where nobody can be seen, nobody is seen to be gone.
        let seen = fs::read_link("/proc/self/exe").is_ok();
        let claimed: BTreeSet<&PathBuf> = claims.iter().filter(|_| seen).flat_map(|(_, locks)| locks).collect();
        let found = || {
            let there = claimed.iter().filter_map(|path| Lock::at(path));
            ours.iter().flat_map(|folder| locks(folder)).chain(there).collect::<Vec<_>>()
        };
        let mut stale = found();
        let since = Instant::now();
        while !stale.is_empty() && since.elapsed() < LOCK_MAX {
            std::thread::sleep(LOOK_EVERY);
            let now = found();
            stale.retain(|lock| now.contains(lock));
        }
        for Lock { path, .. } in stale {
            if claimed.contains(&path)
                && let Some(pid) = self.somebody_at_work(&path)
            {
                tracing::warn!(path = %path.display(), pid, "a lock that a killed git may have left stays");
                continue;
            }
            tracing::warn!(path = %path.display(), "a lock that a killed git has left is removed");
            fs::remove_file(&path).map_err(|e| GitError::io(&path, e))?;
        }
        for (claim, _) in &claims {
            fs::remove_file(claim).map_err(|e| GitError::io(claim, e))?;
        }
        Ok(())
    }

    /// A process that may hold a lock: one that has it open, or a git in the repository or in a checkout of its user's.
    /// Such a git need not have its lock open all the time.
    fn somebody_at_work(&self, lock: &Path) -> Option<u32> {
        let mut places = vec![self.common_dir().to_owned()];
        places.extend(self.main_worktree().map(Path::to_owned));
        let slots = self.state_dir().join(SLOTS);
        for entry in fs::read_dir(self.common_dir().join("worktrees")).into_iter().flatten().flatten() {
            let gitdir = fs::read_to_string(entry.path().join("gitdir")).unwrap_or_default();
            places.extend(Path::new(gitdir.trim_end()).parent().filter(|p| !p.starts_with(&slots)).map(Path::to_owned));
        }
        processes().find(|pid| {
            let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let git = link("exe").file_name().is_some_and(|name| name == "git");
            let there = git && places.iter().any(|place| link("cwd").starts_with(place));
            there || fds.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|open| open == lock))
        })
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

impl Lock {
    fn at(path: &Path) -> Option<Lock> {
        let meta = path.symlink_metadata().ok().filter(|meta| !meta.is_dir())?;
        Some(Lock { path: path.to_owned(), inode: meta.ino(), changed: (meta.mtime(), meta.mtime_nsec()) })
    }
}

fn locks(folder: &Path) -> Vec<Lock> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(locks(&path));
        } else if path.extension().is_some_and(|end| end == "lock") {
            found.extend(Lock::at(&path));
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
    processes().filter(|pid| marked(*pid)).find(|pid| {
        let parent = parent(*pid).unwrap_or_default();
        // What git itself has started counts with the git.
        !marked(parent) && fs::read_link(format!("/proc/{parent}/exe")).ok().as_ref() != Some(&ours)
    })
}

/// The processes that there are; none where the system has no `/proc`.
fn processes() -> impl Iterator<Item = u32> {
    let found = fs::read_dir("/proc").into_iter().flatten().flatten();
    found.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests;
