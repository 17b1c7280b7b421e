//! What the end of an attempt means for its step.

use std::collections::BTreeSet;

use wattle_planner::StepId;
use wattle_worker::outcome::{Cause, End, Outcome};
use wattle_workspace::CommitId;

use super::input::{AttemptEnd, work_of};
use super::scheduler::Halt;
use super::shared::Failure;
use crate::journal::Recorder;
use crate::journal::event::{Body, Entry, Work};
use crate::journal::recorder::{RecordError, StepNote};
use crate::options::Approve;
use crate::state::attempt::AttemptEvent;
use crate::state::step::{Step, StepEvent};

/// Evidence that a worker is given about its own failure, at most.
const EVIDENCE_BYTES_MAX: usize = 8 << 10;

/// The end of an attempt, about to be journaled.
pub(crate) struct Ended<'a> {
    /// The state.
    pub(crate) rec: &'a mut Recorder,
    /// The step.
    pub(crate) step: StepId,
    /// Has a human stopped the step while it asked?
    pub(crate) stopped: bool,
    /// Does a question fail the step in this run?
    pub(crate) denied: bool,
    /// Is the run stopping?
    pub(crate) halt: Option<Halt>,
    /// Steps that the machine has refused something, since this process drives the run.
    pub(crate) refused: &'a mut BTreeSet<StepId>,
}

