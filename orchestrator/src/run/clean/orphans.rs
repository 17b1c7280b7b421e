//! What no run of this journal explains: named, and kept. Only scratch of processes that are dead goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wattle_workspace::{Pool, PoolOptions};

use super::{Cleaned, disk_bytes};
use crate::journal::RunView;
use crate::run::begin::RunError;
use crate::run::context::Context;
use crate::run::drive::SCRATCH;

/// Beginnings of the names of indexes of ours, which the pool sweeps.
const INDEX: &str = "index-";

/// Frees the scratch folders of owners that were killed. We own the repository, so nobody uses one.
pub(super) fn scratch(ctx: &Context, dry_run: bool, done: &mut Cleaned) {
    let places = [(ctx.temp.as_path(), SCRATCH, true), (ctx.repo.state_dir(), INDEX, false)];
    for (folder, mark, ours) in places {
        for path in folders(folder) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !name.starts_with(mark) {
                continue;
            }
            let bytes = disk_bytes(&path);
            if !dry_run && ours && std::fs::remove_dir_all(&path).is_err() {
                done.kept("scratch", path.display().to_string(), "it cannot be deleted");
                continue;
            }
            done.freed("scratch", path.display().to_string(), "left by a process that was killed");
            done.sized(bytes);
        }
    }
}

/// Names refs, folders and worktrees below our names that no run knows.
pub(super) fn name(ctx: &Context, views: &BTreeMap<String, RunView>, done: &mut Cleaned) -> Result<(), RunError> {
    for (root, depth) in [("refs/heads/wattle/", 3), ("refs/wattle/attempt/", 3), ("refs/wattle/candidate/", 3)] {
        for (name, _) in ctx.repo.list_refs(root)? {
            let run = name.split('/').nth(depth).unwrap_or_default();
            if !views.contains_key(run) {
                done.kept("orphan", name, "no run here has made it");
            } else if let Some(view) = views.get(run)
                && !view.steps.keys().any(|step| name.split('/').nth(depth + 1) == Some(step.as_str()))
                && !root.contains("candidate")
            {
                done.kept("orphan", name, "its run has no such step");
            }
        }
    }
    let pool = Pool::open(&ctx.repo, PoolOptions::default())?;
    let known: BTreeSet<_> = pool.list().into_iter().map(|slot| slot.path).collect();
    let root = ctx.repo.state_dir().join("slots");
    for path in folders(&root).into_iter().filter(|path| !known.contains(path)) {
        done.kept("orphan", path.display().to_string(), "no record of a slot names it; look what is in it");
    }
    let stored: BTreeSet<_> = pool.list().into_iter().map(|slot| slot.stored).collect();
    for path in folders(&ctx.repo.state_dir().join("layers")).into_iter().filter(|path| !stored.contains(path)) {
        done.kept("orphan", path.display().to_string(), "no record of a slot names it; look what is in its upper");
    }
    for admin in folders(&ctx.repo.common_dir().join("worktrees")) {
        let gitdir = std::fs::read_to_string(admin.join("gitdir")).unwrap_or_default();
        let slot = Path::new(gitdir.trim_end()).parent().unwrap_or(Path::new("")).to_owned();
        if slot.starts_with(&root) && !known.contains(&slot) && !slot.exists() {
            done.kept("orphan", admin.display().to_string(), "its slot is gone; git worktree prune forgets it");
        }
    }
    Ok(())
}

fn folders(root: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}
