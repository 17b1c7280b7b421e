//! A plan whose step turned out too large: the steps that a planning agent would add to it while it runs.
//!
//! The step itself stays, with what it has done so far. Its *parts* come after it and are bound by what it was allowed:
//! they change no path that it could not, use no tool that it could not, cost no more each, and wait for nothing but it
//! and each other. What needed the step needs its parts as well. Parts that write land together with it, because what
//! it has left half done may be red alone; its own check moves behind the last part for the same reason. As the steps of
//! any group they come one after the other.
//!
//! Steps are only ever added at the end, so that the place of every step stays what it was. That is enough for the order
//! of what overlaps: whatever may write a file of a part may write it in the step, too, and so comes before the step,
//! where it is done, or after it, where it has not begun.

use serde_json::{Map, Value};

use crate::file::node::{self, Node};
use crate::globs::globs_cover;
use crate::id::{GroupId, ID_BYTES_MAX, StepId};
use crate::plan::Plan;
use crate::problem::{Found, Pos, Problems};
use crate::reply;
use crate::sense;
use crate::step::{Mode, Step, Work};
use crate::validate::parse_plan;
use crate::yaml;

/// The name in the problems of a reply.
const REPLY: &str = "the submitted parts";

/// What of a part is not a planning agent's to decide: it follows from the step.
const DECIDED: [&str; 4] = ["group", "check", "repair", "retries"];

/// A plan with more steps.
#[derive(Clone, Debug)]
pub struct Amendment {
    /// Its text, YAML, valid for [`parse_plan`].
    pub yaml: String,
    /// The same, read.
    pub plan: Plan,
    /// The steps that were added.
    pub added: Vec<StepId>,
}

/// The plan `text` with the steps in `json` as parts of step `of`: at most `parts_max` of them. `bash`: may the step run
/// commands of its own choice?
///
/// # Errors
/// All problems at once, each with the part it is about.
pub fn amend(text: &str, of: &StepId, json: &str, parts_max: usize, bash: bool) -> Result<Amendment, Problems> {
    let plan = parse_plan(REPLY, text)?;
    let mut found = Found::default();
    let top = Pos { line: 1, column: 1 };
    let problem = |found: Found| found.into_problems(REPLY);
    let (Some(step), Some(Value::Object(mut root))) =
        (plan.step(of), node::read(text, &mut found).as_ref().map(Node::to_json))
    else {
        found.add(top, format!("there is no step `{of}` to split"));
        return Err(problem(found));
    };
    let reply = reply::object(json)?;
    for key in reply.keys().filter(|key| *key != "steps") {
        found.add_hint(
            top,
            format!("`{}` does not change while a plan runs", key.escape_debug()),
            "submit `steps` alone",
        );
    }
    let parts = match reply.get("steps") {
        Some(Value::Array(parts)) if (1..=parts_max).contains(&parts.len()) => parts.clone(),
        Some(_) | None => {
            found.add(top, format!("`steps` must be a list of 1 to {parts_max} steps"));
            return Err(problem(found));
        }
    };
    let ids = parts.iter().filter_map(|part| part.get("id")?.as_str()).collect::<Vec<_>>();
    for (i, part) in parts.iter().enumerate() {
        judge(&mut found, top, &reply::label(i, part), part, (step, &ids, bash));
    }
    if !found.is_empty() {
        return Err(problem(found));
    }
    let shaped = put_in(&mut root, &plan, step, &parts);
    let yaml = yaml::value(&Value::Object(root));
    let amended = parse_plan(REPLY, &yaml).map_err(|problems| named(problems, &yaml, plan.steps().len(), &parts))?;
    let fresh = &amended.steps()[plan.steps().len()..];
    fresh.iter().take(parts.len()).for_each(|part| within(&mut found, top, step, part));
    sense::unordered(&amended, plan.steps().len()).into_iter().for_each(|message| found.add(top, message));
    if found.is_empty() {
        return Ok(Amendment { yaml, added: shaped, plan: amended });
    }
    Err(problem(found))
}

