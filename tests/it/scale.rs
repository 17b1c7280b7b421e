//! Many steps and many files: thirty steps on a repository of ten thousand files.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::env::{Output, TestEnv, TestRepo, at_once};

/// Files of the large repository.
const FILES: usize = 10_000;
/// Steps of a run.
const STEPS: usize = 30;

/// A repository of ten thousand files in four hundred folders.
fn large(env: &TestEnv) -> TestRepo<'_> {
    let repo = env.repo("large", &[]);
    for n in 0..FILES {
        repo.write(&format!("d{:02}/s{:02}/f{n:05}.txt", n / 500, n % 500 / 25), &format!("file {n}\n"));
    }
    repo.commit("ten thousand files", &[]);
    repo
}

/// Thirty steps of the same command, each with a file of its own to write.
fn plan(command: &str) -> String {
    let mut plan = "version: 1\ntask: thirty\nchecks: []\nsteps:\n".to_owned();
    for n in 0..STEPS {
        writeln!(plan, "  - id: s{n:02}\n    touches: [out/s{n:02}.txt]\n    run: {command}").unwrap();
    }
    plan
}

fn run(env: &TestEnv, repo: &TestRepo<'_>, command: &str) -> Output {
    std::fs::write(env.root().join("plan.yaml"), plan(command)).unwrap();
    repo.wattle(&["run", "-f", "../plan.yaml", "--jobs", "4", "--approve", "auto", "--json"])
}

/// Every worktree that git lists is the checkout or a slot that a dry run of `clean` names; after `clean` there is
/// the checkout alone, and no ref but the target.
fn explained_and_cleaned(repo: &TestRepo<'_>) {
    let worktrees = || -> BTreeSet<String> {
        let listed = repo.git(&["worktree", "list", "--porcelain"]);
        let paths = listed.lines().filter_map(|line| line.strip_prefix("worktree "));
        paths.filter(|path| *path != repo.path.to_str().unwrap()).map(str::to_owned).collect()
    };
    let dry = repo.wattle(&["clean", "--dry-run", "--json"]).ok().json();
    let items = dry["freed"].as_array().unwrap().iter().chain(dry["kept"].as_array().unwrap());
    let slots = items.filter(|item| item["kind"] == "slot").map(|item| item["name"].as_str().unwrap().to_owned());
    let root = repo.path.parent().unwrap().to_str().unwrap();
    let slots: BTreeSet<_> = slots.map(|name| name.replace("$ROOT", root)).collect();
    assert!(!slots.is_empty() && slots.len() <= 4, "four workers need four slots: {slots:?}");
    assert_eq!(worktrees(), slots, "git lists what clean explains, and nothing else");
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(worktrees(), BTreeSet::new());
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(repo.git(&["fsck", "--full", "--strict", "--no-dangling"]), "");
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

#[test]
fn thirty_writers_of_a_large_repository_leave_nothing_but_their_landings() {
    let env = TestEnv::new();
    let repo = large(&env);
    let first = repo.git(&["rev-parse", "HEAD"]);
    let command = "mkdir -p out && echo $WATTLE_STEP > out/$WATTLE_STEP.txt";
    let events = run(&env, &repo, command).ok().events();
    assert_eq!(events.last().unwrap()["counts"]["landed"], STEPS);
    assert!(at_once(&events) >= 3, "{} at once", at_once(&events));
    let merges = repo.git(&["rev-list", "--count", "--merges", "--first-parent", &format!("{first}..main")]);
    assert_eq!(merges, STEPS.to_string());
    for n in 0..STEPS {
        assert_eq!(repo.read(&format!("out/s{n:02}.txt")), format!("s{n:02}\n"));
    }
    assert_eq!(repo.git(&["diff", "--name-only", &first, "main"]).lines().count(), STEPS, "each its own, nothing else");
    explained_and_cleaned(&repo);
}

#[test]
fn thirty_steps_that_change_nothing_leave_nothing() {
    let env = TestEnv::new();
    let repo = large(&env);
    let first = repo.git(&["rev-parse", "HEAD"]);
    let events = run(&env, &repo, "true").ok().events();
    assert_eq!(events.last().unwrap()["counts"]["unchanged"], STEPS);
    assert!(at_once(&events) >= 3, "{} at once", at_once(&events));
    assert_eq!(repo.git(&["rev-parse", "main"]), first);
    explained_and_cleaned(&repo);
}
