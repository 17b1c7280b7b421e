//! Folding events into [`RunView`]: the only code that changes it.
//!
//! A change of state is checked against the tables of [`crate::state`]: a journal that tells an illegal
//! history is refused, and so is a decision that would write one.

use std::collections::{BTreeSet, HashSet};

use wattle_planner::StepId;
use wattle_worker::host::{Intent, Usage};
use wattle_worker::outcome::Verdict;
use wattle_workspace::CommitId;

use super::event::{AttemptChange, Body, Candidate, CheckRef, Entry, Event, LandingChange, StepChange};
use super::observed::Observed;
use super::record::{Approval, AttemptRecord, Draft, Gate, LandingRecord, RunView, Spent, StepRecord};
use super::verdicts::VerdictRecord;
use crate::ids::{Blob, LandingId};
use crate::state::attempt::Attempt;
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};
use crate::state::{Illegal, next};

/// An event that does not fit the state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    /// The tables know no such transition.
    #[error("fold event {seq}: {source}")]
    Illegal {
        /// Place of the event.
        seq: u64,
        /// Which transition.
        source: Illegal,
    },
    /// The event's state is not the one the tables give.
    #[error("fold event {seq}: it says {said}, the tables say {found}")]
    Differs {
        /// Place of the event.
        seq: u64,
        /// The event's state.
        said: String,
        /// The tables' state.
        found: String,
    },
    /// The event names a step, an attempt or a landing that is not there.
    #[error("fold event {seq}: there is no {what}")]
    Unknown {
        /// Place of the event.
        seq: u64,
        /// What it names.
        what: String,
    },
}

impl RunView {
    /// Applies one event.
    pub(crate) fn apply(&mut self, event: &Event) -> Result<(), FoldError> {
        let seq = event.seq;
        if concerns_queue(&event.body) {
            self.queue_seq = seq;
        }
        match &event.body {
            Body::RunStarted(_) | Body::PlanReady { .. } => {}
            Body::RunState { event, state, why } => {
                let found = next(self.state, *event).map_err(|source| FoldError::Illegal { seq, source })?;
                agree(seq, state.as_str(), found.as_str())?;
                self.state = found;
                self.why.clone_from(why);
            }
            Body::Resumed { options, tip } => {
                self.started.options = options.clone();
                self.tip = tip.clone();
                self.resumed_seq = seq;
                // What was red then may have been the machine's fault: it is asked again.
                self.verdicts.retain(|record| record.verdict == Verdict::Green);
                // Nobody runs any more.
                self.checking.clear();
            }
            Body::TargetMoved { tip } => self.tip = tip.clone(),
            Body::StepState(change) => self.apply_step(seq, &event.ts, change)?,
            Body::AttemptState(change) => self.apply_attempt(seq, &event.ts, change)?,
            Body::Intent { step, attempt, intent } => self.attempt_mut(seq, step, *attempt)?.intent(intent),
            Body::Evidence { step, attempt, of, evidence, .. } => {
                self.attempt_mut(seq, step, *attempt)?.evidence.push((of.clone(), evidence.clone()));
            }
            Body::Turn { step, attempt, index, message } => self.turn(seq, step, *attempt, *index, message)?,
            Body::PlanAmended { step, plan, steps, .. } => self.amended(seq, step, plan, steps)?,
            Body::SplitAsked { step, parts, .. } => self.step_mut(seq, step)?.split = Some(parts.clone()),
            Body::ViewEdit { step, attempt, edit } => self.attempt_mut(seq, step, *attempt)?.view(edit),
            Body::RepairStarted { step, attempt, .. } => self.attempt_mut(seq, step, *attempt)?.repairing = true,
            Body::CancelAsked { step } => self.step_mut(seq, step)?.cancelling = true,
            Body::CheckStarted(check) => self.check_started(check),
            Body::CheckFinished { check, verdict, cached, output, .. } => {
                self.check_finished(seq, check, (*verdict, *cached), output.as_ref())?;
            }
            Body::LandingState(change) => self.apply_landing(seq, &event.ts, change)?,
            Body::Landed { step, commit, .. } => {
                let before = self.step_mut(seq, step)?.landed.replace(commit.clone());
                self.landed += usize::from(before.is_none());
            }
            Body::LandingHeld { landing, worktree, paths, why } => {
                let record = self.landing_mut(seq, *landing)?;
                let was_red = record.why.as_deref() == Some(RED);
                record.hold(worktree, paths, why);
                self.reds -= usize::from(was_red);
            }
            Body::Usage { step, attempt, usage } => self.used(seq, step.as_ref(), *attempt, usage)?,
            Body::LeadAsked { step, .. }
            | Body::NeedsInput { step, .. }
            | Body::Answered { step, .. }
            | Body::Approved { step, .. } => {
                self.step_mut(seq, step)?.human(event);
            }
            Body::Comment { step, .. } => self.step_mut(seq, step)?.human(event),
            Body::MergeAsked { steps } => {
                for step in steps {
                    self.step_mut(seq, step)?.merge_asked = true;
                }
                // Whoever asks has mended what kept checks from being run.
                self.verdicts.retain(|record| record.verdict != Verdict::Error);
            }
            Body::Ejected { step, .. } => self.step_mut(seq, step)?.sent_back = true,
            Body::ConflictPredicted(prediction) => self.step_mut(seq, &prediction.b)?.warned(prediction),
            Body::Salvaged { .. } | Body::Audited { .. } | Body::CacheMiss { .. } => {}
            Body::BoundHit { .. } | Body::Command { .. } | Body::RunFinished { .. } => {}
        }
        self.seq = seq;
        Ok(())
    }