/// Refuses what no part may say.
fn judge(found: &mut Found, top: Pos, label: &str, part: &Value, (step, ids, bash): (&Step, &[&str], bool)) {
    reply::judge_step(found, top, label, part);
    for key in DECIDED.iter().filter(|key| part.get(**key).is_some()) {
        found.add(top, format!("{label}: `{key}` is decided by the step that is split"));
    }
    if part.get("run").is_some() && !bash {
        found.add(top, format!("{label}: `{}` may run no command, so no part of it may", step.id));
    }
    let rule = part.get("rewrite").and_then(|rewrite| rewrite.get("rule"));
    if rule.is_some() {
        found.add_hint(
            top,
            format!("{label}: the files of a run are fixed when it starts"),
            "write the rule out as `inline`",
        );
    }
    let needs = part.get("needs").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for need in needs.filter(|need| !ids.contains(need) && *need != step.id.as_str()) {
        let (need, of) = (need.escape_debug(), &step.id);
        found.add(top, format!("{label}: needs `{need}`; a part needs other parts and `{of}`, and nothing else"));
    }
}

/// Holds a part against what its step may do.
fn within(found: &mut Found, top: Pos, step: &Step, part: &Step) {
    let allowed = match step.mode {
        Mode::Write => true,
        Mode::Scratch => part.mode != Mode::Write,
        Mode::Read => part.mode == Mode::Read,
    };
    if !allowed {
        let (mode, of) = (part.mode.as_str(), step.mode.as_str());
        found.add(top, format!("step `{}`: `mode: {mode}` in a step of `mode: {of}`", part.id));
    }
    if part.mode == Mode::Write && !part.touches_given {
        found.add(top, format!("step `{}`: has to say what it `touches`", part.id));
        return;
    }
    for glob in part.touches.iter().filter(|glob| !globs_cover(&step.touches, glob)) {
        let allowed: Vec<String> = step.touches.iter().map(|glob| format!("`{glob}`")).collect();
        found.add(
            top,
            format!("step `{}`: `{glob}` is not within what `{}` touches ({})", part.id, step.id, allowed.join(", ")),
        );
    }
}

/// Puts the parts into the plan, and gives the ids of all steps that are new.
fn put_in(root: &mut Map<String, Value>, plan: &Plan, step: &Step, parts: &[Value]) -> Vec<StepId> {
    let Some(Value::Array(steps)) = root.get_mut("steps") else { return Vec::new() };
    let place = plan.position(&step.id).unwrap_or(0);
    let Some(Value::Object(own)) = steps.get_mut(place) else { return Vec::new() };
    let check = own.remove("check");
    own.remove("repair");
    let group = step.group.clone().or_else(|| (step.mode == Mode::Write).then(|| new_group(plan, &step.id)));
    if let Some(group) = &group {
        own.insert("group".to_owned(), group.as_str().into());
    }
    let own = own.clone();
    let mut fresh: Vec<Value> = parts.iter().map(|part| shaped(part, &own, step, group.as_ref())).collect();
    let mut ids: Vec<Value> = fresh.iter().filter_map(|part| part.get("id").cloned()).collect();
    if let Some(check) = check {
        let id = free(&step.id, "-check", |id| plan.position(id).is_some() || ids.iter().any(|own| own == id.as_str()));
        let mut needs = vec![Value::from(step.id.as_str())];
        needs.extend(ids.iter().cloned());
        let mut last = Map::new();
        last.insert("id".to_owned(), id.as_str().into());
        last.insert("title".to_owned(), format!("The check of {}, after all its parts", step.id).into());
        last.insert("mode".to_owned(), "scratch".into());
        last.insert("needs".to_owned(), needs.into());
        for (key, from) in [("run", check.get("run")), ("timeout", check.get("timeout")), ("env", own.get("env"))] {
            last.extend(from.map(|value| (key.to_owned(), value.clone())));
        }
        ids.push(id.as_str().into());
        fresh.push(Value::Object(last));
    }
    for dependent in plan.steps().iter().filter(|other| other.needs.contains(&step.id)) {
        let place = plan.position(&dependent.id).unwrap_or(0);
        if let Some(Value::Object(other)) = steps.get_mut(place) {
            let needs = other.entry("needs").or_insert_with(|| Value::Array(Vec::new()));
            // Of one group the check stands outside: who lands with the parts cannot wait for it.
            let of_group = group.is_some() && dependent.group == group;
            let most = if of_group { parts.len() } else { ids.len() };
            if let Value::Array(needs) = needs {
                needs.extend(ids.iter().take(most).cloned());
            }
        }
    }
    steps.extend(fresh);
    if let Some(group) = group.filter(|_| step.group.is_none()) {
        let groups = root.entry("groups").or_insert_with(|| Value::Object(Map::new()));
        if groups.is_null() {
            *groups = Value::Object(Map::new());
        }
        if let Value::Object(groups) = groups {
            groups.insert(group.as_str().to_owned(), serde_json::json!({ "land": "together" }));
        }
    }
    ids.iter().filter_map(|id| StepId::parse(id.as_str()?).ok()).collect()
}

