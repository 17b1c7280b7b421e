//! Every verb from a second terminal while a run is live: its event is in the first one's stream within a second.
//! And what verbs say when nothing runs, when a commit has changed meanwhile, and what becomes of an approval.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{Background, TestEnv, TestRepo};

/// In which time a verb of a second terminal has to be seen in the first.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

const SCRIPT: &str = r#"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Ask, input: { question: "Which word?" } }]
  - match: { turn: 1, tool_result: blue }
    blocks: [{ tool: Write, input: { file_path: ask.txt, content: "blue\n" } }]
  - match: { turn: 2 }
    blocks: [{ text: Written. }]
"#;

/// Steps in every state that a verb can find: `hold` and its like are at work until told otherwise.
fn busy(env: &TestEnv) -> TestRepo<'_> {
    let root = env.root().display();
    let until = |gate: &str, file: &str| format!("until test -e {root}/{gate}; do sleep 0.02; done; echo x > {file}");
    let plan = format!(
        r#"
version: 1
task: Busy
checks: []
defaults: {{ retries: 0 }}
steps:
  - {{ id: hold, touches: [hold.txt], run: '{}' }}
  - {{ id: long, touches: [long.txt], run: '{}' }}
  - {{ id: vain, touches: [vain.txt], run: '{}' }}
  - {{ id: later, needs: [hold], touches: [later.txt], run: echo x > later.txt }}
  - {{ id: good, touches: [good.txt], run: 'echo "$WATTLE_ATTEMPT" > good.txt' }}
  - {{ id: poor, touches: [poor.txt], run: echo x > poor.txt }}
  - {{ id: fails, touches: [fails.txt], run: 'test -e {root}/mended && echo x > fails.txt' }}
  - {{ id: ask, touches: [ask.txt], agent: {{ prompt: Write the word. }} }}
"#,
        until("gate", "hold.txt"),
        until("gate", "long.txt"),
        until("never", "vain.txt"),
    );
    std::fs::write(env.root().join("plan.yml"), plan).unwrap();
    std::fs::write(env.root().join("model.yml"), SCRIPT).unwrap();
    env.repo("repo", &[("0", "0\n")])
}

const RUN: [&str; 8] = ["run", "-f", "../plan.yml", "--jobs", "8", "--model", "script:../model.yml", "--json"];

fn is(step: &'static str, state: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == "step_state" && event["step"] == step && event["state"] == state
}

fn kind(kind: &'static str, step: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == kind && event["step"] == step
}

/// Gives a verb and waits for what it does in the first terminal.
#[track_caller]
fn verb(repo: &TestRepo<'_>, run: &mut Background<'_>, args: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
    let then = Instant::now();
    let given = repo.wattle(args).ok();
    assert!(given.err.contains("picked up by run"), "{args:?}: {}", given.err);
    let event = run.next_that(fits);
    assert!(then.elapsed() < SEEN_WITHIN, "{args:?} took {:?}", then.elapsed());
    event
}

fn state(repo: &TestRepo<'_>, step: &str) -> String {
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let steps = status["steps"].as_array().unwrap();
    let found = steps.iter().find(|row| row["id"] == step).unwrap();
    found["state"].as_str().unwrap().to_owned()
}

