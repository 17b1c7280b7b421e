//! Code that nobody here wrote: the sources of one of our dependencies, as cargo has unpacked them, refactored in
//! parallel with the compiler as the check.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wattle_worker::assignment::Rewrite;

use crate::env::{TestEnv, TestRepo, at_once, sources};

/// The dependency: 72 files in 10 folders that need two small crates, and check in seconds.
const CRATE: &str = "regex-automata";
/// Fewer Rust files than this would be no real input.
const FILES_MIN: usize = 60;
/// Two rules at once, with what rule files are made of: kinds, regular expressions, relations and their absence.
const RULES: &str = r#"id: option-by-its-path
language: rust
rule:
  kind: type_identifier
  regex: "^Option$"
  not:
    inside: { kind: scoped_type_identifier }
fix: core::option::Option
---
id: constants-are-static-anyway
language: rust
rule:
  kind: lifetime
  regex: "^'static$"
  inside:
    kind: reference_type
    inside: { kind: const_item }
fix: ""
"#;
/// A public method, where it is defined, called, and called inside a macro.
const RENAME: &str = r#"id: rename
language: rust
rule:
  any:
    - { kind: field_identifier, regex: "^get_anchored$" }
    - { kind: identifier, regex: "^get_anchored$", inside: { kind: function_item } }
    - { kind: identifier, regex: "^get_anchored$", inside: { kind: token_tree } }
fix: anchored_mode
"#;
/// The definition, and its callers in three parts.
const PARTS: [(&str, &[&str]); 4] = [
    ("definition", &["src/util/search.rs"]),
    ("callers-util", &["src/util/empty.rs", "src/util/start.rs"]),
    ("callers-dfa", &["src/dfa/**", "src/hybrid/**"]),
    ("callers-meta", &["src/meta/**", "src/nfa/**"]),
];
/// What every landing has to pass.
const CHECK: &str = "cargo check --offline --quiet";

/// A world in which cargo finds what it finds outside, and the crate in a repository of its own.
fn staged() -> TestEnv {
    let mut env = TestEnv::new();
    #[expect(clippy::disallowed_methods, reason = "the compiler and the registry are where the machine has them")]
    let [given, home, path] = ["CARGO_HOME", "HOME", "PATH"].map(std::env::var_os);
    let registry = given.map_or_else(|| Path::new(&home.unwrap_or_default()).join(".cargo"), PathBuf::from);
    env.set("CARGO_HOME", registry.to_str().expect("it has a plain path"));
    let toolchain = Path::new(env!("CARGO")).parent().expect("cargo lies in a folder").to_owned();
    let path = path.unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(toolchain).chain(std::env::split_paths(&path)));
    env.set("PATH", path.expect("paths of a path").to_str().expect("they are plain"));
    env
}

/// The crate as its users get it, without what only its authors build.
fn repo(env: &TestEnv) -> TestRepo<'_> {
    // Packages for other systems need not be on this machine.
    let version = env.program("rustc", env.root(), &["-vV"]).ok().out;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("it names its host");
    let args = ["metadata", "--format-version", "1", "--offline", "--filter-platform", host];
    let metadata = env.program("cargo", &sources(), &args).ok().json();
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let package = packages.iter().find(|package| package["name"] == CRATE).expect("it is one of our dependencies");
    let manifest = Path::new(package["manifest_path"].as_str().expect("every package has one"));
    let from = manifest.parent().expect("a file lies in a folder");
    let repo = env.repo("crate", &[(".gitignore", "/target\n")]);
    repo.write("Cargo.toml", &without_development(&std::fs::read_to_string(manifest).unwrap()));
    let mut files = 0;
    let mut open = vec![PathBuf::from("src")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(from.join(&folder)).unwrap().map(Result::unwrap) {
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
                continue;
            }
            files += usize::from(path.extension().is_some_and(|extension| extension == "rs"));
            repo.write(path.to_str().unwrap(), &std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    assert!(files >= FILES_MIN, "{CRATE} has {files} files");
    drop(env.program("cargo", &repo.path, &["generate-lockfile", "--offline"]).ok());
    repo.commit("as published", &[]);
    repo
}

/// A manifest without the sections of tests, benches, examples and what those need, in a workspace of its own.
fn without_development(manifest: &str) -> String {
    let mut kept = String::new();
    let mut skip = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            skip = ["[[test]]", "[[bench]]", "[[example]]"].contains(&line) || line.contains("dev-dependencies");
        }
        if !skip {
            kept += &format!("{line}\n");
        }
    }
    kept + "\n[workspace]\n"
}

