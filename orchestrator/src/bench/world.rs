//! The scheduler with the merge queue behind it, driven to the end of a run: every decision is the product's own, and is
//! folded into the state as the product's own events. What workers, git and checks would say is drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wattle_planner::{At, StepId};
use wattle_worker::outcome::Verdict;
use wattle_workspace::{CommitId, TreeId};

use super::scene::{begin, check, commit, roll, steps};
use crate::ids::LandingId;
use crate::journal::Recorder;
use crate::journal::command::{requeue, withdraw};
use crate::journal::event::{AttemptChange, Body, Candidate, CheckRef, Entry, LandingChange, Work};
use crate::journal::recorder::{RecordError, StepNote};
use crate::queue::plan::{Wish, moves, sent_back};
use crate::run::agenda::Agenda;
use crate::run::dispatcher::lands::land_events;
use crate::run::scheduler::{Decision, below};
use crate::state::attempt::{Attempt, AttemptEvent};
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};

/// Workers and checks at once.
const JOBS: u32 = 32;
const CHECKS: u32 = 8;
/// What the benchmark's world is like.
const LUCK: Luck = Luck { fail: 40, unchanged: 20, red: 10, flake: 0 };

/// Of a thousand attempts so many fail, change nothing, or are red in the queue; of a thousand checks so many are red without
/// a reason.
#[derive(Clone, Copy)]
struct Luck {
    fail: u64,
    unchanged: u64,
    red: u64,
    flake: u64,
}

/// What was measured.
#[derive(Debug)]
pub struct Scheduled {
    /// Steps of the plan.
    pub steps: usize,
    /// Edges between steps, needed and implicit.
    pub edges: usize,
    /// What ordering the plan took.
    pub planning: Duration,
    /// Nanoseconds of each decision that starts a step or changes its state.
    pub scheduler: Vec<u32>,
    /// The same for those about landings and checks.
    pub queue: Vec<u32>,
    /// The same for answers that there is nothing to decide now.
    pub idle: Vec<u32>,
    /// Events that were folded.
    pub events: u64,
    /// Everything else: folding, and this world itself.
    pub rest: Duration,
    /// Steps by the state that they ended in.
    pub ends: BTreeMap<&'static str, usize>,
}

/// Something that is under way and will end.
enum Open {
    Worker(StepId, bool),
    Candidate(LandingId),
    Check(CheckRef),
    Move(LandingId),
}

struct World {
    rec: Recorder,
    open: Vec<Open>,
    made: u64,
    seed: u64,
    luck: Luck,
    drawn: u64,
}

/// Runs a plan of so many steps to its end, with a check of each landing and, where it has a last one, of all of them.
///
/// # Errors
/// In words, when something that must not be is there.
pub fn scheduled(count: usize, last: bool, seed: u64) -> Result<Scheduled, String> {
    run(count, last, seed, LUCK)
}

fn run(count: usize, last: bool, seed: u64, luck: Luck) -> Result<Scheduled, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let steps = steps(count);
    let begun = Instant::now();
    let checks = [Some(At::Land), last.then_some(At::Final)].into_iter().flatten().map(check);
    let rec = begin(steps, checks.collect(), (JOBS, CHECKS), folder.path())?;
    let planning = begun.elapsed();
    let mut world = World { rec, open: Vec::new(), made: 1, seed, luck, drawn: 0 };
    let mut agenda = Agenda::new(&mut world.rec.view);
    let (mut scheduler, mut queue, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    let first = world.rec.seq();
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let decision = agenda.decide(&mut world.rec.view, None, false);
        let took = u32::try_from(asked.elapsed().as_nanos()).unwrap_or(u32::MAX);
        match &decision {
            Some(Decision::Step { .. } | Decision::Start { .. }) => scheduler.push(took),
            Some(Decision::Queue(_)) => queue.push(took),
            Some(Decision::Finish { .. }) => break,
            None => idle.push(took),
        }
        match decision {
            Some(decision) => world.carry_out(decision),
            None => world.next(),
        }
        .map_err(|error| error.to_string())?;
        world.rec.forget();
    }
    let decided: u64 = [&scheduler, &queue, &idle].into_iter().flatten().map(|ns| u64::from(*ns)).sum();
    let rest = begun.elapsed().saturating_sub(Duration::from_nanos(decided));
    let mut ends = BTreeMap::new();
    for record in world.rec.view.steps.values() {
        *ends.entry(record.state.as_str()).or_default() += 1;
    }
    let plan = &world.rec.view.plan;
    let edges = (0..count).map(|place| plan.before(place).len()).sum();
    Ok(Scheduled { steps: count, edges, planning, scheduler, queue, idle, events: world.rec.seq() - first, rest, ends })
}

