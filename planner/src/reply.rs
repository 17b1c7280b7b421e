//! What the planning agent may answer: steps, and checks to be added. Everything else of a plan comes from the frame,
//! which flags and trusted configuration decide, so that a captured model cannot choose where work lands, what counts
//! as green, or what it may cost.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::file::node::{self, Node};
use crate::problem::{Found, Pos, Problem, Problems};
use crate::sense;
use crate::validate::parse_plan;
use crate::yaml;

/// What a plan has besides its steps. The texts are YAML, the value of their key each.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The target branch.
    pub target: Option<String>,
    /// The list of all checks that flags and trusted configuration give; `None` where they give none.
    pub checks: Option<String>,
    /// The same, where they are added to the plan later, as long as it names none: a plan with proposed checks names
    /// them all. `[]` = somebody has decided that there are none.
    pub later_checks: Option<String>,
    /// The mapping of `setup`.
    pub setup: Option<String>,
    /// The mapping of `limits`.
    pub limits: Option<String>,
    /// The mapping of `defaults`.
    pub defaults: Option<String>,
    /// The mapping of `commit`.
    pub commit: Option<String>,
}

/// The name in the problems of a reply.
const REPLY: &str = "the submitted plan";

/// Keys of a submitted check. Not `env`: it could change what the command means.
const CHECK_KEYS: [&str; 5] = ["name", "run", "at", "paths", "timeout"];

/// A plan that a planning agent has submitted, and that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its text, YAML, valid for [`parse_plan`].
    pub yaml: String,
    /// What is worth a second look, each a line for the agent; a plan that comes again may keep it.
    pub doubts: Vec<String>,
}

/// The plan of the steps in `json`, as [`submit_plan_schema`] describes them. The positions of problems are those in
/// the plan; each message names the step it is about.
///
/// [`submit_plan_schema`]: crate::submit_plan_schema
pub fn plan_from_reply(task: &str, json: &str, frame: &Frame) -> Result<Submitted, Problems> {
    let reply = object(json)?;
    let mut found = Found::default();
    let top = Pos { line: 1, column: 1 };
    for key in reply.keys().filter(|key| !matches!(key.as_str(), "steps" | "proposed_checks")) {
        let key = key.escape_debug();
        found.add_hint(
            top,
            format!("`{key}` is not for a planning agent to decide"),
            "submit `steps`, and `proposed_checks` if need be",
        );
    }
    let steps = match reply.get("steps") {
        Some(Value::Array(steps)) if !steps.is_empty() => steps.as_slice(),
        Some(_) | None => {
            found.add(top, "`steps` must be a list of at least one step");
            &[]
        }
    };
    for (i, step) in steps.iter().enumerate() {
        judge_step(&mut found, top, &label(i, step), step);
    }
    let proposed = proposed(&mut found, top, reply.get("proposed_checks"));
    let checks = checks(&mut found, top, frame, &proposed);
    if !found.is_empty() {
        return Err(found.into_problems(REPLY));
    }
    let yaml = render(task, frame, &checks, &proposed, steps);
    let plan = parse_plan(REPLY, &yaml).map_err(|problems| name_steps(problems, &yaml, steps))?;
    let sense = sense::judge(&plan, frame.checks.is_some() || frame.later_checks.is_some());
    if sense.errors.is_empty() {
        return Ok(Submitted { yaml, doubts: sense.doubts });
    }
    sense.errors.iter().chain(&sense.doubts).for_each(|message| found.add(top, message.clone()));
    Err(found.into_problems(REPLY))
}

pub(crate) fn object(json: &str) -> Result<Map<String, Value>, Problems> {
    let problem = |message: String, line: usize, column: usize| {
        let number = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
        let problem = Problem { message, hint: None, line: number(line), column: number(column) };
        Problems::new(REPLY, vec![problem])
    };
    if json.len() > node::PLAN_BYTES_MAX {
        let message = format!("larger than {} bytes", node::PLAN_BYTES_MAX);
        return Err(problem(message, 1, 1));
    }
    match serde_json::from_str(json) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(problem("must be a JSON object with `steps`".to_owned(), 1, 1)),
        Err(error) => Err(problem(format!("not JSON: {error}"), error.line(), error.column())),
    }
}

/// "step 3 (`api`)".
pub(crate) fn label(i: usize, step: &Value) -> String {
    match step.get("id").and_then(Value::as_str) {
        Some(id) => format!("step {} (`{}`)", i + 1, id.escape_debug()),
        None => format!("step {}", i + 1),
    }
}

