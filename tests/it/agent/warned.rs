//! A worker hears of a conflict while it works, and not from the queue.

use serde_json::Value;

use super::{MODEL, Service, file, of, sound, text_of};
use crate::env::TestEnv;

#[test]
fn a_users_commit_on_the_target_is_told_to_a_worker_in_conversation_who_gives_way() {
    let mut env = TestEnv::new();
    let (committed, told) = (env.root().join("committed"), env.root().join("told"));
    let script = format!(
        r##"
version: 1
replies:
  - match: {{ text: "the word is missing", turn: 0 }}
    blocks:
      - {{ tool: Read, input: {{ file_path: a.txt }} }}
      - {{ tool: Read, input: {{ file_path: b.txt }} }}
      - {{ tool: Bash, input: {{ command: "until test -e {}; do sleep 0.05; done" }} }}
  - match: {{ turn: 1 }}
    blocks: [{{ tool: Bash, input: {{ command: "until test -e {}; do sleep 0.05; done" }} }}]
  - match: {{ text: "will not merge with what is on main", turn: 2 }}
    blocks:
      - {{ tool: Write, input: {{ file_path: a.txt, content: "base\n" }} }}
      - {{ tool: Write, input: {{ file_path: b.txt, content: "the word\n" }} }}
  - match: {{ turn: 3 }}
    blocks: [{{ text: I leave a.txt alone. }}]
"##,
        committed.display(),
        told.display()
    );
    let service = Service::start(&mut env, &script);
    let repo = env.repo("r", &[("a.txt", "base\n")]);
    let plan = r#"
version: 1
task: t
checks: [{ name: whole, run: "grep -q word b.txt" }]
steps:
  - id: w
    touches: [a.txt, b.txt]
    retries: 0
    run: echo mine > a.txt; echo start > b.txt
    check: { run: "grep word b.txt || { echo the word is missing; exit 1; }" }
    repair: { agent: { prompt: Mend what the check says. }, attempts: 1 }
"#;
    let plan = file(&env, "plan.yaml", plan);
    let mut live = repo.spawn(&["run", "-f", &plan, "--model", MODEL, "--approve", "auto", "--json"]);
    live.wait_for(|event| event["type"] == "intent" && event["intent"]["name"] == "Bash");
    let theirs = repo.commit("theirs", &[("a.txt", "theirs\n")]);
    std::fs::write(&committed, "").unwrap();
    live.wait_for(|event| event["type"] == "conflict_predicted");
    std::fs::write(&told, "").unwrap();
    let events = live.end().ok().events();
    let moved = of(&events, "target_moved");
    assert_eq!((moved.len(), &moved[0]["tip"]), (1, &Value::from(theirs)));
    let warned = &of(&events, "conflict_predicted")[0];
    assert_eq!((&warned["a"], &warned["b"]), (&"main".into(), &"w".into()));
    assert_eq!(of(&events, "ejected").len(), 0, "the queue never saw the conflict");
    let requests = service.requests();
    let last = text_of(requests[2]["messages"].as_array().unwrap().last().unwrap());
    assert!(last.contains("will not merge with what is on main now"), "{last}");
    assert_eq!((repo.read("a.txt"), repo.read("b.txt")), ("theirs\n".to_owned(), "the word\n".to_owned()));
    sound(&repo);
    service.stop();
}