impl World {
    fn dice(&mut self) -> u64 {
        self.drawn += 1;
        roll(self.seed, self.drawn)
    }

    fn carry_out(&mut self, decision: Decision) -> Result<(), RecordError> {
        match decision {
            Decision::Step { step, event, why, message } => {
                let note = StepNote { why: why.map(str::to_owned), message, ..StepNote::default() };
                self.rec.step(&step, event, note)
            }
            Decision::Start { step, restack } => {
                self.attempt(&step, None, restack)?;
                self.rec.step(&step, StepEvent::Start, StepNote::default())?;
                self.attempt(&step, Some(AttemptEvent::Execute), restack)?;
                self.open.push(Open::Worker(step, restack));
                Ok(())
            }
            Decision::Queue(wish) => self.grant(wish),
            Decision::Finish { .. } => Ok(()),
        }
    }

    fn attempt(&mut self, step: &StepId, event: Option<AttemptEvent>, restack: bool) -> Result<(), RecordError> {
        let record = self.rec.view.step(step);
        let (attempt, state, base, on) = match event {
            None => (record.attempt() + 1, Attempt::Leased, None, Vec::new()),
            Some(_) => {
                let tip = self.rec.view.front().clone();
                (record.attempt(), Attempt::Executing, Some(tip), below(&self.rec.view, step))
            }
        };
        let step = step.clone();
        let change = AttemptChange { step, attempt, event, state, restack, slot: None, base, on, cause: None };
        self.rec.emit(Body::AttemptState(Box::new(change)))
    }

    /// One of what is under way ends.
    fn next(&mut self) -> Result<(), RecordError> {
        let at = self.dice() as usize % self.open.len().max(1);
        match self.open.swap_remove(at) {
            Open::Worker(step, restack) => self.worked(&step, restack),
            Open::Candidate(id) => self.built(id),
            Open::Check(check) => self.checked(check),
            Open::Move(id) => land_events(&mut self.rec, id),
        }
    }

    fn worked(&mut self, step: &StepId, restack: bool) -> Result<(), RecordError> {
        let luck = self.dice() % 1_000;
        let writes = self.rec.view.plan.step(step).is_some_and(|step| !step.touches.is_empty());
        if !restack && luck < self.luck.fail {
            self.rec.attempt(step, AttemptEvent::Fail)?;
            let event = sent_back(&self.rec.view, step);
            return self.rec.step(step, event, StepNote::why("exit"));
        }
        self.rec.attempt(step, AttemptEvent::Succeed)?;
        if !writes {
            return self.rec.step(step, StepEvent::Done, StepNote::default());
        }
        if !restack && luck < self.luck.fail + self.luck.unchanged {
            return self.rec.step(step, StepEvent::Unchanged, StepNote::default());
        }
        self.made += 1;
        let record = self.rec.view.step(step);
        let attempt = record.attempts.last().expect("it has begun");
        let work = Work {
            attempt: attempt.number,
            commit: commit(self.made),
            tree: commit(self.made).as_str().parse().expect("an id is an id"),
            base: attempt.base.clone().expect("it has a base"),
            on: attempt.on.clone(),
            paths: vec![format!("{step}.rs")],
            outside: Vec::new(),
        };
        self.rec.step(step, StepEvent::Queue, StepNote { work: Some(work), ..StepNote::default() })
    }

    fn grant(&mut self, wish: Wish) -> Result<(), RecordError> {
        match wish {
            Wish::Open { entries, last } => {
                let landing = LandingId(self.rec.view.landings.len() as u32 + 1);
                let change = LandingChange {
                    landing,
                    event: None,
                    state: Landing::Queued,
                    entries,
                    group: None,
                    last,
                    candidate: None,
                    why: None,
                    culprit: None,
                };
                self.rec.emit(Body::LandingState(Box::new(change)))
            }
            Wish::Build(id) => {
                self.rec.landing(id, LandingEvent::Build, None, None)?;
                for entry in self.rec.view.landings[&id].entries.clone() {
                    if self.rec.view.step(&entry.step).state == Step::Queued {
                        self.rec.step(&entry.step, StepEvent::Land, StepNote::default())?;
                    }
                }
                self.open.push(Open::Candidate(id));
                Ok(())
            }
            Wish::Check { landing, check, tree, control, .. } => {
                let (landing, at) = (Some(landing), "land".to_owned());
                let check = CheckRef { check, at, tree, step: None, landing, control, key: None };
                self.open.push(Open::Check(check.clone()));
                self.rec.emit(Body::CheckStarted(check))
            }
            Wish::Withdraw { landing, why } => withdraw(&mut self.rec, landing, why),
            Wish::Turn { landing, event: LandingEvent::Eject, .. } => self.eject(landing),
            Wish::Turn { landing, event, why } => {
                self.rec.landing(landing, event, None, why)?;
                if event == LandingEvent::Pass && moves(&self.rec.view.landings[&landing]) {
                    self.open.push(Open::Move(landing));
                }
                Ok(())
            }
            Wish::BaseRed { landing, .. } => withdraw(&mut self.rec, landing, "base_red"),
            // A member of a group that cannot land whole: its user gives it up.
            Wish::Regroup(step) => {
                self.rec.step(&step, StepEvent::Review, StepNote::why("group"))?;
                self.rec.step(&step, StepEvent::Reject, StepNote::why("human"))
            }
        }
    }

