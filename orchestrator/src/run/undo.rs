//! The plan of a revert: one step whose change is the inverse of what has landed, with target, checks, setup
//! and form of the commits of the run that landed it.
//!
//! The own checks of the steps that it undoes are its own check: what made sure that a part of the code was whole with the
//! change makes sure of it without. One that asks for the change itself can only be red then, which no machine can tell
//! from a part that is broken; so its user has to say that it is left out.
//!
//! It is a run of its own, so an undo goes through the same queue, checks and journal as what it undoes. A
//! group that landed together is undone whole: no tree between its commits was ever verified.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use wattle_planner::{ID_BYTES_MAX, Plan, Step, StepId};
use wattle_workspace::{GitError, Repo};

use crate::journal::RunView;

/// What a revert of some steps would do.
pub(crate) struct Revert {
    /// The plan, as text.
    pub(crate) plan: String,
    /// Every step that it undoes, in the order in which they landed.
    pub(crate) steps: Vec<StepId>,
    /// Those that were not named: they landed in one group with one that was.
    pub(crate) with: Vec<StepId>,
    /// Landed steps that came after one of those and were made on it: they stay.
    pub(crate) built_on: Vec<StepId>,
    /// Those whose own checks decide, too.
    pub(crate) checked_by: Vec<StepId>,
    /// Does the run that landed them have no checks at all?
    pub(crate) unchecked: bool,
}

/// Plans the undoing of landed steps. Every one of them has landed.
///
/// `own_checks`: their own checks are taken along.
pub(crate) fn revert(repo: &Repo, view: &RunView, named: &[StepId], own_checks: bool) -> Result<Revert, GitError> {
    let whole: BTreeSet<&StepId> = named.iter().flat_map(|id| together(view, id)).collect();
    let mut steps: Vec<StepId> = whole.into_iter().cloned().collect();
    // Nothing moves a step after its landing, so this is the order of the landings.
    steps.sort_by_key(|id| view.step(id).moved_seq);
    let mut changes = Vec::new();
    for id in steps.iter().rev() {
        let Some(after) = &view.step(id).landed else { continue };
        let before = repo.parents(after)?.into_iter().next();
        changes.push(json!({ "before": before, "after": after, "of": [format!("{}/{id}", view.run)] }));
    }
    let own = |id: &&StepId| own_checks && view.plan.step(id).is_some_and(|step| step.check.is_some());
    let checked_by: Vec<StepId> = steps.iter().filter(own).cloned().collect();
    Ok(Revert {
        plan: text(&view.plan, &view.started.target, named, changes, &checked_by),
        with: steps.iter().filter(|id| !named.contains(id)).cloned().collect(),
        built_on: built_on(view, &steps),
        unchecked: view.plan.checks().is_none(),
        checked_by,
        steps,
    })
}

/// The landed steps of a step's group, or the step alone.
fn together<'v>(view: &'v RunView, id: &'v StepId) -> Vec<&'v StepId> {
    match view.plan.step(id).and_then(|step| step.group.as_ref()) {
        None => vec![id],
        Some(group) => {
            let members = view.plan.group_members(group).into_iter().map(|member| &member.id);
            members.filter(|id| view.step(id).landed.is_some()).collect()
        }
    }
}

/// Landed steps that come after any of these, directly or not, and are not among them; in plan order.
fn built_on(view: &RunView, steps: &[StepId]) -> Vec<StepId> {
    let mut found = BTreeSet::new();
    let mut open = steps.to_vec();
    while let Some(id) = open.pop() {
        open.extend(view.plan.successors(&id).into_iter().map(|edge| edge.step).filter(|id| found.insert(id.clone())));
    }
    let later = |id: &&StepId| found.contains(*id) && !steps.contains(id) && view.step(id).landed.is_some();
    view.plan.steps().iter().map(|step| &step.id).filter(later).cloned().collect()
}

/// The plan file: JSON is YAML, and what was frozen is written out in full.
fn text(plan: &Plan, target: &str, named: &[StepId], changes: Vec<Value>, checked_by: &[StepId]) -> String {
    let titles: Vec<&str> = named.iter().map(|id| plan.step(id).map_or(id.as_str(), |step| &step.title)).collect();
    let title = format!("Revert {}", titles.join(", "));
    let ms = |ms: u64| format!("{ms}ms");
    let globs = |globs: &[wattle_planner::Glob]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let check = |check: &wattle_planner::Check| {
        json!({
            "name": check.name, "run": check.run, "at": check.at.as_str(), "paths": globs(&check.paths),
            "timeout": ms(check.timeout_ms), "env": check.env,
        })
    };
    let checks: Vec<Value> = plan.checks().unwrap_or_default().iter().map(check).collect();
    let generated: Vec<Value> =
        plan.generated().iter().map(|made| json!({ "path": made.path, "run": made.run })).collect();
    let commit = plan.commit();
    let mut text = json!({
        "version": 1, "task": title, "target": target, "checks": checks, "generated": generated,
        "commit": { "style": commit.style, "sign_off": commit.sign_off },
        "checkout": plan.checkout(),
        "steps": [{ "id": step_id(named), "title": wattle_planner::headline(&title), "revert": changes, "retries": 0 }],
    });
    if let Some((run, timeout_ms)) = own_check(plan, checked_by) {
        text["steps"][0]["check"] = json!({ "run": run, "timeout": ms(timeout_ms) });
    }
    if let Some(setup) = plan.setup() {
        let env: &BTreeMap<String, String> = &setup.env;
        text["setup"] = json!({ "run": setup.run, "key": setup.key, "timeout": ms(setup.timeout_ms), "env": env });
    }
    if let Some(notify) = plan.notify() {
        text["notify"] = json!({ "run": notify.run, "on": notify.on });
    }
    serde_json::to_string_pretty(&text).expect("a plan is plain data")
}

/// The own checks of these steps as one command, each with its step's variables, and the time for all.
fn own_check(plan: &Plan, of: &[StepId]) -> Option<(String, u64)> {
    let parts: Vec<(String, u64)> = of.iter().filter_map(|id| plan.step(id)).filter_map(alone).collect();
    let run: Vec<&str> = parts.iter().map(|(run, _)| run.as_str()).collect();
    let timeout_ms = parts.iter().fold(0, |sum: u64, (_, ms)| sum.saturating_add(*ms));
    (!parts.is_empty()).then(|| (run.join(" && "), timeout_ms))
}

fn alone(step: &Step) -> Option<(String, u64)> {
    let check = step.check.as_ref()?;
    let quoted = |text: &str| text.replace('\'', r"'\''");
    let variables: String = step.env.iter().map(|(key, value)| format!("export {key}='{}'\n", quoted(value))).collect();
    Some((format!("( {variables}{}\n)", check.run), check.timeout_ms))
}

/// `revert-<step>`, cut to what an id may be long.
fn step_id(named: &[StepId]) -> String {
    let first = named.first().map_or("", StepId::as_str);
    let mut id = format!("revert-{first}");
    id.truncate(ID_BYTES_MAX);
    id
}
