//! Blobs: outputs, reports, plans and turns, by the hash of their bytes, in files beside the journal.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

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
}

impl Blobs {
    /// Opens the folder, making it if need be.
    pub(crate) fn open(state_dir: &Path) -> Result<Self, BlobError> {
        let folder = state_dir.join("blobs");
        fs::create_dir_all(&folder).map_err(|source| BlobError::Io { path: folder.clone(), source })?;
        Ok(Self { folder })
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        let (head, rest) = blob.0.split_at(2.min(blob.0.len()));
        self.folder.join(head).join(rest)
    }

    /// Keeps bytes: atomic, and on the disk before the event that names them.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Blob, BlobError> {
        let blob = Blob::of(bytes);
        let path = self.path(&blob);
        if path.exists() {
            return Ok(blob);
        }
        let failed = |source| BlobError::Io { path: path.clone(), source };
        let folder = path.parent().expect("a blob lies in a folder");
        fault::fails("blob.before").map_err(failed)?;
        fs::create_dir_all(folder).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        file.as_file().sync_data().map_err(failed)?;
        fault::point("blob.written");
        file.persist(&path).map_err(|error| failed(error.error))?;
        fault::point("blob.after");
        Ok(blob)
    }

    /// The bytes of a blob.
    pub(crate) fn get(&self, blob: &Blob) -> Result<Vec<u8>, BlobError> {
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
