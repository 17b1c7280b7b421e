//! `wattle clean`: frees what is not needed any more, and says what it keeps and why.
//!
//! A branch goes only when its work is in the target (by ancestry, tree or patch) or was rejected, and a
//! commit that no other ref holds is put under `refs/wattle/salvage/` first. The journal stays.

use std::collections::BTreeSet;

use wattle_planner::StepId;
use wattle_workspace::{Expect, Pool, PoolOptions, RefChange};

use super::begin::{RunError, own};
use super::context::Context;
use super::recover::LOOKED_AT;
use crate::ids::Blob;
use crate::journal::{Reader, RunView};
use crate::queue::land::{branch_ref, step_ref};
use crate::state::Machine;
use crate::state::step::Step;

/// One thing that was freed or kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Item {
    /// `slot`, `branch`, `blobs` or `salvage`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// Why it was freed or kept.
    pub(crate) why: String,
}

/// What was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Cleaned {
    /// What was freed.
    pub(crate) freed: Vec<Item>,
    /// What was kept.
    pub(crate) kept: Vec<Item>,
    /// Bytes of blobs that were freed.
    pub(crate) blob_bytes: u64,
}

impl Cleaned {
    fn freed(&mut self, kind: &'static str, name: impl Into<String>, why: impl Into<String>) {
        self.freed.push(Item { kind, name: name.into(), why: why.into() });
    }

    fn kept(&mut self, kind: &'static str, name: impl Into<String>, why: impl Into<String>) {
        self.kept.push(Item { kind, name: name.into(), why: why.into() });
    }
}

/// Frees what can be freed. A dry run changes nothing.
pub(crate) fn clean(ctx: &Context, dry_run: bool) -> Result<Cleaned, RunError> {
    let _lock = own(ctx, None)?;
    let mut done = Cleaned::default();
    let Some(reader) = Reader::open(ctx.repo.state_dir())? else { return Ok(done) };
    let mut blobs = BTreeSet::new();
    let mut kept_runs = BTreeSet::new();
    for run in reader.runs()? {
        let view = reader.replay(&run.run)?;
        let open = branches(ctx, &view, dry_run, &mut done)?;
        let finished = view.steps.values().all(|record| record.state.terminal());
        if open || !finished {
            kept_runs.insert(run.run.to_string());
        }
        // What failed may be tried again, and goes on from its reports and turns.
        let whole = view.steps.values().all(|record| record.state.exit() == 0);
        blobs.extend(needed_blobs(&reader, &view, open || !finished || !whole)?);
    }
    slots(ctx, &kept_runs, dry_run, &mut done)?;
    for (name, _) in ctx.repo.list_refs("refs/wattle/salvage/")? {
        done.kept("salvage", name, "wattle restore brings it back");
    }
    done.blob_bytes = reader.blobs.sweep(&blobs, dry_run);
    if done.blob_bytes > 0 {
        let name = format!("{} bytes", done.blob_bytes);
        done.freed("blobs", name, "outputs of runs with nothing left to do");
    }
    Ok(done)
}

/// Branches and attempt refs of a run. Is anything of it kept?
fn branches(ctx: &Context, view: &RunView, dry_run: bool, done: &mut Cleaned) -> Result<bool, RunError> {
    let mut kept = false;
    for step in view.plan.steps() {
        let name = step_ref(view.run.as_str(), &step.id);
        let attempts = ctx.repo.list_refs(&format!("refs/wattle/attempt/{}/{}/", view.run, step.id))?;
        let branch = ctx.repo.read_ref(&name)?;
        if branch.is_none() && attempts.is_empty() {
            continue;
        }
        let short = name.trim_start_matches("refs/heads/").to_owned();
        match reason_to_free(ctx, view, &step.id, branch.as_ref())? {
            Ok(why) => {
                if !dry_run {
                    free(ctx, view, &step.id, branch.map(|commit| (name, commit)), attempts)?;
                }
                done.freed("branch", short, why);
            }
            Err(why) => {
                kept = true;
                done.kept("branch", short, why);
            }
        }
    }
    if !dry_run && !kept {
        for (name, commit) in ctx.repo.list_refs(&format!("refs/wattle/candidate/{}/", view.run))? {
            delete(ctx, name, commit)?;
        }
    }
    Ok(kept)
}

