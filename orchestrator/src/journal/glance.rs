//! What `status` shows of a run: small, and kept beside the events, so that whoever looks need not read them all.
//!
//! A run is a row for what never changes (the *frame*), one for what it is like now (the *head*), and one for each step
//! that is not as it began. They are written in the transaction of the events that change them. All of them come from
//! [`Glance::of`], a function of the folded state: what is kept is never more than a copy of what the events say, and
//! where it is missing it is made from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wattle_planner::{GroupId, Mode, Step as PlanStep, StepId};
use wattle_worker::outcome::Verdict;
use wattle_workspace::CommitId;

use super::record::{Approval, RunView, Spent, StepRecord, holds};
use crate::ids::RunId;
use crate::risk::{Risk, risk};
use crate::state::Machine;
use crate::state::landing::Landing;
use crate::state::run::Run;
use crate::state::step::Step;

/// The place of the frame among the rows of a run; steps have their place in the plan, from 0.
pub(crate) const FRAME: i64 = -2;
/// The place of the head.
pub(crate) const HEAD: i64 = -1;

/// A run, as far as `status` shows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Glance {
    /// Its id.
    pub(crate) run: RunId,
    /// Place of its last event.
    pub(crate) seq: u64,
    /// What never changes.
    pub(crate) frame: Frame,
    /// What it is like now.
    pub(crate) head: Head,
    /// Its steps, in plan order.
    pub(crate) steps: Vec<StepGlance>,
}

/// What never changes of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Its name.
    pub(crate) name: String,
    /// What was asked.
    pub(crate) task: String,
    /// Branch that it lands on.
    pub(crate) target: String,
    /// Commit that it started from.
    pub(crate) base: CommitId,
    /// How well workers are kept apart from the machine.
    pub(crate) isolation: String,
    /// Its steps, in plan order.
    pub(crate) steps: Vec<StepFrame>,
}

/// What never changes of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepFrame {
    /// Its id.
    pub(crate) id: StepId,
    /// Its name for people; `None` = its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<GroupId>,
    /// Its mode.
    pub(crate) mode: Mode,
    /// Places of the steps that it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) needs: Vec<u32>,
    /// What it may change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) touches: Vec<String>,
}

/// What a run is like now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Its state.
    pub(crate) state: Run,
    /// Tip of the target, as far as the run knows.
    pub(crate) tip: CommitId,
    /// Tokens and money.
    pub(crate) spent: Spent,
    /// Landings that are not over, oldest first.
    pub(crate) landings: Vec<LandingGlance>,
}

/// A landing that is not over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LandingGlance {
    /// Its state.
    pub(crate) state: Landing,
    /// Its steps, in landing order.
    pub(crate) entries: Vec<StepId>,
    /// Code of the reason.
    pub(crate) why: Option<String>,
    /// Paths in its way.
    pub(crate) held: Vec<String>,
    /// The checkout that holds it.
    pub(crate) held_by: String,
}

/// What a step is like now. The default is how every step begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepGlance {
    /// Its state.
    pub(crate) state: Step,
    /// Number of its attempts.
    #[serde(default)]
    pub(crate) attempts: usize,
    /// Code of the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// The slot of an attempt that is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<u32>,
    /// What it has to land.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) work: Option<WorkGlance>,
    /// Has it a branch?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) branch: bool,
    /// Has it landed?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) landed: bool,
    /// The commit that its branch stands for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<CommitId>,
    /// Verdict of its own check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<Verdict>,
    /// The approval that holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approved: Option<Approval>,
    /// Tokens and money; `None` = nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spent: Option<Spent>,
    /// The open question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) question: Option<String>,
    /// Conflicts that were predicted for its commit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) predicted: Vec<Foreseen>,
}

/// A commit that a step has to land.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkGlance {
    /// The attempt that made it.
    pub(crate) attempt: u32,
    /// The commit.
    pub(crate) commit: CommitId,
    /// How carefully it wants to be read.
    pub(crate) risk: Risk,
}

/// A conflict that was predicted; whether it still holds depends on what others are at now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Foreseen {
    /// The step that lands first, or the target.
    pub(crate) with: String,
    /// Its commit.
    pub(crate) theirs: CommitId,
    /// The step's own.
    pub(crate) ours: CommitId,
    /// Where they conflict.
    pub(crate) paths: Vec<String>,
}

impl Glance {
    /// What the events say.
    pub(crate) fn of(view: &RunView) -> Self {
        let steps = view.plan.steps().iter().map(|step| StepGlance::of(step, view.step(&step.id)));
        let (run, seq) = (view.run.clone(), view.seq);
        Self { run, seq, frame: Frame::of(view), head: Head::of(view), steps: steps.collect() }
    }

    /// Every step with what never changes of it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&StepFrame, &StepGlance)> {
        self.frame.steps.iter().zip(&self.steps)
    }

    /// The predictions for each step that still hold, by its place.
    pub(crate) fn predictions(&self) -> BTreeMap<usize, Vec<&Foreseen>> {
        if self.steps.iter().all(|step| step.predicted.is_empty()) {
            return BTreeMap::new();
        }
        let known: BTreeMap<&str, &StepGlance> = self.all().map(|(frame, step)| (frame.id.as_str(), step)).collect();
        let side = |step: &StepGlance| (step.landed, step.commit.clone());
        let still = |step: &StepGlance, found: &Foreseen| {
            let first = known.get(found.with.as_str()).map(|step| side(step));
            holds(&self.head.tip, (first, &found.theirs), (Some(side(step)), &found.ours))
        };
        let places = self.steps.iter().enumerate();
        places.map(|(place, step)| (place, step.predicted.iter().filter(|f| still(step, f)).collect())).collect()
    }
}

