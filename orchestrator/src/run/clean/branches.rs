//! The branches, attempt refs and candidates of one run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use wattle_planner::StepId;
use wattle_workspace::{CommitId, Expect, GitError, RefChange, RefError};

use super::Cleaned;
use super::retention::ROOT;
use crate::journal::RunView;
use crate::journal::record::StepRecord;
use crate::queue::land::{branch_ref, step_ref};
use crate::report::reason::counted;
use crate::run::begin::RunError;
use crate::run::context::Context;
use crate::state::Machine;
use crate::state::step::Step;

/// The refs of a step.
struct Refs {
    /// Full name of its branch.
    name: String,
    /// Where that is, if it is there.
    branch: Option<CommitId>,
    /// Its attempts.
    attempts: Vec<(String, CommitId)>,
}

/// Frees what the run does not need. Is anything of it kept?
pub(super) fn clean(
    ctx: &Context,
    view: &RunView,
    checked_out: &BTreeMap<String, PathBuf>,
    dry_run: bool,
    done: &mut Cleaned,
) -> Result<bool, RunError> {
    let run = view.run.as_str();
    let heads: BTreeMap<_, _> = ctx.repo.list_refs(&format!("refs/heads/wattle/{run}/"))?.into_iter().collect();
    let all = ctx.repo.list_refs(&format!("refs/wattle/attempt/{run}/"))?;
    let tip = ctx.repo.read_ref(&branch_ref(&view.started.target))?;
    let mut kept = false;
    for step in view.plan.steps() {
        let name = step_ref(run, &step.id);
        let prefix = format!("refs/wattle/attempt/{run}/{}/", step.id);
        let attempts: Vec<_> = all.iter().filter(|(name, _)| name.starts_with(&prefix)).cloned().collect();
        let refs = Refs { branch: heads.get(&name).cloned(), name, attempts };
        if refs.branch.is_none() && refs.attempts.is_empty() {
            continue;
        }
        let short = refs.name.trim_start_matches("refs/heads/").to_owned();
        let found = match checked_out.get(&refs.name) {
            Some(path) => Ok(Err(format!("it is checked out at {}", path.display()))),
            None => reason_to_free(ctx, view, &step.id, &refs, tip.as_ref()),
        };
        // What cannot be told is kept.
        let found = found.unwrap_or_else(|error| Err(format!("it cannot be told whether it landed: {error}")));
        let freed = found.and_then(|why| {
            let aside = free(ctx, view, &step.id, &refs, tip.as_ref(), dry_run).map_err(|error| error.to_string())?;
            let aside = match aside {
                0 => String::new(),
                n => format!("; {} put aside", counted(n, "commit")),
            };
            Ok(format!("{why}{aside}"))
        });
        match freed {
            Ok(why) => done.freed("branch", short, why),
            Err(why) => {
                kept = true;
                done.kept("branch", short, why);
            }
        }
    }
    candidates(ctx, view, dry_run, done)?;
    Ok(kept)
}

/// Candidates of landings that are over hold nothing that the steps and the target do not.
fn candidates(ctx: &Context, view: &RunView, dry_run: bool, done: &mut Cleaned) -> Result<(), RunError> {
    let root = format!("refs/wattle/candidate/{}/", view.run);
    let mut over = 0;
    for (name, commit) in ctx.repo.list_refs(&root)? {
        let open = view.landings.iter().find(|(id, record)| {
            let number = name.rsplit('/').next().and_then(|last| last.split('-').next());
            number == Some(id.0.to_string().as_str()) && !record.state.terminal()
        });
        match open {
            Some((_, record)) => done.kept("candidate", name, format!("its landing is {}", record.state)),
            None => {
                over += 1;
                if !dry_run {
                    delete(ctx, name, commit)?;
                }
            }
        }
    }
    if over > 0 {
        done.freed("candidate", root, format!("{} over", counted(over, "landing")));
    }
    Ok(())
}

/// Why a step's branch can go, or why it stays.
fn reason_to_free(
    ctx: &Context,
    view: &RunView,
    step: &StepId,
    refs: &Refs,
    tip: Option<&CommitId>,
) -> Result<Result<String, String>, GitError> {
    let record = view.step(step);
    let target = &view.started.target;
    let rejected = record.state == Step::Rejected;
    let known = |commit: &CommitId| {
        record.branch.as_ref() == Some(commit) || refs.attempts.iter().any(|(_, kept)| kept == commit)
    };
    let Some(commit) = &refs.branch else {
        return Ok(match record.state.terminal() && record.state.exit() == 0 {
            true => Ok(format!("its branch is gone and it is {}", record.state)),
            false => Err(format!("its step is {}", record.state)),
        });
    };
    if rejected && known(commit) {
        return Ok(Ok("rejected; the work is under refs/wattle/salvage/".to_owned()));
    }
    let Some(tip) = tip else {
        return Ok(Err(format!("the target {target} is gone")));
    };
    let base = base(view, record);
    if ctx.repo.landed(commit, base, tip)? {
        return Ok(Ok(format!("its work is in {target}")));
    }
    let commits = counted(ctx.repo.commits_between(tip, commit)? as usize, "commit");
    let state = match record.state {
        Step::Landed | Step::Rejected => format!("{}, and somebody has committed on its branch since", record.state),
        state => state.to_string(),
    };
    Ok(Err(format!("its step is {state}; not landed: {commits}")))
}

fn base<'v>(view: &'v RunView, record: &'v StepRecord) -> &'v CommitId {
    record.work.as_ref().map_or(&view.started.base.commit, |work| &work.base)
}

/// Puts aside what the target does not hold, then deletes the refs, each only as it was seen. Gives how many
/// commits are put aside.
fn free(
    ctx: &Context,
    view: &RunView,
    step: &StepId,
    refs: &Refs,
    tip: Option<&CommitId>,
    dry_run: bool,
) -> Result<usize, RefError> {
    let mut kept = BTreeSet::new();
    let branch = refs.branch.clone().map(|commit| (refs.name.clone(), commit));
    // Attempts first: the branch is at one of them, and one ref keeps a commit.
    for (name, commit) in refs.attempts.iter().cloned().chain(branch) {
        let landed = match tip {
            Some(tip) => ctx.repo.is_ancestor(&commit, tip)?,
            None => false,
        };
        let mut changes = Vec::new();
        if !landed && kept.insert(commit.clone()) {
            let last = name.rsplit('/').next().unwrap_or("0");
            let number = if last == step.as_str() { "branch" } else { last };
            // Two levels, as the pool names what it salvages: neither stands in the way of the other.
            let name = format!("{ROOT}{}/{step}/{number}/{}", view.run, commit.short());
            changes.push(RefChange { name, new: Some(commit.clone()), old: Expect::Any });
        }
        changes.push(RefChange { name, new: None, old: Expect::Is(commit) });
        if !dry_run {
            // One transaction: there is no moment in which no ref holds it.
            ctx.repo.update_refs(&changes, "wattle: clean")?;
        }
    }
    Ok(kept.len())
}

pub(super) fn delete(ctx: &Context, name: String, commit: CommitId) -> Result<(), RefError> {
    let gone = RefChange { name, new: None, old: Expect::Is(commit) };
    ctx.repo.update_refs(&[gone], "wattle: clean")
}
