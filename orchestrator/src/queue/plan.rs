//! What the queue does next: a pure function of the run's state.
//!
//! Which candidate is worth a check slot, what may land and who is sent back is decided by [`super::train`] on places of
//! the queue; here its answers become landings. A landing is one candidate: the tip with one or more places on it.
//! Several are open at once over the same places (a prefix, a longer one, what is behind a red one); one at a time
//! moves the target, and those that begin with it go on from there.

use wattle_planner::StepId;
use wattle_workspace::TreeId;

use super::known::{Open, Queue, Said, given_up, runs, said, wanted};
use super::places::{Bits, PLACES_MAX};
use super::standing::{Ground, Planned, Standing};
use super::train::{Act, Estimate, Item, Known, Limits, UNSURE_MAX, plan};
use crate::ids::LandingId;
use crate::journal::RunView;
use crate::journal::event::Entry;
use crate::journal::observed::Observed;
use crate::journal::record::{LandingRecord, StepRecord};
use crate::options::Until;
use crate::state::Machine;
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};

/// Share of changes taken to be red, and how many changes that guess is worth against what the run has seen. One in
/// twenty is what large merge queues report.
const RED_SHARE: (f64, f64) = (0.05, 20.0);
/// So many reds in a row make the verdict of a final check. Two: the second is on a clean slot.
const FINAL_REDS: u32 = 2;

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
        /// Has it been red on this tree, so that it is asked once more on a clean slot?
        again: bool,
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
    /// Give up a landing through no fault of its entries.
    Withdraw {
        /// Which.
        landing: LandingId,
        /// Code of the reason.
        why: &'static str,
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

/// The next wish, if any, by looking at everything.
pub(crate) fn wish(view: &RunView) -> Option<Wish> {
    next_wish(&mut Standing::new(view), view)
}

/// The next wish, if any.
pub(crate) fn next_wish(standing: &mut Standing, view: &RunView) -> Option<Wish> {
    if standing.still == Some(view.queue_seq) {
        return None;
    }
    let wish = look(standing, view);
    standing.still = wish.is_none().then_some(view.queue_seq);
    wish
}

/// The next wish of a queue in which something has changed.
fn look(standing: &mut Standing, view: &RunView) -> Option<Wish> {
    standing.freshen(view);
    let flakes = standing.flake_share(view);
    let queue = standing.queue(view);
    let held = queue.open.iter().any(|open| open.record.state == Landing::Held);
    if let Some(wish) = stale(&queue, held) {
        return Some(wish);
    }
    if held {
        return None;
    }
    let built = queue.open.iter().find_map(|open| advance(view, open));
    if let Some(wish) = built.or_else(|| next_check(&queue)) {
        return Some(wish);
    }
    // What joined now would miss the last landing, which holds exactly what was gathered before it.
    if queue.open.iter().any(|open| open.record.last || open.record.state == Landing::Green) {
        return None;
    }
    if let Some(place) = standing.broken.first() {
        return Some(Wish::Regroup(view.plan.steps()[*place].id.clone()));
    }
    let (planned, wish) = train(standing, queue, flakes);
    if let Some(planned) = planned {
        standing.planned = Some(planned);
    }
    wish.or_else(|| open_last(view, standing))
}

/// Is the target about to move to this one?
pub(crate) fn moves(record: &LandingRecord) -> bool {
    record.state == Landing::Green && !record.gathered
}

/// What waits for the final checks, in the order in which it was put together.
pub(crate) fn gathered_in_order(view: &RunView) -> Vec<(LandingId, &LandingRecord)> {
    let mut left: Vec<_> = view.open.iter().map(|id| (*id, &view.landings[id])).collect();
    left.retain(|(_, record)| record.gathered);
    let mut line: Vec<(LandingId, &LandingRecord)> = Vec::new();
    let mut at = &view.tip;
    let old = |record: &LandingRecord| record.candidate.as_ref().map(|made| made.old.clone());
    while let Some(next) = left.iter().position(|(_, record)| old(record).as_ref() == Some(at)) {
        let (id, record) = left.remove(next);
        line.push((id, record));
        at = record.candidate.as_ref().map_or(at, |made| &made.new);
    }
    line
}

/// Is the commit of an entry on the target?
pub(crate) fn landed(view: &RunView, entry: &Entry) -> bool {
    let record = view.step(&entry.step);
    record.landed.is_some() && record.work.as_ref().is_some_and(|work| work.commit == entry.commit)
}

/// A landing whose entries or whose tip are not what they were, or that a held one stands before.
fn stale(queue: &Queue<'_>, held: bool) -> Option<Wish> {
    let front = queue.view.front();
    queue.open.iter().filter(|open| !open.record.last).find_map(|open| {
        let why = match open.record.state {
            Landing::Held | Landing::Green => return None,
            Landing::Queued | Landing::Candidate | Landing::Checking | Landing::Red if held => "held",
            _ if open.bits.is_none() => "base_changed",
            // What is being made is waited for: it tells how it found the tip.
            Landing::Queued | Landing::Candidate => return None,
            _ if open.record.candidate.as_ref().is_some_and(|made| made.old != *front) => "tip_moved",
            Landing::Checking | Landing::Red | Landing::Landed | Landing::Ejected => return None,
        };
        Some(Wish::Withdraw { landing: open.id, why })
    })
}

fn advance(view: &RunView, open: &Open<'_>) -> Option<Wish> {
    let (id, record) = (open.id, open.record);
    match record.state {
        Landing::Queued => Some(Wish::Build(id)),
        Landing::Checking => fault(view, id, record).or_else(|| decided(view, open)),
        Landing::Red if record.last => blame(view, id, record),
        Landing::Red | Landing::Green | Landing::Candidate => None,
        Landing::Held | Landing::Landed | Landing::Ejected => None,
    }
}

/// A check that cannot be run here: the landing waits for the machine to be mended.
fn fault(view: &RunView, id: LandingId, record: &LandingRecord) -> Option<Wish> {
    let candidate = record.candidate.as_ref()?;
    let gone = |tree| {
        let is_fault = |check| matches!(said(view, tree, check), Said::Fault(times) if times >= UNSURE_MAX);
        wanted(view, record).any(|check| is_fault(check) && !runs(view, id, tree, check))
    };
    let hold = Wish::Turn { landing: id, event: LandingEvent::Hold, why: Some("environment") };
    (gone(&candidate.tree) || gone(&candidate.old_tree)).then_some(hold)
}

/// What the verdicts say of a landing that nobody has to be asked about any more.
fn decided(view: &RunView, open: &Open<'_>) -> Option<Wish> {
    let (id, record, known) = (open.id, open.record, open.known);
    let turn = |event| Some(Wish::Turn { landing: id, event, why: None });
    match known {
        Known::Green if record.last => turn(LandingEvent::Pass),
        Known::Red { times } if record.last && times >= FINAL_REDS => turn(LandingEvent::Fail),
        Known::Unsure { .. } if record.last && given_up(known) => turn(LandingEvent::Fail),
        // Which of several is to blame is asked with other candidates; that it was red stays known.
        Known::Red { .. } if !is_one(view, record) => Some(Wish::Withdraw { landing: id, why: "split" }),
        Known::Unsure { .. } if given_up(known) && !is_one(view, record) && !record.last => {
            Some(Wish::Withdraw { landing: id, why: "split" })
        }
        Known::Green | Known::Red { .. } | Known::Unsure { .. } => None,
        Known::Unknown | Known::Running | Known::Clash => None,
    }
}

/// Is a landing over one place alone (or the last one, which cannot be split)?
pub(crate) fn is_one(view: &RunView, record: &LandingRecord) -> bool {
    let group = |entry: &Entry| view.plan.step(&entry.step).and_then(|step| step.group.clone());
    let first = record.entries.first();
    record.last
        || record.entries.len() == 1
        || first.is_some_and(|first| group(first).is_some() && record.entries.iter().all(|e| group(e) == group(first)))
}

/// The next check of a landing that has one open. First those that have none under way, then more of the same.
fn next_check(queue: &Queue<'_>) -> Option<Wish> {
    let view = queue.view;
    if view.checking.len() >= view.started.options.checks as usize {
        return None;
    }
    let of = |open: &Open<'_>, alone: bool| {
        let (id, record) = (open.id, open.record);
        let candidate = record.candidate.as_ref()?;
        if record.state != Landing::Checking || (alone && view.checking.iter().any(|(other, _, _)| *other == id)) {
            return None;
        }
        let red = matches!(open.known, Known::Red { .. });
        let (check, again) = wanted(view, record).find_map(|check| {
            let open = match said(view, &candidate.tree, check) {
                _ if runs(view, id, &candidate.tree, check) => return None,
                Said::Ask => !red,
                Said::Late(times) | Said::Fault(times) => !red && times < UNSURE_MAX,
                Said::Red(times) if record.last && times < FINAL_REDS => return Some((check, true)),
                Said::Green | Said::Red(_) => false,
            };
            open.then_some((check, false))
        })?;
        let (check, tree) = (check.name.clone(), candidate.tree.clone());
        Some(Wish::Check { landing: id, check, tree, control: false, again })
    };
    let find = |alone| queue.open.iter().find_map(|open| of(open, alone));
    find(true).or_else(|| find(false))
}

