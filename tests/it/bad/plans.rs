//! Plans, rules, models and options that are wrong: all said before anything is touched.

use insta::assert_snapshot;

use super::{ONE, Theirs, run, their_refs};
use crate::env::{TestEnv, TestRepo};

const TEN: &str = r#"version: 1
task: ten mistakes
colour: red
limits: { jobs: zero }
steps:
  - id: One
    run: "true"
  - id: two
    needs: [nope]
    run: "true"
    rewrite: { rule: x.yml }
  - id: two
    mode: read
    touches: [a]
    run: "true"
  - id: three
    needs: [four]
    run: "true"
  - id: four
    needs: [three]
    run: "true"
    touches: ["[a"]
  - id: five
    timeout: soon
    network: none
"#;

/// Nothing was begun: no run, no ref, no file.
#[track_caller]
fn untouched(repo: &TestRepo<'_>, before: &(Theirs, String)) {
    assert_eq!(Theirs::of(repo), before.0);
    assert_eq!(repo.git(&["for-each-ref"]), before.1);
    assert_eq!(repo.wattle(&["runs", "--json"]).ok().json()["runs"].as_array().unwrap().len(), 0);
}

fn before(repo: &TestRepo<'_>) -> (Theirs, String) {
    (Theirs::of(repo), repo.git(&["for-each-ref"]))
}

#[test]
fn a_plan_with_ten_mistakes_says_all_of_them_and_touches_nothing() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let then = before(&repo);
    std::fs::write(env.root().join("ten.yaml"), TEN).unwrap();
    assert_snapshot!(repo.wattle(&["run", "-f", "../ten.yaml"]).shown(), @"
    exit 3
    --- stderr
    error: ../ten.yaml:3:1: unknown key `colour` in a plan
    error: ../ten.yaml:4:17: `jobs` must be a whole number from 1 to 1024
    error: ../ten.yaml:6:9: cannot read the id `One`: it must consist of a-z, 0-9 and `-` and begin with a letter or digit
    error: ../ten.yaml:9:13: there is no step `nope`
    error: ../ten.yaml:11:5: a step has one of `run`, `rewrite` and `agent`; this one has `run` and `rewrite`
      hint: make it two steps, the second with `needs` on the first
    error: ../ten.yaml:12:9: the id `two` is taken by the step of line 8
    error: ../ten.yaml:14:5: a read step has no `touches`
      hint: leave `touches` out, or make it `mode: write`
    error: ../ten.yaml:17:13: these steps need each other: three → four → three
    error: ../ten.yaml:22:15: cannot read the glob `[a`: it has an unbalanced `[`
    error: ../ten.yaml:23:5: a step needs one of `run`, `rewrite` and `agent`
    error: ../ten.yaml:24:14: `timeout: soon` must be a duration such as `30s`, `10m` or `1h`
    error: ../ten.yaml:25:5: `network` needs wattle 0.2 or newer, this is 0.1.0
    ");
    let json = repo.wattle(&["run", "-f", "../ten.yaml", "--json"]).code(3).json();
    assert_eq!(json["error"]["problems"].as_array().unwrap().len(), 12);
    assert_eq!(json["error"]["at"]["line"], 3);
    untouched(&repo, &then);
}

