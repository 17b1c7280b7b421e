//! What a lead is asked while a run goes on, and what comes of it: an answer for a worker, or more steps.
//!
//! A step that is to be split waits, still running, between the end of its worker and the answer of the lead: what needs
//! it must not start before its parts are known. If the process dies meanwhile the step is taken up like any other whose
//! worker was cut off, comes to its end again, and the lead is asked again; once the amended plan is journaled it is not.

use std::sync::Arc;

use tokio::sync::oneshot;
use wattle_planner::{StepId, amend};
use wattle_worker::assignment::LeadTask;
use wattle_worker::host::{Asked, Message, Reply, StepResult};
use wattle_worker::outcome::{End, Outcome};

use super::Dispatcher;
use crate::journal::event::Body;
use crate::journal::recorder::RecordError;
use crate::run::agenda::Agenda;
use crate::run::begins::talk;
use crate::run::consult::ConsultJob;
use crate::run::definitions::Guidance;
use crate::run::executor::Effect;
use crate::run::input::AttemptEnd;
use crate::run::jobs::{may_run_commands, model_of};
use crate::run::{request, rules};
use crate::state::step::Step;

/// Steps of a run that are split. Each is a plan of its own; a run that needs more was planned too coarsely, and its user
/// should see that.
const SPLITS_MAX: usize = 8;
/// Parts that a step is split into; parts are not split again, so a run gains at most 64 steps.
const PARTS_MAX: usize = 8;
/// Questions of one step, whoever is asked: one that needs more was not a step but a conversation.
const QUESTIONS_MAX: u32 = 8;

/// For whom the lead is asked.
pub(super) enum Consulting {
    /// A worker that waits for an answer.
    Question { question: String, options: Vec<String>, gate: String, reply: oneshot::Sender<Reply> },
    /// A step whose worker has ended.
    Split(Box<AttemptEnd>),
}

