//! The JSON that the contract documents: scripts rely on these keys.

use serde_json::{Value, json};

use super::{ONE, run};
use crate::env::{TestEnv, TestRepo};

/// Every key is there; more may be.
#[track_caller]
fn has(value: &Value, keys: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    let missing: Vec<_> = keys.iter().filter(|key| !object.contains_key(**key)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {value:#}");
}

const PLAN: &str = "\
version: 1
task: change
checks: [{ name: ok, run: 'true' }]
groups: { both: { land: together } }
steps:
  - { id: look, mode: read, run: cat a }
  - { id: one, group: both, needs: [look], touches: [a], run: echo 2 > a, check: { run: 'true' } }
  - { id: two, group: both, touches: [b], run: echo 2 > b }
";

fn landed(env: &TestEnv) -> TestRepo<'_> {
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    drop(run(env, &repo, PLAN, &["--json", "--approve", "auto", "--name", "the run"]).ok());
    repo
}

#[test]
fn events_are_newline_delimited_and_carry_the_documented_keys() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    let said = run(&env, &repo, PLAN, &["--json", "--approve", "auto"]).ok();
    assert_eq!(said.err, "", "with --json nothing is said but events");
    let events = said.events();
    for event in &events {
        has(event, &["v", "seq", "ts", "run", "type"]);
        assert_eq!(event["v"], 1);
    }
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    let of = |kind: &str| {
        let found = events.iter().find(|event| event["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {events:#?}"))
    };
    has(of("run_started"), &["base", "task", "target", "isolation"]);
    has(&of("run_started")["base"], &["commit", "upstream", "ahead", "behind", "dirty"]);
    has(of("step_state"), &["step", "state", "attempt", "terminal", "why"]);
    has(of("check_started"), &["check", "at"]);
    has(of("check_finished"), &["check", "at", "verdict", "cached"]);
    has(of("landed"), &["step", "group", "commit", "tree", "verified"]);
    assert_eq!(of("landed")["verified"], true);
    has(of("run_finished"), &["state", "total", "counts", "usd", "exit"]);
    assert_eq!(of("run_finished")["counts"], json!({ "landed": 2, "done": 1 }));
    assert_eq!((&of("run_finished")["exit"], &events.last().unwrap()["type"]), (&json!(0), &json!("run_finished")));

    let logged = repo.wattle(&["log", "--json"]).ok().events();
    assert_eq!(logged, events, "the log is the same events");
    let after = repo.wattle(&["log", "--json", "--after", &seqs[3].to_string()]).ok().events();
    assert_eq!(after, events[4..]);
}

#[test]
fn held_landings_and_ejections_carry_their_evidence() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    repo.write("a", "mine\n");
    let said = run(&env, &repo, ONE, &["--json", "--approve", "auto"]).code(4).events();
    let held = said.iter().find(|event| event["type"] == "landing_held").unwrap();
    assert_eq!((&held["paths"], &held["why"]), (&json!(["a"]), &json!("dirty")));
    repo.git(&["checkout", "--quiet", "a"]);

    let red = "version: 1\ntask: t\nchecks: [{ name: ones, run: 'grep -q 1 b' }]\ndefaults: { retries: 0 }\nsteps:\n  - { id: one, touches: [b], run: echo 2 > b }\n";
    let said = run(&env, &repo, red, &["--json", "--approve", "auto"]).code(1).events();
    let ejected = said.iter().find(|event| event["type"] == "ejected").unwrap();
    assert_eq!((&ejected["step"], &ejected["reason"]), (&json!("one"), &json!("red")));
    let last = said.last().unwrap();
    assert_eq!((&last["type"], &last["state"], &last["exit"]), (&json!("run_finished"), &json!("failed"), &json!(1)));
}

