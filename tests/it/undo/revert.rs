//! `wattle revert`: the inverse of what has landed, through the same queue.

use serde_json::json;

use super::{states, world};
use crate::env::{TestEnv, TestRepo};

const PLAN: &str = r#"
version: 1
task: Change the files
checks: [{ name: no-bad, run: "! grep -rq bad a b c" }]
steps:
  - { id: a, title: Change a, touches: ["a/**"], run: "echo new >a/f; echo more >a/g" }
  - { id: b, touches: ["b/**"], run: "echo new >b/f" }
"#;

fn landed<'e>(env: &'e TestEnv, plan: &str) -> TestRepo<'e> {
    let repo = world(env, plan);
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).ok());
    repo
}

#[test]
fn a_landed_step_is_undone_on_the_exact_tree_that_was_checked() {
    for style in ["merge", "squash"] {
        let env = TestEnv::new();
        let repo = landed(&env, &format!("{PLAN}commit: {{ style: {style} }}\n"));
        let events = repo.wattle(&["revert", "a", "--json"]).ok().events();
        assert_eq!((repo.read("a/f"), repo.read("b/f")), ("old\n".to_owned(), "new\n".to_owned()));
        assert!(!repo.path.join("a/g").exists());
        assert_eq!(repo.git(&["status", "--porcelain"]), "");
        let landed = events.iter().find(|event| event["type"] == "landed").unwrap();
        assert_eq!((&landed["step"], &landed["verified"]), (&json!("revert-a"), &json!(true)));
        assert_eq!(landed["tree"], json!(repo.git(&["rev-parse", "main^{tree}"])));
        let green = |event: &&serde_json::Value| event["type"] == "check_finished" && event["verdict"] == "green";
        assert_eq!(events.iter().find(green).unwrap()["tree"], landed["tree"], "its checks ran on the exact tree");
        let approved = events.iter().find(|event| event["type"] == "approved").unwrap();
        assert_eq!((&approved["step"], &approved["by"]), (&json!("revert-a"), &json!("Tess Ter")));
        let message = repo.git(&["log", "-1", "--format=%B", "main"]);
        let first = repo.wattle(&["runs", "--json"]).ok().json()["runs"][1]["run"].as_str().unwrap().to_owned();
        assert!(message.contains("Revert Change a"), "{message}");
        assert!(message.contains(&format!("Wattle-Reverts: {first}/a\n")), "{message}");
        assert!(message.contains("Approved-by: Tess Ter"), "{message}");
        assert_eq!(states(&repo, &[]), "revert-a landed");
        // The undo of the undo brings the change back; what is undone already changes nothing.
        drop(repo.wattle(&["revert", "revert-a"]).ok());
        assert_eq!((repo.read("a/f"), repo.read("a/g")), ("new\n".to_owned(), "more\n".to_owned()));
        drop(repo.wattle(&["revert", "a"]).ok());
        let tip = repo.git(&["rev-parse", "main"]);
        drop(repo.wattle(&["revert", "a"]).ok());
        assert_eq!(states(&repo, &[]), "revert-a unchanged");
        assert_eq!(repo.git(&["rev-parse", "main"]), tip);
        repo.git(&["fsck", "--strict"]);
    }
}

#[test]
fn a_group_is_undone_whole_and_what_built_on_it_is_named() {
    let env = TestEnv::new();
    let plan = r#"
version: 1
task: Change the files
checks: [{ name: same, run: "cmp a/f b/f" }]
groups: { both: { land: together } }
steps:
  - { id: a, group: both, touches: ["a/**"], run: "echo new >a/f" }
  - { id: b, group: both, touches: ["b/**"], run: "echo new >b/f" }
  - { id: c, needs: [b], touches: ["c/**"], run: "cp b/f c/f" }
"#;
    let repo = landed(&env, plan);
    let dry = repo.wattle(&["revert", "a", "--dry-run", "--json"]).ok().json();
    assert_eq!((&dry["steps"], &dry["with"], &dry["built_on"]), (&json!(["a", "b"]), &json!(["b"]), &json!(["c"])));
    assert_eq!(repo.read("a/f"), "new\n", "a dry run changes nothing");
    let undone = repo.wattle(&["revert", "a"]).ok();
    assert!(undone.err.contains("a group is undone whole: b too"), "{}", undone.err);
    assert!(undone.err.contains("warning: c came later and built on it"), "{}", undone.err);
    assert_eq!(
        (repo.read("a/f"), repo.read("b/f"), repo.read("c/f")),
        ("old\n".into(), "old\n".into(), "new\n".into())
    );
    assert_eq!(repo.git(&["log", "-1", "--format=%B"]).matches("Wattle-Reverts: ").count(), 2);
}

