//! A small run with an agent, killed at each of its events: it goes on after its last completed turn.

use std::collections::BTreeMap;

use serde_json::Value;
use wattle_worker::scripted;

use super::world::sound;
use crate::env::{Background, TestEnv, TestRepo};

const PLAN: &str = r#"
version: 1
task: Two words
checks: [{ name: words, run: "! test -e b.txt || grep -qx 'second word' b.txt" }]
steps:
  - { id: look, mode: read, run: cat a.txt }
  - { id: rename, touches: [src/a.rs], rewrite: { pattern: old($A), fix: new($A), lang: rust } }
  - id: words
    needs: [look]
    touches: [b.txt]
    agent: { prompt: Write the words. }
    check: { run: test -s b.txt }
  - { id: tail, needs: [words], touches: [c.txt], run: tail -n 1 b.txt >> c.txt }
"#;

const SCRIPT: &str = r#"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ text: I look. }, { tool: Read, input: { file_path: a.txt } }]
  - match: { turn: 1 }
    blocks: [{ tool: Write, input: { file_path: b.txt, content: "first\nword\n" } }]
  - match: { turn: 2 }
    blocks: [{ tool: Edit, input: { file_path: b.txt, old_string: "\nword", new_string: "\nsecond word" } }]
  - match: { turn: 3 }
    blocks: [{ text: Both are there. }]
"#;

/// Turns of the script.
const TURNS: usize = 4;

fn served(server: &scripted::Server) -> TestEnv {
    let mut env = TestEnv::new();
    env.set("ANTHROPIC_BASE_URL", &server.base_url());
    env.set("ANTHROPIC_API_KEY", "a-key");
    env
}

fn world(env: &TestEnv) -> TestRepo<'_> {
    std::fs::write(env.root().join("plan.yml"), PLAN).expect("the folder is ours");
    env.repo("repo", &[("a.txt", "a\n"), ("src/a.rs", "fn a() { old(1); }\n")])
}

fn start<'e>(repo: &'e TestRepo<'_>) -> Background<'e> {
    repo.spawn(&["run", "-f", "../plan.yml", "--approve", "auto", "--model", "anthropic/claude-sonnet-5-5", "--json"])
}

/// How often each turn was asked for, among requests after the first so many.
fn turns(server: &scripted::Server, after: usize) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for body in &server.requests()[after..] {
        let body: Value = serde_json::from_slice(body).expect("a request is JSON");
        let messages = body["messages"].as_array().expect("messages");
        let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
        *found.entry(turn).or_default() += 1;
    }
    found
}

/// Kills the run at every second event from `first` on.
fn killed_at_each(first: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let server = runtime.block_on(scripted::serve_text(SCRIPT, 0)).expect("a server");
    let env = served(&server);
    let repo = world(&env);
    let events = start(&repo).end().ok().events().len();
    let tree = repo.git(&["rev-parse", "main^{tree}"]);
    let once: BTreeMap<usize, usize> = (0..TURNS).map(|turn| (turn, 1)).collect();
    assert_eq!(turns(&server, 0), once);
    for place in (first..events).step_by(2) {
        let env = served(&server);
        let before = server.requests().len();
        let repo = world(&env);
        let mut run = start(&repo);
        assert!(run.read(place), "event {place} of {events}");
        // After its last event it is about to end, or has.
        assert!(run.kill() || place + 1 >= events, "event {place} of {events}");
        let end = repo.wattle(&["resume", "--json"]);
        assert_eq!(end.code, 0, "killed at event {place}: {}\n{}", end.out, end.err);
        assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), tree, "killed at event {place}");
        assert_eq!(repo.git(&["rev-list", "--count", "--merges", "--first-parent", "main"]), "3");
        let asked = turns(&server, before);
        let twice: Vec<_> = asked.iter().filter(|(_, count)| **count > 1).collect();
        let extra: usize = asked.values().map(|count| count - 1).sum();
        assert!(asked.len() == TURNS && extra <= 1, "killed at event {place}, asked twice: {twice:?}");
        sound(&env, &repo);
    }
    runtime.block_on(server.shutdown());
}

#[test]
fn an_agent_goes_on_after_its_last_turn_wherever_it_is_killed() {
    killed_at_each(1);
}

#[test]
fn an_agent_goes_on_after_its_last_turn_wherever_else_it_is_killed() {
    killed_at_each(2);
}
