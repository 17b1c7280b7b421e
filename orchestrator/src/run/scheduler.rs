//! What the run does next: a pure function of its state. One decision at a time, until there is none.
//! [`super::agenda`] gives the same answers without asking every step.

use std::collections::BTreeSet;

use wattle_planner::{EdgeKind, StepId};

use crate::journal::RunView;
use crate::journal::event::Entry;
use crate::journal::record::StepRecord;
use crate::options::Until;
use crate::queue::plan::{Wish, landed, moves, wish};
use crate::state::Machine;
use crate::state::landing::Landing;
use crate::state::run::RunEvent;
use crate::state::step::{Step, StepEvent};

/// What the run does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Change the state of a step.
    Step {
        /// Which.
        step: StepId,
        /// How.
        event: StepEvent,
        /// Code of the reason.
        why: Option<&'static str>,
        /// The reason in words.
        message: Option<String>,
    },
    /// Give a step to a worker, or move its change to a new base.
    Start {
        /// Which.
        step: StepId,
        /// Does its change only move?
        restack: bool,
    },
    /// What the queue wants.
    Queue(Wish),
    /// Nothing is left to do.
    Finish {
        /// How it ends.
        event: RunEvent,
        /// Code of the reason.
        why: Option<&'static str>,
    },
}

/// Why nothing new may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// A signal.
    Interrupt,
    /// A human's `stop`.
    Stop,
    /// The budget is used up.
    Budget,
    /// A check is red on the base.
    BaseRed,
    /// The model refuses every request.
    Model,
}

impl Halt {
    /// The event that ends the run.
    pub(crate) fn event(self) -> RunEvent {
        match self {
            Self::Interrupt => RunEvent::Interrupt,
            Self::Stop | Self::Model => RunEvent::Park,
            Self::Budget => RunEvent::Budget,
            Self::BaseRed => RunEvent::BaseRed,
        }
    }

    /// Are workers told to stop at once? Otherwise what they do is finished and kept.
    pub(crate) fn cancels(self) -> bool {
        match self {
            Self::Interrupt | Self::Stop => true,
            Self::Budget | Self::BaseRed | Self::Model => false,
        }
    }

    /// Code of the reason that the run ends with.
    pub(crate) fn why(self) -> Option<&'static str> {
        match self {
            Self::Interrupt => Some("signal"),
            Self::Model => Some("model"),
            Self::Stop | Self::Budget | Self::BaseRed => None,
        }
    }
}

/// The next decision, if any, by asking every step. A run that only lands starts no worker.
pub(super) fn decide(view: &RunView, halt: Option<Halt>, lands_only: bool) -> Option<Decision> {
    if let Some(halt) = halt {
        return (!in_flight(view)).then_some(Decision::Finish { event: halt.event(), why: halt.why() });
    }
    let order = view.plan.places_in_order();
    let at_work = view.steps.values().filter(|r| matches!(r.state, Step::Running | Step::Checking)).count();
    let free = !lands_only && at_work < view.started.options.jobs as usize;
    let start = |place: &usize| if free { start(view, *place) } else { None };
    order
        .iter()
        .find_map(|place| settle(view, *place))
        .or_else(|| wish(view).map(Decision::Queue))
        .or_else(|| order.iter().find_map(start))
        .or_else(|| (!in_flight(view)).then(|| finish(view)))
}

/// Is an effect under way whose end will come as an event?
fn in_flight(view: &RunView) -> bool {
    view.steps.values().any(|r| matches!(r.state, Step::Running | Step::Checking)) || in_queue(view)
}

/// Is such an effect under way in the queue?
fn in_queue(view: &RunView) -> bool {
    let landing = view.open.iter().map(|id| &view.landings[id]).any(|r| match r.state {
        Landing::Candidate => true,
        Landing::Green => moves(r),
        Landing::Queued | Landing::Checking | Landing::Red => false,
        Landing::Held | Landing::Landed | Landing::Ejected => false,
    });
    landing || !view.checking.is_empty()
}

