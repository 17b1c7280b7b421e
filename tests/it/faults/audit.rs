//! What has to be true at every moment, also while the program lies dead: no tree on the target that did not pass, no
//! landing twice, nothing in the journal that is not in git, and no byte of a worker's lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::crash::world::moves;
use crate::env::{TestEnv, TestRepo};

/// Every event of the newest run; none when there is no run yet.
pub(crate) fn journal(repo: &TestRepo<'_>) -> Vec<Value> {
    let log = repo.wattle(&["log", "--json"]);
    if log.code == 5 { Vec::new() } else { log.ok().events() }
}

/// Holds the target's history against the journal: each value that Wattle gave the target has a tree on which each of
/// these checks was green, and was given once; what the journal calls landed is in the target.
#[track_caller]
pub(crate) fn audit(repo: &TestRepo<'_>, checks: &[&str]) -> usize {
    let events = journal(repo);
    let given = verified(repo, &events, checks);
    let once: BTreeSet<&String> = given.iter().collect();
    assert_eq!(once.len(), given.len(), "a commit was landed twice: {given:?}");
    for event in events.iter().filter(|event| event["type"] == "landed") {
        let commit = event["commit"].as_str().expect("a commit");
        let base = repo.git(&["merge-base", commit, "main"]);
        assert_eq!(base, commit, "the journal says that {} has landed", event["step"]);
    }
    given.len()
}

/// The values that Wattle gave the target, after a test that each of these checks was green on each of them.
#[track_caller]
pub(crate) fn verified(repo: &TestRepo<'_>, events: &[Value], checks: &[&str]) -> Vec<String> {
    let mut green: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["type"] == "check_finished" && event["verdict"] == "green") {
        let (check, tree) = (event["check"].as_str().expect("a name"), event["tree"].as_str().expect("a tree"));
        green.entry(check).or_default().insert(tree);
    }
    let mut given = Vec::new();
    let moves = moves(repo);
    for [commit, tree, _] in moves.iter().filter(|[_, _, how]| how.starts_with("wattle: ")) {
        for check in checks {
            let passed = green.get(check).is_some_and(|trees| trees.contains(tree.as_str()));
            assert!(passed, "{commit} with tree {tree} was on the target, and {check} was not green on it: {moves:#?}");
        }
        given.push(commit.clone());
    }
    given
}

/// The blobs that workers have written into their slots and that are there now.
pub(crate) fn written(env: &TestEnv) -> Vec<String> {
    let mut found = Vec::new();
    for slots in std::fs::read_dir(env.root().join("state/repos")).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(slots.path().join("slots")).into_iter().flatten().flatten() {
            let path = file.path();
            let record: Option<Value> = path
                .extension()
                .filter(|end| *end == "json")
                .and_then(|_| serde_json::from_slice(&std::fs::read(&path).ok()?).ok());
            let Some(record) = record else { continue };
            if record["class"] == "work" && record["ready"] == true && record["admin"].is_string() {
                found.extend(dirty(env, &path.with_extension("")));
            }
        }
    }
    found
}

fn dirty(env: &TestEnv, slot: &Path) -> Vec<String> {
    if !slot.join(".git").exists() {
        return Vec::new();
    }
    let listed = env.git(slot, &["ls-files", "-z", "--modified", "--others", "--exclude-standard"]);
    let files = listed.split('\0').filter(|path| !path.is_empty() && slot.join(path).is_file());
    files.map(|path| env.git(slot, &["hash-object", "--no-filters", path])).collect()
}

/// Is every one of these blobs under a ref?
#[track_caller]
pub(crate) fn kept(repo: &TestRepo<'_>, blobs: &[String]) {
    let all = repo.git(&["rev-list", "--objects", "--all"]);
    let reachable: BTreeSet<&str> = all.lines().filter_map(|line| line.split(' ').next()).collect();
    for blob in blobs {
        assert!(reachable.contains(blob.as_str()), "{blob} was in a slot and is under no ref");
    }
}
