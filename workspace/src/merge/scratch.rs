//! A folder for objects that nobody keeps. In memory where there is room: a merge writes a handful of small files, and on
//! a disk making and removing them costs more than the merge.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::git::GitError;
#[cfg(target_os = "linux")]
use crate::room::free_bytes;

/// Where Linux has its memory for everybody.
const MEMORY: &str = "/dev/shm";
/// With less room than this the disk is taken: a round of merges writes a few megabytes, more only where large files clash.
const ROOM_BYTES_MIN: u64 = 256 << 20;
/// How the folders in memory begin.
const NAME: &str = "wattle-trial-";
/// Locked as long as somebody uses the folder.
const LOCK: &str = "lock";

/// Such a folder, until dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: TempDir,
    /// Freed last, so that nobody takes the folder for one that was left behind.
    _lock: Option<File>,
}

impl Scratch {
    /// In memory, if that can be.
    pub(super) fn in_memory() -> Option<Scratch> {
        let folder = roomy(Path::new(MEMORY))?;
        sweep(&folder);
        locked(&folder).ok()
    }

    /// On the disk, in a folder of ours that is swept after a crash.
    pub(super) fn on_disk(state_dir: &Path) -> Result<Scratch, GitError> {
        let dir = tempfile::Builder::new().prefix("trial-").tempdir_in(state_dir);
        Ok(Scratch { dir: dir.map_err(|e| GitError::io(state_dir, e))?, _lock: None })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The folder, if it lies in memory and has room.
#[cfg(target_os = "linux")]
fn roomy(folder: &Path) -> Option<PathBuf> {
    // What the kernel calls its file system in memory; the number's type is another on every processor.
    let tmpfs = 0x0102_1994;
    let stat = rustix::fs::statfs(folder).ok()?;
    (stat.f_type == tmpfs && free_bytes(folder).ok()? >= ROOM_BYTES_MIN).then(|| folder.to_owned())
}

/// Elsewhere none is known.
#[cfg(not(target_os = "linux"))]
fn roomy(_folder: &Path) -> Option<PathBuf> {
    None
}

fn locked(folder: &Path) -> io::Result<Scratch> {
    let dir = tempfile::Builder::new().prefix(NAME).tempdir_in(folder)?;
    let lock = File::create_new(dir.path().join(LOCK))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    Ok(Scratch { dir, _lock: Some(lock) })
}

/// Removes what killed processes have left. What cannot be removed, as another user's, stays.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(NAME) {
            continue;
        }
        let free = File::open(entry.path().join(LOCK))
            .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        if free && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(%error, path = %entry.path().display(), "a left folder stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_not_swept_and_what_was_left_is() {
        let place = TempDir::new().unwrap();
        let used = locked(place.path()).unwrap();
        let left = place.path().join(format!("{NAME}left"));
        fs::create_dir_all(left.join("objects/aa")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let other = place.path().join("somebody-elses");
        fs::create_dir(&other).unwrap();
        sweep(place.path());
        assert!(used.path().exists() && other.exists() && !left.exists());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
