//! What a user has committed by hand on a step's branch, or on the detached HEAD of the worktree that
//! `wattle path` has made: taken in as an attempt of its own, so that it has a ref, is reviewed and bound by
//! an approval like any other, and is what the next worker goes on from.

use std::collections::BTreeMap;

use wattle_planner::StepId;
use wattle_worker::host::Intent;
use wattle_workspace::{
    CommitId, CommitSpec, Expect, GitError, MergeSpec, Merged, Pool, PoolError, PoolOptions, RefChange, RefError, Repo,
    Site,
};

use super::recover::LOOKED_AT;
use crate::journal::event::{AttemptChange, Body, Work};
use crate::journal::recorder::{RecordError, Recorder, StepNote};
use crate::journal::{Glance, RunView};
use crate::queue::land::{attempt_ref, branch_ref, changed_paths, step_ref};
use crate::state::attempt::{Attempt, AttemptEvent};
use crate::state::step::{Step, StepEvent};

/// What their user did could not be looked at or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TheirsError {
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The slots cannot be read.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A ref could not be made.
    #[error(transparent)]
    Ref(#[from] RefError),
    /// The journal failed.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A commit of a user's where the run knew another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Theirs {
    /// The step.
    pub(crate) step: StepId,
    /// The work, as that commit makes it.
    pub(crate) work: Work,
    /// Where the branch is, when the commit is not on it yet: it was made in the worktree of `wattle path`.
    branch: Option<CommitId>,
}

/// May a user's commit take the place of what the step has?
fn takes(state: Step) -> bool {
    match state {
        Step::Review | Step::Approved | Step::Queued => true,
        Step::Waiting | Step::Ready | Step::Running | Step::NeedsInput | Step::Checking | Step::Landing => false,
        Step::Parked | Step::Stale | Step::Landed | Step::Done | Step::Unchanged | Step::Failed => false,
        Step::Blocked | Step::Skipped | Step::Cancelled | Step::Rejected => false,
    }
}

/// Every commit of a user's that takes the place of a step's, in the order of the steps. `wanted` says which
/// steps are looked at.
pub(crate) fn look(repo: &Repo, view: &RunView, wanted: impl Fn(&StepId) -> bool) -> Result<Vec<Theirs>, TheirsError> {
    let open: Vec<&StepId> =
        view.steps.iter().filter(|(id, step)| takes(step.state) && wanted(id)).map(|(id, _)| id).collect();
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let heads: BTreeMap<String, CommitId> =
        repo.list_refs(&format!("refs/heads/wattle/{}/", view.run))?.into_iter().collect();
    let attempts = repo.list_refs(&format!("refs/wattle/attempt/{}/", view.run))?;
    let tip = repo.read_ref(&branch_ref(&view.started.target))?.unwrap_or_else(|| view.tip.clone());
    let mut found = Vec::new();
    for id in open {
        // A branch that its user has deleted is no change: the commit is under its attempt's ref.
        let Some(branch) = heads.get(&step_ref(view.run.as_str(), id)) else { continue };
        let Some(work) = &view.step(id).work else { continue };
        let commit = in_worktree(repo, view, id, branch)?.unwrap_or_else(|| branch.clone());
        let prefix = format!("refs/wattle/attempt/{}/{id}/", view.run);
        let ours = attempts.iter().any(|(name, kept)| name.starts_with(&prefix) && *kept == commit);
        if ours && commit == work.commit {
            continue;
        }
        let attempt = view.step(id).attempt() + 1;
        let made = work_of(repo, view, id, work, &commit, &tip)?;
        let aside = (commit != *branch).then(|| branch.clone());
        found.push(Theirs { step: id.clone(), work: Work { attempt, ..made }, branch: aside });
    }
    Ok(found)
}