impl Ended<'_> {
    /// Journals what the end means.
    pub(crate) fn take(mut self, end: AttemptEnd) -> Result<(), RecordError> {
        match end {
            AttemptEnd::NeedsConflict { .. } | AttemptEnd::RestackConflict { .. } | AttemptEnd::RestackEmpty
                if self.cancelled() =>
            {
                self.rec.attempt(&self.step, AttemptEvent::Fail)?;
                self.rec.step(&self.step, StepEvent::Cancel, StepNote::why("human"))
            }
            AttemptEnd::NeedsConflict { message } => {
                self.rec.attempt(&self.step, AttemptEvent::Fail)?;
                let note = StepNote { message: Some(message), ..StepNote::why("needs_conflict") };
                self.rec.step(&self.step, StepEvent::NeedsConflict, note)
            }
            AttemptEnd::RestackConflict { message } if self.reverts() => {
                // There is no worker who could do it again.
                self.rec.attempt(&self.step, AttemptEvent::Fail)?;
                let note = StepNote { message: Some(cut(&message).to_owned()), ..StepNote::why("conflict") };
                self.rec.step(&self.step, StepEvent::Fail, note)
            }
            AttemptEnd::RestackConflict { message } => {
                self.rec.attempt(&self.step, AttemptEvent::Fail)?;
                let feedback = format!("Your change does not apply to its new base:\n{}", cut(&message));
                let note = StepNote { feedback: Some(feedback), ..StepNote::why("restack") };
                self.rec.step(&self.step, StepEvent::Retry, note)
            }
            AttemptEnd::RestackEmpty => {
                self.rec.attempt(&self.step, AttemptEvent::Succeed)?;
                let message = Some("its change is in its base already".to_owned());
                self.rec.step(&self.step, StepEvent::Unchanged, StepNote { message, ..StepNote::default() })
            }
            AttemptEnd::Refused(Failure::Machine(message)) => self.refused(message, None),
            AttemptEnd::Refused(Failure::Bound(message)) => self.failed(Cause::Environment, message, None, None),
            AttemptEnd::Outcome { outcome, base, on, same_patch, branch_moved } => {
                self.outcome(*outcome, &base, &on, same_patch, branch_moved)
            }
        }
    }

    /// Does the step undo what has landed? Its user has asked for just that change.
    fn reverts(&self) -> bool {
        let step = self.rec.view.plan.step(&self.step);
        step.is_some_and(|step| matches!(step.work, wattle_planner::Work::Revert(_)))
    }

    /// Does a human want the step to end?
    fn cancelled(&self) -> bool {
        self.rec.view.step(&self.step).cancelling
    }

    fn outcome(
        &mut self,
        outcome: Outcome,
        base: &CommitId,
        on: &[Entry],
        same_patch: bool,
        branch_moved: bool,
    ) -> Result<(), RecordError> {
        let report = match outcome.report.is_empty() {
            true => None,
            false => Some(self.rec.blobs().put(outcome.report.as_bytes())?),
        };
        let note = StepNote { report, ..StepNote::default() };
        match &outcome.end {
            End::Done => {
                self.rec.attempt(&self.step, AttemptEvent::Succeed)?;
                self.rec.step(&self.step, StepEvent::Done, note)
            }
            End::Unchanged => {
                self.rec.attempt(&self.step, AttemptEvent::Succeed)?;
                self.rec.step(&self.step, StepEvent::Unchanged, note)
            }
            End::Committed => {
                let attempt = self.rec.view.step(&self.step).attempt();
                let Some(work) = work_of(&outcome, attempt, base, on) else {
                    return self.refused("the worker left no commit".to_owned(), None);
                };
                self.rec.attempt(&self.step, AttemptEvent::Succeed)?;
                self.committed(work, note, same_patch, branch_moved)
            }
            End::Failed { cause: Cause::Environment, message } => self.refused(message.clone(), note.report),
            End::Failed { cause, message } => {
                let output = match &outcome.check {
                    Some(check) => check.evidence.output.clone(),
                    None => outcome.evidence.output.clone(),
                };
                self.failed(*cause, message.clone(), Some(output), note.report)
            }
            End::Parked | End::NeedsInput { .. } => self.parked(),
        }
    }

    /// A worker that stopped: the step is parked, ends cancelled, or still waits for its answer.
    fn parked(&mut self) -> Result<(), RecordError> {
        if self.denied {
            self.rec.attempt(&self.step, AttemptEvent::Fail)?;
            let message = Some("it asked a question, and questions fail steps in this run".to_owned());
            return self.rec.step(&self.step, StepEvent::Fail, StepNote { message, ..StepNote::why("denied") });
        }
        self.rec.attempt(&self.step, AttemptEvent::Park)?;
        if self.cancelled() {
            return self.rec.step(&self.step, StepEvent::Cancel, StepNote::why("human"));
        }
        if self.rec.view.step(&self.step).state == Step::NeedsInput && self.halt.is_none() && !self.stopped {
            return Ok(());
        }
        let why = match self.halt {
            Some(Halt::Interrupt) => "interrupted",
            Some(Halt::Budget) => "budget",
            Some(Halt::BaseRed) => "base_red",
            Some(Halt::Model) => "model",
            Some(Halt::Stop) | None => "stopped",
        };
        self.rec.step(&self.step, StepEvent::Park, StepNote::why(why))
    }

    /// The machine would not let it go on: nobody's change is to blame, and nothing that was tried counts. The step parks as
    /// it is, with slot and conversation, and goes on at once where this is the first time: a moment's lack is over then.
    /// The second time a human has to see to it, and `resume` goes on.
    fn refused(&mut self, message: String, report: Option<crate::ids::Blob>) -> Result<(), RecordError> {
        self.rec.attempt(&self.step, AttemptEvent::Park)?;
        if self.cancelled() {
            return self.rec.step(&self.step, StepEvent::Cancel, StepNote::why("human"));
        }
        let why = code(Cause::Environment);
        let (step, bound) = (Some(self.step.clone()), why.to_owned());
        self.rec.emit(Body::BoundHit { step, bound, message: message.clone() })?;
        let note = StepNote { message: Some(message), report, ..StepNote::why(why) };
        self.rec.step(&self.step, StepEvent::Park, note)?;
        if self.refused.insert(self.step.clone()) && self.halt.is_none() {
            self.rec.step(&self.step, StepEvent::Unpark, StepNote::default())?;
        }
        Ok(())
    }

    fn committed(
        &mut self,
        work: Work,
        note: StepNote,
        same_patch: bool,
        branch_moved: bool,
    ) -> Result<(), RecordError> {
        let step = self.rec.view.plan.step(&self.step).expect("a step of the plan");
        // An approval covered what is outside, as long as the patch is the approved one.
        let covered = same_patch && self.rec.view.step(&self.step).approved.is_some();
        let open = step.touches_given && !work.outside.is_empty() && !covered;
        let approval = self.rec.view.step(&self.step).approved.clone();
        let (commit, attempt) = (work.commit.clone(), work.attempt);
        let auto = self.rec.view.started.options.approve == Approve::Auto;
        let note = |why: &str, message: Option<String>| StepNote {
            why: Some(why.to_owned()),
            message,
            work: Some(work.clone()),
            ..note.clone()
        };
        if self.cancelled() {
            // It was done before it could be stopped: its work is kept aside.
            self.rec.step(&self.step, StepEvent::Review, note("manual", None))?;
            return self.rec.step(&self.step, StepEvent::Reject, StepNote::why("human"));
        }
        if branch_moved {
            let message = Some("somebody else moved the step's branch".to_owned());
            return self.rec.step(&self.step, StepEvent::Review, note("branch_moved", message));
        }
        if open {
            let message = Some(format!("changes outside its touches: {}", work.outside.join(", ")));
            return self.rec.step(&self.step, StepEvent::Review, note("outside_touches", message));
        }
        if auto && self.reverts() {
            let (step, by) = (self.step.clone(), self.rec.view.started.by.clone());
            self.rec.step(&self.step, StepEvent::Review, note("manual", None))?;
            self.rec.emit(Body::Approved { step, attempt, commit, by, widen: Vec::new() })?;
            return self.rec.step(&self.step, StepEvent::Approve, StepNote::default());
        }
        if auto {
            let queued = StepNote { why: None, ..note("", None) };
            return self.rec.step(&self.step, StepEvent::Queue, queued);
        }
        self.rec.step(&self.step, StepEvent::Review, note("manual", None))?;
        if let (true, Some(approval)) = (same_patch, approval) {
            let step = self.step.clone();
            self.rec.emit(Body::Approved { step, attempt, commit, by: approval.by, widen: Vec::new() })?;
            self.rec.step(&self.step, StepEvent::Approve, StepNote::default())?;
        }
        Ok(())
    }

    /// An attempt that did not do what was asked.
    fn failed(
        &mut self,
        cause: Cause,
        message: String,
        output: Option<String>,
        report: Option<crate::ids::Blob>,
    ) -> Result<(), RecordError> {
        self.rec.attempt(&self.step, AttemptEvent::Fail)?;
        if self.cancelled() {
            return self.rec.step(&self.step, StepEvent::Cancel, StepNote::why("human"));
        }
        let retries = self.rec.view.plan.step(&self.step).map_or(0, |step| step.retries);
        let left = self.rec.view.step(&self.step).failures < retries;
        let event = if left && retryable(cause) { StepEvent::Retry } else { StepEvent::Fail };
        let feedback = output.map(|output| format!("The last attempt failed: {message}\n{}", cut(&output)));
        let note = StepNote {
            why: Some(code(cause).to_owned()),
            message: Some(message),
            report,
            feedback: feedback.filter(|_| event == StepEvent::Retry),
            work: None,
        };
        self.rec.step(&self.step, event, note)
    }
}

