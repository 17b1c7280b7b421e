//! The pool of slots at fixed paths. Recycling is what makes a slot cheap (deleting and creating worktrees is what costs);
//! salvage before every reset is what makes it safe.
//!
//! The truth is on disk, a record per slot (`record`); choosing a slot happens under a lock that other processes share,
//! the slow work on it outside, by the thread that chose it. A slot whose state cannot be proved or whose content cannot
//! be brought to safety is retired: named, left as it is, never used again.

mod choose;
mod disk;
mod distance;
mod layers;
mod owner;
mod place;
mod print;
mod record;
mod settle;
mod template;
mod trash;
mod turns;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fault;
use crate::ids::CommitId;
use crate::repo::Repo;
use crate::slot::{Class, Lease, Owner, PoolError, PoolOptions, Released, Salvaged, SlotId, SlotInfo, Want};
use crate::submodule;
use crate::warm::{SLOTS, forget_captured};
use distance::Distances;
pub use layers::is_elsewhere;
use place::{Look, Place, head_of};
use record::{Guard, Held, Record, path_of};
use trash::{ASIDE, Trash};
use turns::Turns;

/// Who holds a slot while it is being removed.
const REMOVAL: &str = "removal";

/// The slots of a repository.
#[derive(Debug)]
pub struct Pool {
    repo: Repo,
    root: PathBuf,
    options: PoolOptions,
    own: Owner,
    distances: Distances,
    trash: Trash,
    /// Taken while a snapshot changes hands, so that a second taker of one being made waits and shares it.
    snapshots: Mutex<()>,
    /// Who makes a slot, and who waits for one.
    turns: Turns,
    /// Taken while a template is looked for, made or dropped.
    templates: Mutex<()>,
}

impl Pool {
    /// The repository's pool, `slots/` in its state directory.
    pub fn open(repo: &Repo, o: PoolOptions) -> Result<Pool, PoolError> {
        let root = repo.state_dir().join(SLOTS);
        fs::create_dir_all(&root).map_err(|e| PoolError::io(&root, e))?;
        // What has to be mounted first is mended then.
        for record in Record::load_all(&root)?.iter().filter(|record| record.template.is_none()) {
            Place::of(repo, &root, record).mend(&record.base)?;
        }
        Ok(Pool {
            repo: repo.clone(),
            root,
            options: o,
            own: owner::own(),
            distances: Distances::default(),
            trash: Trash::default(),
            snapshots: Mutex::new(()),
            turns: Turns::default(),
            templates: Mutex::new(()),
        })
    }

