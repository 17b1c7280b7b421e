//! The rules of the house that a compiler does not hold: crate edges, module cycles, length of files and
//! functions, `//!`, names, forgotten files, and no path of somebody's machine.

mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::env::sources;
use scan::{Source, crate_sources, walk};

/// Code lines of a file, tests excluded.
const FILE_LINES_MAX: usize = 600;
/// Code lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Which crate may use which.
const EDGES: [(&str, &[&str]); 5] = [
    ("planner", &[]),
    ("workspace", &[]),
    ("cache", &[]),
    ("worker", &["workspace", "cache"]),
    ("orchestrator", &["planner", "workspace", "cache", "worker"]),
];
/// Names that say nothing.
const EMPTY_NAMES: [&str; 9] = ["mod", "imp", "util", "utils", "helpers", "common", "types", "misc", "manager"];
/// What is not yet as it should be: `path: rule`. This list may only get shorter.
const EXCEPTIONS: [&str; 0] = [];

/// Fails with every finding that no exception covers, and with every exception that covers nothing.
#[track_caller]
fn check(rule: &str, findings: BTreeSet<String>) {
    let known: BTreeSet<_> = EXCEPTIONS.iter().filter_map(|line| line.strip_suffix(&format!(": {rule}"))).collect();
    let excepted = |finding: &&String| known.iter().any(|path| finding.starts_with(path));
    let open: Vec<_> = findings.iter().filter(|finding| !excepted(finding)).collect();
    assert!(open.is_empty(), "{rule}:\n{open:#?}");
    let idle: Vec<_> =
        known.iter().filter(|path| !findings.iter().any(|finding| finding.starts_with(**path))).collect();
    assert!(idle.is_empty(), "exceptions that are no longer needed: {idle:?}");
}

fn all_sources() -> Vec<Source> {
    EDGES.iter().flat_map(|(name, _)| crate_sources(&sources(), name)).collect()
}

#[test]
fn crates_use_only_what_the_design_allows() {
    let mut found = BTreeSet::new();
    for (name, allowed) in EDGES {
        let manifest = std::fs::read_to_string(sources().join(name).join("Cargo.toml")).unwrap();
        let uses = manifest.lines().filter_map(|line| line.strip_prefix("wattle-")?.split(['.', ' ', '=']).next());
        found.extend(uses.filter(|used| !allowed.contains(used)).map(|used| format!("{name} uses {used}")));
    }
    check("edges", found);
}

#[test]
fn modules_of_a_crate_have_no_cycle() {
    let mut found = BTreeSet::new();
    for (name, _) in EDGES {
        let files = crate_sources(&sources(), name);
        let modules: BTreeSet<String> = files.iter().map(|file| file.module()).collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in &files {
            let uses = file.uses().into_iter().filter(|used| modules.contains(used) && *used != file.module());
            edges.entry(file.module()).or_default().extend(uses);
        }
        found.extend(modules.iter().filter_map(|start| cycle(&edges, start)).map(|path| format!("{name}: {path}")));
    }
    check("cycles", found);
}

/// A way from a module back to itself, told from its first name in the alphabet.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>, start: &str) -> Option<String> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            if next == start {
                return (way.iter().min()? == start).then(|| format!("{} → {start}", way.join(" → ")));
            }
            if seen.insert(next.clone()) {
                ways.push(way.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

#[test]
fn files_and_functions_have_a_readable_length() {
    let mut long = BTreeSet::new();
    for file in all_sources().iter().filter(|file| !file.is_test()) {
        if file.code_lines() > FILE_LINES_MAX {
            long.insert(format!("{}: {} lines", file.path, file.code_lines()));
        }
        for (function, lines) in file.functions() {
            if lines > FUNCTION_LINES_MAX {
                long.insert(format!("{}: fn {function}: {lines} lines", file.path));
            }
        }
    }
    check("length", long);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut silent = BTreeSet::new();
    let tests = walk(&sources().join("tests"), "rs");
    let texts = tests.iter().map(|path| (path.display().to_string(), std::fs::read_to_string(path).unwrap()));
    let sources = all_sources().into_iter().map(|file| (file.path, file.text));
    for (path, text) in texts.chain(sources) {
        if !text.starts_with("//!") || text.starts_with("//! Placeholder") {
            silent.insert(path);
        }
    }
    check("silent", silent);
}

#[test]
fn names_say_something() {
    let paths = all_sources().into_iter().map(|file| file.path);
    let stem =
        |path: &String| Path::new(path).file_stem().is_some_and(|stem| EMPTY_NAMES.iter().any(|name| stem == *name));
    check("names", paths.filter(stem).collect());
}

#[test]
fn no_file_is_forgotten() {
    let mut forgotten = BTreeSet::new();
    for file in all_sources() {
        forgotten.extend(file.undeclared());
    }
    let main = std::fs::read_to_string(sources().join("tests/it/main.rs")).unwrap();
    for path in std::fs::read_dir(sources().join("tests/it")).unwrap().map(|entry| entry.unwrap().path()) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let rust = path.extension().is_some_and(|extension| extension == "rs");
        if rust && stem != "main" && !main.contains(&format!("mod {stem};")) {
            forgotten.insert(format!("tests/it/{stem}.rs"));
        }
    }
    check("forgotten", forgotten);
}

#[test]
fn the_scripted_model_does_not_grade_its_own_client() {
    let mut found = BTreeSet::new();
    let scripted = |file: &Source| file.module() == "scripted" && !file.is_test();
    for file in crate_sources(&sources(), "worker").into_iter().filter(scripted) {
        let code = file.code();
        for banned in ["crate::model", "wattle_cache", "super::model", "super::super::model"] {
            if code.contains(banned) {
                found.insert(format!("{}: {banned}", file.path));
            }
        }
    }
    check("scripted", found);
}

#[test]
fn no_path_of_a_machine_is_in_the_sources() {
    let root = sources().canonicalize().unwrap();
    let banned = [root.to_str().unwrap().to_owned(), ["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    let mut found = BTreeSet::new();
    for path in walk(&root, "").into_iter().filter(|path| !path.starts_with(root.join(".git"))) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        found.extend(
            banned.iter().filter(|banned| text.contains(banned.as_str())).map(|banned| format!("{name}: {banned}")),
        );
    }
    check("machine paths", found);
}
