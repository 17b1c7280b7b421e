//! Workers and the lead's conversation: going on from it, and asking it.

use serde_json::Value;

use super::{MODEL, Service, bare, of, run, script, sound};
use crate::env::TestEnv;

fn messages(request: &Value) -> Vec<Value> {
    request["messages"].as_array().unwrap().iter().map(bare).collect()
}

#[test]
fn a_worker_goes_on_from_the_lead_where_that_is_cheaper() {
    let mut env = TestEnv::new();
    let lines: String = (0..600).map(|n| format!("a line of some length, the one with the number {n}\n")).collect();
    let one = r##"
version: 1
replies:
  - match: { role: lead, turn: 0 }
    blocks: [{ tool: Read, input: { file_path: a.txt } }]
  - match: { role: lead, turn: 1 }
    blocks:
      - tool: SubmitPlan
        input:
          steps:
            - { id: near, touches: [a.txt], agent: { prompt: Change line 7. }, check: { run: test -s a.txt } }
            - { id: far, touches: [b.txt], agent: { prompt: Write b.txt. } }
  - match: { text: "Step: near", turn: 2 }
    blocks: [{ tool: Edit, input: { file_path: a.txt, old_string: "number 7\n", new_string: "number seven\n" } }]
  - match: { text: "Step: near", turn: 3 }
    blocks: [{ text: It says seven. }]
  - match: { text: "Step: far", turn: 0 }
    blocks: [{ tool: Write, input: { file_path: b.txt, content: "b\n" } }]
  - match: { text: "Step: far", turn: 1 }
    blocks: [{ text: It is there. }]
"##;
    let service = Service::start(&mut env, one);
    let repo = env.repo("r", &[("a.txt", &lines)]);
    let events =
        repo.wattle(&["run", "Change it", "--model", MODEL, "--yes", "--until", "review", "--json"]).ok().events();
    let requests = service.requests();
    let of_step = |step: &str| -> Vec<&Value> {
        let named = |request: &&Value| request.to_string().contains(&format!("Step: {step}"));
        requests.iter().filter(named).collect()
    };
    let (lead, near) = (messages(&requests[1]), messages(of_step("near")[0]));
    assert_eq!(near[..lead.len()], lead, "byte for byte");
    assert_eq!(near.len(), lead.len() + 2, "the lead's plan, and the worker's task");
    assert_eq!(of_step("near").len(), 2, "it need not read again what the lead has read");
    assert_eq!(messages(of_step("far")[0]).len(), 1, "its files are not those that the lead has read");
    let read = |step: &str| {
        let usages = of(&events, "usage");
        usages.iter().find(|event| event["step"] == step).unwrap()["cache_read"].as_u64().unwrap()
    };
    assert!(read("near") > read("far") + 5_000, "{} and {}", read("near"), read("far"));
    let log = repo.wattle(&["log", "near"]).ok();
    assert!(log.out.contains("The conversation up to here was the lead's"), "{}", log.out);
    sound(&repo);
    service.stop();
}

#[test]
fn a_plan_file_has_no_lead_to_go_on_from_and_says_so() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: t
checks: []
steps:
  - { id: one, touches: [b.txt], agent: { prompt: p, context: fork } }
"#;
    let model = script(&env, "version: 1\nreplies: [{ blocks: [{ text: Nothing to do. }] }]\n");
    let events = run(&env, &repo, plan, &model, &["--approve", "auto"]).ok().events();
    let told = of(&events, "bound_hit");
    assert!(told[0]["message"].as_str().unwrap().contains("begins afresh"), "{told:?}");
}

const ASKING: &str = r##"
  - match: { text: "Step: paint", turn: 0 }
    blocks: [{ tool: Ask, input: { question: Which colour?, to: lead } }]
  - match: { text: "Step: paint", turn: 1, tool_result: "Blue, as the sea." }
    blocks: [{ tool: Write, input: { file_path: colour.txt, content: "blue\n" } }]
  - match: { text: "Step: paint", turn: 2 }
    blocks: [{ text: Painted. }]
"##;

#[test]
fn the_lead_answers_a_question_from_what_it_knows() {
    let mut env = TestEnv::new();
    let lead = r##"
version: 1
replies:
  - match: { role: lead, turn: 0 }
    blocks:
      - tool: SubmitPlan
        input:
          steps: [{ id: paint, touches: [colour.txt], agent: { prompt: Paint. }, check: { run: test -s colour.txt } }]
  - match: { role: lead, turn: 1, text: "A question of the worker of step `paint`" }
    blocks: [{ text: "Blue, as the sea." }]
"##;
    let service = Service::start(&mut env, &format!("{lead}{ASKING}"));
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let args = ["run", "Paint it", "--model", MODEL, "--yes", "--until", "review", "--json"];
    let events = repo.wattle(&args).ok().events();
    assert_eq!(of(&events, "lead_asked")[0]["question"], "Which colour?");
    assert_eq!(of(&events, "answered")[0]["by"], "lead");
    assert!(of(&events, "needs_input").is_empty(), "no human is asked");
    let requests = service.requests();
    let asked = requests.iter().find(|request| request.to_string().contains("A question of the worker")).unwrap();
    let planned = messages(&requests[0]);
    assert_eq!(messages(asked)[..planned.len()], planned, "byte for byte");
    assert_eq!(requests.len(), 5, "one call for the answer");
    service.stop();
}

#[test]
fn a_question_goes_to_the_user_where_no_lead_is() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let plan =
        "version: 1\ntask: Paint\nchecks: []\nsteps: [{ id: paint, touches: [colour.txt], agent: { prompt: p } }]\n";
    let model = script(&env, &format!("version: 1\nreplies:{ASKING}"));
    let events = run(&env, &repo, plan, &model, &["--approve", "auto"]).code(4).events();
    assert_eq!(of(&events, "needs_input")[0]["question"], "Which colour?");
    drop(repo.wattle(&["answer", "paint", "-m", "Blue, as the sea."]).ok());
    drop(repo.wattle(&["resume"]).ok());
    assert_eq!(repo.read("colour.txt"), "blue\n");
}

#[test]
fn questions_of_a_step_are_bounded() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let lead = r##"
version: 1
replies:
  - match: { role: lead, turn: 0 }
    blocks:
      - tool: SubmitPlan
        input:
          steps: [{ id: paint, touches: [colour.txt], agent: { prompt: Paint. }, check: { run: test -s colour.txt } }]
  - match: { role: lead, text: "A question of the worker" }
    blocks: [{ text: Think for yourself. }]
  - match: { text: "Step: paint", tool_result: "which is all it may" }
    blocks: [{ tool: Write, input: { file_path: colour.txt, content: "grey\n" } }]
  - match: { text: "Step: paint", turn: 10 }
    blocks: [{ text: Painted. }]
  - match: { text: "Step: paint" }
    blocks: [{ tool: Ask, input: { question: Which colour?, to: lead } }]
"##;
    let model = script(&env, lead);
    let args = ["run", "Paint it", "--model", &model, "--yes", "--until", "review", "--json"];
    let events = repo.wattle(&args).ok().events();
    assert_eq!(of(&events, "lead_asked").len(), 8);
    assert_eq!(of(&events, "bound_hit")[0]["bound"], "questions");
}
