//! What is known of candidates: the verdicts of a run, asked by lists of places.

use wattle_planner::{At, Check};
use wattle_worker::outcome::Verdict;
use wattle_workspace::TreeId;

use super::checks::applies;
use super::places::{Place, in_tip, places, stands_on};
use super::plan::gathered;
use super::train::{Item, Knowledge, Known, UNSURE_MAX};
use crate::ids::LandingId;
use crate::journal::RunView;
use crate::journal::event::Entry;
use crate::journal::record::LandingRecord;
use crate::state::landing::Landing;

/// Landings that are over and are still asked what came of them, newest first. A queue looks at 32 places and halves
/// what is red: a few dozen candidates on one tip; older ones are on another.
const PAST_MAX: usize = 256;

/// Why a landing over several places is over whose generated files could not be made.
pub(crate) const NOT_GENERATED: &str = "not_generated";

/// The queue as it stands, with what is known of it.
pub(crate) struct Line<'a> {
    view: &'a RunView,
    /// Its places, front first.
    pub(crate) places: Vec<Place>,
}

/// What is known of one check on one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Nothing.
    Ask,
    /// It passes.
    Green,
    /// It fails, so many times in a row.
    Red(u32),
    /// It ran out of time so many times in a row.
    Late(u32),
    /// It could not be run, so many times in a row: nobody's change is to blame.
    Fault(u32),
}

/// What a check has said of a tree.
pub(crate) fn said(view: &RunView, tree: &TreeId, check: &Check) -> Said {
    match view.verdicts.get(&(tree.clone(), check.name.clone())) {
        None => Said::Ask,
        Some(record) => match record.verdict {
            Verdict::Green => Said::Green,
            Verdict::Red => Said::Red(record.reds.max(1)),
            Verdict::Timeout => Said::Late(record.unsure),
            Verdict::Error => Said::Fault(record.unsure),
        },
    }
}

/// The checks that a landing has to pass.
pub(crate) fn wanted<'a>(view: &'a RunView, record: &LandingRecord) -> Vec<&'a Check> {
    let at = if record.last { At::Final } else { At::Land };
    let changed = record.candidate.as_ref().map_or(&[][..], |candidate| &candidate.changed);
    let checks = view.plan.checks().unwrap_or_default();
    checks.iter().filter(|check| check.at == at && applies(check, changed)).collect()
}

/// Is this check under way for a landing, on this tree?
pub(crate) fn runs(view: &RunView, id: LandingId, tree: &TreeId, check: &Check) -> bool {
    view.checking.iter().any(|(landing, name, on)| *landing == id && *name == check.name && on == tree)
}

/// What the checks of a landing say together. A red one decides; then one that says nothing; then an open one.
pub(crate) fn judged(view: &RunView, id: LandingId, record: &LandingRecord) -> Known {
    let Some(candidate) = &record.candidate else { return Known::Running };
    let mut all = Known::Green;
    let mut open = false;
    for check in wanted(view, record) {
        let one = match said(view, &candidate.tree, check) {
            // While it is asked once more, its verdict stands.
            Said::Red(times) => Known::Red { times },
            _ if runs(view, id, &candidate.tree, check) => Known::Running,
            Said::Green => Known::Green,
            Said::Ask => Known::Running,
            Said::Late(times) | Said::Fault(times) => Known::Unsure { times },
        };
        open |= one == Known::Running;
        all = worse(all, one);
    }
    // What is under way is waited for, but not once a part of it is red.
    if open && !matches!(all, Known::Red { .. }) { Known::Running } else { all }
}

fn worse(a: Known, b: Known) -> Known {
    let rank = |known| match known {
        Known::Green => 0,
        Known::Unknown | Known::Running | Known::Clash => 1,
        Known::Unsure { times } => 2 + times,
        Known::Red { times } => 100 + times,
    };
    if rank(b) > rank(a) { b } else { a }
}

impl<'a> Line<'a> {
    /// The queue of a run.
    pub(crate) fn of(view: &'a RunView) -> Self {
        Self { view, places: places(view) }
    }

    /// The items of the queue.
    pub(crate) fn queue(&self) -> Vec<Item> {
        self.places.iter().map(|place| place.item).collect()
    }

    /// The entries of these items, in order.
    pub(crate) fn entries(&self, items: &[Item]) -> Vec<Entry> {
        let place = |item: &Item| self.places.iter().find(|place| place.item == *item);
        items.iter().filter_map(place).flat_map(|place| place.entries.iter().cloned()).collect()
    }