    /// A message joined a conversation. That of a repair is its own and begins again when it is cut off.
    fn turn(&mut self, seq: u64, step: &StepId, attempt: u32, index: u32, message: &Blob) -> Result<(), FoldError> {
        let record = self.attempt_mut(seq, step, attempt)?;
        if record.repairing {
            record.repairs.push(message.clone());
        } else {
            record.messages.insert(index, message.clone());
        }
        // Answers are used up once the conversation has them.
        let record = self.step_mut(seq, step)?;
        record.gate = record.gate.take().filter(|gate| gate.answer.is_none());
        record.answers.clear();
        Ok(())
    }

    /// The plan has more steps: those that the event names are there already (see [`RunView::take_plan`]).
    fn amended(&mut self, seq: u64, step: &StepId, plan: &Blob, steps: &[StepId]) -> Result<(), FoldError> {
        let missing = steps.iter().find(|added| self.plan.position(added).is_none());
        if let Some(missing) = missing {
            return Err(FoldError::Unknown { seq, what: format!("step {missing}") });
        }
        self.step_mut(seq, step)?.split = None;
        self.plans.push(plan.clone());
        self.splits.insert(step.clone(), steps.to_vec());
        Ok(())
    }

    /// The record of a step of the plan.
    pub(crate) fn step(&self, step: &StepId) -> &StepRecord {
        self.steps.get(step).expect("every step of the plan has a record")
    }

    fn step_mut(&mut self, seq: u64, step: &StepId) -> Result<&mut StepRecord, FoldError> {
        let unknown = || FoldError::Unknown { seq, what: format!("step {step}") };
        let place = self.plan.position(step).ok_or_else(unknown)?;
        self.touched.add(place);
        Ok(self.steps.at_mut(place))
    }

    fn landing_mut(&mut self, seq: u64, id: LandingId) -> Result<&mut LandingRecord, FoldError> {
        self.touched.landings.add(id);
        self.landings.get_mut(&id).ok_or_else(|| FoldError::Unknown { seq, what: format!("landing {}", id.0) })
    }

    fn attempt_mut(&mut self, seq: u64, step: &StepId, number: u32) -> Result<&mut AttemptRecord, FoldError> {
        let what = || FoldError::Unknown { seq, what: format!("attempt {number} of {step}") };
        self.step_mut(seq, step)?.attempts.iter_mut().find(|a| a.number == number).ok_or_else(what)
    }

