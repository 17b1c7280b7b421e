//! Work that comes back to its agent: after a red check, after a conflict, after a review.

use serde_json::Value;

use super::{MODEL, Service, bare, file, of, run, sound, standing, text_of};
use crate::env::TestEnv;

/// The newest request, and what it repeats of all earlier ones.
fn goes_on(requests: &[Value], from: usize) {
    let before = requests[from - 1]["messages"].as_array().unwrap();
    let after = requests[from]["messages"].as_array().unwrap();
    assert!(after.len() > before.len(), "the conversation has grown");
    for (before, after) in before.iter().zip(after) {
        assert_eq!(bare(before), bare(after), "earlier messages are repeated as they were");
    }
}

#[test]
fn a_red_check_of_the_queue_goes_back_to_the_same_conversation() {
    let mut env = TestEnv::new();
    // Its first word is wrong for the check; what the check said makes it mend that word, in its own earlier file.
    let script = r##"
version: 1
replies:
  - match: { text: "Step: poem", turn: 0 }
    blocks: [{ tool: Write, input: { file_path: poem.txt, content: "rose\nthorn\n" } }]
  - match: { text: "Step: poem", turn: 1 }
    blocks: [{ text: The poem is written. }]
  - match: { text: "no thorns please", turn: 2 }
    blocks: [{ tool: Read, input: { file_path: poem.txt } }]
  - match: { text: "no thorns please", turn: 3, tool_result: "thorn" }
    blocks: [{ tool: Edit, input: { file_path: poem.txt, old_string: thorn, new_string: petal } }]
  - match: { turn: 4 }
    blocks: [{ text: Mended. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: A poem
checks: [{ name: gentle, run: "! grep thorn poem.txt || { echo no thorns please; exit 1; }" }]
steps:
  - { id: poem, touches: [poem.txt], agent: { prompt: Write a poem. } }
"#;
    let events = run(&env, &repo, plan, MODEL, &["--approve", "auto"]).ok().events();
    let ejected = of(&events, "ejected");
    assert_eq!((ejected.len(), &ejected[0]["reason"]), (1, &Value::from("red")));
    assert_eq!(repo.read("poem.txt"), "rose\npetal\n");
    let requests = service.requests();
    assert_eq!(requests.len(), 5);
    goes_on(&requests, 2);
    let last = requests[2]["messages"].as_array().unwrap().last().unwrap();
    let said = text_of(last);
    assert!(said.contains("sent your change back (red)") && said.contains("no thorns please"), "{said}");
    assert_eq!(repo.git(&["rev-list", "--count", "--merges", "main"]), "1");
    sound(&repo);
    service.stop();
}

#[test]
fn a_conflict_is_in_the_worktree_of_its_agent_who_resolves_it() {
    let mut env = TestEnv::new();
    let go = env.root().join("go");
    let script = format!(
        r##"
version: 1
replies:
  - match: {{ text: "Step: edit", turn: 0 }}
    blocks: [{{ tool: Read, input: {{ file_path: a.txt }} }}]
  - match: {{ text: "Step: edit", turn: 1 }}
    blocks:
      - {{ tool: Edit, input: {{ file_path: a.txt, old_string: middle, new_string: ours }} }}
      - {{ tool: Write, input: {{ file_path: b.txt, content: "mine\n" }} }}
      - {{ tool: Bash, input: {{ command: "until test -e {go}; do sleep 0.05; done" }} }}
  - match: {{ text: "Step: edit", turn: 2 }}
    blocks: [{{ text: Edited. }}]
  - match: {{ text: "conflict in a.txt", turn: 3 }}
    blocks: [{{ tool: Read, input: {{ file_path: a.txt }} }}, {{ tool: Read, input: {{ file_path: b.txt }} }}]
  - match: {{ turn: 4, tool_result: "<<<<<<<" }}
    blocks: [{{ tool: Write, input: {{ file_path: a.txt, content: "top\nours and theirs\nbottom\n" }} }}]
  - match: {{ turn: 5 }}
    blocks: [{{ text: Both. }}]
"##,
        go = go.display()
    );
    let service = Service::start(&mut env, &script);
    let repo = env.repo("r", &[("a.txt", "top\nmiddle\nbottom\n")]);
    let plan = r#"
version: 1
task: Edit
checks: [{ name: whole, run: "! grep -q '<<<<' a.txt" }]
steps:
  - { id: edit, touches: [a.txt, b.txt], agent: { prompt: Edit a.txt. } }
"#;
    let plan = file(&env, "plan.yaml", plan);
    let mut live = repo.spawn(&["run", "-f", &plan, "--model", MODEL, "--approve", "auto", "--json"]);
    live.wait_for(|event| event["type"] == "intent" && event["intent"]["name"] == "Bash");
    repo.commit("theirs", &[("a.txt", "top\ntheirs\nbottom\n")]);
    std::fs::write(&go, "").unwrap();
    let events = live.end().ok().events();
    let ejected = of(&events, "ejected");
    assert_eq!((ejected.len(), &ejected[0]["reason"]), (1, &Value::from("conflict")));
    assert_eq!(repo.read("a.txt"), "top\nours and theirs\nbottom\n");
    assert_eq!(repo.read("b.txt"), "mine\n");
    let requests = service.requests();
    goes_on(&requests, 3);
    let seen = text_of(requests[4]["messages"].as_array().unwrap().last().unwrap());
    assert!(seen.contains("ours") && seen.contains("theirs") && seen.contains("mine"), "{seen}");
    sound(&repo);
    service.stop();
}

#[test]
fn a_redo_hands_all_drafts_to_the_same_worker_in_one_turn() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Write, input: { file_path: a.txt, content: "draft\n" } }]
  - match: { turn: 1 }
    blocks: [{ text: Drafted. }]
  - match: { text: shorter, turn: 2 }
    blocks: [{ tool: Read, input: { file_path: a.txt } }]
  - match: { turn: 3, tool_result: draft }
    blocks: [{ tool: Write, input: { file_path: a.txt, content: "d\n" } }]
  - match: { turn: 4 }
    blocks: [{ text: Shorter. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("z.txt", "z\n")]);
    let plan = r#"
