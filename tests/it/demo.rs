//! The demo: the first thing that anybody runs.

use std::time::{Duration, Instant};

use crate::env::{TestEnv, at_once};

/// What is promised of it, once it is built; it takes about two seconds.
const TIME_MAX: Duration = Duration::from_secs(30);

#[test]
fn the_demo_shows_parallel_workers_a_mended_conflict_and_landings() {
    let env = TestEnv::new();
    let begun = Instant::now();
    let demo = env.wattle(env.root(), &["demo", "--json"]).ok();
    assert!(begun.elapsed() < TIME_MAX, "{:?}", begun.elapsed());
    let events = demo.events();
    assert!(at_once(&events) >= 3, "{} workers at once", at_once(&events));
    let ejected: Vec<_> =
        events.iter().filter(|event| event["type"] == "ejected").map(|event| &event["step"]).collect();
    assert_eq!(ejected, ["invoice"]);
    let landed: Vec<_> = events.iter().filter(|event| event["type"] == "landed").collect();
    let steps: Vec<_> = landed.iter().map(|event| event["step"].as_str().unwrap()).collect();
    let group: Vec<_> = steps.iter().copied().filter(|step| !["rename", "invoice"].contains(step)).collect();
    assert_eq!(group, ["docs", "manual-invoice", "manual-report"], "{steps:?}");
    assert!(steps.iter().position(|step| *step == "rename") < steps.iter().position(|step| *step == "invoice"));
    let amended: Vec<_> = events.iter().filter(|event| event["type"] == "plan_amended").collect();
    assert_eq!((amended.len(), &amended[0]["step"]), (1, &"docs".into()));
    assert!(landed.iter().all(|event| event["verified"] == true));
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["exit"], &last["total"]), (&"run_finished".into(), &0.into(), &6.into()));
    assert!(std::fs::read_dir(env.root().join("tmp")).unwrap().next().is_none(), "nothing is left behind");
}

#[test]
fn a_kept_demo_can_be_looked_at() {
    let env = TestEnv::new();
    let shown = env.wattle(env.root(), &["demo", "--keep"]).ok();
    assert!(shown.out.contains("Land invoice: Add an invoice command"), "{}", shown.out);
    assert!(shown.err.contains("what to try next"), "{}", shown.err);
    assert!(shown.err.contains("draft 1 was sent back to the lead:"), "{}", shown.err);
    assert!(shown.err.contains("may change the same files as `invoice` (`README.md`)"), "{}", shown.err);
    assert!(shown.err.contains("docs: split; 2 new steps: manual-invoice, manual-report"), "{}", shown.err);
    let folder = std::fs::read_dir(env.root().join("tmp")).unwrap().next().unwrap().unwrap().path();
    let (repo, state) = (folder.join("orders"), folder.join("state"));
    let wattle = |args: &[&str]| {
        let at = ["-C", repo.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
        env.wattle(env.root(), &[&at, args].concat())
    };
    let log = wattle(&["log", "invoice"]).ok();
    assert!(log.out.contains("The merge queue sent your change back"), "{}", log.out);
    assert!(log.out.contains("The function has a new name on the branch"), "{}", log.out);
    let cost = wattle(&["cost", "--by", "model", "--json"]).ok().json();
    assert!(cost["total"]["requests"].as_u64().unwrap() >= 10);
    assert!(cost["total"]["usd"].is_null(), "money that is not known is null");
    let cleaned = wattle(&["clean"]).ok();
    assert_eq!(env.git(&repo, &["worktree", "list"]).lines().count(), 1);
    let left = env.git(&repo, &["for-each-ref", "--format=%(refname)"]);
    let unexplained = |name: &&str| *name != "refs/heads/main" && !cleaned.out.contains(*name);
    assert_eq!(left.lines().find(unexplained), None, "{}", cleaned.out);
    env.git(&repo, &["fsck", "--strict"]);
}