    fn apply_step(&mut self, seq: u64, at: &str, change: &StepChange) -> Result<(), FoldError> {
        let below = change.work.as_ref().map(|work| self.placed(&work.on));
        let record = self.step_mut(seq, &change.step)?;
        let found = next(record.state, change.event).map_err(|source| FoldError::Illegal { seq, source })?;
        agree(seq, change.state.as_str(), found.as_str())?;
        let stood = record.stands();
        record.state = found;
        record.why.clone_from(&change.why);
        record.message.clone_from(&change.message);
        if let Some(work) = &change.work {
            record.branch = Some(work.commit.clone());
            record.work = Some(work.clone());
            record.below = below.unwrap_or_default();
        }
        if let Some(report) = &change.report {
            record.report = Some(report.clone());
        }
        if let Some(feedback) = &change.feedback {
            record.feedback.push(feedback.clone());
        }
        record.consequences(seq, change.event);
        if change.event == StepEvent::Queue {
            at.clone_into(&mut record.queued_at);
        }
        if change.work.is_some() || stood != record.stands() {
            record.moved_seq = seq;
        }
        Ok(())
    }

    /// Commits that something stands on, with all that these stood on when they were made and that had not landed.
    pub(crate) fn beneath(&self, on: &[Entry]) -> BTreeSet<Entry> {
        let (mut found, mut open) = (BTreeSet::new(), on.to_vec());
        while let Some(entry) = open.pop() {
            let attempts = self.steps.get(&entry.step).map_or(&[][..], |record| &record.attempts);
            let made = attempts.iter().rev().find(|attempt| attempt.committed.as_ref() == Some(&entry.commit));
            if found.insert(entry) {
                open.extend(made.iter().flat_map(|made| made.on.iter().cloned()));
            }
        }
        found
    }

    /// Of commits, by the places of their steps, those that no other one of them stands on directly.
    pub(crate) fn topmost(&self, commits: &[(usize, CommitId)]) -> Vec<Entry> {
        let work = |place: usize| self.steps.at(place).work.as_ref();
        let made = commits.iter().filter(|(place, commit)| work(*place).is_some_and(|work| work.commit == *commit));
        let covered: HashSet<&(usize, CommitId)> = made.flat_map(|(place, _)| self.steps.at(*place).below()).collect();
        let entry = |(place, commit): &(usize, CommitId)| Entry {
            step: self.plan.steps()[*place].id.clone(),
            commit: commit.clone(),
        };
        commits.iter().filter(|own| !covered.contains(own)).map(entry).collect()
    }

