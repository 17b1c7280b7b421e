//! What is known of candidates: the verdicts of a run, asked by lists of places.

use wattle_planner::{At, Check};
use wattle_worker::outcome::Verdict;
use wattle_workspace::TreeId;

use super::checks::applies;
use super::places::{Bits, Line};
use super::train::{Item, Knowledge, Known, UNSURE_MAX};
use crate::ids::LandingId;
use crate::journal::RunView;
use crate::journal::record::LandingRecord;
use crate::state::landing::Landing;

/// Why a landing over several places is over whose generated files could not be made.
pub(crate) const NOT_GENERATED: &str = "not_generated";

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
    match view.verdicts.get(tree, &check.name) {
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
pub(crate) fn wanted<'a>(view: &'a RunView, record: &'a LandingRecord) -> impl Iterator<Item = &'a Check> {
    let at = if record.last { At::Final } else { At::Land };
    let changed = record.candidate.as_ref().map_or(&[][..], |candidate| &candidate.changed);
    let checks = view.plan.checks().unwrap_or_default();
    checks.iter().filter(move |check| check.at == at && applies(check, changed))
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

/// One landing that is open and not gathered.
#[derive(Debug)]
pub(crate) struct Open<'a> {
    /// Its id.
    pub(crate) id: LandingId,
    /// Its record.
    pub(crate) record: &'a LandingRecord,
    /// Its places in the line; `None` = it is the last one, or what it lands is not there any more.
    pub(crate) bits: Option<Bits>,
    /// What its checks say.
    pub(crate) known: Known,
    /// Is it on the present tip, or on none so far?
    pub(crate) here: bool,
}

/// One landing on the present tip that is over.
#[derive(Debug)]
pub(crate) struct Past {
    /// Its id.
    pub(crate) id: LandingId,
    /// Its places in the line, if they are there.
    pub(crate) bits: Option<Bits>,
    /// The first of them, up to one that does not merge with those before it.
    pub(crate) clash: Option<Bits>,
}

/// The queue as it stands, with what is known of it.
pub(crate) struct Queue<'a> {
    /// The run.
    pub(crate) view: &'a RunView,
    /// Its places.
    pub(crate) line: &'a Line,
    /// Its landings.
    pub(crate) open: Vec<Open<'a>>,
    /// What is over, newest first.
    pub(crate) past: &'a [Past],
}

impl<'a> Queue<'a> {
    /// The open landing over exactly these places, on the present tip.
    pub(crate) fn landing(&self, bits: Bits) -> Option<&Open<'a>> {
        self.open.iter().find(|open| open.bits == Some(bits) && open.here)
    }

    /// What came of the landings that are over.
    fn over(&self, bits: Bits) -> Known {
        for past in self.past {
            if past.clash.is_some_and(|clash| bits & (Bits::MAX >> clash.leading_zeros()) == clash) {
                return Known::Clash;
            }
            if past.bits != Some(bits) {
                continue;
            }
            let record = &self.view.landings[&past.id];
            if record.why.as_deref() == Some(NOT_GENERATED) {
                return Known::Red { times: 1 };
            }
            if record.candidate.is_some() {
                let known = judged(self.view, past.id, record);
                if known != Known::Running {
                    return known;
                }
            }
        }
        Known::Unknown
    }

    /// The first place alone, whose checks are not green: who is asked whether the tip is to blame.
    pub(crate) fn suspect(&self) -> Option<&Open<'a>> {
        let first = self.landing(1)?;
        self.blamed(first.record).next().is_some().then_some(first)
    }

    /// The checks that are not green on a landing's tree.
    pub(crate) fn blamed(&self, record: &'a LandingRecord) -> impl Iterator<Item = &'a Check> {
        let view = self.view;
        record.candidate.iter().flat_map(move |candidate| {
            wanted(view, record).filter(move |check| match said(view, &candidate.tree, check) {
                Said::Red(_) | Said::Late(_) => true,
                Said::Ask | Said::Green | Said::Fault(_) => false,
            })
        })
    }

    /// What the checks that blame the first place say of the tip.
    pub(crate) fn tip(&self) -> Known {
        let Some(Open { id, record, .. }) = self.suspect() else { return Known::Unknown };
        let Some(candidate) = &record.candidate else { return Known::Unknown };
        let of = |check: &Check| match said(self.view, &candidate.old_tree, check) {
            Said::Red(times) => Known::Red { times },
            _ if runs(self.view, *id, &candidate.old_tree, check) => Known::Running,
            Said::Ask => Known::Unknown,
            Said::Green => Known::Green,
            Said::Late(times) | Said::Fault(times) => Known::Unsure { times },
        };
        self.blamed(record).map(of).fold(Known::Green, worse)
    }
}

impl Knowledge for Queue<'_> {
    fn of(&self, items: &[Item]) -> Known {
        if items.is_empty() {
            return self.tip();
        }
        let Some(bits) = self.line.of_items(items) else { return Known::Unknown };
        if !self.line.is_whole(bits) {
            // Alone it is not to blame: it waits for what it stands on.
            return if items.len() > 1 { Known::Clash } else { Known::Unknown };
        }
        match self.landing(bits) {
            Some(open) => match open.record.state {
                Landing::Queued | Landing::Candidate => Known::Running,
                Landing::Checking | Landing::Red | Landing::Green => open.known,
                Landing::Held | Landing::Landed | Landing::Ejected => Known::Running,
            },
            None => self.over(bits),
        }
    }
}

/// Has a landing been asked as often as it is, without an answer?
pub(crate) fn given_up(known: Known) -> bool {
    matches!(known, Known::Unsure { times } if times >= UNSURE_MAX)
}