/// Refuses what a person may write in a step and a model may not.
pub(crate) fn judge_step(found: &mut Found, top: Pos, label: &str, step: &Value) {
    if step.get("revert").is_some() {
        found.add(top, format!("{label}: `revert` is not for a planning agent to decide"));
    }
    let works = [Some(step), step.get("repair")].into_iter().flatten();
    for work in works {
        for key in ["model", "via", "context", "max_usd", "use"] {
            if work.get("agent").and_then(|agent| agent.get(key)).is_some() {
                found.add(top, format!("{label}: `{key}` is not for a planning agent to decide"));
            }
        }
        // The file is read before anything is confined.
        let rule = work.get("rewrite").and_then(|rewrite| rewrite.get("rule"));
        let outside = |path: &str| path.split('/').any(|part| matches!(part, "" | "." | ".."));
        if rule.and_then(Value::as_str).is_some_and(outside) {
            found.add_hint(
                top,
                format!("{label}: a rule file must be a path relative to the root of the repository"),
                "write the rule out as `inline`",
            );
        }
    }
}

fn proposed(found: &mut Found, top: Pos, value: Option<&Value>) -> Vec<Value> {
    let checks = match value {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(checks)) => checks.clone(),
        Some(_) => {
            found.add(top, "`proposed_checks` must be a list");
            return Vec::new();
        }
    };
    for check in &checks {
        let keys = check.as_object().into_iter().flat_map(Map::keys);
        for key in keys.filter(|key| !CHECK_KEYS.contains(&key.as_str())) {
            let key = key.escape_debug();
            found.add(top, format!("`{key}` is not for a planning agent to decide in a check"));
        }
    }
    checks
}

/// The frame's checks and those proposed; `None` where neither has any to say.
fn checks(found: &mut Found, top: Pos, frame: &Frame, proposed: &[Value]) -> Option<Vec<Value>> {
    if proposed.is_empty() {
        return None;
    }
    let own = match frame.checks.as_ref().or(frame.later_checks.as_ref()) {
        None => Vec::new(),
        Some(text) => match node::read(text, found).as_ref().map(Node::to_json) {
            Some(Value::Array(own)) => own,
            Some(_) | None => {
                found.add(top, "the checks of the run are not a list");
                return None;
            }
        },
    };
    let name = |check: &Value| check.get("name").and_then(Value::as_str).map(str::to_owned);
    let names: BTreeSet<String> = own.iter().filter_map(name).collect();
    for name in proposed.iter().filter_map(name).filter(|n| names.contains(n)) {
        let name = name.escape_debug();
        found.add(top, format!("the proposed check `{name}` has the name of one that there is"));
    }
    Some(own.into_iter().chain(proposed.iter().cloned()).collect())
}

fn render(task: &str, frame: &Frame, checks: &Option<Vec<Value>>, proposed: &[Value], steps: &[Value]) -> String {
    let mut out = format!("version: 1\ntask: {}\n", yaml::block(task, 2));
    if let Some(target) = &frame.target {
        out.push_str(&format!("target: {}\n", yaml::scalar(target)));
    }
    match (checks, &frame.checks) {
        (Some(checks), _) => {
            out.push_str("# The last ");
            out.push_str(&match proposed.len() {
                1 => "check is proposed by the planning agent.\n".to_owned(),
                n => format!("{n} checks are proposed by the planning agent.\n"),
            });
            out.push_str(&section("checks", &yaml::value(&Value::Array(checks.clone()))));
        }
        (None, Some(text)) => out.push_str(&section("checks", text)),
        (None, None) => {}
    }
    let framed =
        [("setup", &frame.setup), ("limits", &frame.limits), ("defaults", &frame.defaults), ("commit", &frame.commit)];
    for (key, text) in framed {
        if let Some(text) = text {
            out.push_str(&section(key, text));
        }
    }
    let groups: BTreeSet<&str> = steps.iter().filter_map(|step| step.get("group")?.as_str()).collect();
    if !groups.is_empty() {
        out.push_str("groups:\n");
        for group in groups {
            out.push_str(&format!("  {}: {{ land: together }}\n", yaml::scalar(group)));
        }
    }
    out.push_str("steps:\n");
    for step in steps {
        out.push_str(&indented(&yaml::value(&Value::Array(vec![step.clone()]))));
    }
    out
}

fn section(key: &str, text: &str) -> String {
    format!("{key}:\n{}", indented(text))
}

fn indented(text: &str) -> String {
    let line = |line: &str| match line {
        "" => "\n".to_owned(),
        line => format!("  {line}\n"),
    };
    text.lines().map(line).collect()
}

/// Says in each message which step it is about: the agent never sees the lines of the plan.
fn name_steps(mut problems: Problems, text: &str, steps: &[Value]) -> Problems {
    let lines: Vec<u32> =
        node::read(text, &mut Found::default()).map(|root| node::item_lines(&root, "steps")).unwrap_or_default();
    for problem in &mut problems.problems {
        let place = lines.iter().rposition(|line| *line <= problem.line);
        if let Some((i, step)) = place.and_then(|i| Some((i, steps.get(i)?))) {
            problem.message = format!("{}: {}", label(i, step), problem.message);
        }
    }
    problems
}

#[cfg(test)]
mod tests;
