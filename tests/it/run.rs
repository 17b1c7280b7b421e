//! Whole runs from the command line: review, landing, failures, groups, configuration and the lead.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::env::{TestEnv, TestRepo};

/// Three independent edits and a reader of all.
const PLAN: &str = r#"
version: 1
task: Say new
checks: [{ name: no-bad, run: "! grep -rq bad a b c" }]
steps:
  - { id: a, touches: ["a/**"], run: "echo new >a/f" }
  - { id: b, touches: ["b/**"], run: "echo new >b/f" }
  - { id: c, needs: [a], touches: ["c/**"], run: "echo new >c/f" }
  - { id: all, needs: [a, b, c], run: "cat a/f b/f c/f" }
"#;

fn three<'e>(env: &'e TestEnv, plan: &str) -> TestRepo<'e> {
    let repo = env.repo("r", &[("a/f", "old\n"), ("b/f", "old\n"), ("c/f", "old\n")]);
    std::fs::write(env.root().join("plan.yaml"), plan).expect("the folder is ours");
    repo
}

fn states(repo: &TestRepo<'_>) -> String {
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let step =
        |step: &Value| format!("{} {}", step["id"].as_str().unwrap_or("?"), step["state"].as_str().unwrap_or("?"));
    status["steps"].as_array().into_iter().flatten().map(step).collect::<Vec<_>>().join(", ")
}

#[test]
fn manual_review_approve_and_merge() {
    let env = TestEnv::new();
    let repo = three(&env, PLAN);
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    assert_eq!(states(&repo), "a review, b review, c review, all done");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    assert_eq!(repo.read("a/f"), "old\n");

    let review = repo.wattle(&["review", "a", "--json"]).ok().json();
    let step = &review["steps"][0];
    assert_eq!((&step["risk"], &step["paths"]), (&json!("LOW"), &json!(["a/f"])));
    assert!(step["diff"].as_str().unwrap().contains("-old\n+new\n"));
    assert_eq!(step["evidence"][0]["exit"], 0);
    let commit = step["commit"].as_str().unwrap();
    assert_eq!(repo.git(&["cat-file", "-t", commit]), "commit");

    let stale = repo.wattle(&["approve", "a@0123456789"]).code(2);
    assert!(stale.err.contains("a has changed: you saw 0123456789"), "{}", stale.err);
    drop(repo.wattle(&["approve", &format!("a@{commit}")]).ok());
    let early = repo.wattle(&["merge", "b"]);
    assert_ne!(early.code, 0, "b is not approved");
    drop(repo.wattle(&["approve", "--all", "--except", "a"]).ok());
    assert_eq!(states(&repo), "a approved, b approved, c approved, all done");
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(states(&repo), "a landed, b landed, c landed, all done");
    assert_eq!(repo.read("a/f") + &repo.read("b/f") + &repo.read("c/f"), "new\nnew\nnew\n");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    let merges = repo.git(&["log", "--first-parent", "--format=%s", "main"]);
    assert_eq!(merges, "Land c\nLand b\nLand a\nfirst");
    drop(repo.wattle(&["resume"]).ok());
}

#[test]
fn auto_lands_everything_and_clean_leaves_nothing() {
    let env = TestEnv::new();
    let repo = three(&env, PLAN);
    let events = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]).ok().events();
    let landed = events.iter().filter(|event| event["type"] == "landed" && event["verified"] == true).count();
    assert_eq!(landed, 3);
    assert!(events.iter().all(|event| event["v"] == 1 && event["seq"].is_u64() && event["ts"].is_string()));
    assert_eq!(events[0]["type"], "run_started");
    assert_eq!(events[0]["base"]["commit"], repo.git(&["rev-parse", "main~3"]));
    let logged = repo.wattle(&["log", "--json"]).ok().events();
    assert_eq!(logged, events, "the log is what the run said");
    let after = events[4]["seq"].to_string();
    assert_eq!(repo.wattle(&["log", "--json", "--after", &after]).ok().events(), &events[5..]);
    let dry = repo.wattle(&["clean", "--dry-run"]).ok();
    assert!(dry.out.contains("would free branch wattle/"), "{}", dry.out);
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    repo.git(&["fsck", "--strict"]);
    assert_eq!(states(&repo), "a landed, b landed, c landed, all done", "the journal stays");
}