#[test]
fn every_verb_is_seen_within_a_second() {
    let env = TestEnv::new();
    let repo = busy(&env);
    let mut run = repo.spawn(&RUN);
    let first = run.wait_for(is("good", "review"))["work"]["commit"].as_str().unwrap().to_owned();
    for (step, state) in [("poor", "review"), ("fails", "failed"), ("ask", "needs_input")] {
        run.wait_for(is(step, state));
    }
    for step in ["hold", "long", "vain"] {
        run.wait_for(is(step, "running"));
    }
    let status = repo.wattle(&["status", "--json"]).ok().json();
    assert!(status["live"]["pid"].is_u64(), "{}", status["live"]);

    let comment = ["comment", "good", "-m", "Longer, please", "--at", "good.txt:1"];
    let seen = verb(&repo, &mut run, &comment, kind("comment", "good"));
    assert_eq!((seen["text"].as_str(), seen["at"].as_str()), (Some("Longer, please"), Some("good.txt:1")));
    verb(&repo, &mut run, &["redo", "good"], is("good", "waiting"));
    run.next_that(is("good", "review"));
    let seen = repo.wattle(&["approve", &format!("good@{first}")]);
    assert_ne!(seen.code, 0);
    assert!(seen.err.contains("good has changed"), "{}", seen.err);
    assert_eq!(state(&repo, "good"), "review");
    verb(&repo, &mut run, &["approve", "good"], is("good", "approved"));
    verb(&repo, &mut run, &["merge", "good"], |event| event["type"] == "merge_asked");
    run.wait_for(kind("landed", "good"));
    assert_eq!(repo.git(&["show", "main:good.txt"]), "2");

    let seen = verb(&repo, &mut run, &["reject", "poor", "-m", "no"], is("poor", "rejected"));
    assert_eq!(seen["message"], "no");
    verb(&repo, &mut run, &["reject", "later"], is("later", "skipped"));
    verb(&repo, &mut run, &["reject", "vain"], is("vain", "cancelled"));
    verb(&repo, &mut run, &["stop", "long"], is("long", "parked"));
    std::fs::write(env.root().join("mended"), "").unwrap();
    verb(&repo, &mut run, &["retry", "fails"], is("fails", "waiting"));
    run.next_that(is("fails", "review"));
    verb(&repo, &mut run, &["answer", "ask", "-m", "blue"], kind("answered", "ask"));
    run.next_that(is("ask", "review"));
    verb(&repo, &mut run, &["stop"], |event| {
        event["type"] == "command" && event["verb"].as_str().is_some_and(|verb| verb.contains("stop"))
    });
    let end = run.end().code(4);
    assert_eq!(end.events().pop().unwrap()["state"], "parked");
    assert_eq!(state(&repo, "hold"), "parked");
    let ask = format!("wattle/{}/ask:ask.txt", status["run"].as_str().unwrap());
    assert_eq!(repo.git(&["show", &ask]), "blue");
}

#[test]
fn with_nothing_running_verbs_say_so() {
    let env = TestEnv::new();
    std::fs::write(env.root().join("plan.yml"), STANDING).unwrap();
    let repo = env.repo("repo", &[("a.txt", LINES)]);
    let _ = repo.wattle(&["run", "-f", "../plan.yml"]).code(4);
    let comment = repo.wattle(&["comment", "one", "-m", "hm"]).ok();
    assert!(comment.err.contains("nothing runs: wattle resume"), "{}", comment.err);
    let stop = repo.wattle(&["stop"]);
    assert_ne!(stop.code, 0);
    assert!(stop.err.contains("nothing runs") && stop.err.contains("wattle resume"), "{}", stop.err);
}

#[test]
fn a_journal_that_another_process_holds_is_busy_and_not_broken() {
    let env = TestEnv::new();
    std::fs::write(env.root().join("plan.yml"), STANDING).unwrap();
    let repo = env.repo("repo", &[("a.txt", LINES)]);
    let _ = repo.wattle(&["run", "-f", "../plan.yml"]).code(4);
    let holder = rusqlite::Connection::open(env.state().join("journal.db")).unwrap();
    // As of an owner that was stopped while it wrote.
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = repo.wattle(&["approve", "one", "--json"]).code(8);
    assert_eq!(said.json()["error"]["code"], "busy", "{}", said.whole());
    assert!(said.whole().contains("try again"), "{}", said.whole());
    holder.execute_batch("ROLLBACK").unwrap();
    let _ = repo.wattle(&["approve", "one", "--json"]).ok();
}

