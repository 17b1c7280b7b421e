//! What a step may not do is refused when it is tried, and what it did can be read afterwards.

use std::path::PathBuf;

use serde_json::Value;

use super::{MODEL, Service, of, run, sound, standing, text_of};
use crate::env::TestEnv;

/// The results of the tools of a turn, as the model got them.
fn results(requests: &[Value], turn: usize) -> Vec<(bool, String)> {
    let message = &requests[turn]["messages"].as_array().unwrap().last().unwrap();
    let blocks = message["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_result");
    blocks.map(|b| (b["is_error"] == true, b["content"].as_str().unwrap_or_default().to_owned())).collect()
}

#[test]
fn a_reading_step_changes_nothing() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Read, input: { file_path: a.txt } }
      - { tool: Edit, input: { file_path: a.txt, old_string: a, new_string: b } }
      - { tool: Write, input: { file_path: b.txt, content: b } }
      - { tool: Bash, input: { command: "echo b > b.txt" } }
      - { tool: SubmitPlan, input: { steps: [] } }
      - { tool: Teleport, input: {} }
  - match: { turn: 1 }
    blocks: [{ text: I may only look. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps: [{ id: look, mode: read, agent: { prompt: Look. } }]\n";
    let events = run(&env, &repo, plan, MODEL, &["--approve", "auto"]).ok().events();
    assert_eq!(standing(&repo, "look").0, "done");
    let results = results(&service.requests(), 1);
    assert_eq!(results.iter().map(|result| result.0).collect::<Vec<_>>(), [false, true, true, true, true, true]);
    assert!(results[1..].iter().all(|(_, text)| text.contains("not allowed here")), "{results:?}");
    let tried: Vec<_> = of(&events, "intent").iter().filter_map(|e| e["intent"]["name"].as_str()).collect();
    assert_eq!(tried, ["Read"], "what is refused never starts");
    sound(&repo);
    service.stop();
}

#[test]
fn a_list_of_tools_is_all_that_a_step_gets() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Bash, input: { command: "echo b > b.txt" } }
      - { tool: Edit, input: { file_path: a.txt, old_string: a, new_string: b } }
      - { tool: Write, input: { file_path: b.txt, content: "b\n" } }
  - match: { turn: 1 }
    blocks: [{ text: Written. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: t
checks: []
steps: [{ id: w, touches: [b.txt], agent: { prompt: Write. }, tools: [Write] }]
"#;
    drop(run(&env, &repo, plan, MODEL, &["--approve", "auto"]).ok());
    let results = results(&service.requests(), 1);
    assert_eq!(results.iter().map(|result| result.0).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(repo.read("b.txt"), "b\n");
    service.stop();
}

#[test]
fn nothing_outside_the_worktree_is_read_or_written() {
    let mut env = TestEnv::new();
    let outside = env.root().join("outside.txt").display().to_string();
    let script = format!(
        r##"
version: 1
replies:
  - match: {{ turn: 0 }}
    blocks:
      - {{ tool: Read, input: {{ file_path: {outside} }} }}
      - {{ tool: Read, input: {{ file_path: ../../../../../outside.txt }} }}
      - {{ tool: Read, input: {{ file_path: link/outside.txt }} }}
      - {{ tool: Read, input: {{ file_path: .git }} }}
      - {{ tool: Write, input: {{ file_path: {outside}, content: gone }} }}
      - {{ tool: Write, input: {{ file_path: link/new.txt, content: new }} }}
      - {{ tool: Write, input: {{ file_path: .git/config, content: "[core]" }} }}
      - {{ tool: Write, input: {{ file_path: sub/.git/hooks/x, content: x }} }}
      - {{ tool: Grep, input: {{ pattern: secret, path: .. }} }}
      - {{ tool: Glob, input: {{ pattern: "*", path: {root} }} }}
  - match: {{ turn: 1 }}
    blocks: [{{ text: I am kept in. }}]
"##,
        root = env.root().display()
    );
    let service = Service::start(&mut env, &script);
    std::fs::write(&outside, "secret\n").unwrap();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    std::os::unix::fs::symlink(env.root(), repo.path.join("link")).unwrap();
    repo.commit("link", &[]);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps: [{ id: w, touches: ['**'], agent: { prompt: Try. } }]\n";
    drop(run(&env, &repo, plan, MODEL, &["--approve", "auto"]).ok());
    let results = results(&service.requests(), 1);
    assert_eq!(results.len(), 10);
    for (error, text) in &results {
        assert!(*error && !text.contains("secret"), "{results:?}");
    }
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "secret\n");
    assert!(!env.root().join("new.txt").exists());
    assert_eq!(standing(&repo, "w").0, "unchanged");
    sound(&repo);
    service.stop();
}

#[test]
fn the_journal_holds_the_evidence_and_the_log_is_readable() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - text: I look first.
      - { tool: Read, input: { file_path: a.txt } }
  - match: { turn: 1 }
    blocks:
      - { tool: Edit, input: { file_path: a.txt, old_string: old, new_string: new } }
      - { tool: Bash, input: { command: "echo seen; exit 3" } }
  - match: { turn: 2, tool_result: seen }
    blocks: [{ text: All new. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("a.txt", "old\n")]);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps: [{ id: w, touches: [a.txt], agent: { prompt: Renew. } }]\n";
    drop(run(&env, &repo, plan, MODEL, &["--approve", "auto"]).ok());

    let events = repo.wattle(&["log", "w", "--json"]).ok().events();
    assert!(events.iter().all(|event| event["step"] == "w" || event["entries"].is_array()), "only this step's");
    let calls: Vec<_> = of(&events, "intent").into_iter().filter(|e| e["intent"]["what"] == "tool").collect();
    assert_eq!(calls.len(), 3);
    let evidence = |call: usize| -> Value {
        let id = &calls[call]["intent"]["id"];
        let event = of(&events, "evidence").into_iter().find(|event| event["of"] == *id).expect("a result per call");
        let after = events.iter().position(|e| e == event).unwrap();
        let before = events.iter().position(|e| e == calls[call]).unwrap();
        assert!(before < after, "the intent is first");
        let blob = blob(&env, event["evidence"].as_str().unwrap());
        serde_json::from_str(&std::fs::read_to_string(blob).unwrap()).unwrap()
    };
    let old = repo.git(&["rev-parse", "main~1:a.txt"]);
    let new = repo.git(&["rev-parse", "main:a.txt"]);
    assert_eq!(evidence(0)["read"], serde_json::json!([["a.txt", old]]));
    assert_eq!(evidence(1)["wrote"], serde_json::json!([["a.txt", old, new]]));
    let bash = evidence(2);
    assert_eq!((&bash["exit"], &bash["output"]), (&3.into(), &"seen\n".into()));
    assert!(bash["argv"].as_array().unwrap().iter().any(|arg| arg == "echo seen; exit 3"));

    let log = repo.wattle(&["log", "w"]).ok().out;
    for words in ["[assistant] I look first.", "Read {", "echo seen; exit 3", "result: ", "All new.", "exit 3"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let at = |words: &str| log.find(words).unwrap();
    assert!(at("I look first.") < at("echo seen") && at("echo seen") < at("All new."), "in its order: {log}");
    let asked = service.requests();
    assert!(text_of(&asked[2]["messages"][4]).contains("exit"), "the model sees the exit code");
    service.stop();
}

/// Where the state directory keeps a blob.
fn blob(env: &TestEnv, hash: &str) -> PathBuf {
    fn find(folder: &std::path::Path, hash: &str) -> Option<PathBuf> {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy().replace('/', "");
            if path.is_dir() && !path.is_symlink() {
                if let Some(found) = find(&path, hash) {
                    return Some(found);
                }
            } else if name.ends_with(hash) {
                return Some(path);
            }
        }
        None
    }
    find(&env.root().join("state"), hash).expect("the journal's blobs are kept")
}

