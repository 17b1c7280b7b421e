//! What a worker says, as events, and what it is told.

use tokio::sync::oneshot;
use wattle_planner::StepId;
use wattle_worker::host::{Intent, Message, Proposal, Reply, StepResult, Usage};
use wattle_worker::model::Wall;
use wattle_worker::outcome::Evidence;
use wattle_workspace::TreeId;

use super::Dispatcher;
use crate::ids::Blob;
use crate::journal::event::{Body, CheckRef};
use crate::journal::recorder::{RecordError, StepNote};
use crate::options::OnInput;
use crate::run::limits::{Claim, Grant, settled};
use crate::run::scheduler::Halt;
use crate::state::attempt::AttemptEvent;
use crate::state::step::{Step, StepEvent};

impl Dispatcher<'_> {
    /// Takes up one message of a worker.
    pub(super) fn hear(
        &mut self,
        step: &StepId,
        attempt: u32,
        message: Message,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), RecordError> {
        let turn = matches!(message, Message::Result(StepResult::Turn { .. }));
        match message {
            Message::Intent(intent) => self.intent(step, attempt, intent)?,
            Message::Result(result) => self.result(step, attempt, result)?,
            Message::Usage(usage) => self.used(step, attempt, usage)?,
            Message::Reserve { tokens, nano_usd } => {
                let claim = Claim { tokens, nano_usd: nano_usd.unwrap_or(0) };
                return self.reserve(step, claim, reply);
            }
            Message::Ask { to, question, options } => return self.asked(step, (to, question, options), reply),
            Message::Propose(Proposal::Split { json }) => return self.split_asked(step, attempt, &json, reply),
            Message::Propose(Proposal::Plan { .. } | Proposal::Record { .. }) => {
                let reason = "a step proposes no plan".to_owned();
                self.reply(reply, Reply::Refused { reason });
                return Ok(());
            }
        }
        let seq = self.rec.seq();
        let words = turn.then(|| self.predictor.hear(step)).flatten();
        self.reply(reply, words.map_or(Reply::Ack { seq }, |words| Reply::Told { seq, words }));
        Ok(())
    }

    fn intent(&mut self, step: &StepId, attempt: u32, intent: Intent) -> Result<(), RecordError> {
        let state = self.rec.view.step(step).state;
        match &intent {
            Intent::Execute | Intent::Tool { .. } => {}
            Intent::Commit { .. } => self.rec.attempt(step, AttemptEvent::Commit)?,
            Intent::Check { tree, .. } => {
                self.rec.attempt(step, AttemptEvent::Check)?;
                if state == Step::Running {
                    self.rec.step(step, StepEvent::Check, StepNote::default())?;
                }
                self.rec.emit(Body::CheckStarted(own_check(step, tree)))?;
            }
            Intent::Repair { number } => {
                self.rec.attempt(step, AttemptEvent::Repair)?;
                if state == Step::Checking {
                    self.rec.step(step, StepEvent::Repair, StepNote::why("repair"))?;
                }
                self.rec.emit(Body::RepairStarted { step: step.clone(), attempt, number: *number })?;
            }
        }
        self.rec.emit(Body::Intent { step: step.clone(), attempt, intent })
    }

    fn result(&mut self, step: &StepId, attempt: u32, result: StepResult) -> Result<(), RecordError> {
        match result {
            StepResult::Executed { evidence } => self.keep(step, attempt, "execute".to_owned(), &evidence).map(drop),
            StepResult::Checked { tree, result } => {
                let evidence = self.keep(step, attempt, "check".to_owned(), &result.evidence)?;
                self.rec.emit(Body::CheckFinished {
                    check: own_check(step, &tree),
                    verdict: result.verdict,
                    cached: false,
                    exit: result.evidence.exit,
                    elapsed_ms: result.evidence.elapsed_ms,
                    output: Some(evidence),
                })
            }
            StepResult::Tool { id, evidence, .. } => self.keep(step, attempt, id, &evidence).map(drop),
            StepResult::Turn { index, json, usage } => {
                // The row and the turn that it paid for are in one batch, and a batch is one transaction.
                if let Some(usage) = usage {
                    self.used(step, attempt, usage)?;
                }
                let message = self.rec.blobs().put(json.as_bytes())?;
                self.rec.emit(Body::Turn { step: step.clone(), attempt, index, message })
            }
            StepResult::ViewEdit { json } => {
                let edit = self.rec.blobs().put(json.as_bytes())?;
                self.rec.emit(Body::ViewEdit { step: step.clone(), attempt, edit })
            }
            StepResult::Refused { wall, message } => self.refused(step, wall, message),
            StepResult::BoundHit { bound, message } => {
                self.rec.emit(Body::BoundHit { step: Some(step.clone()), bound, message })
            }
        }
    }

    fn keep(&mut self, step: &StepId, attempt: u32, of: String, evidence: &Evidence) -> Result<Blob, RecordError> {
        let blob = self.rec.keep(evidence)?;
        let (step, exit) = (step.clone(), evidence.exit);
        self.rec.emit(Body::Evidence { step, attempt, of, evidence: blob.clone(), exit })?;
        Ok(blob)
    }

    pub(super) fn reserve(
        &mut self,
        step: &StepId,
        claim: Claim,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), RecordError> {
        match self.budget.reserve(step.clone(), claim, settled(&self.rec.view.spent)) {
            Grant::Granted => self.reply(reply, Reply::Granted),
            Grant::Wait => self.reserving.push((step.clone(), claim, reply)),
            Grant::Refused(reason) => {
                self.out_of_budget(step, reason, reply)?;
            }
        }
        Ok(())
    }

    /// The worker parks: its conversation and its worktree wait for a higher cap. What else is under way is
    /// finished and kept; nothing new starts.
    fn out_of_budget(
        &mut self,
        step: &StepId,
        message: String,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), RecordError> {
        let bound = "budget".to_owned();
        self.rec.emit(Body::BoundHit { step: Some(step.clone()), bound, message })?;
        self.reply(reply, Reply::Cancel);
        self.stop_all(Halt::Budget);
        Ok(())
    }

    /// A row of the ledger: the claim that was open for it is settled.
    fn used(&mut self, step: &StepId, attempt: u32, usage: Box<Usage>) -> Result<(), RecordError> {
        let miss = usage.miss.clone();
        self.rec.emit(Body::Usage { step: Some(step.clone()), attempt, usage })?;
        if let Some(miss) = miss {
            self.rec.emit(Body::CacheMiss { step: step.clone(), attempt, miss })?;
        }
        self.settle_claim(step)
    }

    /// Every further request would be refused as well: nothing new starts, and what has been done is kept.
    pub(super) fn refused(&mut self, step: &StepId, wall: Wall, message: String) -> Result<(), RecordError> {
        let (bound, halt) = match wall {
            Wall::Money => ("provider_money", Halt::Budget),
            Wall::Access => ("provider_access", Halt::Model),
        };
        self.rec.emit(Body::BoundHit { step: Some(step.clone()), bound: bound.to_owned(), message })?;
        self.stop_all(halt);
        Ok(())
    }

    /// A request is over: claims that waited for it are asked again.
    pub(super) fn settle_claim(&mut self, step: &StepId) -> Result<(), RecordError> {
        self.budget.settle(step);
        for (step, claim, reply) in std::mem::take(&mut self.reserving) {
            match self.budget.reserve(step.clone(), claim, settled(&self.rec.view.spent)) {
                Grant::Granted => self.reply(reply, Reply::Granted),
                Grant::Wait => self.reserving.push((step, claim, reply)),
                Grant::Refused(reason) => self.out_of_budget(&step, reason, reply)?,
            }
        }
        Ok(())
    }

    /// A human is asked.
    pub(super) fn ask_user(
        &mut self,
        step: &StepId,
        question: String,
        options: Vec<String>,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), RecordError> {
        match self.on_input() {
            OnInput::Deny => {
                let reason = "nobody answers questions in this run".to_owned();
                self.reply(reply, Reply::Refused { reason });
                return Ok(());
            }
            OnInput::Fail => {
                self.failing.push(step.clone());
                self.reply(reply, Reply::Cancel);
                return Ok(());
            }
            OnInput::Wait => {}
        }
        let attempt = self.rec.view.step(step).attempt();
        let gate = format!("{step}-{attempt}-{}", self.rec.seq() + 1);
        self.rec.emit(Body::NeedsInput {
            step: step.clone(),
            gate,
            kind: "question".to_owned(),
            question,
            options,
            expires: None,
        })?;
        self.rec.attempt(step, AttemptEvent::Ask)?;
        self.rec.step(step, StepEvent::Ask, StepNote::why("question"))?;
        self.asking.insert(step.clone(), reply);
        Ok(())
    }
}

/// A step's own check, on a tree.
fn own_check(step: &StepId, tree: &TreeId) -> CheckRef {
    CheckRef {
        check: format!("{step} (own)"),
        at: "step".to_owned(),
        tree: tree.clone(),
        step: Some(step.clone()),
        landing: None,
        control: false,
        key: None,
    }
}
