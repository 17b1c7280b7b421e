//! What the queue looks at, brought up to date by what has changed: a decision costs what has changed since the last one,
//! not what stands in the queue. It can be thrown away at any time; [`super::plan::wish`] begins with a new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wattle_workspace::CommitId;

use super::known::{Open, Past, Queue, judged};
use super::places::{Bits, Line, Waiting};
use super::plan::{flake_share, is_broken, may_join};
use super::train::{Act, Known};
use crate::ids::LandingId;
use crate::journal::RunView;
use crate::journal::record::LandingRecord;
use crate::state::landing::Landing;
use crate::state::step::Step;

/// Landings that are over and are still asked what came of them, newest first. A queue looks at 32 places and halves
/// what is red: a few dozen candidates on one tip; older ones are on another.
const PAST_MAX: usize = 256;

/// What stands in the queue of a run.
pub(crate) struct Standing {
    waiting: Waiting,
    line: Line,
    /// Is the line what is in front, on the tip that it was made for?
    fresh: bool,
    /// Counts lines.
    pub(super) lines: u64,
    /// Queued members of groups that cannot land any more, by their places in the plan.
    pub(super) broken: BTreeSet<usize>,
    /// Steps that may still join what is gathered, by their places in the plan; none are counted where nothing is.
    pub(super) joining: BTreeSet<usize>,
    /// Landings that are open and not gathered, with their places in the line.
    open: BTreeMap<LandingId, Option<Bits>>,
    /// Those that are over, by the tip that they were on, oldest first.
    over: HashMap<CommitId, Vec<LandingId>>,
    /// Those on the present tip, newest first.
    past: Vec<Past>,
    /// Counts changes of these.
    pub(super) pasts: u64,
    /// The share of checks that are red without a reason, after so many checks.
    flakes: (u64, f64),
    /// As of which event about what it waits for it wants nothing, if nothing else has changed since.
    pub(super) still: Option<u64>,
    /// The last plan.
    pub(super) planned: Option<Planned>,
    landed_seq: u64,
    resumed_seq: u64,
    front: CommitId,
}

/// A plan, and what it was made of.
pub(super) struct Planned {
    pub(super) ground: Ground,
    /// Open landings: what is known of each, and whether that is still being found out.
    pub(super) open: Vec<(LandingId, Known, bool)>,
    pub(super) acts: Vec<Act>,
}

/// What a plan is made of, beside the open landings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ground {
    pub(super) lines: u64,
    pub(super) pasts: u64,
    pub(super) verdicts: u64,
    pub(super) tip: Known,
    /// Is a check asked what it says of the tip?
    pub(super) control: bool,
    pub(super) slots: usize,
    pub(super) red_share: f64,
    pub(super) flake_share: f64,
}

impl Standing {
    /// Looks at everything.
    pub(crate) fn new(view: &RunView) -> Self {
        let mut standing = Self {
            waiting: Waiting::new(view.steps.len()),
            line: Line::default(),
            fresh: false,
            lines: 0,
            broken: BTreeSet::new(),
            joining: BTreeSet::new(),
            open: BTreeMap::new(),
            over: HashMap::new(),
            past: Vec::new(),
            pasts: 0,
            flakes: (0, flake_share(view)),
            still: None,
            planned: None,
            landed_seq: view.landed_seq,
            resumed_seq: view.resumed_seq,
            front: view.front().clone(),
        };
        standing.flakes.0 = view.observed.seen();
        (0..view.steps.len()).for_each(|place| standing.step(view, place));
        view.landings.keys().for_each(|id| standing.landing(view, *id));
        standing
    }

    /// A step has changed.
    pub(crate) fn step(&mut self, view: &RunView, place: usize) {
        let same = self.waiting.note(view, place, self.fresh.then_some(&self.line));
        // What stands on one that has landed, however that came, may be next.
        if !same || view.steps.at(place).state == Step::Landed {
            self.fresh = false;
            self.still = None;
        }
        let group = view.plan.steps()[place].group.as_ref();
        for member in group.map_or(&[][..], |group| view.plan.group_places(group)) {
            let asks = view.steps.at(*member).state == Step::Queued && is_broken(view, *member);
            if set(&mut self.broken, *member, asks) {
                self.still = None;
            }
        }
        if view.gathers() && set(&mut self.joining, place, may_join(view, view.steps.at(place))) {
            self.still = None;
        }
    }

