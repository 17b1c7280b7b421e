//! What the journal says about one run: the state that events fold into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wattle_planner::{GroupId, Plan, StepId};
use wattle_worker::outcome::{Cause, Verdict};
use wattle_workspace::{CommitId, TreeId};

use super::event::{Candidate, Entry, Prediction, RunStarted, Work};
use super::observed::Observations;
use super::records::StepRecords;
use super::verdicts::Verdicts;
use crate::ids::{Blob, LandingId, RunId};
use crate::state::attempt::Attempt;
use crate::state::landing::Landing;
use crate::state::run::Run;
use crate::state::step::Step;

/// One run, as its events tell it.
#[derive(Debug, Clone)]
pub(crate) struct RunView {
    /// Its id.
    pub(crate) run: RunId,
    /// Its frozen inputs; options as the last resume left them.
    pub(crate) started: RunStarted,
    /// Its plan.
    pub(crate) plan: Arc<Plan>,
    /// The texts of its plan after each amendment.
    pub(crate) plans: Vec<Blob>,
    /// Steps that were split, each with the steps that this added.
    pub(crate) splits: BTreeMap<StepId, Vec<StepId>>,
    /// Its state.
    pub(crate) state: Run,
    /// Code of the reason.
    pub(crate) why: Option<String>,
    /// Tip of the target branch as far as the run knows.
    pub(crate) tip: CommitId,
    /// Tip of what has been gathered for the final checks; `None` = nothing.
    pub(crate) gathered: Option<CommitId>,
    /// Its steps.
    pub(crate) steps: StepRecords,
    /// Its landings.
    pub(crate) landings: BTreeMap<LandingId, LandingRecord>,
    /// Those that are not over.
    pub(crate) open: BTreeSet<LandingId>,
    /// What checks have said of trees.
    pub(crate) verdicts: Verdicts,
    /// Checks of the queue that have started and have no verdict yet.
    pub(crate) checking: Vec<(LandingId, String, TreeId)>,
    /// The newest of what its checks have shown.
    pub(crate) observed: Observations,
    /// Steps and landings that have changed.
    pub(crate) touched: Touched,
    /// Tokens and money.
    pub(crate) spent: Spent,
    /// Place of the last event that put a commit on the tip.
    pub(crate) landed_seq: u64,
    /// Place of the last event about what the queue waits for: checks under way, who asks for what, where the target is.
    pub(crate) queue_seq: u64,
    /// Steps that have landed.
    pub(crate) landed: usize,
    /// Landings that are over because a check was red.
    pub(crate) reds: usize,
    /// Place of the event that started or resumed the run.
    pub(crate) resumed_seq: u64,
    /// Place of the last event.
    pub(crate) seq: u64,
}

/// What has changed since it was last taken, for each who wants to know. It is no part of what the events say.
#[derive(Clone, Default)]
pub(crate) struct Touched {
    /// Steps, by their places in the plan, for who decides.
    pub(crate) agenda: Trail<usize>,
    /// The same for what is kept for `status`.
    pub(crate) glance: Trail<usize>,
    /// Landings, for who decides.
    pub(crate) landings: Trail<LandingId>,
}

/// The same, for one of them.
#[derive(Clone)]
pub(crate) struct Trail<T> {
    watched: bool,
    changed: Vec<T>,
}

impl<T> Default for Trail<T> {
    fn default() -> Self {
        Self { watched: false, changed: Vec::new() }
    }
}

impl std::fmt::Debug for Touched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Touched")
    }
}

impl Touched {
    pub(super) fn add(&mut self, place: usize) {
        self.agenda.add(place);
        self.glance.add(place);
    }
}

impl<T: PartialEq> Trail<T> {
    /// From now on they are kept.
    pub(crate) fn watch(&mut self) {
        self.watched = true;
    }

    /// Those since the last time.
    pub(crate) fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn add(&mut self, changed: T) {
        if self.watched && self.changed.last() != Some(&changed) {
            self.changed.push(changed);
        }
    }
}

