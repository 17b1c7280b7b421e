//! Writing events: each is folded into the view first, then all of a batch reach the disk together.

use std::sync::Arc;

use wattle_planner::{Plan, StepId};

use super::blob::Blobs;
use super::event::{AttemptChange, Body, Event, LandingChange, StepChange};
use super::fold::FoldError;
use super::glance::Changes;
use super::record::RunView;
use super::store::{JournalError, Writer, event};
use crate::clock::Clock;
use crate::ids::LandingId;
use crate::state::attempt::AttemptEvent;
use crate::state::landing::LandingEvent;
use crate::state::run::RunEvent;
use crate::state::step::StepEvent;
use crate::state::{Machine, next};

/// A failure to write events.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The event is not legal here: a mistake of ours.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// A transition is not legal here: a mistake of ours.
    #[error(transparent)]
    Illegal(#[from] crate::state::Illegal),
    /// A blob could not be kept.
    #[error(transparent)]
    Blob(#[from] super::blob::BlobError),
}

/// The state of a run and the way to change it.
pub(crate) struct Recorder {
    /// The state, with every event of the open batch applied.
    pub(crate) view: RunView,
    /// Where it goes.
    pub(crate) writer: Writer,
    clock: Arc<dyn Clock>,
    batch: Vec<Event>,
    answered: Vec<(i64, String)>,
    changes: Changes,
    seq: u64,
}

/// What goes with a change of a step's state.
#[derive(Debug, Clone, Default)]
pub(crate) struct StepNote {
    /// Code of the reason.
    pub(crate) why: Option<String>,
    /// The reason in words.
    pub(crate) message: Option<String>,
    /// What it produced.
    pub(crate) work: Option<super::event::Work>,
    /// Its report.
    pub(crate) report: Option<crate::ids::Blob>,
    /// Words for its next worker.
    pub(crate) feedback: Option<String>,
}

impl StepNote {
    /// A note with a code only.
    pub(crate) fn why(code: &str) -> Self {
        Self { why: Some(code.to_owned()), ..Self::default() }
    }
}

impl Recorder {
    /// A recorder for a run that exists.
    pub(crate) fn new(mut view: RunView, writer: Writer, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        let seq = writer.last_seq()?;
        let begun = writer.reader.has_glance(&view.run)?;
        let changes = Changes::new(&mut view, begun);
        Ok(Self { view, writer, clock, batch: Vec::new(), answered: Vec::new(), changes, seq })
    }

    /// The blobs beside the journal.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.writer.reader.blobs
    }

    /// Keeps evidence as a blob, as JSON.
    pub(crate) fn keep(
        &self,
        evidence: &wattle_worker::outcome::Evidence,
    ) -> Result<crate::ids::Blob, super::blob::BlobError> {
        self.blobs().put(&serde_json::to_vec(evidence).expect("evidence is plain data"))
    }

    /// Adds an event to the batch.
    pub(crate) fn emit(&mut self, body: Body) -> Result<(), RecordError> {
        let event = event(self.seq + 1, self.clock.now_ms(), &self.view.run, body);
        self.view.apply(&event)?;
        self.seq += 1;
        self.batch.push(event);
        Ok(())
    }

    /// Adds the event of an amendment, with the plan that it names.
    pub(crate) fn amend(&mut self, plan: Arc<Plan>, body: Body) -> Result<(), RecordError> {
        self.view.take_plan(plan);
        self.changes.renew();
        self.emit(body)
    }

    /// Changes the state of a step.
    pub(crate) fn step(&mut self, step: &StepId, event: StepEvent, note: StepNote) -> Result<(), RecordError> {
        let record = self.view.step(step);
        let state = next(record.state, event)?;
        let change = StepChange {
            step: step.clone(),
            event,
            state,
            attempt: record.attempt(),
            terminal: state.terminal(),
            why: note.why,
            message: note.message,
            work: note.work,
            report: note.report,
            feedback: note.feedback,
        };
        self.emit(Body::StepState(Box::new(change)))
    }

    /// Changes the state of the newest attempt of a step.
    pub(crate) fn attempt(&mut self, step: &StepId, event: AttemptEvent) -> Result<(), RecordError> {
        let Some(attempt) = self.view.step(step).attempts.last() else { return Ok(()) };
        let change = AttemptChange {
            step: step.clone(),
            attempt: attempt.number,
            event: Some(event),
            state: next(attempt.state, event)?,
            restack: attempt.restack,
            slot: None,
            base: None,
            on: Vec::new(),
            cause: None,
        };
        self.emit(Body::AttemptState(Box::new(change)))
    }

    /// Changes the state of a landing.
    pub(crate) fn landing(
        &mut self,
        id: LandingId,
        event: LandingEvent,
        candidate: Option<super::event::Candidate>,
        why: Option<&str>,
    ) -> Result<(), RecordError> {
        let record = &self.view.landings[&id];
        let change = LandingChange {
            landing: id,
            event: Some(event),
            state: next(record.state, event)?,
            entries: record.entries.clone(),
            group: record.group.clone(),
            last: record.last,
            candidate,
            why: why.map(str::to_owned),
            culprit: None,
        };
        self.emit(Body::LandingState(Box::new(change)))
    }

    /// Gives up a landing because one of its steps does not merge with those before it.
    pub(crate) fn clash(&mut self, id: LandingId, culprit: &StepId) -> Result<(), RecordError> {
        let record = &self.view.landings[&id];
        let change = LandingChange {
            landing: id,
            event: Some(LandingEvent::Eject),
            state: next(record.state, LandingEvent::Eject)?,
            entries: record.entries.clone(),
            group: record.group.clone(),
            last: record.last,
            candidate: None,
            why: Some("clash".to_owned()),
            culprit: Some(culprit.clone()),
        };
        self.emit(Body::LandingState(Box::new(change)))
    }

    /// Changes the state of the run.
    pub(crate) fn run(&mut self, event: RunEvent, why: Option<&str>) -> Result<(), RecordError> {
        let state = next(self.view.state, event)?;
        self.emit(Body::RunState { event, state, why: why.map(str::to_owned) })
    }

    /// The event that says how the run is left.
    pub(crate) fn finished(&self, exit: u8) -> Body {
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for record in self.view.steps.values() {
            *counts.entry(record.state.as_str().to_owned()).or_default() += 1;
        }
        let (state, total, usd) = (self.view.state, self.view.steps.len(), self.view.spent.usd());
        Body::RunFinished { state, total, counts, usd, exit }
    }

    /// Notes the result of a command of another process, to be written with the batch.
    pub(crate) fn answer_command(&mut self, id: i64, result: String) {
        self.answered.push((id, result));
    }

    /// Is there anything to write?
    pub(crate) fn pending(&self) -> bool {
        !self.batch.is_empty() || !self.answered.is_empty()
    }

    /// Events of the open batch after a place.
    pub(crate) fn batch_after(&self, seq: u64) -> Vec<Event> {
        self.batch.iter().filter(|event| event.seq > seq).cloned().collect()
    }

    /// Place of the newest event.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Forgets the batch, which is then in the state alone: for benchmarks of what decides.
    pub(crate) fn forget(&mut self) {
        self.batch.clear();
        self.changes.forget(&mut self.view);
    }

    /// Writes the batch without its rows: for benchmarks of what they cost.
    pub(crate) fn commit_events(&mut self) -> Result<(), RecordError> {
        self.writer.append(&self.view.run, &self.batch, &self.answered, &[])?;
        self.forget();
        Ok(())
    }

    /// Writes the batch; returns it once it is on the disk.
    pub(crate) fn commit(&mut self) -> Result<Vec<Event>, RecordError> {
        if self.pending() {
            let rows = self.changes.take(&mut self.view);
            self.writer.append(&self.view.run, &self.batch, &self.answered, &rows)?;
        }
        self.answered.clear();
        Ok(std::mem::take(&mut self.batch))
    }
}