/// A red last landing: is it what was gathered, or is the base red by itself?
fn blame(view: &RunView, id: LandingId, record: &LandingRecord) -> Option<Wish> {
    let candidate = record.candidate.as_ref()?;
    let is_bad = |check: &&wattle_planner::Check| {
        matches!(said(view, &candidate.tree, check), Said::Red(_) | Said::Late(_) | Said::Fault(_))
    };
    let check = wanted(view, record).find(is_bad)?;
    let (name, tree) = (check.name.clone(), candidate.old_tree.clone());
    let ask = |again| {
        let running = view.checking.iter().any(|(landing, _, _)| *landing == id);
        let (check, tree) = (name.clone(), tree.clone());
        (!running).then_some(Wish::Check { landing: id, check, tree, control: true, again })
    };
    match said(view, &tree, check) {
        Said::Green => Some(Wish::Turn { landing: id, event: LandingEvent::Eject, why: Some("red") }),
        Said::Red(times) if times < FINAL_REDS => ask(true),
        Said::Late(times) | Said::Fault(times) if times < UNSURE_MAX => ask(false),
        Said::Red(_) | Said::Late(_) => Some(Wish::BaseRed { landing: id, check: name }),
        Said::Fault(_) => Some(Wish::Turn { landing: id, event: LandingEvent::Hold, why: Some("environment") }),
        Said::Ask => ask(false),
    }
}