/// A copy of the repository's files at a commit, and its tree after this was done to them.
fn tree_after(env: &TestEnv, repo: &TestRepo<'_>, name: &str, act: impl FnOnce(&Path)) -> String {
    let copy = env.root().join(name);
    env.git(env.root(), &["clone", "--quiet", repo.path.to_str().unwrap(), name]);
    act(&copy);
    env.git(&copy, &["add", "--all"]);
    env.git(&copy, &["write-tree"])
}

/// The rewrite in one go, by the executor of `rewrite` steps.
fn in_one_go(rules: &str) -> impl FnOnce(&Path) + '_ {
    move |root| {
        let rewrite = Rewrite::Rules { name: "in one go".to_owned(), yaml: rules.to_owned() };
        let applied = wattle_worker::rewrite::apply(root, &rewrite, &[], &CancellationToken::new()).unwrap();
        assert!(applied.replacements > 0, "a rewrite that changes nothing shows nothing");
    }
}

fn of_type<'v>(events: &'v [Value], name: &str) -> Vec<&'v Value> {
    events.iter().filter(|event| event["type"] == name).collect()
}

fn strings(events: &[&Value], key: &str) -> Vec<String> {
    events.iter().map(|event| event[key].as_str().expect("a string").to_owned()).collect()
}

/// After `wattle clean` the repository holds the target and what landed on it, nothing else, and is sound.
fn nothing_is_left(env: &TestEnv, repo: &TestRepo<'_>) {
    let cleaned = repo.wattle(&["clean"]).ok();
    assert!(cleaned.err.contains("kept 0"), "{}{}", cleaned.out, cleaned.err);
    assert_eq!(repo.git(&["fsck", "--full", "--strict", "--no-dangling"]), "");
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(repo.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    let state = env.root().join("state/repos");
    let slots = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path().join("slots"));
    for entry in slots.flat_map(|slots| std::fs::read_dir(slots).unwrap()) {
        assert_eq!(entry.unwrap().file_name(), "lock", "a slot is left");
    }
}

#[test]
fn a_rewrite_in_eight_parallel_steps_is_the_rewrite_in_one_go() {
    let env = staged();
    let repo = repo(&env);
    let first = repo.git(&["rev-parse", "HEAD"]);
    std::fs::write(env.root().join("rules.yml"), RULES).unwrap();
    let made = repo.wattle(&["plan", "--rule", "../rules.yml", "--by", "dir:3", "-o", "../plan.yaml"]).ok();
    assert!(made.err.contains("8 write, 1 read"), "{}", made.err);
    let plan = std::fs::read_to_string(env.root().join("plan.yaml")).unwrap();
    let checks = format!("version: 1\nchecks:\n  - {{ name: build, run: {CHECK} }}\n");
    std::fs::write(env.root().join("plan.yaml"), plan.replace("version: 1\n", &checks)).unwrap();

    let events =
        repo.wattle(&["run", "-f", "../plan.yaml", "--jobs", "4", "--approve", "auto", "--json"]).ok().events();

    let landed = of_type(&events, "landed");
    assert_eq!(landed.len(), 8);
    assert!(landed.iter().all(|event| event["verified"] == true), "{landed:#?}");
    assert!(at_once(&events) >= 3, "{} at once", at_once(&events));
    let green: BTreeSet<_> = of_type(&events, "check_finished")
        .iter()
        .filter(|event| event["verdict"] == "green")
        .map(|event| event["tree"].as_str().unwrap().to_owned())
        .collect();
    // What lies on the way to a tip was checked with that tip.
    let tips: Vec<_> = landed.iter().filter(|event| event["verified_by"].is_null()).collect();
    assert!(!tips.is_empty() && tips.iter().all(|event| green.contains(event["tree"].as_str().unwrap())), "{tips:#?}");
    let whole = tree_after(&env, &repo, "one-go", |root| {
        env.git(root, &["checkout", "--quiet", "--detach", &first]);
        in_one_go(RULES)(root);
    });
    assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), whole);
    let merges = repo.git(&["log", "--first-parent", "--reverse", "--format=%H", &format!("{first}..main")]);
    assert_eq!(merges.lines().collect::<Vec<_>>(), strings(&landed, "commit"), "one merge per landing, in order");
    for merge in merges.lines() {
        assert_eq!(repo.git(&["rev-list", "--parents", "-1", merge]).split(' ').count(), 3, "{merge} has two parents");
    }
    assert_eq!(repo.git(&["rev-list", "--count", &format!("{first}..main")]), "16", "eight changes, eight merges");
    nothing_is_left(&env, &repo);
}