/// Tokens and money, summed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub(crate) struct Spent {
    /// HTTP attempts.
    pub(crate) requests: u64,
    /// Input tokens outside any cache.
    pub(crate) uncached_in: u64,
    /// Input tokens read from a cache.
    pub(crate) cache_read: u64,
    /// Input tokens written to a cache.
    pub(crate) cache_write: u64,
    /// Output tokens.
    pub(crate) out: u64,
    /// Known money, in nano-dollars.
    pub(crate) nano_usd: u64,
    /// Requests whose price is not known.
    pub(crate) unpriced: u64,
}

impl Spent {
    /// All tokens.
    pub(crate) fn tokens(&self) -> u64 {
        self.uncached_in + self.cache_read + self.cache_write + self.out
    }

    /// Dollars; `None` when a price is not known.
    pub(crate) fn usd(&self) -> Option<f64> {
        (self.unpriced == 0).then(|| self.nano_usd as f64 / 1e9)
    }
}

/// How the words of a prediction begin.
pub(crate) const WARNING: &str = "Your change as of ";
/// Predictions that a step's workers are told of: past this they know that they have company, and the queue will say.
const WARNINGS_MAX: usize = 8;

/// One step.
#[derive(Debug, Clone)]
pub(crate) struct StepRecord {
    /// Its state.
    pub(crate) state: Step,
    /// Code of the reason.
    pub(crate) why: Option<String>,
    /// The reason in words.
    pub(crate) message: Option<String>,
    /// Its attempts, oldest first.
    pub(crate) attempts: Vec<AttemptRecord>,
    /// Retries used up since a human last touched it.
    pub(crate) failures: u32,
    /// What it has to land.
    pub(crate) work: Option<Work>,
    /// What that stands on directly: steps by their places in the plan, and their commits. What those stand on in turn is
    /// in `work`, too.
    pub(super) below: Vec<(usize, CommitId)>,
    /// Where its branch was left; it outlives the work that a redo takes away.
    pub(crate) branch: Option<CommitId>,
    /// The approval that holds.
    pub(crate) approved: Option<Approval>,
    /// Did a human ask for it to be landed?
    pub(crate) merge_asked: bool,
    /// Its report.
    pub(crate) report: Option<Blob>,
    /// Comments that no worker has seen.
    pub(crate) drafts: Vec<Draft>,
    /// Words for its workers, all of them so far: a conversation knows by number and text what it has heard.
    pub(crate) feedback: Vec<String>,
    /// Conflicts that were predicted for its commit, newest per other side. They hold as long as both commits do.
    pub(crate) predicted: BTreeMap<String, Prediction>,
    /// Does a human want its worker to end, and the step with it?
    pub(crate) cancelling: bool,
    /// Has the queue sent it back? From then on it starts on the tip.
    pub(crate) sent_back: bool,
    /// What its worker says that others should do, JSON, until they are steps of the plan.
    pub(crate) split: Option<Blob>,
    /// Questions it has asked since a human last touched it.
    pub(crate) asked: u32,
    /// The open question.
    pub(crate) gate: Option<Gate>,
    /// Answers that its worker has not had yet, by question.
    pub(crate) answers: BTreeMap<String, String>,
    /// Is its commit part of what waits for the final checks?
    pub(crate) gathered: bool,
    /// The commit on the target that it landed with.
    pub(crate) landed: Option<CommitId>,
    /// Verdict of its own check, newest.
    pub(crate) check: Option<Verdict>,
    /// A needed step whose new commit has to come before it is tried again.
    pub(crate) conflict_at: Option<u64>,
    /// Does its next worker begin a new conversation?
    pub(crate) fresh: bool,
    /// Place of the event that last gave it a commit to stand on, or took it away.
    pub(crate) moved_seq: u64,
    /// Order in which it joined the queue.
    pub(crate) queued_seq: u64,
    /// When it joined the queue, RFC 3339; what lands it carries this date, whichever landing does.
    pub(crate) queued_at: String,
    /// Tokens and money.
    pub(crate) spent: Spent,
}

