//! Plan files against what becomes of them: the contract's example, defaults, every mistake with its place.

use super::*;
use crate::graph::EdgeKind;
use crate::plan::At as When;
use crate::step::{RuleSource, Work};
use proptest::prelude::*;

/// The example of the interface contract, but for what it marks as later.
const CONTRACT: &str = r#"
version: 1
task: Replace the log macros with tracing        # for people and for agents
target: main
checks:
  - { name: build, run: cargo check --workspace, timeout: 10m }
  - { name: suite, run: cargo test, at: final }
  - { name: lint,  run: ./lint.sh, paths: ["src/**"] }
setup: { run: npm ci, key: [package-lock.json] }
limits: { jobs: 4, checks: 1, usd: 5.00, tokens: null, disk: 20GB }
defaults: { retries: 1, timeout: 30m, idle: 10m }
groups: { api: { land: together } }
discard: [Cargo.lock]
generated: [{ path: Cargo.lock, run: cargo metadata --offline --format-version 1 }]
commit: { style: merge, sign_off: false }
notify: { run: notify-send Wattle, on: [needs_input, review, failed, finished] }
x-note: mine
steps:
  - id: survey
    mode: read
    run: grep -rn 'log::' src
    ok_exit: [0, 1]
  - id: api
    group: api
    touches: ["crates/api/**"]
    rewrite: { rule: rules/log.yml }
  - id: callers
    group: api
    needs: [survey, "api*"]
    touches: ["crates/*/src/**"]
    rewrite: { rule: rules/callers.yml }
    check: { run: cargo check -p callers }
    repair: { agent: { prompt: Fix what no longer compiles., max_usd: 1.00 }, attempts: 1 }
  - id: leftovers
    needs: [callers]
    touches: ["src/**", "Cargo.toml"]
    agent:
      prompt: Replace what the rule could not.
      model: anthropic/claude-sonnet-5-5
      via: wattle
      context: auto
      max_turns: 40
      max_usd: 1.00
    tools: [Read, Grep, Glob, Edit, Bash]
    env: { RUST_LOG: debug }
"#;