    /// Commits by the places of their steps.
    pub(crate) fn placed<'e>(&self, entries: impl IntoIterator<Item = &'e Entry>) -> Vec<(usize, CommitId)> {
        let placed = |entry: &Entry| Some((self.plan.position(&entry.step)?, entry.commit.clone()));
        entries.into_iter().filter_map(placed).collect()
    }

    fn apply_attempt(&mut self, seq: u64, at: &str, change: &AttemptChange) -> Result<(), FoldError> {
        let Some(event) = change.event else {
            let record = self.step_mut(seq, &change.step)?;
            record.attempts.push(AttemptRecord {
                number: change.attempt,
                state: Attempt::Leased,
                since: at.to_owned(),
                restack: change.restack,
                slot: None,
                base: None,
                on: Vec::new(),
                committed: None,
                tree: None,
                failed: None,
                repairing: false,
                repairs: Vec::new(),
                nano_usd: 0,
                messages: Default::default(),
                views: Vec::new(),
                evidence: Vec::new(),
            });
            return Ok(());
        };
        let record = self.attempt_mut(seq, &change.step, change.attempt)?;
        // The slot and the base become known while the attempt is still in its first state.
        if change.base.is_some() {
            record.slot = change.slot;
            record.base.clone_from(&change.base);
            record.on.clone_from(&change.on);
        }
        let found = next(record.state, event).map_err(|source| FoldError::Illegal { seq, source })?;
        agree(seq, change.state.as_str(), found.as_str())?;
        record.state = found;
        Ok(())
    }

    /// The tip that candidates are made on: that of what is gathered, else the target's.
    pub(crate) fn front(&self) -> &CommitId {
        self.gathered.as_ref().unwrap_or(&self.tip)
    }

    /// What other landings have in common with one that is on the tip is theirs no more.
    fn shift(&mut self, id: LandingId, entries: &[Entry], made: Option<&Candidate>) {
        let Some(made) = made else { return };
        let work = entries.iter().filter_map(|entry| self.steps.get(&entry.step)?.work.as_ref());
        let paths: Vec<String> = work.flat_map(|work| work.paths.iter().cloned()).collect();
        for other in self.open.iter().filter(|other| **other != id) {
            if let Some(record) = self.landings.get_mut(other).filter(|record| !record.last && !record.gathered)
                && record.shift(entries, made, &paths)
            {
                self.touched.landings.add(*other);
            }
        }
    }

    /// Entries join what waits for the final checks, or leave it.
    fn gather(&mut self, seq: u64, entries: &[Entry], gathered: bool) -> Result<(), FoldError> {
        entries.iter().try_for_each(|entry| {
            self.step_mut(seq, &entry.step)?.gathered = gathered;
            Ok(())
        })
    }

    fn check_started(&mut self, check: &CheckRef) {
        if let Some(landing) = check.landing {
            self.checking.push((landing, check.check.clone(), check.tree.clone()));
        }
    }

    fn used(&mut self, seq: u64, step: Option<&StepId>, attempt: u32, usage: &Usage) -> Result<(), FoldError> {
        add(&mut self.spent, usage);
        if let Some(step) = step {
            add(&mut self.step_mut(seq, step)?.spent, usage);
            self.attempt_mut(seq, step, attempt)?.nano_usd += usage.nano_usd.unwrap_or(0);
        }
        Ok(())
    }

    fn check_finished(
        &mut self,
        seq: u64,
        check: &CheckRef,
        (verdict, cached): (Verdict, bool),
        output: Option<&Blob>,
    ) -> Result<(), FoldError> {
        if let Some(step) = &check.step {
            self.step_mut(seq, step)?.check = Some(verdict);
            return Ok(());
        }
        if let Some(landing) = check.landing {
            let started = (landing, check.check.clone(), check.tree.clone());
            self.checking.retain(|running| *running != started);
        }
        let known = self.verdicts.get(&check.tree, &check.check);
        if cached && known.is_some_and(|record| record.unsure == 0) {
            return Ok(());
        }
        let (before, unsure, reds_before) =
            known.map_or((None, 0, 0), |record| (Some(record.verdict), record.unsure, record.reds));
        // Where reds and answers that say nothing alternate, both are counted on, or it would be asked for ever; but a red
        // after such an answer was not asked for on a clean slot and confirms nothing.
        let (unsure, reds) = match verdict {
            Verdict::Green => (0, 0),
            Verdict::Red if matches!(before, Some(Verdict::Timeout | Verdict::Error)) => (unsure, reds_before.max(1)),
            Verdict::Red => (unsure, reds_before + 1),
            Verdict::Timeout | Verdict::Error => (unsure + 1, reds_before),
        };
        let record = VerdictRecord { verdict, output: output.cloned(), unsure, reds };
        self.verdicts.insert(&check.tree, &check.check, record);
        if verdict == Verdict::Green && !cached {
            // What was red on this very tree was so without a reason.
            self.observed.add(Observed::Flake, reds_before as usize);
            self.observed.add(Observed::Green, 1);
        }
        Ok(())
    }

    fn apply_landing(&mut self, seq: u64, at: &str, change: &LandingChange) -> Result<(), FoldError> {
        let id = change.landing;
        let Some(event) = change.event else {
            self.landings.insert(id, LandingRecord::opened(change, at));
            self.touched.landings.add(id);
            self.open.insert(id);
            return Ok(());
        };
        let gathers = self.gathers();
        let on = (event == LandingEvent::Build).then(|| self.front().clone());
        let record = self.landing_mut(seq, id)?;
        let found = next(record.state, event).map_err(|source| FoldError::Illegal { seq, source })?;
        agree(seq, change.state.as_str(), found.as_str())?;
        let gathers = gathers && !record.last;
        let gathered = gathers && found == Landing::Green;
        let was_gathered = std::mem::replace(&mut record.gathered, gathered);
        record.state = found;
        let (red, was_red) = (change.why.as_deref() == Some(RED), record.why.as_deref() == Some(RED));
        record.why.clone_from(&change.why);
        record.culprit.clone_from(&change.culprit);
        record.on = on.or(record.on.take());
        if let Some(candidate) = &change.candidate {
            record.candidate = Some(candidate.clone());
        }
        let candidate = record.candidate.clone();
        let (last, entries) = (record.last, record.entries.clone());
        if gathered != was_gathered {
            self.gather(seq, &entries, gathered)?;
        }
        self.reds = self.reds + usize::from(red) - usize::from(was_red);
        if matches!(found, Landing::Landed | Landing::Ejected) {
            self.open.remove(&id);
        }
        match event {
            LandingEvent::Pass if gathers => {
                self.gathered = candidate.as_ref().map(|c| c.new.clone());
                self.landed_seq = seq;
                self.shift(id, &entries, candidate.as_ref());
            }
            LandingEvent::Move => {
                self.landed_seq = seq;
                if let Some(candidate) = &candidate {
                    self.tip = candidate.new.clone();
                }
                if last {
                    self.gathered = None;
                } else if !gathers {
                    self.shift(id, &entries, candidate.as_ref());
                }
            }
            LandingEvent::Eject => {
                self.checking.retain(|(landing, _, _)| *landing != id);
                if was_gathered {
                    self.gathered = None;
                }
            }
            // Of one change alone it is asked anew: what a batch with the same files took too long for is not its own.
            LandingEvent::Check if entries.len() == 1 => {
                if let Some(made) = &candidate {
                    self.verdicts.retain_of(&made.tree, |record| record.unsure == 0);
                }
            }
            LandingEvent::Build | LandingEvent::Check | LandingEvent::Pass => {}
            LandingEvent::Fail | LandingEvent::Hold => {}
        }
        if matches!(event, LandingEvent::Pass | LandingEvent::Move | LandingEvent::Hold) {
            // What still runs for it, a control say, tells nothing any more.
            self.checking.retain(|(landing, _, _)| *landing != id);
        }
        Ok(())
    }
}