/// Has no user committed anything that [`look`] would find? `false` also where that cannot be told without git.
pub(crate) fn untouched(site: &Site, glance: &Glance) -> bool {
    let open: Vec<(&StepId, u32, &CommitId)> = glance
        .all()
        .filter(|(_, step)| takes(step.state))
        .filter_map(|(frame, step)| step.work.as_ref().map(|work| (&frame.id, work.attempt, &work.commit)))
        .collect();
    if open.is_empty() {
        return true;
    }
    let run = glance.run.as_str();
    let looked_at = format!("{LOOKED_AT}{run}/");
    if site.slot_holders().is_none_or(|holders| holders.iter().any(|holder| holder.starts_with(&looked_at))) {
        return false;
    }
    let names: Vec<String> =
        open.iter().flat_map(|(id, attempt, _)| [step_ref(run, id), attempt_ref(run, id, *attempt)]).collect();
    let Some(found) = site.read_refs(&names) else { return false };
    found.chunks(2).zip(&open).all(|(found, (_, _, commit))| match &found[0] {
        None => true,
        Some(branch) => branch == *commit && found[1].as_ref() == Some(commit),
    })
}

/// The HEAD of the worktree that was made to look at a step, where it goes on from what is on the branch.
fn in_worktree(repo: &Repo, view: &RunView, id: &StepId, branch: &CommitId) -> Result<Option<CommitId>, TheirsError> {
    let pool = Pool::open(repo, PoolOptions::default())?;
    let Some(lease) = pool.adopt(&format!("{LOOKED_AT}{}/{id}", view.run))? else { return Ok(None) };
    let Some(head) = pool.head(&lease)?.filter(|head| head != branch && *head != lease.base) else { return Ok(None) };
    Ok(repo.is_ancestor(branch, &head)?.then_some(head))
}

/// What a user's commit is as the step's work: what it stands on, and what it changes beyond that.
fn work_of(
    repo: &Repo,
    view: &RunView,
    id: &StepId,
    before: &Work,
    commit: &CommitId,
    tip: &CommitId,
) -> Result<Work, TheirsError> {
    let mut still = Vec::new();
    for entry in view.beneath(&before.on) {
        if repo.is_ancestor(&entry.commit, commit)? {
            still.push(entry);
        }
    }
    let on = view.topmost(&view.placed(&still));
    let base = base_of(repo, before, commit, tip)?;
    let (tree, base_tree) = (repo.tree_of(commit)?, repo.tree_of(&base)?);
    let paths = changed_paths(repo, &base_tree, &tree)?;
    let globs = view.plan.step(id).map(|step| step.touches.as_slice()).unwrap_or_default();
    let outside = paths.iter().filter(|path| !globs.iter().any(|glob| glob.matches(path))).cloned().collect();
    Ok(Work { attempt: before.attempt, commit: commit.clone(), tree, base, on, paths, outside })
}

/// What a user's commit stands on: what it still has of the old base, with what it has of the target since. So
/// neither a rebase onto the target nor a merge of it makes others' work look like the step's.
fn base_of(repo: &Repo, before: &Work, commit: &CommitId, tip: &CommitId) -> Result<CommitId, TheirsError> {
    let old = match repo.merge_base(&before.base, commit)? {
        Some(shared) => shared,
        None => return Ok(before.base.clone()),
    };
    let Some(new) = repo.merge_base(tip, commit)? else { return Ok(old) };
    // Somebody has landed it by hand: what it changes is what it changed then.
    if new == *commit || repo.is_ancestor(&new, &old)? {
        return Ok(old);
    }
    if repo.is_ancestor(&old, &new)? {
        return Ok(new);
    }
    let spec = MergeSpec { base: None, ours: new.clone(), theirs: old.clone() };
    let Merged::Clean { tree } = repo.merge(&spec)? else { return Ok(old) };
    let identity = repo.identity();
    Ok(repo.commit(&CommitSpec {
        tree,
        parents: vec![new, old],
        message: "Base of a commit made by hand\n".to_owned(),
        author: identity.clone(),
        committer: identity,
        // The same specification is the same commit, however often somebody looks.
        time_s: 0,
    })?)
}