/// What a step that is needed means for the one that needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    There,
    Pending,
    Bad,
}

pub(super) fn need(state: Step, kind: EdgeKind) -> Need {
    match state {
        Step::Done | Step::Unchanged | Step::Landed => Need::There,
        Step::Review | Step::Approved | Step::Queued | Step::Landing => Need::There,
        Step::Failed | Step::Blocked | Step::Skipped | Step::Cancelled | Step::Rejected => match kind {
            EdgeKind::Needs => Need::Bad,
            EdgeKind::After => Need::There,
        },
        Step::Waiting | Step::Ready | Step::Running | Step::NeedsInput => Need::Pending,
        Step::Checking | Step::Parked | Step::Stale => Need::Pending,
    }
}

/// A change of state that costs nothing.
pub(super) fn settle(view: &RunView, place: usize) -> Option<Decision> {
    let (id, record) = (&view.plan.steps()[place].id, view.steps.at(place));
    let turn = |event, why, message| Some(Decision::Step { step: id.clone(), event, why: Some(why), message });
    match record.state {
        Step::Waiting | Step::Ready | Step::Stale => {
            // A change that exists moves on without a rejected one; a step that has not begun does not.
            let begun = record.work.is_some();
            let bad = view.plan.before(place).iter().find(|(before, kind)| {
                let state = view.steps.at(*before).state;
                need(state, *kind) == Need::Bad && !(begun && state == Step::Rejected)
            });
            if let Some((bad, _)) = bad {
                let message = format!("{} is {}", view.plan.steps()[*bad].id, view.steps.at(*bad).state);
                return turn(StepEvent::Block, "needed", Some(message));
            }
            (record.state == Step::Waiting && ready_to_start(view, place)).then(|| ready(id))
        }
        Step::Blocked => {
            let edges = view.plan.before(place);
            let bad = edges.iter().any(|(before, kind)| need(view.steps.at(*before).state, *kind) == Need::Bad);
            (!bad).then(|| Decision::Step {
                step: id.clone(),
                event: StepEvent::Unblock,
                why: Some("needs"),
                message: None,
            })
        }
        Step::Review | Step::Queued if outdated(view, record) => turn(StepEvent::Stale, "base_changed", None),
        Step::Approved if outdated(view, record) => turn(StepEvent::Stale, "base_changed", None),
        Step::Approved if record.merge_asked || view.started.options.until == Until::Landed => {
            Some(Decision::Step { step: id.clone(), event: StepEvent::Queue, why: None, message: None })
        }
        Step::Running | Step::NeedsInput | Step::Checking | Step::Review | Step::Approved => None,
        Step::Queued | Step::Landing | Step::Parked | Step::Landed | Step::Done => None,
        Step::Unchanged | Step::Failed | Step::Skipped | Step::Cancelled | Step::Rejected => None,
    }
}

/// A step that waited can start.
pub(super) fn ready(id: &StepId) -> Decision {
    Decision::Step { step: id.clone(), event: StepEvent::Ready, why: None, message: None }
}

/// Is everything there that a step needs to start?
pub(super) fn ready_to_start(view: &RunView, place: usize) -> bool {
    let record = view.steps.at(place);
    let direct = view.plan.before(place).iter().all(|(before, kind)| match need(view.steps.at(*before).state, *kind) {
        Need::There => true,
        Need::Pending => false,
        Need::Bad => record.work.is_some(),
    });
    if !direct {
        return false;
    }
    if record.conflict_at.is_none() && view.plan.before(place).iter().all(|(before, _)| holds(view, *before)) {
        return true;
    }
    let ancestors = ancestors(view, place);
    let same = |at| view.landed_seq < at && ancestors.iter().all(|before| view.steps.at(*before).moved_seq < at);
    let conflict = record.conflict_at.is_some_and(same);
    // What fails further up has been dealt with by the step between; what is not there yet is waited for.
    !conflict && ancestors.iter().all(|before| need(view.steps.at(*before).state, EdgeKind::After) == Need::There)
}

