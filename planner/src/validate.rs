//! From a draft to a plan: what can only be judged with all steps at hand.

use std::collections::BTreeMap;

use crate::file::{self, Draft, DraftStep};
use crate::globs::{Glob, GlobError};
use crate::graph::{Disorder, Graph, Node, overlapping};
use crate::id::{GroupId, StepId};
use crate::plan::{Check, Group, Plan, Settings};
use crate::problem::{At, Found, Pos, Problems, did_you_mean};
use crate::step::{Mode, Step};

/// Most needs of all steps together, globs resolved. Enough for a thousand steps that each need a thousand others;
/// five thousand times `needs: ["*"]` would be 25 million edges and a gigabyte.
const EDGES_MAX: usize = 1_000_000;

/// Reads a plan file. `file_name` is only for messages. All problems come back at once, sorted by position.
pub fn parse_plan(file_name: &str, text: &str) -> Result<Plan, Problems> {
    let mut found = Found::default();
    let draft = file::read(text, &mut found);
    let plan = validate(draft, &mut found);
    match plan {
        Some(plan) if found.is_empty() => Ok(plan),
        Some(_) | None => Err(found.into_problems(file_name)),
    }
}

/// A plan of steps that a program has made, with no bound on their number: so that benchmarks of what works on plans reach
/// beyond what a plan file may hold. Every group that is named exists. `None` = the steps have no order.
#[doc(hidden)]
pub fn plan_of_steps(task: &str, steps: Vec<Step>, checks: Vec<Check>) -> Option<Plan> {
    let places: BTreeMap<&StepId, usize> = steps.iter().map(|step| &step.id).zip(0..).collect();
    let groups: BTreeMap<GroupId, Group> =
        steps.iter().filter_map(|step| step.group.clone()).map(|group| (group, Group::default())).collect();
    let numbers: BTreeMap<&GroupId, usize> = groups.keys().zip(0..).collect();
    let node = |step: &Step| Node {
        needs: step.needs.iter().filter_map(|need| places.get(need).copied()).collect(),
        group: step.group.as_ref().and_then(|group| numbers.get(group).copied()),
        writes: (step.mode == Mode::Write).then(|| step.touches.clone()),
    };
    let graph = Graph::new(&steps.iter().map(node).collect::<Vec<_>>()).ok()?;
    let settings = Settings { task: task.to_owned(), groups, checks: Some(checks), ..Settings::default() };
    Some(Plan::new(settings, steps, graph))
}

/// The pairs of write steps (earlier, later in the plan) that may touch a common path, for previews.
pub fn overlaps(plan: &Plan) -> Vec<(StepId, StepId)> {
    let steps = plan.steps();
    let nodes: Vec<Node> = steps
        .iter()
        .map(|step| Node { writes: (step.mode == Mode::Write).then(|| step.touches.clone()), ..Node::default() })
        .collect();
    let pairs = overlapping(&nodes);
    let mut overlaps = Vec::new();
    for (i, earlier) in steps.iter().enumerate() {
        for (j, later) in steps.iter().enumerate().skip(i + 1) {
            if pairs.get(i, j) {
                overlaps.push((earlier.id.clone(), later.id.clone()));
            }
        }
    }
    overlaps
}

fn validate(draft: Draft, found: &mut Found) -> Option<Plan> {
    let ids = ids(&draft.steps, found);
    let groups: BTreeMap<&GroupId, usize> = draft.settings.groups.keys().zip(0..).collect();
    let mut nodes = Vec::with_capacity(draft.steps.len());
    let mut matches = Matches::new();
    let mut edges = 0;
    for (i, step) in draft.steps.iter().enumerate() {
        let needs = needs(&draft.steps, &ids, &mut matches, i, found);
        edges += needs.len();
        if edges > EDGES_MAX {
            let message = format!("the steps up to here have more than {EDGES_MAX} needs together");
            found.add(step.pos, message);
            return None;
        }
        nodes.push(Node {
            needs,
            group: step.group.as_ref().and_then(|group| known_group(&groups, group, found)),
            writes: (step.mode == Mode::Write).then(|| step.touches.clone()),
        });
    }
    let graph = Graph::new(&nodes)
        .map_err(|disorder| {
            for disorder in disorder {
                report(&draft.steps, &disorder, found);
            }
        })
        .ok()?;
    if !found.is_empty() {
        return None;
    }
    let all: Vec<Option<StepId>> = draft.steps.iter().map(|step| step.id.as_ref().map(|id| id.value.clone())).collect();
    let steps: Option<Vec<Step>> = draft
        .steps
        .into_iter()
        .zip(&nodes)
        .map(|(step, node)| {
            let needs: Option<Vec<StepId>> = node.needs.iter().map(|i| all[*i].clone()).collect();
            complete(step, needs?)
        })
        .collect();
    Some(Plan::new(draft.settings, steps?, graph))
}

/// The place of each id; of two with one id, the first.
fn ids<'d>(steps: &'d [DraftStep], found: &mut Found) -> BTreeMap<&'d str, usize> {
    let mut ids = BTreeMap::new();
    for (i, step) in steps.iter().enumerate() {
        let Some(id) = &step.id else { continue };
        match ids.get(id.value.as_str()) {
            None => {
                ids.insert(id.value.as_str(), i);
            }
            Some(&first) => {
                let first: &DraftStep = &steps[first];
                let line = first.pos.line;
                found.add(id.pos, format!("the id `{}` is taken by the step of line {line}", id.value));
            }
        }
    }
    ids
}

