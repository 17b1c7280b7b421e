//! What a planning agent may say, and what it may not.

use super::*;
use crate::step::Mode;
use proptest::prelude::*;

fn frame() -> Frame {
    Frame {
        target: Some("main".to_owned()),
        checks: Some(
            "- { name: build, run: cargo check, timeout: 10m }\n- name: suite\n  run: cargo test\n  at: final\n"
                .to_owned(),
        ),
        setup: Some("{ run: npm ci, key: [package-lock.json] }".to_owned()),
        limits: Some("usd: 0.000000001\njobs: 2\n".to_owned()),
        ..Frame::default()
    }
}

fn problems(json: &str) -> String {
    match plan_from_reply("a task", json, &frame()) {
        Ok(submitted) => submitted.yaml,
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn steps_become_a_plan_in_the_frame() {
    let json = r#"{ "steps": [
        { "id": "look", "run": "grep -rn foo src" },
        { "id": "def", "group": "rename", "needs": ["look"], "touches": ["src/lib.rs"],
          "rewrite": { "pattern": "fn foo()", "fix": "fn bar()", "lang": "rust" } },
        { "id": "rest", "group": "rename", "touches": ["src/*/**"], "agent": { "prompt": "Rename foo.\nEverywhere: yes # all" } }
    ], "proposed_checks": [ { "name": "docs", "run": "cargo doc" } ] }"#;
    let text = plan_from_reply("Rename foo\nto bar", json, &frame()).unwrap().yaml;
    insta::assert_snapshot!(text, @r#"
    version: 1
    task: |-
      Rename foo
      to bar
    target: main
    # The last check is proposed by the planning agent.
    checks:
      - name: build
        run: "cargo check"
        timeout: "10m"
      - name: suite
        run: "cargo test"
        at: final
      - name: docs
        run: "cargo doc"
    setup:
      { run: npm ci, key: [package-lock.json] }
    limits:
      usd: 0.000000001
      jobs: 2
    groups:
      rename: { land: together }
    steps:
      - id: look
        run: "grep -rn foo src"
      - id: def
        group: rename
        needs: [look]
        touches: [src/lib.rs]
        rewrite:
          pattern: "fn foo()"
          fix: "fn bar()"
          lang: rust
      - id: rest
        group: rename
        touches: ["src/*/**"]
        agent:
          prompt: |-
            Rename foo.
            Everywhere: yes # all
    "#);
    let plan = parse_plan("p", &text).unwrap();
    assert_eq!(plan.task(), "Rename foo\nto bar");
    assert_eq!(plan.limits().nano_usd, Some(1));
    assert_eq!(plan.steps()[2].mode, Mode::Write);
}

#[test]
fn without_proposals_the_frame_is_untouched() {
    let text = plan_from_reply("t", r#"{"steps":[{"id":"a","run":"true"}]}"#, &frame()).unwrap().yaml;
    assert!(text.contains("checks:\n  - { name: build, run: cargo check, timeout: 10m }\n"), "{text}");
    let text = plan_from_reply("t", r#"{"steps":[{"id":"a","run":"true"}]}"#, &Frame::default()).unwrap().yaml;
    assert!(parse_plan("p", &text).unwrap().checks().is_none());
}

#[test]
fn power_is_refused_by_name() {
    let check = |json: &str, expected: &str| assert_eq!(problems(json), expected);
    check(
        r#"{"steps":[{"id":"a","run":"a"}],"checks":[],"sandbox":"off"}"#,
        "the submitted plan:1:1: `checks` is not for a planning agent to decide\n    submit `steps`, and `proposed_checks` if need be\nthe submitted plan:1:1: `sandbox` is not for a planning agent to decide\n    submit `steps`, and `proposed_checks` if need be",
    );
    check(
        r#"{"steps":[{"id":"a","agent":{"prompt":"x","model":"a/b"}},{"id":"b","run":"b","check":{"run":"c"},"repair":{"agent":{"prompt":"x","max_usd":99}}}]}"#,
        "the submitted plan:1:1: step 1 (`a`): `model` is not for a planning agent to decide\nthe submitted plan:1:1: step 2 (`b`): `max_usd` is not for a planning agent to decide",
    );
    check(
        r#"{"steps":[{"id":"a","rewrite":{"rule":"../../etc/passwd"}}]}"#,
        "the submitted plan:1:1: step 1 (`a`): a rule file must be a path relative to the root of the repository\n    write the rule out as `inline`",
    );
    check(
        r#"{"steps":[{"id":"a","run":"a"}],"proposed_checks":[{"name":"build","run":"true","env":{"X":"1"}}]}"#,
        "the submitted plan:1:1: `env` is not for a planning agent to decide in a check\nthe submitted plan:1:1: the proposed check `build` has the name of one that there is",
    );
}

#[test]
fn problems_name_the_step() {
    let check = |json: &str, expected: &[&str]| {
        let problems = plan_from_reply("t", json, &Frame::default()).unwrap_err().problems;
        let messages: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
        assert_eq!(messages, expected);
    };
    check(
        r#"{"steps":[{"id":"a","run":"a","needs":["c"]},{"id":"b","run":"b","touchs":["x"]},{"id":"b","run":""}]}"#,
        &[
            "step 1 (`a`): there is no step `c`",
            "step 2 (`b`): unknown key `touchs` in a step",
            "step 3 (`b`): the id `b` is taken by the step of line 7",
            "step 3 (`b`): `run` is empty",
        ],
    );
    check(r#"{"steps":[]}"#, &["`steps` must be a list of at least one step"]);
    check("[]", &["must be a JSON object with `steps`"]);
    check("{\"steps\":[", &["not JSON: EOF while parsing a list at line 1 column 10"]);
    check(
        r#"{"steps":["a"]}"#,
        &[
            "step 1: a step must be a mapping with keys of id, title, group, mode, needs, touches, run, rewrite, agent, revert, expect, check, repair, tools, env, ok_exit, retries, timeout, idle; this is a text",
        ],
    );
}

proptest! {
    /// Steps with texts that YAML could read otherwise come out as they went in.
    #[test]
    fn texts_of_a_reply_are_kept(run in "\\PC{1,20}|[a-z:#\\- \n'\"&*]{1,30}", title in "\\PC{1,20}") {
        prop_assume!(!run.trim().is_empty() && !title.trim().is_empty());
        let json = serde_json::json!({ "steps": [{ "id": "a", "title": title, "run": run }] }).to_string();
        let text = plan_from_reply("t", &json, &Frame::default()).unwrap().yaml;
        let plan = parse_plan("p", &text).unwrap();
        prop_assert_eq!(&plan.steps()[0].title, &title);
        prop_assert_eq!(&plan.steps()[0].work, &crate::Work::Run { command: run });
    }

    #[test]
    fn no_reply_panics(json in "\\PC{0,40}|[{}\\[\\]\":,a-z0-9 ]{0,60}") {
        let wrapped = format!("{{\"steps\":[{json}]}}");
        for json in [json, wrapped] {
            if let Ok(Submitted { yaml: text, .. }) = plan_from_reply("t", &json, &frame()) {
                prop_assert!(parse_plan("p", &text).is_ok());
            }
        }
    }
}

#[test]
fn what_makes_no_sense_comes_back_with_the_step_named() {
    let overlap = r#"{ "steps": [
        { "id": "a", "touches": ["src/**"], "agent": { "prompt": "p" } },
        { "id": "b", "touches": ["src/x.rs"], "agent": { "prompt": "p" } },
        { "id": "look", "mode": "read", "run": "ls" } ] }"#;
    let found = plan_from_reply("t", overlap, &Frame::default()).unwrap_err().to_string();
    for part in ["step 2 (`b`): may change", "nothing checks", "step 3 (`look`): no step needs"] {
        assert!(found.contains(part), "{found}");
    }
    let single = r#"{ "steps": [{ "id": "a", "touches": ["src/**"], "agent": { "prompt": "p" } }] }"#;
    let doubts = |frame: &Frame| plan_from_reply("t", single, frame).unwrap().doubts.len();
    assert_eq!(doubts(&Frame::default()), 1);
    assert_eq!(doubts(&Frame { later_checks: Some("[]".to_owned()), ..Frame::default() }), 0, "it was decided");
}

#[test]
fn checks_that_are_added_later_are_kept_beside_proposed_ones() {
    let steps = r#""steps": [{ "id": "a", "touches": ["x"], "run": "make" }]"#;
    let frame = Frame { later_checks: Some(r#"[{"name":"suite","run":"make test"}]"#.to_owned()), ..Frame::default() };
    let plain = plan_from_reply("t", &format!("{{ {steps} }}"), &frame).unwrap().yaml;
    assert!(!plain.contains("checks:"), "{plain}");
    let json = format!(r#"{{ {steps}, "proposed_checks": [{{ "name": "lint", "run": "make lint" }}] }}"#);
    let plan = parse_plan("p", &plan_from_reply("t", &json, &frame).unwrap().yaml).unwrap();
    let names: Vec<&str> = plan.checks().unwrap().iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["suite", "lint"]);
}