/// Shows a run as it will be once what its users committed is taken in. Changes nothing.
pub(crate) fn overlay(repo: &Repo, view: &mut RunView) -> Result<(), TheirsError> {
    for theirs in look(repo, view, |_| true)? {
        let Some(record) = view.steps.get_mut(&theirs.step) else { continue };
        record.state = Step::Review;
        record.why = Some("branch_moved".to_owned());
        record.message = Some(words(&theirs.work));
        record.approved = None;
        record.work = Some(theirs.work);
    }
    Ok(())
}

/// Takes in what users committed on these steps: each becomes an attempt with its ref, and goes to review.
pub(crate) fn take_in(rec: &mut Recorder, repo: &Repo, wanted: impl Fn(&StepId) -> bool) -> Result<(), TheirsError> {
    for theirs in look(repo, &rec.view, wanted)? {
        keep(repo, rec.view.run.as_str(), &theirs)?;
        let Theirs { step, work, .. } = theirs;
        let change = AttemptChange {
            step: step.clone(),
            attempt: work.attempt,
            event: None,
            state: Attempt::Leased,
            restack: false,
            slot: None,
            base: None,
            on: Vec::new(),
            cause: None,
        };
        rec.emit(Body::AttemptState(Box::new(change.clone())))?;
        let (event, base, on) = (Some(AttemptEvent::Execute), Some(work.base.clone()), work.on.clone());
        let executing = AttemptChange { event, state: Attempt::Executing, base, on, ..change };
        rec.emit(Body::AttemptState(Box::new(executing)))?;
        let intent = Intent::Commit { commit: work.commit.clone(), tree: work.tree.clone(), failed: None };
        rec.attempt(&step, AttemptEvent::Commit)?;
        rec.emit(Body::Intent { step: step.clone(), attempt: work.attempt, intent })?;
        rec.attempt(&step, AttemptEvent::Succeed)?;
        let message = Some(words(&work));
        let feedback =
            Some(format!("Your user has changed your work by hand. It holds now: {}", work.paths.join(", ")));
        let note = StepNote { message, feedback, work: Some(work), ..StepNote::why("branch_moved") };
        rec.step(&step, StepEvent::Review, note)?;
    }
    Ok(())
}

fn words(work: &Work) -> String {
    if work.paths.is_empty() {
        return format!("its user has moved its branch to {}, which changes nothing", work.commit.short());
    }
    format!("its user has moved its branch to {}", work.commit.short())
}

/// Puts a user's commit under the ref of its attempt, and on the branch.
fn keep(repo: &Repo, run: &str, theirs: &Theirs) -> Result<(), TheirsError> {
    let (step, work) = (&theirs.step, &theirs.work);
    let name = attempt_ref(run, step, work.attempt);
    let new = Some(work.commit.clone());
    let kept = RefChange { name: name.clone(), new: new.clone(), old: Expect::Absent };
    match repo.update_refs(&[kept], "wattle: by hand") {
        Ok(()) => {}
        // A process died between this and the journal, and the commit may be another one by now: the older is
        // put aside first.
        Err(RefError::Moved { found: Some(found), .. }) if found != work.commit => {
            let aside = format!("refs/wattle/salvage/{run}/{step}/{}/{}", work.attempt, found.short());
            let aside = RefChange { name: aside, new: Some(found.clone()), old: Expect::Any };
            let kept = RefChange { name, new: new.clone(), old: Expect::Is(found) };
            repo.update_refs(&[aside, kept], "wattle: by hand")?;
        }
        Err(RefError::Moved { .. }) => {}
        Err(error @ (RefError::Occupied { .. } | RefError::Git(_))) => return Err(error.into()),
    }
    if let Some(branch) = &theirs.branch {
        let change = RefChange { name: step_ref(run, step), new, old: Expect::Is(branch.clone()) };
        repo.update_refs(&[change], "wattle: by hand")?;
    }
    Ok(())
}
