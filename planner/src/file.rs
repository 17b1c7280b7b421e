//! The plan file: YAML lowered by hand into a [`Draft`], collecting every problem with its place.
//!
//! A draft is what one look at each value can tell. What needs the whole plan (ids that exist, cycles) is `validate`'s.

mod fields;
pub(crate) mod node;
mod scalar;
mod settings;
mod step;

use std::collections::BTreeMap;

use crate::globs::Glob;
use crate::id::{GroupId, StepId};
use crate::plan::Settings;
use crate::problem::{At, Found, Pos};
use crate::step::{Mode, Repair, StepCheck, Work};
use fields::{Fields, duration, fields, integer, list, number};
use node::{Node, Value};

#[cfg(test)]
pub(crate) use step::STEP_KEYS;

/// Most steps of a plan. A person reviews them, every pair is compared, and bit tables of this side are 3 MB.
pub(crate) const STEPS_MAX: usize = 5000;

pub(crate) const PLAN_KEYS: [&str; 14] = [
    "version",
    "task",
    "target",
    "checks",
    "setup",
    "checkout",
    "limits",
    "defaults",
    "groups",
    "discard",
    "generated",
    "commit",
    "notify",
    "steps",
];

/// A plan file as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<DraftStep>,
}

/// A step as far as it could be read; `None` where something needed is missing, which is a problem then.
#[derive(Debug)]
pub(crate) struct DraftStep {
    pub(crate) pos: Pos,
    pub(crate) id: Option<At<StepId>>,
    pub(crate) title: Option<String>,
    pub(crate) group: Option<At<GroupId>>,
    pub(crate) needs: Vec<At<String>>,
    pub(crate) mode: Mode,
    pub(crate) touches: Vec<Glob>,
    pub(crate) touches_given: bool,
    pub(crate) work: Option<Work>,
    pub(crate) expect_none: bool,
    pub(crate) check: Option<StepCheck>,
    pub(crate) repair: Option<Repair>,
    pub(crate) tools: Option<Vec<String>>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) ok_exit: Vec<i32>,
    pub(crate) retries: u32,
    pub(crate) timeout_ms: u64,
    pub(crate) idle_ms: Option<u64>,
}

/// What a step has where it does not say.
#[derive(Clone, Debug)]
struct Defaults {
    retries: u32,
    timeout_ms: u64,
    idle_ms: Option<u64>,
}

/// One retry heals what was chance and does not hide what is not.
const RETRIES_DEFAULT: u32 = 1;
/// 30 minutes: a full build with tests of a large project, and an agent's session.
const TIMEOUT_MS_DEFAULT: u64 = 30 * 60 * 1000;
/// 10 minutes: the longest silence of a linker or a slow test; what is silent longer hangs.
const IDLE_MS_DEFAULT: u64 = 10 * 60 * 1000;

impl Default for Defaults {
    fn default() -> Self {
        Self { retries: RETRIES_DEFAULT, timeout_ms: TIMEOUT_MS_DEFAULT, idle_ms: Some(IDLE_MS_DEFAULT) }
    }
}

/// Reads a plan file.
pub(crate) fn read(text: &str, found: &mut Found) -> Draft {
    let Some(root) = node::read(text, found) else {
        return Draft::default();
    };
    if let Some((pos, version)) = newer_version(&root) {
        // Another version may mean anything by its keys; judging them by this one's would mislead.
        found.add_hint(
            pos,
            format!("the plan is of version {version}, this wattle reads version 1"),
            "a newer wattle may read it",
        );
        return Draft::default();
    }
    let from = fields(found, &root, "plan", &PLAN_KEYS);
    if !matches!(root.value, Value::Map(_)) {
        return Draft::default();
    }
    match from.get("version") {
        Some(node) => {
            integer(found, node, "version", 1, 1);
        }
        None => found.add_hint(from.pos, "a plan needs `version`", "write `version: 1` at the top"),
    }
    let defaults = defaults(found, &from);
    let settings = settings::read(found, &from, &defaults);
    let steps = match from.get("steps") {
        None => {
            found.add(from.pos, "a plan needs `steps`");
            Vec::new()
        }
        Some(node) => steps(found, node, &defaults),
    };
    Draft { settings, steps }
}

/// The version of the file, if it is one of the future.
fn newer_version(root: &Node) -> Option<(Pos, u64)> {
    let Value::Map(entries) = &root.value else {
        return None;
    };
    let plain = |node: &Node| match &node.value {
        Value::Scalar { text, plain: true } => Some(text.clone()),
        Value::Scalar { .. } | Value::List(_) | Value::Map(_) => None,
    };
    let (_, value) = entries.iter().find(|(key, _)| plain(key).as_deref() == Some("version"))?;
    let version = plain(value)?.parse::<u64>().ok()?;
    (version > 1).then_some((value.pos, version))
}

fn defaults(found: &mut Found, from: &Fields<'_>) -> Defaults {
    let built_in = Defaults::default();
    let Some(node) = from.some("defaults") else {
        return built_in;
    };
    let from = fields(found, node, "defaults", &["retries", "timeout", "idle"]);
    Defaults {
        retries: number(found, &from, "retries", 0, step::RETRIES_MAX).unwrap_or(built_in.retries),
        timeout_ms: duration(found, &from, "timeout").unwrap_or(built_in.timeout_ms),
        idle_ms: match from.get("idle") {
            Some(node) if node.is_null() => None,
            Some(_) => duration(found, &from, "idle"),
            None => built_in.idle_ms,
        },
    }
}

fn steps(found: &mut Found, node: &Node, defaults: &Defaults) -> Vec<DraftStep> {
    if node.is_null() || matches!(&node.value, Value::List(items) if items.is_empty()) {
        found.add(node.pos, "`steps` is empty: there is nothing to do");
        return Vec::new();
    }
    let items = list(found, node, "steps");
    if let Some(first) = items.get(STEPS_MAX) {
        found.add(first.pos, format!("more than {STEPS_MAX} steps"));
    }
    items.iter().take(STEPS_MAX).map(|item| step::step(found, item, defaults)).collect()
}