/// What the queue does with its places and its free slots; with the plan, where a new one had to be made.
fn train(standing: &Standing, queue: Queue<'_>, flake_share: f64) -> (Option<Planned>, Option<Wish>) {
    let view = queue.view;
    let under_way = |open: &Open<'_>| match open.record.state {
        Landing::Queued | Landing::Candidate => true,
        Landing::Checking => {
            let asked = |(landing, _, tree): &(LandingId, String, TreeId)| {
                *landing == open.id && !is_control(view, open.id, tree)
            };
            open.known == Known::Running || view.checking.iter().any(asked)
        }
        Landing::Green | Landing::Red | Landing::Held | Landing::Landed | Landing::Ejected => false,
    };
    let ground = Ground {
        lines: standing.lines,
        pasts: standing.pasts,
        verdicts: view.verdicts.changes(),
        tip: queue.tip(),
        control: view.checking.iter().any(|(id, _, tree)| is_control(view, *id, tree)),
        slots: view.started.options.checks as usize,
        red_share: red_share(view),
        flake_share,
    };
    let open: Vec<_> = queue.open.iter().map(|open| (open.id, open.known, under_way(open))).collect();
    if let Some(planned) = &standing.planned
        && planned.ground == ground
        && only_begun(planned, &open, &queue)
    {
        return (None, planned.acts.iter().find_map(|act| wish_of(&queue, act)));
    }
    let running = queue.open.iter().zip(&open).filter(|(_, (_, _, under_way))| *under_way);
    let mut running: Vec<_> = running.filter_map(|(open, _)| open.bits.map(|bits| queue.line.items(bits))).collect();
    if ground.control {
        running.push(Vec::new());
    }
    let limits = Limits { slots: ground.slots, look_ahead: PLACES_MAX, red_share: ground.red_share, flake_share };
    let acts = plan(&queue.line.queue(), &running, &queue, &limits);
    let wish = acts.iter().find_map(|act| wish_of(&queue, act));
    (Some(Planned { ground, open, acts }), wish)
}

