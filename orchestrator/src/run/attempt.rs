//! One attempt, from its base to its outcome: base, slot, setup, worker, branch, slot given back.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wattle_planner::Undo;
use wattle_worker::assignment::{
    Assignment, CommitForm, Mode, Place, Repair, Resume, SetupAssignment, StepAssignment, Work,
};
use wattle_worker::host::Reply;
use wattle_worker::model::Model;
use wattle_worker::outcome::{Cause, Committed, End, Evidence, Outcome};
use wattle_worker::perform::perform;
use wattle_workspace::{
    Advance, Class, CommitId, CommitSpec, Expect, GitError, Lease, MergeSpec, Merged, RefChange, RefError, Repo,
    Signature, SlotId, TreeId, Want, until_whole,
};

use super::host::LocalHost;
use super::input::{AttemptEnd, Input};
use super::jobs::{AttemptJob, mode, owner};
use super::shared::{AtWork, Failure, Shared};
use crate::journal::event::Entry;
use crate::queue::land::{changed_paths, step_ref};

/// Commits of one change that are moved one by one: a branch that a human makes by hand has a few dozen. More move as
/// one.
const LINE_MAX: usize = 100;

/// Runs an attempt; its end is sent by the caller.
pub(crate) async fn run(shared: Arc<Shared>, job: AttemptJob, cancel: CancellationToken) -> AttemptEnd {
    match attempt(&shared, job, cancel).await {
        Ok(end) => end,
        Err(failure) => AttemptEnd::Refused(failure),
    }
}

async fn attempt(shared: &Arc<Shared>, job: AttemptJob, cancel: CancellationToken) -> Result<AttemptEnd, Failure> {
    let holder = format!("{}/{}/{}", job.run, job.step.id, job.attempt);
    let job = Arc::new(job);
    let (base, on) = match base_of(shared, &job).await? {
        Ok(found) => found,
        Err(message) => return Ok(AttemptEnd::NeedsConflict { message }),
    };
    let merged = (base != job.tip && on.iter().all(|entry| entry.commit != base)).then(|| base.clone());
    let moved = match (&job.restack, job.undo.is_empty()) {
        (None, true) => None,
        (Some(_), _) | (None, false) => match restack(shared, &job, &base).await? {
            Restacked::Moved(committed) => Some(committed),
            Restacked::Conflict(message) => {
                let_go(shared, &job, merged).await;
                return Ok(AttemptEnd::RestackConflict { message });
            }
            Restacked::Empty => {
                let_go(shared, &job, merged).await;
                return Ok(AttemptEnd::RestackEmpty);
            }
        },
    };
    if let (Some(committed), None) = (&moved, &job.check) {
        leased(shared, &job, None, &base, &on).await;
        let outcome = moved_outcome(committed.clone());
        let end = concluded(shared, &job, outcome, base, on).await;
        let_go(shared, &job, merged).await;
        return end;
    }
    let Some((lease, _at_work)) = lease(shared, &job, &holder, &base, moved.is_some(), &cancel).await? else {
        return Ok(ended(parked(), base, on));
    };
    if leased(shared, &job, Some(lease.slot.0), &base, &on).await == Reply::Cancel {
        return Ok(ended(parked(), base, on));
    }
    let committed = moved.map(|committed| committed.commit).or_else(|| job.committed.clone());
    let outcome = work(shared, &job, &lease, committed, cancel).await;
    let outcome = there(outcome, &lease);
    // What the machine has refused goes on in its slot once that is mended.
    let refused = matches!(outcome.end, End::Failed { cause: Cause::Environment, .. });
    let keep = refused || matches!(outcome.end, End::Parked | End::NeedsInput { .. });
    let end = concluded(shared, &job, outcome, base, on).await;
    if !keep {
        release(shared, lease).await;
        let_go(shared, &job, merged).await;
    }
    end
}

fn ended(outcome: Outcome, base: CommitId, on: Vec<Entry>) -> AttemptEnd {
    AttemptEnd::Outcome { outcome: Box::new(outcome), base, on, same_patch: false, branch_moved: false }
}

/// An outcome of ours, where no worker gave one.
fn outcome(end: End) -> Outcome {
    Outcome { end, report: String::new(), commit: None, check: None, evidence: Evidence::default() }
}

