//! Slots in whole runs: what a new one gets, what stays in a used one, what a disk bound does.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::path::PathBuf;

use serde_json::Value;

use crate::env::{TestEnv, TestRepo};

/// Runs a plan to its end, with every step landed or done.
fn run(env: &TestEnv, repo: &TestRepo<'_>, plan: &str, more: &[&str]) -> Vec<Value> {
    std::fs::write(env.root().join("plan.yaml"), plan).unwrap();
    let args = ["run", "-f", "../plan.yaml", "--approve", "auto", "--json"];
    repo.wattle(&[&args, more].concat()).ok().events()
}

/// The lines of a file outside the repository, that commands of a plan write.
fn lines(env: &TestEnv, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(env.root().join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The folders of the slots.
fn slots(env: &TestEnv) -> Vec<PathBuf> {
    let repos = std::fs::read_dir(env.root().join("state/repos")).unwrap().map(|entry| entry.unwrap().path());
    let pools: Vec<PathBuf> = repos.map(|repo| repo.join("slots")).collect();
    let entries = pools.iter().flat_map(|pool| std::fs::read_dir(pool).unwrap());
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

/// A plan of so many steps, one after the other, each with a file of its own.
fn chain(head: &str, steps: usize, command: &str) -> String {
    let step = |n: usize| {
        let needs = if n == 0 { String::new() } else { format!("\n    needs: [s{}]", n - 1) };
        format!("  - id: s{n}\n    touches: [\"out/s{n}\", key.txt]{needs}\n    run: {command}\n")
    };
    let steps: String = (0..steps).map(step).collect();
    format!("version: 1\ntask: a chain\n{head}steps:\n{steps}")
}

#[test]
fn setup_runs_once_per_slot_and_again_when_its_key_file_changes() {
    let env = TestEnv::new();
    let repo = env.repo("repo", &[("key.txt", "one\n"), (".gitignore", "built\n")]);
    let log = env.root().join("setup.log").display().to_string();
    let head = format!("checks: []\nsetup: {{ run: \"cat key.txt >> {log}; cp key.txt built\", key: [key.txt] }}\n");
    let work = "test \"$(cat built)\" = \"$(cat key.txt)\" && mkdir -p out && echo x > out/$WATTLE_STEP";
    run(&env, &repo, &chain(&head, 3, &format!("'{work}'")), &["--jobs", "1"]);
    assert_eq!(lines(&env, "setup.log"), ["one"], "three steps in one slot");
    // The second step's base has another key file, and the slot is prepared for that.
    let edits = "'echo two > key.txt; mkdir -p out; echo y > out/$WATTLE_STEP'";
    run(&env, &repo, &chain(&head, 1, edits), &["--jobs", "1"]);
    run(&env, &repo, &chain(&head, 2, &format!("'{}'", work.replace("echo x", "echo z"))), &["--jobs", "1"]);
    assert_eq!(lines(&env, "setup.log"), ["one", "two"]);
    assert_eq!(slots(&env).len(), 1);
}

#[test]
fn a_check_slot_never_holds_a_workers_bytes() {
    let env = TestEnv::new();
    let repo = env.repo("repo", &[("a.txt", "a\n"), (".gitignore", "*.o\n")]);
    // What the worker leaves beside its commit: an ignored file, and a folder without files.
    let work = "'mkdir -p out left/empty; echo x > out/$WATTLE_STEP; echo leaked > worker.o'";
    let log = env.root().join("seen.log").display().to_string();
    let check = format!("find . -name worker.o -o -name left >> {log}; echo checked >> {log}; echo c > check.o");
    let head = format!("checks: [{{ name: look, run: \"{check}\" }}]\n");
    let events = run(&env, &repo, &chain(&head, 3, work), &["--jobs", "2"]);
    assert_eq!(events.last().unwrap()["counts"]["landed"], 3);
    let seen = lines(&env, "seen.log");
    assert!(!seen.is_empty() && seen.iter().all(|line| line == "checked"), "{seen:?}");
    let holding = |name: &str| slots(&env).into_iter().filter(|slot| slot.join(name).exists()).collect::<Vec<_>>();
    let (workers, checkers) = (holding("worker.o"), holding("check.o"));
    assert!(!workers.is_empty() && !checkers.is_empty(), "build output stays in the slots of its class");
    assert!(workers.iter().all(|slot| !checkers.contains(slot)), "{workers:?} {checkers:?}");
}

#[test]
fn ignored_files_go_between_steps_where_the_configuration_says_so() {
    let env = TestEnv::new();
    let repo = env.repo("repo", &[("a.txt", "a\n"), (".gitignore", "*.o\n.env\n.worktreeinclude\n")]);
    repo.write(".worktreeinclude", ".env\n");
    repo.write(".env", "SECRET=1\n");
    let log = env.root().join("seen.log").display().to_string();
    let head = format!("checks: []\nsetup: {{ run: \"echo setup >> {log}\", key: [] }}\n");
    let work = format!(
        "'{{ ls *.o .env 2>/dev/null || true; }} >> {log}; mkdir -p out; date +%N > out/$WATTLE_STEP; touch left.o'"
    );
    run(&env, &repo, &chain(&head, 2, &work), &["--jobs", "1"]);
    assert_eq!(lines(&env, "seen.log"), ["setup", ".env", ".env", "left.o"], "build output stays");
    std::fs::remove_file(env.root().join("seen.log")).unwrap();
    repo.write(".wattle/config.yaml", "clean: ignored\n");
    run(&env, &repo, &chain(&head, 2, &work), &["--jobs", "1"]);
    assert_eq!(lines(&env, "seen.log"), ["setup", ".env", "setup", ".env"], "and with it the setup is done again");
}

#[test]
fn worktreeinclude_reaches_every_step_and_check_and_no_commit() {
    let env = TestEnv::new();
    let files = [(".gitignore", ".env*\nsecrets/\n"), (".worktreeinclude", ".env\nsecrets/*.key\nplain.txt\n")];
    let repo = env.repo("repo", &files);
    for (path, text) in [(".env", "TOKEN=1\n"), (".env.local", "not named\n"), ("secrets/a.key", "k\n")] {
        repo.write(path, text);
    }
    repo.write("plain.txt", "neither tracked nor ignored\n");
    let look = "test -f .env && test -f secrets/a.key && test ! -e .env.local && test ! -e plain.txt";
    let head = format!("checks: [{{ name: look, run: \"{look}\" }}]\n");
    let work = format!("'{look} && mkdir -p out && echo x > out/$WATTLE_STEP'");
    let events = run(&env, &repo, &chain(&head, 2, &work), &[]);
    assert_eq!(events.last().unwrap()["counts"]["landed"], 2);
    let tracked = repo.git(&["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(tracked.lines().collect::<Vec<_>>(), [".gitignore", ".worktreeinclude", "out/s0", "out/s1"]);
}

/// Steps that can all run at once, each with a file of its own.
fn beside(steps: usize) -> String {
    let step = |n: usize| {
        format!("  - id: s{n}\n    touches: [out/s{n}]\n    run: 'mkdir -p out; echo x > out/$WATTLE_STEP'\n")
    };
    let steps: String = (0..steps).map(step).collect();
    format!("version: 1\ntask: beside each other\nchecks: []\nsteps:\n{steps}")
}

#[test]
fn a_disk_bound_makes_steps_wait_for_a_slot_and_is_said() {
    let env = TestEnv::new();
    let big = "x".repeat(2_000_000);
    let repo = env.repo("repo", &[("big.txt", &big)]);
    let plan = beside(4).replace("checks: []\n", "checks: []\nlimits: { disk: 5MB, jobs: 4 }\n");
    let events = run(&env, &repo, &plan, &[]);
    assert_eq!(events.last().unwrap()["counts"]["landed"], 4);
    assert!(slots(&env).len() <= 2, "two of 2 MB each fit into 5 MB: {:?}", slots(&env));
    let said = events.iter().find(|event| event["type"] == "bound_hit" && event["bound"] == "disk").unwrap();
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("5.0 MB") && message.contains("2.0 MB"), "{message}");
}

#[test]
fn a_disk_bound_that_no_slot_fits_into_is_refused_with_its_sizes() {
    let env = TestEnv::new();
    let big = "x".repeat(2_000_000);
    let repo = env.repo("repo", &[("big.txt", &big)]);
    let plan = beside(1).replace("checks: []\n", "checks: []\nlimits: { disk: 1MB }\n");
    std::fs::write(env.root().join("plan.yaml"), plan).unwrap();
    let refused = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto"]).code(1);
    let words = ["2.0 MB", "1.0 MB", "limits.disk", "wattle clean"];
    assert!(words.iter().all(|word| refused.whole().contains(word)), "{}", refused.whole());
    assert_eq!(slots(&env), Vec::<PathBuf>::new());
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn the_preview_names_slots_and_their_size() {
    let env = TestEnv::new();
    let big = "x".repeat(1_000_000);
    let repo = env.repo("repo", &[("big.txt", &big)]);
    let plan = beside(3).replace("checks: []\n", "checks: [{ name: c, run: 'true' }]\nlimits: { disk: 3MB }\n");
    std::fs::write(env.root().join("plan.yaml"), plan).unwrap();
    let shown = repo.wattle(&["run", "-f", "../plan.yaml", "--dry-run", "--jobs", "2"]).ok().err;
    let slots = shown.lines().find(|line| line.starts_with("slots:")).unwrap_or_else(|| panic!("{shown}"));
    assert!(slots.starts_with("slots: up to 3 (2 to work in, 1 to check in) × 1.0 MB = 3.0 MB"), "{slots}");
    assert!(slots.contains(" free; limits.disk 3.0 MB"), "{slots}");
    assert!(shown.contains("more than there is room for"), "3 × 1,003,520 bytes: {shown}");
}

#[test]
fn what_a_workers_git_leaves_in_its_slot_is_not_the_next_ones() {
    let env = TestEnv::new();
    let repo = env.repo("repo", &[("a.txt", "a\n")]);
    repo.git(&["config", "extensions.worktreeConfig", "true"]);
    let log = env.root().join("seen.log").display().to_string();
    let work = format!(
        "'git config --get user.nickname >> {log}; git config --worktree user.nickname left; \
         mkdir -p out; echo x > out/$WATTLE_STEP; echo done >> {log}'"
    );
    let events = run(&env, &repo, &chain("checks: []\n", 3, &work), &["--jobs", "1"]);
    assert_eq!(events.last().unwrap()["counts"]["landed"], 3);
    assert_eq!(lines(&env, "seen.log"), ["done", "done", "done"], "every step has a configuration of its own");
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(slots(&env), Vec::<PathBuf>::new(), "slots that were made anew are gone, too");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}