    /// The items that these entries are, if they are whole places of the queue.
    pub(crate) fn items(&self, entries: &[Entry]) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        let mut rest = entries;
        while let Some(first) = rest.first() {
            let place = self.places.iter().find(|place| place.entries.first() == Some(first))?;
            rest = rest.strip_prefix(place.entries.as_slice())?;
            items.push(place.item);
        }
        Some(items)
    }

    /// The open landing over exactly these, on the present tip.
    pub(crate) fn landing(&self, items: &[Item]) -> Option<(LandingId, &'a LandingRecord)> {
        let entries = self.entries(items);
        let here = |record: &LandingRecord| record.on.as_ref().is_none_or(|on| on == self.view.front());
        self.open().find(|(_, record)| record.entries == entries && here(record))
    }

    /// Open landings of the queue: neither gathered nor the last one.
    pub(crate) fn open(&self) -> impl Iterator<Item = (LandingId, &'a LandingRecord)> {
        let view = self.view;
        let records = view.open.iter().map(move |id| (*id, &view.landings[id]));
        records.filter(move |(_, record)| !record.last && !gathered(view, record))
    }

    /// Does everything that these stand on come before them, or is it in the tip?
    pub(crate) fn is_whole(&self, entries: &[Entry]) -> bool {
        stands_on(self.view, entries).all(|below| in_tip(self.view, below) || entries.contains(below))
    }

    fn past(&self, entries: &[Entry]) -> Known {
        let front = self.view.front();
        let past = self.view.landings.iter().rev().take(PAST_MAX);
        for (id, record) in past.filter(|(_, record)| record.state == Landing::Ejected) {
            if record.on.as_ref() != Some(front) || record.last {
                continue;
            }
            let clash = record.culprit.as_ref().and_then(|culprit| {
                let at = record.entries.iter().position(|entry| entry.step == *culprit)?;
                Some(&record.entries[..=at])
            });
            if clash.is_some_and(|clash| entries.starts_with(clash)) {
                return Known::Clash;
            }
            if record.entries == entries && record.why.as_deref() == Some(NOT_GENERATED) {
                return Known::Red { times: 1 };
            }
            if record.entries == entries && record.candidate.is_some() {
                let known = judged(self.view, *id, record);
                if known != Known::Running {
                    return known;
                }
            }
        }
        Known::Unknown
    }

    /// The first place alone, whose checks are not green: who is asked whether the tip is to blame.
    pub(crate) fn suspect(&self) -> Option<(LandingId, &'a LandingRecord)> {
        let item = self.places.first()?.item;
        let (id, record) = self.landing(&[item])?;
        (!self.blamed(record).is_empty()).then_some((id, record))
    }

    /// The checks that are not green on a landing's tree.
    pub(crate) fn blamed(&self, record: &LandingRecord) -> Vec<&'a Check> {
        let Some(candidate) = &record.candidate else { return Vec::new() };
        let is_bad = |check: &&Check| match said(self.view, &candidate.tree, check) {
            Said::Red(_) | Said::Late(_) => true,
            Said::Ask | Said::Green | Said::Fault(_) => false,
        };
        wanted(self.view, record).into_iter().filter(is_bad).collect()
    }

    /// What the checks that blame the first place say of the tip.
    fn tip(&self) -> Known {
        let Some((id, record)) = self.suspect() else { return Known::Unknown };
        let Some(candidate) = &record.candidate else { return Known::Unknown };
        let of = |check: &Check| match said(self.view, &candidate.old_tree, check) {
            Said::Red(times) => Known::Red { times },
            _ if runs(self.view, id, &candidate.old_tree, check) => Known::Running,
            Said::Ask => Known::Unknown,
            Said::Green => Known::Green,
            Said::Late(times) | Said::Fault(times) => Known::Unsure { times },
        };
        self.blamed(record).into_iter().map(of).fold(Known::Green, worse)
    }
}

impl Knowledge for Line<'_> {
    fn of(&self, items: &[Item]) -> Known {
        if items.is_empty() {
            return self.tip();
        }
        let entries = self.entries(items);
        if !self.is_whole(&entries) {
            // Alone it is not to blame: it waits for what it stands on.
            return if items.len() > 1 { Known::Clash } else { Known::Unknown };
        }
        match self.landing(items) {
            Some((id, record)) => match record.state {
                Landing::Queued | Landing::Candidate => Known::Running,
                Landing::Checking | Landing::Red | Landing::Green => judged(self.view, id, record),
                Landing::Held | Landing::Landed | Landing::Ejected => Known::Running,
            },
            None => self.past(&entries),
        }
    }
}

/// Has a landing been asked as often as it is, without an answer?
pub(crate) fn given_up(known: Known) -> bool {
    matches!(known, Known::Unsure { times } if times >= UNSURE_MAX)
}
