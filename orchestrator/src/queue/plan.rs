//! What the queue does next: a pure function of the run's state.

use wattle_planner::{At, Check, StepId};
use wattle_worker::outcome::Verdict;
use wattle_workspace::TreeId;

use super::checks::applies;
use crate::ids::LandingId;
use crate::journal::RunView;
use crate::journal::event::Entry;
use crate::journal::record::LandingRecord;
use crate::options::Until;
use crate::state::Machine;
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};

/// A verdict that says nothing (a timeout, a failed spawn) is asked for again this often in all.
/// Two: one bad moment of a machine is common, two in a row are the check's own.
const UNSURE_MAX: u32 = 2;

/// What the queue wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Open a landing over these entries, in this order.
    Open {
        /// What it lands.
        entries: Vec<Entry>,
        /// Is it the last one, after the final checks?
        last: bool,
    },
    /// Make the candidate.
    Build(LandingId),
    /// Run a check.
    Check {
        /// For which landing.
        landing: LandingId,
        /// Name of the check.
        check: String,
        /// On which tree.
        tree: TreeId,
        /// Is that tree the base's?
        control: bool,
    },
    /// Change the state of a landing.
    Turn {
        /// Which.
        landing: LandingId,
        /// How.
        event: LandingEvent,
        /// Code of the reason.
        why: Option<&'static str>,
    },
    /// A check is red on the base: stop the line.
    BaseRed {
        /// The landing that found it.
        landing: LandingId,
        /// The check.
        check: String,
    },
    /// A group cannot land whole; this member goes back to review.
    Regroup(StepId),
}

/// The next wish, if any.
pub(crate) fn wish(view: &RunView) -> Option<Wish> {
    for (id, record) in &view.landings {
        if let Some(wish) = advance(view, *id, record) {
            return Some(wish);
        }
    }
    if view.landings.values().any(|record| busy(view, record)) {
        return None;
    }
    regroup(view).or_else(|| open(view)).or_else(|| open_last(view))
}

/// Is a landing under way or held, so that no other may be opened?
fn busy(view: &RunView, record: &LandingRecord) -> bool {
    match record.state {
        Landing::Queued | Landing::Candidate | Landing::Checking | Landing::Red | Landing::Held => true,
        Landing::Green => !gathered(view, record),
        Landing::Landed | Landing::Ejected => false,
    }
}

/// Has this landing passed its own checks and does it wait for the final ones?
pub(crate) fn gathered(view: &RunView, record: &LandingRecord) -> bool {
    record.state == Landing::Green && view.gathers() && !record.last
}

/// Is the commit of an entry on the target?
pub(crate) fn landed(view: &RunView, entry: &Entry) -> bool {
    let record = view.step(&entry.step);
    record.landed.is_some() && record.work.as_ref().is_some_and(|work| work.commit == entry.commit)
}

/// Is the commit of an entry in the tip that candidates are made on?
fn in_tip(view: &RunView, entry: &Entry) -> bool {
    landed(view, entry) || view.landings.values().any(|r| gathered(view, r) && r.entries.contains(entry))
}

fn advance(view: &RunView, id: LandingId, record: &LandingRecord) -> Option<Wish> {
    match record.state {
        Landing::Queued => Some(Wish::Build(id)),
        Landing::Checking => check(view, id, record),
        Landing::Red => control(view, id, record),
        Landing::Green | Landing::Candidate => None,
        Landing::Held | Landing::Landed | Landing::Ejected => None,
    }
}

/// What is known of one check on one tree.
enum Known {
    Green,
    Bad,
    Ask,
    /// It cannot be run here: nobody's change is to blame.
    Fault,
}

