//! The verbs of a human on a run: what each changes, as events, and when it is refused.
//!
//! The same function serves the owner of a live run (which takes verbs from table `command`) and a
//! verb that found no owner and took the lock itself.

use serde::{Deserialize, Serialize};
use wattle_planner::{Glob, StepId};

use super::event::{Body, Entry};
use super::recorder::{RecordError, Recorder, StepNote};
use crate::ids::LandingId;
use crate::state::attempt::{Attempt, AttemptEvent};
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};

/// A step, with the commit that its human has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pinned {
    /// The step.
    pub(crate) step: StepId,
    /// The commit, whole or a prefix.
    pub(crate) commit: Option<String>,
}

/// What a human says to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Yes.
    Allow,
    /// No.
    Deny,
    /// In words.
    Text(String),
}

/// A verb with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub(crate) enum Verb {
    /// Let commits into the queue.
    Approve {
        /// Which.
        steps: Vec<Pinned>,
        /// Paths outside `touches` that are accepted.
        widen: Vec<String>,
    },
    /// Draft a comment.
    Comment {
        /// On what.
        step: StepId,
        /// The words.
        text: String,
        /// Where: `PATH:LINE`.
        at: Option<String>,
    },
    /// Do it again, with all drafts and these words.
    Redo {
        /// Which.
        steps: Vec<StepId>,
        /// The words.
        text: Option<String>,
    },
    /// Not this.
    Reject {
        /// Which.
        steps: Vec<StepId>,
        /// Why.
        text: Option<String>,
    },
    /// Answer a question.
    Answer {
        /// Whose.
        step: StepId,
        /// The answer.
        answer: Answer,
    },
    /// Try again.
    Retry {
        /// Which.
        steps: Vec<StepId>,
        /// With a new conversation?
        fresh: bool,
    },
    /// Park the run (no steps) or some steps.
    Stop {
        /// Which.
        steps: Vec<StepId>,
    },
    /// Land what is approved: all of it (no steps) or some.
    Merge {
        /// Which.
        steps: Vec<StepId>,
    },
}

impl Verb {
    /// Is it about the commit that this step has?
    pub(crate) fn names(&self, step: &StepId) -> bool {
        match self {
            Self::Approve { steps, .. } => steps.iter().any(|pinned| pinned.step == *step),
            Self::Redo { steps, .. } | Self::Reject { steps, .. } => steps.contains(step),
            Self::Merge { steps } => steps.is_empty() || steps.contains(step),
            Self::Comment { .. } | Self::Answer { .. } | Self::Retry { .. } | Self::Stop { .. } => false,
        }
    }
}

/// Why a verb was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// A stable code.
    pub(crate) code: String,
    /// What is in the way.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: String,
}

impl Refusal {
    fn new(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: hint.into() }
    }
}

/// What a verb means for workers that are alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Live {
    /// Stop the worker of a step; it parks.
    Park(StepId),
    /// Stop the worker of a step; the step ends cancelled.
    Cancel(StepId),
    /// Hand an answer to a worker that waits.
    Answer(StepId, String),
    /// Park the whole run.
    Halt,
}

/// A verb that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerbError {
    /// It was refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The journal failed.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Applies a verb: its events join the recorder's batch, and what live workers must hear is returned.
/// A refusal changes nothing.
pub(crate) fn apply(rec: &mut Recorder, verb: &Verb, by: &str, live: bool) -> Result<Vec<Live>, VerbError> {
    check(rec, verb, live)?;
    let text = serde_json::to_string(verb).expect("a verb is plain data");
    rec.emit(Body::Command { by: by.to_owned(), verb: text })?;
    match verb {
        Verb::Approve { steps, widen } => approve(rec, steps, widen, by)?,
        Verb::Comment { step, text, at } => {
            let (step, text, at, by) = (step.clone(), text.clone(), at.clone(), by.to_owned());
            rec.emit(Body::Comment { step, text, at, by })?;
        }
        Verb::Redo { steps, text } => {
            take_out(rec, steps)?;
            for step in steps {
                redo(rec, step, text.as_deref())?;
            }
        }
        Verb::Reject { steps, text } => {
            take_out(rec, steps)?;
            return reject(rec, steps, text.as_deref(), live);
        }
        Verb::Answer { step, answer } => return give_answer(rec, step, answer, by, live),
        Verb::Retry { steps, fresh } => {
            for step in steps {
                let why = if *fresh { "fresh" } else { "retry" };
                rec.step(step, StepEvent::Retried, StepNote::why(why))?;
            }
        }
        Verb::Stop { steps } if steps.is_empty() => return Ok(vec![Live::Halt]),
        Verb::Stop { steps } => return stop(rec, steps),
        Verb::Merge { steps } => merge(rec, steps)?,
    }
    Ok(Vec::new())
}

