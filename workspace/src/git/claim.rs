//! Which locks a git of ours may be holding: said in a small file before it starts, taken back when it has ended.
//!
//! A git that is killed, with its owner or alone, leaves its lock files, and on the target, on HEAD, on `packed-refs` or on the index of a user's
//! checkout such a file looks like anybody's. Whoever finds a claim beside the lock, and nobody at work, knows whose it was:
//! the lock was not there when that git began, a few milliseconds before it died.
//!
//! The file is not synced. After a power cut it may be missing; then the lock is named to the user and stays.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Claims of one process differ by this.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What a command of ours may lock, until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    file: PathBuf,
}

impl Claim {
    /// Says that one of ours may take these locks from now on. Those that are there already are somebody else's.
    pub(crate) fn make(folder: &Path, locks: &[PathBuf]) -> io::Result<Option<Claim>> {
        let free = locks.iter().filter(|lock| lock.symlink_metadata().is_err());
        let names: Vec<&[u8]> = free.map(|lock| lock.as_os_str().as_bytes()).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let file = folder.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let text = names.join(&0);
        match fs::write(&file, &text) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(folder)?;
                fs::write(&file, text)?;
            }
            written => written?,
        }
        Ok(Some(Claim { file }))
    }
}

/// Leaves a claim where it is: whoever made it has seen its git die and its locks may be there. Without one, a file that
/// names nothing says at least that a git of ours has died.
pub(crate) fn leave(claim: Option<Claim>, folder: &Path) {
    match claim {
        Some(claim) => std::mem::forget(claim),
        None => {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            // Where that cannot be written either, the locks are named when they are met.
            let _ = fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(name), ""));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // One that stays claims a lock that nobody took.
        let _ = fs::remove_file(&self.file);
    }
}

/// The claims that were never taken back, and the locks that they name.
pub(crate) fn left(folder: &Path) -> Vec<(PathBuf, Vec<PathBuf>)> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let locks = |file: &PathBuf| {
        let text = fs::read(file).unwrap_or_default();
        let names = text.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect()
    };
    files.map(|file| (locks(&file), file)).map(|(locks, file)| (file, locks)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_not_claimed_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("HEAD.lock"), dir.path().join("index.lock"));
        fs::write(&theirs, "").unwrap();
        let folder = dir.path().join("claims");
        assert!(Claim::make(&folder, std::slice::from_ref(&theirs)).unwrap().is_none());
        let claim = Claim::make(&folder, &[theirs, ours.clone()]).unwrap().unwrap();
        assert_eq!(left(&folder), [(claim.file.clone(), vec![ours])]);
        drop(claim);
        assert_eq!(left(&folder), []);
    }
}
