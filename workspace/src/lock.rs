//! One owner per repository: whoever holds the lock in the common git directory. The kernel frees it when its holder
//! dies, so it is never stale; what the file says about the holder is only believed while the lock is held.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::repo::Repo;

/// Who owns a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// Its process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// The run it executes, if any.
    pub run: Option<String>,
}

/// The repository cannot be owned now.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process owns it.
    #[error("own the repository: {}", held_by(.0.as_ref()))]
    Held(Option<LockInfo>),
    /// The lock file cannot be used.
    #[error("lock {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn held_by(info: Option<&LockInfo>) -> String {
    match info {
        Some(i) => format!("process {} on {} owns it since {}", i.pid, i.host, i.since),
        None => "another process owns it".to_owned(),
    }
}

/// Ownership of a repository, until dropped.
#[derive(Debug)]
pub struct OwnerLock {
    file: File,
    path: PathBuf,
    died: Option<SystemTime>,
    /// What the owner before left has been seen to.
    settled: bool,
}

impl OwnerLock {
    /// Becomes the owner, or says who is.
    pub fn acquire(repo: &Repo, info: &LockInfo) -> Result<OwnerLock, LockError> {
        let path = path_of(repo);
        let io = |source| LockError::Io { path: path.clone(), source };
        fs::create_dir_all(path.parent().expect("the lock is in a folder")).map_err(io)?;
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(io)?;
        let mut tries = 0;
        while !try_lock(&file).map_err(io)? {
            let holder = read(&path);
            if tries == DYING_TRIES_MAX || holder.as_ref().is_none_or(|info| is_alive(info.pid)) {
                return Err(LockError::Held(holder));
            }
            tries += 1;
            std::thread::sleep(DYING_PAUSE);
        }
        // Whoever gives it back says so by emptying it.
        let is = file.metadata().map_err(io)?;
        let died = (is.len() > 0).then(|| is.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        let lock = OwnerLock { file, path: path.clone(), died, settled: died.is_none() };
        lock.describe(info)?;
        Ok(lock)
    }

    /// When the owner before this one began, if it died, or the machine under it.
    pub fn died(&self) -> Option<SystemTime> {
        self.died
    }

    /// Says that what a dead owner left has been seen to; until then the next owner is told of the death as well.
    pub fn settle(&mut self) {
        self.settled = true;
    }

    /// Writes anew who owns the repository, as when a run begins.
    pub fn describe(&self, info: &LockInfo) -> Result<(), LockError> {
        let bytes = serde_json::to_vec(info).expect("a record of strings and numbers serialises");
        let mut file = &self.file;
        // Never empty in between: an empty file says that nobody has died.
        let written =
            file.rewind().and_then(|()| file.write_all(&bytes)).and_then(|()| file.set_len(bytes.len() as u64));
        written.and_then(|()| file.sync_all()).map_err(|source| LockError::Io { path: self.path.clone(), source })
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        if self.settled {
            // What cannot be emptied counts as a death, which costs the next owner a look.
            let _ = self.file.set_len(0);
        }
        unlock(&self.file);
    }
}

/// Gives a lock back at once. Closing alone would leave it held while a child that another thread is just starting has
/// our files too, between its fork and its exec.
fn unlock(file: &File) {
    // What cannot be unlocked is unlocked by closing.
    let _ = flock(file, FlockOperation::Unlock);
}

/// Who owns the repository, if anybody does now.
pub fn lock_holder(repo: &Repo) -> Option<LockInfo> {
    holder_of(repo.common_dir())
}

/// Who owns the repository of a common git directory.
pub(crate) fn holder_of(common: &Path) -> Option<LockInfo> {
    let path = path_in(common);
    let file = File::open(&path).ok()?;
    // A shared lock is refused exactly while the exclusive one is held, and two askers do not refuse each other.
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            unlock(&file);
            None
        }
        Err(_) => read(&path),
    }
}

fn path_of(repo: &Repo) -> PathBuf {
    path_in(repo.common_dir())
}

fn path_in(common: &Path) -> PathBuf {
    common.join("wattle/lock")
}

/// An owner that was killed while it started a child leaves the lock to that child until it has become its program: a
/// moment, on a busy machine a second.
const DYING_TRIES_MAX: u32 = 300;
/// Pause between two such tries.
const DYING_PAUSE: Duration = Duration::from_millis(10);

/// Is there a process of that number? When in doubt there is.
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_none_or(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Whoever asks who holds the lock holds it shared for an instant; the owner-to-be tries again past that.
const ASKERS_TRIES_MAX: u32 = 100;

fn try_lock(file: &File) -> io::Result<bool> {
    for _ in 0..ASKERS_TRIES_MAX {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(e) => return Err(e.into()),
        }
        // Refused a shared lock too: it is an owner, not an asker.
        match flock(file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => flock(file, FlockOperation::Unlock)?,
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        std::thread::yield_now();
    }
    Ok(false)
}

fn read(path: &Path) -> Option<LockInfo> {
    let mut text = String::new();
    File::open(path).and_then(|mut f| f.read_to_string(&mut text)).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests;