/// The plan that renames in parts; grouped, they land together or not at all.
fn rename_plan(grouped: bool) -> String {
    let mut plan = format!(
        "version: 1\ntask: Rename a method\nchecks:\n  - {{ name: build, run: {CHECK} }}\ndefaults: {{ retries: 0 }}\n"
    );
    if grouped {
        plan += "groups: { api: { land: together } }\n";
    }
    plan += "steps:\n";
    for (id, touches) in PARTS {
        let group = if grouped { "    group: api\n" } else { "" };
        plan += &format!("  - id: {id}\n{group}    touches: {touches:?}\n    rewrite: {{ rule: rename.yml }}\n");
    }
    plan
}

#[test]
fn a_public_method_is_renamed_in_one_move_where_every_part_alone_is_red() {
    let env = staged();
    let repo = repo(&env);
    let first = repo.git(&["rev-parse", "HEAD"]);
    let write = |name: &str, text: &str| std::fs::write(env.root().join(name), text).unwrap();
    write("rename.yml", RENAME);
    write("parts.yaml", &rename_plan(false));
    write("group.yaml", &rename_plan(true));
    let run = |plan: &str| repo.wattle(&["run", "-f", plan, "--jobs", "4", "--approve", "auto", "--json"]);

    // Each part by itself: red, so nothing lands.
    let events = run("../parts.yaml").code(1).events();
    let steps: BTreeMap<_, _> = of_type(&events, "ejected")
        .iter()
        .map(|event| (event["step"].as_str().unwrap().to_owned(), event["reason"].clone()))
        .collect();
    let red = PARTS.map(|(id, _)| (id.to_owned(), Value::from("red")));
    assert_eq!(steps, BTreeMap::from(red));
    assert_eq!(of_type(&events, "landed").len(), 0);
    assert_eq!(repo.git(&["rev-parse", "main"]), first, "the target has not moved");
    // All but one: red too, whichever is missing. A smaller part still has either the definition without one of
    // its callers, or a caller without the definition.
    let clone = env.root().join("but-one");
    env.git(env.root(), &["clone", "--quiet", repo.path.to_str().unwrap(), "but-one"]);
    in_one_go(RENAME)(&clone);
    env.git(&clone, &["commit", "--quiet", "--all", "-m", "whole"]);
    drop(env.program("cargo", &clone, &["check", "--offline", "--quiet"]).ok());
    for (missing, touches) in PARTS {
        let specs: Vec<_> = touches.iter().map(|glob| format!(":(glob){glob}")).collect();
        let back = ["checkout", "--quiet", &first, "--"].into_iter().chain(specs.iter().map(String::as_str));
        env.git(&clone, &back.collect::<Vec<_>>());
        let checked = env.program("cargo", &clone, &["check", "--offline", "--quiet"]);
        assert_ne!(checked.code, 0, "without {missing} it still compiles");
        env.git(&clone, &["reset", "--quiet", "--hard"]);
    }

    // The whole: one check, on the last tree, and one move.
    let events = run("../group.yaml").ok().events();
    let landed = of_type(&events, "landed");
    assert_eq!(landed.len(), PARTS.len());
    assert!(landed.iter().all(|event| event["group"] == "api" && event["verified"] == true), "{landed:#?}");
    let checks = of_type(&events, "check_finished");
    assert_eq!(strings(&checks, "verdict"), ["green"]);
    assert_eq!(checks[0]["tree"], repo.git(&["rev-parse", "main^{tree}"]));
    assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), env.git(&clone, &["rev-parse", "HEAD^{tree}"]));
    assert_eq!(repo.git(&["rev-parse", "main@{1}"]), first, "one move: main was where it began before it");
    assert_eq!(repo.git(&["rev-list", "--count", "--merges", "--first-parent", &format!("{first}..main")]), "4");
    assert_eq!(repo.git(&["fsck", "--full", "--strict", "--no-dangling"]), "");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

/// Where `ast-grep` is installed (`.ci/run` installs it), its own result is the measure.
#[test]
fn the_rewrite_in_one_go_is_that_of_ast_grep() {
    let env = staged();
    if env.find("ast-grep").is_none() {
        return;
    }
    let repo = repo(&env);
    for (n, rules) in [RULES, RENAME].into_iter().enumerate() {
        let file = env.root().join(format!("{n}.yml"));
        std::fs::write(&file, rules).unwrap();
        let ours = tree_after(&env, &repo, &format!("ours-{n}"), in_one_go(rules));
        let theirs = tree_after(&env, &repo, &format!("theirs-{n}"), |root| {
            drop(env.program("ast-grep", root, &["scan", "-U", "-r", file.to_str().unwrap()]).ok());
        });
        assert_eq!(ours, theirs);
    }
}