/// The end of a text, within the bound on evidence.
pub(crate) fn cut(text: &str) -> &str {
    let from = text.len().saturating_sub(EVIDENCE_BYTES_MAX);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// Can another try end differently?
fn retryable(cause: Cause) -> bool {
    match cause {
        Cause::Exit | Cause::Signal | Cause::Timeout | Cause::Idle | Cause::CheckRed => true,
        Cause::Model | Cause::Turns | Cause::Environment => true,
        Cause::ModelRefused | Cause::RequestRefused | Cause::Budget => false,
        Cause::BadRule | Cause::Uncommittable | Cause::WroteInReadMode => false,
    }
}

/// The `why` code of a cause.
pub(crate) fn code(cause: Cause) -> &'static str {
    match cause {
        Cause::Exit => "exit",
        Cause::Signal => "signal",
        Cause::Timeout => "timeout",
        Cause::Idle => "idle",
        Cause::CheckRed => "check_red",
        Cause::BadRule => "bad_rule",
        Cause::Uncommittable => "uncommittable",
        Cause::WroteInReadMode => "wrote_in_read_mode",
        Cause::Model | Cause::ModelRefused | Cause::RequestRefused => "model",
        Cause::Turns => "turns",
        Cause::Budget => "budget",
        Cause::Environment => "environment",
    }
}
