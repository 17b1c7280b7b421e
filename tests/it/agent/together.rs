//! Several agents of one run: at once, with one shared prefix, and with each other's reports.

use std::collections::BTreeSet;

use super::{MODEL, Service, file, of, run, sound, text_of};
use crate::env::TestEnv;

const PLAN: &str = r#"
version: 1
task: Write three files
checks: [{ name: there, run: "true" }]
steps:
  - { id: look, mode: read, agent: { prompt: Look around. } }
  - { id: one, needs: [look], touches: [one.txt], agent: { prompt: Write one.txt. }, tools: [Write] }
  - { id: two, touches: [two.txt], agent: { prompt: Write two.txt. } }
  - { id: three, touches: [three.txt], agent: { prompt: Write three.txt. } }
"#;

const SCRIPT: &str = r##"
version: 1
replies:
  - match: { text: "Step: look", turn: 0 }
    delay_ms: 400
    blocks: [{ tool: Grep, input: { pattern: pearl } }, { tool: Glob, input: { pattern: "*.md" } }]
  - match: { text: "Step: look", turn: 1, tool_result: sea.md }
    blocks: [{ text: "The pearl is in sea.md." }]
  - match: { text: "Step: one", turn: 0 }
    blocks: [{ tool: Write, input: { file_path: one.txt, content: "1\n" } }]
  - match: { text: "Step: two", turn: 0 }
    delay_ms: 400
    blocks: [{ tool: Write, input: { file_path: two.txt, content: "2\n" } }]
  - match: { text: "Step: three", turn: 0 }
    delay_ms: 400
    blocks: [{ tool: Write, input: { file_path: three.txt, content: "3\n" } }]
  - match: { turn: 1 }
    blocks: [{ text: Written. }]
"##;

#[test]
fn agents_run_at_once_on_one_prefix_and_hear_of_what_they_need() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, SCRIPT);
    let source = ("shell.rs", "pub fn open_shell() {}\n");
    let repo = env.repo("r", &[("sea.md", "a pearl\n"), ("AGENTS.md", "Be brief.\n"), source]);
    repo.write("dirty.txt", "");
    let told = repo.wattle(&["brief", "Write three files"]).ok().out;
    let events = run(&env, &repo, PLAN, MODEL, &["--approve", "auto", "--jobs", "4"]).ok().events();

    let usage = of(&events, "usage");
    assert_eq!(usage.len(), 8);
    let prefixes: BTreeSet<&str> = usage.iter().map(|event| event["prefix_sha"].as_str().unwrap()).collect();
    assert_eq!(prefixes.len(), 1, "one prefix for all workers and turns");
    let bodies = service.bodies();
    let own = |body: &String| body.find("Role: worker").expect("a worker says what it is");
    let shared: BTreeSet<&str> = bodies.iter().map(|body| &body[..own(body)]).collect();
    assert_eq!(shared.len(), 1, "byte for byte the same up to the worker's own part");
    let shared = shared.first().unwrap();
    assert!(shared.contains("Be brief.") && shared.contains("cache_control"), "{shared}");
    for request in service.requests() {
        assert_eq!(request["messages"][0]["content"][0]["text"], told, "what `wattle brief` has shown");
    }
    assert!(told.contains("open_shell") && told.contains("dirty.txt") && told.contains("branch: main"), "{told}");
    for private in [env.root().to_str().unwrap(), "one.txt", "refs/heads", "2026-"] {
        assert!(!shared.contains(private), "{private} is in the shared part");
    }

    let first_end = events.iter().position(|e| e["type"] == "step_state" && e["state"] == "queued").unwrap();
    let running = |step: &str| {
        events.iter().position(|e| e["type"] == "step_state" && e["state"] == "running" && e["step"] == step).unwrap()
    };
    assert!(["look", "two", "three"].iter().all(|step| running(step) < first_end), "three workers at once");

    let requests = service.requests();
    let one = requests.iter().find(|r| text_of(&r["messages"][0]).contains("Step: one\n")).unwrap();
    let heard = text_of(&one["messages"][0]);
    assert!(heard.contains("# Report of step look") && heard.contains("The pearl is in sea.md."), "{heard}");
    for (name, text) in [("one.txt", "1\n"), ("two.txt", "2\n"), ("three.txt", "3\n")] {
        assert_eq!(repo.read(name), text);
    }
    assert!(repo.git(&["log", "--format=%B"]).contains(&format!("Wattle-Model: {MODEL}")));
    assert!(events.last().unwrap()["usd"].as_f64().unwrap() > 0.0);
    std::fs::remove_file(repo.path.join("dirty.txt")).unwrap();
    sound(&repo);
    service.stop();
}