#[test]
fn status_has_the_documented_keys() {
    let env = TestEnv::new();
    let repo = landed(&env);
    let status = repo.wattle(&["status", "--json"]).ok().json();
    has(
        &status,
        &[
            "v",
            "run",
            "name",
            "state",
            "task",
            "target",
            "base",
            "tip",
            "isolation",
            "live",
            "steps",
            "queue",
            "usage",
            "usd",
        ],
    );
    assert_eq!((&status["v"], &status["name"], &status["live"]), (&json!(1), &json!("the run"), &Value::Null));
    assert_eq!(status["tip"], repo.git(&["rev-parse", "main"]));
    let steps = status["steps"].as_array().unwrap();
    let keys = [
        "id", "title", "group", "mode", "state", "terminal", "needs", "touches", "attempts", "branch", "commit",
        "worktree", "risk", "check", "approved", "usage", "usd", "why",
    ];
    steps.iter().for_each(|step| has(step, &keys));
    let one = &steps[1];
    assert_eq!((&one["group"], &one["state"], &one["terminal"]), (&json!("both"), &json!("landed"), &json!(true)));
    assert_eq!((&one["needs"], &one["touches"], &one["check"]), (&json!(["look"]), &json!(["a"]), &json!("green")));
    assert_eq!(repo.git(&["rev-parse", one["branch"].as_str().unwrap()]), one["commit"]);
}

#[test]
fn an_approval_is_in_the_status_until_it_lands() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    drop(run(&env, &repo, ONE, &[]).code(4));
    let given = repo.wattle(&["approve", "one", "--json"]).ok().json();
    has(&given, &["v", "run", "events"]);
    let one = repo.wattle(&["status", "--json"]).ok().json()["steps"][0].clone();
    has(&one["approved"], &["commit", "by", "at"]);
    assert_eq!((&one["approved"]["commit"], &one["approved"]["by"]), (&one["commit"], &json!("Tess Ter")));
}

#[test]
fn runs_review_cost_and_clean_are_versioned_objects() {
    let env = TestEnv::new();
    let repo = landed(&env);
    let runs = repo.wattle(&["runs", "--json"]).ok().json();
    assert_eq!(runs["v"], 1);
    has(&runs["runs"][0], &["run", "name", "state"]);
    let review = repo.wattle(&["review", "one", "--json"]).ok().json();
    has(&review, &["v", "run", "steps"]);
    has(&review["steps"][0], &["id", "commit", "risk", "diff", "evidence", "usd"]);
    let cost = repo.wattle(&["cost", "--json"]).ok().json();
    has(&cost, &["v", "rows", "hit_ratio"]);
    has(&cost["total"], &["uncached_in", "cache_read", "cache_write", "out", "usd", "exact"]);
    assert_eq!(cost["hit_ratio"], Value::Null, "nothing was asked");
    let clean = repo.wattle(&["clean", "--json", "--dry-run"]).ok().json();
    has(&clean, &["v", "freed", "kept", "dry_run"]);
}

#[test]
fn conflicts_have_the_documented_shape() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    repo.branch("x", "main", &[("a", "2\n")]);
    repo.branch("y", "main", &[("a", "3\n")]);
    let found = repo.wattle(&["conflicts", "main", "x", "y", "--json"]).ok().json();
    assert_eq!(found["v"], 1);
    let tree = repo.git(&["rev-parse", "x^{tree}"]);
    assert_eq!(found["pairs"][0], json!({ "a": "main", "b": "x", "clean": true, "tree": tree }));
    assert_eq!(found["pairs"][2], json!({ "a": "x", "b": "y", "clean": false, "paths": ["a"] }));
}

#[test]
fn every_error_is_one_object_on_stdout_with_its_exit_code() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let cases: [(&[&str], i32, &str); 6] = [
        (&["run", "-f", "gone.yaml"], 2, "file"),
        (&["run", "a"], 2, "usage"),
        (&["status"], 5, "no_run"),
        (&["run", "tidy"], 5, "no_model"),
        (&["--nope"], 2, "usage"),
        (&["publish"], 2, "usage"),
    ];
    for (args, code, kind) in cases {
        let mut all = args.to_vec();
        all.push("--json");
        let said = repo.wattle(&all).code(code);
        assert_eq!(said.err, "", "{args:?}");
        let json = said.json();
        assert_eq!((&json["v"], &json["error"]["code"]), (&json!(1), &json!(kind)), "{args:?}");
        has(&json["error"], &["code", "message", "hint", "at"]);
    }
    let plan = run(&env, &repo, "version: 1\ntask: t\ncolour: red\nsteps: [{ id: a, run: x }]\n", &["--json"]).code(3);
    assert_eq!(plan.json()["error"]["at"], json!({ "file": "stdin", "line": 3, "column": 1 }));
    assert_eq!(plan.err, "");
}
