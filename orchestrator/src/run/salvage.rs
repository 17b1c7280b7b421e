//! Work on its way back to its user: a worktree to look at, and what was put aside under a ref.

use wattle_planner::StepId;
use wattle_workspace::{Class, CommitId, Expect, Pool, PoolError, PoolOptions, RefChange, Want};

use super::begin::RunError;
use super::context::Context;
use super::recover::LOOKED_AT;
use super::shape::configure;
use crate::ids::RunId;
use crate::journal::RunView;
use crate::queue::land::branch_ref;

/// The worktree of a step's work: the slot that it was parked in, else one that is made at its commit.
pub(crate) fn path(ctx: &Context, view: &RunView, step: &StepId) -> Result<std::path::PathBuf, RunError> {
    configure(&ctx.repo, &view.started.base.commit, &view.plan)?;
    let pool = Pool::open(&ctx.repo, PoolOptions::default())?;
    let record = view.step(step);
    let looked_at = format!("{LOOKED_AT}{}/{step}", view.run);
    let own_slot = format!("{}/{step}/{}", view.run, record.attempt());
    let commit = record.work.as_ref().map(|work| work.commit.clone()).or_else(|| record.branch.clone());
    for holder in [&own_slot, &looked_at] {
        let adopted = match pool.adopt(holder) {
            // A worker is in it now. What it has committed can be looked at, what it is writing cannot.
            Err(PoolError::Elsewhere { .. }) if commit.is_some() => None,
            adopted => adopted?,
        };
        if let Some(lease) = adopted {
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Kept {
    /// The ref that it is under.
    #[serde(rename = "ref")]
    pub(crate) name: String,
    /// The commit.
    pub(crate) commit: CommitId,
    /// First line of its message.
    pub(crate) says: String,
    /// Files that it changes beside its parent.
    pub(crate) files: usize,
}

/// Work that has been brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    /// The branch that holds it now, short.
    pub(crate) branch: String,
    /// The commit.
    pub(crate) commit: CommitId,
    /// The ref that it was under.
    pub(crate) from: String,
    /// How much else of it could be brought back.
    pub(crate) others: usize,
}

/// What is kept of a step (of everything, without one), the newest first: its attempts, and what was put aside of
/// them. No two rows are of the same commit.
pub(crate) fn kept(ctx: &Context, of: Option<(&RunId, &StepId)>) -> Result<Vec<Kept>, RunError> {
    let mut found = ctx.repo.list_refs("refs/wattle/salvage/")?;
    if let Some((run, step)) = of {
        found.retain(|(name, _)| belongs(name, run, step));
        found.extend(ctx.repo.list_refs(&format!("refs/wattle/attempt/{run}/{step}/"))?);
    }
    found.sort_by_key(|(name, _)| std::cmp::Reverse(place(name)));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|(_, commit)| seen.insert(commit.clone()));
    let row = |(name, commit): (String, CommitId)| {
        let says = ctx.repo.message(&commit)?.lines().next().unwrap_or_default().to_owned();
        let files = match ctx.repo.parents(&commit)?.first() {
            Some(parent) => ctx.repo.changes(&ctx.repo.tree_of(parent)?, &ctx.repo.tree_of(&commit)?)?.len(),
            None => ctx.repo.files(&ctx.repo.tree_of(&commit)?)?.len(),
        };
        Ok(Kept { name, commit, says, files })
    };
    found.into_iter().map(row).collect()
}

/// Is a ref below `refs/wattle/salvage/` of this step? The pool writes a holder's folders, or, where a ref stood in
/// their way, their names joined.
fn belongs(name: &str, run: &RunId, step: &StepId) -> bool {
    let rest = name.trim_start_matches("refs/wattle/salvage/");
    let nested = rest.trim_start_matches(LOOKED_AT).strip_prefix(&format!("{run}/{step}/")).is_some();
    let joined = |start: &str| {
        let rest = rest.strip_prefix(&format!("{start}{run}-{step}-"));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    nested || joined("") || rest.starts_with(&format!("path-{run}-{step}/"))
}

/// What orders the refs of a step, the newest last: the attempt, whose own commit comes before what its worktree
/// held beyond it; a worktree that its user looked at, and a branch that its user moved, come last.
fn place(name: &str) -> (u64, bool, u64, String) {
    let aside = name.starts_with("refs/wattle/salvage/");
    let by_user = name.contains("/salvage/path") || name.rsplit('/').nth(1) == Some("branch");
    let mut numbers = name.split(['/']).skip(4).filter_map(|part| part.parse::<u64>().ok());
    let attempt = if by_user { u64::MAX } else { numbers.next().unwrap_or(0) };
    (attempt, aside, numbers.next().unwrap_or(0), name.to_owned())
}

/// Brings work back on a branch: of what is kept, the one that `which` names (the beginning of its commit, or the
/// whole or the end of its ref), else the newest. `branch` names the branch; a branch that is at something else is
/// never moved.
pub(crate) fn restore(
    ctx: &Context,
    kept: &[Kept],
    step: &str,
    which: Option<&str>,
    branch: Option<&str>,
) -> Result<Restored, RunError> {
    let fits = |kept: &&Kept| match which {
        None => true,
        Some(which) => {
            kept.commit.as_str().starts_with(which) || kept.name == which || kept.name.ends_with(&format!("/{which}"))
        }
    };
    let found = kept.iter().find(fits).ok_or_else(|| RunError::NoWork(which.unwrap_or(step).to_owned()))?;
    let short = branch.map_or_else(|| format!("restored/{step}-{}", found.commit.short()), str::to_owned);
    let mut name = branch_ref(&short);
    let mut number = 1;
    loop {
        match ctx.repo.read_ref(&name)? {
            Some(there) if there == found.commit => break,
            Some(_) if branch.is_some() => return Err(RunError::BranchTaken(short)),
            // Its user has worked on what was restored before: that stays.
            Some(_) => {
                number += 1;
                name = branch_ref(&format!("{short}-{number}"));
            }
            None => {
                let change = RefChange { name: name.clone(), new: Some(found.commit.clone()), old: Expect::Absent };
                ctx.repo.update_refs(&[change], "wattle: restore")?;
                break;
            }
        }
    }
    let branch = name.trim_start_matches("refs/heads/").to_owned();
    Ok(Restored { branch, commit: found.commit.clone(), from: found.name.clone(), others: kept.len() - 1 })
}
