//! What the queue does with git: candidates, and the move of the target. Blocking functions.

use wattle_planner::{Generated, Plan, Step, StepId, Style};
use wattle_workspace::{
    Advance, CommitId, CommitSpec, GitError, HeldWhy, MergeSpec, Merged, Repo, Signature, until_whole,
};

use crate::ids::LandingId;
use crate::journal::event::{Candidate, Entry};

/// What a candidate is made of.
#[derive(Debug, Clone)]
pub(crate) struct CandidateJob {
    /// Id of the run.
    pub(crate) run: String,
    /// The landing.
    pub(crate) landing: LandingId,
    /// Short name of the target branch.
    pub(crate) target: String,
    /// Where the target has to be.
    pub(crate) target_tip: CommitId,
    /// The tip to build on: the target's, or that of what is gathered.
    pub(crate) tip: CommitId,
    /// What to land.
    pub(crate) parts: Vec<Part>,
    /// How commits are made.
    pub(crate) style: Style,
    /// Committer and author of what we make.
    pub(crate) identity: Signature,
    /// The date of a commit that several parts share, seconds since the epoch.
    pub(crate) time_s: i64,
    /// Commits that land the first parts on this tip, made for another landing: they are not made again.
    pub(crate) made: Vec<CommitId>,
    /// The ref that keeps the candidate.
    pub(crate) candidate_ref: String,
    /// Files that the landing makes anew.
    pub(crate) generated: Vec<Generated>,
    /// What has been gathered and checked already: its tip, and the commits made on the way there.
    pub(crate) gathered: Option<(CommitId, Vec<CommitId>)>,
}

/// One entry with what its landing needs.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The step and its commit.
    pub(crate) entry: Entry,
    /// The commit that its commit stands on.
    pub(crate) base: CommitId,
    /// The message of the commit that lands it.
    pub(crate) message: String,
    /// The step's branch.
    pub(crate) branch: String,
    /// When it joined the queue, seconds since the epoch: the date of the commit that lands it, so that every landing
    /// which holds it makes the same commit.
    pub(crate) time_s: i64,
}

/// What came of making a candidate.
#[derive(Debug, Clone)]
pub(crate) enum CandidateEnd {
    /// It exists.
    Built(Candidate),
    /// An entry does not merge.
    Conflict {
        /// Which.
        step: StepId,
        /// Where.
        paths: Vec<String>,
        /// What git says.
        messages: String,
    },
    /// A generated file could not be made of it.
    NotGenerated(String),
    /// Somebody else moved a step's branch.
    BranchMoved {
        /// Which step's.
        step: StepId,
    },
    /// Somebody else moved the target.
    TargetMoved(CommitId),
    /// The target is gone.
    TargetGone,
}

/// What came of moving the target.
#[derive(Debug, Clone)]
pub(crate) enum MoveEnd {
    /// It is there.
    Moved,
    /// A checkout stands in the way.
    Held {
        /// Which.
        worktree: String,
        /// Paths in the way.
        paths: Vec<String>,
        /// Code of the reason.
        why: &'static str,
    },
    /// Somebody else moved it.
    TargetMoved(Option<CommitId>),
}

/// Full name of a branch.
pub(crate) fn branch_ref(short: &str) -> String {
    format!("refs/heads/{short}")
}

/// The branch of a step.
pub(crate) fn step_ref(run: &str, step: &StepId) -> String {
    format!("refs/heads/wattle/{run}/{step}")
}

/// The immutable ref of an attempt.
pub(crate) fn attempt_ref(run: &str, step: &StepId, attempt: u32) -> String {
    format!("refs/wattle/attempt/{run}/{step}/{attempt}")
}

/// The message of a commit that lands a step.
pub(crate) fn message(
    plan: &Plan,
    run: &str,
    step: &StepId,
    approved_by: Option<&str>,
    signature: &Signature,
) -> String {
    let title = plan.step(step).map_or(step.as_str(), |step| step.title.as_str());
    let subject = match plan.commit().style {
        Style::Merge if title == step.as_str() => format!("Land {step}"),
        Style::Merge => format!("Land {step}: {title}"),
        Style::Squash => title.to_owned(),
    };
    let mut text = format!("{subject}\n\nWattle-Run: {run}\nWattle-Step: {step}\n");
    text.push_str(&plan.step(step).map_or_else(String::new, reverts));
    if let Some(by) = approved_by {
        text.push_str(&format!("Approved-by: {by}\n"));
    }
    if plan.commit().sign_off {
        text.push_str(&format!("Signed-off-by: {} <{}>\n", signature.name, signature.email));
    }
    text
}

/// The trailers that name what a step undoes; none, for most.
pub(crate) fn reverts(step: &Step) -> String {
    let wattle_planner::Work::Revert(changes) = &step.work else { return String::new() };
    changes.iter().flat_map(|change| &change.of).map(|of| format!("Wattle-Reverts: {of}\n")).collect()
}