/// Has nothing come since a plan was made but landings that it asks for, and that say nothing so far? What it would be now
/// is what is left of it.
fn only_begun(planned: &Planned, open: &[(LandingId, Known, bool)], queue: &Queue<'_>) -> bool {
    let Some(new) = open.strip_prefix(planned.open.as_slice()) else { return false };
    let asked = |bits: Bits| {
        let is_it = |act: &Act| matches!(act, Act::Check { items, .. } if queue.line.of_items(items) == Some(bits));
        planned.acts.iter().any(is_it)
    };
    let opened = &queue.open[planned.open.len()..];
    new.iter().zip(opened).all(|((_, known, under_way), open)| {
        *known == Known::Running && *under_way && open.here && open.bits.is_some_and(asked)
    })
}

fn is_control(view: &RunView, id: LandingId, tree: &TreeId) -> bool {
    let candidate = view.landings[&id].candidate.as_ref();
    candidate.is_some_and(|candidate| candidate.old_tree == *tree && candidate.tree != *tree)
}

fn wish_of(queue: &Queue<'_>, act: &Act) -> Option<Wish> {
    let turn = |landing, event, why| Wish::Turn { landing, event, why };
    let bits = |items: &[Item]| queue.line.of_items(items);
    match act {
        Act::Land { items } => Some(match queue.landing(bits(items)?) {
            Some(open) => turn(open.id, LandingEvent::Pass, None),
            None => Wish::Open { entries: queue.line.entries(bits(items)?), last: false },
        }),
        Act::Check { items, .. } if items.is_empty() => control(queue).or_else(|| first_alone(queue)),
        Act::Check { items, .. } => {
            let bits = bits(items)?;
            match queue.landing(bits) {
                Some(open) => again(queue, open),
                None => {
                    let entries = || queue.line.entries(bits);
                    queue.line.is_whole(bits).then(|| Wish::Open { entries: entries(), last: false })
                }
            }
        }
        Act::Eject { item, why } => {
            let open = queue.landing(bits(&[*item])?)?;
            let why = match why {
                super::train::Why::Red => "red",
                super::train::Why::Timeout => "timeout",
                super::train::Why::Clash => "conflict",
            };
            Some(turn(open.id, LandingEvent::Eject, Some(why)))
        }
        Act::BaseRed => {
            let open = queue.suspect()?;
            let check = queue.blamed(open.record).next()?.name.clone();
            Some(Wish::BaseRed { landing: open.id, check })
        }
        Act::Cancel { items } => {
            let open = queue.landing(bits(items)?)?;
            Some(Wish::Withdraw { landing: open.id, why: "superseded" })
        }
    }
}

/// The first place alone, whose verdict is known from a landing that is over: it is asked what of it blames the tip.
fn first_alone(queue: &Queue<'_>) -> Option<Wish> {
    let first = queue.line.first()?;
    queue.landing(1).is_none().then(|| Wish::Open { entries: first.entries.clone(), last: false })
}