    /// A candidate is made, of ids that are the same for the same entries on the same tip.
    fn built(&mut self, id: LandingId) -> Result<(), RecordError> {
        let record = &self.rec.view.landings[&id];
        if record.state != Landing::Candidate {
            return Ok(());
        }
        let number = |id: &str| u64::from_str_radix(&id[24..], 16).expect("an id of ours");
        let old = self.rec.view.front().clone();
        let mut at = old.clone();
        let mut commits: Vec<CommitId> = Vec::new();
        for entry in &record.entries {
            at = commit(roll(number(at.as_str()), number(entry.commit.as_str())) | 1 << 63);
            commits.push(at.clone());
        }
        let tree = |commit: &CommitId| commit.as_str().parse::<TreeId>().expect("an id is an id");
        let candidate = Candidate {
            old_tree: tree(&old),
            old,
            tree: tree(&at),
            new: at,
            trees: commits.iter().map(tree).collect(),
            commits,
            changed: record.entries.iter().map(|entry| format!("{}.rs", entry.step)).collect(),
        };
        self.rec.landing(id, LandingEvent::Check, Some(candidate), None)
    }

    fn checked(&mut self, check: CheckRef) -> Result<(), RecordError> {
        let under_way = self.rec.view.checking.iter();
        let mut under_way =
            under_way.filter(|(id, name, tree)| (Some(*id), name, tree) == (check.landing, &check.check, &check.tree));
        if under_way.next().is_none() {
            return Ok(());
        }
        let flake = self.dice() % 1_000 < self.luck.flake;
        let red = |entry: &Entry| {
            let number = u64::from_str_radix(&entry.commit.as_str()[24..], 16).expect("an id of ours");
            roll(self.seed ^ 0xbad, number) % 1_000 < self.luck.red
        };
        let landing = check.landing.and_then(|id| self.rec.view.landings.get(&id));
        let red = flake || !check.control && landing.is_some_and(|record| record.entries.iter().any(red));
        let verdict = if red { Verdict::Red } else { Verdict::Green };
        self.rec.emit(Body::CheckFinished { check, verdict, cached: false, exit: None, elapsed_ms: 1, output: None })
    }

    /// What is red goes back to its worker; other landings that hold it are given up.
    fn eject(&mut self, id: LandingId) -> Result<(), RecordError> {
        if self.rec.view.landings[&id].state == Landing::Checking {
            self.rec.landing(id, LandingEvent::Fail, None, Some("red"))?;
        }
        let entries = self.rec.view.landings[&id].entries.clone();
        let steps: BTreeSet<&StepId> = entries.iter().map(|entry| &entry.step).collect();
        for other in self.rec.view.open.clone().into_iter().filter(|other| *other != id) {
            if self.rec.view.landings[&other].entries.iter().any(|entry| steps.contains(&entry.step)) {
                withdraw(&mut self.rec, other, "split")?;
            }
        }
        self.rec.landing(id, LandingEvent::Eject, None, Some("red"))?;
        for entry in &entries {
            if self.rec.view.step(&entry.step).state != Step::Landing {
                requeue(&mut self.rec, std::slice::from_ref(entry), "split")?;
                continue;
            }
            let event = sent_back(&self.rec.view, &entry.step);
            self.rec.step(&entry.step, event, StepNote::why("red"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every decision is held against that of the scan, as in all builds with assertions.
    #[test]
    fn what_is_decided_step_by_step_is_what_a_look_at_everything_says() {
        for seed in 0..12 {
            let luck = Luck { fail: 100, unchanged: 50, red: [10, 100, 300][seed as usize % 3], flake: seed % 2 * 50 };
            let run = run(120, seed % 4 > 1, seed, luck).expect("it ends");
            let over = ["landed", "unchanged", "done", "failed", "blocked", "rejected"];
            assert!(run.ends.keys().all(|state| over.contains(state)), "seed {seed}: {:?}", run.ends);
            assert!(run.ends["landed"] > 40, "seed {seed}: {:?}", run.ends);
        }
    }
}