/// Does the step's commit stand on a commit that will not land as it is? One that has to move itself will not.
fn outdated(view: &RunView, record: &StepRecord) -> bool {
    record.below().iter().any(|(place, commit)| {
        let now = view.steps.at(*place);
        let same = now.work.as_ref().is_some_and(|work| work.commit == *commit);
        !same || spoils(now.state)
    })
}

/// Will the commit of a step in this state not land as it is?
pub(super) fn spoils(state: Step) -> bool {
    matches!(state, Step::Rejected | Step::Cancelled | Step::Failed | Step::Blocked | Step::Stale)
}

/// Is the step's result in the tip, or something to stand on?
pub(super) fn holds(view: &RunView, place: usize) -> bool {
    view.steps.at(place).stands() || view.steps.at(place).state == Step::Landed
}

/// The steps whose results a step's base has to hold: those that it comes directly after and, behind one of
/// them that leaves nothing to stand on, those that this one came after.
fn ancestors(view: &RunView, place: usize) -> Vec<usize> {
    let before = |place: usize| view.plan.before(place).iter().map(|(before, _)| *before);
    let holds = |place: &usize| holds(view, *place);
    let direct: Vec<usize> = before(place).collect();
    if direct.iter().all(holds) {
        return direct;
    }
    let mut open = direct;
    let mut found = BTreeSet::new();
    while let Some(step) = open.pop() {
        if found.insert(step) && !holds(&step) {
            open.extend(before(step));
        }
    }
    found.into_iter().collect()
}

/// The commits that a step's base has to hold beside the tip, in plan order: those of what it comes after, less what one
/// of these holds already.
pub(crate) fn below(view: &RunView, id: &StepId) -> Vec<Entry> {
    let mut above = view.plan.position(id).map_or(Vec::new(), |place| ancestors(view, place));
    above.sort_unstable();
    let standing = |place: usize| {
        let record = view.steps.at(place);
        Some((place, record.work.as_ref().filter(|_| record.stands())?.commit.clone()))
    };
    let mut found = view.topmost(&above.into_iter().filter_map(standing).collect::<Vec<_>>());
    found.retain(|entry| !landed(view, entry));
    found
}

fn start(view: &RunView, place: usize) -> Option<Decision> {
    let (id, record) = (&view.plan.steps()[place].id, view.steps.at(place));
    if !matches!(record.state, Step::Ready | Step::Stale) {
        return None;
    }
    // A change that is there only has to move.
    let restack = record.work.is_some();
    ready_to_start(view, place).then(|| Decision::Start { step: id.clone(), restack })
}

/// How a run ends that has nothing left to do.
pub(super) fn finish(view: &RunView) -> Decision {
    let states: Vec<Step> = view.steps.values().map(|record| record.state).collect();
    let held = view.landings.values().any(|record| record.state == Landing::Held);
    let any = |wanted: &[Step]| states.iter().any(|state| wanted.contains(state));
    let (event, why) = if held {
        (RunEvent::Review, Some("held"))
    } else if view.steps.values().any(|r| r.state == Step::Review && r.why.as_deref() == Some("final_red")) {
        (RunEvent::Fail, Some("final_red"))
    } else if any(&[Step::NeedsInput]) {
        (RunEvent::NeedsInput, None)
    } else if states.iter().all(|state| state.terminal()) {
        let bad = states.iter().any(|state| state.exit() != 0);
        if bad { (RunEvent::Fail, Some("step")) } else { (RunEvent::Complete, None) }
    } else if any(&[Step::Parked]) && !any(&[Step::Review, Step::Approved]) {
        (RunEvent::Park, None)
    } else {
        (RunEvent::Review, Some("review"))
    };
    Decision::Finish { event, why }
}
