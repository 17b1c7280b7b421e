//! `wattle clean`: frees what is not needed any more, and says what it keeps and why.
//!
//! A branch goes only when its work is in the target (by ancestry, tree or patch) or was rejected, and a
//! commit that the target does not hold is put under `refs/wattle/salvage/` first. What was put aside goes only
//! after the retention that the configuration names, and never before an earlier `clean` has listed it. What
//! cannot be told is kept. The journal stays. What a run frees at its end by the same rules is in `unasked`.

mod branches;
mod orphans;
mod retention;
mod unasked;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(crate) use unasked::retain;
use wattle_workspace::{Pool, PoolOptions};

use super::begin::{RunError, own};
use super::context::Context;
use super::recover::LOOKED_AT;
use crate::config::Keep;
use crate::ids::Blob;
use crate::journal::{Reader, RunView};
use crate::state::Machine;

/// One thing that was freed or kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(crate) struct Item {
    /// `slot`, `template`, `branch`, `candidate`, `blobs`, `salvage`, `scratch` or `orphan`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// Why it was freed or kept.
    pub(crate) why: String,
    /// What it takes on disk, where that is known.
    pub(crate) bytes: Option<u64>,
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
    /// How long what was put aside is kept.
    pub(crate) keep: Keep,
}

impl Cleaned {
    fn freed(&mut self, kind: &'static str, name: impl Into<String>, why: impl Into<String>) {
        self.freed.push(Item { kind, name: name.into(), why: why.into(), bytes: None });
    }

    fn kept(&mut self, kind: &'static str, name: impl Into<String>, why: impl Into<String>) {
        self.kept.push(Item { kind, name: name.into(), why: why.into(), bytes: None });
    }

    fn sized(&mut self, bytes: u64) {
        if let Some(item) = self.freed.last_mut() {
            item.bytes = Some(bytes);
        }
    }
}

/// Frees what can be freed. A dry run changes nothing.
pub(crate) fn clean(ctx: &Context, keep: Keep, dry_run: bool) -> Result<Cleaned, RunError> {
    let _lock = own(ctx, None)?;
    let mut done = Cleaned { keep, ..Cleaned::default() };
    let Some(reader) = Reader::open(ctx.repo.state_dir())? else { return Ok(done) };
    // What an earlier clean has put aside, and what this one finds there before it adds to it.
    let aside = ctx.repo.list_refs(retention::ROOT)?;
    let mut views = BTreeMap::new();
    let mut blobs = BTreeSet::new();
    let mut kept_runs = BTreeSet::new();
    let checked_out = ctx.repo.branches_checked_out();
    for run in reader.runs()? {
        let view = reader.replay(&run.run)?;
        let open = branches::clean(ctx, &view, &checked_out, dry_run, &mut done)?;
        let finished = view.steps.values().all(|record| record.state.terminal());
        if open || !finished {
            kept_runs.insert(run.run.to_string());
        }
        // What failed may be tried again, and goes on from its reports and turns.
        let whole = view.steps.values().all(|record| record.state.exit() == 0);
        blobs.extend(needed_blobs(&reader, &view, open || !finished || !whole)?);
        views.insert(run.run.to_string(), view);
    }
    orphans::scratch(ctx, dry_run, &mut done);
    slots(ctx, &kept_runs, dry_run, &mut done)?;
    retention::clean(ctx, keep, &views, &aside, dry_run, &mut done)?;
    orphans::name(ctx, &views, &mut done)?;
    done.blob_bytes = reader.blobs.sweep(&blobs, dry_run);
    if done.blob_bytes > 0 {
        let name = format!("{} bytes", done.blob_bytes);
        done.freed("blobs", name, "outputs of runs with nothing left to do");
    }
    Ok(done)
}

/// Slots that nobody holds, and those that a human looked at and whose run is done.
fn slots(ctx: &Context, kept_runs: &BTreeSet<String>, dry_run: bool, done: &mut Cleaned) -> Result<(), RunError> {
    const WHY: &str = "nobody works in it";
    let pool = Pool::open(&ctx.repo, PoolOptions::default())?;
    let run_of = |holder: &str| holder.trim_start_matches(LOOKED_AT).split('/').next().unwrap_or_default().to_owned();
    let held = pool.list().into_iter().filter_map(|slot| slot.holder);
    let kept: Vec<String> = held.filter(|holder| kept_runs.contains(&run_of(holder))).collect();
    if !dry_run {
        // We own the repository: who holds a slot of a run that is done is not alive.
        pool.recover(&kept)?;
    }
    for slot in pool.list() {
        let name = slot.stored.display().to_string();
        if let Some(holder) = slot.holder.filter(|holder| kept.contains(holder)) {
            done.kept("slot", name, format!("{holder} goes on in it"));
            continue;
        }
        let bytes = disk_bytes(&slot.stored);
        let kept = |why: String| format!("{why}; take out what you want to keep, delete that, and clean again");
        match &slot.retired {
            Some(why) if dry_run => done.kept("slot", name, kept(why.clone())),
            None if dry_run => {
                done.freed("slot", name, WHY);
                done.sized(bytes);
            }
            _ => match pool.remove(slot.slot) {
                Ok(_) => {
                    done.freed("slot", name, WHY);
                    done.sized(bytes);
                }
                Err(error) => done.kept("slot", name, kept(error.to_string())),
            },
        }
    }
    let unused = pool.unused_templates()?;
    let sizes: Vec<u64> = unused.iter().map(|folder| disk_bytes(folder)).collect();
    let dropped = if dry_run { unused } else { pool.drop_unused_templates()? };
    for (folder, bytes) in dropped.into_iter().zip(sizes) {
        done.freed("template", folder.display().to_string(), "no slot is mounted over it");
        done.sized(bytes);
    }
    // Whoever cleans wants the room now.
    pool.finish();
    Ok(())
}

/// What the files below a folder take, links not followed; what vanishes meanwhile takes nothing.
fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    /// `st_blocks` counts in these, whatever the file system's own blocks are.
    const BLOCK_BYTES: u64 = 512;
    let (mut bytes, mut open) = (0, vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * BLOCK_BYTES;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

/// The blobs that stay: what replaying needs, and everything of a run that is not done.
fn needed_blobs(reader: &Reader, view: &RunView, all: bool) -> Result<BTreeSet<Blob>, RunError> {
    let mut needed: BTreeSet<Blob> = view.started.files.values().cloned().collect();
    needed.insert(view.started.plan.clone());
    needed.insert(view.started.brief.clone());
    needed.extend(view.plans.iter().chain(&view.started.lead).cloned());
    needed.extend(view.started.instructions.clone());
    needed.extend(view.started.agents.values().map(|agent| agent.body.clone()));
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