#[test]
fn a_second_run_is_told_who_holds_the_repository() {
    let env = TestEnv::new();
    let repo = busy(&env);
    let mut run = repo.spawn(&RUN);
    run.wait_for(is("hold", "running"));
    let pid = repo.wattle(&["status", "--json"]).ok().json()["live"]["pid"].to_string();
    let refs = repo.git(&["for-each-ref"]);
    let second = repo.wattle(&RUN[..7]).code(8);
    assert!(second.err.contains(&format!("pid {pid}")), "{}", second.err);
    let second = repo.wattle(&["resume", "--json"]).code(8);
    assert!(second.json()["error"]["message"].as_str().unwrap().contains(&pid));
    assert!(repo.git(&["for-each-ref"]).len() >= refs.len());
    let _ = repo.wattle(&["stop"]).ok();
    let _ = run.end().code(4);
}

/// Two stands on one: `far` changes a line far from that of `one`, `near` one whose surroundings `one` changes.
const STANDING: &str = r#"
version: 1
task: Stand on each other
checks: []
steps:
  - { id: one, touches: [a.txt], run: 'sed -i "2s/.*/two $WATTLE_ATTEMPT/" a.txt' }
  - { id: near, needs: [one], touches: ["a*"], run: 'sed -i "5s/.*/five/" a.txt' }
  - { id: far, needs: [near], touches: ["*.txt"], run: 'sed -i "12s/.*/twelve/" a.txt' }
"#;

const LINES: &str = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";

#[test]
fn what_stands_on_a_step_names_what_is_directly_below_and_waits_for_all_of_it() {
    let env = TestEnv::new();
    std::fs::write(env.root().join("plan.yml"), STANDING).unwrap();
    let repo = env.repo("repo", &[("a.txt", LINES)]);
    let run = repo.wattle(&["run", "-f", "../plan.yml", "--json"]).code(4);
    let on = |step: &str| -> Vec<Value> {
        let events = run.events();
        let made = events.iter().find(|event| event["step"] == step && event["work"].is_object());
        made.unwrap()["work"]["on"].as_array().unwrap().iter().map(|entry| entry["step"].clone()).collect()
    };
    assert_eq!((on("one"), on("near"), on("far")), (vec![], vec!["one".into()], vec!["near".into()]));
    let _ = repo.wattle(&["approve", "near", "far"]).ok();
    let refused = repo.wattle(&["merge", "far"]);
    assert!(refused.code != 0 && refused.err.contains("far stands on one, which is review"), "{}", refused.whole());
    let _ = repo.wattle(&["approve", "one"]).ok();
    let _ = repo.wattle(&["merge"]).ok();
    assert_eq!(repo.read("a.txt"), "1\ntwo 1\n3\n4\nfive\n6\n7\n8\n9\n10\n11\ntwelve\n");
}

#[test]
fn an_approval_survives_an_identical_patch_on_a_new_base_and_lapses_with_any_other() {
    let env = TestEnv::new();
    std::fs::write(env.root().join("plan.yml"), STANDING).unwrap();
    let repo = env.repo("repo", &[("a.txt", LINES)]);
    let _ = repo.wattle(&["run", "-f", "../plan.yml"]).code(4);
    let _ = repo.wattle(&["approve", "near", "far"]).ok();
    let _ = repo.wattle(&["redo", "one"]).ok();
    let _ = repo.wattle(&["resume"]).code(4);
    let states = ["one", "near", "far"].map(|step| state(&repo, step));
    assert_eq!(states, ["review", "review", "approved"]);
    let status = repo.wattle(&["status", "--json"]).ok().json();
    assert_eq!(status["steps"][1]["approved"], Value::Null);
    assert_eq!(status["steps"][2]["approved"]["commit"], status["steps"][2]["commit"]);
    let _ = repo.wattle(&["approve", "one", "near"]).ok();
    let _ = repo.wattle(&["merge"]).ok();
    assert_eq!(repo.read("a.txt"), "1\ntwo 2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\ntwelve\n");
}
