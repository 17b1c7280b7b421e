//! What a decision has to look at: the steps that may have something to settle, and those that may start.
//!
//! [`super::scheduler`] says what a step does next, as a function of the state. Asking every step before every decision
//! costs as much as the plan is long. The agenda asks only those whose answer can have changed since it was asked last:
//! a step itself, those that come after it (and after what left nothing to stand on in between), and those whose
//! commits stand on its commit directly; and the queue only after an event that concerns it. It holds no state of its
//! own: it can be thrown away at any time, and in builds with assertions every answer is held against that of the scan.

use std::collections::BTreeSet;

use super::ranks::Ranks;
use super::scheduler::{Decision, Halt, finish, ready_to_start, settle};
use crate::journal::RunView;
use crate::queue::plan::next_wish;
use crate::queue::standing::Standing;
use crate::state::step::Step;

/// Steps by what a decision asks of them. A step is known by its place in the plan's order.
pub(crate) struct Agenda {
    /// Places in the plan, in its order.
    places: Vec<usize>,
    /// The reverse.
    ranks: Vec<usize>,
    /// What comes directly after each.
    next: Vec<Vec<usize>>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    state: Step,
    moved_seq: u64,
    has_work: bool,
    on: Vec<usize>,
}

impl Agenda {
    /// An agenda on which every step still has to be looked at.
    pub(crate) fn new(view: &mut RunView) -> Self {
        view.touched.agenda.watch();
        view.touched.landings.watch();
        let places = view.plan.places_in_order().to_vec();
        let mut ranks = vec![0; places.len()];
        places.iter().enumerate().for_each(|(rank, place)| ranks[*place] = rank);
        let behind = |place: &usize| view.plan.behind(*place).iter().map(|(behind, _)| ranks[*behind]).collect();
        let next = places.iter().map(behind).collect();
        let mut agenda = Self {
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
            if let Some(decision) = settle(view, self.places[rank]) {
                return Some(decision);
            }
            self.open.remove(rank);
            self.hold(view, rank);
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

    /// Keeps whether a step that has nothing to settle can start.
    fn hold(&mut self, view: &RunView, rank: usize) {
        let place = self.places[rank];
        let begins = matches!(view.steps.at(place).state, Step::Ready | Step::Stale);
        self.ready.set(rank, begins && ready_to_start(view, place));
    }

    /// A step has changed.
    fn note(&mut self, view: &RunView, rank: usize) {
        self.open.insert(rank);
        self.ready.remove(rank);
        let record = view.steps.at(self.places[rank]);
        self.at_work.set(rank, matches!(record.state, Step::Running | Step::Checking));
        self.conflicted.set(rank, record.conflict_at.is_some());
        let now = Seen {
            state: record.state,
            moved_seq: record.moved_seq,
            has_work: record.work.is_some(),
            on: record.below().iter().map(|(place, _)| self.ranks[*place]).collect(),
        };
        if self.seen[rank].as_ref() == Some(&now) {
            return;
        }
        for below in self.seen[rank].iter().flat_map(|seen| &seen.on) {
            self.on_top[*below].remove(&rank);
        }
        for below in &now.on {
            self.on_top[*below].insert(rank);
        }
        self.seen[rank] = Some(now);
        self.on_top[rank].iter().for_each(|above| self.open.insert(*above));
        let mut steps = vec![rank];
        let mut passed = BTreeSet::new();
        while let Some(step) = steps.pop() {
            for &next in &self.next[step] {
                self.open.insert(next);
                self.ready.remove(next);
                // Who comes after something that leaves nothing to stand on looks at what is before it, too.
                if leaves_nothing(view.steps.at(self.places[next]).state) && passed.insert(next) {
                    steps.push(next);
                }
            }
        }
    }
}

/// Is it over, with nothing that others could stand on or that the tip holds?
fn leaves_nothing(state: Step) -> bool {
    match state {
        Step::Done | Step::Unchanged | Step::Failed | Step::Blocked => true,
        Step::Skipped | Step::Cancelled | Step::Rejected => true,
        Step::Waiting | Step::Ready | Step::Running | Step::NeedsInput | Step::Checking | Step::Review => false,
        Step::Approved | Step::Queued | Step::Landing | Step::Parked | Step::Stale | Step::Landed => false,
    }
}