#[test]
fn an_undo_that_conflicts_with_later_work_fails_with_the_paths_and_leaves_the_target() {
    let env = TestEnv::new();
    let repo = landed(&env, PLAN);
    let tip = repo.commit("later", &[("a/f", "newer\n")]);
    let undone = repo.wattle(&["revert", "a", "--json"]).code(1).events();
    let failed = undone.iter().find(|event| event["type"] == "step_state" && event["state"] == "failed").unwrap();
    assert_eq!(failed["why"], "conflict");
    assert!(failed["message"].as_str().unwrap().contains("conflict in a/f"), "{failed}");
    assert_eq!((repo.git(&["rev-parse", "main"]), repo.git(&["status", "--porcelain"])), (tip, String::new()));
    // When the later work is gone it is only tried again.
    repo.commit("back", &[("a/f", "new\n")]);
    drop(repo.wattle(&["retry", "revert-a"]).ok());
    drop(repo.wattle(&["resume"]).ok());
    assert_eq!((states(&repo, &[]).as_str(), repo.read("a/f").as_str()), ("revert-a landed", "old\n"));
}

#[test]
fn an_undo_whose_checks_are_red_does_not_land() {
    let env = TestEnv::new();
    let repo = landed(&env, &PLAN.replace("! grep -rq bad a b c", "grep -q new a/f || test ! -e a/strict"));
    let tip = repo.commit("strict", &[("a/strict", "")]);
    drop(repo.wattle(&["revert", "a"]).code(1));
    assert_eq!((states(&repo, &[]).as_str(), repo.git(&["rev-parse", "main"])), ("revert-a failed", tip));
}

#[test]
fn an_undo_may_wait_for_its_review() {
    let env = TestEnv::new();
    let repo = landed(&env, PLAN);
    drop(repo.wattle(&["revert", "a", "b", "--approve", "manual"]).code(4));
    assert_eq!(states(&repo, &[]), "revert-a review");
    let diff = repo.wattle(&["review", "revert-a"]).ok().out;
    assert!(diff.contains("-more") && diff.contains("b/f"), "{diff}");
    drop(repo.wattle(&["approve", "revert-a"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!((repo.read("a/f"), repo.read("b/f")), ("old\n".to_owned(), "old\n".to_owned()));
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
}

#[test]
fn setup_step_checks_and_final_checks_hold_for_the_undo_too() {
    let env = TestEnv::new();
    let plan = r#"
version: 1
task: Change
setup: { run: "touch .ready", key: [a/f] }
checks:
  - { name: own, at: step, run: "test -e .ready && echo own $WATTLE_STEP >>$LOG" }
  - { name: end, at: final, run: "test -e .ready && echo final >>$LOG", env: { X: "1" }, timeout: 1m }
steps:
  - { id: a, touches: ["a/**"], run: "echo new >a/f" }
"#;
    let log = env.root().join("log");
    let repo = world(&env, &plan.replace("$LOG", log.to_str().unwrap()));
    repo.commit("ignore", &[(".gitignore", ".ready\n")]);
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).ok());
    drop(repo.wattle(&["revert", "a"]).ok());
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log, "own a\nfinal\nown revert-a\nfinal\n");
    assert_eq!(repo.read("a/f"), "old\n");
}

