//! A run whose plan is made by a program, and the way to change it.

use std::path::Path;
use std::sync::Arc;

use wattle_planner::{At, Check, Glob, GroupId, Mode, Step, StepId, Work as PlanWork, plan_of_steps};
use wattle_workspace::CommitId;

use crate::clock::SystemClock;
use crate::ids::{Blob, RunId};
use crate::journal::event::{Base, Body, RunStarted};
use crate::journal::store::event;
use crate::journal::{Recorder, RunView, Writer};
use crate::options::{Approve, OnInput, RunOptions, Until};
use crate::state::run::RunEvent;

/// Steps per folder: so many on average fight for one.
const STEPS_PER_FOLDER: usize = 20;
/// One step in so many touches everything.
const BARRIER: usize = 1_000;
/// One step in so many begins a group, of this many members.
const GROUP: (usize, usize) = (40, 3);
/// A need is at most so far back.
const NEED_BACK: usize = 200;

/// A number that looks random, by a seed and a number: the same on every machine.
pub(super) fn roll(seed: u64, number: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A commit that nobody has made.
pub(super) fn commit(number: u64) -> CommitId {
    format!("{number:040x}").parse().expect("forty digits are an id")
}

/// Steps that touch folders, files in folders, two folders, or everything; some read, some need others, some land together.
pub(super) fn steps(count: usize) -> Vec<Step> {
    let folders = (count / STEPS_PER_FOLDER).max(1) as u64;
    let id = |i: usize| format!("s{i}").parse::<StepId>().expect("an id");
    let step = |i: usize| {
        let dice = |seed| roll(seed, i as u64);
        let folder = |seed| dice(seed) % folders;
        let touches = match dice(1) % 20 {
            _ if i % BARRIER == BARRIER - 1 => vec!["**".to_owned()],
            0 => Vec::new(),
            1..=11 => vec![format!("pkg/{}/**", folder(2))],
            12..=15 => vec![format!("pkg/{}/src/*.rs", folder(2)), format!("pkg/{}/**", folder(3))],
            _ => vec![format!("pkg/{}/src/f{i}.rs", folder(2))],
        };
        let back = 1 + dice(4) as usize % NEED_BACK;
        let need = (dice(5) % 5 == 0).then(|| i.checked_sub(back)).flatten();
        let grouped = i % GROUP.0 < GROUP.1 && !touches.is_empty();
        let glob = |text: &String| Glob::parse(text).expect("a pattern");
        Step {
            id: id(i),
            title: id(i).to_string(),
            group: grouped.then(|| format!("g{}", i / GROUP.0).parse::<GroupId>().expect("an id")),
            needs: need.map(id).into_iter().collect(),
            mode: if touches.is_empty() { Mode::Read } else { Mode::Write },
            touches: touches.iter().map(glob).collect(),
            touches_given: true,
            work: PlanWork::Run { command: "true".to_owned() },
            expect_none: false,
            check: None,
            repair: None,
            tools: None,
            env: Default::default(),
            ok_exit: vec![0],
            retries: 1,
            timeout_ms: 1,
            idle_ms: None,
            line: 1,
        }
    };
    (0..count).map(step).collect()
}

/// A check of a plan, that nobody runs.
pub(super) fn check(at: At) -> Check {
    let (name, run) = (format!("{at:?}").to_lowercase(), "true".to_owned());
    Check { name, run, at, paths: Vec::new(), timeout_ms: 1, env: Default::default() }
}

/// A run of these steps that has begun, with so many workers and check slots at once. Its journal is in `folder`.
pub(super) fn begin(
    steps: Vec<Step>,
    checks: Vec<Check>,
    (jobs, slots): (u32, u32),
    folder: &Path,
) -> Result<Recorder, String> {
    let plan = plan_of_steps("a benchmark", steps, checks).ok_or("the steps have no order")?;
    let run = RunId::from_text("rbench");
    let blob = Blob(String::new());
    let started = RunStarted {
        name: "bench".to_owned(),
        task: "a benchmark".to_owned(),
        base: Base { commit: commit(1), upstream: None, ahead: 0, behind: 0, dirty: Vec::new() },
        target: "main".to_owned(),
        plan_name: "plan.yaml".to_owned(),
        plan: blob.clone(),
        files: Default::default(),
        brief: blob,
        options: options(jobs, slots),
        isolation: "none".to_owned(),
        pid: 1,
        by: "bench".to_owned(),
        planning: None,
        lead: None,
        prefix_ttl: Default::default(),
        instructions: None,
        agents: Default::default(),
    };
    let body = Body::RunStarted(Box::new(started.clone()));
    let view = RunView::begin(&event(1, 0, &run, body.clone()), &started, Arc::new(plan));
    let writer = Writer::open(folder).map_err(|error| error.to_string())?;
    let mut rec = Recorder::new(view, writer, Arc::new(SystemClock)).map_err(|error| error.to_string())?;
    rec.emit(body).and_then(|()| rec.run(RunEvent::Start, None)).map_err(|error| error.to_string())?;
    Ok(rec)
}

fn options(jobs: u32, checks: u32) -> RunOptions {
    RunOptions {
        name: None,
        target: None,
        base: None,
        jobs,
        checks,
        approve: Approve::Auto,
        until: Until::Landed,
        until_explicit: false,
        model: None,
        nano_usd_max: None,
        tokens_max: None,
        disk_bytes_max: None,
        clean_ignored: false,
        slots: Default::default(),
        on_input: OnInput::Wait,
    }
}
