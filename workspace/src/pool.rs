//! The pool of slots at fixed paths. Recycling is what makes a slot cheap (deleting and creating worktrees is what costs);
//! salvage before every reset is what makes it safe.
//!
//! The truth is on disk, a record per slot (`record`); choosing a slot happens under a lock that other processes share,
//! the slow work on it outside, by the thread that chose it. A slot whose state cannot be proved or whose content cannot
//! be brought to safety is retired: named, left as it is, never used again.

mod place;
mod record;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fault;
use crate::ids::CommitId;
use crate::repo::Repo;
use crate::salvage::{SalvageError, Work, salvage};
use crate::slot::{Class, Lease, PoolError, PoolOptions, Released, Salvaged, SlotId, SlotInfo, Want};
use crate::submodule;
use place::{Place, head_of};
use record::{Guard, Record, file_of, path_of};

/// Who holds a slot while it is being removed.
const REMOVAL: &str = "removal";

/// The slots of a repository.
#[derive(Debug)]
pub struct Pool {
    repo: Repo,
    root: PathBuf,
    options: PoolOptions,
    /// Taken while a snapshot changes hands, so that a second taker of one being made waits and shares it.
    snapshots: Mutex<()>,
}

impl Pool {
    /// The repository's pool, `slots/` in its state directory.
    pub fn open(repo: &Repo, o: PoolOptions) -> Result<Pool, PoolError> {
        let root = repo.state_dir().join("slots");
        fs::create_dir_all(&root).map_err(|e| PoolError::io(&root, e))?;
        Ok(Pool { repo: repo.clone(), root, options: o, snapshots: Mutex::new(()) })
    }

    /// Gives a slot that holds exactly the wanted commit's files (and ignored ones from before): a free one of the class,
    /// the nearest to what is wanted, else a new one. A snapshot of a base is shared.
    pub fn lease(&self, w: &Want) -> Result<Lease, PoolError> {
        let _one = self.one_at_a_time(w.class);
        loop {
            let mut record = self.choose(w)?;
            if record.holders.len() > 1 {
                return Ok(record.lease(&w.holder, &self.root));
            }
            let recycled = record.admin.is_some();
            match self.prepare(&mut record, w) {
                Ok(()) => return Ok(record.lease(&w.holder, &self.root)),
                // Every turn takes one slot out of use, so this ends with a new one.
                Err(e @ (PoolError::Unproven { .. } | PoolError::Unexpressible { .. })) if recycled => {
                    self.retire(&mut record, &e)?;
                }
                Err(e) => {
                    record.holders.clear();
                    // Where the disk is full this fails for the same reason; then `recover` frees the slot.
                    if let Err(again) = record.store(&self.root) {
                        tracing::warn!(slot = %record.slot, error = %again, "the slot stays held");
                    }
                    return Err(e);
                }
            }
        }
    }

    /// The slot that a holder kept over a crash, untouched; none if it has none or got none whole.
    pub fn adopt(&self, holder: &str) -> Result<Option<Lease>, PoolError> {
        let _guard = self.guard()?;
        let held = |r: &Record| r.ready && r.retired.is_none() && r.holders.iter().any(|h| h == holder);
        let record = Record::load_all(&self.root)?.into_iter().find(held);
        Ok(record.map(|r| r.lease(holder, &self.root)))
    }

    /// Where a slot lies.
    pub fn path_of(&self, slot: SlotId) -> PathBuf {
        path_of(&self.root, slot)
    }

    /// The commit that HEAD of a held slot names; none when it is unborn.
    pub fn head(&self, lease: &Lease) -> Result<Option<CommitId>, PoolError> {
        let record = self.held(lease)?;
        Ok(head_of(&Place::of(&self.repo, &self.root, &record))?)
    }

    /// Records that the setup of this key is done in the slot.
    pub fn setup_done(&self, lease: &Lease, key: &str) -> Result<(), PoolError> {
        let _one = self.one_at_a_time(lease.class);
        let mut record = self.held(lease)?;
        record.setup = Some(key.to_owned());
        record.store(&self.root)
    }

    /// Brings a held slot to another commit; ignored files stay. A work slot is salvaged first. Afterwards it holds just
    /// the commit's files, or this is an error.
    pub fn reset(&self, lease: &Lease, to: &CommitId) -> Result<(), PoolError> {
        let mut record = self.held(lease)?;
        if record.class == Class::Snapshot {
            return Err(PoolError::Busy { slot: record.slot, why: "a snapshot stays at its commit".to_owned() });
        }
        if record.class == Class::Work && record.ready {
            self.save(&record, &lease.holder)?;
        }
        self.bring(&mut record, to)
    }