version: 1
task: Draft
steps:
  - { id: draft, touches: [a.txt], agent: { prompt: Draft a.txt. } }
"#;
    drop(run(&env, &repo, plan, MODEL, &[]).code(4));
    assert_eq!(service.requests().len(), 2);
    drop(repo.wattle(&["comment", "draft", "-m", "make it shorter", "--at", "a.txt:1"]).ok());
    drop(repo.wattle(&["comment", "draft", "-m", "and lower case"]).ok());
    drop(repo.wattle(&["redo", "draft", "-m", "thank you"]).ok());
    assert_eq!(service.requests().len(), 2, "drafts cost nothing");
    drop(repo.wattle(&["resume"]).code(4));
    let requests = service.requests();
    assert_eq!(requests.len(), 5);
    goes_on(&requests, 2);
    let messages = requests[2]["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5, "one more turn of the user");
    let said = text_of(&messages[4]);
    for words in ["a.txt:1: make it shorter", "and lower case", "thank you"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(standing(&repo, "draft").0, "review");
    drop(repo.wattle(&["approve", "draft"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("a.txt"), "d\n");
    sound(&repo);
    service.stop();
}

#[test]
fn a_conversation_that_goes_on_elsewhere_is_told_where() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Write, input: { file_path: a.txt, content: "draft\n" } }]
  - match: { turn: 1 }
    blocks: [{ text: Drafted. }]
  - match: { text: again, turn: 2 }
    blocks: [{ text: I leave it. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("z.txt", "z\n")]);
    let plan = "version: 1\ntask: t\nsteps: [{ id: draft, touches: [a.txt], agent: { prompt: Draft. } }]\n";
    drop(run(&env, &repo, plan, MODEL, &[]).code(4));
    // Its human looks at the work in the slot that it had.
    let looked = repo.wattle(&["path", "draft"]).ok().out.replace("$ROOT", env.root().to_str().unwrap());
    let first = text_of(&service.requests()[0]["messages"][0]);
    assert!(first.contains(&format!("Worktree: {}\n", looked.trim())), "the slot was free: {looked} {first}");
    drop(repo.wattle(&["redo", "draft", "-m", "again"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    let said = text_of(&service.requests()[2]["messages"][4]);
    assert!(said.contains("Worktree: ") && !said.contains(looked.trim()), "{said}");
    assert_eq!(standing(&repo, "draft").0, "review", "its earlier change was brought along");
    service.stop();
}

#[test]
fn a_fresh_retry_knows_nothing_of_what_was_before() {
    let mut env = TestEnv::new();
    let script = r##"
version: 1
replies:
  - match: { turn: 0 }
    times: 1
    blocks: [{ tool: Write, input: { file_path: a.txt, content: "wrong\n" } }]
  - match: { turn: 1 }
    times: 1
    stop: refusal
    blocks: [{ text: I am stuck. }]
  - match: { turn: 0 }
    blocks: [{ tool: Glob, input: { pattern: "*.txt" } }]
  - match: { turn: 1, tool_result: z.txt }
    blocks: [{ tool: Write, input: { file_path: b.txt, content: "right\n" } }]
  - match: { turn: 2 }
    blocks: [{ text: Right. }]
"##;
    let service = Service::start(&mut env, script);
    let repo = env.repo("r", &[("z.txt", "z\n")]);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps: [{ id: w, touches: ['*.txt'], retries: 0, agent: { prompt: Write. } }]\n";
    drop(run(&env, &repo, plan, MODEL, &["--approve", "auto"]).code(1));
    assert_eq!(standing(&repo, "w"), ("failed".to_owned(), Some("model".to_owned())));
    drop(repo.wattle(&["retry", "w", "--fresh"]).ok());
    drop(repo.wattle(&["resume"]).ok());
    let requests = service.requests();
    assert_eq!(requests[2]["messages"].as_array().unwrap().len(), 1);
    let found = text_of(&requests[3]["messages"][2]);
    assert!(found.contains("z.txt") && !found.contains("a.txt"), "a clean worktree: {found}");
    assert_eq!(repo.read("b.txt"), "right\n");
    assert!(!repo.path.join("a.txt").exists());
    sound(&repo);
    service.stop();
}