fn parked() -> Outcome {
    outcome(End::Parked)
}

/// What a command says whose worktree was deleted under it says nothing.
fn there(outcome: Outcome, lease: &Lease) -> Outcome {
    match &outcome.end {
        End::Failed { .. } if !lease.path.exists() => {
            let message = format!("work in {}: somebody has deleted it", lease.path.display());
            Outcome { end: End::Failed { cause: Cause::Environment, message }, commit: None, ..outcome }
        }
        End::Failed { .. } | End::Done | End::Committed | End::Unchanged | End::Parked => outcome,
        End::NeedsInput { .. } => outcome,
    }
}

fn moved_outcome(committed: Committed) -> Outcome {
    Outcome { commit: Some(committed), ..outcome(End::Committed) }
}

/// The commit that the attempt starts from: the tip, with what the step needs and has not landed merged
/// on it. `Err` = that does not merge.
async fn base_of(
    shared: &Arc<Shared>,
    job: &Arc<AttemptJob>,
) -> Result<Result<(CommitId, Vec<Entry>), String>, Failure> {
    let (repo, job) = (shared.ctx.repo.clone(), job.clone());
    let identity = shared.identity.clone();
    shared
        .git(move || {
            // Where somebody has deleted what keeps it, and pruned, it is made anew.
            if let Some(resumed) = &job.resumed
                && repo.has_commit(&resumed.0)?
            {
                return Ok(Ok(resumed.clone()));
            }
            until_whole(|| merged(&repo, &job, &identity))
        })
        .await
        .map_err(Failure::from)
}

/// Merges what the attempt stands on onto the tip, and keeps what that makes under a ref: the slot will keep it, too, but
/// there is none yet, and its worker may leave it.
fn merged(
    repo: &Repo,
    job: &AttemptJob,
    identity: &Signature,
) -> Result<Result<(CommitId, Vec<Entry>), String>, GitError> {
    let mut base = job.tip.clone();
    let (mut from, mut made) = (base.clone(), Vec::new());
    for entry in &job.on {
        if repo.is_ancestor(&base, &entry.commit)? {
            base = entry.commit.clone();
            continue;
        }
        if repo.is_ancestor(&entry.commit, &base)? {
            continue;
        }
        let spec = MergeSpec { base: None, ours: base.clone(), theirs: entry.commit.clone() };
        let tree = match repo.merge(&spec)? {
            Merged::Clean { tree } => tree,
            Merged::Conflicts { paths, .. } => {
                return Ok(Err(format!("{} does not merge: {}", entry.step, paths.join(", "))));
            }
        };
        if made.is_empty() {
            from = base.clone();
        }
        base = repo.commit(&CommitSpec {
            tree,
            parents: vec![base, entry.commit.clone()],
            message: format!("Base of {}: with {}\n\nWattle-Run: {}\n", job.step.id, entry.step, job.run),
            author: identity.clone(),
            committer: identity.clone(),
            time_s: job.commit.as_ref().map_or(0, |form| form.time_s),
        })?;
        made.push(base.clone());
    }
    repo.keep_whole(&base_ref(job), &from, &made, "wattle: base")?;
    Ok(Ok((base, job.on.clone())))
}

/// The ref that keeps a base that was merged for an attempt, until that is over.
fn base_ref(job: &AttemptJob) -> String {
    format!("refs/wattle/candidate/{}/base/{}/{}", job.run, job.step.id, job.attempt)
}

/// An attempt is over: what it has made keeps its base, or nothing needs to.
async fn let_go(shared: &Arc<Shared>, job: &Arc<AttemptJob>, merged: Option<CommitId>) {
    let Some(base) = merged else { return };
    let (repo, name) = (shared.ctx.repo.clone(), base_ref(job));
    let gone = shared.blocking(move || {
        repo.unkeep(&name, &base);
        Ok::<_, GitError>(())
    });
    if let Err(error) = gone.await {
        tracing::warn!(%error, "the ref of a base stays");
    }
}

enum Restacked {
    Moved(Committed),
    Conflict(String),
    Empty,
}