/// Refuses what cannot be done, before anything changes.
fn check(rec: &Recorder, verb: &Verb, live: bool) -> Result<(), Refusal> {
    match verb {
        Verb::Approve { steps, widen } => {
            for pinned in steps {
                check_approve(rec, pinned, widen)?;
            }
            Ok(())
        }
        Verb::Comment { step, .. } => known(rec, step).map(|_| ()),
        Verb::Redo { steps, .. } => {
            check_states(rec, steps, StepEvent::Redo, "redone", "wattle stop STEP, then redo it")
        }
        Verb::Reject { steps, .. } => steps.iter().try_for_each(|step| {
            let state = open_state(rec, step)?;
            let fits = [StepEvent::Reject, StepEvent::Skip, StepEvent::Cancel];
            if fits.iter().any(|event| crate::state::next(state, *event).is_ok()) {
                return Ok(());
            }
            Err(wrong_state(step, state, "rejected", "wattle status"))
        }),
        Verb::Answer { step, .. } => match known(rec, step)? {
            Step::NeedsInput => Ok(()),
            state => Err(wrong_state(step, state, "answered: it has no open question", "wattle status")),
        },
        Verb::Retry { steps, .. } => {
            check_states(rec, steps, StepEvent::Retried, "retried", "wattle redo STEP for work in review")
        }
        Verb::Stop { .. } if !live => {
            Err(Refusal::new("not_running", "nothing runs", "wattle resume goes on, wattle status shows what is left"))
        }
        Verb::Stop { steps } => steps.iter().try_for_each(|step| known(rec, step).map(|_| ())),
        Verb::Merge { steps } => check_merge(rec, steps),
    }
}

fn known(rec: &Recorder, step: &StepId) -> Result<Step, Refusal> {
    rec.view.steps.get(step).map(|record| record.state).ok_or_else(|| {
        let ids: Vec<&str> = rec.view.plan.steps().iter().map(|step| step.id.as_str()).collect();
        Refusal::new("no_step", format!("there is no step {step}"), format!("steps: {}", ids.join(", ")))
    })
}

fn wrong_state(step: &StepId, state: Step, what: &str, hint: &str) -> Refusal {
    Refusal::new("state", format!("{step} is {state} and cannot be {what}"), hint)
}

/// The state of a step, seen as if the landings that can let go of it had.
fn open_state(rec: &Recorder, step: &StepId) -> Result<Step, Refusal> {
    let state = known(rec, step)?;
    Ok(if state == Step::Landing && !landings_of(rec, step).is_empty() { Step::Queued } else { state })
}

fn check_states(rec: &Recorder, steps: &[StepId], event: StepEvent, what: &str, hint: &str) -> Result<(), Refusal> {
    steps.iter().try_for_each(|step| {
        let state = open_state(rec, step)?;
        crate::state::next(state, event).map(|_| ()).map_err(|_| wrong_state(step, state, what, hint))
    })
}

fn check_approve(rec: &Recorder, pinned: &Pinned, widen: &[String]) -> Result<(), Refusal> {
    let step = &pinned.step;
    let state = known(rec, step)?;
    let work = rec.view.step(step).work.as_ref();
    let (Step::Review, Some(work)) = (state, work) else {
        return Err(wrong_state(step, state, "approved", "wattle review lists what waits for review"));
    };
    if let Some(seen) = &pinned.commit
        && !work.commit.as_str().starts_with(seen.as_str())
    {
        let message = format!("{step} has changed: you saw {seen}, it is now {}", work.commit.short());
        return Err(Refusal::new("changed", message, format!("wattle review {step}, then approve again")));
    }
    if work.paths.is_empty() {
        let message = format!("{step} changes nothing any more: its branch is at what it stands on");
        let hint = format!("wattle restore {step} shows what there was, wattle reject {step} ends it");
        return Err(Refusal::new("empty", message, hint));
    }
    let widened: Vec<Glob> = widen.iter().filter_map(|glob| Glob::parse(glob).ok()).collect();
    let open: Vec<&String> =
        work.outside.iter().filter(|path| !widened.iter().any(|glob| glob.matches(path))).collect();
    if open.is_empty() {
        return Ok(());
    }
    let list = open.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
    let hint = format!("wattle approve {step} --widen '{}' accepts it", open[0]);
    Err(Refusal::new("outside_touches", format!("{step} changes paths outside its touches: {list}"), hint))
}

