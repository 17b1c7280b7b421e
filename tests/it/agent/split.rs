//! A step that turns out too large: its worker says so, the lead makes steps of the rest, and the run goes on with them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MODEL, Service, file, of, run, script, sound, standing};
use crate::env::{TestEnv, TestRepo};

/// What its worker has done alone is red; with both parts it is not.
const CHECK: &str = "if test -e half; then test -s one.txt && test -s two.txt; fi";

const WORKERS: &str = r##"
  - match: { text: "Step: big", turn: 0 }
    blocks: [{ tool: Write, input: { file_path: half, content: "half\n" } }]
  - match: { text: "Step: big", turn: 1 }
    blocks:
      - tool: Report
        input:
          markdown: Half of it is there.
          split:
            - { title: One, prompt: Write one.txt., touches: [one.txt] }
            - { title: Two, prompt: Write two.txt., touches: [two.txt] }
  - match: { text: "Step: big", turn: 2 }
    blocks: [{ text: The rest is for others. }]
  - match: { text: "Step: one", turn: 0 }
    blocks: [{ tool: Write, input: { file_path: one.txt, content: "one\n" } }]
  - match: { text: "Step: one" }
    blocks: [{ text: One is there. }]
  - match: { text: "Step: two", turn: 0 }
    blocks: [{ tool: Write, input: { file_path: two.txt, content: "two\n" } }]
  - match: { text: "Step: two" }
    blocks: [{ text: Two is there. }]
"##;

/// The lead's answer to the split, when it has said so much before: parts that reach too far, then good ones.
fn parts(said: usize) -> String {
    format!(
        r##"
  - match: {{ role: lead, text: "Step `big` has to be split", turn: {said} }}
    blocks: [{{ tool: SubmitPlan, input: {{ steps: [{{ id: one, touches: ["**"], agent: {{ prompt: all }} }}] }} }}]
  - match: {{ role: lead, turn: {next}, tool_result: "is not within what `big` touches" }}
    blocks:
      - tool: SubmitPlan
        input:
          steps:
            - {{ id: one, touches: [one.txt], agent: {{ prompt: Write one.txt. }} }}
            - {{ id: two, touches: [two.txt], agent: {{ prompt: Write two.txt. }} }}
"##,
        next = said + 1
    )
}

const PLAN: &str = r#"
version: 1
task: Write both
checks: [{ name: whole, run: CHECK }]
defaults: { retries: 0 }
steps:
  - id: big
    touches: [half, "*.txt"]
    agent: { prompt: Write everything. }
    check: { run: test -s one.txt }
  - { id: user, mode: read, needs: [big], run: cat one.txt two.txt }
"#;

fn plan() -> String {
    PLAN.replace("CHECK", &format!("\"{CHECK}\""))
}

/// What must be true of a run whose step was split.
fn split(repo: &TestRepo<'_>, events: &[Value]) {
    let amended = of(events, "plan_amended");
    assert_eq!(amended.len(), 1);
    assert_eq!((&amended[0]["revision"], &amended[0]["step"]), (&1.into(), &"big".into()));
    assert_eq!(amended[0]["steps"], serde_json::json!(["one", "two", "big-check"]));
    landed(repo);
}