/// Moves a change to a new base, or the inverse of changes that have landed: merges whose ancestor is what the
/// change was made on.
async fn restack(shared: &Arc<Shared>, job: &Arc<AttemptJob>, base: &CommitId) -> Result<Restacked, Failure> {
    let (repo, job, base) = (shared.ctx.repo.clone(), job.clone(), base.clone());
    shared
        .git(move || {
            let Some(form) = &job.commit else { return Ok(Restacked::Empty) };
            let ours = match one_by_one(&repo, &job, form, &base)? {
                Some(ours) => ours,
                None => match whole(&repo, &job, form, &base)? {
                    Ok(ours) => ours,
                    Err(conflict) => return Ok(Restacked::Conflict(conflict)),
                },
            };
            let (base_tree, tree) = (repo.tree_of(&base)?, repo.tree_of(&ours)?);
            if tree == base_tree {
                return Ok(Restacked::Empty);
            }
            let changes = repo.changes(&base_tree, &tree)?;
            let paths = changed_paths(&repo, &base_tree, &tree)?;
            let outside =
                paths.into_iter().filter(|path| !job.step.touches.iter().any(|glob| glob.matches(path))).collect();
            Ok(Restacked::Moved(Committed { commit: ours, tree, changes, outside }))
        })
        .await
        .map_err(Failure::from)
}

/// Moves a change as one commit. `Err` = it does not merge.
fn whole(
    repo: &Repo,
    job: &AttemptJob,
    form: &CommitForm,
    base: &CommitId,
) -> Result<Result<CommitId, String>, GitError> {
    let mut ours = base.clone();
    for (ancestor, theirs) in moves(repo, job, form)? {
        let spec = MergeSpec { base: Some(ancestor), ours: ours.clone(), theirs };
        let tree = match repo.merge(&spec)? {
            Merged::Clean { tree } => tree,
            Merged::Conflicts { paths, messages, .. } => {
                return Ok(Err(format!("conflict in {}\n{messages}", paths.join(", "))));
            }
        };
        ours = repo.commit(&moved(form, tree, base.clone(), form.message.clone()))?;
    }
    Ok(Ok(ours))
}

/// Moves a change that consists of several commits, as when its user has added to it: each on its own, with its author
/// and message, and none that has become empty. None where there is one commit only, or where they do not merge one by
/// one; then the change moves as a whole.
fn one_by_one(repo: &Repo, job: &AttemptJob, form: &CommitForm, base: &CommitId) -> Result<Option<CommitId>, GitError> {
    let Some(change) = job.restack.as_ref().filter(|_| job.undo.is_empty()) else { return Ok(None) };
    let line = repo.line(&change.base, &change.commit, LINE_MAX)?.filter(|line| line.len() > 1);
    let Some(line) = line else { return Ok(None) };
    let (mut ours, mut ours_tree) = (base.clone(), repo.tree_of(base)?);
    let mut ancestor = change.base.clone();
    for theirs in line {
        let spec = MergeSpec { base: Some(ancestor), ours: ours.clone(), theirs: theirs.clone() };
        let Merged::Clean { tree } = repo.merge(&spec)? else { return Ok(None) };
        if tree != ours_tree {
            ours = repo.recommit(&theirs, &tree, &ours, &form.committer, form.time_s)?;
            ours_tree = tree;
        }
        ancestor = theirs;
    }
    Ok(Some(ours))
}

/// What has to be merged onto the new base, in this order, each with its ancestor.
fn moves(repo: &Repo, job: &AttemptJob, form: &CommitForm) -> Result<Vec<(CommitId, CommitId)>, GitError> {
    if job.undo.is_empty() {
        return Ok(job.restack.iter().map(|change| (change.base.clone(), change.commit.clone())).collect());
    }
    let id = |text: &str| text.parse::<CommitId>().expect("the plan was validated: these are whole commit ids");
    let inverse = |Undo { before, after, of }: &Undo| {
        let (before, after) = (id(before), id(after));
        let message = format!("Without {}\n", of.join(", "));
        let inverse = repo.commit(&moved(form, repo.tree_of(&before)?, after.clone(), message))?;
        Ok((after, inverse))
    };
    job.undo.iter().map(inverse).collect()
}

fn moved(form: &CommitForm, tree: TreeId, parent: CommitId, message: String) -> CommitSpec {
    let (author, committer) = (form.author.clone(), form.committer.clone());
    CommitSpec { tree, parents: vec![parent], message, author, committer, time_s: form.time_s }
}