/// A part as a step of the plan: bound by its step. `own` is that as the plan has it.
fn shaped(part: &Value, own: &Map<String, Value>, step: &Step, group: Option<&GroupId>) -> Value {
    let Value::Object(mut part) = part.clone() else { return part.clone() };
    let text = step.id.as_str();
    let needs = part.entry("needs").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(needs) = needs
        && !needs.iter().any(|need| need == text)
    {
        needs.insert(0, text.into());
    }
    let writes =
        part.contains_key("touches") || part.contains_key("rewrite") || part.get("mode") == Some(&"write".into());
    let reads = part.get("mode").is_some_and(|mode| mode != "write");
    if let Some(group) = group.filter(|_| writes && !reads) {
        part.insert("group".to_owned(), group.as_str().into());
    }
    if let (false, Some(env)) = (part.contains_key("env"), own.get("env")) {
        part.insert("env".to_owned(), env.clone());
    }
    let Some(Value::Object(agent)) = part.get_mut("agent") else { return Value::Object(part) };
    if let Some(Value::Object(of)) = own.get("agent") {
        for key in ["model", "via", "context", "max_usd"] {
            agent.extend(of.get(key).map(|value| (key.to_owned(), value.clone())));
        }
    }
    if let Work::Agent(of) = &step.work {
        let asked = agent.get("max_turns").and_then(Value::as_u64).unwrap_or(u64::from(of.max_turns));
        agent.insert("max_turns".to_owned(), asked.min(u64::from(of.max_turns)).into());
    }
    if let Some(tools) = &step.tools {
        let asked = part.get("tools").and_then(Value::as_array).cloned();
        let may = |tool: &&String| asked.as_ref().is_none_or(|asked| asked.iter().any(|own| own == tool.as_str()));
        let tools: Vec<Value> = tools.iter().filter(may).map(|tool| tool.as_str().into()).collect();
        part.insert("tools".to_owned(), tools.into());
    }
    Value::Object(part)
}

/// A group that there is not yet.
fn new_group(plan: &Plan, step: &StepId) -> GroupId {
    let taken = |id: &StepId| plan.groups().keys().any(|group| group.as_str() == id.as_str());
    let id = free(step, "-parts", taken);
    GroupId::parse(id.as_str()).expect("an id of a step is an id of a group, too")
}

/// The first id that nobody has, of a step's with an ending.
fn free(step: &StepId, ending: &str, taken: impl Fn(&StepId) -> bool) -> StepId {
    (1_u32..)
        .find_map(|n| {
            let ending = if n == 1 { ending.to_owned() } else { format!("{ending}-{n}") };
            let room = ID_BYTES_MAX - ending.len();
            let start = &step.as_str()[..step.as_str().len().min(room)];
            StepId::parse(&format!("{start}{ending}")).ok().filter(|id| !taken(id))
        })
        .expect("there are more numbers than steps")
}

/// Says in each message which part it is about: the agent never sees the lines of the plan.
fn named(mut problems: Problems, text: &str, before: usize, parts: &[Value]) -> Problems {
    let lines: Vec<u32> =
        node::read(text, &mut Found::default()).map(|root| node::item_lines(&root, "steps")).unwrap_or_default();
    for problem in &mut problems.problems {
        let place = lines.iter().rposition(|line| *line <= problem.line).and_then(|at| at.checked_sub(before));
        if let Some((i, part)) = place.and_then(|i| Some((i, parts.get(i)?))) {
            problem.message = format!("{}: {}", reply::label(i, part), problem.message);
        }
    }
    problems
}

#[cfg(test)]
mod tests;
