//! Tests of [`super`].

use wattle_cache::price::Table;
use wattle_planner::{Plan, parse_plan};

use super::{Guidance, Known, Named};

fn known(files: &[(&str, &str)]) -> Known {
    let mut known = Known::default();
    for (path, text) in files {
        known.add(path, text);
    }
    known
}

fn plan(agent: &str) -> Plan {
    let text = format!("version: 1\ntask: t\nsteps:\n  - id: one\n    agent: {agent}\n");
    parse_plan("plan.yaml", &text).unwrap()
}

fn of(files: &[(&str, &str)], agent: &str) -> Result<Named, String> {
    let found = known(files).of("plan.yaml", &plan(agent), Table::builtin());
    found.map_err(|problems| problems.to_string())
}

const FULL: &str = "---\nname: reviewer\ndescription: x\ncolor: red\ntools: Read, Grep, MultiEdit, Task, Bash(git *)\n\
disallowedTools: [Grep]\nmodel: sonnet\nmaxTurns: 7\n---\n\nBe strict.\n";

#[test]
fn a_file_is_taken_as_far_as_it_can_be() {
    let named = of(&[(".claude/agents/r.md", FULL)], "{ use: reviewer, prompt: x }").unwrap();
    let file = &named.used["reviewer"];
    assert_eq!(file.tools.as_deref(), Some(&["Read".to_owned(), "Edit".to_owned()][..]));
    assert_eq!(
        (file.model.as_deref(), file.max_turns, named.texts.as_slice()),
        (None, Some(7), &["Be strict.".to_owned()][..])
    );
    insta::assert_snapshot!(named.warnings.join("\n"), @r"
    .claude/agents/r.md: `model: sonnet` is left out, the run's model is asked: write PROVIDER/NAME
    .claude/agents/r.md: there is no tool `Bash(git *)` here
    .claude/agents/r.md: there is no tool `Task` here
    ");
    // The same with a byte order mark and the ends of lines of another system.
    let dos = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    assert_eq!(of(&[(".claude/agents/r.md", &dos)], "{ use: reviewer, prompt: x }").unwrap().used["reviewer"], *file);
}

#[test]
fn a_model_is_taken_where_its_price_is_known() {
    for (model, taken) in [
        ("anthropic/claude-haiku-5-5", true),
        ("anthropic/nobody-knows", false),
        ("inherit", false),
        ("opus", false),
        ("script:steal.yaml", false),
    ] {
        let file = format!("---\nname: a\nmodel: {model}\n---\n");
        let named = of(&[("a.md", &file)], "{ use: a, prompt: x }").unwrap();
        assert_eq!(named.used["a"].model.as_deref(), taken.then_some(model));
        assert_eq!(named.warnings.is_empty(), taken || model == "inherit", "{model}");
    }
}

#[test]
fn mistakes_have_their_place_in_the_plan() {
    let check = |files: &[(&str, &str)], agent: &str, message: &str| {
        assert_eq!(of(files, agent).unwrap_err(), message, "{files:?}");
    };
    check(
        &[],
        "{ use: a, prompt: x }",
        "plan.yaml:5:19: there is no agent `a`\n    the base commit has none: write .wattle/agents/NAME.md, and commit it",
    );
    check(
        &[("b.md", "---\nname: b\n---\n"), ("c.md", "c"), ("d.md", "---\nname: D\n---\n")],
        "{ prompt: x, use: a }",
        "plan.yaml:5:30: there is no agent `a`\n    the base commit has b; not read: c.md: it does not begin with YAML between two lines `---` (and 1 more)",
    );
    check(
        &[("a.md", "---\nname: a\ntools: [Task, mcp__x__y]\n---\n")],
        "{ use: a, prompt: x }",
        "plan.yaml:5:19: the agent `a` has no tool that there is here (a.md)",
    );
    let text = "version: 1\ntask: t\nsteps: [{ id: a, agent: { use: Not/OK, prompt: x } }]\n";
    assert!(parse_plan("p", text).unwrap_err().to_string().contains("`use: Not/OK` is no name of an agent"));
}

#[test]
fn ours_win_and_doubles_are_told() {
    let files = [(".claude/agents/a.md", "---\nname: a\n---\none"), (".wattle/agents/z.md", "---\nname: a\n---\ntwo")];
    let named = of(&files, "{ use: a, prompt: x }").unwrap();
    assert_eq!(named.texts, ["two"]);
    assert_eq!(named.warnings, ["`a` is defined twice: .wattle/agents/z.md holds, .claude/agents/a.md does not"]);
}

#[test]
fn a_definition_only_narrows() {
    let check = |front: &str, agent: &str, step: &[&str], tools: &[&str], turns: u32| {
        let file = format!("---\nname: a\n{front}\n---\nbody");
        let agent = format!("{{ use: a, prompt: x{agent} }}");
        let named = of(&[("a.md", &file)], &agent).unwrap();
        let agents = named.used.into_iter().map(|(name, file)| (name, (file, "body".to_owned()))).collect();
        let guidance = Guidance { instructions: Default::default(), agents };
        let plan = plan(&agent);
        let wattle_planner::Work::Agent(spec) = &plan.steps()[0].work else { panic!() };
        let step = step.iter().map(|tool| (*tool).to_owned()).collect();
        assert_eq!(guidance.tools(spec, step), tools, "{front}");
        assert_eq!(guidance.max_turns(spec), turns, "{front}");
        assert_eq!(guidance.definition(spec).unwrap().body, "body");
    };
    check("color: red", "", &["Read", "Bash"], &["Read", "Bash"], 40);
    check("tools: Read, Write, Bash", "", &["Read", "Grep"], &["Read"], 40);
    check("disallowedTools: Bash(rm *)", "", &["Read", "Bash"], &["Read"], 40);
    check("tools: [Write]\nmaxTurns: 9", "", &["Read"], &["Ask", "Report"], 9);
    check("maxTurns: 9", ", max_turns: 3", &["Read"], &["Read"], 3);
    check("maxTurns: 99999999", "", &["Read"], &["Read"], 1000);
}