impl Dispatcher<'_> {
    /// A worker asks.
    pub(super) fn asked(
        &mut self,
        step: &StepId,
        (to, question, options): (Asked, String, Vec<String>),
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), RecordError> {
        let record = self.rec.view.step(step);
        // A worker that was started again asks what has been answered meanwhile.
        if let Some(text) = record.answers.get(&question).cloned() {
            self.reply(reply, Reply::Answer { text });
            return Ok(());
        }
        // A question that is open was counted when it was asked first.
        let open = record.gate.as_ref().is_some_and(|gate| gate.question == question && gate.answer.is_none());
        if record.asked >= QUESTIONS_MAX && !open {
            let message = format!("{QUESTIONS_MAX} questions were asked");
            self.rec.emit(Body::BoundHit { step: Some(step.clone()), bound: "questions".to_owned(), message })?;
            let reason = format!("the step has asked {QUESTIONS_MAX} questions, which is all it may");
            self.reply(reply, Reply::Refused { reason });
            return Ok(());
        }
        let talk = match to {
            Asked::User => None,
            Asked::Lead => talk(&self.rec.view, self.rec.blobs())?,
        };
        let Some(talk) = talk else { return self.ask_user(step, question, options, reply) };
        let gate = format!("{step}-{}-{}", self.rec.view.step(step).attempt(), self.rec.seq() + 1);
        self.rec.emit(Body::LeadAsked { step: step.clone(), gate: gate.clone(), question: question.clone() })?;
        let view = &self.rec.view;
        let job = ConsultJob {
            step: step.clone(),
            run: view.run.to_string(),
            task: LeadTask::Answer,
            request: request::question(view, step, &question, &options),
            model: talk.model.clone(),
            talk: Some(talk),
            brief: self.rec.blobs().text(&view.started.brief)?,
            prefix_ttl: view.started.prefix_ttl,
            instructions: Guidance::of(&view.started, self.rec.blobs())?.instructions,
            look: view.tip.clone(),
        };
        let token =
            self.stops.get(step).map_or_else(|| self.executor.shared.stop.child_token(), |own| own.child_token());
        self.consulting.insert(step.clone(), Consulting::Question { question, options, gate, reply });
        self.effect(Effect::Consult(Box::new(job), token));
        Ok(())
    }

    /// A worker says that its step has to be split.
    pub(super) fn split_asked(
        &mut self,
        step: &StepId,
        attempt: u32,
        json: &str,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), RecordError> {
        let view = &self.rec.view;
        let splitting = view.steps.values().filter(|record| record.split.is_some()).count();
        let is_part = view.splits.values().flatten().any(|part| part == step);
        let repairing = view.step(step).attempts.last().is_some_and(|attempt| attempt.repairing);
        let refused = if is_part {
            Some("it is itself a part of a step that was split")
        } else if view.splits.contains_key(step) {
            Some("it was split before")
        } else if repairing {
            Some("a repair is not split")
        } else if view.step(step).split.is_none() && view.splits.len() + splitting >= SPLITS_MAX {
            Some("as many steps as may be were split in this run")
        } else {
            None
        };
        if let Some(reason) = refused {
            let message = format!("not split: {reason}");
            self.rec.emit(Body::BoundHit { step: Some(step.clone()), bound: "splits".to_owned(), message })?;
            self.reply(reply, Reply::Refused { reason: reason.to_owned() });
            return Ok(());
        }
        let parts = self.rec.blobs().put(json.as_bytes())?;
        self.rec.emit(Body::SplitAsked { step: step.clone(), attempt, parts })?;
        let seq = self.rec.seq();
        self.reply(reply, Reply::Ack { seq });
        Ok(())
    }

    /// Does the end of an attempt wait for the parts of its step? Then the lead is asked for them.
    pub(super) fn waits_for_parts(
        &mut self,
        step: &StepId,
        mut end: AttemptEnd,
    ) -> Result<Option<AttemptEnd>, RecordError> {
        let record = self.rec.view.step(step);
        let (Some(parts), false) = (record.split.clone(), record.cancelling) else { return Ok(Some(end)) };
        let AttemptEnd::Outcome { outcome, base, .. } = &mut end else { return Ok(Some(end)) };
        match &outcome.end {
            End::Done | End::Committed | End::Unchanged => {}
            End::Failed { .. } | End::Parked | End::NeedsInput { .. } => return Ok(Some(end)),
        }
        if self.halt.is_some() || self.stopping.contains(step) {
            // It goes on from its end, and the lead is asked then.
            outcome.end = End::Parked;
            return Ok(Some(end));
        }
        let look = outcome.commit.as_ref().map_or_else(|| base.clone(), |made| made.commit.clone());
        let talk = talk(&self.rec.view, self.rec.blobs())?;
        let view = &self.rec.view;
        let own = view.plan.step(step).and_then(|own| model_of(view, &own.work));
        let parts = self.rec.blobs().text(&parts)?;
        let job = ConsultJob {
            step: step.clone(),
            run: view.run.to_string(),
            task: LeadTask::Plan,
            request: request::split(view, step, &parts, &outcome.report, PARTS_MAX),
            model: talk.as_ref().map_or(own, |talk| talk.model.clone()),
            talk,
            brief: self.rec.blobs().text(&view.started.brief)?,
            prefix_ttl: view.started.prefix_ttl,
            instructions: Guidance::of(&view.started, self.rec.blobs())?.instructions,
            look,
        };
        let token = self.executor.shared.stop.child_token();
        self.stops.insert(step.clone(), token.clone());
        self.consulting.insert(step.clone(), Consulting::Split(Box::new(end)));
        self.effect(Effect::Consult(Box::new(job), token));
        Ok(None)
    }

    /// The lead speaks.
    pub(super) fn hear_lead(
        &mut self,
        step: &StepId,
        message: Message,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), RecordError> {
        let answer = match message {
            Message::Reserve { tokens, nano_usd } => {
                let claim = crate::run::limits::Claim { tokens, nano_usd: nano_usd.unwrap_or(0) };
                return self.reserve(step, claim, reply);
            }
            Message::Usage(usage) | Message::Result(StepResult::Turn { usage: Some(usage), .. }) => {
                self.rec.emit(Body::Usage { step: None, attempt: 0, usage })?;
                self.settle_claim(step)?;
                Reply::Ack { seq: self.rec.seq() }
            }
            Message::Result(StepResult::Refused { wall, message }) => {
                self.refused(step, wall, message)?;
                Reply::Cancel
            }
            Message::Propose(wattle_worker::host::Proposal::Plan { json }) => self.amend(step, &json)?,
            Message::Propose(_) | Message::Ask { .. } => {
                Reply::Refused { reason: "the lead is asked, and asks nothing".to_owned() }
            }
            Message::Result(StepResult::BoundHit { bound, message }) => {
                let (bound, message) = (format!("lead_{bound}"), format!("the lead: {message}"));
                self.rec.emit(Body::BoundHit { step: Some(step.clone()), bound, message })?;
                Reply::Ack { seq: self.rec.seq() }
            }
            Message::Intent(_) | Message::Result(_) => Reply::Ack { seq: self.rec.seq() },
        };
        self.reply(reply, answer);
        Ok(())
    }

    /// The lead's parts become steps of the plan, or go back to it.
    fn amend(&mut self, step: &StepId, json: &str) -> Result<Reply, RecordError> {
        let view = &self.rec.view;
        let Some(own) = view.plan.step(step).filter(|_| view.step(step).split.is_some()) else {
            return Ok(Reply::Refused { reason: "the step is not split any more".to_owned() });
        };
        let text = self.rec.blobs().text(view.plans.last().unwrap_or(&view.started.plan))?;
        let amended = match amend(&text, step, json, PARTS_MAX, may_run_commands(own)) {
            Ok(amended) => amended,
            Err(problems) => return Ok(Reply::Refused { reason: problems.to_string() }),
        };
        let mut files = std::collections::BTreeMap::new();
        for (path, blob) in &view.started.files {
            files.insert(path.clone(), self.rec.blobs().text(blob)?.into_bytes());
        }
        if let Err(problem) = rules::require(&amended.plan, &files) {
            return Ok(Reply::Refused { reason: problem.to_string() });
        }
        let revision = view.splits.len() as u32 + 1;
        let plan = self.rec.blobs().put(amended.yaml.as_bytes())?;
        let body = Body::PlanAmended { revision, step: step.clone(), plan, steps: amended.added };
        self.rec.amend(Arc::new(amended.plan), body)?;
        self.agenda = Agenda::new(&mut self.rec.view);
        Ok(Reply::Ack { seq: self.rec.seq() })
    }

    /// The lead has ended.
    pub(super) fn consulted(&mut self, step: &StepId, outcome: Outcome) -> Result<(), RecordError> {
        self.settle_claim(step)?;
        match self.consulting.remove(step) {
            None => Ok(()),
            Some(Consulting::Question { question, options, gate, reply }) => match outcome.end {
                End::Done if !outcome.report.trim().is_empty() => {
                    let text = outcome.report;
                    let by = "lead".to_owned();
                    self.rec.emit(Body::Answered { step: step.clone(), gate, text: text.clone(), by })?;
                    self.reply(reply, Reply::Answer { text });
                    Ok(())
                }
                End::Parked => {
                    self.reply(reply, Reply::Cancel);
                    Ok(())
                }
                // A lead that cannot answer is no reason to guess.
                End::Done | End::Committed | End::Unchanged | End::Failed { .. } | End::NeedsInput { .. } => {
                    if self.rec.view.step(step).state != Step::Running {
                        self.reply(reply, Reply::Cancel);
                        return Ok(());
                    }
                    self.ask_user(step, question, options, reply)
                }
            },
            Some(Consulting::Split(end)) => {
                self.stops.remove(step);
                let mut end = *end;
                let AttemptEnd::Outcome { outcome: own, .. } = &mut end else { return self.concluded(step, end) };
                // Whatever came after it: steps that were taken are there.
                if self.rec.view.step(step).split.is_some() {
                    own.end = match outcome.end {
                        End::Failed { cause, message } => {
                            let message = format!("it has to be split, and the lead made no steps of it: {message}");
                            End::Failed { cause, message }
                        }
                        End::Parked | End::NeedsInput { .. } | End::Done | End::Committed | End::Unchanged => {
                            End::Parked
                        }
                    };
                }
                self.concluded(step, end)
            }
        }
    }
}
