//! What a decision has to look at: the steps that may have something to settle, and those that may start.
//!
//! [`super::scheduler`] says what a step does next, as a function of the state. Asking every step before every decision
//! costs as much as the plan is long. The agenda asks only those whose answer can have changed since it was asked last:
//! a step itself, those that come after it (and after what left nothing to stand on in between), and those whose
//! commits stand on its commit directly; and the queue only after an event that concerns it. It holds no state of its
//! own: it can be thrown away at any time, and in builds with assertions every answer is held against that of the scan.

use std::collections::BTreeSet;

use wattle_planner::EdgeKind;
use wattle_workspace::CommitId;

use super::ranks::Ranks;
use super::scheduler::{Decision, Halt, Need, finish, holds, need, ready, ready_to_start, settle, spoils};
use crate::journal::RunView;
use crate::journal::record::StepRecord;
use crate::queue::plan::next_wish;
use crate::queue::standing::Standing;
use crate::state::step::Step;

/// Steps by what a decision asks of them. A step is known by its place in the plan's order.
pub(crate) struct Agenda {
    /// Places in the plan, in its order.
    places: Vec<usize>,
    /// The reverse.
    ranks: Vec<usize>,
    /// What comes directly after each, and how.
    next: Vec<Vec<(usize, EdgeKind)>>,
    /// Of what each comes directly after, how much has gone wrong.
    bad: Vec<usize>,
    /// The same for what is not settled.
    unsettled: Vec<usize>,
    /// Is each there, and all that has to be there with it? What left nothing to stand on stands for what it came after.
    settled: Vec<bool>,
    /// What others see of each.
    seen: Vec<Option<Seen>>,
    /// May have something to settle.
    open: Ranks,
    /// Can start.
    ready: Ranks,
    /// A worker is at it.
    at_work: Ranks,
    /// Waits for a landing, because what it needs does not merge.
    conflicted: Ranks,
    /// Whose commits stand on a step's commit.
    on_top: Vec<BTreeSet<usize>>,
    landed_seq: u64,
    queue: Standing,
}

/// What others see of a step: when this is the same, nothing has changed for them.
#[derive(Debug, Clone)]
struct Seen {
    state: Step,
    moved_seq: u64,
    commit: Option<CommitId>,
    /// What that stands on directly.
    on: Vec<usize>,
}

impl Seen {
    fn of(record: &StepRecord) -> Self {
        Self { state: record.state, moved_seq: record.moved_seq, commit: None, on: Vec::new() }
    }
}

impl Agenda {
    /// An agenda on which every step still has to be looked at.
    pub(crate) fn new(view: &mut RunView) -> Self {
        view.touched.agenda.watch();
        view.touched.landings.watch();
        let places = view.plan.places_in_order().to_vec();
        let mut ranks = vec![0; places.len()];
        places.iter().enumerate().for_each(|(rank, place)| ranks[*place] = rank);
        let behind =
            |place: &usize| view.plan.behind(*place).iter().map(|(behind, kind)| (ranks[*behind], *kind)).collect();
        let next = places.iter().map(behind).collect();
        let mut agenda = Self {
            bad: vec![0; places.len()],
            unsettled: vec![0; places.len()],
            settled: vec![false; places.len()],
            seen: vec![None; places.len()],
            open: Ranks::new(places.len()),
            ready: Ranks::new(places.len()),
            at_work: Ranks::new(places.len()),
            conflicted: Ranks::new(places.len()),
            on_top: vec![BTreeSet::new(); places.len()],
            landed_seq: view.landed_seq,
            queue: Standing::new(view),
            places,
            ranks,
            next,
        };
        // In order, so that what a step comes after is counted before it.
        for rank in 0..agenda.places.len() {
            let before = view.plan.before(agenda.places[rank]);
            let bad = |(before, kind): &&(usize, EdgeKind)| need(view.steps.at(*before).state, *kind) == Need::Bad;
            agenda.bad[rank] = before.iter().filter(bad).count();
            agenda.unsettled[rank] = before.iter().filter(|(before, _)| !agenda.settled[agenda.ranks[*before]]).count();
            agenda.settled[rank] = agenda.is_settled(view, rank);
        }
        (0..agenda.places.len()).for_each(|rank| agenda.note(view, rank));
        agenda
    }

    /// The next decision, if any. A run that only lands starts no worker.
    pub(crate) fn decide(&mut self, view: &mut RunView, halt: Option<Halt>, lands_only: bool) -> Option<Decision> {
        for place in view.touched.agenda.take() {
            self.note(view, self.ranks[place]);
            self.queue.step(view, place);
        }
        for landing in view.touched.landings.take() {
            self.queue.landing(view, landing);
        }
        if self.landed_seq != view.landed_seq {
            self.landed_seq = view.landed_seq;
            self.conflicted.iter().for_each(|rank| self.open.insert(rank));
        }
        let found = self.decided(view, halt, lands_only);
        debug_assert_eq!(found, super::scheduler::decide(view, halt, lands_only), "the agenda has missed something");
        found
    }

