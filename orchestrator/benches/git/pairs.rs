//! Which of the live branches conflict: all pairs of them, and again after one has moved.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use wattle_workspace::{CommitId, Merged, Repo};

use crate::measure::{in_turns, ratio, timed};
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
    let scene = place.scene(place.disk())?;
    let path = bare(place, &scene, files)?;
    let repo = scene.open(&path)?;
    repo.configure(&commit(&repo, "refs/heads/main")?)?;
    let live = (0..WORKERS).map(|n| commit(&repo, &format!("refs/heads/worker/{n:02}")));
    let live = live.collect::<Res<Vec<_>>>()?;
    let all: Vec<_> = (0..WORKERS).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    let pairs: Vec<_> = all.iter().map(|(a, b)| (live[*a].clone(), live[*b].clone())).collect();
    // A repository of its own for every turn: whoever comes second would find all trees written.
    let ours = |_| {
        let scene = place.scene(place.disk())?;
        let repo = scene.open(&bare(place, &scene, files)?)?;
        all_pairs(&repo, &pairs)
    };
    let theirs = |_| {
        let scene = place.scene(place.disk())?;
        let path = bare(place, &scene, files)?;
        batch(&scene, &path, &pairs)
    };
    let (ours, theirs) = in_turns(size.of(3, 1), ours, theirs)?;
    let against = ratio(&ours, &theirs);
    table.add(Line {
        what: format!("all pairs of {WORKERS} live branches ({} pairs, {files} files)", pairs.len()),
        ours: ours.shown(),
        git: format!("one `merge-tree --stdin` batch {}", theirs.shown()),
        result: format!("{against:.2}x"),
        goal: "≤ 1.2x",
        reached: Some(against <= GOAL_ALL),
    });
    let moved: Vec<_> = live[1..].iter().map(|other| (live[0].clone(), other.clone())).collect();
    let mut again = crate::measure::Sample::default();
    for _ in 0..size.of(5, 3) {
        again.add(all_pairs(&repo, &moved)?);
    }
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
