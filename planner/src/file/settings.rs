//! Lowering of everything in a plan that is not a step.

use std::collections::{BTreeMap, BTreeSet};

use super::Defaults;
use super::fields::{
    Fields, choice, duration, env, fields, flag, globs, integer, list, number, optional, path, required, size, text,
    texts, usd,
};
use super::node::{Node, Value};
use crate::id::GroupId;
use crate::plan::{At as When, Check, Checkout, CommitStyle, Generated, Group, Limits, Notify, Settings, Setup, Style};
use crate::problem::{At, Found, did_you_mean};
use crate::task;

/// Most workers or checks at once. Each is a process tree with a worktree; machines that could do more do not exist.
const PARALLEL_MAX: u32 = 1024;

/// Most tokens: a thousand billion, far above what any run can pay for.
const TOKENS_MAX: u64 = 1_000_000_000_000;

/// Most folders of a sparse checkout: git itself reads the list on every command.
const SPARSE_MAX: usize = 1000;

/// Longest name of a check in characters; it is a column of `status`.
const CHECK_NAME_CHARS_MAX: usize = 64;

/// The events a user can be told of.
pub(crate) const NOTIFY_ON: [&str; 4] = ["needs_input", "review", "failed", "finished"];

/// Reads the top level of a plan but `version`, `defaults` and `steps`.
pub(super) fn read(found: &mut Found, from: &Fields<'_>, defaults: &Defaults) -> Settings {
    Settings {
        task: task(found, from),
        target: target(found, from),
        checks: checks(found, from, defaults),
        setup: from.some("setup").and_then(|node| setup(found, node, defaults)),
        checkout: from.some("checkout").map(|node| checkout(found, node)).unwrap_or_default(),
        limits: from.some("limits").map(|node| limits(found, node)).unwrap_or_default(),
        groups: groups(found, from),
        discard: globs(found, from, "discard").unwrap_or_default(),
        generated: generated(found, from),
        commit: from.some("commit").map(|node| commit(found, node)).unwrap_or_default(),
        notify: from.some("notify").and_then(|node| notify(found, node)),
    }
}

fn task(found: &mut Found, from: &Fields<'_>) -> String {
    let text = required(found, from, "task", "plan").unwrap_or_default();
    if let (Some(node), Err(error)) = (from.some("task"), task::check(&text))
        && !text.is_empty()
    {
        found.add(node.pos, format!("cannot {error}"));
    }
    text
}

fn target(found: &mut Found, from: &Fields<'_>) -> Option<String> {
    let target = optional(found, from, "target")?;
    if !branch_name(&target) {
        let pos = from.get("target").map_or(from.pos, |node| node.pos);
        found.add(pos, format!("`target: {}` is not the name of a branch", target.escape_debug()));
    }
    Some(target)
}

/// The rules of `git check-ref-format --branch` that do not need git.
fn branch_name(name: &str) -> bool {
    let bad_char = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains(bad_char)
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && name != "HEAD"
        && !name.split('/').any(bad_part)
}

fn checks(found: &mut Found, from: &Fields<'_>, defaults: &Defaults) -> Option<Vec<Check>> {
    let node = from.get("checks")?;
    if node.is_null() {
        let hint = "write `checks: []` to land without any, or leave the key out";
        found.add_hint(node.pos, "`checks` is empty", hint);
        return None;
    }
    let mut names = BTreeSet::new();
    let mut checks = Vec::new();
    for item in list(found, node, "checks") {
        let Some(check) = check(found, item, defaults) else {
            continue;
        };
        if !names.insert(check.name.clone()) {
            found.add(item.pos, format!("there are two checks named `{}`", check.name));
        }
        checks.push(check);
    }
    Some(checks)
}

fn check(found: &mut Found, node: &Node, defaults: &Defaults) -> Option<Check> {
    let keys = ["name", "run", "at", "paths", "timeout", "env"];
    let from = fields(found, node, "check", &keys);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let name = required(found, &from, "name", "check");
    if let (Some(name), Some(node)) = (&name, from.get("name"))
        && (name.chars().count() > CHECK_NAME_CHARS_MAX || name.contains(char::is_control))
    {
        let message = format!("the name of a check is one line of at most {CHECK_NAME_CHARS_MAX} characters");
        found.add(node.pos, message);
    }
    let run = required(found, &from, "run", "check");
    let words = [When::Step, When::Land, When::Final].map(|at| (at.as_str(), at));
    let at = choice(found, &from, "at", &words).map_or(When::Land, |at| at.value);
    let paths = globs(found, &from, "paths").unwrap_or_default();
    let timeout_ms = duration(found, &from, "timeout").unwrap_or(defaults.timeout_ms);
    let env = env(found, &from);
    Some(Check { name: name?, run: run?, at, paths, timeout_ms, env })
}

