//! Which slot somebody gets: the free one of the class that is made ready soonest, else a new one if there is room.

use std::collections::BTreeMap;

use super::record::{Record, path_of};
use super::turns::Making;
use super::{Pool, Want};
use crate::fault;
use crate::ids::TreeId;
use crate::overlay;
use crate::salvage::stash_now;
use crate::slot::{Class, PoolError, SlotId};

/// What a slot costs to make ready: a setup that has to be run again outweighs every checkout.
type Cost = (bool, usize, SlotId);

impl Pool {
    /// Picks a slot and marks it held, before anything is done to it. Who makes a new one is the only one of the class to do
    /// so (see `turns`).
    pub(super) fn choose(&self, w: &Want) -> Result<(Record, Option<Making<'_>>), PoolError> {
        if let Some(record) = self.pick(w, false)? {
            return Ok((record, None));
        }
        let waiting = self.turns.wait(w.class);
        loop {
            // Nobody waits for another's slot, either, where a new one is a mount and no checkout.
            let cheap = self.lays() && self.template_at_hand(&w.base)?;
            let making = waiting.turn(cheap || self.is_alone(w.class)?);
            if let Some(record) = self.pick(w, false)? {
                return Ok((record, None));
            }
            if making.is_some() {
                self.room_for(w)?;
                let record = self.pick(w, true)?.expect("a new one can always be named");
                return Ok((record, making));
            }
        }
    }

    /// Whether there is no slot of the class that somebody could give back soon. A snapshot is everybody's who wants just
    /// that commit, so nobody waits for another's.
    fn is_alone(&self, class: Class) -> Result<bool, PoolError> {
        let held = |r: &Record| r.class == class && r.retired.is_none() && !r.holders.is_empty();
        Ok(class == Class::Snapshot || !Record::load_all(&self.root)?.iter().any(held))
    }

    /// A slot to be shared or recycled; else, if allowed, a new one.
    fn pick(&self, w: &Want, new: bool) -> Result<Option<Record>, PoolError> {
        let stash = stash_now(&self.repo)?;
        let costs = self.costs(w)?;
        let _guard = self.guard()?;
        let mut records = Record::load_all(&self.root)?;
        let last = records.last().map_or(0, |r| r.slot.0);
        for record in &mut records {
            drop_dead(record);
        }
        // One that has to be mounted is for processes that can.
        let seen = |r: &Record| r.template.is_none() || r.admin.is_none() || overlay::entered();
        let shaped = |r: &Record| r.admin.is_none() || self.repo.has_wanted_shape(&path_of(&self.root, r.slot));
        let fits = |r: &Record| seen(r) && shaped(r);
        let same = |r: &Record| r.class == w.class && r.retired.is_none() && fits(r) && !self.gone(r);
        let shared = |r: &Record| same(r) && r.class == Class::Snapshot && r.base == w.base && r.whole() && !r.free();
        if let Some(mut record) = records.iter().find(|r| shared(r)).cloned() {
            record.holders.push(self.held_now(&w.holder));
            record.store(&self.root)?;
            return Ok(Some(record));
        }
        let cost = |r: &&Record| -> Cost {
            let setup = w.setup_key.is_some() && r.setup != w.setup_key;
            (setup, costs.get(&r.slot).copied().unwrap_or(usize::MAX), r.slot)
        };
        let free = records.iter().filter(|r| same(r) && r.free());
        let mut record = match free.min_by_key(cost) {
            Some(record) => record.clone(),
            None if new => Record::new(SlotId(last + 1), w.class, w.base.clone()),
            None => return Ok(None),
        };
        record.holders = vec![self.held_now(&w.holder)];
        record.generation += 1;
        record.wanted = w.setup_key.clone();
        record.stash = stash;
        // Where one is that was cut off on its way its record does not tell: it is reset.
        record.ready = record.whole();
        // From here on it is neither where it was nor where it is wanted.
        record.moving = Some(w.base.clone());
        fault::point("slot.choose");
        record.store(&self.root)?;
        Ok(Some(record))
    }

    /// What the free slots of the class cost to bring to the wanted commit. Before the lock is taken: trees are read, and a
    /// slot that changes hands meanwhile is merely judged by what it was.
    fn costs(&self, w: &Want) -> Result<BTreeMap<SlotId, usize>, PoolError> {
        let free = |r: &Record| r.class == w.class && r.free();
        let records: Vec<Record> = Record::load_all(&self.root)?.into_iter().filter(free).collect();
        if records.len() < 2 {
            return Ok(BTreeMap::new());
        }
        let to = self.repo.tree_of(&w.base)?;
        let cost = |r: &Record| {
            let at: Option<TreeId> = r.left.clone().or_else(|| self.repo.tree_of(&r.base).ok());
            let cost = at.filter(|_| r.whole()).map_or(usize::MAX, |at| self.distances.cost(&self.repo, &at, &to));
            (r.slot, cost)
        };
        Ok(records.iter().map(cost).collect())
    }
}

/// A check slot or snapshot whose holders' processes are gone is free: nobody goes on in one. Whether anybody goes on in a
/// work slot only the journal knows, so those wait for `recover`.
fn drop_dead(record: &mut Record) {
    match record.class {
        Class::Check | Class::Snapshot => record.holders.retain(|h| h.owner.is_some_and(|owner| owner.lives())),
        Class::Work => {}
    }
}
