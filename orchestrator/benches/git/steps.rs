//! The whole path: 32 independent write steps by `wattle run`, beside a shell script that does the same with
//! `git worktree add`, commit, merge and `worktree remove`, both four at a time with the target checked out.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::machine::filesystem;
use crate::measure::{Sample, in_turns, ratio, timed};
use crate::place::{Place, Scene, finish};
use crate::repository::{checkout, path_of, settle};
use crate::table::{Line, Table};
use crate::{Res, Size};

/// Steps of the run.
const STEPS: usize = 32;
/// Files that each step changes; nobody else does.
const STEP_FILES: usize = 5;
/// At one time, here and there.
const JOBS: &str = "4";
/// The share of the script's time on a disk.
const GOAL_DISK: f64 = 1.0 / 20.0;
/// And in memory.
const GOAL_MEMORY: f64 = 1.0 / 2.0;

/// On the file system of cargo's target folder.
pub(crate) fn on_disk(place: &Place, size: Size, table: &mut Table) -> Res<()> {
    // The script alone takes minutes on the full tree: once tells enough.
    one_kind(place, place.disk(), size.of((50_000, 1), (2_000, 1)), (GOAL_DISK, "≤ 1/20 (ext4)"), table)
}

/// On tmpfs.
pub(crate) fn in_memory(place: &Place, size: Size, table: &mut Table) -> Res<()> {
    let memory = place.memory()?;
    one_kind(place, memory.path(), size.of((20_000, 3), (2_000, 2)), (GOAL_MEMORY, "≤ 1/2 (tmpfs)"), table)
}

fn one_kind(
    place: &Place,
    parent: &Path,
    (files, turns): (usize, usize),
    goal: (f64, &'static str),
    table: &mut Table,
) -> Res<()> {
    let mut again = Sample::default();
    // Every turn has a repository of its own; the second run of the same turn finds the slots of the first.
    let mine = |_| {
        let scene = place.scene(parent)?;
        let path = checkout(place, &scene, files)?;
        let first = ours(&scene, &path, "first")?;
        again.add(ours(&scene, &path, "again")?);
        Ok(first)
    };
    let theirs = |_| {
        let scene = place.scene(parent)?;
        let path = checkout(place, &scene, files)?;
        script(&scene, &path)
    };
    let (first, theirs) = in_turns(turns, mine, theirs)?;
    let gits = count(place, parent, files)?;
    let kind = filesystem(parent);
    for (how, ours) in [("no slot yet", &first), ("slots from the run before", &again)] {
        let ratio = ratio(ours, &theirs);
        table.add(Line {
            what: format!(
                "{STEPS} write steps of {STEP_FILES} files, {JOBS} jobs, check `true`, {files} files, {kind}; {how}"
            ),
            ours: ours.shown(),
            git: format!("shell script {}", theirs.shown()),
            result: format!("1/{:.1}", 1.0 / ratio),
            goal: goal.1,
            reached: Some(ratio <= goal.0),
        });
    }
    table.add(Line {
        what: format!("git processes of that run for each step, {kind}"),
        ours: format!("{:.1}", gits as f64 / STEPS as f64),
        git: String::new(),
        result: String::new(),
        goal: "",
        reached: None,
    });
    Ok(())
}

/// The files that a step changes.
fn files_of(step: usize) -> Vec<String> {
    (0..STEP_FILES).map(|n| path_of(step * STEP_FILES + n)).collect()
}

fn plan(mark: &str) -> Res<String> {
    let mut plan = "version: 1\ntask: thirty-two steps\nchecks:\n  - name: ok\n    run: 'true'\nsteps:\n".to_owned();
    for step in 0..STEPS {
        let files = files_of(step);
        writeln!(plan, "  - id: s{step:02}\n    touches: [{}]", files.join(", "))?;
        writeln!(plan, "    run: for f in {}; do echo {mark} >> $f; done", files.join(" "))?;
    }
    Ok(plan)
}

/// One run of the program that was built with this bench.
fn ours(scene: &Scene, path: &Path, mark: &str) -> Res<Duration> {
    let command = wattle(scene, path, mark)?;
    measured(scene, path, command)
}

fn wattle(scene: &Scene, path: &Path, mark: &str) -> Res<std::process::Command> {
    let file = scene.root().join("plan.yaml");
    fs::write(&file, plan(mark)?)?;
    let arguments = ["run", "--jobs", JOBS, "--approve", "auto", "--json", "-f"];
    let mut command = scene.command(env!("CARGO_BIN_EXE_wattle"), path, &arguments);
    command.arg(file);
    Ok(command)
}

fn measured(scene: &Scene, path: &Path, mut command: std::process::Command) -> Res<Duration> {
    let before = landed(scene, path)?;
    settle(path);
    let (took, _) = timed(|| finish(&mut command))?;
    let landed = landed(scene, path)? - before;
    if landed != STEPS {
        return Err(format!("{landed} of {STEPS} steps landed").into());
    }
    Ok(took)
}

/// Processes of git that a whole run starts, in a repository of its own.
fn count(place: &Place, parent: &Path, files: usize) -> Res<usize> {
    let scene = place.scene(parent)?;
    let path = checkout(place, &scene, files.min(2_000))?;
    let (search, count) = scene.counted()?;
    let mut command = wattle(&scene, &path, "counted")?;
    command.env("PATH", search);
    measured(&scene, &path, command)?;
    Ok(count.take()?.len())
}

fn landed(scene: &Scene, path: &Path) -> Res<usize> {
    Ok(scene.git(path, &["rev-list", "--count", "--first-parent", "main"])?.parse()?)
}

/// One step as a script does it. `worktree add` is tried again until it works, the merges take turns.
const SCRIPT: &str = r#"set -e
step=$1; shift
to=../trees/$step
until git worktree add -q --detach "$to" main 2>/dev/null; do :; done
for f in "$@"; do echo script >> "$to/$f"; done
git -C "$to" commit -q -a -m "step $step"
true
made=$(git -C "$to" rev-parse HEAD)
flock ../merging git merge -q --no-ff -m "Land $step" "$made"
git worktree remove --force "$to"
"#;

fn script(scene: &Scene, path: &Path) -> Res<Duration> {
    let step = scene.root().join("step.sh");
    fs::write(&step, SCRIPT)?;
    let mut list = String::new();
    for n in 0..STEPS {
        writeln!(list, "{n} {}", files_of(n).join(" "))?;
    }
    let steps = scene.root().join("steps");
    fs::write(&steps, list)?;
    let line = format!("xargs -P {JOBS} -L 1 sh {} < {}", step.display(), steps.display());
    measured(scene, path, scene.command("sh", path, &["-c", &line]))
}
