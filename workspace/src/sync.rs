//! Brings files and folders to the disk, many at once: the file system writes its own journal once for those that come
//! together, and one after the other each would wait for a write of its own.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::thread;

use crate::git::GitError;

/// Most files that are synced at once: more only wait for each other.
const LANES_MAX: usize = 8;

/// Syncs all of these.
pub(crate) fn sync(paths: &[PathBuf]) -> Result<(), GitError> {
    in_lanes(paths, sync_one)
}

/// Syncs those of these that are there; where a folder should be on the way, a reftable repository has a file.
pub(crate) fn sync_present(paths: &[PathBuf]) -> Result<(), GitError> {
    in_lanes(paths, |path| match sync_one(path) {
        Err(GitError::Io { source, .. }) if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(())
        }
        ended => ended,
    })
}

fn sync_one(path: &PathBuf) -> Result<(), GitError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| GitError::io(path, e))
}

fn in_lanes(
    paths: &[PathBuf],
    one: impl Fn(&PathBuf) -> Result<(), GitError> + Copy + Send + Sync,
) -> Result<(), GitError> {
    if let [path] = paths {
        return one(path);
    }
    thread::scope(|scope| {
        let lanes: Vec<_> = paths
            .chunks(paths.len().div_ceil(LANES_MAX).max(1))
            .map(|part| scope.spawn(move || part.iter().try_for_each(one)))
            .collect();
        let ends = lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ends.fold(Ok(()), Result::and)
    })
}