    /// A landing has changed.
    pub(crate) fn landing(&mut self, view: &RunView, id: LandingId) {
        let record = &view.landings[&id];
        self.still = None;
        if view.open.contains(&id) && !record.gathered {
            let bits = self.bits(record);
            self.open.insert(id, bits);
            return;
        }
        self.open.remove(&id);
        let Some(on) = record.on.as_ref().filter(|_| record.state == Landing::Ejected && !record.last) else { return };
        if on == view.front() && self.fresh {
            self.past.retain(|past| past.id != id);
            let at = self.past.partition_point(|past| past.id > id);
            self.past.insert(at, past(&self.line, id, record));
            self.pasts += 1;
        }
        let over = self.over.entry(on.clone()).or_default();
        if let Err(at) = over.binary_search(&id) {
            over.insert(at, id);
        }
    }

    /// Where an open landing is in the line.
    fn bits(&self, record: &LandingRecord) -> Option<Bits> {
        if record.last || !self.fresh { None } else { self.line.of_entries(&record.entries) }
    }

    /// Is an effect under way in the queue whose end will come as an event?
    pub(crate) fn in_flight(&self, view: &RunView) -> bool {
        let landing = self.open.keys().any(|id| match view.landings[id].state {
            Landing::Candidate | Landing::Green => true,
            Landing::Queued | Landing::Checking | Landing::Red => false,
            Landing::Held | Landing::Landed | Landing::Ejected => false,
        });
        landing || !view.checking.is_empty()
    }

    /// Is a landing open that is not gathered?
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes the landings that are over and of the present tip.
    fn look_back(&mut self, view: &RunView) {
        let over = self.over.get(view.front()).into_iter().flatten().rev().take(PAST_MAX);
        self.past = over.map(|id| past(&self.line, *id, &view.landings[id])).collect();
        self.pasts += 1;
    }

    /// The line as it is now.
    pub(super) fn freshen(&mut self, view: &RunView) {
        if self.resumed_seq != view.resumed_seq {
            *self = Self::new(view);
        }
        if self.fresh && self.landed_seq == view.landed_seq && self.front == *view.front() {
            return;
        }
        self.line = self.waiting.line(view);
        self.lines += 1;
        self.fresh = true;
        self.landed_seq = view.landed_seq;
        self.front.clone_from(view.front());
        let ids: Vec<LandingId> = self.open.keys().copied().collect();
        ids.into_iter().for_each(|id| self.landing(view, id));
        self.look_back(view);
    }

    /// The queue with what is known of it.
    pub(super) fn queue<'a>(&'a self, view: &'a RunView) -> Queue<'a> {
        let front = view.front();
        let open = self.open.iter().map(|(id, bits)| {
            let record = &view.landings[id];
            let here = record.on.as_ref().is_none_or(|on| on == front);
            Open { id: *id, record, bits: *bits, known: judged(view, *id, record), here }
        });
        Queue { view, line: &self.line, open: open.collect(), past: &self.past[..self.past.len().min(PAST_MAX)] }
    }

    /// The share of checks that are red without a reason.
    pub(super) fn flake_share(&mut self, view: &RunView) -> f64 {
        let seen = view.observed.seen();
        if self.flakes.0 != seen {
            self.flakes = (seen, flake_share(view));
        }
        self.flakes.1
    }
}

fn past(line: &Line, id: LandingId, record: &LandingRecord) -> Past {
    let clash = record.culprit.as_ref().and_then(|culprit| {
        let at = record.entries.iter().position(|entry| entry.step == *culprit)?;
        line.of_beginning(&record.entries[..=at])
    });
    Past { id, bits: line.of_entries(&record.entries), clash }
}

/// Adds a place, or takes it out. Is that new?
fn set(places: &mut BTreeSet<usize>, place: usize, belongs: bool) -> bool {
    if belongs { places.insert(place) } else { places.remove(&place) }
}
