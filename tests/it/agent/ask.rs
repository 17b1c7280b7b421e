//! A worker's question, and every way in which it is answered.

use super::{MODEL, Service, file, of, run, script, sound, standing};
use crate::env::TestEnv;

const SCRIPT: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Ask, input: { question: Which colour?, options: [red, blue] } }]
  - match: { turn: 1, tool_result: blue }
    blocks: [{ tool: Write, input: { file_path: colour.txt, content: "blue\n" } }]
  - match: { turn: 1, tool_result: nobody will answer }
    blocks: [{ tool: Write, input: { file_path: colour.txt, content: "grey\n" } }]
  - match: { turn: 2 }
    blocks: [{ text: Painted. }]
"##;

const PLAN: &str = r#"
version: 1
task: Paint
checks: []
steps:
  - { id: paint, touches: [colour.txt], agent: { prompt: Paint. } }
"#;

#[test]
fn an_answer_from_a_second_terminal_reaches_the_worker_at_once() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let model = script(&env, SCRIPT);
    // Another step keeps the run alive while the question is open.
    let go = env.root().join("go");
    let plan = format!(
        "{PLAN}  - {{ id: long, touches: [long.txt], run: \"until test -e {go}; do sleep 0.05; done; touch long.txt\" }}\n",
        go = go.display()
    );
    let plan = file(&env, "plan.yaml", &plan);
    let mut live = repo.spawn(&["run", "-f", &plan, "--model", &model, "--approve", "auto", "--json"]);
    let asked = live.wait_for(|event| event["type"] == "needs_input");
    assert_eq!((&asked["step"], &asked["question"]), (&"paint".into(), &"Which colour?".into()));
    assert_eq!(asked["options"], serde_json::json!(["red", "blue"]));
    assert_eq!(asked["kind"], "question");
    live.wait_for(|event| event["type"] == "step_state" && event["state"] == "needs_input");
    assert_eq!(standing(&repo, "paint").0, "needs_input");
    let given = repo.wattle(&["answer", "paint", "-m", "blue"]).ok();
    assert!(given.err.contains("picked up by run"), "{}", given.err);
    let answered = live.wait_for(|event| event["type"] == "answered");
    assert_eq!((&answered["text"], &answered["by"]), (&"blue".into(), &"Tess Ter".into()));
    live.wait_for(|event| event["type"] == "landed" && event["step"] == "paint");
    let twice = repo.wattle(&["answer", "paint", "-m", "red"]).code(2);
    assert!(twice.err.contains("has no open question"), "{}", twice.err);
    std::fs::write(&go, "").unwrap();
    drop(live.end().ok());
    assert_eq!(repo.read("colour.txt"), "blue\n");
    sound(&repo);
}

#[test]
fn a_run_with_nothing_but_questions_ends_and_goes_on_after_the_answer() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, SCRIPT);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let events = run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).code(4).events();
    assert_eq!(events.last().unwrap()["state"], "needs_input");
    let status = repo.wattle(&["status"]).code(0);
    assert!(status.out.contains("Which colour?"), "{}", status.out);
    // Without an answer there is nothing to go on with, and nothing is paid for.
    drop(repo.wattle(&["resume"]).code(4));
    assert_eq!(service.requests().len(), 1);
    let given = repo.wattle(&["answer", "paint", "-m", "blue"]).ok();
    assert!(given.whole().contains("wattle resume"), "{}", given.whole());
    drop(repo.wattle(&["resume"]).ok());
    assert_eq!(service.requests().len(), 3, "no turn is asked for twice");
    assert_eq!(repo.read("colour.txt"), "blue\n");
    sound(&repo);
    service.stop();
}

#[test]
fn a_run_may_deny_questions_or_fail_on_them() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let model = script(&env, SCRIPT);
    let events = run(&env, &repo, PLAN, &model, &["--approve", "auto", "--on-input", "deny"]).ok().events();
    assert!(of(&events, "needs_input").is_empty());
    assert_eq!(repo.read("colour.txt"), "grey\n");
    let events = run(&env, &repo, PLAN, &model, &["--approve", "auto", "--on-input", "fail"]).code(1).events();
    assert!(of(&events, "needs_input").is_empty());
    assert_eq!(standing(&repo, "paint"), ("failed".to_owned(), Some("denied".to_owned())));
    sound(&repo);
}

#[test]
fn the_same_question_asked_again_is_a_new_question() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let twice = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Ask, input: { question: Go on? } }]
  - match: { turn: 1, tool_result: first }
    blocks: [{ tool: Ask, input: { question: Go on? } }]
  - match: { turn: 2, tool_result: second }
    blocks: [{ tool: Write, input: { file_path: colour.txt, content: "both\n" } }]
  - match: { turn: 3 }
    blocks: [{ text: Done. }]
"##;
    let model = script(&env, twice);
    drop(run(&env, &repo, PLAN, &model, &["--approve", "auto"]).code(4));
    drop(repo.wattle(&["answer", "paint", "-m", "first"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    assert_eq!(standing(&repo, "paint").0, "needs_input");
    drop(repo.wattle(&["answer", "paint", "-m", "second"]).ok());
    drop(repo.wattle(&["resume"]).ok());
    assert_eq!(repo.read("colour.txt"), "both\n");
}

#[test]
fn two_questions_of_one_reply_are_each_asked_once() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let two = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Ask, input: { question: Which colour? } }
      - { tool: Ask, input: { question: Which shade? } }
  - match: { turn: 1, tool_result: blue }
    blocks: [{ tool: Write, input: { file_path: colour.txt, content: "dark blue\n" } }]
  - match: { turn: 2 }
    blocks: [{ text: Painted. }]
"##;
    let model = script(&env, two);
    let asked = |output: crate::env::Output| -> Vec<String> {
        let events = output.code(4).events();
        of(&events, "needs_input").iter().map(|event| event["question"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(asked(run(&env, &repo, PLAN, &model, &["--approve", "auto"])), ["Which colour?"]);
    drop(repo.wattle(&["answer", "paint", "-m", "blue"]).ok());
    assert_eq!(asked(repo.wattle(&["resume", "--json"])), ["Which shade?"]);
    drop(repo.wattle(&["answer", "paint", "-m", "dark"]).ok());
    drop(repo.wattle(&["resume"]).ok());
    assert_eq!(repo.read("colour.txt"), "dark blue\n");
}
