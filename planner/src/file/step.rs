//! Lowering of one step.

use super::fields::{
    Fields, choice, duration, env, fields, globs, integer, later, list, number, optional, required, text, texts, usd,
};
use super::node::{Node, Value};
use super::{Defaults, DraftStep};
use crate::globs::Glob;
use crate::id::{GroupId, StepId};
use crate::problem::{At, Found};
use crate::step::{AgentSpec, Context, Mode, Repair, RuleSource, StepCheck, Undo, Use, Work};

/// Most retries: what has failed a hundred times will not be saved by one more.
pub(super) const RETRIES_MAX: u32 = 100;

/// Most repairs of one attempt; each is a whole agent session.
const ATTEMPTS_MAX: u32 = 10;

/// Turns of an agent that does not say: enough for the largest single edit sessions seen, and a bound.
const MAX_TURNS_DEFAULT: u32 = 40;

/// Most turns of an agent.
const MAX_TURNS_MAX: u32 = 1000;

pub(crate) const STEP_KEYS: [&str; 19] = [
    "id", "title", "group", "mode", "needs", "touches", "run", "rewrite", "agent", "revert", "expect", "check",
    "repair", "tools", "env", "ok_exit", "retries", "timeout", "idle",
];

const EXECUTORS: [&str; 4] = ["run", "rewrite", "agent", "revert"];

/// Reads a step. What cannot be read is noted and left at its default, so that the rest can still be judged.
pub(super) fn step(found: &mut Found, node: &Node, defaults: &Defaults) -> DraftStep {
    let from = fields(found, node, "step", &STEP_KEYS);
    let is_map = matches!(node.value, Value::Map(_));
    let id = if is_map { id(found, &from) } else { None };
    let expect_none = choice(found, &from, "expect", &[("none", ())]).is_some();
    let work = if is_map { work(found, &from, "step", expect_none) } else { None };
    let touches = globs(found, &from, "touches");
    let mode = mode(found, &from, expect_none);
    touches_fit(found, &from, mode, expect_none);
    let check = from.some("check").and_then(|node| check(found, node, defaults));
    let repair = from.some("repair").and_then(|node| repair(found, node));
    if let (Some(pos), None) = (from.key_pos("repair"), from.some("check")) {
        found.add_hint(
            pos,
            "`repair` without `check`: nothing would tell that it is needed",
            "give the step a `check`",
        );
    }
    let timeout_ms = duration(found, &from, "timeout").unwrap_or(defaults.timeout_ms);
    let idle_ms = match from.get("idle") {
        Some(node) if node.is_null() => None,
        Some(_) => duration(found, &from, "idle"),
        None => defaults.idle_ms,
    };
    let everything = || match mode {
        Mode::Write => vec![Glob::everything()],
        Mode::Read | Mode::Scratch => Vec::new(),
    };
    DraftStep {
        pos: node.pos,
        id,
        title: optional(found, &from, "title"),
        group: group(found, &from),
        needs: texts(found, &from, "needs").unwrap_or_default(),
        mode,
        touches_given: touches.is_some(),
        touches: touches.unwrap_or_else(everything),
        work,
        expect_none,
        check,
        repair,
        tools: texts(found, &from, "tools").map(|tools| tools.into_iter().map(|t| t.value).collect()),
        env: env(found, &from),
        ok_exit: ok_exit(found, &from),
        retries: number(found, &from, "retries", 0, RETRIES_MAX).unwrap_or(defaults.retries),
        timeout_ms,
        idle_ms,
    }
}

fn id(found: &mut Found, from: &Fields<'_>) -> Option<At<StepId>> {
    let text = required(found, from, "id", "step")?;
    let pos = from.get("id")?.pos;
    StepId::parse(&text).map_err(|error| found.add(pos, format!("cannot {error}"))).ok().map(|value| At { pos, value })
}