#[test]
fn what_is_no_plan_at_all_is_said_in_a_line() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let said = |plan: &str| run(&env, &repo, plan, &[]).code(3).err;
    let all = ["", "version: 1\n", "a: [b\n", "version: 2\nsteps: []\n", "- 1\n"].map(said).join("");
    assert_snapshot!(all, @"
    error: stdin:1:1: the file is empty
      hint: a plan needs at least `version: 1`, `task` and `steps`
    error: stdin:1:1: a plan needs `steps`
    error: stdin:1:1: a plan needs `task`
    error: stdin:1:4: not YAML: unclosed bracket '['
    error: stdin:1:10: the plan is of version 2, this wattle reads version 1
      hint: a newer wattle may read it
    error: stdin:1:1: a plan must be a mapping with keys of version, task, target, checks, setup, checkout, limits, defaults, groups, discard, generated, commit, notify, steps; this is a list
    ");
    assert_snapshot!(repo.wattle(&["run", "-f", "gone.yaml"]).shown(), @"
    exit 2
    --- stderr
    error: failed to read gone.yaml: No such file or directory (os error 2)
    ");
}

#[test]
fn odd_options_are_named_with_what_they_take() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let then = before(&repo);
    let said = |more: &[&str]| run(&env, &repo, ONE, more).code(2).err;
    assert_snapshot!(said(&["--until", "noon"]), @"
    error: invalid value 'noon' for '--until <UNTIL>'
      [possible values: plan, review, landed]

    For more information, try '--help'.
    ");
    assert_snapshot!(said(&["--target", "bad..name"]), @"
    error: no branch can be named `bad..name` here
      hint: --target takes the name of a branch
    ");
    assert_snapshot!(said(&["--target", ""]), @"
    error: no branch can be named `` here
      hint: --target takes the name of a branch
    ");
    assert_snapshot!(said(&["--base", "nope"]), @"
    error: there is no commit `nope` to start from
      hint: --base takes a revision
    ");
    assert_snapshot!(said(&["--jobs", "0"]), @"
    error: invalid value '0' for '--jobs <N>': `0` is not a number from 1 to 256

    For more information, try '--help'.
    ");
    assert_snapshot!(said(&["--max-usd", "-1"]), @"
    error: unexpected argument '-1' found

      tip: to pass '-1' as a value, use '-- -1'

    Usage: wattle run [OPTIONS] <TASK>
           wattle run [OPTIONS] --file <PLAN>

    For more information, try '--help'.
    ");
    untouched(&repo, &then);
}

#[test]
fn a_task_that_names_a_file_is_a_mistake() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("plan.yaml", ONE)]);
    assert_snapshot!(repo.wattle(&["run", "plan.yaml"]).shown(), @"
    exit 2
    --- stderr
    error: `plan.yaml` is a file, not a task
      hint: use -f plan.yaml
    ");
    assert_snapshot!(repo.wattle(&["run"]).shown(), @"
    exit 2
    --- stderr
    error: the following required arguments were not provided:
      <TASK>

    Usage: wattle run [OPTIONS] <TASK>
           wattle run [OPTIONS] --file <PLAN>

    For more information, try '--help'.
    ");
}

#[test]
fn a_rule_that_cannot_be_used_stops_the_plan_before_it_starts() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let then = before(&repo);
    let plan =
        "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: one, touches: [a], rewrite: { rule: ../rule.yml } }\n";
    let rule = env.root().join("rule.yml");
    let said = || run(&env, &repo, plan, &[]).code(3).err;
    let missing = said();
    std::fs::write(&rule, "id: [\n").unwrap();
    let torn = said();
    std::fs::write(&rule, "id: x\nlanguage: cobol\nrule: { pattern: x }\nfix: y\n").unwrap();
    let cobol = said();
    std::fs::write(&rule, "id: x\nlanguage: rust\nrule: { pttern: x }\nfix: y\n").unwrap();
    let misspelt = said();
    assert_snapshot!([missing, torn, cobol, misspelt].join(""), @"
    error: failed to find the rule file ../rule.yml that stdin names
      hint: a path is relative to the plan file
    error: failed to start step one: use ../rule.yml: line 1 column 5: unclosed bracket '['
      hint: mend the rule; nothing was started
    error: failed to start step one: use ../rule.yml: there is no language `cobol`
      hint: mend the rule; nothing was started
    error: failed to start step one: use ../rule.yml: Fail to parse yaml as RuleConfig: line 4 column 1: unknown field `pttern`, expected one of pattern, kind, regex, nthChild, range, inside, has, precedes, follows, all, any, not, matches
      hint: mend the rule; nothing was started
    ");
    let inline = "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: one, touches: [a], rewrite: { pattern: x, fix: y, lang: cobol } }\n";
    assert_snapshot!(run(&env, &repo, inline, &[]).shown(), @"
    exit 3
    --- stderr
    error: failed to start step one: use the pattern `x`: there is no language `cobol`
      hint: mend the rule; nothing was started
    ");
    untouched(&repo, &then);
}

#[test]
fn an_agent_step_says_what_to_set_before_anything_starts() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let then = before(&repo);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: one, touches: [a], agent: { prompt: do } }\n";
    let said = |more: &[&str]| run(&env, &repo, plan, more).code(5).err;
    std::fs::write(env.root().join("bad.yaml"), "replies: [\n").unwrap();
    let all = [
        said(&[]),
        said(&["--model", "anthropic/claude-sonnet-5-5"]),
        said(&["--model", "nope"]),
        said(&["--model", "script:gone.yaml"]),
        said(&["--model", "script:../bad.yaml"]),
    ];
    assert_snapshot!(all.join(""), @"
    error: failed to start step one: find a model: none is set
      hint: give --model PROVIDER/NAME, or set WATTLE_MODEL, or `model:` in the configuration
    error: failed to start step one: use the model `anthropic/claude-sonnet-5-5`: ANTHROPIC_API_KEY is not set
      hint: export ANTHROPIC_API_KEY=…
    error: failed to start step one: read the model `nope`: it has to be PROVIDER/NAME or script:FILE
      hint: for example anthropic/claude-sonnet-5-5 or script:replies.yaml
    error: failed to start step one: read the model script $ROOT/r/gone.yaml: No such file or directory (os error 2)
      hint: a script is found from the directory that wattle is started in, or from -C
    error: failed to start step one: read the model script $ROOT/r/../bad.yaml: line 1, column 10: unclosed bracket '[' at line 1, column 10
      hint: a script is found from the directory that wattle is started in, or from -C
    ");
    assert_eq!(run(&env, &repo, plan, &["--json"]).code(5).json()["error"]["code"], "no_model");
    assert_snapshot!(repo.wattle(&["run", "tidy up"]).shown(), @"
    exit 5
    --- stderr
    error: failed to find a model: none is set
      hint: give --model PROVIDER/NAME, or set WATTLE_MODEL, or `model:` in the configuration
    ");
    untouched(&repo, &then);
}

#[test]
fn a_model_of_unknown_price_under_a_cap_is_a_mistake() {
    let mut env = TestEnv::new();
    env.set("ANTHROPIC_API_KEY", "k");
    let repo = env.repo("r", &[("a", "1\n")]);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: one, touches: [a], agent: { prompt: do, model: anthropic/unheard-of } }\n";
    assert_snapshot!(run(&env, &repo, plan, &["--max-usd", "1"]).shown(), @"
    exit 3
    --- stderr
    error: failed to bound the money of anthropic/unheard-of: its price is not known
      hint: set `limits: { tokens: … }`, or its price under `prices:` in the user's configuration
    ");
}

#[test]
fn auto_without_checks_wants_it_said() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let then = before(&repo);
    let plan = ONE.replace("checks: []\n", "");
    assert_snapshot!(run(&env, &repo, &plan, &["--approve", "auto"]).shown(), @"
    exit 3
    --- stderr
    error: failed to land without checks: --approve auto needs checks, or a literal `checks: []`
      hint: write `checks: []` to land unverified
    ");
    untouched(&repo, &then);
    let said = run(&env, &repo, ONE, &["--approve", "auto", "--json"]).ok();
    let landed = said.events().into_iter().find(|event| event["type"] == "landed").unwrap();
    assert_eq!(landed["verified"], false);
}

#[test]
fn a_plan_is_read_from_standard_input() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    assert_snapshot!(run(&env, &repo, ONE, &["--approve", "auto"]).shown(), @"
    exit 0
    --- stdout
    completed change a: 1 of 1 step landed on main, cost: nothing
    --- stderr
    run RUN (change a) on main at COMMIT
    one: running
    one: queued
    one: landing
    one: landed as COMMIT, not verified
    ");
    assert_eq!(repo.read("a"), "2\n");
    assert_eq!(their_refs(&repo).lines().count(), 1);
}

#[test]
fn until_review_and_plan_are_reached_with_zero() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    drop(run(&env, &repo, ONE, &["--until", "review"]).ok());
    drop(run(&env, &repo, ONE, &["--until", "plan"]).ok());
    drop(run(&env, &repo, ONE, &["--until", "landed"]).code(4));
    assert_eq!(repo.read("a"), "1\n");
}

#[test]
fn a_projects_file_that_nobody_trusts_is_never_run() {
    let env = TestEnv::new();
    let repo =
        env.repo("r", &[("a", "1\n"), (".wattle/config.yaml", "checks: [{ name: evil, run: touch ../../evil }]\n")]);
    let then = before(&repo);
    let plan = ONE.replace("checks: []\n", "");
    assert_snapshot!(run(&env, &repo, &plan, &["--approve", "auto"]).shown(), @"
    exit 5
    --- stderr
    error: failed to use $ROOT/r/.wattle/config.yaml: it would run checks and is not trusted
      hint: read it, then `wattle trust` (in CI: WATTLE_TRUST=1)
    ");
    assert_eq!(run(&env, &repo, &plan, &["--json"]).code(5).json()["error"]["code"], "untrusted");
    untouched(&repo, &then);
}