/// A check that is red on a place alone is asked once more, on a clean slot.
fn again(queue: &Queue<'_>, open: &Open<'_>) -> Option<Wish> {
    let (view, landing) = (queue.view, open.id);
    let tree = open.record.candidate.as_ref()?.tree.clone();
    let free = view.checking.len() < view.started.options.checks as usize;
    let is_open = |check: &&wattle_planner::Check| {
        matches!(said(view, &tree, check), Said::Red(_)) && !runs(view, landing, &tree, check)
    };
    let check = queue.blamed(open.record).find(is_open).filter(|_| free)?.name.clone();
    Some(Wish::Check { landing, check, tree, control: false, again: true })
}

/// A check that blames the first place is asked what it says of the tip.
fn control(queue: &Queue<'_>) -> Option<Wish> {
    let view = queue.view;
    let open = queue.suspect()?;
    if view.checking.len() >= view.started.options.checks as usize {
        return None;
    }
    let landing = open.id;
    let tree = open.record.candidate.as_ref()?.old_tree.clone();
    let (check, again) = queue.blamed(open.record).find_map(|check| match said(view, &tree, check) {
        _ if runs(view, landing, &tree, check) => None,
        Said::Ask | Said::Late(_) | Said::Fault(_) => Some((check, false)),
        Said::Red(_) => Some((check, true)),
        Said::Green => None,
    })?;
    Some(Wish::Check { landing, check: check.name.clone(), tree, control: true, again })
}

/// The share of red changes: the guess, corrected by what the run has seen.
fn red_share(view: &RunView) -> f64 {
    let (share, weight) = RED_SHARE;
    (view.reds as f64 + share * weight) / ((view.landed + view.reds) as f64 + weight)
}

/// The share of checks that are red without a reason: the guess, corrected by what the run's own checks have shown.
/// Nothing is carried over from other runs: what made checks flake then, a busy machine say, need not be here now.
pub(crate) fn flake_share(view: &RunView) -> f64 {
    let mut estimate = Estimate::new();
    for seen in view.observed.iter() {
        match seen {
            Observed::Green => estimate.checked(false),
            Observed::Flake => estimate.checked(true),
        }
    }
    estimate.flake_share()
}

/// Is it a member of a group that cannot land any more?
pub(super) fn is_broken(view: &RunView, place: usize) -> bool {
    let Some(group) = &view.plan.steps()[place].group else { return false };
    view.plan.group_places(group).iter().any(|member| {
        let state = view.steps.at(*member).state;
        state.terminal() && !matches!(state, Step::Landed | Step::Unchanged | Step::Done)
    })
}

/// When nothing else can join, what has been gathered goes through the final checks.
fn open_last(view: &RunView, standing: &Standing) -> Option<Wish> {
    view.gathered.as_ref()?;
    if standing.is_open() || !standing.joining.is_empty() {
        return None;
    }
    let gathered = gathered_in_order(view).into_iter();
    let entries: Vec<Entry> = gathered.flat_map(|(_, record)| record.entries.clone()).collect();
    (!entries.is_empty()).then_some(Wish::Open { entries, last: true })
}

/// May a step still join what is gathered, without a human? Where only what somebody asks for lands, the others are
/// not waited for.
pub(super) fn may_join(view: &RunView, record: &StepRecord) -> bool {
    let asked = view.started.options.until == Until::Landed || record.merge_asked;
    match record.state {
        Step::Landing => false,
        Step::Review | Step::Approved | Step::Queued | Step::Parked | Step::NeedsInput => asked,
        state => !state.terminal(),
    }
}

/// What an ejected entry's step gets: another try or its end.
pub(crate) fn sent_back(view: &RunView, step: &StepId) -> StepEvent {
    let retries = view.plan.step(step).map_or(0, |step| step.retries);
    if view.step(step).failures < retries { StepEvent::Retry } else { StepEvent::Fail }
}
