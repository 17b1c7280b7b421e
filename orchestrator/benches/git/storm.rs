//! Many slots taken at once: how many of the acquisitions fail, beside `git worktree add -b`.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use wattle_workspace::{CommitId, Pool, PoolOptions};

use crate::measure::{time, timed};
use crate::place::{Place, Scene, finish};
use crate::repository::bare;
use crate::slots::{commit, want};
use crate::table::{Line, Table};
use crate::{Res, Size};

/// Takers at one time.
const AT_ONCE: usize = 16;
/// A small tree: what is tried here is the administration, not the checkout.
const FILES: usize = 2_000;

pub(crate) fn run(place: &Place, size: Size, table: &mut Table) -> Res<()> {
    let (ours, theirs) = size.of((10_000, 160), (400, 96));
    let scene = place.scene(place.disk())?;
    let path = bare(place, &scene, FILES)?;
    let repo = scene.open(&path)?;
    let bases = [commit(&repo, "refs/heads/main")?, commit(&repo, "refs/heads/drift")?];
    repo.configure(&bases[0])?;
    let pool = Pool::open(&repo, PoolOptions::default())?;
    let (took, failed) = timed(|| Ok(at_once(ours, |n| acquire(&pool, &bases[n % 2], n))))?;
    let git_failed = at_once(theirs, |n| add(&scene, &path, n));
    table.add(Line {
        what: format!("{ours} slot acquisitions, {AT_ONCE} at a time: failures"),
        ours: format!("{} of {ours} in {}{}", failed.len(), time(took), first(&failed)),
        git: format!("`worktree add -b`: {} of {theirs}{}", git_failed.len(), first(&git_failed)),
        result: failed.len().to_string(),
        goal: "0",
        reached: Some(failed.is_empty()),
    });
    Ok(())
}

/// Does something so many times by as many threads as there are takers, and gives what failed.
fn at_once(times: usize, what: impl Fn(usize) -> Res<()> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut failed = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= times {
                return failed;
            }
            failed.extend(what(n).err().map(|e| e.to_string()));
        }
    };
    thread::scope(|scope| {
        let takers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(take)).collect();
        takers
            .into_iter()
            .flat_map(|taker| taker.join().unwrap_or_else(|_| vec!["a taker panicked".to_owned()]))
            .collect()
    })
}

fn acquire(pool: &Pool, base: &CommitId, n: usize) -> Res<()> {
    let lease = pool.lease(&want(base, &format!("storm/{n}")))?;
    let released = pool.release(lease)?;
    match released.retired {
        Some(why) => Err(why.into()),
        None => Ok(()),
    }
}

fn add(scene: &Scene, path: &Path, n: usize) -> Res<()> {
    let to = scene.root().join("added").join(n.to_string());
    let mut command = scene.command("git", path, &["worktree", "add", "-q", "-b", &format!("added/{n}")]);
    // From a branch that can be tracked, as every clone has one; that is what contends for the configuration.
    finish(command.arg("--track").arg(to).arg("main")).map(|_| ())
}

fn first(failed: &[String]) -> String {
    failed.first().map_or_else(String::new, |text| format!(" (first: {})", text.lines().last().unwrap_or_default()))
}