async fn lease(
    shared: &Arc<Shared>,
    job: &Arc<AttemptJob>,
    holder: &str,
    base: &CommitId,
    fresh: bool,
    cancel: &CancellationToken,
) -> Result<Option<(Lease, AtWork)>, Failure> {
    let class = match mode(&job.step) {
        Mode::Read => Class::Snapshot,
        Mode::Write | Mode::Scratch => Class::Work,
    };
    let setup_key = shared.setup_key(job.setup.as_ref(), base).await?;
    let want = Want { class, base: base.clone(), holder: holder.to_owned(), setup_key: setup_key.clone() };
    let agent = matches!(job.work, Work::Agent(_));
    let (earlier, repo) = (job.earlier.clone(), shared.ctx.repo.clone());
    let resumed = job.resumed.is_some();
    let (lease, at_work) = shared
        .lease_by(move |pool| {
            // A process that died had leased it already, before or after it could say so.
            if let Some(lease) = pool.adopt(&want.holder)? {
                if resumed {
                    // An agent goes on in what it left; anything else begins again on the clean base.
                    if !agent && class == Class::Work {
                        pool.reset(&lease, &want.base)?;
                    }
                    return Ok(lease);
                }
                pool.release(lease)?;
            }
            let lease = pool.lease(&want)?;
            if let (true, false, Some((old_base, commit))) = (agent, fresh, &earlier) {
                carry_over(&repo, &lease, old_base, commit);
            }
            Ok(lease)
        })
        .await?;
    if lease.needs_setup
        && let Some((command, _)) = &job.setup
    {
        let ready = setup(shared, job, &lease, command, cancel).await;
        if !matches!(ready, Ok(true)) {
            release(shared, lease).await;
            return ready.map(|_| None);
        }
        let (pool, lease, key) = (shared.pool.clone(), lease.clone(), setup_key.unwrap_or_default());
        shared.blocking(move || pool.setup_done(&lease, &key)).await?;
    }
    Ok(Some((lease, at_work)))
}

/// Puts an agent's earlier change, merged onto the new base as far as it goes, into its new worktree as
/// files, so that it goes on from its own work. Where that fails it starts from the base.
fn carry_over(repo: &Repo, lease: &Lease, old_base: &CommitId, commit: &CommitId) {
    let spec = MergeSpec { base: Some(old_base.clone()), ours: lease.base.clone(), theirs: commit.clone() };
    if let Ok(Merged::Clean { tree } | Merged::Conflicts { tree, .. }) = repo.merge(&spec)
        && let Err(error) = repo.place_tree(&lease.path, &lease.base, &tree)
    {
        tracing::warn!(slot = lease.slot.0, %error, "an earlier change was not carried over");
    }
}

/// Prepares a slot. `false` = it was stopped.
async fn setup(
    shared: &Arc<Shared>,
    job: &Arc<AttemptJob>,
    lease: &Lease,
    command: &wattle_worker::assignment::Command,
    cancel: &CancellationToken,
) -> Result<bool, Failure> {
    let assignment = Assignment::Setup(SetupAssignment {
        owner: owner(&job.run, job.step.id.as_str(), job.attempt),
        place: place(lease),
        command: command.clone(),
    });
    let host = host(shared, job, cancel.clone());
    let outcome = perform(assignment, host, shared.tools(None)).await;
    match outcome.end {
        End::Done | End::Committed | End::Unchanged => Ok(true),
        End::Failed { message, .. } => Err(Failure::Machine(format!("setup: {message}\n{}", outcome.evidence.output))),
        End::Parked | End::NeedsInput { .. } => Ok(false),
    }
}

pub(super) fn place(lease: &Lease) -> Place {
    Place { path: lease.path.clone(), slot: lease.slot.0, base: lease.base.clone() }
}

fn host(shared: &Arc<Shared>, job: &AttemptJob, cancel: CancellationToken) -> Arc<LocalHost> {
    Arc::new(LocalHost { inputs: shared.inputs.clone(), step: job.step.id.clone(), attempt: job.attempt, cancel })
}