fn group(found: &mut Found, from: &Fields<'_>) -> Option<At<GroupId>> {
    let text = optional(found, from, "group")?;
    let pos = from.get("group")?.pos;
    GroupId::parse(&text).map_err(|error| found.add(pos, format!("cannot {error}"))).ok().map(|value| At { pos, value })
}

/// The mode as written, else as derived: what has `touches` or rewrites writes, all else reads.
fn mode(found: &mut Found, from: &Fields<'_>, expect_none: bool) -> Mode {
    let words = [Mode::Read, Mode::Write, Mode::Scratch].map(|mode| (mode.as_str(), mode));
    let derived = if expect_none {
        Mode::Read
    } else if ["touches", "rewrite", "revert"].iter().any(|key| from.get(key).is_some()) {
        Mode::Write
    } else {
        Mode::Read
    };
    choice(found, from, "mode", &words).map_or(derived, |mode| mode.value)
}

/// Whether mode, `touches`, `rewrite` and `expect` go together.
fn touches_fit(found: &mut Found, from: &Fields<'_>, mode: Mode, expect_none: bool) {
    let name = mode.as_str();
    if let Some(pos) = from.key_pos("touches") {
        let empty = matches!(from.some("touches").map(|n| &n.value), Some(Value::List(items)) if items.is_empty());
        match mode {
            Mode::Read | Mode::Scratch => found.add_hint(
                pos,
                format!("a {name} step has no `touches`"),
                "leave `touches` out, or make it `mode: write`",
            ),
            Mode::Write if empty => found.add_hint(
                pos,
                "`touches` is empty: a write step that may write nothing",
                "name its paths, or make it `mode: read`",
            ),
            Mode::Write => {}
        }
    }
    match (from.key_pos("rewrite"), mode) {
        (Some(pos), Mode::Read | Mode::Scratch) if !expect_none => found.add_hint(
            pos,
            format!("a {name} step cannot rewrite"),
            "leave `mode` out, or add `expect: none` to only make sure that the rule matches nothing",
        ),
        (Some(_) | None, _) => {}
    }
    if let (Some(pos), Mode::Read | Mode::Scratch) = (from.key_pos("revert"), mode) {
        found.add_hint(pos, format!("a {name} step cannot revert"), "leave `mode` out");
    }
    if let (Some(pos), true) = (from.key_pos("expect"), expect_none) {
        if mode != Mode::Read {
            found.add(pos, format!("`expect: none` changes nothing, so the step cannot be `mode: {name}`"));
        }
        if from.get("rewrite").is_none() {
            found.add(pos, "`expect: none` is about the matches of a rule; it needs `rewrite`");
        }
    }
}

/// The one executor of a step or repair.
fn work(found: &mut Found, from: &Fields<'_>, section: &str, expect_none: bool) -> Option<Work> {
    let mut given = EXECUTORS.into_iter().filter(|key| from.get(key).is_some());
    let Some(first) = given.next() else {
        found.add(from.pos, format!("a {section} needs one of `run`, `rewrite` and `agent`"));
        return None;
    };
    let mut more = false;
    for key in given {
        more = true;
        let pos = from.key_pos(key).unwrap_or(from.pos);
        found.add_hint(
            pos,
            format!("a {section} has one of `run`, `rewrite` and `agent`; this one has `{first}` and `{key}`"),
            "make it two steps, the second with `needs` on the first",
        );
    }
    let mut works = EXECUTORS
        .into_iter()
        .filter_map(|key| from.get(key).map(|node| (key, node)))
        .map(|(key, node)| match key {
            "run" => text(found, node, "run").map(|command| Work::Run { command }),
            "rewrite" => rule(found, node, expect_none).map(Work::Rewrite),
            "agent" => agent(found, node).map(Work::Agent),
            _ => revert(found, node).map(Work::Revert),
        })
        .collect::<Vec<_>>()
        .into_iter();
    if more { None } else { works.next().flatten() }
}

