//! What slots take on disk, and whether there is room for one more.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::layers::FOLDER as LAYERS;
use super::record::{Record, path_of};
use super::template::FOLDER as TEMPLATES;
use super::trash::ASIDE;
use super::{Pool, Want};
use crate::git::GitError;
use crate::ids::{CommitId, TreeId};
use crate::repo::Repo;
use crate::room::free_bytes;
use crate::slot::PoolError;

/// File systems give files whole blocks, of this size nearly everywhere.
const BLOCK_BYTES: u64 = 4096;
/// With this much free disk nobody asks what one slot takes: none of those that were measured took a tenth of it.
const PLENTY_BYTES: u64 = 50_000_000_000;

impl Pool {
    /// Makes sure that another slot may be made, removing free slots of other classes if that is what stands against it.
    pub(super) fn room_for(&self, w: &Want) -> Result<(), PoolError> {
        let free_bytes = free_bytes(&self.root).map_err(|e| PoolError::io(&self.root, e))?;
        if self.options.disk_bytes_max.is_none() && free_bytes >= PLENTY_BYTES {
            return Ok(());
        }
        // A slot over a template takes what is changed in it, which nobody knows yet.
        let shared = self.lays() && self.template_at_hand(&w.base)?;
        let need_bytes = if shared { 0 } else { self.repo.checkout_bytes(&w.base)?.unwrap_or(0) };
        if free_bytes < need_bytes {
            return Err(PoolError::NoRoom { path: self.root.clone(), need_bytes, free_bytes });
        }
        let Some(bytes_max) = self.options.disk_bytes_max else {
            return Ok(());
        };
        loop {
            let bytes = self.disk_bytes()?;
            if bytes.saturating_add(need_bytes) <= bytes_max {
                return Ok(());
            }
            let records = Record::load_all(&self.root)?;
            if !self.drop_unused_templates()?.is_empty() {
                continue;
            }
            let other = records.iter().find(|r| r.class != w.class && r.free());
            let removed = other.map(|r| self.remove(r.slot));
            if !matches!(removed, Some(Ok(_))) {
                return Err(PoolError::Quota { slots: records.len(), bytes, need_bytes, bytes_max });
            }
        }
    }
}

impl Pool {
    /// What the slots take on disk: their files, and what those that are mounted share and have changed.
    fn disk_bytes(&self) -> Result<u64, PoolError> {
        let mounted: Vec<PathBuf> = Record::load_all(&self.root)?
            .iter()
            .filter(|record| record.template.is_some())
            .map(|record| path_of(&self.root, record.slot))
            .collect();
        let folders = [self.root.clone(), self.repo.state_dir().join(LAYERS), self.repo.state_dir().join(TEMPLATES)];
        let bytes = folders.iter().map(|folder| disk_bytes(folder, &mounted)).sum::<io::Result<u64>>();
        bytes.map_err(|e| PoolError::io(&self.root, e))
    }
}

impl Repo {
    /// What is free on the disk that slots lie on, in bytes.
    pub fn free_bytes(&self) -> Result<u64, PoolError> {
        free_bytes(self.state_dir()).map_err(|e| PoolError::io(self.state_dir(), e))
    }

    /// What a checkout of a commit takes on disk, without build output; none where that would have to be fetched to know.
    pub fn checkout_bytes(&self, base: &CommitId) -> Result<Option<u64>, GitError> {
        if self.fetches_objects() {
            return Ok(None);
        }
        let tree: TreeId = self.tree_of(base)?;
        let ran = self.store().args(["ls-tree", "-r", "-z", "--format=%(objectsize)", tree.as_str()]).run()?;
        // A submodule has no size here.
        let sizes = ran.fields().filter_map(|field| String::from_utf8_lossy(field).trim().parse::<u64>().ok());
        Ok(Some(sizes.map(|size| size.div_ceil(BLOCK_BYTES) * BLOCK_BYTES).sum()))
    }
}

/// What a folder takes on disk, what is being deleted and what is named left out; what vanishes meanwhile takes nothing.
fn disk_bytes(root: &Path, but: &[PathBuf]) -> io::Result<u64> {
    /// `st_blocks` counts in these, whatever the file system's own blocks are.
    const COUNTED_BYTES: u64 = 512;
    let mut bytes = 0;
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            if dir == root && entry.file_name().to_string_lossy().contains(ASIDE) {
                continue;
            }
            if but.contains(&entry.path()) {
                continue;
            }
            bytes += meta.blocks() * COUNTED_BYTES;
            if meta.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(bytes)
}