/// Makes the candidate: every entry merged onto the tip in turn, with no checkout.
pub(crate) fn build(repo: &Repo, job: &CandidateJob) -> Result<CandidateEnd, GitError> {
    match repo.read_ref(&branch_ref(&job.target))? {
        None => return Ok(CandidateEnd::TargetGone),
        Some(found) if found != job.target_tip => return Ok(CandidateEnd::TargetMoved(found)),
        Some(_) => {}
    }
    for part in &job.parts {
        let found = repo.read_ref(&part.branch)?;
        // A branch that its user has deleted is no change: the commit is under its attempt ref.
        if found.as_ref().is_some_and(|found| *found != part.entry.commit) {
            return Ok(CandidateEnd::BranchMoved { step: part.entry.step.clone() });
        }
    }
    if let Some((tip, commits)) = &job.gathered {
        return keep(repo, job, tip.clone(), commits.clone()).map(CandidateEnd::Built);
    }
    let mut made = job.made.clone();
    // The second time all of it is made again.
    until_whole(|| attempt(repo, job, std::mem::take(&mut made)))
}

/// Makes the candidate once, beginning with the commits that are made already.
fn attempt(repo: &Repo, job: &CandidateJob, made: Vec<CommitId>) -> Result<CandidateEnd, GitError> {
    match chain(repo, job, made)? {
        Ok(commits) => {
            let tip = commits.last().unwrap_or(&job.tip).clone();
            keep(repo, job, tip, commits).map(CandidateEnd::Built)
        }
        Err(conflict) => Ok(conflict),
    }
}

/// The commits of a candidate, one for each part; the first ones may be made already. `Err` = a part does not merge.
fn chain(
    repo: &Repo,
    job: &CandidateJob,
    made: Vec<CommitId>,
) -> Result<Result<Vec<CommitId>, CandidateEnd>, GitError> {
    let mut commits = made;
    let mut tip = commits.last().unwrap_or(&job.tip).clone();
    for part in job.parts.iter().skip(commits.len()) {
        // A squashed commit leaves no history to find a common ancestor by: the step's base is the ancestor.
        let base = match job.style {
            Style::Merge => None,
            Style::Squash => Some(part.base.clone()),
        };
        let theirs = part.entry.commit.clone();
        let tree = match repo.merge(&MergeSpec { base, ours: tip.clone(), theirs: theirs.clone() })? {
            Merged::Clean { tree } => tree,
            Merged::Conflicts { paths, messages, .. } => {
                return Ok(Err(CandidateEnd::Conflict { step: part.entry.step.clone(), paths, messages }));
            }
        };
        let parents = match job.style {
            Style::Merge => vec![tip, theirs],
            Style::Squash => vec![tip],
        };
        tip = repo.commit(&CommitSpec {
            tree,
            parents,
            message: part.message.clone(),
            author: job.identity.clone(),
            committer: job.identity.clone(),
            time_s: part.time_s,
        })?;
        commits.push(tip.clone());
    }
    Ok(Ok(commits))
}

/// Gives the last commit of a candidate another tree: that with its generated files.
pub(crate) fn retree(
    repo: &Repo,
    job: &CandidateJob,
    candidate: Candidate,
    tree: wattle_workspace::TreeId,
) -> Result<Candidate, GitError> {
    let new = repo.commit(&CommitSpec {
        tree,
        parents: repo.parents(&candidate.new)?,
        message: repo.message(&candidate.new)?,
        author: job.identity.clone(),
        committer: job.identity.clone(),
        time_s: job.time_s,
    })?;
    let mut commits = candidate.commits;
    if let Some(last) = commits.last_mut() {
        *last = new.clone();
    }
    keep(repo, job, new, commits)
}

/// Describes a candidate, and keeps it under its ref; nothing kept it before.
fn keep(repo: &Repo, job: &CandidateJob, new: CommitId, commits: Vec<CommitId>) -> Result<Candidate, GitError> {
    let old_tree = repo.tree_of(&job.tip)?;
    let tree = repo.tree_of(&new)?;
    let changed = changed_paths(repo, &old_tree, &tree)?;
    let trees = commits.iter().map(|commit| repo.tree_of(commit)).collect::<Result<_, _>>()?;
    repo.keep_whole(&job.candidate_ref, &job.tip, &commits, "wattle: candidate")?;
    Ok(Candidate { old: job.tip.clone(), old_tree, new, tree, commits, trees, changed })
}

/// Paths that differ between two trees, both sides of a rename.
pub(crate) fn changed_paths(
    repo: &Repo,
    from: &wattle_workspace::TreeId,
    to: &wattle_workspace::TreeId,
) -> Result<Vec<String>, GitError> {
    Ok(repo.changed_paths(from, to)?.into_iter().collect())
}

/// Moves the target and its checkouts, together or not at all.
pub(crate) fn advance(repo: &Repo, target: &str, candidate: &Candidate, reason: &str) -> Result<MoveEnd, GitError> {
    Ok(match repo.advance(target, &candidate.old, &candidate.new, reason)? {
        Advance::Moved { .. } => MoveEnd::Moved,
        Advance::TargetMoved { found } => MoveEnd::TargetMoved(found),
        Advance::Held { worktree, paths, why } => {
            MoveEnd::Held { worktree: worktree.display().to_string(), paths, why: held_code(why) }
        }
    })
}

fn held_code(why: HeldWhy) -> &'static str {
    match why {
        HeldWhy::Dirty => "dirty",
        HeldWhy::RebaseInProgress => "rebase",
        HeldWhy::MergeInProgress => "merge",
        HeldWhy::CherryPickInProgress => "cherry_pick",
        HeldWhy::RevertInProgress => "revert",
        HeldWhy::BisectInProgress => "bisect",
        HeldWhy::IndexLocked => "index_locked",
        HeldWhy::CheckoutFailed => "checkout_failed",
    }
}