#[test]
fn the_working_ledger_of_a_step_is_made_from_the_journal() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Read, input: { file_path: a.txt } }
      - { tool: Bash, input: { command: "echo error: no; exit 3" } }
  - match: { turn: 1 }
    blocks: [{ tool: Edit, input: { file_path: a.txt, old_string: a, new_string: b } }]
  - match: { turn: 2 }
    blocks: [{ text: It is changed. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps: [{ id: look, mode: scratch, agent: { prompt: Change it. } }]\n";
    drop(run(&env, &repo, plan, MODEL, &["--approve", "auto"]).ok());
    let text = repo.wattle(&["log", "look", "--ledger"]).ok().out;
    for part in
        ["Change it.", "It is changed.", "`echo error: no; exit 3`: exit 3", "error: no (message 2)", "- a.txt "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let ledger = repo.wattle(&["log", "look", "--ledger", "--json"]).ok().json();
    assert_eq!((&ledger["v"], &ledger["task"]), (&1.into(), &"Change it.".into()));
    let blobs = (&ledger["read"]["a.txt"]["blob"], &ledger["changed"]["a.txt"]["blob"]);
    assert!(blobs.0.is_string() && blobs.1.is_string() && blobs.0 != blobs.1, "{ledger}");
    service.stop();
}
