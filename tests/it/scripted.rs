//! The scripted model as a program of its own: address, journal, end, and what a bad script is told.

use insta::assert_snapshot;
use serde_json::Value;

use crate::agent::{file, run};
use crate::env::TestEnv;

const PLAN: &str =
    "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: w, touches: [b.txt], agent: { prompt: Write. } }\n";
const SCRIPT: &str = r#"
version: 1
models: { "*": { rates: { input: 2000, output: 10000, cache_read: 100, write_short: 2500 } } }
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Write, input: { file_path: b.txt, content: "b\n" } }]
  - blocks: [{ text: Written. }]
"#;

#[test]
fn a_run_is_served_by_another_process_and_its_journal_has_every_request() {
    let mut env = TestEnv::new();
    let (script, journal) = (file(&env, "script.yaml", SCRIPT), file(&env, "journal.jsonl", ""));
    let server = TestEnv::new();
    let mut served = server.spawn(server.root(), &["scripted", "--script", &script, "--journal", &journal, "--json"]);
    let address = served.wait_for(|line| line["url"].is_string());
    env.set("ANTHROPIC_BASE_URL", address["url"].as_str().expect("an address"));
    env.set("ANTHROPIC_API_KEY", "sk-canary");
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    drop(run(&env, &repo, PLAN, "anthropic/claude-sonnet-5-5", &["--approve", "auto"]).ok());
    assert_eq!(repo.read("b.txt"), "b\n");
    served.interrupt();
    drop(served.end().ok());
    let text = std::fs::read_to_string(&journal).expect("it was written");
    assert!(!text.contains("sk-canary"));
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(records.len(), 2);
    for record in &records {
        let body: Value = serde_json::from_str(record["body"].as_str().expect("a body")).expect("JSON");
        assert_eq!(body["model"], "claude-sonnet-5-5");
        assert_eq!((&record["status"], &record["complete"]), (&Value::from(200), &Value::from(true)));
        assert!(record["nano_usd"].as_u64().expect("a bill") > 0);
    }
}

#[test]
fn a_bad_script_is_told_its_place() {
    let env = TestEnv::new();
    let script = file(&env, "script.yaml", "version: 1\nreplies:\n  - match: { txt: x }\n    blocks: [{ text: hi }]\n");
    let refused = env.wattle(env.root(), &["scripted", "--script", &script, "--json"]).code(3).json();
    assert_eq!(refused["error"]["code"], "invalid_script");
    assert_eq!((&refused["error"]["at"]["line"], &refused["error"]["at"]["column"]), (&3.into(), &14.into()));
    let empty =
        file(&env, "empty.yaml", "version: 1\nreplies:\n  - blocks:\n      - text: ok\n      - { input: {} }\n");
    let told = env.wattle(env.root(), &["scripted", "--script", &empty]).code(3);
    assert!(told.err.contains("empty.yaml:5:9: reply 1: block 2 has to be one of"), "{}", told.err);
    let missing = env.wattle(env.root(), &["scripted", "--script", "nowhere.yaml"]).code(2);
    assert_snapshot!(missing.err, @"
    error: failed to read nowhere.yaml: No such file or directory (os error 2)
    ");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let env = TestEnv::new();
    let script = file(&env, "script.yaml", SCRIPT);
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let refused = env.wattle(env.root(), &["scripted", "--script", &script, "--port", &port]).code(5);
    assert!(refused.err.contains("listen on 127.0.0.1") && refused.err.contains("--port"), "{}", refused.err);
}

#[test]
fn the_format_of_a_script_can_be_printed() {
    let env = TestEnv::new();
    let schema = env.wattle(env.root(), &["schema", "script"]).ok().json();
    assert_eq!(schema["title"], "Script");
    assert!(schema["properties"]["replies"]["items"].is_object(), "{schema}");
}
