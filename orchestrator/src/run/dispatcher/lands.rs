//! What the queue wants, and what came of it, as events.

use wattle_planner::{At, StepId};
use wattle_worker::assignment::{Bounds, Command};
use wattle_worker::outcome::{CheckResult, Verdict};
use wattle_workspace::TreeId;

use super::Dispatcher;
use crate::ids::LandingId;
use crate::journal::command::withdraw;
use crate::journal::event::{Body, CheckRef, Entry, LandingChange, Work};
use crate::journal::recorder::{RecordError, StepNote};
use crate::queue::land::{CandidateEnd, MoveEnd};
use crate::queue::plan::{Wish, gathered, sent_back, wanted};
use crate::run::check::CheckJob;
use crate::run::executor::Effect;
use crate::run::jobs::{OUTPUT_BYTES_MAX, setup};
use crate::run::outcome::cut;
use crate::run::scheduler::Halt;
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};

impl Dispatcher<'_> {
    /// Does what the queue wants.
    pub(super) fn grant(&mut self, wish: Wish) -> Result<(), RecordError> {
        match wish {
            Wish::Open { entries, last } => self.open(entries, last),
            Wish::Build(id) => {
                self.rec.landing(id, LandingEvent::Build, None, None)?;
                let record = &self.rec.view.landings[&id];
                let entries = if record.last { Vec::new() } else { record.entries.clone() };
                for entry in entries {
                    self.rec.step(&entry.step, StepEvent::Land, StepNote::default())?;
                }
                self.build(id);
                Ok(())
            }
            Wish::Check { landing, check, tree, control } => self.check(landing, &check, tree, control),
            Wish::Turn { landing, event: LandingEvent::Eject, why } => {
                self.eject(landing, why.unwrap_or("red"), None, self.red_output(landing))
            }
            Wish::Turn { landing, event: LandingEvent::Hold, .. } => {
                self.machine_failed(landing, self.red_output(landing))
            }
            Wish::Turn { landing, event, why } => {
                self.rec.landing(landing, event, None, why)?;
                if event == LandingEvent::Pass {
                    self.passed(landing)?;
                }
                Ok(())
            }
            Wish::BaseRed { landing, check } => {
                let message = format!("check {check} is red on the base itself");
                self.rec.emit(Body::BoundHit { step: None, bound: "base_red".to_owned(), message })?;
                withdraw(&mut self.rec, landing, "base_red")?;
                self.stop_all(Halt::BaseRed);
                Ok(())
            }
            Wish::Regroup(step) => {
                let message = Some("another step of its group ended without a commit to land".to_owned());
                self.rec.step(&step, StepEvent::Review, StepNote { message, ..StepNote::why("group") })
            }
        }
    }

    fn open(&mut self, entries: Vec<Entry>, last: bool) -> Result<(), RecordError> {
        let id = LandingId(self.rec.view.landings.len() as u32 + 1);
        let first = entries.first().and_then(|entry| self.rec.view.plan.step(&entry.step));
        let group = first.and_then(|step| step.group.clone()).filter(|_| !last);
        self.rec.emit(Body::LandingState(Box::new(LandingChange {
            landing: id,
            event: None,
            state: Landing::Queued,
            entries,
            group,
            last,
            candidate: None,
            why: None,
        })))
    }

    fn check(&mut self, landing: LandingId, name: &str, tree: TreeId, control: bool) -> Result<(), RecordError> {
        let view = &self.rec.view;
        let record = &view.landings[&landing];
        let checks = view.plan.checks().unwrap_or_default();
        let (Some(check), Some(candidate)) =
            (checks.iter().find(|check| check.name == name), record.candidate.as_ref())
        else {
            return Ok(());
        };
        let bounds = Bounds { timeout_ms: check.timeout_ms, idle_ms: None, output_bytes_max: OUTPUT_BYTES_MAX };
        let command = Command { run: check.run.clone(), ok_exit: vec![0], env: check.env.clone(), bounds };
        let job = CheckJob {
            run: view.run.to_string(),
            landing,
            check: name.to_owned(),
            commit: if control { candidate.old.clone() } else { candidate.new.clone() },
            tree: tree.clone(),
            control,
            command,
            changed: if control { Vec::new() } else { candidate.changed.clone() },
            setup: setup(&view.plan),
            step: record.entries.first().map(|entry| entry.step.clone()).filter(|_| record.entries.len() == 1),
        };
        let at = check.at.as_str().to_owned();
        let check = CheckRef { check: name.to_owned(), at, tree, step: None, landing: Some(landing), control };
        self.rec.emit(Body::CheckStarted(check))?;
        self.effect(Effect::Check(Box::new(job)));
        Ok(())
    }

    /// A check of the queue has ended.
    pub(super) fn checked(
        &mut self,
        landing: LandingId,
        check: String,
        tree: TreeId,
        control: bool,
        result: CheckResult,
    ) -> Result<(), RecordError> {
        if self.halt.is_some_and(Halt::cancels) && self.executor.shared.stop.is_cancelled() {
            // It was stopped: what it says of the tree is nothing, and its landing goes back to the queue.
            return self.withdraw_check(landing);
        }
        let output = Some(self.rec.keep(&result.evidence)?);
        let at = self.rec.view.plan.checks().unwrap_or_default().iter().find(|c| c.name == check);
        let at = at.map_or("land", |check| check.at.as_str()).to_owned();
        self.rec.emit(Body::CheckFinished {
            check: CheckRef { check, at, tree, step: None, landing: Some(landing), control },
            verdict: result.verdict,
            cached: false,
            exit: result.evidence.exit,
            elapsed_ms: result.evidence.elapsed_ms,
            output,
        })
    }

    fn withdraw_check(&mut self, landing: LandingId) -> Result<(), RecordError> {
        match self.rec.view.landings[&landing].state {
            Landing::Checking | Landing::Red => withdraw(&mut self.rec, landing, "interrupted"),
            Landing::Queued | Landing::Candidate | Landing::Green | Landing::Held => Ok(()),
            Landing::Landed | Landing::Ejected => Ok(()),
        }
    }

    /// A candidate was made, or not.
    pub(super) fn candidate(&mut self, id: LandingId, end: Result<CandidateEnd, String>) -> Result<(), RecordError> {
        match end {
            Ok(CandidateEnd::Built(candidate)) => {
                self.rec.landing(id, LandingEvent::Check, Some(candidate), None)?;
                self.known_verdicts(id)
            }
            Ok(CandidateEnd::Conflict { step, paths, messages }) => {
                let message = format!("conflict in {}\n{}", paths.join(", "), cut(&messages));
                self.eject(id, "conflict", Some(&step), message)
            }
            Ok(CandidateEnd::NotGenerated(message)) => {
                // The command runs on our side of the merge: a run that stops has stopped it, too.
                if self.executor.shared.stop.is_cancelled() {
                    return withdraw(&mut self.rec, id, "interrupted");
                }
                self.eject(id, "red", None, message)
            }
            Ok(CandidateEnd::BranchMoved { step, found }) => self.branch_moved(id, &step, found),
            Ok(CandidateEnd::TargetMoved(tip)) => {
                self.rec.emit(Body::TargetMoved { tip })?;
                self.rebuild_all(id, "tip_moved")
            }
            Ok(CandidateEnd::TargetGone) => {
                let target = self.rec.view.started.target.clone();
                self.hold(id, String::new(), Vec::new(), "target_gone", &format!("branch {target} is gone"))
            }
            Err(message) => self.machine_failed(id, message),
        }
    }

    /// Says which checks need not run, because what they say of the tree is known.
    fn known_verdicts(&mut self, id: LandingId) -> Result<(), RecordError> {
        let view = &self.rec.view;
        let record = &view.landings[&id];
        let Some(candidate) = &record.candidate else { return Ok(()) };
        let mut known = Vec::new();
        for check in wanted(view, record) {
            let verdict = view.verdicts.get(&(candidate.tree.clone(), check.name.clone()));
            let Some(verdict) = verdict.filter(|verdict| verdict.unsure == 0) else { continue };
            let (name, at, tree) = (check.name.clone(), check.at.as_str().to_owned(), candidate.tree.clone());
            let check = CheckRef { check: name, at, tree, step: None, landing: Some(id), control: false };
            let output = verdict.output.clone();
            known.push(Body::CheckFinished {
                check,
                verdict: verdict.verdict,
                cached: true,
                exit: None,
                elapsed_ms: 0,
                output,
            });
        }
        known.into_iter().try_for_each(|body| self.rec.emit(body))
    }

    /// Git or the disk failed: the landing waits, and the run ends with what is to be mended.
    fn machine_failed(&mut self, id: LandingId, message: String) -> Result<(), RecordError> {
        self.hold(id, String::new(), Vec::new(), "environment", &message)
    }

    fn hold(
        &mut self,
        id: LandingId,
        worktree: String,
        paths: Vec<String>,
        why: &str,
        message: &str,
    ) -> Result<(), RecordError> {
        if !message.is_empty() {
            let message = message.to_owned();
            self.rec.emit(Body::BoundHit { step: None, bound: why.to_owned(), message })?;
        }
        let why = why.to_owned();
        self.rec.emit(Body::LandingHeld { landing: id, worktree, paths, why: why.clone() })?;
        self.rec.landing(id, LandingEvent::Hold, None, Some(&why))
    }

    /// Every check has passed: gather it, or move the target.
    fn passed(&mut self, id: LandingId) -> Result<(), RecordError> {
        let record = &self.rec.view.landings[&id];
        if !gathered(&self.rec.view, record) {
            self.move_target(id);
        }
        Ok(())
    }

    fn move_target(&mut self, landing: LandingId) {
        let view = &self.rec.view;
        let record = &view.landings[&landing];
        let Some(candidate) = record.candidate.clone() else { return };
        let steps: Vec<&str> = record.entries.iter().map(|entry| entry.step.as_str()).collect();
        let reason = format!("wattle: land {}", steps.join(" "));
        let target = view.started.target.clone();
        self.effect(Effect::Move { landing, target, candidate: Box::new(candidate), reason });
    }

    /// The target has moved, or not.
    pub(super) fn moved(&mut self, id: LandingId, end: Result<MoveEnd, String>) -> Result<(), RecordError> {
        match end {
            Ok(MoveEnd::Moved) => self.landed(id),
            Ok(MoveEnd::Held { worktree, paths, why }) => self.hold(id, worktree, paths, why, ""),
            Ok(MoveEnd::TargetMoved(Some(tip))) => {
                self.rec.emit(Body::TargetMoved { tip })?;
                self.rebuild_all(id, "tip_moved")
            }
            Ok(MoveEnd::TargetMoved(None)) => self.machine_failed(id, "the target branch is gone".to_owned()),
            Err(message) => self.machine_failed(id, message),
        }
    }

    /// Journals that the target holds a landing.
    pub(super) fn landed(&mut self, id: LandingId) -> Result<(), RecordError> {
        land_events(&mut self.rec, id)
    }

    /// The tip has moved under a landing: it goes back to the queue, with all that was gathered below it.
    fn rebuild_all(&mut self, id: LandingId, why: &str) -> Result<(), RecordError> {
        withdraw(&mut self.rec, id, why)?;
        for below in self.gathered_ids() {
            withdraw(&mut self.rec, below, why)?;
        }
        Ok(())
    }

    fn gathered_ids(&self) -> Vec<LandingId> {
        let view = &self.rec.view;
        let green = view.gathers();
        let ids = view.landings.iter().filter(|(_, r)| green && !r.last && r.state == Landing::Green);
        ids.map(|(id, _)| *id).collect()
    }

    fn branch_moved(
        &mut self,
        id: LandingId,
        step: &StepId,
        found: Option<wattle_workspace::CommitId>,
    ) -> Result<(), RecordError> {
        let last = self.rec.view.landings[&id].last;
        withdraw(&mut self.rec, id, "branch_moved")?;
        for below in self.gathered_ids().into_iter().filter(|_| last) {
            withdraw(&mut self.rec, below, "branch_moved")?;
        }
        let repo = self.executor.shared.ctx.repo.clone();
        let work = self.rec.view.step(step).work.clone();
        let touches = self.rec.view.plan.step(step).map(|step| step.touches.clone()).unwrap_or_default();
        let theirs = found.as_ref().zip(work).and_then(|(commit, work)| {
            let tree = repo.tree_of(commit).ok()?;
            let base_tree = repo.tree_of(&work.base).ok()?;
            let paths = crate::queue::land::changed_paths(&repo, &base_tree, &tree).ok()?;
            let outside = paths.iter().filter(|path| !touches.iter().any(|glob| glob.matches(path)));
            let outside = outside.cloned().collect();
            Some(Work { commit: commit.clone(), tree, paths, outside, ..work })
        });
        let text = "somebody else moved the step's branch".to_owned();
        let reason = "branch_moved".to_owned();
        self.rec.emit(Body::Ejected { step: step.clone(), reason, message: text.clone() })?;
        let message = Some(text);
        let note = StepNote { message, work: theirs, ..StepNote::why("branch_moved") };
        self.rec.step(step, StepEvent::Review, note)
    }

    /// The evidence of the red check of a landing.
    fn red_output(&self, id: LandingId) -> String {
        let view = &self.rec.view;
        let Some(candidate) = &view.landings[&id].candidate else { return String::new() };
        let checks = view.plan.checks().unwrap_or_default();
        for check in checks {
            let Some(record) = view.verdicts.get(&(candidate.tree.clone(), check.name.clone())) else { continue };
            if record.verdict == Verdict::Green {
                continue;
            }
            let evidence = record.output.as_ref().and_then(|blob| self.rec.blobs().text(blob).ok());
            let evidence: Option<wattle_worker::outcome::Evidence> =
                evidence.and_then(|json| serde_json::from_str(&json).ok());
            let output = evidence.map(|evidence| evidence.output).unwrap_or_default();
            return format!("check {} is {}\n{}", check.name, word(record.verdict), cut(&output));
        }
        String::new()
    }

    /// Sends the entries of a landing back to their workers, as far as they have retries left. `culprit`
    /// is the one that does not merge; the others of its group wait for it in the queue.
    fn eject(
        &mut self,
        id: LandingId,
        reason: &str,
        culprit: Option<&StepId>,
        message: String,
    ) -> Result<(), RecordError> {
        let record = self.rec.view.landings[&id].clone();
        let why = if record.last { "final_red" } else { reason };
        let mut entries = record.entries;
        if record.last {
            for below in self.gathered_ids() {
                self.rec.landing(below, LandingEvent::Eject, None, Some(why))?;
            }
        }
        self.rec.landing(id, LandingEvent::Eject, None, Some(why))?;
        entries.sort_by_key(|entry| Some(&entry.step) != culprit);
        for entry in entries {
            let step = entry.step;
            if self.rec.view.step(&step).state != Step::Landing {
                continue;
            }
            if record.last {
                let (reason, text) = (why.to_owned(), message.clone());
                self.rec.emit(Body::Ejected { step: step.clone(), reason, message: text })?;
                let note = StepNote { message: Some(message.clone()), ..StepNote::why(why) };
                self.rec.step(&step, StepEvent::Review, note)?;
                continue;
            }
            if culprit.is_some_and(|culprit| *culprit != step) {
                self.rec.step(&step, StepEvent::Requeue, StepNote::why("group"))?;
                continue;
            }
            let (reason, text) = (reason.to_owned(), message.clone());
            self.rec.emit(Body::Ejected { step: step.clone(), reason: reason.clone(), message: text })?;
            let event = sent_back(&self.rec.view, &step);
            let feedback = format!("The merge queue sent your change back ({reason}):\n{message}");
            let note = StepNote {
                message: Some(message.lines().next().unwrap_or_default().to_owned()),
                feedback: (event == StepEvent::Retry).then_some(feedback),
                ..StepNote::why(&reason)
            };
            self.rec.step(&step, event, note)?;
        }
        Ok(())
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Green => "green",
        Verdict::Red => "red",
        Verdict::Timeout => "out of time",
        Verdict::Error => "not to be run",
    }
}

