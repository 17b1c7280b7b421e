//! The places of the queue: what stands in it, in which order.

use wattle_planner::{GroupId, Step as PlanStep, StepId};

use super::plan::{gathered, landed};
use super::train::Item;
use crate::journal::RunView;
use crate::journal::event::Entry;
use crate::journal::record::LandingRecord;
use crate::options::Until;
use crate::state::step::Step;

/// Places that are looked at from the front. Behind 32 changes that nobody has checked the next one's fate is open
/// (at 5 % red, four in five such prefixes are red), so that a check of it would mostly be wasted.
pub(crate) const PLACES_MAX: usize = 32;

/// One place: a step, or the members of a group that lands together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What the queue calls it: the number of its first step in the plan.
    pub(crate) item: Item,
    /// What lands with it, in order.
    pub(crate) entries: Vec<Entry>,
    /// When it joined.
    queued_seq: u64,
}

/// What may land now, front first: first come, first served, but nothing before what it stands on.
pub(crate) fn places(view: &RunView) -> Vec<Place> {
    let mut waiting: Vec<Place> = candidates(view);
    waiting.sort_by_key(|place| (place.queued_seq, place.item));
    let mut line: Vec<Place> = Vec::new();
    while line.len() < PLACES_MAX {
        let next = waiting.iter().position(|place| {
            let before = || line.iter().chain([place]).flat_map(|place| &place.entries);
            stands_on(view, &place.entries).all(|below| in_tip(view, below) || before().any(|entry| entry == below))
        });
        let Some(next) = next else { break };
        line.push(waiting.remove(next));
    }
    line
}

/// Commits that entries stand on and that had not landed when they were made.
pub(crate) fn stands_on<'a>(view: &'a RunView, entries: &'a [Entry]) -> impl Iterator<Item = &'a Entry> {
    entries.iter().filter_map(|entry| view.step(&entry.step).work.as_ref()).flat_map(|work| &work.on)
}

/// Is the commit of an entry in the tip that candidates are made on?
pub(crate) fn in_tip(view: &RunView, entry: &Entry) -> bool {
    let in_gathered = |record: &LandingRecord| gathered(view, record) && record.entries.contains(entry);
    landed(view, entry) || view.open.iter().any(|id| in_gathered(&view.landings[id]))
}

/// Every place that is whole and asked for.
fn candidates(view: &RunView) -> Vec<Place> {
    let mut seen: Vec<&GroupId> = Vec::new();
    let mut found = Vec::new();
    for id in &view.standing {
        let Some(step) = view.plan.step(id) else { continue };
        let members = match &step.group {
            None => vec![step],
            Some(group) if seen.contains(&group) => continue,
            Some(group) => {
                seen.push(group);
                view.plan.group_members(group)
            }
        };
        found.extend(place(view, &members));
    }
    found
}

fn place(view: &RunView, members: &[&PlanStep]) -> Option<Place> {
    // A run that ends at its reviews lands only what somebody asks for.
    let asked = |step: &StepId| view.started.options.until == Until::Landed || view.step(step).merge_asked;
    let standing = |step: &StepId| view.standing.contains(step) && !is_gathered(view, step);
    let mut entries = Vec::new();
    let mut queued_seq = 0;
    for member in members {
        let record = view.step(&member.id);
        match record.state {
            Step::Queued | Step::Landing if standing(&member.id) && asked(&member.id) => {
                let commit = record.work.as_ref()?.commit.clone();
                entries.push(Entry { step: member.id.clone(), commit });
                queued_seq = queued_seq.max(record.queued_seq);
            }
            Step::Unchanged | Step::Done | Step::Landed => {}
            _ => return None,
        }
    }
    if entries.len() > 1 {
        // Within a group the order is that of the bases: what stands on another comes after it.
        entries.sort_by_key(|entry| view.plan.rank(&entry.step));
    }
    let item = view.plan.position(&members.first()?.id)?;
    (!entries.is_empty()).then_some(Place { item: item as Item, entries, queued_seq })
}

fn is_gathered(view: &RunView, step: &StepId) -> bool {
    let holds = |record: &LandingRecord| record.entries.iter().any(|entry| entry.step == *step);
    view.open.iter().map(|id| &view.landings[id]).any(|record| gathered(view, record) && holds(record))
}