/// Tells the dispatcher where the attempt runs; the worker starts after its answer.
async fn leased(shared: &Arc<Shared>, job: &AttemptJob, slot: Option<u32>, base: &CommitId, on: &[Entry]) -> Reply {
    let (reply, answer) = oneshot::channel();
    let input = Input::Leased { step: job.step.id.clone(), slot, base: base.clone(), on: on.to_vec(), reply };
    if shared.inputs.send(input).is_err() {
        return Reply::Cancel;
    }
    tokio::select! {
        answer = answer => answer.unwrap_or(Reply::Cancel),
        () = shared.stop.cancelled() => Reply::Cancel,
    }
}

async fn work(
    shared: &Arc<Shared>,
    job: &Arc<AttemptJob>,
    lease: &Lease,
    committed: Option<CommitId>,
    cancel: CancellationToken,
) -> Outcome {
    let (mut work, mut repair) = (job.work.clone(), job.repair.clone());
    let model = match equip(shared, job, &mut work, repair.as_mut()).await {
        Ok(model) => model,
        Err(refused) => {
            return outcome(End::Failed { cause: Cause::Environment, message: refused.to_string() });
        }
    };
    let assignment = StepAssignment {
        owner: owner(&job.run, job.step.id.as_str(), job.attempt),
        title: job.step.title.clone(),
        mode: mode(&job.step),
        place: place(lease),
        work,
        commit: job.commit.clone(),
        check: job.check.clone(),
        repair,
        env: job.step.env.clone(),
        needs: job.needs.clone(),
        feedback: job.feedback.clone(),
        resume: Resume {
            committed,
            failed: job.failed.clone(),
            messages: job.messages.clone(),
            views: job.views.clone(),
            evidence: job.evidence.clone(),
            spent_nano_usd: job.spent_nano_usd,
        },
        timeout_ms: job.step.timeout_ms,
    };
    let host = host(shared, job, cancel);
    perform(Assignment::Step(Box::new(assignment)), host, shared.tools(model)).await
}

/// The model of an attempt, with its name on the wire put into the work that asks it.
async fn equip(
    shared: &Arc<Shared>,
    job: &AttemptJob,
    work: &mut Work,
    repair: Option<&mut Repair>,
) -> Result<Option<Arc<dyn Model>>, Failure> {
    let mut model: Option<Arc<dyn Model>> = None;
    let own = Some((work, &job.model));
    let repair = repair.map(|repair| (&mut repair.work, &job.repair_model));
    for (work, name) in own.into_iter().chain(repair) {
        let Work::Agent(agent) = work else { continue };
        let (found, wire) = shared.models.find(name.as_deref()).await.map_err(|error| error.to_string())?;
        agent.model = wire;
        match &model {
            Some(other) if other.name() != found.name() => {
                let message = format!("equip {}: its repair asks a model of another provider", job.step.id);
                return Err(Failure::Machine(message));
            }
            Some(_) => {}
            None => model = Some(found),
        }
    }
    Ok(model)
}

/// Moves the step's branch to the commit, and says whether somebody else had moved it.
async fn concluded(
    shared: &Arc<Shared>,
    job: &Arc<AttemptJob>,
    outcome: Outcome,
    base: CommitId,
    on: Vec<Entry>,
) -> Result<AttemptEnd, Failure> {
    let Some(committed) = outcome.commit.clone().filter(|_| outcome.end == End::Committed) else {
        return Ok(ended(outcome, base, on));
    };
    let (repo, job) = (shared.ctx.repo.clone(), job.clone());
    let (branch_moved, same_patch) = {
        let base = base.clone();
        shared
            .blocking(move || {
                let moved = point(&repo, &job, &committed.commit)?;
                let same = job.approved && same_patch(&repo, &job, &base, &committed.commit);
                Ok::<_, RefError>((moved, same))
            })
            .await?
    };
    Ok(AttemptEnd::Outcome { outcome: Box::new(outcome), base, on, same_patch, branch_moved })
}

fn same_patch(repo: &Repo, job: &AttemptJob, base: &CommitId, commit: &CommitId) -> bool {
    let Some(before) = &job.restack else { return false };
    let old = repo.patch_id(&before.base, &before.commit).ok().flatten();
    old.is_some() && old == repo.patch_id(base, commit).ok().flatten()
}