    /// Makes a held check slot as good as new: what its commit does not have goes, ignored files too, and the setup with
    /// them; `.worktreeinclude` is copied again.
    pub fn scrub(&self, lease: &Lease) -> Result<(), PoolError> {
        let mut record = self.held(lease)?;
        if record.class != Class::Check {
            return Err(PoolError::Busy { slot: record.slot, why: "only a check slot is scrubbed".to_owned() });
        }
        let to = record.base.clone();
        record.setup = None;
        self.bring_with(&mut record, &to, |place, to| place.scrub(to))
    }

    /// Gives a slot back. What a worker left is salvaged, the files are brought back to the base and proved to be.
    pub fn release(&self, lease: Lease) -> Result<Released, PoolError> {
        let _one = self.one_at_a_time(lease.class);
        let mut record = self.held(&lease)?;
        if record.holders.len() > 1 {
            let at = record.holders.iter().position(|h| *h == lease.holder);
            at.map(|at| record.holders.remove(at));
            record.store(&self.root)?;
            return Ok(Released::default());
        }
        self.settle(&mut record, &lease.holder)
    }

    /// Frees every slot whose holders are not among `keep`, or that is not whole, as after the death of an owner, salvaging
    /// what is in them; and finishes removals that were cut off. To be called while nobody works in a slot.
    pub fn recover(&self, keep: &[String]) -> Result<Vec<Salvaged>, PoolError> {
        let _one = self.one_at_a_time(Class::Snapshot);
        self.sweep()?;
        let mut salvaged = Vec::new();
        for mut record in Record::load_all(&self.root)? {
            // Nobody can go on in a slot that was being brought to a commit.
            let kept = |holder: &String| record.ready && keep.contains(holder);
            let Some(dead) = record.holders.iter().find(|h| !kept(h)).cloned() else {
                continue;
            };
            if record.holders.iter().any(kept) {
                record.holders.retain(|h| keep.contains(h));
                record.store(&self.root)?;
            } else if record.admin.is_some() && !path_of(&self.root, record.slot).exists() {
                Place::of(&self.repo, &self.root, &record).remove(record.generation)?;
                record.delete(&self.root)?;
            } else {
                salvaged.extend(self.settle(&mut record, &dead)?.salvaged);
            }
        }
        Ok(salvaged)
    }