impl RunView {
    /// Does a prediction still hold? Neither commit has been replaced, or gone but to the target.
    pub(crate) fn holds(&self, found: &Prediction) -> bool {
        let side = |record: &StepRecord| (record.landed.is_some(), record.commit().map(|(commit, _)| commit.clone()));
        let first = found.a.parse::<StepId>().ok().and_then(|a| self.steps.get(&a)).map(side);
        holds(&self.tip, (first, &found.a_commit), (self.steps.get(&found.b).map(side), &found.b_commit))
    }
}

/// Does a prediction still hold? Each side is a step, where there is one (has it landed, and at which commit does it stand),
/// and the commit that was meant.
pub(super) fn holds(tip: &CommitId, first: (Option<Stand>, &CommitId), second: (Option<Stand>, &CommitId)) -> bool {
    let at = |stand: &Option<Stand>, commit| stand.as_ref().is_some_and(|(_, now)| now.as_ref() == Some(commit));
    let landed = first.0.as_ref().is_some_and(|(landed, _)| *landed);
    (landed || at(&first.0, first.1) || tip == first.1) && at(&second.0, second.1)
}

/// Has a step landed, and at which commit does it stand?
type Stand = (bool, Option<CommitId>);

impl StepRecord {
    /// Is a worker alive at it, as far as the journal knows?
    pub(crate) fn at_work(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| match attempt.state {
            Attempt::Leased | Attempt::Executing | Attempt::Committed => true,
            Attempt::Checking | Attempt::Repairing | Attempt::Asking => true,
            Attempt::Succeeded | Attempt::Failed | Attempt::Parked | Attempt::Interrupted => false,
        })
    }

    /// Does it have a commit that is to land, so that others may stand on it?
    pub(crate) fn stands(&self) -> bool {
        self.work.is_some() && matches!(self.state, Step::Review | Step::Approved | Step::Queued | Step::Landing)
    }

    /// The steps, by their places in the plan, that its work stands on directly, and their commits then.
    pub(crate) fn below(&self) -> &[(usize, CommitId)] {
        if self.work.is_some() { &self.below } else { &[] }
    }

    /// The commit that its branch stands for now, and what that was made on: what is to land, else what its worker has
    /// made so far or goes on from.
    pub(crate) fn commit(&self) -> Option<(&CommitId, Option<&CommitId>)> {
        if self.stands() {
            return self.work.as_ref().map(|work| (&work.commit, Some(&work.base)));
        }
        let open = self.at_work() && !self.fresh;
        // Between the intent to commit and the check, or the end, the commit may not be there yet.
        let made = |attempt: &&AttemptRecord| attempt.committed.is_some() && attempt.state != Attempt::Committed;
        let attempt = self.attempts.iter().rev().filter(|_| open).find(made)?;
        Some((attempt.committed.as_ref()?, attempt.base.as_ref()))
    }

    /// Its commit will not merge: its workers are told, a few times at most, each time of other commits.
    pub(crate) fn warned(&mut self, prediction: &Prediction) {
        let told = self.feedback.iter().filter(|words| words.starts_with(WARNING)).count();
        if told < WARNINGS_MAX && !self.feedback.contains(&prediction.feedback) {
            self.feedback.push(prediction.feedback.clone());
        }
        self.predicted.insert(prediction.a.clone(), prediction.clone());
    }

    /// Number of its newest attempt; 0 = none.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.number)
    }
}