fn setup(found: &mut Found, node: &Node, defaults: &Defaults) -> Option<Setup> {
    let from = fields(found, node, "setup", &["run", "key", "timeout", "env"]);
    let key = texts(found, &from, "key").unwrap_or_default();
    for At { pos, value } in &key {
        path(found, *pos, "key", value);
    }
    let timeout_ms = duration(found, &from, "timeout").unwrap_or(defaults.timeout_ms);
    let env = env(found, &from);
    Some(Setup {
        run: required(found, &from, "run", "setup")?,
        key: key.into_iter().map(|k| k.value).collect(),
        timeout_ms,
        env,
    })
}

fn checkout(found: &mut Found, node: &Node) -> Checkout {
    let from = fields(found, node, "checkout", &["submodules", "lfs", "sparse"]);
    let default = Checkout::default();
    let mut sparse = Vec::new();
    for At { pos, value } in texts(found, &from, "sparse").unwrap_or_default() {
        let folder = value.strip_suffix('/').unwrap_or(&value);
        // A cone is made of folders; a glob would be taken for the name of one.
        if folder.contains(['*', '?', '[', '\n']) {
            let value = value.escape_debug();
            found.add_hint(
                pos,
                format!("`sparse: {value}` is not a folder"),
                "name folders; each counts with all below it",
            );
        } else {
            path(found, pos, "sparse", folder);
            sparse.push(folder.to_owned());
        }
    }
    if sparse.len() > SPARSE_MAX {
        found.add(node.pos, format!("`sparse` names {} folders, at most {SPARSE_MAX} are taken", sparse.len()));
    }
    sparse.sort();
    sparse.dedup();
    Checkout {
        submodules: flag(found, &from, "submodules").unwrap_or(default.submodules),
        lfs: flag(found, &from, "lfs").unwrap_or(default.lfs),
        sparse,
    }
}

fn limits(found: &mut Found, node: &Node) -> Limits {
    let from = fields(found, node, "limits", &["jobs", "checks", "usd", "tokens", "disk"]);
    Limits {
        jobs: number(found, &from, "jobs", 1, PARALLEL_MAX),
        checks: number(found, &from, "checks", 1, PARALLEL_MAX),
        nano_usd: usd(found, &from, "usd"),
        tokens: from.some("tokens").and_then(|node| integer(found, node, "tokens", 0, TOKENS_MAX)),
        disk_bytes: size(found, &from, "disk"),
    }
}

fn groups(found: &mut Found, from: &Fields<'_>) -> BTreeMap<GroupId, Group> {
    let mut groups = BTreeMap::new();
    let Some(node) = from.some("groups") else {
        return groups;
    };
    let Value::Map(entries) = &node.value else {
        found.add(node.pos, format!("`groups` must be a mapping of names to groups, not {}", node.kind()));
        return groups;
    };
    for (key, value) in entries {
        let Some(name) = text(found, key, "groups") else {
            continue;
        };
        if !value.is_null() {
            let from = fields(found, value, "group", &["land"]);
            choice(found, &from, "land", &[("together", ())]);
        }
        match GroupId::parse(&name) {
            Err(error) => found.add(key.pos, format!("cannot {error}")),
            Ok(id) => {
                if groups.insert(id, Group::default()).is_some() {
                    found.add(key.pos, format!("the key `{name}` is there twice"));
                }
            }
        }
    }
    groups
}

fn generated(found: &mut Found, from: &Fields<'_>) -> Vec<Generated> {
    let Some(node) = from.some("generated") else {
        return Vec::new();
    };
    let mut generated = Vec::new();
    for item in list(found, node, "generated") {
        let from = fields(found, item, "generated file", &["path", "run"]);
        if !matches!(item.value, Value::Map(_)) {
            continue;
        }
        let file = required(found, &from, "path", "generated file");
        let run = required(found, &from, "run", "generated file");
        if let (Some(file), Some(node)) = (&file, from.get("path")) {
            path(found, node.pos, "path", file);
        }
        generated.extend(file.zip(run).map(|(path, run)| Generated { path, run }));
    }
    generated
}

fn commit(found: &mut Found, node: &Node) -> CommitStyle {
    let from = fields(found, node, "commit", &["style", "sign_off"]);
    let words = [("merge", Style::Merge), ("squash", Style::Squash)];
    CommitStyle {
        style: choice(found, &from, "style", &words).map_or(Style::Merge, |style| style.value),
        sign_off: flag(found, &from, "sign_off").unwrap_or(false),
    }
}

fn notify(found: &mut Found, node: &Node) -> Option<Notify> {
    let from = fields(found, node, "notify", &["run", "on"]);
    if !matches!(node.value, Value::Map(_)) {
        return None;
    }
    let on = texts(found, &from, "on");
    for At { pos, value } in on.iter().flatten() {
        if !NOTIFY_ON.contains(&value.as_str()) {
            let hint = did_you_mean(value, NOTIFY_ON);
            let all = NOTIFY_ON.join(", ");
            let value = value.escape_debug();
            found.push(*pos, format!("`{value}` is not an event to be told of ({all})"), hint);
        }
    }
    let all = || NOTIFY_ON.iter().map(|&on| on.to_owned()).collect();
    let on = on.map(|on| on.into_iter().map(|on| on.value).collect());
    Some(Notify { run: required(found, &from, "run", "notify")?, on: on.unwrap_or_else(all) })
}
