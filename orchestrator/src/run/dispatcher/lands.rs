//! What the queue wants, and what came of it, as events.

use wattle_planner::{At, StepId};
use wattle_worker::assignment::{Bounds, Command};
use wattle_worker::outcome::Verdict;
use wattle_workspace::{CommitId, TreeId};

use super::Dispatcher;
use crate::ids::LandingId;
use crate::journal::command::{requeue, withdraw};
use crate::journal::event::{Body, CheckRef, Entry, LandingChange};
use crate::journal::recorder::{RecordError, StepNote};
use crate::queue::audit::audit_job;
use crate::queue::known::{NOT_GENERATED, wanted};
use crate::queue::land::{CandidateEnd, MoveEnd};
use crate::queue::plan::{Wish, gathered_in_order, is_one, landed, moves, sent_back};
use crate::run::check::{CheckJob, Told};
use crate::run::executor::Effect;
use crate::run::jobs::{OUTPUT_BYTES_MAX, setup};
use crate::run::outcome::cut;
use crate::run::predict::Predicted;
use crate::run::scheduler::Halt;
use crate::run::theirs::{TheirsError, take_in};
use crate::state::landing::{Landing, LandingEvent};
use crate::state::step::{Step, StepEvent};

/// How a check is asked.
struct Ask {
    control: bool,
    again: bool,
}

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
                    // Another landing may hold it already.
                    if self.rec.view.step(&entry.step).state == Step::Queued {
                        self.rec.step(&entry.step, StepEvent::Land, StepNote::default())?;
                    }
                }
                self.build(id);
                Ok(())
            }
            Wish::Check { landing, check, tree, control, again } => {
                self.check(landing, &check, tree, Ask { control, again })
            }
            Wish::Withdraw { landing, why } => withdraw(&mut self.rec, landing, why),
            Wish::Turn { landing, event: LandingEvent::Eject, why } => {
                if self.rec.view.landings[&landing].state == Landing::Checking {
                    self.rec.landing(landing, LandingEvent::Fail, None, why)?;
                }
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
        let group = |entry: &Entry| self.rec.view.plan.step(&entry.step).and_then(|step| step.group.clone());
        let first = entries.first().and_then(group).filter(|_| !last);
        let group = first.filter(|first| entries.iter().all(|entry| group(entry).as_ref() == Some(first)));
        self.rec.emit(Body::LandingState(Box::new(LandingChange {
            landing: id,
            event: None,
            state: Landing::Queued,
            entries,
            group,
            last,
            candidate: None,
            why: None,
            culprit: None,
        })))
    }

    fn check(&mut self, landing: LandingId, name: &str, tree: TreeId, ask: Ask) -> Result<(), RecordError> {
        let Ask { control, again } = ask;
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
            // The base is asked exactly what the change was.
            changed: candidate.changed.clone(),
            setup: setup(&view.plan),
            again,
            cancel: self.executor.shared.stop.child_token(),
            isolation: view.started.isolation.clone(),
            step: record.entries.first().map(|entry| entry.step.clone()).filter(|_| record.entries.len() == 1),
        };
        let at = check.at.as_str().to_owned();
        self.checks.insert((landing, name.to_owned(), tree.clone()), job.cancel.clone());
        let check =
            CheckRef { check: name.to_owned(), at, tree, step: None, landing: Some(landing), control, key: None };
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
        told: Told,
    ) -> Result<(), RecordError> {
        let Told { control, cached, key, result } = told;
        let under_way = (landing, check.clone(), tree.clone());
        self.checks.remove(&under_way);
        if !self.rec.view.checking.contains(&under_way) {
            // Nobody waits for it any more, and it may have been stopped: what it says is nothing.
            return Ok(());
        }
        if self.halt.is_some_and(Halt::cancels) && self.executor.shared.stop.is_cancelled() {
            // It was stopped: what it says of the tree is nothing, and its landing goes back to the queue.
            return self.withdraw_check(landing);
        }
        let output = Some(self.rec.keep(&result.evidence)?);
        let at = self.rec.view.plan.checks().unwrap_or_default().iter().find(|c| c.name == check);
        let at = at.map_or("land", |check| check.at.as_str()).to_owned();
        self.rec.emit(Body::CheckFinished {
            check: CheckRef { check, at, tree, step: None, landing: Some(landing), control, key },
            verdict: result.verdict,
            cached,
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
        if self.rec.view.landings[&id].state != Landing::Candidate {
            // It was given up meanwhile.
            return Ok(());
        }
        if self.moves() && !matches!(end, Ok(CandidateEnd::Built(_))) {
            // It shares entries with what is on its way to the target, so that nothing can be said of them now.
            return withdraw(&mut self.rec, id, "tip_moved");
        }
        match end {
            Ok(CandidateEnd::Built(candidate)) => {
                self.rec.landing(id, LandingEvent::Check, Some(candidate), None)?;
                self.known_verdicts(id)
            }
            Ok(CandidateEnd::Conflict { step, paths, messages }) => {
                let message = format!("conflict in {}\n{}", paths.join(", "), cut(&messages));
                self.conflict(id, &step, message)
            }
            Ok(CandidateEnd::NotGenerated(message)) => {
                // The command runs on our side of the merge: a run that stops has stopped it, too.
                if self.executor.shared.stop.is_cancelled() {
                    return withdraw(&mut self.rec, id, "interrupted");
                }
                if !is_one(&self.rec.view, &self.rec.view.landings[&id]) {
                    // Whose files they cannot be made of is asked with fewer of them.
                    return withdraw(&mut self.rec, id, NOT_GENERATED);
                }
                self.eject(id, "red", None, message)
            }
            Ok(CandidateEnd::BranchMoved { step }) => self.branch_moved(id, &step),
            // Our own landing has moved it, or is just doing so.
            Ok(CandidateEnd::TargetMoved(tip)) if self.is_ours(&tip) => withdraw(&mut self.rec, id, "tip_moved"),
            Ok(CandidateEnd::TargetMoved(tip)) => {
                self.rec.emit(Body::TargetMoved { tip })?;
                self.rebuild_all("tip_moved")
            }
            Ok(CandidateEnd::TargetGone) => self.target_gone(id),
            Err(_) if self.executor.shared.stop.is_cancelled() => withdraw(&mut self.rec, id, "interrupted"),
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
            let verdict = view.verdicts.get(&candidate.tree, &check.name);
            let Some(verdict) = verdict.filter(|verdict| verdict.unsure == 0) else { continue };
            let (name, at, tree) = (check.name.clone(), check.at.as_str().to_owned(), candidate.tree.clone());
            let check = CheckRef { check: name, at, tree, step: None, landing: Some(id), control: false, key: None };
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

    fn target_gone(&mut self, id: LandingId) -> Result<(), RecordError> {
        let target = self.rec.view.started.target.clone();
        self.hold(id, String::new(), Vec::new(), "target_gone", &format!("branch {target} is gone"))
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
        if !record.gathered {
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
        if self.rec.view.landings[&id].state != Landing::Green {
            // It was given up meanwhile; where it has moved the target all the same, the next candidate sees it.
            return Ok(());
        }
        match end {
            Ok(MoveEnd::Moved) => self.landed(id),
            Ok(MoveEnd::Held { worktree, paths, why }) => self.hold(id, worktree, paths, why, ""),
            Ok(MoveEnd::TargetMoved(Some(tip))) => {
                self.rec.emit(Body::TargetMoved { tip })?;
                self.rebuild_all("tip_moved")
            }
            Ok(MoveEnd::TargetMoved(None)) => self.target_gone(id),
            Err(message) => self.machine_failed(id, message),
        }
    }

    /// Journals that the target holds a landing, and has it looked at once more.
    pub(super) fn landed(&mut self, id: LandingId) -> Result<(), RecordError> {
        let job = audit_job(&self.rec.view, id);
        land_events(&mut self.rec, id)?;
        if let Some(job) = job {
            self.auditing.insert(id);
            self.effect(Effect::Audit(Box::new(job)));
        }
        Ok(())
    }

    /// What has landed was looked for. What is not there stops the line: nothing lands on a loss.
    pub(super) fn audited(
        &mut self,
        landing: LandingId,
        missing: Result<Vec<String>, String>,
    ) -> Result<(), RecordError> {
        self.auditing.remove(&landing);
        let missing = missing.unwrap_or_else(|error| vec![format!("it could not be looked at: {error}")]);
        if let Some(first) = missing.first() {
            let message = format!("landing {}: {first}; the target is left as it is", landing.0);
            self.rec.emit(Body::BoundHit { step: None, bound: "audit".to_owned(), message })?;
            self.stop_all(Halt::Stop);
        }
        self.rec.emit(Body::Audited { landing, missing })
    }

    /// Conflicts were predicted, and the target was looked at by the way.
    pub(super) fn predicted(&mut self, end: Result<Predicted, String>) -> Result<(), RecordError> {
        let Predicted { found, tip } = end.unwrap_or_else(|error| {
            // Of no consequence but a later conflict.
            tracing::warn!(%error, "conflicts were not predicted");
            Predicted::default()
        });
        self.predictor.found(&mut self.rec, found)?;
        let Some((known, tip)) = tip else { return Ok(()) };
        let view = &self.rec.view;
        let held = view.open.iter().any(|id| view.landings[id].state == Landing::Held);
        // Meanwhile a landing of ours may have moved it; and what is held waits for its user, whatever else they do.
        if known != view.tip || self.is_ours(&tip) || held || self.halt.is_some() {
            return Ok(());
        }
        self.rec.emit(Body::TargetMoved { tip })?;
        self.rebuild_all("tip_moved")
    }

    /// Is the target there because a landing of ours has moved it, or is moving it?
    fn is_ours(&self, tip: &CommitId) -> bool {
        let view = &self.rec.view;
        // Until it says how it went, whatever the target is at now came of it or after it.
        view.tip == *tip || self.moves()
    }

    /// Is the target just being moved?
    fn moves(&self) -> bool {
        let view = &self.rec.view;
        view.open.iter().any(|id| moves(&view.landings[id]))
    }

    /// The tip has moved under the queue: every landing goes back to it, with all that was gathered. The last one
    /// goes first: it holds the entries of the others.
    fn rebuild_all(&mut self, why: &str) -> Result<(), RecordError> {
        for id in self.rec.view.open.clone().into_iter().rev() {
            withdraw(&mut self.rec, id, why)?;
        }
        Ok(())
    }

    /// An entry does not merge. On the tip itself that is its own; behind others it waits for what becomes of them.
    fn conflict(&mut self, id: LandingId, step: &StepId, message: String) -> Result<(), RecordError> {
        let record = self.rec.view.landings[&id].clone();
        let group = |step: &StepId| self.rec.view.plan.step(step).and_then(|step| step.group.clone());
        let first = record.entries.first().map(|entry| &entry.step);
        let own = first == Some(step) || (group(step).is_some() && first.and_then(group) == group(step));
        if own {
            return self.eject(id, "conflict", Some(step), message);
        }
        self.rec.clash(id, step)?;
        requeue(&mut self.rec, &record.entries, "clash")
    }

    /// Other landings over the same entries: they hold what is sent back.
    fn release(&mut self, id: LandingId, entries: &[Entry]) -> Result<(), RecordError> {
        for other in self.rec.view.open.clone().into_iter().filter(|other| *other != id) {
            let record = &self.rec.view.landings[&other];
            let shares = record.entries.iter().any(|entry| entries.contains(entry));
            if shares && !record.last && !record.gathered {
                withdraw(&mut self.rec, other, "split")?;
            }
        }
        Ok(())
    }

    fn gathered_ids(&self) -> Vec<LandingId> {
        let view = &self.rec.view;
        let green = view.gathers();
        let ids = view.landings.iter().filter(|(_, r)| green && !r.last && r.state == Landing::Green);
        ids.map(|(id, _)| *id).collect()
    }

    fn branch_moved(&mut self, id: LandingId, step: &StepId) -> Result<(), RecordError> {
        let record = self.rec.view.landings[&id].clone();
        let last = record.last;
        withdraw(&mut self.rec, id, "branch_moved")?;
        let moved: Vec<Entry> = record.entries.into_iter().filter(|entry| entry.step == *step).collect();
        self.release(id, &moved)?;
        for below in self.gathered_ids().into_iter().filter(|_| last) {
            withdraw(&mut self.rec, below, "branch_moved")?;
        }
        let message = "somebody else moved the step's branch".to_owned();
        let reason = "branch_moved".to_owned();
        self.rec.emit(Body::Ejected { step: step.clone(), reason, message: message.clone() })?;
        let repo = self.executor.shared.ctx.repo.clone();
        let message = match take_in(&mut self.rec, &repo, |id| id == step) {
            Ok(()) if self.rec.view.step(step).state == Step::Queued => message,
            Ok(()) => return Ok(()),
            Err(TheirsError::Record(error)) => return Err(error),
            Err(error @ (TheirsError::Git(_) | TheirsError::Pool(_) | TheirsError::Ref(_))) => error.to_string(),
        };
        // What is on the branch cannot be told: a human looks at it.
        let note = StepNote { message: Some(message), ..StepNote::why("branch_moved") };
        self.rec.step(step, StepEvent::Review, note)
    }

    /// The evidence of the red check of a landing.
    fn red_output(&self, id: LandingId) -> String {
        let view = &self.rec.view;
        let Some(candidate) = &view.landings[&id].candidate else { return String::new() };
        let checks = view.plan.checks().unwrap_or_default();
        for check in checks {
            let Some(record) = view.verdicts.get(&candidate.tree, &check.name) else { continue };
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
        let group = |step: &StepId| self.rec.view.plan.step(step).and_then(|step| step.group.clone());
        // A landing over several places sends back the one that is to blame; the others join the queue again.
        let own = |step: &StepId| {
            record.last
                || culprit
                    .is_none_or(|culprit| culprit == step || (group(step).is_some() && group(step) == group(culprit)))
        };
        let (mut entries, others): (Vec<Entry>, Vec<Entry>) =
            record.entries.iter().cloned().partition(|entry| own(&entry.step));
        if !record.last {
            self.release(id, &entries)?;
        }
        if record.last {
            for below in self.gathered_ids() {
                self.rec.landing(below, LandingEvent::Eject, None, Some(why))?;
            }
        }
        self.rec.landing(id, LandingEvent::Eject, None, Some(why))?;
        requeue(&mut self.rec, &others, "split")?;
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
        true => gathered_in_order(&rec.view).into_iter().map(|(id, _)| id).collect(),
    };
    for landing in below.iter().chain((!record.last).then_some(&id)) {
        let part = rec.view.landings[landing].clone();
        let Some(made) = part.candidate else { continue };
        for ((entry, commit), tree) in part.entries.iter().zip(&made.commits).zip(&made.trees) {
            // What was held may have landed meanwhile, in another landing on the same commits.
            if landed(&rec.view, entry) {
                continue;
            }
            let tip = *commit == candidate.new;
            let tree = tree.clone();
            rec.emit(Body::Landed {
                step: entry.step.clone(),
                group: rec.view.plan.step(&entry.step).and_then(|step| step.group.clone()),
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