#[test]
fn the_status_is_the_one_of_the_contract() {
    let env = TestEnv::new();
    let repo = three(&env, PLAN);
    assert_eq!(repo.wattle(&["status", "--json"]).code(5).json()["error"]["code"], "no_run");
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--name", "first"]).code(4));
    let status = repo.wattle(&["status", "--json", "-r", "first"]).ok().json();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(&status),
        [
            "v",
            "run",
            "name",
            "state",
            "task",
            "target",
            "base",
            "tip",
            "isolation",
            "live",
            "steps",
            "queue",
            "usage",
            "usd"
        ]
    );
    assert_eq!(
        keys(&status["steps"][0]),
        [
            "id", "title", "group", "mode", "state", "terminal", "needs", "touches", "attempts", "branch", "commit",
            "worktree", "risk", "check", "approved", "usage", "usd", "why", "message"
        ]
    );
    assert_eq!(
        (&status["live"], &status["isolation"], &status["target"]),
        (&Value::Null, &json!("none"), &json!("main"))
    );
    let branch = status["steps"][0]["branch"].as_str().unwrap();
    assert_eq!(repo.git(&["rev-parse", branch]), status["steps"][0]["commit"]);
    assert_eq!(repo.wattle(&["runs", "--json"]).ok().json()["runs"][0]["name"], "first");
}

#[test]
fn a_failed_step_blocks_its_dependents_and_shows_its_output() {
    let env = TestEnv::new();
    let plan = PLAN
        .replace("echo new >a/f", "echo why it fails; exit 3")
        .replace("checks:", "defaults: { retries: 0 }\nchecks:");
    let repo = three(&env, &plan);
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).code(1));
    assert_eq!(states(&repo), "a failed, b landed, c blocked, all blocked");
    let log = repo.wattle(&["log", "a"]).ok();
    assert!(log.out.contains("why it fails"), "{}", log.out);
    std::fs::write(env.root().join("fixed"), "").unwrap();
    drop(repo.wattle(&["retry", "b"]).code(2));
    drop(repo.wattle(&["retry", "a"]).ok());
    assert!(states(&repo).starts_with("a waiting"), "{}", states(&repo));
}

#[test]
fn ten_mistakes_are_named_at_once_and_nothing_is_touched() {
    let env = TestEnv::new();
    let plan = "version: 1\ntask: t\nchecks: [{ name: x }]\ncolour: red\nsteps:\n  - { id: A, run: x }\n  - { id: a }\n  - { id: a, run: x, rewrite: { rule: r } }\n  - { id: b, run: x, needs: [nope] }\n  - { id: c, run: x, needs: [d] }\n  - { id: d, run: x, needs: [c] }\n  - { id: e, mode: read, touches: [\"x\"], run: x }\n  - { id: f, run: x, timeout: soon }\n  - { id: g, run: x, touches: [\"[\"] }\n";
    let repo = three(&env, plan);
    let answer = repo.wattle(&["run", "-f", "../plan.yaml", "--json"]).code(3).json();
    let problems = answer["error"]["problems"].as_array().unwrap();
    assert!(problems.len() >= 10, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem["at"]["line"].as_u64() > Some(2)), "{problems:#?}");
    assert_eq!(answer["error"]["at"]["file"], "../plan.yaml");
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_task_that_is_a_file_is_a_mistake() {
    let env = TestEnv::new();
    let repo = three(&env, PLAN);
    let answer = repo.wattle(&["run", "../plan.yaml"]).code(2);
    assert_snapshot!(answer.whole(), @"
    exit 2
    --- stderr
    error: `../plan.yaml` is a file, not a task
      hint: use -f ../plan.yaml
    ");
    let model = repo.wattle(&["run", "do it", "--json"]).code(5).json();
    assert_eq!(model["error"]["code"], "no_model");
    drop(repo.wattle(&["run", "do it", "--dry-run"]).ok());
}

#[test]
fn a_group_lands_in_one_move() {
    let env = TestEnv::new();
    let plan = r#"
version: 1
task: Rename
checks: [{ name: same, run: "cmp a/f b/f" }]
groups: { both: { land: together } }
steps:
  - { id: a, group: both, touches: ["a/**"], run: "echo new >a/f" }
  - { id: b, group: both, touches: ["b/**"], run: "echo new >b/f" }
"#;
    let repo = three(&env, plan);
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).ok());
    assert_eq!(states(&repo), "a landed, b landed");
    let moves = repo.git(&["reflog", "show", "--format=%gs", "main"]);
    assert_eq!(moves.lines().count(), 2, "{moves}");
}

#[test]
fn a_check_that_is_red_on_the_base_blames_nobody() {
    let env = TestEnv::new();
    let repo = three(&env, &PLAN.replace("! grep -rq bad a b c", "false"));
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).code(7));
    assert!(!states(&repo).contains("failed"), "{}", states(&repo));
    assert_eq!(repo.read("a/f"), "old\n");
}

