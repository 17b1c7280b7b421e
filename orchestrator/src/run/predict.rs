//! Early warning: what the queue would say of a commit is asked when the commit appears, while its worker may still be
//! there, and not when its turn comes.
//!
//! A prediction is advice. It changes no state, nothing is run again for it, and the queue merges anew what it lands: the
//! other commit may yet be rejected. Who would land later is told, because he is the one whose change would be sent back:
//! a worker that is in conversation hears it with its next turn, any other finds it among the words for its next one.
//!
//! Nothing is polled. A commit, or a target that somebody else has moved, makes its commits *due*; one job at a time
//! merges what is due, off the dispatcher's thread and without a trace in the repository. A pair is merged once: when either
//! side has moved, it is another pair. Where the target is now is looked at by the way, with each job and each tool that an
//! agent uses: a user's commit on it is known while workers can still be told, not when the queue meets it.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;
use wattle_planner::StepId;
use wattle_worker::host::Intent;
use wattle_workspace::{CommitId, GitError, Merged, Note, Repo, Rules};

use super::outcome::cut;
use crate::journal::Recorder;
use crate::journal::RunView;
use crate::journal::event::{Body, Event, Prediction};
use crate::journal::record::WARNING;
use crate::journal::recorder::RecordError;
use crate::queue::land::branch_ref;
use crate::state::attempt::AttemptEvent;
use crate::state::step::Step;

/// Pairs of one job: a new commit against so many others, those that land first before the rest. Beyond, the queue is the
/// first to know, which costs time and nothing else.
const PAIRS_MAX: usize = 256;
/// Pairs merged between two looks at whether the run has ended: at 3 ms each that is noticed within a tenth of a second.
const ROUND: usize = 32;
/// Pairs that are remembered as asked; past this all are forgotten, and some merged again.
const ASKED_MAX: usize = 1 << 16;
/// A change of more paths is merged without a look at them: looking would take longer.
const PATHS_MAX: usize = 2_000;

/// A commit that is to land.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Side {
    /// Its step; `None` = the target itself.
    pub(crate) step: Option<StepId>,
    /// The commit.
    pub(crate) commit: CommitId,
    /// What it was made on; none where that says nothing.
    pub(crate) base: Option<CommitId>,
}

/// Pairs to merge: who lands first, and who then would conflict.
#[derive(Debug, Clone)]
pub(crate) struct PredictJob {
    pairs: Vec<(Side, Side)>,
    /// The target, and where the run believes it to be.
    target: (String, CommitId),
    stop: CancellationToken,
}

/// What a job found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Predicted {
    /// Pairs that do not merge.
    pub(crate) found: Vec<Found>,
    /// The target was believed to be at the first, and is at the second.
    pub(crate) tip: Option<(CommitId, CommitId)>,
}

/// A pair that does not merge.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    first: Side,
    second: Side,
    merged: Merged,
}

/// What is due, and what has been asked.
#[derive(Debug, Default)]
pub(crate) struct Predictor {
    /// Steps whose commit is new.
    due: BTreeSet<StepId>,
    /// Has somebody else moved the target?
    tip_due: bool,
    /// Is it time to look where the target is?
    look_due: bool,
    busy: bool,
    asked: BTreeSet<(CommitId, CommitId)>,
    stop: CancellationToken,
    /// Words for workers that are in conversation.
    words: BTreeMap<StepId, Vec<String>>,
}

impl Predictor {
    /// Takes note of what has happened.
    pub(crate) fn note(&mut self, event: &Event) {
        self.tip_due |= matches!(event.body, Body::TargetMoved { .. });
        self.look_due |= matches!(event.body, Body::Intent { intent: Intent::Tool { .. }, .. });
        // From its check on a commit exists.
        if let Body::Intent { step, intent: Intent::Check { .. }, .. } = &event.body {
            self.due.insert(step.clone());
        }
        if let Body::StepState(change) = &event.body
            && change.work.is_some()
        {
            self.due.insert(change.step.clone());
        }
        // A worker that takes up its earlier change has a commit to be told of.
        if let Body::AttemptState(change) = &event.body
            && change.event == Some(AttemptEvent::Execute)
            && change.attempt > 1
        {
            self.due.insert(change.step.clone());
        }
    }