impl Frame {
    fn of(view: &RunView) -> Self {
        let started = &view.started;
        let place = |id: &StepId| view.plan.position(id).and_then(|place| u32::try_from(place).ok());
        let step = |step: &PlanStep| StepFrame {
            id: step.id.clone(),
            title: (step.title != step.id.as_str()).then(|| step.title.clone()),
            group: step.group.clone(),
            mode: step.mode,
            needs: step.needs.iter().filter_map(place).collect(),
            touches: step.touches.iter().map(|glob| glob.as_str().to_owned()).collect(),
        };
        Self {
            name: started.name.clone(),
            task: started.task.clone(),
            target: started.target.clone(),
            base: started.base.commit.clone(),
            isolation: started.isolation.clone(),
            steps: view.plan.steps().iter().map(step).collect(),
        }
    }
}

impl Head {
    fn of(view: &RunView) -> Self {
        let open = view.open.iter().map(|id| &view.landings[id]).map(|record| LandingGlance {
            state: record.state,
            entries: record.entries.iter().map(|entry| entry.step.clone()).collect(),
            why: record.why.clone(),
            held: record.held.clone(),
            held_by: record.held_by.clone(),
        });
        Self { state: view.state, tip: view.tip.clone(), spent: view.spent.clone(), landings: open.collect() }
    }
}

impl Default for StepGlance {
    fn default() -> Self {
        Self {
            state: Step::Waiting,
            attempts: 0,
            why: None,
            message: None,
            slot: None,
            work: None,
            branch: false,
            landed: false,
            commit: None,
            check: None,
            approved: None,
            spent: None,
            question: None,
            predicted: Vec::new(),
        }
    }
}

impl StepGlance {
    fn of(step: &PlanStep, record: &StepRecord) -> Self {
        let attempt = record.attempts.last().filter(|attempt| !attempt.state.terminal());
        let work = record.work.as_ref().map(|work| WorkGlance {
            attempt: work.attempt,
            commit: work.commit.clone(),
            risk: risk(step, &work.paths, &work.outside),
        });
        let predicted = record.predicted.values().map(|found| Foreseen {
            with: found.a.clone(),
            theirs: found.a_commit.clone(),
            ours: found.b_commit.clone(),
            paths: found.paths.clone(),
        });
        Self {
            state: record.state,
            attempts: record.attempts.len(),
            why: record.why.clone(),
            message: record.message.clone(),
            slot: attempt.and_then(|attempt| attempt.slot),
            work,
            branch: record.branch.is_some(),
            landed: record.landed.is_some(),
            commit: record.commit().map(|(commit, _)| commit.clone()),
            check: record.check,
            approved: record.approved.clone(),
            spent: (record.spent != Spent::default()).then(|| record.spent.clone()),
            question: record.gate.as_ref().map(|gate| gate.question.clone()),
            predicted: predicted.collect(),
        }
    }
}

/// A row, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// [`FRAME`], [`HEAD`] or the place of a step.
    pub(crate) place: i64,
    /// What is there, JSON.
    pub(crate) json: String,
}

/// Which rows of a run are not as they were written last.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Are there rows of the run at all?
    begun: bool,
    head: String,
}

impl Changes {
    /// `begun`: are there rows of the run, as of its last event?
    pub(crate) fn new(view: &mut RunView, begun: bool) -> Self {
        view.touched.glance.watch();
        Self { begun, head: String::new() }
    }

    /// All rows are written anew, also that of what else never changes.
    pub(crate) fn renew(&mut self) {
        self.begun = false;
    }

    /// Takes what has changed for written.
    pub(crate) fn forget(&mut self, view: &mut RunView) {
        view.touched.glance.take();
    }

    /// The rows to write, with the events that the state has from since the last time.
    pub(crate) fn take(&mut self, view: &mut RunView) -> Vec<Row> {
        let touched = view.touched.glance.take();
        if !self.begun {
            self.begun = true;
            let rows = rows(view);
            self.head = rows.iter().find(|row| row.place == HEAD).map_or(String::new(), |row| row.json.clone());
            return rows;
        }
        let mut places = touched;
        places.sort_unstable();
        places.dedup();
        let step = |place: usize| {
            let step = &view.plan.steps()[place];
            row(place as i64, &StepGlance::of(step, view.steps.at(place)))
        };
        let mut rows: Vec<Row> = places.into_iter().map(step).collect();
        let head = row(HEAD, &Head::of(view));
        if head.json != self.head {
            self.head.clone_from(&head.json);
            rows.push(head);
        }
        rows
    }
}

/// All rows of a run.
pub(crate) fn rows(view: &RunView) -> Vec<Row> {
    let glance = Glance::of(view);
    let steps = glance.steps.iter().zip(0..).filter(|(step, _)| **step != StepGlance::default());
    let steps = steps.map(|(step, place)| row(place, step));
    [row(FRAME, &glance.frame), row(HEAD, &glance.head)].into_iter().chain(steps).collect()
}

fn row(place: i64, value: &impl Serialize) -> Row {
    Row { place, json: serde_json::to_string(value).expect("a glance is plain data") }
}