/// Why a step's branch can go, or why it stays.
fn reason_to_free(
    ctx: &Context,
    view: &RunView,
    step: &StepId,
    branch: Option<&wattle_workspace::CommitId>,
) -> Result<Result<String, String>, RunError> {
    let record = view.step(step);
    let target = &view.started.target;
    if record.state == Step::Rejected {
        return Ok(Ok("rejected; the work is under refs/wattle/salvage/".to_owned()));
    }
    let Some(commit) = branch else {
        return Ok(if record.state.terminal() && record.state.exit() == 0 {
            Ok("its branch is gone and it has ended".to_owned())
        } else {
            Err(format!("its step is {}", record.state))
        });
    };
    let Some(tip) = ctx.repo.read_ref(&branch_ref(target))? else {
        return Ok(Err(format!("the target {target} is gone")));
    };
    let base = record.work.as_ref().map_or(&view.started.base.commit, |work| &work.base);
    if ctx.repo.landed(commit, base, &tip)? {
        return Ok(Ok(format!("its work is in {target}")));
    }
    Ok(Err(format!("its step is {}, and it is not in {target}", record.state)))
}

fn free(
    ctx: &Context,
    view: &RunView,
    step: &StepId,
    branch: Option<(String, wattle_workspace::CommitId)>,
    attempts: Vec<(String, wattle_workspace::CommitId)>,
) -> Result<(), RunError> {
    let tip = ctx.repo.read_ref(&branch_ref(&view.started.target))?;
    // Attempts first: the branch is at one of them, and one ref keeps a commit.
    let mut kept = BTreeSet::new();
    for (name, commit) in attempts.into_iter().chain(branch) {
        let landed = match &tip {
            Some(tip) => ctx.repo.is_ancestor(&commit, tip)?,
            None => false,
        };
        if !landed && kept.insert(commit.clone()) {
            let last = name.rsplit('/').next().unwrap_or("0");
            let number = if last == step.as_str() { "branch" } else { last };
            // Two levels, as the pool names what it salvages: neither stands in the way of the other.
            let keep = format!("refs/wattle/salvage/{}/{step}/{number}/{}", view.run, commit.short());
            let keep = RefChange { name: keep, new: Some(commit.clone()), old: Expect::Any };
            ctx.repo.update_refs(&[keep], "wattle: clean")?;
        }
        delete(ctx, name, commit)?;
    }
    Ok(())
}

fn delete(ctx: &Context, name: String, commit: wattle_workspace::CommitId) -> Result<(), RunError> {
    let gone = RefChange { name, new: None, old: Expect::Is(commit) };
    Ok(ctx.repo.update_refs(&[gone], "wattle: clean")?)
}

/// Slots that nobody holds, and those that a human looked at and whose run is done.
fn slots(ctx: &Context, kept_runs: &BTreeSet<String>, dry_run: bool, done: &mut Cleaned) -> Result<(), RunError> {
    let pool = Pool::open(&ctx.repo, PoolOptions::default())?;
    let run_of = |holder: &str| holder.trim_start_matches(LOOKED_AT).split('/').next().unwrap_or_default().to_owned();
    let held = pool.list().into_iter().filter_map(|slot| slot.holder);
    let kept: Vec<String> = held.filter(|holder| kept_runs.contains(&run_of(holder))).collect();
    if !dry_run {
        // We own the repository: who holds a slot of a run that is done is not alive.
        pool.recover(&kept)?;
    }
    for slot in pool.list() {
        let name = slot.path.display().to_string();
        if let Some(holder) = slot.holder.filter(|holder| kept.contains(holder)) {
            done.kept("slot", name, format!("{holder} goes on in it"));
            continue;
        }
        let kept = |why: String| format!("{why}; take out what you want to keep, delete that, and clean again");
        match &slot.retired {
            Some(why) if dry_run => done.kept("slot", name, kept(why.clone())),
            None if dry_run => done.freed("slot", name, "nobody works in it"),
            _ => match pool.remove(slot.slot) {
                Ok(_) => done.freed("slot", name, "nobody works in it"),
                Err(error) => done.kept("slot", name, kept(error.to_string())),
            },
        }
    }
    // Whoever cleans wants the room now.
    pool.finish();
    Ok(())
}

/// The blobs that stay: what replaying needs, and everything of a run that is not done.
fn needed_blobs(reader: &Reader, view: &RunView, all: bool) -> Result<BTreeSet<Blob>, RunError> {
    let mut needed: BTreeSet<Blob> = view.started.files.values().cloned().collect();
    needed.insert(view.started.plan.clone());
    needed.insert(view.started.brief.clone());
    if all {
        for event in reader.events(&view.run, 0)? {
            let json = serde_json::to_string(&event).expect("an event is plain data");
            // Every quoted run of 64 hex digits may be the name of a blob; a false one keeps nothing.
            let words = json.split('"').filter(|word| word.len() == 64);
            needed.extend(words.map(|word| Blob(word.to_owned())));
        }
    }
    Ok(needed)
}
