//! The places of the queue: what stands in it, in which order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wattle_workspace::CommitId;

use super::train::Item;
use crate::journal::RunView;
use crate::journal::event::Entry;
use crate::journal::record::StepRecord;
use crate::options::Until;
use crate::state::step::Step;

/// Places that are looked at from the front. Behind 32 changes that nobody has checked the next one's fate is open
/// (at 5 % red, four in five such prefixes are red), so that a check of it would mostly be wasted.
pub(crate) const PLACES_MAX: usize = 32;

/// Some places of a line: bit n is the place n from the front.
pub(crate) type Bits = u64;

/// One place: a step, or the members of a group that lands together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the queue calls it: the number of its first step in the plan.
    pub(crate) item: Item,
    /// What lands with it, in order.
    pub(crate) entries: Vec<Entry>,
    /// Their steps, by their places in the plan.
    steps: Vec<usize>,
    /// When it joined.
    queued_seq: u64,
}

impl Place {
    fn key(&self) -> Key {
        (self.queued_seq, self.item)
    }

    fn holds(&self, step: usize, commit: &CommitId) -> bool {
        self.steps.iter().zip(&self.entries).any(|(own, entry)| *own == step && entry.commit == *commit)
    }
}

/// The order of places: when they joined, then which they are.
type Key = (u64, Item);

/// Every place that is whole and asked for, kept up to date step by step.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// In order, but for those of `blocked`.
    places: BTreeMap<Key, Arc<Place>>,
    /// What stands on a step that neither waits nor has landed: it is looked at again when that step changes.
    blocked: HashMap<usize, Vec<Arc<Place>>>,
    /// When each item joined, and by which step it is blocked; `None` = it does not wait.
    joined: Vec<Option<(u64, Option<usize>)>>,
}

impl Waiting {
    /// Nothing waits, of a plan of so many steps.
    pub(crate) fn new(steps: usize) -> Self {
        Self { places: BTreeMap::new(), blocked: HashMap::new(), joined: vec![None; steps] }
    }

    /// Looks at a step, what lands with it and what it has blocked once more. Does `line` stay what is in front?
    pub(crate) fn note(&mut self, view: &RunView, step: usize, line: Option<&Line>) -> bool {
        let is_behind = |key: &Key| line.and_then(|line| line.full).is_some_and(|full| *key > full);
        let members = match &view.plan.steps()[step].group {
            None => std::slice::from_ref(&step),
            Some(group) => view.plan.group_places(group),
        };
        let mut same = true;
        for place in members.iter().flat_map(|member| self.blocked.remove(member).unwrap_or_default()) {
            same &= is_behind(&place.key());
            self.joined[place.item as usize] = Some((place.queued_seq, None));
            self.places.insert(place.key(), place);
        }
        let item = members[0];
        let now = place(view, item as Item, members);
        let before = self.joined[item].and_then(|(seq, by)| self.find(&(seq, item as Item), by));
        if before.map(Arc::as_ref) == now.as_ref() {
            return same;
        }
        if let Some((seq, by)) = self.joined[item].take() {
            let key = (seq, item as Item);
            same &= by.is_some() || is_behind(&key);
            self.places.remove(&key);
            if let Some(blocked) = by.and_then(|by| self.blocked.get_mut(&by)) {
                blocked.retain(|place| place.key() != key);
            }
        }
        if let Some(now) = now {
            same &= is_behind(&now.key());
            self.joined[item] = Some((now.queued_seq, None));
            self.places.insert(now.key(), Arc::new(now));
        }
        same
    }

    fn find(&self, key: &Key, blocked_by: Option<usize>) -> Option<&Arc<Place>> {
        match blocked_by {
            None => self.places.get(key),
            Some(by) => self.blocked.get(&by)?.iter().find(|place| place.key() == *key),
        }
    }

    /// Does a step wait, or what lands with it?
    fn waits(&self, view: &RunView, step: usize) -> bool {
        let group = view.plan.steps()[step].group.as_ref();
        let first = group.and_then(|group| view.plan.group_places(group).first().copied());
        self.joined[first.unwrap_or(step)].is_some()
    }

    /// What may land now, front first: first come, first served, but nothing before what it stands on.
    pub(crate) fn line(&mut self, view: &RunView) -> Line {
        let mut line = Line::default();
        let mut blocked: Vec<(usize, Arc<Place>)> = Vec::new();
        // What came before what it stands on, by the step that it waits for.
        let mut passed: HashMap<usize, BTreeMap<Key, &Arc<Place>>> = HashMap::new();
        for (key, place) in &self.places {
            let mut next = BTreeMap::from([(*key, place)]);
            while line.places.len() < PLACES_MAX
                && let Some((key, place)) = next.pop_first()
            {
                match line.join(view, place) {
                    Ok(()) => next.extend(place.steps.iter().flat_map(|step| passed.remove(step).unwrap_or_default())),
                    Err(missing) if self.waits(view, missing) => {
                        passed.entry(missing).or_default().insert(key, place);
                    }
                    Err(missing) => blocked.push((missing, Arc::clone(place))),
                }
            }
            if line.places.len() >= PLACES_MAX {
                line.full = Some(*key);
                break;
            }
        }
        for (step, place) in blocked {
            self.places.remove(&place.key());
            self.joined[place.item as usize] = Some((place.queued_seq, Some(step)));
            self.blocked.entry(step).or_default().push(place);
        }
        line
    }
}