/// A run as bad as runs are: replies that are cut, a busy provider, an interruption, an instruction file that changes
/// meanwhile, a redo.
#[test]
fn the_shared_bytes_stay_the_same_through_faults_a_resume_and_a_redo() {
    let mut env = TestEnv::new();
    let go = env.root().join("go");
    let script = format!(
        r##"
version: 1
replies:
  - {{ match: {{ text: "Step: one", turn: 0 }}, times: 1, fault: {{ status: 529, retry_after_ms: 1 }} }}
  - match: {{ text: "Step: one", turn: 0 }}
    times: 1
    fault: {{ cut_after_bytes: 500 }}
    blocks: [{{ tool: Write, input: {{ file_path: one.txt, content: "half of a reply that is cut" }} }}]
  - match: {{ text: "Step: one", turn: 0 }}
    blocks: [{{ tool: Write, input: {{ file_path: one.txt, content: "1\n" }} }}]
  - match: {{ text: "Step: two", turn: 0 }}
    blocks: [{{ tool: Bash, input: {{ command: "until test -e {}; do sleep 0.02; done" }} }}]
  - match: {{ text: "Step: two", turn: 1 }}
    blocks: [{{ tool: Write, input: {{ file_path: two.txt, content: "2\n" }} }}]
  - match: {{ text: "make it two", turn: 2 }}
    blocks: [{{ tool: Write, input: {{ file_path: one.txt, content: "2\n" }} }}]
  - blocks: [{{ text: Written. }}]
"##,
        go.display()
    );
    let service = Service::start(&mut env, &script);
    let repo = env.repo("r", &[("sea.md", "a pearl\n"), ("AGENTS.md", "Be brief.\n")]);
    let plan = r#"
version: 1
task: Write two files
checks: []
limits: { jobs: 2 }
steps:
  - { id: one, touches: [one.txt], agent: { prompt: Write one.txt. } }
  - { id: two, touches: [two.txt], agent: { prompt: Write two.txt. } }
"#;
    let plan = file(&env, "plan.yaml", plan);
    let mut live = repo.spawn(&["run", "-f", &plan, "--model", MODEL, "--json"]);
    live.wait_for(|event| event["step"] == "two" && event["intent"]["name"] == "Bash");
    live.interrupt();
    let mut events = live.end().code(130).events();
    repo.commit("other words", &[("AGENTS.md", "Be long.\n")]);
    std::fs::write(&go, "").unwrap();
    events.extend(repo.wattle(&["resume", "--json"]).code(4).events());
    drop(repo.wattle(&["comment", "one", "-m", "make it two"]).ok());
    drop(repo.wattle(&["redo", "one"]).ok());
    events.extend(repo.wattle(&["resume", "--json"]).code(4).events());

    let rows = of(&events, "usage");
    let prefixes: BTreeSet<&str> = rows.iter().map(|row| row["prefix_sha"].as_str().unwrap()).collect();
    assert_eq!(prefixes.len(), 1, "{rows:?}");
    let bodies = service.bodies();
    let shared: BTreeSet<&str> = bodies.iter().map(|body| body.split("Role: worker").next().unwrap()).collect();
    assert_eq!(shared.len(), 1, "byte for byte the same");
    assert!(shared.first().unwrap().contains("Be brief."));
    assert!(rows.iter().any(|row| row["status"] == 529) && rows.iter().any(|row| row["exact"] == false), "{rows:?}");
    assert!(bodies.last().unwrap().contains("make it two"), "the redo was asked for");
    // Every thinking block and every result of the conversation before the redo is in it, byte for byte.
    let of_one: Vec<&String> = bodies.iter().filter(|body| body.contains("Step: one")).collect();
    let bare = |body: &str| body.replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    for pair in of_one.windows(2) {
        let (before, after) = (bare(pair[0]), bare(pair[1]));
        // All but the card, the last block of the last message.
        let (before, _) = before.rsplit_once(",{\"type\":\"text\",\"text\":\"(A reminder").unwrap();
        assert!(after.starts_with(before), "history is only added to");
    }
    sound(&repo);
    service.stop();
}