impl LandingRecord {
    /// One that has just been opened.
    fn opened(change: &LandingChange, at: &str) -> Self {
        Self {
            state: Landing::Queued,
            since: at.to_owned(),
            entries: change.entries.clone(),
            group: change.group.clone(),
            last: change.last,
            gathered: false,
            on: None,
            culprit: None,
            candidate: None,
            why: None,
            held: Vec::new(),
            held_by: String::new(),
        }
    }
}

impl AttemptRecord {
    fn intent(&mut self, intent: &Intent) {
        if let Intent::Commit { commit, tree, failed } = intent {
            self.committed = Some(commit.clone());
            self.tree = Some(tree.clone());
            self.failed.clone_from(failed);
            self.repairing = false;
        }
    }

    /// What is shown of its conversation changes; a repair's is never gone on with.
    fn view(&mut self, edit: &Blob) {
        if !self.repairing {
            self.views.push(edit.clone());
        }
    }
}

impl StepRecord {
    /// Questions, answers, approvals and comments.
    fn human(&mut self, event: &Event) {
        match &event.body {
            Body::NeedsInput { gate, question, options, .. } => {
                let (id, question, options) = (gate.clone(), question.clone(), options.clone());
                self.gate = Some(Gate { id, question, options, answer: None });
                self.asked += 1;
            }
            Body::LeadAsked { gate, question, .. } => {
                let (id, question) = (gate.clone(), question.clone());
                self.gate = Some(Gate { id, question, options: Vec::new(), answer: None });
                self.asked += 1;
            }
            Body::Answered { text, .. } => {
                if let Some(gate) = &mut self.gate {
                    gate.answer = Some(text.clone());
                    self.answers.insert(gate.question.clone(), text.clone());
                }
            }
            Body::Approved { attempt, commit, by, .. } => {
                let (by, at) = (by.clone(), event.ts.clone());
                self.approved = Some(Approval { attempt: *attempt, commit: commit.clone(), by, at });
            }
            Body::Comment { text, at, .. } => self.drafts.push(Draft { text: text.clone(), at: at.clone() }),
            _ => {}
        }
    }

