//! What a slot costs: a recycled one, brought to another commit and proved, and a new one that is an overlay mount, beside
//! a fresh `git worktree add`.

use std::time::Duration;

use wattle_workspace::{BackEnd, Class, CommitId, Pool, PoolOptions, Repo, Want, overlay};

use crate::machine::filesystem;
use crate::measure::{in_turns, ratio, timed};
use crate::place::{Place, Scene};
use crate::repository::{DRIFT, bare, settle};
use crate::table::{Line, Table};
use crate::{Res, Size};

/// A recycled slot may take this share of a fresh worktree.
const GOAL: f64 = 1.0 / 8.0;

/// Both sizes of repository.
pub(crate) fn run(place: &Place, size: Size, table: &mut Table) -> Res<()> {
    for files in size.of(&[50_000, 100_000][..], &[10_000][..]) {
        recycled(place, size, *files, table)?;
        mounted(place, size, *files, table)?;
    }
    Ok(())
}

/// Fresh slots over a template beside fresh worktrees. In this bench's own process, which stays where it can mount.
fn mounted(place: &Place, size: Size, files: usize, table: &mut Table) -> Res<()> {
    let scene = place.scene(place.disk())?;
    let path = bare(place, &scene, files)?;
    let repo = scene.open(&path)?;
    let kind = filesystem(scene.root());
    let what = format!("make a slot as an overlay mount, proof included, {files} files, {kind}");
    if let Err(refused) = overlay::enter(repo.state_dir(), || Ok(())) {
        table.say(&format!("{what}: refused: {refused}"));
        return Ok(());
    }
    let pool = Pool::open(&repo, PoolOptions { back_end: BackEnd::Overlay, ..PoolOptions::default() })?;
    let base = commit(&repo, "refs/heads/main")?;
    repo.configure(&base)?;
    // The first slot makes the template, too.
    let (first, _kept) = timed(|| Ok(pool.lease(&want(&base, "first"))?))?;
    settle(&path);
    let ours = |turn: usize| -> Res<Duration> {
        // All of them are held at once, so each is a new one.
        Ok(timed(|| Ok(pool.lease(&want(&base, &format!("turn/{turn}")))?))?.0)
    };
    let theirs = |turn: usize| -> Res<Duration> {
        let took = fresh(&scene, &path, turn)?;
        settle(&path);
        Ok(took)
    };
    let (ours, theirs) = in_turns(size.of(5, 3), ours, theirs)?;
    table.add(Line {
        what,
        ours: ours.shown(),
        git: format!("`worktree add` {}", theirs.shown()),
        result: format!(
            "1/{:.1}; the first, with its template, {}",
            1.0 / ratio(&ours, &theirs),
            crate::measure::time(first)
        ),
        goal: "",
        reached: None,
    });
    Ok(())
}

fn recycled(place: &Place, size: Size, files: usize, table: &mut Table) -> Res<()> {
    let scene = place.scene(place.disk())?;
    let path = bare(place, &scene, files)?;
    let repo = scene.open(&path)?;
    let pool = Pool::open(&repo, PoolOptions::default())?;
    let bases = [commit(&repo, "refs/heads/main")?, commit(&repo, "refs/heads/drift")?];
    repo.configure(&bases[0])?;
    // The first lease makes the slot; what is measured are its second life and those after.
    let (first, lease) = timed(|| Ok(pool.lease(&want(&bases[0], "first"))?))?;
    pool.release(lease)?;
    settle(&path);
    let mut released = crate::measure::Sample::default();
    let ours = |turn: usize| -> Res<Duration> {
        let want = want(&bases[(turn + 1) % 2], &format!("turn/{turn}"));
        let (took, lease) = timed(|| Ok(pool.lease(&want)?))?;
        released.add(timed(|| Ok(pool.release(lease)?))?.0);
        Ok(took)
    };
    let theirs = |turn: usize| -> Res<Duration> {
        let took = fresh(&scene, &path, turn)?;
        settle(&path);
        Ok(took)
    };
    let (ours, theirs) = in_turns(size.of(5, 3), ours, theirs)?;
    let ratio = ratio(&ours, &theirs);
    let kind = filesystem(scene.root());
    table.add(Line {
        what: format!("acquire a recycled slot, {DRIFT} files of drift, {files} files, {kind}"),
        ours: ours.shown(),
        git: format!("`worktree add` {}", theirs.shown()),
        result: format!("1/{:.1}", 1.0 / ratio),
        goal: "≤ 1/8",
        reached: Some(ratio <= GOAL),
    });
    table.add(Line {
        what: format!("the same slot given back; its first making, {files} files"),
        ours: format!("{}; {}", released.shown(), crate::measure::time(first)),
        git: String::new(),
        result: String::new(),
        goal: "",
        reached: None,
    });
    Ok(())
}

fn fresh(scene: &Scene, path: &std::path::Path, turn: usize) -> Res<Duration> {
    let to = scene.root().join("fresh").join(turn.to_string());
    let to = to.to_str().ok_or("the scratch folder's name is no text")?;
    Ok(timed(|| scene.git(path, &["worktree", "add", "-q", "--detach", to, "main"]))?.0)
}

/// A slot for work on a commit.
pub(crate) fn want(base: &CommitId, holder: &str) -> Want {
    Want { class: Class::Work, base: base.clone(), holder: holder.to_owned(), setup_key: None }
}

/// Where a ref is.
pub(crate) fn commit(repo: &Repo, name: &str) -> Res<CommitId> {
    Ok(repo.read_ref(name)?.ok_or_else(|| format!("{name} is missing"))?)
}
