//! What parts of a step may be, and what the plan is with them.

use super::*;

const PLAN: &str = r#"
version: 1
task: t
checks: [{ name: suite, run: make test }]
limits: { usd: 5.00 }
x-note: kept
steps:
  - { id: before, touches: [src/x.rs], run: make }
  - id: big
    touches: ["src/**"]
    agent: { prompt: p, model: script:m, max_turns: 20, max_usd: 0.50 }
    tools: [Read, Edit]
    check: { run: make part, timeout: 5m }
    repair: { agent: { prompt: mend }, attempts: 1 }
  - { id: after, touches: ["src/**"], needs: [before], run: make }
  - { id: user, needs: ["b*"], mode: read, run: ls }
"#;

fn parts(steps: &str) -> Result<Amendment, Problems> {
    amend(PLAN, &StepId::parse("big").unwrap(), &format!("{{ \"steps\": {steps} }}"), 3, false)
}

fn ids(found: &[StepId]) -> Vec<&str> {
    found.iter().map(StepId::as_str).collect()
}

const TWO: &str = r#"[
    { "id": "one", "touches": ["src/a/**"], "agent": { "prompt": "p1", "max_turns": 90 } },
    { "id": "two", "touches": ["src/b.rs"], "tools": ["Edit", "Bash"], "agent": { "prompt": "p2" } }
]"#;

#[test]
fn parts_are_bound_by_their_step_and_what_needed_it_needs_them() {
    let amended = parts(TWO).unwrap();
    assert_eq!(ids(&amended.added), ["one", "two", "big-check"]);
    let plan = parse_plan("p", &amended.yaml).unwrap();
    let step = |id: &str| plan.step(&StepId::parse(id).unwrap()).unwrap();
    assert_eq!(ids(&step("one").needs), ["big"]);
    assert_eq!(ids(&step("user").needs), ["before", "big", "one", "two", "big-check"]);
    assert_eq!(ids(&step("big-check").needs), ["big", "one", "two"]);
    assert_eq!((step("big-check").mode, step("big-check").timeout_ms), (Mode::Scratch, 300_000));
    assert!(step("big").check.is_none() && step("big").repair.is_none());
    let group = step("big").group.clone().unwrap();
    assert_eq!(
        (group.as_str(), &step("one").group, &step("big-check").group),
        ("big-parts", &Some(group.clone()), &None)
    );
    let Work::Agent(agent) = &step("one").work else { panic!("an agent") };
    assert_eq!(
        (agent.model.as_deref(), agent.max_turns, agent.max_nano_usd),
        (Some("script:m"), 20, Some(500_000_000))
    );
    assert_eq!(step("one").tools.as_deref(), Some(&["Read".to_owned(), "Edit".to_owned()][..]));
    assert_eq!(step("two").tools.as_deref(), Some(&["Edit".to_owned()][..]));
    assert_eq!(plan.limits().nano_usd, Some(5_000_000_000));
    assert!(amended.yaml.contains("x-note: kept"));
    // What overlaps comes after the parts as it came after the step, and what came before still does.
    let after: Vec<StepId> = plan.predecessors(&step("after").id).into_iter().map(|edge| edge.step).collect();
    assert!(["one", "two"].iter().all(|id| ids(&after).contains(id)), "{after:?}");
    assert!(!plan.successors(&step("one").id).iter().any(|edge| edge.step.as_str() == "before"));
}

#[test]
fn a_plan_that_was_amended_is_otherwise_the_same() {
    let (old, new) = (parse_plan("p", PLAN).unwrap(), parts(TWO).unwrap().plan);
    for (before, after) in old.steps().iter().zip(new.steps()) {
        if before.id.as_str() == "big" || before.id.as_str() == "user" {
            continue;
        }
        assert_eq!(before, &Step { line: before.line, ..after.clone() });
    }
    assert_eq!((old.checks(), old.task()), (new.checks(), new.task()));
}

#[test]
fn nothing_grows_wider_by_a_split() {
    let check = |steps: &str, told: &[&str]| {
        let found = parts(steps).unwrap_err().to_string();
        told.iter().for_each(|part| assert!(found.contains(part), "{steps}: {found}"));
    };
    check(
        r#"[{ "id": "a", "touches": ["**"], "agent": { "prompt": "p" } },
            { "id": "b", "touches": ["lib/x"], "needs": ["a"], "agent": { "prompt": "p" } }]"#,
        &["step `a`: `**` is not within what `big` touches (`src/**`)", "step `b`: `lib/x` is not"],
    );
    check(r#"[{ "id": "a", "touches": ["src/a"], "run": "make" }]"#, &["may run no command"]);
    check(r#"[{ "id": "a", "touches": ["src/a"], "rewrite": { "rule": "r.yml" } }]"#, &["are fixed when it starts"]);
    check(
        r#"[{ "id": "a", "touches": ["src/a"], "needs": ["user"], "check": { "run": "x" }, "agent": { "prompt": "p", "max_usd": 9 } }]"#,
        &["step 1 (`a`): needs `user`", "`check` is decided", "`max_usd` is not for"],
    );
    check(
        r#"[{ "id": "a", "touches": ["src/a"], "agent": { "prompt": "p" } }, { "id": "b", "touches": ["src/*"], "agent": { "prompt": "p" } }]"#,
        &["(`b`): may change the same files as `a`"],
    );
    check(
        r#"[{ "id": "user", "touches": ["src/a"], "agent": { "prompt": "p" } }]"#,
        &["step 1 (`user`): the id `user`"],
    );
    check("[]", &["a list of 1 to 3 steps"]);
    let other = r#"{ "steps": [{ "id": "a", "touches": ["src/a"], "agent": { "prompt": "p" } }], "checks": [] }"#;
    let found = amend(PLAN, &StepId::parse("big").unwrap(), other, 3, false).unwrap_err().to_string();
    assert!(found.contains("`checks` does not change"), "{found}");
    let none = amend(PLAN, &StepId::parse("nobody").unwrap(), "{}", 3, false).unwrap_err().to_string();
    assert!(none.contains("no step `nobody`"), "{none}");
}

#[test]
fn a_step_that_keeps_nothing_has_parts_that_keep_nothing() {
    let plan = "version: 1\ntask: t\nsteps:\n  - { id: look, mode: read, agent: { prompt: p } }\n";
    let split = |steps: &str| amend(plan, &StepId::parse("look").unwrap(), steps, 3, false);
    let amended = split(r#"{ "steps": [{ "id": "a", "mode": "read", "agent": { "prompt": "p" } }] }"#).unwrap();
    assert!(amended.plan.groups().is_empty());
    let wrong = split(r#"{ "steps": [{ "id": "a", "touches": ["x"], "agent": { "prompt": "p" } }] }"#).unwrap_err();
    assert!(wrong.to_string().contains("`mode: write` in a step of `mode: read`"), "{wrong}");
}
