//! A step's own check is red, and an agent repairs what it says.

use super::{MODEL, Service, of, run, sound, standing, text_of};
use crate::env::TestEnv;

const SCRIPT: &str = r##"
version: 1
replies:
  - match: { text: "the word is missing", turn: 0 }
    blocks: [{ tool: Read, input: { file_path: b.txt } }]
  - match: { turn: 1 }
    blocks: [{ tool: Edit, input: { file_path: b.txt, old_string: start, new_string: "start word" } }]
  - match: { turn: 2 }
    blocks: [{ text: The word is there. }]
"##;

const PLAN: &str = r#"
version: 1
task: t
checks: []
steps:
  - id: w
    touches: [b.txt]
    retries: 0
    run: echo start > b.txt
    check: { run: "grep word b.txt || { echo the word is missing; exit 1; }" }
    repair: { agent: { prompt: Mend what the check says. }, attempts: 1 }
"#;

#[test]
fn a_red_check_is_repaired_and_checked_again() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, SCRIPT);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let events = run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).ok().events();
    assert_eq!(repo.read("b.txt"), "start word\n");
    assert_eq!(of(&events, "repair_started").len(), 1);
    let states: Vec<_> = of(&events, "step_state").iter().map(|e| e["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states[..5], ["ready", "running", "checking", "running", "checking"], "{states:?}");
    let verdicts: Vec<_> = of(&events, "check_finished").iter().map(|e| e["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["red", "green"]);
    assert_eq!(of(&events, "check_started").len(), 2);
    let first = text_of(&service.requests()[0]["messages"][0]);
    assert!(first.contains("Mend what the check says.") && first.contains("the word is missing"), "{first}");
    assert_eq!(repo.git(&["rev-list", "--count", "--no-merges", "main"]), "2", "one commit of the step");
    sound(&repo);
    service.stop();
}

#[test]
fn a_repair_that_does_not_help_fails_the_step_and_keeps_its_work() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, &SCRIPT.replace("start word", "start wrod"));
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    drop(run(&env, &repo, PLAN, MODEL, &["--approve", "auto"]).code(1));
    assert_eq!(standing(&repo, "w"), ("failed".to_owned(), Some("check_red".to_owned())));
    let kept = repo.git(&["for-each-ref", "--format=%(refname)", "refs/wattle/attempt"]);
    assert_eq!(repo.git(&["show", &format!("{kept}:b.txt")]), "start wrod");
    sound(&repo);
    service.stop();
}

#[test]
fn an_agent_repairs_an_agent_in_a_conversation_of_its_own() {
    let mut env = TestEnv::new();
    let script = format!(
        r##"
version: 1
replies:
  - match: {{ text: Write the start., turn: 0 }}
    blocks: [{{ tool: Write, input: {{ file_path: b.txt, content: "start\n" }} }}]
  - match: {{ text: Write the start., turn: 1 }}
    blocks: [{{ text: Started. }}]
{}"##,
        SCRIPT.split_once("replies:\n").unwrap().1
    );
    let service = Service::start(&mut env, &script);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = PLAN.replace("run: echo start > b.txt", "agent: { prompt: Write the start. }");
    drop(run(&env, &repo, &plan, MODEL, &["--approve", "auto"]).ok());
    assert_eq!(repo.read("b.txt"), "start word\n");
    let requests = service.requests();
    assert_eq!(requests.len(), 5);
    assert_eq!(requests[2]["messages"].as_array().unwrap().len(), 1);
    let log = repo.wattle(&["log", "w"]).ok().out;
    assert!(log.contains("Started.") && log.contains("The word is there."), "{log}");
    service.stop();
}

#[test]
fn a_repair_asks_the_model_that_it_names() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, SCRIPT);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = PLAN.replace("prompt: Mend", "model: anthropic/claude-haiku-5-5, prompt: Mend");
    let plan = super::file(&env, "plan.yaml", &plan);
    drop(repo.wattle(&["run", "-f", &plan, "--approve", "auto"]).ok());
    assert!(service.requests().iter().all(|request| request["model"] == "claude-haiku-5-5"));
    assert_eq!(repo.read("b.txt"), "start word\n");
    service.stop();
}