fn plan(text: &str) -> Plan {
    parse_plan("plan.yaml", text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// A plan of these steps (YAML, at the margin).
fn steps(steps: &str) -> String {
    format!("version: 1\ntask: test\nsteps:\n{steps}")
}

fn problems(text: &str) -> String {
    match parse_plan("p", text) {
        Ok(_) => "valid".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

fn ids(ids: Vec<&StepId>) -> Vec<&str> {
    ids.into_iter().map(StepId::as_str).collect()
}

fn id(text: &str) -> StepId {
    StepId::parse(text).unwrap()
}

#[test]
fn reads_the_whole_example_of_the_contract() {
    let plan = plan(CONTRACT);
    assert_eq!(plan.task(), "Replace the log macros with tracing");
    assert_eq!(plan.target(), Some("main"));
    let checks = plan.checks().unwrap();
    assert_eq!(checks.len(), 3);
    assert_eq!((checks[0].timeout_ms, checks[0].at), (600_000, When::Land));
    assert_eq!((checks[1].timeout_ms, checks[1].at), (1_800_000, When::Final));
    assert!(checks[2].paths[0].matches("src/a/b.rs"));
    assert_eq!(plan.setup().unwrap().key, ["package-lock.json"]);
    let limits = plan.limits();
    assert_eq!((limits.jobs, limits.checks, limits.tokens), (Some(4), Some(1), None));
    assert_eq!(limits.nano_usd, Some(5_000_000_000));
    assert_eq!(limits.disk_bytes, Some(20_000_000_000));
    let api = GroupId::parse("api").unwrap();
    assert!(plan.groups().contains_key(&api));
    let members: Vec<&str> = plan.group_members(&api).iter().map(|s| s.id.as_str()).collect();
    assert_eq!(members, ["api", "callers"]);
    assert!(plan.discard()[0].matches("Cargo.lock"));
    assert_eq!(plan.generated()[0].path, "Cargo.lock");
    assert_eq!(plan.notify().unwrap().on.len(), 4);
    assert_eq!(plan.files(), ["rules/callers.yml", "rules/log.yml"]);

    let modes: Vec<Mode> = plan.steps().iter().map(|s| s.mode).collect();
    assert_eq!(modes, [Mode::Read, Mode::Write, Mode::Write, Mode::Write]);
    let callers = plan.step(&id("callers")).unwrap();
    assert_eq!(callers.needs, [id("survey"), id("api")]);
    assert_eq!(callers.check.as_ref().unwrap().timeout_ms, 1_800_000);
    let Work::Agent(repair) = &callers.repair.as_ref().unwrap().work else {
        panic!("the repair is an agent");
    };
    assert_eq!((repair.max_nano_usd, repair.max_turns), (Some(1_000_000_000), 40));
    let leftovers = plan.step(&id("leftovers")).unwrap();
    assert_eq!(leftovers.tools.as_ref().unwrap().len(), 5);
    assert_eq!(leftovers.env["RUST_LOG"], "debug");
    assert_eq!(ids(plan.order()), ["survey", "api", "callers", "leftovers"]);
    assert_eq!(plan.priority(&id("survey")), 2);
    assert_eq!(plan.priority(&id("leftovers")), 0);
}

#[test]
fn fills_in_what_is_not_said() {
    let plan = plan(&steps(
        "  - { id: look, run: true }\n  - { id: fix, rewrite: { inline: { id: r, rule: { pattern: a }, fix: b } } }\n",
    ));
    assert!(plan.checks().is_none());
    assert!(plan.target().is_none());
    assert_eq!(plan.commit(), crate::CommitStyle::default());
    let [look, fix] = plan.steps() else { panic!("two steps") };
    assert_eq!(look.work, Work::Run { command: "true".to_owned() });
    assert_eq!((look.mode, look.touches.len(), look.touches_given), (Mode::Read, 0, false));
    assert_eq!((look.title.as_str(), look.line), ("look", 4));
    assert_eq!((look.retries, look.timeout_ms, look.idle_ms), (1, 1_800_000, Some(600_000)));
    assert_eq!(look.ok_exit, [0]);
    assert_eq!((fix.mode, fix.touches_given), (Mode::Write, false));
    assert_eq!(fix.touches, [Glob::everything()]);
    let Work::Rewrite(RuleSource::Inline(rule)) = &fix.work else { panic!("inline") };
    assert_eq!(rule, r#"{"id":"r","rule":{"pattern":"a"},"fix":"b"}"#);
}

#[test]
fn a_step_overrides_the_defaults_of_the_plan() {
    let text = "version: 1\ntask: t\nchecks: []\ndefaults: { retries: 3, timeout: 1h, idle: null }\nsteps:\n  - { id: a, run: a }\n  - { id: b, run: b, retries: 0, timeout: 5s, idle: 1s }\n";
    let plan = plan(text);
    assert_eq!(plan.checks().map(<[_]>::len), Some(0));
    let bounds: Vec<_> = plan.steps().iter().map(|s| (s.retries, s.timeout_ms, s.idle_ms)).collect();
    assert_eq!(bounds, [(3, 3_600_000, None), (0, 5000, Some(1000))]);
}

#[test]
fn ten_mistakes_are_reported_at_once() {
    insta::assert_snapshot!(problems(
        r#"version: 1
task: Ten mistakes
taget: main
checks:
  - { name: build, run: cargo check, timout: 10m }
  - { name: suite }
limits: { jobs: 0, usd: -1, disk: 20 }
groups: { api: { land: together } }
steps:
  - id: survey
    mode: read
    touches: ["src/**"]
    run: grep -rn log src
  - id: survey
    group: apu
    needs: [survy]
    run: "true"
    agent: { prompt: x, via: claude, context: half }
  - id: a
    needs: [c]
    touches: ["src/[z-a]", /abs, "ok/**"]
    run: a
    timeout: 10 years
  - id: b
    needs: [a, "zz*"]
    run: b
    repair: { run: fix }
  - id: c
    needs: [b, c]
    network: true
    rewrite: { pattern: x }
  - { id: Bad_Id }
"#
    ), @r#"
    p:3:1: unknown key `taget` in a plan
        did you mean `target`?
    p:5:38: unknown key `timout` in a check
        did you mean `timeout`?
    p:6:5: a check needs `run`
    p:7:17: `jobs` must be a whole number from 1 to 1024
    p:7:25: `usd: -1` must be an amount of US dollars such as `5` or `0.50`
    p:7:35: `disk: 20` must be a size such as `20GB` or `500MB`
    p:12:5: a read step has no `touches`
        leave `touches` out, or make it `mode: write`
    p:14:9: the id `survey` is taken by the step of line 10
    p:15:12: there is no group `apu`
        did you mean `api`?
    p:16:13: there is no step `survy`
    p:18:5: a step has one of `run`, `rewrite` and `agent`; this one has `run` and `agent`
        make it two steps, the second with `needs` on the first
    p:18:30: `via: claude` needs wattle 0.2 or newer, this is 0.1.0
    p:18:47: `context` must be `auto`, `fresh` or `fork`, not `half`
    p:20:13: these steps need each other: a → c → b → a
    p:21:15: cannot read the glob `src/[z-a]`: it has a character class that is empty or runs backwards
    p:21:28: cannot read the glob `/abs`: it begins with `/`; globs are relative to the root of the repository
    p:23:14: `timeout: 10 years` must be a duration such as `30s`, `10m` or `1h`
    p:25:16: no other step matches `zz*`
    p:27:5: `repair` without `check`: nothing would tell that it is needed
        give the step a `check`
    p:29:16: the step `c` needs itself
    p:30:5: `network` needs wattle 0.2 or newer, this is 0.1.0
    p:31:14: a rewrite needs `lang`
    p:31:14: a rewrite with `pattern` needs `fix` (`""` deletes)
    p:32:5: a step needs one of `run`, `rewrite` and `agent`
    p:32:11: cannot read the id `Bad_Id`: it must consist of a-z, 0-9 and `-` and begin with a letter or digit
    "#);
}

/// Each mistake alone, and the one message it gets.
#[test]
fn each_mistake_has_its_message_and_place() {
    let wrong = std::cell::RefCell::new(Vec::new());
    let check = |text: &str, expected: &str| {
        let got = problems(text);
        if got != expected {
            wrong.borrow_mut().push(format!("{text}\n  got {got}\n want {expected}"));
        }
    };
    let step = |body: &str, expected: &str| check(&steps(&format!("  - {body}\n")), expected);

    check("", "p:1:1: the file is empty\n    a plan needs at least `version: 1`, `task` and `steps`");
    check(
        "version: 2\nfuture: 1\n",
        "p:1:10: the plan is of version 2, this wattle reads version 1\n    a newer wattle may read it",
    );
    check("task: t\nsteps: [{ id: a, run: a }]", "p:1:1: a plan needs `version`\n    write `version: 1` at the top");
    check("version: one\ntask: t\nsteps: [{ id: a, run: a }]", "p:1:10: `version` must be a whole number from 1 to 1");
    check("version: 1\ntask: t\nsteps: []", "p:3:8: `steps` is empty: there is nothing to do");
    check("version: 1\ntask: t", "p:1:1: a plan needs `steps`");
    check(
        "version: 1\ntask: t\nsteps: [{ id: a, run: a }]\nchecks:",
        "p:4:7: `checks` is empty\n    write `checks: []` to land without any, or leave the key out",
    );
    check(
        "version: 1\ntask: t\nsteps: [{ id: a, run: a }]\n---\n",
        "p:4:1: a plan is one document; this is a second one",
    );
    check("version: 1\ntask: t\ntask: u\nsteps: [{ id: a, run: a }]", "p:3:1: the key `task` is there twice");
    check(
        "version: 1\ntask: t\nsecrets: {}\nsteps: [{ id: a, run: a }]",
        "p:3:1: `secrets` needs wattle 0.2 or newer, this is 0.1.0",
    );
    check(
        "version: 1\ntask: t\ntarget: -x\nsteps: [{ id: a, run: a }]",
        "p:3:9: `target: -x` is not the name of a branch",
    );
    check(
        "version: 1\ntask: t\nnotify: { run: x, on: [fail] }\nsteps: [{ id: a, run: a }]",
        "p:3:24: `fail` is not an event to be told of (needs_input, review, failed, finished)\n    did you mean `failed`?",
    );
    check(
        "version: 1\ntask: t\nchecks: [{ name: a, run: a }, { name: a, run: b }]\nsteps: [{ id: a, run: a }]",
        "p:3:31: there are two checks named `a`",
    );

    step("{ id: a }", "p:4:5: a step needs one of `run`, `rewrite` and `agent`");
    step("{ run: a }", "p:4:5: a step needs `id`");
    step(
        "just text",
        "p:4:5: a step must be a mapping with keys of id, title, group, mode, needs, touches, run, rewrite, agent, revert, expect, check, repair, tools, env, ok_exit, retries, timeout, idle; this is a text",
    );
    step("{ id: a, run: a, needs: [a] }", "p:4:30: the step `a` needs itself");
    step("{ id: a, run: a, needs: [\"*\"] }", "p:4:30: no other step matches `*`");
    step("{ id: a, run: a, needs: b }", "p:4:29: `needs` must be a list\n    write `needs: [b]`");
    step(
        "{ id: a, run: a, group: g }",
        "p:4:29: there is no group `g`\n    write `groups: { g: { land: together } }` at the top",
    );
    step(
        "{ id: a, run: a, mode: scratch, touches: [a] }",
        "p:4:37: a scratch step has no `touches`\n    leave `touches` out, or make it `mode: write`",
    );
    step(
        "{ id: a, mode: read, rewrite: { rule: r } }",
        "p:4:26: a read step cannot rewrite\n    leave `mode` out, or add `expect: none` to only make sure that the rule matches nothing",
    );
    step(
        "{ id: a, run: a, expect: none }",
        "p:4:22: `expect: none` is about the matches of a rule; it needs `rewrite`",
    );
    step(
        "{ id: a, run: a, mode: rite }",
        "p:4:28: `mode` must be `read`, `write` or `scratch`, not `rite`\n    did you mean `write`?",
    );
    step(
        "{ id: a, run: a, repair: { run: b } }",
        "p:4:22: `repair` without `check`: nothing would tell that it is needed\n    give the step a `check`",
    );
    step("{ id: a, run: a, check: {} }", "p:4:29: a check needs `run`");
    step("{ id: a, run: a, retries: 2147483648 }", "p:4:31: `retries` must be a whole number from 0 to 100");
    step("{ id: a, run: a, retries: \"1\" }", "p:4:31: `retries` must be a whole number from 0 to 100");
    step("{ id: a, run: a, timeout: 10 }", "p:4:31: `timeout: 10` must be a duration such as `30s`, `10m` or `1h`");
    step("{ id: a, run: a, ok_exit: [] }", "p:4:31: `ok_exit` is empty: no exit code would be a success");
    step("{ id: a, run: a, env: { WATTLE_RUN: x } }", "p:4:29: `WATTLE_RUN` is set by Wattle itself");
    step("{ id: a, run: a, secrets: [x] }", "p:4:22: `secrets` needs wattle 0.2 or newer, this is 0.1.0");
    step("{ id: a, run: \"\" }", "p:4:19: `run` is empty");
    step(
        "{ id: a, run: a, touches: [src/] }",
        "p:4:32: cannot read the glob `src/`: it ends with `/`; write `src/**` for all that is below",
    );
    step(
        "{ id: a, agent: { prompt: x, model: gpt } }",
        "p:4:41: `model: gpt` names no provider\n    write PROVIDER/NAME, such as `anthropic/claude-sonnet-5-5`, or `script:FILE`",
    );
    step("{ id: a, rewrite: { rule: x, fix: y } }", "p:4:34: `fix` goes with `pattern`, not with `rule`");
    step(
        "{ id: a, rewrite: { rule: x, inline: y } }",
        "p:4:23: a rewrite has one of `rule` (a file), `inline` (its text) and `pattern` with `fix` and `lang`",
    );
    step("{ id: a, run: !mine x }", "p:4:19: the tag `!mine` means nothing in a plan");
    step("{ id: a, run: *x }", "p:4:19: there is no anchor `&x` before this alias");
    let long = "x".repeat(65);
    step(
        &format!("{{ id: {long}, run: a }}"),
        "p:4:11: cannot read the id `xxxxxxxxxxxxxxxx…`: it is 65 bytes long, 64 are allowed",
    );
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn names_whole_cycles_and_cycles_through_groups() {
    let check = |text: &str, expected: &str| assert_eq!(problems(text), expected);
    check(
        &steps(
            "  - { id: a, run: a, needs: [c] }\n  - { id: b, run: b, needs: [a] }\n  - { id: c, run: c, needs: [b] }\n  - { id: d, run: d, needs: [c] }\n",
        ),
        "p:4:30: these steps need each other: a → c → b → a",
    );
    let group = "version: 1\ntask: t\ngroups: { g: }\nsteps:\n  - { id: a, group: g, touches: [a], run: a }\n  - { id: x, touches: [x], run: x, needs: [a] }\n  - { id: b, group: g, touches: [b], run: b, needs: [x] }\n";
    check(
        group,
        "p:7:54: the group `g` would have to land before itself: b → x → a\n    put `x` into the group, or take a step out of it",
    );
    check(
        "version: 1\ntask: t\ngroups: { g: , h: }\nsteps:\n  - { id: a, group: g, touches: [a], run: a }\n  - { id: b, group: g, touches: [b], run: b, needs: [c] }\n  - { id: c, group: h, touches: [c], run: c }\n  - { id: d, group: h, touches: [d], run: d, needs: [a] }\n",
        "p:6:54: the groups `g` and `h` would have to land before each other: b → c, d → a\n    make them one group, or take a step out of one",
    );
    let mended = group.replace("id: x,", "id: x, group: g,");
    assert_eq!(problems(&mended), "valid");
}

#[test]
fn orders_overlapping_steps_by_the_plan_and_around_groups() {
    let edges = |plan: &Plan, step: &str| -> Vec<String> {
        let kind = |edge: &crate::Edge| match edge.kind {
            EdgeKind::Needs => format!("needs {}", edge.step),
            EdgeKind::After => format!("after {}", edge.step),
        };
        plan.predecessors(&id(step)).iter().map(kind).collect()
    };
    let plan1 = plan(&steps(
        "  - { id: a, touches: [\"src/**\"], run: a, needs: [c] }\n  - { id: b, touches: [\"src/*.rs\"], run: b }\n  - { id: c, touches: [\"src/{x,y}.rs\"], run: c }\n  - { id: d, touches: [\"doc/**\"], run: d }\n",
    ));
    assert_eq!(edges(&plan1, "a"), ["needs c"]);
    assert_eq!(edges(&plan1, "b"), ["after a"]);
    assert_eq!(edges(&plan1, "c"), [""; 0]);
    assert_eq!(edges(&plan1, "d"), [""; 0]);
    assert_eq!(ids(plan1.order()), ["c", "a", "b", "d"]);
    let pairs: Vec<String> = overlaps(&plan1).iter().map(|(a, b)| format!("{a}-{b}")).collect();
    assert_eq!(pairs, ["a-b", "a-c", "b-c"]);

    // In plan order the step outside would come after one member and before the other.
    let plan2 = plan(
        "version: 1\ntask: t\ngroups: { g: { land: together } }\nsteps:\n  - { id: a, group: g, touches: [x, a], run: a }\n  - { id: out, touches: [x, y], run: o }\n  - { id: b, group: g, touches: [y, b], run: b }\n",
    );
    assert_eq!(edges(&plan2, "b"), ["after a"]);
    assert_eq!(edges(&plan2, "out"), ["after a", "after b"]);
    assert_eq!(ids(plan2.order()), ["a", "b", "out"]);
}

#[test]
fn hostile_files_end_in_problems() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    assert!(problems(bomb).contains("aliases expanded"), "{}", problems(bomb));
    let deep = "[".repeat(100_000);
    assert!(problems(&deep).contains("deep") || problems(&deep).contains("not YAML"));
    let many = steps(&"  - { id: a, run: a }\n".repeat(6000));
    assert!(problems(&many).contains("more than 5000 steps"));
    let knot: String = (0..2000).map(|i| format!("  - {{ id: s{i}, run: a, needs: [\"*\"] }}\n")).collect();
    assert!(problems(&steps(&knot)).contains("more than 1000000 needs"));
    let large = " ".repeat(5 * 1024 * 1024);
    assert!(problems(&large).contains("larger than"));
    assert_eq!(problems("a: &a [*a]"), "p:1:8: this alias contains itself");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,60}|[a-z:#\\-{}\\[\\]&*!|>'\"\n ]{0,80}") {
        for text in [steps(&text), steps(&format!("  - {text}")), text] {
            if let Err(problems) = parse_plan("p", &text) {
                prop_assert!(!problems.problems.is_empty());
                prop_assert!(problems.problems.iter().all(|p| p.line > 0 && p.column > 0));
            }
        }
    }

    /// Cuts and swaps of the contract's example: never a panic, and never a problem without a place.
    #[test]
    fn broken_plans_never_panic(from in 0..CONTRACT.len(), length in 0..40usize, put in "[a-z:{}\\[\\]\n \\-]{0,6}") {
        let boundary = |at: usize| (0..=at.min(CONTRACT.len())).rev().find(|at| CONTRACT.is_char_boundary(*at)).unwrap();
        let (from, to) = (boundary(from), boundary(from + length));
        let text = format!("{}{put}{}", &CONTRACT[..from], &CONTRACT[to..]);
        let lines = u32::try_from(text.lines().count()).unwrap();
        if let Err(problems) = parse_plan("p", &text) {
            prop_assert!(problems.problems.iter().all(|p| p.line >= 1 && p.line <= lines + 1));
        }
    }
}

#[test]
fn an_undo_names_whole_commits_and_writes() {
    let id = "0123456789abcdef0123456789abcdef01234567";
    let plan = |step: &str| format!("version: 1\ntask: t\nsteps:\n  - {step}\n");
    let good = plan(&format!("{{ id: a, revert: [{{ before: {id}, after: {id}, of: [r/a] }}] }}"));
    let parsed = parse_plan("p", &good).unwrap();
    assert_eq!(parsed.steps()[0].mode, crate::step::Mode::Write);
    for (bad, why) in [
        ("{ id: a, revert: [] }".to_owned(), "`revert` is a list of 1 to"),
        ("{ id: a, revert: [{ before: main, after: main }] }".to_owned(), "must be the full id of a commit"),
        (format!("{{ id: a, revert: [{{ before: {id} }}] }}"), "after"),
        (format!("{{ id: a, mode: read, revert: [{{ before: {id}, after: {id} }}] }}"), "a read step cannot revert"),
    ] {
        let problems = parse_plan("p", &plan(&bad)).unwrap_err();
        assert!(problems.to_string().contains(why), "{problems}");
    }
}
