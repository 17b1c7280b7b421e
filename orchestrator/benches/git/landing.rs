//! What landing one branch costs without its check: from the branch's commit to the target moved, durably.
//!
//! Beside it the sequence that a script would run, which merges and moves the ref and makes nothing durable.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wattle_workspace::{Advance, CommitId, CommitSpec, Expect, MergeSpec, Merged, RefChange, Repo};

use crate::measure::{Sample, in_turns, timed};
use crate::place::{Place, Scene};
use crate::repository::{WORKERS, bare, checkout};
use crate::slots::commit;
use crate::table::{Line, Table};
use crate::{Res, Size};

/// Milliseconds that one landing may take.
const GOAL_MS: f64 = 12.0;
/// Processes of git that it may take.
const GOAL_GITS: f64 = 3.0;

/// On a bare repository, and with the target checked out.
pub(crate) fn run(place: &Place, size: Size, table: &mut Table) -> Res<()> {
    for files in size.of(&[50_000, 100_000][..], &[10_000][..]) {
        one_kind(place, bare, *files, &format!("bare, {files} files"), table)?;
    }
    let files = size.of(50_000, 10_000);
    one_kind(place, checkout, files, &format!("target checked out, {files} files"), table)
}

/// How a repository of so many files is made in a scene.
type Make = fn(&Place, &Scene, usize) -> Res<PathBuf>;

fn one_kind(place: &Place, make: Make, files: usize, kind: &str, table: &mut Table) -> Res<()> {
    let scene = place.scene(place.disk())?;
    let path = make(place, &scene, files)?;
    let repo = scene.open(&path)?;
    repo.configure(&commit(&repo, "refs/heads/main")?)?;
    // The script lands the same branches in a repository of its own, or each would find the other's objects written.
    let other = place.scene(place.disk())?;
    let theirs = bare(place, &other, files)?;
    let timed_turns = WORKERS / 2;
    let ours = |turn: usize| Ok(timed(|| land(&repo, turn))?.0);
    let theirs = |turn: usize| script(&other, &theirs, turn);
    let (ours, theirs) = in_turns(timed_turns, ours, theirs)?;
    let gits = count(&scene, &path, timed_turns..WORKERS)?;
    let per_landing = gits.len() as f64 / (WORKERS - timed_turns) as f64;
    add_lines(kind, &ours, &theirs, per_landing, table);
    Ok(())
}

fn add_lines(kind: &str, ours: &Sample, theirs: &Sample, gits: f64, table: &mut Table) {
    table.add(Line {
        what: format!("land one branch, check excluded ({kind})"),
        ours: ours.shown(),
        git: format!("rev-parse, merge-tree, commit-tree, update-ref, not durable: {}", theirs.shown()),
        result: format!("{:.1} ms", ours.median_ms()),
        goal: "≤ 12 ms",
        reached: Some(ours.median_ms() <= GOAL_MS),
    });
    table.add(Line {
        what: format!("git processes of one landing ({kind})"),
        ours: format!("{gits:.2}"),
        git: "4".to_owned(),
        result: format!("{gits:.2}"),
        goal: "≤ 3",
        reached: Some(gits <= GOAL_GITS),
    });
}

/// The processes of the landings of some workers.
fn count(scene: &Scene, path: &Path, workers: std::ops::Range<usize>) -> Res<Vec<String>> {
    let (search, count) = scene.counted()?;
    let repo = scene.open_with(path, search)?;
    repo.configure(&commit(&repo, "refs/heads/main")?)?;
    drop(count.take()?);
    for worker in workers {
        land(&repo, worker)?;
    }
    count.take()
}

/// What the queue does to land a worker's branch: merge, commit, keep as a candidate, move the target.
fn land(repo: &Repo, worker: usize) -> Res<()> {
    let tip = commit(repo, "refs/heads/main")?;
    let theirs = commit(repo, &branch(worker))?;
    let spec = MergeSpec { base: None, ours: tip.clone(), theirs: theirs.clone() };
    let Merged::Clean { tree } = repo.merge(&spec)? else {
        return Err("a disjoint branch conflicts".into());
    };
    let who = repo.identity();
    let new = repo.commit(&CommitSpec {
        tree,
        parents: vec![tip.clone(), theirs],
        message: format!("Land {worker}\n"),
        author: who.clone(),
        committer: who,
        time_s: 1_767_323_046,
    })?;
    keep(repo, worker, &new)?;
    match repo.advance("main", &tip, &new, "bench: land")? {
        Advance::Moved { .. } => Ok(()),
        other => Err(format!("not landed: {other:?}").into()),
    }
}

fn keep(repo: &Repo, worker: usize, new: &CommitId) -> Res<()> {
    let name = format!("refs/wattle/candidate/bench/{worker}");
    let change = RefChange { name, new: Some(new.clone()), old: Expect::Any };
    Ok(repo.update_refs(&[change], "bench: candidate")?)
}

/// The same by git's plumbing, as a script runs it.
fn script(scene: &Scene, path: &Path, worker: usize) -> Res<Duration> {
    let (took, ()) = timed(|| {
        let tip = scene.git(path, &["rev-parse", "refs/heads/main"])?;
        let branch = branch(worker);
        let tree = scene.git(path, &["merge-tree", "--write-tree", &tip, &branch])?;
        let commit = scene.git(path, &["commit-tree", "-p", &tip, "-p", &branch, "-m", "land", &tree])?;
        scene.git(path, &["update-ref", "refs/heads/main", &commit, &tip])?;
        Ok(())
    })?;
    Ok(took)
}

fn branch(worker: usize) -> String {
    format!("refs/heads/worker/{worker:02}")
}
