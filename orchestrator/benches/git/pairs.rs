//! Which of the live branches conflict: all pairs of them, and again after one has moved.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use wattle_workspace::{CommitId, CommitSpec, Merged, Repo};

use crate::measure::{Sample, in_turns, ratio, timed};
use crate::place::{Place, Scene};
use crate::repository::{WORKERS, bare};
use crate::slots::commit;
use crate::table::{Line, Table};
use crate::{Res, Size};

/// Against one batch of git's, all pairs may take this much.
const GOAL_ALL: f64 = 1.2;
/// And this share of it after one branch moved.
const GOAL_MOVED: f64 = 1.0 / 20.0;

pub(crate) fn run(place: &Place, size: Size, table: &mut Table) -> Res<()> {
    let files = size.of(50_000, 10_000);
    let all: Vec<_> = (0..WORKERS).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    let of = |live: &[CommitId]| all.iter().map(|(a, b)| (live[*a].clone(), live[*b].clone())).collect::<Vec<_>>();
    // A repository of its own for every turn: whoever comes second would find all trees written.
    let new = || -> Res<(Scene, PathBuf, Repo)> {
        let scene = place.scene(place.disk())?;
        let path = bare(place, &scene, files)?;
        let repo = scene.open(&path)?;
        Ok((scene, path, repo))
    };
    let mut again = Sample::default();
    let ours = |turn: usize| {
        let (_, _, repo) = new()?;
        let mut live = live(&repo)?;
        let took = all_pairs(&repo, &of(&live))?;
        live[turn] = moved(&repo, &live[turn])?;
        again.add(all_pairs(&repo, &of(&live))?);
        Ok(took)
    };
    let theirs = |_| {
        let (scene, path, repo) = new()?;
        batch(&scene, &path, &of(&live(&repo)?))
    };
    let (ours, theirs) = in_turns(size.of(5, 3), ours, theirs)?;
    let against = ratio(&ours, &theirs);
    table.add(Line {
        what: format!("all pairs of {WORKERS} live branches ({} pairs, {files} files)", all.len()),
        ours: ours.shown(),
        git: format!("one `merge-tree --stdin` batch {}", theirs.shown()),
        result: format!("{against:.2}x"),
        goal: "≤ 1.2x",
        reached: Some(against <= GOAL_ALL),
    });
    let against = ratio(&again, &theirs);
    table.add(Line {
        what: "the same after one branch moved".to_owned(),
        ours: again.shown(),
        git: format!("the whole batch again {}", theirs.shown()),
        result: format!("1/{:.1}", 1.0 / against),
        goal: "≤ 1/20",
        reached: Some(against <= GOAL_MOVED),
    });
    Ok(())
}

/// Where the branches of the workers are.
fn live(repo: &Repo) -> Res<Vec<CommitId>> {
    (0..WORKERS).map(|n| commit(repo, &format!("refs/heads/worker/{n:02}"))).collect()
}

/// Another commit on a branch.
fn moved(repo: &Repo, from: &CommitId) -> Res<CommitId> {
    let who = repo.identity();
    Ok(repo.commit(&CommitSpec {
        tree: repo.tree_of(from)?,
        parents: vec![from.clone()],
        message: "moved\n".to_owned(),
        author: who.clone(),
        committer: who,
        time_s: 1_767_323_047,
    })?)
}

fn all_pairs(repo: &Repo, pairs: &[(CommitId, CommitId)]) -> Res<Duration> {
    let (took, merged) = timed(|| Ok(repo.merge_pairs(pairs)?))?;
    if merged.len() != pairs.len() || merged.iter().any(|m| !matches!(m, Merged::Clean { .. })) {
        return Err("disjoint branches conflict".into());
    }
    Ok(took)
}

fn batch(scene: &Scene, path: &Path, pairs: &[(CommitId, CommitId)]) -> Res<Duration> {
    let input: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let mut command = scene.command("git", path, &["merge-tree", "--write-tree", "--stdin"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (took, output) = timed(|| {
        let mut child = command.spawn()?;
        // git answers while it reads from 2.49 on: the input is written beside the reading.
        let mut pipe = child.stdin.take().ok_or("git has no input")?;
        Ok(std::thread::scope(|scope| {
            scope.spawn(move || pipe.write_all(input.as_bytes()));
            child.wait_with_output()
        })?)
    })?;
    if output.status.success() { Ok(took) } else { Err(format!("git merge-tree: {}", output.status).into()) }
}
