//! What the pool knows of a slot: a small file beside it, written before and after everything that is done to the slot,
//! and the lock under which slots are chosen and worktrees administered.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::config::write_whole;
use crate::fault;
use crate::ids::CommitId;
use crate::slot::{Class, Lease, PoolError, SlotId, SlotInfo};

/// A slot, as its file `slots/<n>.json` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    v: u32,
    pub(crate) slot: SlotId,
    pub(crate) class: Class,
    pub(crate) generation: u64,
    /// The folder under `<common>/worktrees` that is this slot's; none until the worktree is made.
    pub(crate) admin: Option<String>,
    /// The commit that the slot's index was brought to.
    pub(crate) base: CommitId,
    /// The files are as the index says, or a holder has changed them. Not so while they are being brought to a commit.
    pub(crate) ready: bool,
    /// Who holds it; several only for a snapshot.
    pub(crate) holders: Vec<String>,
    /// The setup that has been done in it.
    pub(crate) setup: Option<String>,
    /// The setup that its present holder wants.
    pub(crate) wanted: Option<String>,
    /// `refs/stash` when it was leased.
    pub(crate) stash: Option<CommitId>,
    /// Why it is not used any more.
    pub(crate) retired: Option<String>,
}

impl Record {
    pub(crate) fn new(slot: SlotId, class: Class, base: CommitId) -> Record {
        Record {
            v: 1,
            slot,
            class,
            generation: 0,
            admin: None,
            base,
            ready: false,
            holders: Vec::new(),
            setup: None,
            wanted: None,
            stash: None,
            retired: None,
        }
    }

    pub(crate) fn free(&self) -> bool {
        self.holders.is_empty() && self.retired.is_none()
    }

    pub(crate) fn lease(&self, holder: &str, root: &Path) -> Lease {
        Lease {
            slot: self.slot,
            path: path_of(root, self.slot),
            class: self.class,
            base: self.base.clone(),
            generation: self.generation,
            holder: holder.to_owned(),
            needs_setup: self.wanted.is_some() && self.wanted != self.setup,
        }
    }

    pub(crate) fn info(&self, root: &Path) -> SlotInfo {
        SlotInfo {
            slot: self.slot,
            class: self.class,
            path: path_of(root, self.slot),
            holder: self.holders.first().cloned(),
            retired: self.retired.clone(),
        }
    }

    pub(crate) fn load(root: &Path, slot: SlotId) -> Result<Option<Record>, PoolError> {
        let path = file_of(root, slot);
        match fs::read(&path) {
            Ok(bytes) => {
                let record = serde_json::from_slice(&bytes);
                record.map(Some).map_err(|e| PoolError::io(&path, e.into()))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(PoolError::io(&path, e)),
        }
    }

    pub(crate) fn load_all(root: &Path) -> Result<Vec<Record>, PoolError> {
        let mut slots = Vec::new();
        for entry in fs::read_dir(root).map_err(|e| PoolError::io(root, e))? {
            let entry = entry.map_err(|e| PoolError::io(root, e))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|n| n.strip_suffix(".json"));
            slots.extend(number.and_then(|n| n.parse().ok()).map(SlotId));
        }
        slots.sort();
        let records = slots.into_iter().map(|slot| Record::load(root, slot));
        records.filter_map(Result::transpose).collect()
    }

    pub(crate) fn store(&self, root: &Path) -> Result<(), PoolError> {
        let path = file_of(root, self.slot);
        let bytes = serde_json::to_vec(self).expect("a record of strings and numbers serialises");
        let written = fault::fails("slot.record.before").and_then(|()| write_whole(&path, &bytes));
        fault::point("slot.record.after");
        written.map_err(|e| PoolError::io(&path, e))
    }

    pub(crate) fn delete(&self, root: &Path) -> Result<(), PoolError> {
        let path = file_of(root, self.slot);
        fault::point("slot.record.delete");
        fs::remove_file(&path).map_err(|e| PoolError::io(&path, e))
    }
}

pub(crate) fn path_of(root: &Path, slot: SlotId) -> PathBuf {
    root.join(slot.to_string())
}

pub(crate) fn file_of(root: &Path, slot: SlotId) -> PathBuf {
    root.join(format!("{slot}.json"))
}

pub(crate) fn index_of(root: &Path, slot: SlotId) -> PathBuf {
    root.join(format!("{slot}.index"))
}

/// A lock over threads and processes alike, until dropped: every taker opens the file anew.
#[derive(Debug)]
pub(crate) struct Guard {
    file: File,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // At once, not when the last child that is just being started has closed its copy.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Guard {
    /// Waits for the lock. Holders do a few milliseconds of work, so there is no bound here; a dead one holds nothing.
    pub(crate) fn take(path: &Path) -> Result<Guard, PoolError> {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(|e| PoolError::io(path, e))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Guard { file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(PoolError::io(path, e.into())),
            }
        }
    }
}