#[test]
fn the_own_checks_of_what_is_undone_decide_until_their_user_leaves_them_out() {
    let env = TestEnv::new();
    let log = env.root().join("log");
    let plan = format!(
        r#"
version: 1
task: Change
checks: []
steps:
  - id: a
    touches: ["a/**"]
    env: {{ WORD: "it's new" }}
    run: 'echo "$WORD" >a/f'
    check: {{ run: 'echo "$WATTLE_STEP $WORD" >>{0}; grep -q "$WORD" a/f' }}
  - id: b
    touches: ["b/**"]
    env: {{ WORD: other }}
    run: echo new >b/f
    check: {{ run: 'echo "$WATTLE_STEP $WORD" >>{0}; test -s b/f' }}
"#,
        log.display()
    );
    let repo = landed(&env, &plan);
    let ran = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        _ = std::fs::remove_file(&log);
        text
    };
    drop(ran());
    let dry = repo.wattle(&["revert", "b", "--dry-run", "--json"]).ok().json();
    assert_eq!(dry["checked_by"], json!(["b"]));
    let undone = repo.wattle(&["revert", "b"]).ok();
    assert!(undone.err.contains("the own check of b runs too"), "{}", undone.err);
    assert_eq!((ran().as_str(), repo.read("b/f").as_str()), ("revert-b other\n", "old\n"));
    // Red, as it has to be: it asks for the change itself. Nothing lands, and the words say what to do.
    let tip = repo.git(&["rev-parse", "main"]);
    let red = repo.wattle(&["revert", "a"]).code(1);
    assert!(red.err.contains("--no-step-check leaves it out"), "{}", red.err);
    assert_eq!((ran().as_str(), repo.git(&["rev-parse", "main"])), ("revert-a it's new\n", tip.clone()));
    // Both together: each with its own variables, one after the other.
    drop(repo.wattle(&["revert", "revert-b"]).ok());
    drop(ran());
    drop(repo.wattle(&["revert", "b", "a"]).code(1));
    assert!(ran().ends_with("revert-b it's new\n"), "the first that is red ends it");
    drop(repo.wattle(&["revert", "a", "--no-step-check"]).ok());
    assert_eq!((ran().as_str(), repo.read("a/f").as_str()), ("", "old\n"));
}

#[test]
fn what_cannot_be_undone_is_refused_with_what_to_do() {
    let env = TestEnv::new();
    let repo = world(&env, PLAN);
    assert_eq!(repo.wattle(&["revert", "a", "--json"]).code(5).json()["error"]["code"], "no_run");
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    let open = repo.wattle(&["revert", "a", "--json"]).code(2).json();
    assert_eq!(open["error"]["code"], "refused");
    assert_eq!(open["error"]["message"], "a is review and has not landed: there is nothing to undo");
    assert_eq!(open["error"]["hint"], "wattle reject a keeps it from landing");
    drop(repo.wattle(&["revert", "z"]).code(2));
    drop(repo.wattle(&["approve", "a"]).ok());
    drop(repo.wattle(&["merge", "a"]).code(4));
    repo.git(&["checkout", "--quiet", "--detach"]);
    repo.git(&["branch", "--quiet", "-m", "main", "elsewhere"]);
    assert_eq!(repo.wattle(&["revert", "a", "--json"]).code(5).json()["error"]["code"], "no_target");
}

#[test]
fn beside_a_live_run_an_undo_is_refused() {
    let env = TestEnv::new();
    let gate = env.root().join("gate");
    let plan = PLAN
        .replace("echo new >b/f", &format!("while ! test -e {}; do sleep 0.02; done; echo new >b/f", gate.display()));
    let repo = world(&env, &plan);
    let mut live = repo.spawn(&["run", "-f", "../plan.yaml", "--approve", "auto", "--jobs", "2", "--json"]);
    live.wait_for(|event| event["type"] == "landed");
    let busy = repo.wattle(&["revert", "a", "--json"]).code(8).json();
    assert_eq!(busy["error"]["code"], "busy");
    std::fs::write(gate, "").unwrap();
    drop(live.end().ok());
    drop(repo.wattle(&["revert", "a"]).ok());
}

#[test]
fn an_undo_on_a_rewritten_target_goes_by_content() {
    let env = TestEnv::new();
    let repo = landed(&env, PLAN);
    // What landed is now one commit with other ids, as after a rebase by hand.
    repo.git(&["reset", "--quiet", "--soft", "main~2"]);
    repo.git(&["commit", "--quiet", "-m", "squashed"]);
    let undone = repo.wattle(&["revert", "a"]).ok();
    assert!(undone.err.contains("main has been rewritten since a landed"), "{}", undone.err);
    assert_eq!((repo.read("a/f"), repo.read("b/f")), ("old\n".to_owned(), "new\n".to_owned()));
}
