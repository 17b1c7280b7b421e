//! Deletes slots that have been moved aside, beside everything else: a slot of 100,000 files takes seconds to delete, and
//! nobody waits for it. What is not deleted when the pool is closed is left to the next start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// In the names of what is moved aside; such a thing has been proved to hold nothing that would be lost.
pub(crate) const ASIDE: &str = ".gone-";

/// The deletions under way.
#[derive(Debug, Default)]
pub(crate) struct Trash {
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Trash {
    /// Deletes what has been moved aside, some time.
    pub(crate) fn delete(&self, aside: PathBuf) {
        debug_assert!(aside.file_name().is_some_and(|name| name.to_string_lossy().contains(ASIDE)));
        let stop = Arc::clone(&self.stop);
        let path = aside.clone();
        let act = move || match delete(&path, &stop) {
            Ok(()) => {}
            Err(e) => tracing::warn!(path = %path.display(), error = %e, "not deleted; the next start tries again"),
        };
        match Builder::new().name("trash".to_owned()).spawn(act) {
            Ok(thread) => self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
            Err(e) => tracing::warn!(path = %aside.display(), error = %e, "left to the next start"),
        }
    }

    /// Waits until everything is deleted.
    pub(crate) fn finish(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // It ends by itself and its panic would be a bug of three lines; there is nothing to do about it here.
            let _ = thread.join();
        }
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.finish();
    }
}

/// Deletes a folder entry by entry, following no link; stops between two of them when told to. What is gone already is
/// fine: another process may be at the same.
fn delete(path: &Path, stop: &AtomicBool) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let entry = entry?;
        // The library's own removal of a tree cannot be led outside by a link that is put there meanwhile.
        let path = entry.path();
        gone(if entry.file_type()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) })?;
    }
    gone(fs::remove_dir(path))
}