    /// Gives a slot that holds exactly the wanted commit's files (and ignored ones from before): a free one of the class,
    /// the nearest to what is wanted, else a new one. A snapshot of a base is shared.
    pub fn lease(&self, w: &Want) -> Result<Lease, PoolError> {
        let _one = self.one_at_a_time(w.class);
        loop {
            let (mut record, _making) = self.choose(w)?;
            if record.holders.len() > 1 {
                return Ok(record.lease(&w.holder, &self.root));
            }
            let recycled = record.admin.is_some();
            match self.prepare(&mut record, w) {
                Ok(()) => return Ok(record.lease(&w.holder, &self.root)),
                // Every turn takes one slot out of use, so this ends with a new one.
                Err(e @ PoolError::Altered { .. }) if recycled => self.rebuild(&mut record, &e)?,
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

    /// The slot that a holder kept over a crash, untouched; none if it has none or got none whole, or somebody has deleted
    /// its folder.
    pub fn adopt(&self, holder: &str) -> Result<Option<Lease>, PoolError> {
        let held = |r: &Record| r.whole() && r.retired.is_none() && r.held_by(holder);
        if let Some(mut record) = Record::load_all(&self.root)?.into_iter().find(held) {
            self.at_hand(&mut record)?;
        }
        let _guard = self.guard()?;
        let Some(mut record) = Record::load_all(&self.root)?.into_iter().find(held) else {
            return Ok(None);
        };
        if self.gone(&record) {
            record.holders.retain(|held| held.by != holder);
            match record.holders.is_empty() {
                true => self.discard(&record)?,
                false => record.store(&self.root)?,
            }
            return Ok(None);
        }
        for held in record.holders.iter_mut().filter(|held| held.by == holder) {
            held.owner = Some(self.own);
        }
        record.store(&self.root)?;
        Ok(Some(record.lease(holder, &self.root)))
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
        self.bring(&mut record, to)?;
        Place::of(&self.repo, &self.root, &record).hand_over(to)
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
        self.bring_with(&mut record, &to, |place, to| place.scrub(to))?;
        Place::of(&self.repo, &self.root, &record).hand_over(&to)
    }

    /// Gives a slot back. What a worker left is salvaged, the files are brought back to the base and proved to be.
    pub fn release(&self, lease: Lease) -> Result<Released, PoolError> {
        let _one = self.one_at_a_time(lease.class);
        let mut record = self.held(&lease)?;
        if record.holders.len() > 1 {
            let at = record.holders.iter().position(|h| h.by == lease.holder);
            at.map(|at| record.holders.remove(at));
            record.store(&self.root)?;
            return Ok(Released::default());
        }
        self.settle(&mut record, &lease.holder)
    }

    /// Frees every slot whose holders are not among `keep`, or that is not whole, as after the death of an owner, salvaging
    /// what is in them; and has removals finished that were cut off. To be called while nobody of this process works in a
    /// slot; one that another living process holds stays with it.
    pub fn recover(&self, keep: &[String]) -> Result<Vec<Salvaged>, PoolError> {
        let _one = self.one_at_a_time(Class::Snapshot);
        self.sweep()?;
        self.sweep_layers()?;
        let mut salvaged = Vec::new();
        for mut record in Record::load_all(&self.root)? {
            let elsewhere = |h: &Held| h.owner.is_some_and(|owner| owner != self.own && owner.lives());
            // Nobody can go on in a slot that was being brought to a commit, nor where there is nothing.
            let gone = self.gone(&record);
            let stays = |h: &Held| elsewhere(h) || (record.whole() && !gone && keep.contains(&h.by));
            let Some(dead) = record.holders.iter().find(|h| !stays(h)).map(|h| h.by.clone()) else {
                continue;
            };
            if record.holders.iter().any(stays) {
                let staying = record.holders.iter().filter(|h| stays(h)).cloned().collect();
                record.holders = staying;
                record.store(&self.root)?;
            } else {
                salvaged.extend(self.settle(&mut record, &dead)?.salvaged);
            }
        }
        Ok(salvaged)
    }

    /// Waits until what was removed is deleted, too.
    pub fn finish(&self) {
        self.trash.finish();
    }

    /// All slots, by number; none when the pool cannot be read.
    pub fn list(&self) -> Vec<SlotInfo> {
        let records = Record::load_all(&self.root).unwrap_or_else(|e| {
            tracing::warn!(error = %e, "the pool cannot be listed");
            Vec::new()
        });
        records.iter().map(|r| r.info(&self.root, self.stored(r))).collect()
    }

    /// Removes a slot that nobody holds, salvaging what is in it. A retired one goes only if nothing in it would be lost.
    /// Its files are moved aside and deleted beside whatever comes next (`finish`).
    pub fn remove(&self, slot: SlotId) -> Result<Option<Salvaged>, PoolError> {
        let busy = |why: &str| PoolError::Busy { slot, why: why.to_owned() };
        let mut record = {
            let _guard = self.guard()?;
            let mut record = Record::load(&self.root, slot)?.ok_or_else(|| busy("there is no such slot"))?;
            if let Some(held) = record.holders.first().filter(|h| h.by != REMOVAL) {
                return Err(busy(&format!("{} holds it", held.by)));
            }
            record.holders = vec![self.held_now(REMOVAL)];
            record.generation += 1;
            record.store(&self.root)?;
            record
        };
        match self.at_hand(&mut record).and_then(|()| self.empty_and_remove(&record)) {
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
        if record.admin.is_none() && record.retired.is_some() && place.path().exists() {
            let why = "nothing is known of it".to_owned();
            return Err(PoolError::Unproven { path: place.path().to_owned(), why });
        }
        if record.admin.is_some() && !self.gone(record) {
            if place.path().join(".git").is_dir() {
                let paths = vec![".git".to_owned()];
                return Err(PoolError::Unexpressible { slot: record.slot, paths });
            }
            if record.ready && record.class != Class::Check && !self.as_left(record, &place)? {
                salvaged = self.save(record, &format!("slot/{}", record.slot))?;
            }
        }
        self.discard(record)?;
        Ok(salvaged)
    }

    /// Takes a slot apart whose content is in safety.
    fn discard(&self, record: &Record) -> Result<(), PoolError> {
        self.forget_captured(record.slot)?;
        self.lift(record)?;
        let aside = Place::of(&self.repo, &self.root, record).remove(record.generation)?;
        record.delete(&self.root)?;
        self.trash.delete(aside);
        Ok(())
    }

    fn held_now(&self, holder: &str) -> Held {
        Held { by: holder.to_owned(), owner: Some(self.own) }
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
        let good = |r: &Record| r.generation == lease.generation && r.held_by(&lease.holder);
        let not = || PoolError::NotHeld { slot: lease.slot, holder: lease.holder.clone() };
        record.filter(good).ok_or_else(not)
    }

    /// Makes a chosen slot what is wanted.
    fn prepare(&self, record: &mut Record, w: &Want) -> Result<(), PoolError> {
        self.forget_captured(record.slot)?;
        let fresh = record.admin.is_none();
        if fresh && self.lays() {
            self.lay(record, w)?;
        } else if fresh {
            self.lift(record)?;
            record.template = None;
            fault::point("slot.make");
            let name = Place::of(&self.repo, &self.root, record).make(&w.base)?;
            fault::point("slot.made");
            record.admin = Some(name);
            record.store(&self.root)?;
        } else {
            self.at_hand(record)?;
        }
        let place = Place::of(&self.repo, &self.root, record);
        match &record.print {
            Some(print) if !fresh => {
                place.prove_links()?;
                place.prove_print(print)?;
            }
            Some(_) | None => place.prove()?,
        }
        if record.print.is_none() {
            record.print = Some(place.print()?);
        }
        // Of a new slot only one over a template has an index that tells what it holds.
        if (!fresh || record.template.is_some()) && self.shifted(record, &place, w)? {
            (record.base, record.left) = (w.base.clone(), None);
        } else {
            if !fresh && record.ready && record.class != Class::Check {
                // Somebody wrote into it while it was free: a process that its last holder left, or a person.
                self.save(record, &format!("slot/{}", record.slot))?;
            }
            self.bring(record, &w.base)?;
        }
        let place = Place::of(&self.repo, &self.root, record);
        if self.options.clean_ignored && !fresh {
            record.setup = None;
            place.clear_ignored()?;
        } else if fresh {
            fault::fails("slot.include").map_err(|e| PoolError::io(&self.root, e))?;
            place.include()?;
        }
        place.hand_over(&w.base)?;
        record.moving = None;
        record.store(&self.root)?;
        fault::point("slot.prepared");
        Ok(())
    }

    /// Brings a slot that is as its index says to what is wanted, and proves that it is that. `false` = it was not; then
    /// nothing of what it holds was overwritten.
    fn shifted(&self, record: &Record, place: &Place<'_>, w: &Want) -> Result<bool, PoolError> {
        let there = record.base == w.base && record.left.is_none();
        fault::point("slot.shift");
        // What is changed in a submodule does not make the slot itself differ.
        if self.repo.fills_submodules(place.path())? {
            return Ok(false);
        }
        if !record.ready || !(there || place.shift(&w.base)?) {
            return Ok(false);
        }
        let Look { changed, walked } = place.look(place.index())?;
        // A work slot or a snapshot was rid of those when it was given back.
        if !changed && walked.hollow && record.class == Class::Check {
            place.clean()?;
        }
        Ok(!changed)
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
        self.forget_captured(record.slot)?;
        let from = std::mem::replace(&mut record.base, to.clone());
        (record.ready, record.left, record.moving) = (false, None, None);
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

    /// Puts a new slot in the place of one whose git folder is not to be trusted, after its content is in safety.
    fn rebuild(&self, record: &mut Record, why: &PoolError) -> Result<(), PoolError> {
        tracing::warn!(slot = %record.slot, reason = %why, "slot made anew");
        match self.empty_and_remove(record) {
            Ok(_) => Ok(()),
            Err(e @ (PoolError::Unproven { .. } | PoolError::Unexpressible { .. })) => self.retire(record, &e),
            Err(e) => Err(e),
        }
    }

    fn retire(&self, record: &mut Record, why: &PoolError) -> Result<(), PoolError> {
        tracing::warn!(slot = %record.slot, reason = %why, "slot retired");
        record.retired = Some(why.to_string());
        record.holders.clear();
        record.store(&self.root)
    }

    fn forget_captured(&self, slot: SlotId) -> Result<(), PoolError> {
        forget_captured(&path_of(&self.root, slot)).map_err(|e| PoolError::io(&self.root, e))
    }

    /// Deletes what operations that were cut off left: indexes and records of ours that were being written, slots moved
    /// aside after their salvage.
    fn sweep(&self) -> Result<(), PoolError> {
        /// What our temporary folders and files are called; records are written beside the slots.
        const MARKS: [&str; 2] = ["index-", ".tmp"];
        for dir in [self.repo.state_dir(), self.root.as_path()] {
            for entry in fs::read_dir(dir).map_err(|e| PoolError::io(dir, e))? {
                let path = entry.map_err(|e| PoolError::io(dir, e))?.path();
                let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                if path.is_dir() && name.contains(ASIDE) && dir == self.root {
                    self.trash.delete(path);
                } else if MARKS.iter().any(|mark| name.starts_with(mark)) {
                    let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                    removed.map_err(|e| PoolError::io(&path, e))?;
                }
            }
        }
        Ok(())
    }
}

/// Who holds the slots of a state directory; none where that cannot be read.
pub(crate) fn holders_in(state: &Path) -> Option<Vec<String>> {
    let root = state.join(SLOTS);
    let records = if root.exists() { Record::load_all(&root).ok()? } else { Vec::new() };
    Some(records.into_iter().flat_map(|record| record.holders).map(|held| held.by).collect())
}

#[cfg(test)]
mod tests;
