//! A run as the lines that wrappers of `claude -p --output-format stream-json` read.

use serde_json::Value;

use super::{MODEL, Service, file, run};
use crate::env::TestEnv;

const SCRIPT: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { text: I look first. }
      - { tool: Read, input: { file_path: a.txt } }
      - { tool: Read, input: { file_path: gone.txt } }
  - match: { turn: 1 }
    blocks: [{ tool: Edit, input: { file_path: a.txt, old_string: a, new_string: b } }]
  - match: { turn: 2 }
    blocks: [{ text: Replaced. }]
"##;

const PLAN: &str = r#"
version: 1
task: Replace
checks: []
steps:
  - { id: one, touches: [a.txt], agent: { prompt: Replace a by b. } }
  - { id: two, needs: [one], mode: read, run: "cat a.txt" }
"#;

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["type"].as_str().unwrap()).collect()
}

fn of<'a>(lines: &'a [Value], kind: &str, subtype: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == kind && (subtype.is_empty() || line["subtype"] == subtype)).collect()
}

#[test]
fn every_turn_is_a_line_between_an_init_and_a_result() {
    let mut env = TestEnv::new();
    let service = Service::start(&mut env, SCRIPT);
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let lines = run(&env, &repo, PLAN, MODEL, &["--approve", "auto", "--output-format", "stream-json"]).ok().events();
    let init = &lines[0];
    assert_eq!((&init["type"], &init["subtype"], &init["model"]), (&"system".into(), &"init".into(), &MODEL.into()));
    assert!(init["tools"].as_array().unwrap().contains(&"Read".into()), "{init}");
    let session = init["session_id"].as_str().unwrap();
    assert!(lines.iter().all(|line| line["session_id"] == session), "one session in all lines");
    let ids: std::collections::BTreeSet<_> = lines.iter().map(|line| line["uuid"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), lines.len(), "each line has an id of its own");

    let said = of(&lines, "assistant", "");
    assert_eq!(said.len(), 3);
    assert_eq!(said[0]["message"]["content"][0]["text"], "I look first.");
    assert_eq!(said[0]["message"]["stop_reason"], "tool_use");
    assert!(said[0]["message"]["usage"]["output_tokens"].as_u64().unwrap() > 0, "{}", said[0]);
    assert_eq!(said[2]["message"]["content"], serde_json::json!([{ "type": "text", "text": "Replaced." }]));
    let heard = of(&lines, "user", "");
    let results = &heard[0]["message"]["content"];
    assert_eq!(results[0]["tool_use_id"], said[0]["message"]["content"][1]["id"], "results name their calls");
    assert_eq!((&results[0]["is_error"], &results[1]["is_error"]), (&Value::Null, &true.into()));

    let started = of(&lines, "system", "task_started");
    assert_eq!(started.iter().map(|line| &line["description"]).collect::<Vec<_>>(), ["one", "two"]);
    assert!(said.iter().chain(&heard).all(|line| line["parent_tool_use_id"] == started[0]["tool_use_id"]));
    let ended = of(&lines, "system", "task_notification");
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(ended.iter().all(|line| line["status"] == "completed"), "{ended:?}");
    assert_eq!(of(&lines, "system", "node_landed").len(), 1);

    assert_eq!(kinds(&lines).iter().filter(|kind| **kind == "result").count(), 1);
    let result = lines.last().unwrap();
    assert_eq!(
        (&result["subtype"], &result["is_error"], &result["exit"]),
        (&"success".into(), &false.into(), &0.into())
    );
    assert_eq!((&result["num_turns"], &result["terminal_reason"]), (&3.into(), &"completed".into()));
    let spent = repo.wattle(&["cost", "--json"]).ok().json();
    assert_eq!(result["total_cost_usd"], spent["total"]["usd"], "the same money as in the ledger");
    let out: u64 = said.iter().map(|line| line["message"]["usage"]["output_tokens"].as_u64().unwrap()).sum();
    assert_eq!(result["usage"]["output_tokens"], out, "the turns add up");
    service.stop();
}

#[test]
fn an_end_that_is_no_success_says_so_in_the_last_line() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a.txt", "a\n")]);
    let format = ["--output-format", "stream-json"];
    let check = |plan: &str, code: i32, subtype: &str, word: &str| {
        let plan = file(&env, "plan.yaml", plan);
        let lines =
            repo.wattle(&[&["run", "-f", &plan, "--approve", "auto"], &format[..]].concat()).code(code).events();
        let result = lines.last().unwrap();
        assert_eq!((&result["type"], &result["subtype"]), (&"result".into(), &subtype.into()), "{result}");
        assert_eq!((&result["is_error"], &result["exit"]), (&(code != 4).into(), &code.into()), "{result}");
        assert!(result.to_string().contains(word), "{result}");
        lines
    };
    let steps = |rest: &str| format!("version: 1\ntask: t\nchecks: []\nsteps: [{{ id: s, {rest} }}]\n");
    let failed = check(&steps("touches: [a.txt], run: \"exit 3\""), 1, "error_during_execution", "failed");
    let told = of(&failed, "system", "task_notification");
    assert_eq!(told[0]["status"], "failed", "{told:?}");
    // Nothing begins: the one line there is says why.
    let lines = check(&steps("touches: [a.txt], run: x, colour: red"), 3, "error_during_execution", "colour");
    assert_eq!(lines.len(), 1);
    check(&steps("touches: [a.txt], agent: { prompt: p }"), 5, "error_during_execution", "--model");
    let plan = file(&env, "plan.yaml", &steps("touches: [a.txt], run: \"echo b > a.txt\""));
    let lines = repo.wattle(&[&["run", "-f", &plan, "--approve", "manual"], &format[..]].concat()).code(4).events();
    let result = lines.last().unwrap();
    assert_eq!((&result["subtype"], &result["terminal_reason"]), (&"success".into(), &"review".into()), "{result}");
    let wrong = repo.wattle(&["run", "-f", &plan, "--output-format", "xml"]).code(2);
    assert!(wrong.err.contains("stream-json"), "{}", wrong.err);
}
