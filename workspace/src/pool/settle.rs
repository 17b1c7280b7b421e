//! The end of a holding: what is in a slot is brought to safety, and the slot is as its record says, free or retired.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::Pool;
use super::place::{Look, Place, head_of};
use super::record::{Record, file_of, index_of};
use crate::capture::CaptureOptions;
use crate::fault;
use crate::salvage::{SalvageError, Work, kept, salvage, stash_now};
use crate::slot::{Class, PoolError, Released, Salvaged};
use crate::walk::Walked;
use crate::warm::captured;

impl Pool {
    /// Ends the holding of a slot: salvage, back to the base, free; or retired.
    pub(super) fn settle(&self, record: &mut Record, holder: &str) -> Result<Released, PoolError> {
        fault::point("slot.settle");
        let mut released = Released::default();
        if self.gone(record) {
            self.discard(record)?;
            return Ok(released);
        }
        if record.admin.is_some() {
            match self.at_hand(record).and_then(|()| self.empty(record, holder)) {
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
        self.turns.back(record.class);
        Ok(released)
    }

    fn empty(&self, record: &mut Record, holder: &str) -> Result<Option<Salvaged>, PoolError> {
        let place = Place::of(&self.repo, &self.root, record);
        if !record.ready {
            // Not whole when its holder died: nobody has worked in it, and whoever gets it next has it reset. The commit that
            // it was on its way to may be gone: nothing kept it yet.
            return place.prove_links().map(|()| None);
        }
        let as_it_was = match record.class {
            // What it holds is reset when it is leased again, and nobody misses it.
            Class::Check => true,
            Class::Work | Class::Snapshot => self.kept_already(record, &place, holder)?,
        };
        // What is no worktree any more is left where it is, and named, even if what it holds can be saved.
        let saved = match as_it_was {
            true => None,
            false => self.save(record, holder).or_else(|e| place.prove_links().and(Err(e)))?,
        };
        place.prove_links()?;
        let base = record.base.clone();
        if !as_it_was {
            self.bring(record, &base)?;
        }
        // Whoever looks finds it on no branch, and nothing under way.
        Place::of(&self.repo, &self.root, record).leave(&base)?;
        Ok(saved)
    }

    /// Whether all that is in a slot is its base's, or what its holder's work was captured as and a ref keeps; found by one
    /// walk over its files. Then the slot stays as it is until it is leased again.
    fn kept_already(&self, record: &mut Record, place: &Place<'_>, holder: &str) -> Result<bool, PoolError> {
        if record.moving.is_some() {
            return self.was_on_its_way(record, place);
        }
        if self.repo.fills_submodules(place.path())? {
            return Ok(false);
        }
        // On a branch of its own at the base, the worker has left nothing there.
        if head_of(place)?.as_ref() != Some(&record.base) || stash_now(&self.repo)? != record.stash {
            return Ok(false);
        }
        let base = self.repo.tree_of(&record.base)?;
        let work = captured(place.path()).filter(|_| record.class == Class::Work);
        let (index, tree) = work.clone().unwrap_or_else(|| (place.index().to_owned(), base.clone()));
        let known = tree == base || kept(&self.repo, &tree, holder)?;
        if !known {
            return Ok(false);
        }
        let Look { changed, walked: Walked { suspects, hollow } } = place.look(&index)?;
        if changed || !self.repo.unexpressible_of(place.path(), &record.base, suspects)?.is_empty() {
            return Ok(false);
        }
        if let Some((index, tree)) = work {
            // First the record: with it alone, the index is merely not what the slot holds, and that is found out.
            record.left = Some(tree);
            record.store(&self.root)?;
            let own = index_of(&self.root, record.slot);
            fs::rename(&index, &own).map_err(|e| PoolError::io(&own, e))?;
        }
        if hollow {
            place.clean()?;
        }
        Ok(true)
    }

    /// Whether a free slot is just as it was given back. All that is in it was kept then, and whoever has removed that since
    /// did so on purpose.
    pub(super) fn as_left(&self, record: &Record, place: &Place<'_>) -> Result<bool, PoolError> {
        let certain = record.whole() && record.retired.is_none() && !self.repo.fills_submodules(place.path())?;
        if !certain || head_of(place)?.as_ref() != Some(&record.base) {
            return Ok(false);
        }
        if stash_now(&self.repo)? != record.stash {
            return Ok(false);
        }
        let Look { changed, walked } = place.look(place.index())?;
        Ok(!changed && self.repo.unexpressible_of(place.path(), &record.base, walked.suspects)?.is_empty())
    }

    /// Whether a slot whose way to a commit was cut off holds nothing but files of where it came from and of where it was
    /// going. A file that is missing was just being replaced.
    fn was_on_its_way(&self, record: &mut Record, place: &Place<'_>) -> Result<bool, PoolError> {
        let Some(to) = record.moving.clone() else {
            return Ok(false);
        };
        // Nothing kept that commit yet: where it is gone, what the slot holds is put aside as it is.
        let Ok(to) = self.repo.tree_of(&to) else { return Ok(false) };
        let from = record.left.clone().map_or_else(|| self.repo.tree_of(&record.base), Ok)?;
        let found = self.repo.capture(place.path(), &record.base, &CaptureOptions::default());
        let found = found.map_err(|e| PoolError::capture(record.slot, e))?.tree;
        for change in self.repo.changes(&from, &found)? {
            for path in change.from.iter().chain([&change.path]) {
                let now = self.repo.blob_of(&found, path)?;
                if now.is_some() && now != self.repo.blob_of(&to, path)? {
                    return Ok(false);
                }
            }
        }
        // Nothing of anybody's is in it: it is reset when it is leased again.
        (record.ready, record.moving) = (false, None);
        Ok(true)
    }

    /// Brings what is in a slot to safety.
    pub(super) fn save(&self, record: &Record, holder: &str) -> Result<Option<Salvaged>, PoolError> {
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
        let made = salvage(&self.repo, &work).map_err(|e| match e {
            SalvageError::Capture(e) => PoolError::capture(record.slot, e),
            SalvageError::Git(e) => PoolError::Git(e),
            SalvageError::Ref(e) => PoolError::Ref(e),
        })?;
        let first = made.into_iter().next();
        Ok(first.map(|(name, commit)| Salvaged { slot: record.slot, name, commit }))
    }
}