fn known(view: &RunView, tree: &TreeId, check: &Check) -> Known {
    match view.verdicts.get(&(tree.clone(), check.name.clone())) {
        None => Known::Ask,
        Some(record) => match record.verdict {
            Verdict::Green => Known::Green,
            Verdict::Red => Known::Bad,
            Verdict::Timeout | Verdict::Error if record.unsure < UNSURE_MAX => Known::Ask,
            Verdict::Timeout => Known::Bad,
            Verdict::Error => Known::Fault,
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

fn check(view: &RunView, id: LandingId, record: &LandingRecord) -> Option<Wish> {
    let candidate = record.candidate.as_ref()?;
    let running = view.checking.iter().filter(|(landing, _, _)| *landing == id);
    let names: Vec<&String> = running.map(|(_, check, _)| check).collect();
    let mut red = false;
    let mut open = None;
    for check in wanted(view, record) {
        match known(view, &candidate.tree, check) {
            Known::Green => {}
            Known::Bad => red = true,
            Known::Fault if names.is_empty() => return Some(held(id)),
            Known::Fault => {}
            Known::Ask if names.contains(&&check.name) => {}
            Known::Ask => open = open.or(Some(check)),
        }
    }
    if red {
        let fail = Wish::Turn { landing: id, event: LandingEvent::Fail, why: None };
        return names.is_empty().then_some(fail);
    }
    match open {
        Some(check) if names.len() < view.started.options.checks as usize => {
            Some(Wish::Check { landing: id, check: check.name.clone(), tree: candidate.tree.clone(), control: false })
        }
        Some(_) => None,
        None if names.is_empty() => Some(Wish::Turn { landing: id, event: LandingEvent::Pass, why: None }),
        None => None,
    }
}

/// The machine is at fault: the landing waits for it to be mended.
fn held(landing: LandingId) -> Wish {
    Wish::Turn { landing, event: LandingEvent::Hold, why: Some("environment") }
}

/// A red candidate: is it the change, or is the base red by itself?
fn control(view: &RunView, id: LandingId, record: &LandingRecord) -> Option<Wish> {
    let candidate = record.candidate.as_ref()?;
    let is_bad = |check: &&Check| matches!(known(view, &candidate.tree, check), Known::Bad);
    let check = wanted(view, record).into_iter().find(is_bad)?;
    match known(view, &candidate.old_tree, check) {
        Known::Green => Some(Wish::Turn { landing: id, event: LandingEvent::Eject, why: Some("red") }),
        Known::Bad => Some(Wish::BaseRed { landing: id, check: check.name.clone() }),
        Known::Fault => Some(held(id)),
        Known::Ask => {
            let running = view.checking.iter().any(|(landing, _, _)| *landing == id);
            let tree = candidate.old_tree.clone();
            (!running).then(|| Wish::Check { landing: id, check: check.name.clone(), tree, control: true })
        }
    }
}

/// A member of a group whose group cannot land any more.
fn regroup(view: &RunView) -> Option<Wish> {
    view.plan.steps().iter().find_map(|step| {
        let group = step.group.as_ref()?;
        let queued = view.step(&step.id).state == Step::Queued;
        let broken = view.plan.group_members(group).iter().any(|member| {
            let state = view.step(&member.id).state;
            state.terminal() && !matches!(state, Step::Landed | Step::Unchanged | Step::Done)
        });
        (queued && broken).then(|| Wish::Regroup(step.id.clone()))
    })
}

/// The next landing: first come, first served, among those whose base has landed.
fn open(view: &RunView) -> Option<Wish> {
    // A run that ends at its reviews lands only what somebody asks for.
    let asked = |step: &StepId| view.started.options.until == Until::Landed || view.step(step).merge_asked;
    let mut queued: Vec<_> =
        view.plan.steps().iter().filter(|step| view.step(&step.id).state == Step::Queued).collect();
    queued.sort_by_key(|step| view.step(&step.id).queued_seq);
    queued.iter().find_map(|step| {
        let members = match &step.group {
            None => vec![*step],
            Some(group) => view.plan.group_members(group),
        };
        let settled = members.iter().all(|member| {
            let state = view.step(&member.id).state;
            matches!(state, Step::Queued | Step::Unchanged | Step::Done | Step::Landed)
        });
        let mut entries: Vec<Entry> = members
            .iter()
            .filter(|member| view.step(&member.id).state == Step::Queued)
            .filter_map(|member| {
                let work = view.step(&member.id).work.as_ref()?;
                Some(Entry { step: member.id.clone(), commit: work.commit.clone() })
            })
            .collect();
        // Within a group the order is that of the bases: what stands on another comes after it.
        let order = view.plan.order();
        entries.sort_by_key(|entry| order.iter().position(|id| **id == entry.step));
        let eligible = entries.iter().all(|entry| {
            let on = view.step(&entry.step).work.iter().flat_map(|work| &work.on);
            on.into_iter().all(|below| in_tip(view, below) || entries.contains(below))
        });
        let wanted = entries.iter().all(|entry| asked(&entry.step));
        (settled && eligible && wanted && !entries.is_empty()).then_some(Wish::Open { entries, last: false })
    })
}

/// When nothing else can join, what has been gathered goes through the final checks.
fn open_last(view: &RunView) -> Option<Wish> {
    view.gathered.as_ref()?;
    let open = view.steps.values().any(|record| !record.state.terminal() && record.state != Step::Landing);
    let gathered = view.landings.values().filter(|record| gathered(view, record));
    let entries: Vec<Entry> = gathered.flat_map(|record| record.entries.clone()).collect();
    (!open && !entries.is_empty()).then_some(Wish::Open { entries, last: true })
}

/// What an ejected entry's step gets: another try or its end.
pub(crate) fn sent_back(view: &RunView, step: &StepId) -> StepEvent {
    let retries = view.plan.step(step).map_or(0, |step| step.retries);
    if view.step(step).failures < retries { StepEvent::Retry } else { StepEvent::Fail }
}