    /// What a change of state takes with it.
    fn consequences(&mut self, seq: u64, event: StepEvent) {
        match event {
            StepEvent::Retry => {
                // A change that only had to move to a new base has used up nothing.
                self.failures += u32::from(self.why.as_deref() != Some("restack"));
                self.split = None;
                self.work = None;
                self.approved = None;
            }
            StepEvent::Redo => {
                self.drafts.clear();
                self.split = None;
                self.asked = 0;
                self.work = None;
                self.approved = None;
                self.failures = 0;
            }
            StepEvent::Retried => {
                self.fresh = self.why.as_deref() == Some("fresh");
                self.split = None;
                self.asked = 0;
                self.failures = 0;
                self.work = None;
                self.approved = None;
            }
            // An approval binds a commit; whatever brings a step back to review ends it.
            StepEvent::Lapse | StepEvent::Reject | StepEvent::Review => self.approved = None,
            StepEvent::Queue => self.queued_seq = seq,
            StepEvent::NeedsConflict => self.conflict_at = Some(seq),
            StepEvent::Ready => self.conflict_at = None,
            StepEvent::Start => {
                self.cancelling = false;
                self.conflict_at = None;
                self.fresh = false;
            }
            StepEvent::Done => self.gate = None,
            StepEvent::Cancel => self.cancelling = false,
            StepEvent::Landed => self.merge_asked = false,
            StepEvent::Ask | StepEvent::Check | StepEvent::Repair => {}
            StepEvent::Unchanged | StepEvent::Approve | StepEvent::Fail => {}
            StepEvent::Land | StepEvent::Requeue | StepEvent::Stale | StepEvent::Park => {}
            StepEvent::Unpark | StepEvent::Interrupt | StepEvent::Block | StepEvent::Unblock => {}
            StepEvent::Skip | StepEvent::Answer => {}
        }
        debug_assert!(self.state != Step::Landed || self.work.is_some());
    }
}

/// Why a landing is over whose check was red.
const RED: &str = "red";

/// Can an event change what the queue wants, beside what it changes of steps and landings?
fn concerns_queue(body: &Body) -> bool {
    match body {
        Body::Resumed { .. } | Body::TargetMoved { .. } | Body::MergeAsked { .. } => true,
        Body::CheckStarted(check) | Body::CheckFinished { check, .. } => check.step.is_none(),
        Body::RunStarted(_) | Body::PlanReady { .. } | Body::RunState { .. } | Body::StepState(_) => false,
        Body::PlanAmended { .. } | Body::SplitAsked { .. } | Body::LeadAsked { .. } => false,
        Body::LandingState(_) | Body::LandingHeld { .. } | Body::Landed { .. } => false,
        Body::AttemptState(_) | Body::Intent { .. } | Body::Evidence { .. } | Body::Turn { .. } => false,
        Body::ViewEdit { .. } => false,
        Body::RepairStarted { .. } | Body::Ejected { .. } | Body::Salvaged { .. } | Body::Usage { .. } => false,
        Body::ConflictPredicted(_) | Body::BoundHit { .. } | Body::Audited { .. } | Body::NeedsInput { .. } => false,
        Body::Answered { .. } | Body::Approved { .. } | Body::Comment { .. } | Body::CancelAsked { .. } => false,
        Body::Command { .. } | Body::RunFinished { .. } | Body::CacheMiss { .. } => false,
    }
}

fn agree(seq: u64, said: &str, found: &str) -> Result<(), FoldError> {
    if said == found { Ok(()) } else { Err(FoldError::Differs { seq, said: said.to_owned(), found: found.to_owned() }) }
}

fn add(spent: &mut Spent, usage: &Usage) {
    spent.requests += 1;
    spent.uncached_in += usage.uncached_in;
    spent.cache_read += usage.cache_read;
    spent.cache_write += usage.cache_write;
    spent.out += usage.out;
    match usage.nano_usd {
        Some(nano) => spent.nano_usd += nano,
        None => spent.unpriced += 1,
    }
}
