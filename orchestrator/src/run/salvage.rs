//! Work on its way back to its user: a worktree to look at, and what was put aside under a ref.

use wattle_planner::StepId;
use wattle_workspace::{Class, CommitId, Expect, Pool, PoolOptions, RefChange, Want};

use super::begin::{RunError, own};
use super::context::Context;
use super::recover::LOOKED_AT;
use crate::ids::RunId;
use crate::journal::RunView;
use crate::queue::land::branch_ref;

/// The worktree of a step's work: the slot that it was parked in, else one that is made at its commit.
pub(crate) fn path(ctx: &Context, view: &RunView, step: &StepId) -> Result<std::path::PathBuf, RunError> {
    ctx.repo.configure(&view.started.base.commit)?;
    let pool = Pool::open(&ctx.repo, PoolOptions::default())?;
    let record = view.step(step);
    let looked_at = format!("{LOOKED_AT}{}/{step}", view.run);
    let own_slot = format!("{}/{step}/{}", view.run, record.attempt());
    let commit = record.work.as_ref().map(|work| work.commit.clone()).or_else(|| record.branch.clone());
    for holder in [&own_slot, &looked_at] {
        if let Some(lease) = pool.adopt(holder)? {
            let head = pool.head(&lease)?;
            let there = |commit: &CommitId| *commit == lease.base || Some(commit) == head.as_ref();
            let outdated = *holder == looked_at && !commit.as_ref().is_some_and(there);
            if !outdated {
                return Ok(lease.path);
            }
            // What was changed there meanwhile is salvaged by this.
            pool.release(lease)?;
        }
    }
    let Some(commit) = commit else {
        return Err(RunError::NoWork(step.to_string()));
    };
    let want = Want { class: Class::Work, base: commit, holder: looked_at, setup_key: None };
    Ok(pool.lease(&want)?.path)
}

/// Work that can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    /// The branch that holds it now, short.
    pub(crate) branch: String,
    /// The commit.
    pub(crate) commit: CommitId,
    /// The ref that it was under.
    pub(crate) from: String,
}

/// Brings the salvaged work of a step back on a branch: the newest of what was put aside, else the newest
/// attempt.
pub(crate) fn restore(ctx: &Context, run: &RunId, step: &StepId) -> Result<Restored, RunError> {
    let _lock = own(ctx, Some(run))?;
    let mut found = ctx.repo.list_refs(&format!("refs/wattle/salvage/{run}/{step}/"))?;
    found.extend(ctx.repo.list_refs(&format!("refs/wattle/salvage/{LOOKED_AT}{run}/{step}/"))?);
    if found.is_empty() {
        found = ctx.repo.list_refs(&format!("refs/wattle/attempt/{run}/{step}/"))?;
    }
    found.sort_by_key(|(name, _)| numbers(name));
    let Some((from, commit)) = found.pop() else { return Err(RunError::NoWork(step.to_string())) };
    let branch = format!("restored/{step}-{}", commit.short());
    let name = branch_ref(&branch);
    if ctx.repo.read_ref(&name)?.as_ref() != Some(&commit) {
        let change = RefChange { name, new: Some(commit.clone()), old: Expect::Absent };
        ctx.repo.update_refs(&[change], "wattle: restore")?;
    }
    Ok(Restored { branch, commit, from })
}

/// What orders the refs of a step: the number of the attempt, and the number below it.
fn numbers(name: &str) -> Vec<u64> {
    name.split('/').skip(3).filter_map(|part| part.parse().ok()).collect()
}