/// Points the attempt ref and the step's branch at a commit. `true` = somebody else has moved the branch,
/// and it stays where they left it.
fn point(repo: &Repo, job: &AttemptJob, commit: &CommitId) -> Result<bool, RefError> {
    // The worker has kept what it made under the attempt's ref already; what was moved to a new base has none yet.
    if let Some(form) = &job.commit
        && repo.read_ref(&form.attempt_ref)?.as_ref() != Some(commit)
    {
        let keep = RefChange { name: form.attempt_ref.clone(), new: Some(commit.clone()), old: Expect::Absent };
        match repo.update_refs(&[keep], "wattle: attempt") {
            Ok(()) => {}
            Err(RefError::Moved { found, .. }) if found.as_ref() == Some(commit) => {}
            Err(error) => return Err(error),
        }
    }
    let name = step_ref(&job.run, &job.step.id);
    // A branch that its user has deleted is made again.
    let there = repo.read_ref(&name)?;
    let left = left_by_the_dead(repo, job, there.as_ref())?;
    let branch_at = left.as_ref().or(job.branch_at.as_ref());
    if let Some(old) = branch_at.filter(|old| there.as_ref() == Some(old) && *old != commit) {
        // Whoever looks at it in a checkout of their own sees the new files, not the old ones as changes.
        let short = name.trim_start_matches("refs/heads/");
        match repo.advance(short, old, commit, "wattle: step")? {
            Advance::Moved { .. } => return Ok(false),
            Advance::TargetMoved { .. } => {}
            // The files there are its user's affair; the branch is ours, and what they commit on it is reviewed.
            Advance::Held { worktree, .. } => {
                tracing::warn!(worktree = %worktree.display(), "a checkout of a step's branch stays behind");
            }
        }
    }
    let old = branch_at.cloned().filter(|_| there.is_some()).map_or(Expect::Absent, Expect::Is);
    let change = RefChange { name, new: Some(commit.clone()), old };
    match repo.update_refs(&[change], "wattle: step") {
        Ok(()) => Ok(false),
        // A process that died after this very move has left the branch where it has to be.
        Err(RefError::Moved { found, .. }) => Ok(found.as_ref() != Some(commit)),
        Err(error @ (RefError::Occupied { .. } | RefError::Git(_))) => Err(error),
    }
}

/// The commit that the step's branch is at because a process moved it there for an earlier attempt and died before it could
/// say so: that attempt failed afterwards, and nobody else has touched the branch.
fn left_by_the_dead(repo: &Repo, job: &AttemptJob, there: Option<&CommitId>) -> Result<Option<CommitId>, RefError> {
    let Some(there) = there.filter(|there| job.branch_at.as_ref() != Some(there)) else { return Ok(None) };
    let prefix = format!("refs/wattle/attempt/{}/{}/", job.run, job.step.id);
    let earlier = repo.list_refs(&prefix)?.into_iter().filter_map(|(name, commit)| {
        let number: u32 = name.strip_prefix(&prefix)?.parse().ok()?;
        (number < job.attempt).then_some((number, commit))
    });
    Ok(earlier.max_by_key(|(number, _)| *number).map(|(_, commit)| commit).filter(|commit| commit == there))
}

/// Gives back the slot that an ended attempt had kept.
pub(crate) async fn free(shared: &Arc<Shared>, holder: String) {
    let pool = shared.pool.clone();
    match shared.blocking(move || pool.adopt(&holder)).await {
        Ok(Some(lease)) => release(shared, lease).await,
        Ok(None) => {}
        Err(error) => tracing::warn!(error, "a kept slot was not given back"),
    }
}

pub(super) async fn release(shared: &Arc<Shared>, lease: Lease) {
    let pool = shared.pool.clone();
    let slot = lease.slot.0;
    match shared.blocking(move || pool.release(lease)).await {
        Ok(released) => {
            if let Some(salvaged) = released.salvaged {
                let _ = shared.inputs.send(Input::Salvaged(salvaged));
            }
            if let Some(why) = released.retired {
                let path = shared.pool.path_of(SlotId(slot)).display().to_string();
                let _ = shared.inputs.send(Input::Retired { path, why });
            }
        }
        Err(error) => tracing::warn!(slot, error, "a slot was not given back"),
    }
}
