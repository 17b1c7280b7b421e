//! Rebuilding a run from its events and its frozen inputs.

use std::sync::Arc;

use wattle_planner::{At, Plan, Problems, parse_plan};

use super::blob::{BlobError, Blobs};
use super::event::{Body, Event, RunStarted};
use super::fold::FoldError;
use super::record::{RunView, StepRecord};
use super::records::StepRecords;
use crate::state::run::Run;
use crate::state::step::Step;

/// A failure to rebuild a run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The run has no first event.
    #[error("replay a run that has no first event")]
    Empty,
    /// The frozen plan is no plan.
    #[error("read the frozen plan: {0}")]
    Plan(#[from] Problems),
    /// A frozen input is not there.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The history is not a legal one.
    #[error(transparent)]
    Fold(#[from] FoldError),
}

impl StepRecord {
    /// How every step begins.
    fn new() -> Self {
        Self {
            state: Step::Waiting,
            why: None,
            message: None,
            attempts: Vec::new(),
            failures: 0,
            work: None,
            below: Vec::new(),
            branch: None,
            approved: None,
            merge_asked: false,
            report: None,
            drafts: Vec::new(),
            feedback: Vec::new(),
            predicted: Default::default(),
            cancelling: false,
            sent_back: false,
            split: None,
            asked: 0,
            gate: None,
            answers: Default::default(),
            gathered: false,
            landed: None,
            check: None,
            conflict_at: None,
            fresh: false,
            moved_seq: 0,
            queued_seq: 0,
            queued_at: String::new(),
            spent: Default::default(),
        }
    }
}

impl RunView {
    /// The state that the first event of a run makes.
    pub(crate) fn begin(first: &Event, started: &RunStarted, plan: Arc<Plan>) -> Self {
        let record = StepRecord::new();
        Self {
            run: first.run.clone(),
            started: started.clone(),
            plans: Vec::new(),
            splits: Default::default(),
            state: Run::Planning,
            why: None,
            tip: started.base.commit.clone(),
            gathered: None,
            steps: StepRecords::new(plan.clone(), &record),
            plan,
            landings: Default::default(),
            open: Default::default(),
            verdicts: Default::default(),
            checking: Vec::new(),
            observed: Default::default(),
            touched: Default::default(),
            spent: Default::default(),
            landed_seq: 0,
            queue_seq: first.seq,
            landed: 0,
            reds: 0,
            resumed_seq: first.seq,
            seq: first.seq,
        }
    }

    /// Takes the plan that an amendment is about to name. The steps that there were are where they were.
    pub(crate) fn take_plan(&mut self, plan: Arc<Plan>) {
        debug_assert!(self.steps.keys().zip(plan.steps()).all(|(id, step)| *id == step.id));
        self.steps.extend(Arc::clone(&plan), &StepRecord::new());
        self.plan = plan;
    }

    /// Do landings gather for checks that run once, at the end?
    pub(crate) fn gathers(&self) -> bool {
        self.plan.checks().unwrap_or_default().iter().any(|check| check.at == At::Final)
    }
}

/// Folds the events of one run.
pub(crate) fn replay(events: &[Event], blobs: &Blobs) -> Result<RunView, ReplayError> {
    let first = events.first().ok_or(ReplayError::Empty)?;
    let Body::RunStarted(started) = &first.body else { return Err(ReplayError::Empty) };
    let plan = parse_plan(&started.plan_name, &blobs.text(&started.plan)?)?;
    let mut view = RunView::begin(first, started, Arc::new(plan));
    for event in &events[1..] {
        if let Body::PlanAmended { plan, .. } = &event.body {
            view.take_plan(Arc::new(parse_plan(&started.plan_name, &blobs.text(plan)?)?));
        }
        view.apply(event)?;
    }
    Ok(view)
}
