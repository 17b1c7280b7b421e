//! Blobs: outputs, reports, plans and turns, by the hash of their bytes, in files beside the journal.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tempfile::NamedTempFile;
use wattle_workspace::fault;

use crate::ids::Blob;

/// A failure to keep or to find a blob.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// The file system refused.
    #[error("keep a blob at {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The journal names a blob that is not there.
    #[error("read blob {0}: it is not there")]
    Missing(String),
}

/// The folder of blobs.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    folder: PathBuf,
    /// Written, but not yet certainly on the disk, and without a name.
    pending: Arc<Mutex<BTreeMap<Blob, NamedTempFile>>>,
}

impl Blobs {
    /// Opens the folder, making it if need be.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, BlobError> {
        let folder = state_dir.join("blobs");
        fs::create_dir_all(&folder).map_err(|source| BlobError::Io { path: folder.clone(), source })?;
        Ok(Self { folder, pending: Arc::default() })
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        let (head, rest) = blob.0.split_at(2.min(blob.0.len()));
        self.folder.join(head).join(rest)
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<Blob, NamedTempFile>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps bytes. They are on the disk, whole, after [`Self::flush`], which comes before the event that names them.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Blob, BlobError> {
        let blob = Blob::of(bytes);
        let path = self.path(&blob);
        if path.exists() || self.pending().contains_key(&blob) {
            return Ok(blob);
        }
        let failed = |source| BlobError::Io { path: path.clone(), source };
        let folder = path.parent().expect("a blob lies in a folder");
        fault::fails("blob.before").map_err(failed)?;
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        self.pending().insert(blob.clone(), file);
        Ok(blob)
    }

    /// Brings to the disk what has been put, all at once: the file system writes its own journal once for those that come
    /// together. Only then does a blob get its name, so that whatever has one is whole.
    pub(crate) fn flush(&self) -> Result<(), BlobError> {
        let pending = std::mem::take(&mut *self.pending());
        let sync = |(blob, file): (&Blob, &NamedTempFile)| {
            file.as_file().sync_data().map_err(|source| BlobError::Io { path: self.path(blob), source })
        };
        thread::scope(|scope| {
            let mut files = pending.iter();
            let first = files.next();
            let others: Vec<_> = files.map(|file| scope.spawn(move || sync(file))).collect();
            let mine = first.map_or(Ok(()), sync);
            let theirs = others.into_iter().map(|o| o.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            theirs.fold(mine, Result::and)
        })?;
        for (blob, file) in pending {
            fault::point("blob.written");
            let path = self.path(&blob);
            file.persist(&path).map_err(|error| BlobError::Io { path, source: error.error })?;
            fault::point("blob.after");
        }
        Ok(())
    }

    /// The bytes of a blob.
    pub(crate) fn get(&self, blob: &Blob) -> Result<Vec<u8>, BlobError> {
        if let Some(file) = self.pending().get(blob) {
            return fs::read(file.path()).map_err(|source| BlobError::Io { path: file.path().to_owned(), source });
        }
        fs::read(self.path(blob)).map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                BlobError::Missing(blob.0.clone())
            } else {
                BlobError::Io { path: self.path(blob), source }
            }
        })
    }

    /// The bytes of a blob as text.
    pub(crate) fn text(&self, blob: &Blob) -> Result<String, BlobError> {
        Ok(String::from_utf8_lossy(&self.get(blob)?).into_owned())
    }

    /// Deletes blobs that `keep` does not name; returns how many bytes that freed.
    pub(crate) fn sweep(&self, keep: &std::collections::BTreeSet<Blob>, dry_run: bool) -> u64 {
        let mut freed = 0;
        for head in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            for file in fs::read_dir(head.path()).into_iter().flatten().flatten() {
                let name = format!("{}{}", head.file_name().to_string_lossy(), file.file_name().to_string_lossy());
                if keep.contains(&Blob(name)) {
                    continue;
                }
                freed += file.metadata().map_or(0, |meta| meta.len());
                if !dry_run {
                    fault::point("blob.sweep");
                    let _ = fs::remove_file(file.path());
                }
            }
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_its_name_once_it_is_flushed_and_can_be_read_before() {
        let dir = tempfile::TempDir::new().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let put: Vec<Blob> = ["a", "b", "a"].iter().map(|text| blobs.put(text.as_bytes()).unwrap()).collect();
        assert_eq!(put[0], put[2]);
        let named = |blob: &Blob| blobs.path(blob).exists();
        assert!(!named(&put[0]) && blobs.text(&put[0]).unwrap() == "a");
        blobs.flush().unwrap();
        assert!(named(&put[0]) && named(&put[1]) && blobs.text(&put[1]).unwrap() == "b");
        // What is dropped unflushed leaves nothing.
        let lost = blobs.put(b"c").unwrap();
        drop(blobs);
        let blobs = Blobs::open(dir.path()).unwrap();
        assert!(matches!(blobs.get(&lost), Err(BlobError::Missing(_))));
        assert_eq!(fs::read_dir(blobs.path(&lost).parent().unwrap()).unwrap().count(), 0);
    }
}
