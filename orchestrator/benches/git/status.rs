//! How long `wattle status` takes while a run of a thousand steps goes on, on a small and on a large repository.

use std::fmt::Write as _;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Sample, timed};
use crate::place::{Place, finish};
use crate::repository::checkout;
use crate::table::{Line, Table};
use crate::{Res, Size};

/// Steps of the run.
const STEPS: usize = 1_000;
/// Milliseconds that a status may take.
const GOAL_MS: f64 = 15.0;
/// A run of a thousand steps has begun within this time, or does not at all.
const BEGIN_MAX: Duration = Duration::from_secs(60);
/// Between two questions whether it has.
const BEGIN_PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn run(place: &Place, size: Size, table: &mut Table) -> Res<()> {
    for files in [2_000, size.of(50_000, 10_000)] {
        let status = during_a_run(place, files, size.of(60, 20))?;
        table.add(Line {
            what: format!("`wattle status` during a run of {STEPS} steps, {files} files"),
            ours: status.shown(),
            git: String::new(),
            result: format!("{:.1} ms", status.median_ms()),
            goal: "≤ 15 ms",
            reached: Some(status.median_ms() <= GOAL_MS),
        });
    }
    Ok(())
}

/// A run that is ended when it goes out of sight.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn during_a_run(place: &Place, files: usize, times: usize) -> Res<Sample> {
    let scene = place.scene(place.disk())?;
    let path = checkout(place, &scene, files)?;
    let file = scene.root().join("plan.yaml");
    fs::write(&file, plan()?)?;
    let program = env!("CARGO_BIN_EXE_wattle");
    let mut run = scene.command(program, &path, &["run", "--jobs", "4", "--json", "-f"]);
    run.arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let _running = Running(run.spawn()?);
    let status = || scene.command(program, &path, &["status"]);
    await_start(status)?;
    let mut sample = Sample::default();
    for _ in 0..times {
        sample.add(timed(|| finish(&mut status()))?.0);
    }
    Ok(sample)
}

/// Steps that take their time, so that the run is still going on after the last status.
fn plan() -> Res<String> {
    let mut plan = "version: 1\ntask: a thousand steps\nchecks: []\nsteps:\n".to_owned();
    for step in 0..STEPS {
        writeln!(plan, "  - id: s{step:04}\n    mode: read\n    run: sleep 1")?;
    }
    Ok(plan)
}

fn await_start(status: impl Fn() -> Command) -> Res<()> {
    let begun = Instant::now();
    loop {
        let said = finish(&mut status());
        match said {
            Ok(text) if text.contains("running") => return Ok(()),
            Ok(_) | Err(_) if begun.elapsed() < BEGIN_MAX => thread::sleep(BEGIN_PAUSE),
            Ok(text) => return Err(format!("the run has not begun:\n{text}").into()),
            Err(error) => return Err(error),
        }
    }
}
