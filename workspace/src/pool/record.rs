//! What the pool knows of a slot: a small file beside it, written before and after everything that is done to the slot,
//! and the lock under which slots are chosen and worktrees administered.
//!
//! The files are replaced whole but not synced. After a power cut an older one may be there, or none of its bytes: the
//! first is found out when the slot is proved, since what its files are beyond the record is salvaged then, and the second
//! takes the slot out of use. Syncing would buy nothing, for the files that a worker wrote are not synced either.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::config::write_whole;
use crate::fault;
use crate::ids::{CommitId, TreeId};
use crate::slot::{Class, Lease, Owner, PoolError, SlotId, SlotInfo};

/// The version of the file.
const VERSION: u32 = 2;

/// One who holds a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HeldForm")]
pub(crate) struct Held {
    /// As in `run/step/attempt`.
    pub(crate) by: String,
    /// The process that leased it; not known of records of version 1.
    pub(crate) owner: Option<Owner>,
}

/// A holder as files have it: version 1 had its name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum HeldForm {
    Name(String),
    Full { by: String, owner: Option<Owner> },
}

impl From<HeldForm> for Held {
    fn from(form: HeldForm) -> Held {
        match form {
            HeldForm::Name(by) => Held { by, owner: None },
            HeldForm::Full { by, owner } => Held { by, owner },
        }
    }
}

/// A slot, as its file `slots/<n>.json` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    v: u32,
    pub(crate) slot: SlotId,
    pub(crate) class: Class,
    pub(crate) generation: u64,
    /// The folder under `<common>/worktrees` that is this slot's; none until the worktree is made.
    pub(crate) admin: Option<String>,
    /// The commit that the slot was brought to.
    pub(crate) base: CommitId,
    /// The tree of the slot's index where it is not the base's: what its last holder left, which a ref keeps.
    #[serde(default)]
    pub(crate) left: Option<TreeId>,
    /// The files are as the index says, or a holder has changed them. Not so while they are reset to a commit.
    pub(crate) ready: bool,
    /// The commit that the slot is on its way to, with nothing of a holder's overwritten on the way.
    #[serde(default)]
    pub(crate) moving: Option<CommitId>,
    /// Who holds it; several only for a snapshot.
    pub(crate) holders: Vec<Held>,
    /// The setup that has been done in it.
    pub(crate) setup: Option<String>,
    /// The setup that its present holder wants.
    pub(crate) wanted: Option<String>,
    /// `refs/stash` when it was leased.
    pub(crate) stash: Option<CommitId>,
    /// The template that the slot is mounted over; none for a checkout.
    #[serde(default)]
    pub(crate) template: Option<u32>,
    /// What the worktree's own git folder was like when it was made (see `print`).
    #[serde(default)]
    pub(crate) print: Option<String>,
    /// Why it is not used any more.
    pub(crate) retired: Option<String>,
}

impl Record {
    pub(crate) fn new(slot: SlotId, class: Class, base: CommitId) -> Record {
        Record {
            v: VERSION,
            slot,
            class,
            generation: 0,
            admin: None,
            base,
            left: None,
            ready: false,
            moving: None,
            holders: Vec::new(),
            setup: None,
            wanted: None,
            stash: None,
            template: None,
            print: None,
            retired: None,
        }
    }

    /// A slot whose file says nothing: whatever is in it stays.
    fn lost(slot: SlotId, error: &serde_json::Error) -> Record {
        let nothing = "0".repeat(40).parse().expect("forty digits are an id");
        let why = format!("what is known of it was lost, as by a power cut ({error})");
        Record { retired: Some(why), ..Record::new(slot, Class::Work, nothing) }
    }

    pub(crate) fn free(&self) -> bool {
        self.holders.is_empty() && self.retired.is_none()
    }

    /// Whether somebody may go on in it, or use it again without more than a proof.
    pub(crate) fn whole(&self) -> bool {
        self.ready && self.moving.is_none()
    }

    pub(crate) fn held_by(&self, holder: &str) -> bool {
        self.holders.iter().any(|h| h.by == holder)
    }

    pub(crate) fn lease(&self, holder: &str, root: &Path) -> Lease {
        let owner = self.holders.iter().find(|h| h.by == holder).and_then(|h| h.owner);
        Lease {
            owner,
            slot: self.slot,
            path: path_of(root, self.slot),
            class: self.class,
            base: self.base.clone(),
            generation: self.generation,
            holder: holder.to_owned(),
            needs_setup: self.wanted.is_some() && self.wanted != self.setup,
        }
    }

    pub(crate) fn info(&self, root: &Path, stored: PathBuf) -> SlotInfo {
        SlotInfo {
            slot: self.slot,
            class: self.class,
            path: path_of(root, self.slot),
            stored,
            holder: self.holders.first().map(|h| h.by.clone()),
            retired: self.retired.clone(),
        }
    }

    pub(crate) fn load(root: &Path, slot: SlotId) -> Result<Option<Record>, PoolError> {
        let path = file_of(root, slot);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|e| Record::lost(slot, &e)))),
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
        let replaced = fault::fails("slot.record.before").and_then(|()| {
            // Where there is no older one to fall back to, this one is synced.
            if !path.exists() {
                return write_whole(&path, &bytes);
            }
            let mut file = tempfile::NamedTempFile::new_in(root)?;
            io::Write::write_all(&mut file, &bytes)?;
            file.persist(&path).map(drop).map_err(|e| e.error)
        });
        fault::point("slot.record.after");
        replaced.map_err(|e| PoolError::io(&path, e))
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