fn landed(repo: &TestRepo<'_>) {
    assert_eq!(repo.git(&["show", "main:one.txt"]), "one");
    assert_eq!(repo.git(&["show", "main:two.txt"]), "two");
    assert_eq!(repo.git(&["show", "main:half"]), "half");
    let status = repo.wattle(&["status", "--json"]).json();
    let ids: Vec<&str> = status["steps"].as_array().unwrap().iter().map(|step| step["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["big", "user", "one", "two", "big-check"]);
    for (step, state) in
        [("big", "landed"), ("one", "landed"), ("two", "landed"), ("user", "done"), ("big-check", "done")]
    {
        assert_eq!(standing(repo, step).0, state, "{step}");
    }
    let log = repo.wattle(&["log", "user"]).ok();
    assert!(log.out.contains("  one\n  two\n"), "what needed it has waited for its parts: {}", log.out);
}

#[test]
fn a_step_is_split_by_the_lead_that_planned_it() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    repo.commit("checks", &[(".wattle/config.yaml", &format!("checks: [{{ name: whole, run: \"{CHECK}\" }}]\n"))]);
    drop(repo.wattle(&["trust"]).ok());
    let planned = r##"
version: 1
replies:
  - match: { role: lead, turn: 0 }
    blocks:
      - tool: SubmitPlan
        input:
          steps:
            - id: big
              touches: [half, "*.txt"]
              agent: { prompt: Write everything. }
              check: { run: test -s one.txt }
            - { id: user, mode: read, needs: [big], run: cat one.txt two.txt }
"##;
    let model = script(&env, &format!("{planned}{}{WORKERS}", parts(1)));
    let run = repo.wattle(&["run", "Write both", "--model", &model, "--yes", "--approve", "auto", "--json"]);
    let events = run.ok().events();
    split(&repo, &events);
    // The lead went on from its own conversation, and what that cost is in the run.
    let lead = of(&events, "usage").into_iter().filter(|event| event["step"].is_null()).count();
    assert_eq!(lead, 3);
    assert!(of(&events, "landed").iter().all(|event| event["verified"] == true));
    assert!(of(&events, "ejected").is_empty(), "nobody tries the half alone");
    assert_eq!(repo.wattle(&["resume"]).code, 0);
    sound(&repo);
}

#[test]
fn a_plan_file_has_no_lead_and_a_step_is_split_all_the_same() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let model = script(&env, &format!("version: 1\nreplies:{}{WORKERS}", parts(0)));
    let events = run(&env, &repo, &plan(), &model, &["--approve", "auto"]).ok().events();
    split(&repo, &events);
    // What is cleaned leaves what the run is read from: the amended plan, too.
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(standing(&repo, "two").0, "landed");
    assert_eq!(repo.wattle(&["resume"]).code, 0);
    sound(&repo);
}

#[test]
fn a_step_that_nobody_can_split_says_so() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let silent = r#"
  - match: { role: lead }
    blocks: [{ text: I see no parts. }]
"#;
    let model = script(&env, &format!("version: 1\nreplies:{silent}{WORKERS}"));
    let events = run(&env, &repo, &plan(), &model, &["--approve", "auto"]).code(1).events();
    assert!(of(&events, "plan_amended").is_empty());
    let failed = events
        .iter()
        .find(|event| event["type"] == "step_state" && event["step"] == "big" && event["state"] == "failed")
        .unwrap();
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("it has to be split, and the lead made no steps of it"), "{message}");
    assert_eq!(standing(&repo, "user").0, "blocked");
    sound(&repo);
}

#[test]
fn a_part_is_not_split_again() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let greedy = r##"
  - match: { text: "Step: one", turn: 0 }
    blocks: [{ tool: Report, input: { markdown: m, split: [{ title: t, prompt: p, touches: [one.txt] }] } }]
  - match: { text: "Step: one", turn: 1, tool_result: "the step is not split: it is itself a part" }
    blocks: [{ tool: Write, input: { file_path: one.txt, content: "one\n" } }]
"##;
    let model = script(&env, &format!("version: 1\nreplies:{}{greedy}{WORKERS}", parts(0)));
    let events = run(&env, &repo, &plan(), &model, &["--approve", "auto"]).ok().events();
    assert_eq!(of(&events, "bound_hit").iter().filter(|event| event["bound"] == "splits").count(), 1);
    split(&repo, &events);
}

#[test]
fn killed_between_the_question_and_the_new_steps_a_run_reaches_the_same_end() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, &format!("version: 1\nreplies:{}{WORKERS}", parts(0)));
    let plan = file(&env, "plan.yaml", &plan());
    let args = ["run", "-f", &plan, "--model", MODEL, "--approve", "auto", "--json"];
    let whole = env.repo("whole", &[("a.txt", "a\n")]);
    let events = whole.spawn(&args).end().ok().events();
    split(&whole, &events);
    let tree = whole.git(&["rev-parse", "main^{tree}"]);
    let asked = events.iter().position(|event| event["type"] == "split_asked").unwrap();
    let taken = events.iter().position(|event| event["type"] == "plan_amended").unwrap();
    let places: BTreeSet<usize> = (asked..taken + 8).step_by(2).chain([taken, taken + 1]).collect();
    for place in places {
        let repo = env.repo(&format!("r{place}"), &[("a.txt", "a\n")]);
        let mut live = repo.spawn(&args);
        assert!(live.read(place + 1), "event {place}");
        assert!(live.kill(), "event {place}");
        let end = repo.wattle(&["resume", "--json"]);
        assert_eq!(end.code, 0, "killed at {place}: {}\n{}", end.out, end.err);
        assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), tree, "killed at event {place}");
        let all = repo.wattle(&["log", "--json"]).ok().events();
        split(&repo, &all);
        sound(&repo);
    }
    service.stop();
}