    /// The next job, if something is due and none is under way.
    pub(crate) fn job(&mut self, view: &RunView) -> Option<PredictJob> {
        if self.busy || self.stop.is_cancelled() {
            return None;
        }
        let target = (branch_ref(&view.started.target), view.tip.clone());
        if self.due.is_empty() && !self.tip_due {
            self.busy = std::mem::take(&mut self.look_due);
            return self.busy.then(|| PredictJob { pairs: Vec::new(), target, stop: self.stop.clone() });
        }
        let live = live(view);
        let mut pairs = Vec::new();
        if std::mem::take(&mut self.tip_due) {
            let tip = Side { step: None, commit: view.tip.clone(), base: None };
            pairs.extend(live.iter().map(|side| (tip.clone(), side.clone())));
        }
        for step in std::mem::take(&mut self.due) {
            let Some(at) = live.iter().position(|side| side.step.as_ref() == Some(&step)) else { continue };
            let others = live.iter().enumerate().filter(|(n, _)| *n != at);
            pairs.extend(others.map(|(n, other)| match n < at {
                true => (other.clone(), live[at].clone()),
                false => (live[at].clone(), other.clone()),
            }));
        }
        if self.asked.len() > ASKED_MAX {
            self.asked.clear();
        }
        // Who is first may change while both commits stay: that is not asked again.
        let ordered = |a: &CommitId, b: &CommitId| (a.min(b).clone(), a.max(b).clone());
        pairs.retain(|(first, second)| self.asked.insert(ordered(&first.commit, &second.commit)));
        pairs.truncate(PAIRS_MAX);
        self.busy = !pairs.is_empty() || self.look_due;
        self.look_due = false;
        self.busy.then(|| PredictJob { pairs, target, stop: self.stop.clone() })
    }

    /// Journals what was found, and keeps the words for workers in conversation.
    pub(crate) fn found(&mut self, rec: &mut Recorder, found: Vec<Found>) -> Result<(), RecordError> {
        self.busy = false;
        for Found { first, second, merged } in found {
            let Merged::Conflicts { paths, notes, .. } = &merged else { continue };
            let Some(step) = second.step.clone() else { continue };
            let a = first.step.as_ref().map_or(rec.view.started.target.clone(), ToString::to_string);
            let current = rec.view.step(&step).commit().map(|(commit, _)| commit);
            let known = rec.view.step(&step).predicted.get(&a);
            let known = known.is_some_and(|known| known.a_commit == first.commit && known.b_commit == second.commit);
            if known || current != Some(&second.commit) {
                continue;
            }
            let detail = serde_json::to_vec(&merged).expect("a merge is plain data");
            let detail = rec.blobs().put(&detail)?;
            let feedback = words(&a, &first, &second, notes);
            if rec.view.step(&step).at_work() {
                self.words.entry(step.clone()).or_default().push(feedback.clone());
            }
            rec.emit(Body::ConflictPredicted(Box::new(Prediction {
                a,
                b: step,
                paths: paths.clone(),
                a_commit: first.commit,
                b_commit: second.commit,
                detail,
                feedback,
            })))?;
        }
        Ok(())
    }

    /// What a worker in conversation has not heard yet.
    pub(crate) fn hear(&mut self, step: &StepId) -> Option<Vec<String>> {
        self.words.remove(step)
    }

    /// Is a job under way?
    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Nothing is predicted any more.
    pub(crate) fn end(&mut self) {
        self.stop.cancel();
    }
}

/// The commits that are to land, in the order in which they would if nothing more happened.
fn live(view: &RunView) -> Vec<Side> {
    let mut live = Vec::new();
    for (n, step) in view.plan.steps().iter().enumerate() {
        let record = view.step(&step.id);
        let place = match record.state {
            Step::Landing => 0,
            Step::Queued => 1,
            Step::Approved => 2,
            Step::Review => 3,
            Step::Running | Step::Checking | Step::NeedsInput | Step::Parked => 4,
            Step::Waiting | Step::Ready | Step::Stale | Step::Landed | Step::Done | Step::Unchanged => continue,
            Step::Failed | Step::Blocked | Step::Skipped | Step::Cancelled | Step::Rejected => continue,
        };
        let queued = if place <= 1 { record.queued_seq } else { 0 };
        if let Some((commit, base)) = record.commit() {
            live.push((
                (place, queued, n),
                Side { step: Some(step.id.clone()), commit: commit.clone(), base: base.cloned() },
            ));
        }
    }
    live.sort_by_key(|(place, _)| *place);
    live.into_iter().map(|(_, side)| side).collect()
}