/// One attempt.
#[derive(Debug, Clone)]
pub(crate) struct AttemptRecord {
    /// Its number, from 1.
    pub(crate) number: u32,
    /// Its state.
    pub(crate) state: Attempt,
    /// When it began, RFC 3339; its commits carry this date.
    pub(crate) since: String,
    /// Does it only move an existing change to a new base?
    pub(crate) restack: bool,
    /// Its slot.
    pub(crate) slot: Option<u32>,
    /// Its base.
    pub(crate) base: Option<CommitId>,
    /// As in [`Work`].
    pub(crate) on: Vec<Entry>,
    /// The commit of its last intent to commit.
    pub(crate) committed: Option<CommitId>,
    /// Its tree.
    pub(crate) tree: Option<TreeId>,
    /// Why the executor that left this commit had failed; `None` = it had not.
    pub(crate) failed: Option<(Cause, String)>,
    /// Is a repair under way, whose conversation is its own?
    pub(crate) repairing: bool,
    /// Messages of the conversations of its repairs, oldest first: for its log alone.
    pub(crate) repairs: Vec<Blob>,
    /// Money it has spent, as far as prices are known.
    pub(crate) nano_usd: u64,
    /// Messages of its conversation.
    pub(crate) messages: BTreeMap<u32, Blob>,
    /// Edits of what is shown of them, oldest first.
    pub(crate) views: Vec<Blob>,
    /// Evidence of its executor, checks and tools, oldest first.
    pub(crate) evidence: Vec<(String, Blob)>,
}

/// Who approved what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Approval {
    /// The attempt.
    pub(crate) attempt: u32,
    /// The commit.
    pub(crate) commit: CommitId,
    /// Who.
    pub(crate) by: String,
    /// When, RFC 3339.
    pub(crate) at: String,
}

/// A comment that no worker has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    /// What.
    pub(crate) text: String,
    /// Where: `PATH:LINE`.
    pub(crate) at: Option<String>,
}

/// An open question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Its id.
    pub(crate) id: String,
    /// The question.
    pub(crate) question: String,
    /// Answers on offer.
    pub(crate) options: Vec<String>,
    /// The answer, once given, for a worker that has to be started again.
    pub(crate) answer: Option<String>,
}

/// One landing.
#[derive(Debug, Clone)]
pub(crate) struct LandingRecord {
    /// Its state.
    pub(crate) state: Landing,
    /// When it was opened, RFC 3339; its commits carry this date.
    pub(crate) since: String,
    /// What it lands, in order.
    pub(crate) entries: Vec<Entry>,
    /// The group, if it is one.
    pub(crate) group: Option<GroupId>,
    /// Is it the one that moves the target after the final checks?
    pub(crate) last: bool,
    /// Has it passed its own checks, and waits for the final ones?
    pub(crate) gathered: bool,
    /// The tip that its candidate is made on, once it is.
    pub(crate) on: Option<CommitId>,
    /// The step that does not merge with those before it.
    pub(crate) culprit: Option<StepId>,
    /// The candidate, once made.
    pub(crate) candidate: Option<Candidate>,
    /// Code of the reason.
    pub(crate) why: Option<String>,
    /// Paths in the way of a held landing.
    pub(crate) held: Vec<String>,
    /// The checkout that holds it; empty = none does.
    pub(crate) held_by: String,
}

impl LandingRecord {
    /// What has landed (or is gathered) up to a commit of this candidate is no longer its own: the rest is the
    /// candidate of what is left, on the same commits.
    /// What it changes is known beside the old tip: with the landed paths it is a superset beside the new one.
    /// Is it that of this candidate?
    pub(crate) fn shift(&mut self, landed: &[Entry], made: &Candidate, paths: &[String]) -> bool {
        let count = landed.len();
        let Some(candidate) = &mut self.candidate else { return false };
        let ours = candidate.old == made.old && self.entries.len() > count && self.entries.starts_with(landed);
        let ours = ours && candidate.commits.get(count - 1) == Some(&made.new);
        if ours {
            self.entries.drain(..count);
            candidate.commits.drain(..count);
            candidate.trees.drain(..count);
            candidate.changed.extend(paths.iter().cloned());
            candidate.changed.sort_unstable();
            candidate.changed.dedup();
            candidate.old = made.new.clone();
            candidate.old_tree = made.tree.clone();
            self.on = Some(made.new.clone());
        }
        ours
    }

    /// Something stands in its way.
    pub(crate) fn hold(&mut self, worktree: &str, paths: &[String], why: &str) {
        self.held = paths.to_vec();
        worktree.clone_into(&mut self.held_by);
        self.why = Some(why.to_owned());
    }
}