/// The places of the steps that match each glob met so far: plans repeat theirs, and each is held against every id.
type Matches<'d> = BTreeMap<&'d str, Result<Vec<usize>, GlobError>>;

/// The places of the steps that step `i` needs, in plan order.
fn needs<'d>(
    steps: &'d [DraftStep],
    ids: &BTreeMap<&str, usize>,
    matches: &mut Matches<'d>,
    i: usize,
    found: &mut Found,
) -> Vec<usize> {
    let mut needs = Vec::new();
    for At { pos, value: need } in &steps[i].needs {
        if !need.contains(['*', '?', '[', '{', '\\']) {
            match ids.get(need.as_str()) {
                Some(other) if *other == i => {
                    found.add(*pos, format!("the step `{need}` needs itself"));
                }
                Some(other) => needs.push(*other),
                None => missing(steps, ids, i, need, *pos, found),
            }
            continue;
        }
        let matching = matches.entry(need).or_insert_with(|| {
            let glob = Glob::parse(need)?;
            let matching = ids.iter().filter(|(id, _)| glob.matches(id));
            Ok(matching.map(|(_, place)| *place).collect())
        });
        match matching {
            Err(error) => found.add(*pos, format!("cannot {error}")),
            Ok(places) => {
                // A glob that also matches its own step means the others.
                let before = needs.len();
                needs.extend(places.iter().filter(|place| **place != i));
                if needs.len() == before {
                    found.add(*pos, format!("no other step matches `{need}`"));
                }
            }
        }
    }
    needs.sort_unstable();
    needs.dedup();
    needs
}

fn missing(steps: &[DraftStep], ids: &BTreeMap<&str, usize>, i: usize, need: &str, pos: Pos, found: &mut Found) {
    let own = steps[i].id.as_ref().map(|id| id.value.as_str());
    let others = ids.keys().copied().filter(|id| Some(*id) != own);
    let hint = if found.is_full() { None } else { did_you_mean(need, others) };
    found.push(pos, format!("there is no step `{}`", need.escape_debug()), hint);
}

fn known_group(groups: &BTreeMap<&GroupId, usize>, group: &At<GroupId>, found: &mut Found) -> Option<usize> {
    let place = groups.get(&group.value).copied();
    if place.is_none() {
        let id = &group.value;
        let hint = did_you_mean(id.as_str(), groups.keys().map(|g| g.as_str()))
            .unwrap_or_else(|| format!("write `groups: {{ {id}: {{ land: together }} }}` at the top"));
        found.add_hint(group.pos, format!("there is no group `{id}`"), hint);
    }
    place
}

fn report(steps: &[DraftStep], disorder: &Disorder, found: &mut Found) {
    let name = |i: &usize| steps[*i].id.as_ref().map_or("?", |id| id.value.as_str());
    let pos = |i: usize| steps[i].needs.first().map_or(steps[i].pos, |need| need.pos);
    match disorder {
        Disorder::Cycle(cycle) => {
            let path: Vec<&str> = cycle.iter().chain(cycle.first()).map(name).collect();
            found.add(pos(cycle[0]), format!("these steps need each other: {}", path.join(" → ")));
        }
        Disorder::GroupCycle(pairs) => {
            let (message, hint) = group_cycle(steps, pairs, name);
            found.add_hint(pos(pairs[0].0), message, hint);
        }
    }
}

/// What is wrong with groups that wait for themselves, and what to do.
fn group_cycle<'d>(
    steps: &'d [DraftStep],
    pairs: &[(usize, usize)],
    name: impl Fn(&usize) -> &'d str,
) -> (String, String) {
    let mut chain = String::new();
    let mut last = None;
    for (step, need) in pairs {
        if last != Some(step) {
            let separator = if last.is_some() { ", " } else { "" };
            chain.push_str(&format!("{separator}{}", name(step)));
        }
        chain.push_str(&format!(" → {}", name(need)));
        last = Some(need);
    }
    let mut groups: Vec<String> = Vec::new();
    let mut outside: Vec<String> = Vec::new();
    for (step, _) in pairs {
        match &steps[*step].group {
            Some(group) => groups.push(format!("`{}`", group.value)),
            None => outside.push(format!("`{}`", name(step))),
        }
    }
    let outside = outside.join(" and ");
    if let [group] = groups.as_slice() {
        return (
            format!("the group {group} would have to land before itself: {chain}"),
            format!("put {outside} into the group, or take a step out of it"),
        );
    }
    (
        format!("the groups {} would have to land before each other: {chain}", groups.join(" and ")),
        "make them one group, or take a step out of one".to_owned(),
    )
}

/// The step, where nothing of it is missing.
fn complete(draft: DraftStep, needs: Vec<StepId>) -> Option<Step> {
    let id = draft.id?.value;
    Some(Step {
        title: draft.title.unwrap_or_else(|| id.to_string()),
        id,
        group: draft.group.map(|group| group.value),
        needs,
        mode: draft.mode,
        touches: draft.touches,
        touches_given: draft.touches_given,
        work: draft.work?,
        expect_none: draft.expect_none,
        check: draft.check,
        repair: draft.repair,
        tools: draft.tools,
        env: draft.env,
        ok_exit: draft.ok_exit,
        retries: draft.retries,
        timeout_ms: draft.timeout_ms,
        idle_ms: draft.idle_ms,
        line: draft.pos.line,
    })
}

#[cfg(test)]
mod tests;