/// Journals that the target holds a landing, with everything that was gathered for it.
pub(crate) fn land_events(rec: &mut crate::journal::Recorder, id: LandingId) -> Result<(), RecordError> {
    let record = rec.view.landings[&id].clone();
    let Some(candidate) = record.candidate.clone() else { return Ok(()) };
    let checked = rec.view.plan.checks().unwrap_or_default().iter().any(|check| check.at != At::Step);
    let below: Vec<LandingId> = match record.last {
        false => Vec::new(),
        true => rec.view.landings.iter().filter(|(_, r)| gathered(&rec.view, r)).map(|(id, _)| *id).collect(),
    };
    for landing in below.iter().chain((!record.last).then_some(&id)) {
        let part = rec.view.landings[landing].clone();
        let Some(made) = part.candidate else { continue };
        for ((entry, commit), tree) in part.entries.iter().zip(&made.commits).zip(&made.trees) {
            let tip = *commit == candidate.new;
            let tree = tree.clone();
            rec.emit(Body::Landed {
                step: entry.step.clone(),
                group: part.group.clone(),
                commit: commit.clone(),
                tree,
                verified: checked,
                verified_by: (!tip).then(|| candidate.new.clone()),
            })?;
            rec.step(&entry.step, StepEvent::Landed, StepNote::default())?;
        }
        rec.landing(*landing, LandingEvent::Move, None, None)?;
    }
    if record.last {
        rec.landing(id, LandingEvent::Move, None, None)?;
    }
    Ok(())
}