    fn decided(&mut self, view: &RunView, halt: Option<Halt>, lands_only: bool) -> Option<Decision> {
        if let Some(halt) = halt {
            return (!self.in_flight(view)).then_some(Decision::Finish { event: halt.event(), why: halt.why() });
        }
        while let Some(rank) = self.open.first() {
            if self.waits(view, rank) {
                self.open.remove(rank);
                continue;
            }
            let place = self.places[rank];
            let known = self.is_known(view, rank);
            let waited = view.steps.at(place).state == Step::Waiting;
            let settled = match known {
                true => waited.then(|| ready(&view.plan.steps()[place].id)),
                false => settle(view, place),
            };
            if settled.is_some() {
                return settled;
            }
            self.open.remove(rank);
            self.ready.set(rank, known || self.begins(view, rank));
        }
        if let Some(wish) = next_wish(&mut self.queue, view) {
            return Some(Decision::Queue(wish));
        }
        let free = !lands_only && self.at_work.len() < view.started.options.jobs as usize;
        if let Some(rank) = self.ready.first().filter(|_| free) {
            let place = self.places[rank];
            let step = view.plan.steps()[place].id.clone();
            // A change that is there only has to move.
            let restack = view.steps.at(place).work.is_some();
            return Some(Decision::Start { step, restack });
        }
        (!self.in_flight(view)).then(|| finish(view))
    }

    fn in_flight(&self, view: &RunView) -> bool {
        self.at_work.len() > 0 || self.queue.in_flight(view)
    }

    /// Do the counts say that nothing is before a step any more? What has gone wrong before it, or did not merge, is
    /// looked at one by one.
    fn is_known(&self, view: &RunView, rank: usize) -> bool {
        let record = view.steps.at(self.places[rank]);
        let begins = matches!(record.state, Step::Waiting | Step::Ready | Step::Stale);
        begins && self.bad[rank] == 0 && self.unsettled[rank] == 0 && record.conflict_at.is_none()
    }

    /// Can a step that has nothing to settle start?
    fn begins(&self, view: &RunView, rank: usize) -> bool {
        let place = self.places[rank];
        matches!(view.steps.at(place).state, Step::Ready | Step::Stale) && ready_to_start(view, place)
    }

    /// A step has changed.
    fn note(&mut self, view: &RunView, rank: usize) {
        self.open.insert(rank);
        self.ready.remove(rank);
        let record = view.steps.at(self.places[rank]);
        self.at_work.set(rank, matches!(record.state, Step::Running | Step::Checking));
        self.conflicted.set(rank, record.conflict_at.is_some());
        let commit = record.work.as_ref().map(|work| &work.commit);
        let was = self.seen[rank].as_ref().map(|seen| seen.state);
        let mut seen = self.seen[rank].take().unwrap_or_else(|| Seen::of(record));
        let moved = was.is_none() || seen.moved_seq != record.moved_seq;
        if seen.commit.as_ref() != commit {
            seen.commit = commit.cloned();
            self.on_top[rank].iter().for_each(|above| self.open.insert(*above));
        }
        if moved && !record.below().iter().map(|(place, _)| &self.ranks[*place]).eq(&seen.on) {
            for below in &seen.on {
                self.on_top[*below].remove(&rank);
            }
            seen.on = record.below().iter().map(|(place, _)| self.ranks[*place]).collect();
            for below in &seen.on {
                self.on_top[*below].insert(rank);
            }
        }
        (seen.state, seen.moved_seq) = (record.state, record.moved_seq);
        self.seen[rank] = Some(seen);
        if was == Some(record.state) && !moved {
            return;
        }
        if spoils(record.state) {
            self.on_top[rank].iter().for_each(|above| self.open.insert(*above));
        }
        if moved {
            self.conflicted.iter().for_each(|waiting| self.open.insert(waiting));
        }
        self.tell(view, rank, was.unwrap_or(record.state));
    }

    /// Tells what comes after a step that it has changed, which was in another state before.
    fn tell(&mut self, view: &RunView, rank: usize, was: Step) {
        let now = view.steps.at(self.places[rank]).state;
        for (next, kind) in &self.next[rank] {
            let (before, after) = (need(was, *kind) == Need::Bad, need(now, *kind) == Need::Bad);
            self.bad[*next] = self.bad[*next] + usize::from(after) - usize::from(before);
            if before || after {
                self.open.insert(*next);
                self.ready.remove(*next);
            }
        }
        let mut changed = vec![rank];
        while let Some(rank) = changed.pop() {
            let settled = self.is_settled(view, rank);
            if settled == std::mem::replace(&mut self.settled[rank], settled) {
                continue;
            }
            for (next, _) in &self.next[rank] {
                let count = &mut self.unsettled[*next];
                let was = std::mem::replace(count, if settled { *count - 1 } else { *count + 1 });
                // One of several that it waits for: it still does, and had nothing to settle before.
                if was > 0 && *count > 0 && self.bad[*next] == 0 {
                    continue;
                }
                self.open.insert(*next);
                self.ready.remove(*next);
                changed.push(*next);
            }
        }
    }

    fn is_settled(&self, view: &RunView, rank: usize) -> bool {
        let place = self.places[rank];
        let there = need(view.steps.at(place).state, EdgeKind::After) == Need::There;
        there && (holds(view, place) || self.unsettled[rank] == 0)
    }

    /// Does a step wait for what it comes after, so that there is nothing to ask?
    fn waits(&self, view: &RunView, rank: usize) -> bool {
        match view.steps.at(self.places[rank]).state {
            Step::Waiting | Step::Ready | Step::Stale => self.unsettled[rank] > 0 && self.bad[rank] == 0,
            Step::Blocked => self.bad[rank] > 0,
            _ => false,
        }
    }
}