    /// All slots, by number; none when the pool cannot be read.
    pub fn list(&self) -> Vec<SlotInfo> {
        let records = Record::load_all(&self.root).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "the pool cannot be listed");
            Vec::new()
        });
        records.iter().map(|r| r.info(&self.root)).collect()
    }

    /// Removes a slot that nobody holds, salvaging what is in it. A retired one goes only if nothing in it would be lost.
    pub fn remove(&self, slot: SlotId) -> Result<Option<Salvaged>, PoolError> {
        let busy = |why: &str| PoolError::Busy { slot, why: why.to_owned() };
        let mut record = {
            let _guard = self.guard()?;
            let mut record = Record::load(&self.root, slot)?.ok_or_else(|| busy("there is no such slot"))?;
            if let Some(holder) = record.holders.first().filter(|h| *h != REMOVAL) {
                return Err(busy(&format!("{holder} holds it")));
            }
            record.holders = vec![REMOVAL.to_owned()];
            record.generation += 1;
            record.store(&self.root)?;
            record
        };
        match self.empty_and_remove(&record) {
            Ok(salvaged) => Ok(salvaged),
            Err(e) => {
                record.holders.clear();
                record.store(&self.root)?;
                Err(e)
            }
        }
    }

    fn empty_and_remove(&self, record: &Record) -> Result<Option<Salvaged>, PoolError> {
        let place = Place::of(&self.repo, &self.root, record);
        let mut salvaged = None;
        if record.admin.is_some() && place.path().exists() {
            if place.path().join(".git").is_dir() {
                let paths = vec![".git".to_owned()];
                return Err(PoolError::Unexpressible { slot: record.slot, paths });
            }
            if record.ready && record.class != Class::Check {
                (salvaged, _) = self.save(record, &format!("slot/{}", record.slot))?;
            }
        }
        place.remove(record.generation)?;
        record.delete(&self.root)?;
        Ok(salvaged)
    }

    /// The record of a work or check slot is its holder's alone, that of a snapshot everybody's who shares it.
    fn one_at_a_time(&self, class: Class) -> Option<MutexGuard<'_, ()>> {
        let lock = || self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        (class == Class::Snapshot).then(lock)
    }

    fn guard(&self) -> Result<Guard, PoolError> {
        Guard::take(&self.root.join("lock"))
    }

    /// The record of a lease that is still good.
    fn held(&self, lease: &Lease) -> Result<Record, PoolError> {
        let record = Record::load(&self.root, lease.slot)?;
        let good = |r: &Record| r.generation == lease.generation && r.holders.contains(&lease.holder);
        let not = || PoolError::NotHeld { slot: lease.slot, holder: lease.holder.clone() };
        record.filter(good).ok_or_else(not)
    }

    /// Picks a slot and marks it held, before anything is done to it.
    fn choose(&self, w: &Want) -> Result<Record, PoolError> {
        let stash = self.repo.read_ref("refs/stash")?;
        let _guard = self.guard()?;
        let records = Record::load_all(&self.root)?;
        let last = records.last().map_or(0, |r| r.slot.0);
        let fits = |r: &Record| r.admin.is_none() || self.repo.has_wanted_shape(&path_of(&self.root, r.slot));
        let same = |r: &Record| r.class == w.class && r.retired.is_none() && fits(r);
        let shared = |r: &Record| same(r) && r.class == Class::Snapshot && r.base == w.base && r.ready && !r.free();
        if let Some(mut record) = records.iter().find(|r| shared(r)).cloned() {
            record.holders.push(w.holder.clone());
            record.store(&self.root)?;
            return Ok(record);
        }
        let distance = |r: &&Record| (r.base != w.base, w.setup_key.is_some() && r.setup != w.setup_key, r.slot);
        let free = records.into_iter().filter(|r| same(r) && r.free()).collect::<Vec<_>>();
        let mut record = match free.iter().min_by_key(distance).cloned() {
            Some(record) => record,
            None => {
                self.within_quota()?;
                Record::new(SlotId(last + 1), w.class, w.base.clone())
            }
        };
        record.holders = vec![w.holder.clone()];
        record.generation += 1;
        record.wanted = w.setup_key.clone();
        record.stash = stash;
        fault::point("slot.choose");
        record.store(&self.root)?;
        Ok(record)
    }

    fn within_quota(&self) -> Result<(), PoolError> {
        let Some(bytes_max) = self.options.disk_bytes_max else {
            return Ok(());
        };
        let bytes = disk_bytes(&self.root).map_err(|e| PoolError::io(&self.root, e))?;
        if bytes >= bytes_max {
            return Err(PoolError::Quota { bytes, bytes_max });
        }
        Ok(())
    }

    /// Makes a chosen slot what is wanted.
    fn prepare(&self, record: &mut Record, w: &Want) -> Result<(), PoolError> {
        let fresh = record.admin.is_none();
        if fresh {
            fault::point("slot.make");
            let name = Place::of(&self.repo, &self.root, record).make(&w.base)?;
            fault::point("slot.made");
            record.admin = Some(name);
            record.store(&self.root)?;
        }
        let place = Place::of(&self.repo, &self.root, record);
        place.prove()?;
        let dirty = fresh || !record.ready || !place.dirt()?.is_empty();
        if dirty && record.ready && record.class != Class::Check {
            // Somebody wrote into it while it was free: a process that its last holder left, or a person.
            self.save(record, &format!("slot/{}", record.slot))?;
        }
        if dirty || record.base != w.base {
            self.bring(record, &w.base)?;
        } else if self.repo.fills_submodules(place.path())? {
            // What is changed in them does not make the slot itself differ.
            submodule::fill(&self.repo, place.path(), &w.base)?;
        }
        if fresh {
            fault::fails("slot.include").map_err(|e| PoolError::io(&self.root, e))?;
            Place::of(&self.repo, &self.root, record).include()?;
        }
        fault::point("slot.prepared");
        Ok(())
    }

    /// Checks a commit out in a slot whose content is in safety.
    fn bring(&self, record: &mut Record, to: &CommitId) -> Result<(), PoolError> {
        self.bring_with(record, to, |place, to| place.bring(to))
    }

    fn bring_with(
        &self,
        record: &mut Record,
        to: &CommitId,
        how: impl FnOnce(&Place<'_>, &CommitId) -> Result<(), PoolError>,
    ) -> Result<(), PoolError> {
        record.ready = false;
        let from = std::mem::replace(&mut record.base, to.clone());
        record.store(&self.root)?;
        let place = Place::of(&self.repo, &self.root, record);
        let filled = self.repo.fills_submodules(place.path())?;
        if filled {
            submodule::leave(&self.repo, place.path(), &from, to)?;
        }
        how(&place, to)?;
        if filled {
            submodule::fill(&self.repo, place.path(), to)?;
        }
        record.ready = true;
        record.store(&self.root)
    }

    /// Ends the holding of a slot: salvage, back to the base, free; or retired.
    fn settle(&self, record: &mut Record, holder: &str) -> Result<Released, PoolError> {
        fault::point("slot.settle");
        let mut released = Released::default();
        if record.admin.is_some() {
            match self.empty(record, holder) {
                Ok(salvaged) => released.salvaged = salvaged,
                Err(e @ (PoolError::Unproven { .. } | PoolError::Unexpressible { .. })) => {
                    self.retire(record, &e)?;
                    released.retired.clone_from(&record.retired);
                    return Ok(released);
                }
                Err(e) => return Err(e),
            }
        }
        record.holders.clear();
        record.wanted = None;
        record.store(&self.root)?;
        Ok(released)
    }

    fn empty(&self, record: &mut Record, holder: &str) -> Result<Option<Salvaged>, PoolError> {
        let place = Place::of(&self.repo, &self.root, record);
        let saved = match record.class {
            // Not whole when its holder died: nobody has worked in it.
            Class::Work | Class::Check | Class::Snapshot if !record.ready => None,
            Class::Check => None,
            // What cannot be saved because the slot is no worktree any more is left where it is, and named.
            Class::Work => Some(self.save(record, holder).or_else(|e| place.prove().and(Err(e)))?),
            Class::Snapshot if self.untouched(record, &place)? => return Ok(None),
            Class::Snapshot => Some(self.save(record, holder)?),
        };
        place.prove()?;
        let (salvaged, untouched) = saved.unwrap_or_default();
        if untouched && place.tidy(&record.base)? {
            return Ok(salvaged);
        }
        let base = record.base.clone();
        self.bring(record, &base)?;
        Ok(salvaged)
    }

    /// Whether a slot holds its base's files and ignored ones, nothing else; special files too are looked for.
    fn untouched(&self, record: &Record, place: &Place<'_>) -> Result<bool, PoolError> {
        Ok(place.dirt()?.is_empty() && self.repo.unexpressible(place.path(), &record.base)?.is_empty())
    }

    /// Brings what is in a slot to safety; says, too, whether it holds nothing but its base.
    fn save(&self, record: &Record, holder: &str) -> Result<(Option<Salvaged>, bool), PoolError> {
        let place = Place::of(&self.repo, &self.root, record);
        // This crate reads no clock: the time of a salvage is that of the slot's record, as the file system stamped it.
        let file = file_of(&self.root, record.slot);
        let time_s = file.metadata().map_err(|e| PoolError::io(&file, e))?.mtime();
        let work = Work {
            path: place.path(),
            base: &record.base,
            head: head_of(&place)?,
            holder,
            stash: record.stash.as_ref(),
            time_s,
        };
        let saved = salvage(&self.repo, &work).map_err(|e| match e {
            SalvageError::Capture(e) => PoolError::capture(record.slot, e),
            SalvageError::Git(e) => PoolError::Git(e),
            SalvageError::Ref(e) => PoolError::Ref(e),
        })?;
        let first = saved.made.into_iter().next();
        Ok((first.map(|(name, commit)| Salvaged { slot: record.slot, name, commit }), saved.untouched))
    }

    fn retire(&self, record: &mut Record, why: &PoolError) -> Result<(), PoolError> {
        tracing::warn!(slot = %record.slot, reason = %why, "slot retired");
        record.retired = Some(why.to_string());
        record.holders.clear();
        record.store(&self.root)
    }

    /// Deletes what operations that were cut off left: indexes of ours, slots moved aside after their salvage.
    fn sweep(&self) -> Result<(), PoolError> {
        for (dir, mark) in [(self.repo.state_dir(), "index-"), (self.root.as_path(), ".gone-")] {
            for entry in fs::read_dir(dir).map_err(|e| PoolError::io(dir, e))? {
                let path = entry.map_err(|e| PoolError::io(dir, e))?.path();
                let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                if name.contains(mark) && path.is_dir() {
                    fs::remove_dir_all(&path).map_err(|e| PoolError::io(&path, e))?;
                }
            }
        }
        Ok(())
    }
}

/// What a folder takes on disk; what vanishes meanwhile takes nothing.
fn disk_bytes(root: &Path) -> std::io::Result<u64> {
    /// `st_blocks` counts in these, whatever the file system's own blocks are.
    const BLOCK_BYTES: u64 = 512;
    let mut bytes = 0;
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * BLOCK_BYTES;
            if meta.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