fn check_merge(rec: &Recorder, steps: &[StepId]) -> Result<(), Refusal> {
    for step in steps {
        let state = known(rec, step)?;
        if !matches!(state, Step::Approved | Step::Queued | Step::Landing) {
            return Err(wrong_state(step, state, "merged", &format!("wattle approve {step}")));
        }
        let on = rec.view.step(step).work.as_ref().map_or(&[][..], |work| &work.on);
        for below in rec.view.beneath(on) {
            let state = rec.view.step(&below.step).state;
            if !matches!(state, Step::Landed | Step::Approved | Step::Queued | Step::Landing) {
                let message = format!("{step} stands on {}, which is {state}", below.step);
                let hint = format!("wattle approve {}", below.step);
                return Err(Refusal::new("base_not_approved", message, hint));
            }
        }
    }
    Ok(())
}

fn approve(rec: &mut Recorder, steps: &[Pinned], widen: &[String], by: &str) -> Result<(), RecordError> {
    for Pinned { step, .. } in steps {
        let Some(work) = rec.view.step(step).work.clone() else { continue };
        rec.emit(Body::Approved {
            step: step.clone(),
            attempt: work.attempt,
            commit: work.commit,
            by: by.to_owned(),
            widen: widen.to_vec(),
        })?;
        rec.step(step, StepEvent::Approve, StepNote::default())?;
    }
    Ok(())
}

fn redo(rec: &mut Recorder, step: &StepId, text: Option<&str>) -> Result<(), RecordError> {
    let drafts = &rec.view.step(step).drafts;
    let mut words: Vec<String> = drafts
        .iter()
        .map(|draft| match &draft.at {
            Some(at) => format!("{at}: {}", draft.text),
            None => draft.text.clone(),
        })
        .collect();
    words.extend(text.map(str::to_owned));
    let feedback = (!words.is_empty()).then(|| words.join("\n"));
    let note = StepNote { feedback, ..StepNote::why("redo") };
    rec.step(step, StepEvent::Redo, note)
}

fn reject(rec: &mut Recorder, steps: &[StepId], text: Option<&str>, live: bool) -> Result<Vec<Live>, VerbError> {
    let mut told = Vec::new();
    for step in steps {
        let note = StepNote { message: text.map(str::to_owned), ..StepNote::why("human") };
        match rec.view.step(step).state {
            Step::Waiting | Step::Ready => rec.step(step, StepEvent::Skip, note)?,
            Step::Running | Step::Checking | Step::NeedsInput if live && rec.view.step(step).at_work() => {
                rec.emit(Body::CancelAsked { step: step.clone() })?;
                told.push(Live::Cancel(step.clone()));
            }
            Step::Running | Step::Checking | Step::NeedsInput | Step::Parked => {
                rec.step(step, StepEvent::Cancel, note)?;
            }
            Step::Review | Step::Approved | Step::Queued | Step::Stale | Step::Failed => {
                rec.step(step, StepEvent::Reject, note)?;
            }
            Step::Landing | Step::Landed | Step::Done | Step::Unchanged | Step::Blocked => {}
            Step::Skipped | Step::Cancelled | Step::Rejected => {}
        }
    }
    Ok(told)
}