/// Most changes that one step undoes: those of the largest plan.
const UNDO_MAX: usize = super::STEPS_MAX;

/// The changes that are to be undone, each as two full commit ids.
fn revert(found: &mut Found, node: &Node) -> Option<Vec<Undo>> {
    let items = list(found, node, "revert");
    if items.is_empty() || items.len() > UNDO_MAX {
        found.add(node.pos, format!("`revert` is a list of 1 to {UNDO_MAX} changes"));
        return None;
    }
    items.iter().map(|item| undo(found, item)).collect()
}

fn undo(found: &mut Found, node: &Node) -> Option<Undo> {
    let from = fields(found, node, "revert", &["before", "after", "of"]);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let mut commit = |key: &str| {
        let id = required(found, &from, key, "revert")?;
        let whole = matches!(id.len(), 40 | 64) && id.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        if !whole {
            let pos = from.get(key).map_or(from.pos, |node| node.pos);
            found.add_hint(
                pos,
                format!("`{key}` must be the full id of a commit"),
                "`wattle revert STEP` writes such a plan",
            );
        }
        whole.then_some(id)
    };
    let (before, after) = (commit("before"), commit("after"));
    let of = texts(found, &from, "of").unwrap_or_default().into_iter().map(|text| text.value).collect();
    Some(Undo { before: before?, after: after?, of })
}

fn rule(found: &mut Found, node: &Node, expect_none: bool) -> Option<RuleSource> {
    let keys = ["rule", "inline", "pattern", "fix", "lang"];
    let from = fields(found, node, "rewrite", &keys);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let given: Vec<&str> = ["rule", "inline", "pattern"].into_iter().filter(|key| from.get(key).is_some()).collect();
    let [one] = given.as_slice() else {
        found.add(
            node.pos,
            "a rewrite has one of `rule` (a file), `inline` (its text) and `pattern` with `fix` and `lang`",
        );
        return None;
    };
    if *one != "pattern" {
        for key in ["fix", "lang"] {
            if let Some(pos) = from.key_pos(key) {
                found.add(pos, format!("`{key}` goes with `pattern`, not with `{one}`"));
            }
        }
    }
    match *one {
        "rule" => required(found, &from, "rule", "rewrite").map(RuleSource::File),
        "inline" => inline(found, from.get("inline")?).map(RuleSource::Inline),
        _ => {
            let pattern = required(found, &from, "pattern", "rewrite");
            let lang = required(found, &from, "lang", "rewrite");
            let fix = fix(found, &from, expect_none);
            Some(RuleSource::Pattern { pattern: pattern?, fix: fix?, lang: lang? })
        }
    }
}

/// A replacement may be empty: that deletes the match.
fn fix(found: &mut Found, from: &Fields<'_>, expect_none: bool) -> Option<String> {
    match from.get("fix").map(|node| (node, &node.value)) {
        Some((_, Value::Scalar { text, plain: false })) => Some(text.clone()),
        Some((node, _)) => text(found, node, "fix"),
        None if expect_none => Some(String::new()),
        None => {
            found.add(from.pos, "a rewrite with `pattern` needs `fix` (`\"\"` deletes)");
            None
        }
    }
}

/// A rule as text, or written out in place.
fn inline(found: &mut Found, node: &Node) -> Option<String> {
    match &node.value {
        Value::Map(_) => Some(node.to_json().to_string()),
        Value::Scalar { .. } | Value::List(_) => text(found, node, "inline"),
    }
}