/// What the worker reads.
fn words(a: &str, first: &Side, second: &Side, notes: &[Note]) -> String {
    let says: String = notes.iter().filter(|n| n.kind.starts_with("CONFLICT")).map(|n| n.text.as_str()).collect();
    let who = match first.step {
        Some(_) => format!("the change of step {a} ({})", first.commit.short()),
        None => format!("what is on {a} now ({})", first.commit.short()),
    };
    let mine = second.commit.short();
    format!("{WARNING}{mine} will not merge with {who}, which lands before it:\n{}", cut(&says))
}

/// Looks where the target is, and merges the pairs that can conflict at all.
pub(crate) fn predict(repo: &Repo, job: &PredictJob) -> Result<Predicted, GitError> {
    let (name, known) = &job.target;
    let tip = repo.read_ref(name)?.filter(|tip| tip != known).map(|tip| (known.clone(), tip));
    Ok(Predicted { found: conflicts(repo, job)?, tip })
}

/// Merges the pairs that can conflict at all.
fn conflicts(repo: &Repo, job: &PredictJob) -> Result<Vec<Found>, GitError> {
    let mut changes = Changes { repo, known: BTreeMap::new() };
    let mut pairs = Vec::new();
    for (first, second) in &job.pairs {
        if job.stop.is_cancelled() {
            return Ok(Vec::new());
        }
        if changes.can_conflict(first, second)? {
            pairs.push((first, second));
        }
    }
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let mut trial = repo.trial(Rules::Run)?;
    let mut found = Vec::new();
    for round in pairs.chunks(ROUND) {
        if job.stop.is_cancelled() {
            return Ok(Vec::new());
        }
        let commits: Vec<_> = round.iter().map(|(a, b)| (a.commit.clone(), b.commit.clone())).collect();
        for ((first, second), merged) in round.iter().zip(trial.merge_all(&commits)?) {
            if matches!(merged, Merged::Conflicts { .. }) {
                found.push(Found { first: (*first).clone(), second: (*second).clone(), merged });
            }
        }
    }
    Ok(found)
}

/// What commits change, each read once.
struct Changes<'a> {
    repo: &'a Repo,
    known: BTreeMap<CommitId, Option<Change>>,
}

/// What a commit changes.
#[derive(Clone)]
struct Change {
    paths: BTreeSet<String>,
    /// Is something gone? Then a folder may have been renamed, and a merge may put the other's files there.
    deletes: bool,
}

impl Changes<'_> {
    fn can_conflict(&mut self, first: &Side, second: &Side) -> Result<bool, GitError> {
        if !self.repo.has_commit(&first.commit)? || !self.repo.has_commit(&second.commit)? {
            // It is about to be made, and due again when it is.
            return Ok(false);
        }
        let (Some(one), Some(other)) = (self.of(first)?, self.of(second)?) else { return Ok(true) };
        Ok(one.deletes || other.deletes || meet(&one.paths, &other.paths) || meet(&other.paths, &one.paths))
    }

    /// None where the paths would say nothing, or take too long to say it.
    fn of(&mut self, side: &Side) -> Result<Option<Change>, GitError> {
        if let Some(known) = self.known.get(&side.commit) {
            return Ok(known.clone());
        }
        let change = match &side.base {
            None => None,
            Some(base) => {
                let tree = self.repo.tree_of(&side.commit)?;
                let paths = self.repo.changed_paths(&self.repo.tree_of(base)?, &tree)?;
                let mut deletes = paths.len() > PATHS_MAX;
                for path in paths.iter().take(PATHS_MAX) {
                    deletes = deletes || self.repo.blob_of(&tree, path)?.is_none();
                }
                Some(Change { paths, deletes })
            }
        };
        self.known.insert(side.commit.clone(), change.clone());
        Ok(change)
    }
}

/// Is a path of one a path of the other, or a folder of it?
fn meet(one: &BTreeSet<String>, other: &BTreeSet<String>) -> bool {
    one.iter().any(|path| {
        let below = format!("{path}/");
        other.contains(path) || other.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
    })
}

#[cfg(test)]
mod tests;