/// The front of the queue.
#[derive(Debug, Default)]
pub(crate) struct Line {
    places: Vec<Arc<Place>>,
    /// What each place stands on in the line.
    needs: Vec<Bits>,
    /// Where each step is.
    at: HashMap<usize, usize>,
    /// The last place that was looked at, where those behind it do not matter.
    full: Option<Key>,
}

impl Line {
    /// Puts a place at the end, if all that it stands on is there; else the error is a step that is not.
    fn join(&mut self, view: &RunView, place: &Arc<Place>) -> Result<(), usize> {
        let end = self.places.len();
        let mut needs = 0;
        // What a place further in front stands on is in front of that, or in the tip, as this one is.
        let below = place.steps.iter().flat_map(|step| view.steps.at(*step).below());
        for (step, commit) in below.filter(|(step, commit)| !in_tip(view.steps.at(*step), commit)) {
            let there = if place.steps.contains(step) { Some(end) } else { self.at.get(step).copied() };
            let same = |at: &usize| self.places.get(*at).unwrap_or(place).holds(*step, commit);
            needs |= 1 << there.filter(same).ok_or(*step)?;
        }
        self.places.push(Arc::clone(place));
        self.needs.push(needs);
        self.at.extend(place.steps.iter().map(|step| (*step, end)));
        Ok(())
    }

    /// The items of the queue.
    pub(crate) fn queue(&self) -> Vec<Item> {
        self.places.iter().map(|place| place.item).collect()
    }

    /// The place in front.
    pub(crate) fn first(&self) -> Option<&Place> {
        self.places.first().map(Arc::as_ref)
    }

    fn chosen(&self, bits: Bits) -> impl Iterator<Item = &Place> {
        let places = self.places.iter().enumerate();
        places.filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, place)| place.as_ref())
    }

    /// What lands with these places, in order.
    pub(crate) fn entries(&self, bits: Bits) -> Vec<Entry> {
        self.chosen(bits).flat_map(|place| place.entries.iter().cloned()).collect()
    }

    /// The items at these places.
    pub(crate) fn items(&self, bits: Bits) -> Vec<Item> {
        self.chosen(bits).map(|place| place.item).collect()
    }

    /// The places of items of the queue, which are in its order.
    pub(crate) fn of_items(&self, items: &[Item]) -> Option<Bits> {
        let mut bits = 0;
        let mut at = 0;
        for item in items {
            at += self.places[at..].iter().position(|place| place.item == *item)? + 1;
            bits |= 1 << (at - 1);
        }
        Some(bits)
    }

    /// The places that these entries are, if they are whole places in the order of the line.
    pub(crate) fn of_entries(&self, entries: &[Entry]) -> Option<Bits> {
        let (bits, rest) = self.begun(entries)?;
        rest.is_empty().then_some(bits)
    }

    /// The places that these entries are, where the last one need only be begun.
    pub(crate) fn of_beginning(&self, entries: &[Entry]) -> Option<Bits> {
        self.begun(entries).map(|(bits, _)| bits)
    }

    /// The same, with what is missing of the last one.
    fn begun(&self, entries: &[Entry]) -> Option<(Bits, &[Entry])> {
        let mut bits = 0;
        let mut at = 0;
        let mut left = entries;
        while let Some(first) = left.first() {
            at += self.places[at..].iter().position(|place| place.entries.first() == Some(first))? + 1;
            bits |= 1 << (at - 1);
            let whole = self.places[at - 1].entries.as_slice();
            match left.strip_prefix(whole) {
                Some(rest) => left = rest,
                None => return whole.strip_prefix(left).map(|missing| (bits, missing)),
            }
        }
        Some((bits, &[]))
    }

    /// Does everything that these places stand on come before them, or is it in the tip?
    pub(crate) fn is_whole(&self, bits: Bits) -> bool {
        self.needs.iter().enumerate().all(|(at, needs)| bits >> at & 1 == 0 || needs & !bits == 0)
    }
}

/// Is this commit of a step in the tip that candidates are made on?
fn in_tip(record: &StepRecord, commit: &CommitId) -> bool {
    (record.gathered || record.landed.is_some()) && record.work.as_ref().is_some_and(|work| work.commit == *commit)
}

/// What lands together, if all of it waits for that.
fn place(view: &RunView, item: Item, members: &[usize]) -> Option<Place> {
    // A run that ends at its reviews lands only what somebody asks for.
    let all = view.started.options.until == Until::Landed;
    let mut steps = Vec::new();
    let mut queued_seq = 0;
    for member in members {
        let record = view.steps.at(*member);
        match record.state {
            Step::Queued | Step::Landing if !record.gathered && (all || record.merge_asked) => {
                steps.push(*member);
                queued_seq = queued_seq.max(record.queued_seq);
            }
            Step::Unchanged | Step::Done | Step::Landed => {}
            _ => return None,
        }
    }
    if steps.len() > 1 {
        // Within a group the order is that of the bases: what stands on another comes after it.
        steps.sort_by_key(|step| view.plan.rank(&view.plan.steps()[*step].id));
    }
    let entry = |step: &usize| {
        let commit = view.steps.at(*step).work.as_ref()?.commit.clone();
        Some(Entry { step: view.plan.steps()[*step].id.clone(), commit })
    };
    let entries: Vec<Entry> = steps.iter().map(entry).collect::<Option<_>>()?;
    (!entries.is_empty()).then_some(Place { item, entries, steps, queued_seq })
}