fn agent(found: &mut Found, node: &Node) -> Option<AgentSpec> {
    let keys = ["prompt", "model", "via", "context", "max_turns", "max_usd", "use"];
    let from = fields(found, node, "agent", &keys);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let prompt = required(found, &from, "prompt", "agent");
    let model = optional(found, &from, "model");
    if let (Some(model), Some(node)) = (&model, from.get("model"))
        && !model_shape(model)
    {
        found.add_hint(
            node.pos,
            format!("`model: {}` names no provider", model.escape_debug()),
            "write PROVIDER/NAME, such as `anthropic/claude-sonnet-5-5`, or `script:FILE`",
        );
    }
    via(found, &from);
    Some(AgentSpec {
        prompt: prompt?,
        model,
        via: "wattle".to_owned(),
        context: context(found, &from),
        max_turns: number(found, &from, "max_turns", 1, MAX_TURNS_MAX).unwrap_or(MAX_TURNS_DEFAULT),
        max_nano_usd: usd(found, &from, "max_usd"),
        uses: uses(found, &from),
    })
}

/// Most bytes of a definition's name: those of a file name are more than anybody gives it.
const USE_BYTES_MAX: usize = 100;

/// The definition that is named; whether there is one is for the run to say.
fn uses(found: &mut Found, from: &Fields<'_>) -> Option<Use> {
    let name = optional(found, from, "use")?;
    let pos = from.get("use").map_or(from.pos, |node| node.pos);
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > USE_BYTES_MAX || name.starts_with('-') || !name.bytes().all(known) {
        found.add_hint(
            pos,
            format!("`use: {}` is no name of an agent: lowercase letters, digits and hyphens", name.escape_debug()),
            "it is the `name` in .claude/agents/*.md or .wattle/agents/*.md",
        );
        return None;
    }
    Some(Use { name, line: pos.line, column: pos.column, turns_given: from.get("max_turns").is_some() })
}

fn model_shape(model: &str) -> bool {
    let parts = model.split_once('/').or_else(|| model.strip_prefix("script:").map(|file| ("script", file)));
    !model.contains(char::is_whitespace)
        && parts.is_some_and(|(provider, name)| !provider.is_empty() && !name.is_empty())
}

fn via(found: &mut Found, from: &Fields<'_>) {
    let Some(via) = optional(found, from, "via") else {
        return;
    };
    let pos = from.get("via").map_or(from.pos, |node| node.pos);
    if matches!(via.as_str(), "claude" | "codex") || via.starts_with("acp:") {
        later(found, pos, &format!("`via: {}`", via.escape_debug()));
    } else if via != "wattle" {
        found.add(pos, format!("`via` must be `wattle`, not `{}`", via.escape_debug()));
    }
}

fn context(found: &mut Found, from: &Fields<'_>) -> Context {
    let words = [("auto", Context::Auto), ("fresh", Context::Fresh), ("fork", Context::Fork)];
    choice(found, from, "context", &words).map_or(Context::Auto, |context| context.value)
}

fn check(found: &mut Found, node: &Node, defaults: &Defaults) -> Option<StepCheck> {
    let from = fields(found, node, "check", &["run", "timeout"]);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let timeout_ms = duration(found, &from, "timeout").unwrap_or(defaults.timeout_ms);
    let run = required(found, &from, "run", "check")?;
    Some(StepCheck { run, timeout_ms })
}

fn repair(found: &mut Found, node: &Node) -> Option<Repair> {
    let from = fields(found, node, "repair", &["run", "rewrite", "agent", "attempts"]);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let attempts = number(found, &from, "attempts", 1, ATTEMPTS_MAX).unwrap_or(1);
    let work = work(found, &from, "repair", false)?;
    Some(Repair { work, attempts })
}

/// Exit codes are one byte.
const EXIT_MAX: u64 = 255;

fn ok_exit(found: &mut Found, from: &Fields<'_>) -> Vec<i32> {
    let Some(node) = from.some("ok_exit") else {
        return vec![0];
    };
    let items = list(found, node, "ok_exit");
    if items.is_empty() && matches!(node.value, Value::List(_)) {
        found.add(node.pos, "`ok_exit` is empty: no exit code would be a success");
    }
    items
        .iter()
        .filter_map(|item| integer(found, item, "ok_exit", 0, EXIT_MAX))
        .filter_map(|code| i32::try_from(code).ok())
        .collect()
}