fn give_answer(
    rec: &mut Recorder,
    step: &StepId,
    answer: &Answer,
    by: &str,
    live: bool,
) -> Result<Vec<Live>, VerbError> {
    let text = match answer {
        Answer::Allow => "allow".to_owned(),
        Answer::Deny => "deny".to_owned(),
        Answer::Text(text) => text.clone(),
    };
    let gate = rec.view.step(step).gate.as_ref().map_or(String::new(), |gate| gate.id.clone());
    rec.emit(Body::Answered { step: step.clone(), gate, text: text.clone(), by: by.to_owned() })?;
    let listens = rec.view.step(step).attempts.last().is_some_and(|a| a.state == Attempt::Asking);
    if !live || !listens {
        // Its worker is gone: it is started again, and finds the answer.
        if live {
            rec.step(step, StepEvent::Interrupt, StepNote::why("interrupted"))?;
        }
        return Ok(Vec::new());
    }
    rec.step(step, StepEvent::Answer, StepNote::default())?;
    rec.attempt(step, AttemptEvent::Answer)?;
    Ok(vec![Live::Answer(step.clone(), text)])
}

fn stop(rec: &mut Recorder, steps: &[StepId]) -> Result<Vec<Live>, VerbError> {
    let mut live = Vec::new();
    for step in steps {
        match rec.view.step(step).state {
            Step::Ready => rec.step(step, StepEvent::Park, StepNote::why("stopped"))?,
            Step::Running | Step::Checking | Step::NeedsInput => live.push(Live::Park(step.clone())),
            Step::Waiting | Step::Review | Step::Approved | Step::Queued | Step::Landing => {}
            Step::Parked | Step::Stale | Step::Landed | Step::Done | Step::Unchanged => {}
            Step::Failed | Step::Blocked | Step::Skipped | Step::Cancelled | Step::Rejected => {}
        }
    }
    Ok(live)
}

fn merge(rec: &mut Recorder, steps: &[StepId]) -> Result<(), RecordError> {
    let all = rec.view.plan.steps().iter().map(|step| step.id.clone());
    let wanted: Vec<StepId> = all
        .filter(|id| steps.is_empty() || steps.contains(id))
        .filter(|id| matches!(rec.view.step(id).state, Step::Approved | Step::Queued))
        .collect();
    rec.emit(Body::MergeAsked { steps: wanted })?;
    let held: Vec<_> = rec.view.landings.iter().filter(|(_, r)| r.state == Landing::Held).map(|(id, _)| *id).collect();
    for id in held {
        withdraw(rec, id, "released")?;
    }
    Ok(())
}

/// Gives up a landing through no fault of its entries: they go back to the queue, and another landing is
/// opened over them, with every condition asked again.
pub(crate) fn withdraw(rec: &mut Recorder, id: LandingId, why: &str) -> Result<(), RecordError> {
    let record = &rec.view.landings[&id];
    let entries = if record.last { Vec::new() } else { record.entries.clone() };
    rec.landing(id, LandingEvent::Eject, None, Some(why))?;
    requeue(rec, &entries, why)
}

/// Puts steps back into the queue that no other landing holds.
pub(crate) fn requeue(rec: &mut Recorder, entries: &[Entry], why: &str) -> Result<(), RecordError> {
    for entry in entries {
        let held = rec.view.open.iter().any(|id| rec.view.landings[id].entries.contains(entry));
        if !held && rec.view.step(&entry.step).state == Step::Landing {
            rec.step(&entry.step, StepEvent::Requeue, StepNote::why(why))?;
        }
    }
    Ok(())
}

/// The landings that a step can be taken out of: all that hold it; none when one of them is on its way to the target or
/// is part of what is gathered for the final checks.
fn landings_of(rec: &Recorder, step: &StepId) -> Vec<LandingId> {
    let records = rec.view.open.iter().map(|id| (*id, &rec.view.landings[id]));
    let holds: Vec<_> = records.filter(|(_, record)| record.entries.iter().any(|entry| entry.step == *step)).collect();
    let fixed = holds.iter().any(|(_, record)| record.last || record.state == Landing::Green);
    if fixed { Vec::new() } else { holds.into_iter().map(|(id, _)| id).collect() }
}

/// Takes steps out of the landings that hold them, so that they can be redone or rejected.
fn take_out(rec: &mut Recorder, steps: &[StepId]) -> Result<(), RecordError> {
    for step in steps {
        for id in landings_of(rec, step) {
            withdraw(rec, id, "withdrawn")?;
        }
    }
    Ok(())
}