#[test]
fn the_configuration_completes_a_plan_only_when_it_is_trusted() {
    let env = TestEnv::new();
    let plan = PLAN.replace("checks: [{ name: no-bad, run: \"! grep -rq bad a b c\" }]\n", "");
    let repo = three(&env, &plan);
    let unchecked = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]).code(3).json();
    assert_eq!(unchecked["error"]["code"], "no_checks");
    repo.commit("config", &[(".wattle/config.yaml", "checks: [{ name: from-config, run: \"test -e a/f\" }]\n")]);
    let untrusted = repo.wattle(&["run", "-f", "../plan.yaml", "--json"]).code(5).json();
    assert_eq!(untrusted["error"]["code"], "untrusted");
    drop(repo.wattle(&["trust"]).ok());
    let events = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]).ok().events();
    assert!(events.iter().any(|event| event["type"] == "check_finished" && event["check"] == "from-config"));
}

#[test]
fn a_sharded_rewrite_equals_the_rule_applied_in_one_go() {
    let env = TestEnv::new();
    let text = "fn f() {\n    old(1);\n}\n";
    let files: Vec<(String, &str)> = (0..8).map(|i| (format!("d{i}/x.rs"), text)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let repo = env.repo("r", &files);
    let rule = "id: r\nlanguage: rust\nrule: { pattern: old($A) }\nfix: new($A)\n";
    repo.commit("rule", &[("rules/r.yml", rule)]);
    drop(repo.wattle(&["plan", "--rule", "rules/r.yml", "--by", "dir", "-o", "plan.yaml"]).ok());
    drop(repo.wattle(&["run", "-f", "plan.yaml", "--jobs", "4"]).code(4));
    drop(repo.wattle(&["approve", "d*"]));
    drop(repo.wattle(&["approve", "--all"]));
    drop(repo.wattle(&["merge"]).ok());
    for i in 0..8 {
        assert_eq!(repo.read(&format!("d{i}/x.rs")), text.replace("old", "new"));
    }
}

#[test]
fn a_leads_plan_waits_for_its_user_and_resume_executes_it() {
    let env = TestEnv::new();
    let repo = three(&env, "");
    let script = r#"
version: 1
replies:
  - match: { role: lead, turn: 0 }
    blocks:
      - tool: SubmitPlan
        input: { steps: [{ id: only, touches: ["a/**"], run: "echo led >a/f" }] }
  - match: { role: lead }
    blocks: [{ text: done }]
"#;
    std::fs::write(env.root().join("script.yaml"), script).unwrap();
    let model = ["--model", "script:../script.yaml"];
    let planned = repo.wattle(&[&["plan", "Lead it"][..], &model].concat()).ok();
    assert!(planned.out.contains("id: only"), "{}", planned.out);
    let ready = repo.wattle(&[&["run", "Lead it"][..], &model].concat()).code(4);
    assert!(ready.out.contains("id: only"), "{}", ready.out);
    assert_eq!(states(&repo), "only waiting");
    drop(repo.wattle(&["resume"]).code(4));
    assert_eq!(states(&repo), "only review");
    let yes = repo.wattle(&[&["run", "Lead it", "--yes", "--until", "review"][..], &model].concat()).ok();
    assert!(yes.out.contains("review"), "{}", yes.out);
}

#[test]
fn comments_go_to_the_worker_with_redo_and_reject_is_final() {
    let env = TestEnv::new();
    let repo = three(&env, PLAN);
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    drop(repo.wattle(&["comment", "b", "-m", "say it louder", "--at", "b/f:1"]).ok());
    let drafted = repo.wattle(&["review", "b", "--json"]).ok().json();
    assert_eq!(drafted["steps"][0]["drafts"], json!(["say it louder"]));
    drop(env.wattle_fed(&repo.path, &["redo", "b", "-F", "-"], "and again\n").ok());
    assert!(states(&repo).contains("b waiting"), "{}", states(&repo));
    let rejected = repo.wattle(&["reject", "a", "-m", "not this"]).ok();
    assert!(rejected.err.contains("restack"), "it says what it means for dependents: {}", rejected.err);
    assert!(states(&repo).starts_with("a rejected"), "{}", states(&repo));
    drop(repo.wattle(&["approve", "a"]).code(2));
    let restored = repo.wattle(&["restore", "a"]).ok();
    let branch = restored.out.trim();
    assert_eq!(repo.git(&["show", &format!("{branch}:a/f")]), "new", "rejected work is kept aside");
    let path = repo.wattle(&["path", "c", "--json"]).ok().json();
    let file = std::path::Path::new(path["path"].as_str().unwrap()).strip_prefix("$ROOT").unwrap().join("c/f");
    assert_eq!(std::fs::read_to_string(env.root().join(file)).unwrap(), "new\n");
}
