//! What others do to the repository while a run works: commits on the target, moved and deleted branches, garbage
//! collection, a second run, and approvals of what has changed.

use insta::assert_snapshot;
use serde_json::Value;

use super::{ONE, Theirs, run};
use crate::env::{Background, TestEnv, TestRepo};

/// A gate that a step waits at: a pipe that nobody has written to yet.
struct Gate(std::path::PathBuf);

impl Gate {
    fn new(env: &TestEnv, name: &str) -> Self {
        let path = env.root().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        Self(path)
    }

    /// The command that waits.
    fn wait(&self) -> String {
        format!("read x < {}", self.0.display())
    }

    /// Lets the one that waits go on; blocks until it is there.
    fn open(&self) {
        std::fs::write(&self.0, "go\n").unwrap();
    }
}

fn is_state<'s>(step: &'s str, state: &'s str) -> impl Fn(&Value) -> bool + 's {
    move |event| event["type"] == "step_state" && event["step"] == step && event["state"] == state
}

/// A plan whose one step waits at a gate before it changes `a`.
fn gated(env: &TestEnv, repo: &TestRepo<'_>, gate: &Gate) {
    let plan = ONE.replace("run: echo 2 > a", &format!("run: \"{} ; echo 2 > a\"", gate.wait()));
    std::fs::write(env.root().join("gated.yaml"), plan).unwrap();
    assert!(repo.path.exists());
}

fn begin<'r>(repo: &'r TestRepo<'_>, more: &[&str]) -> Background<'r> {
    let args: Vec<&str> = ["run", "-f", "../gated.yaml", "--json"].iter().chain(more).copied().collect();
    let mut running = repo.spawn(&args);
    running.wait_for(is_state("one", "running"));
    running
}

/// The branch of step `one`.
fn branch(repo: &TestRepo<'_>) -> String {
    repo.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads/wattle"])
}

#[test]
fn a_target_that_its_user_moves_during_the_run_is_landed_on_top_of() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    let gate = Gate::new(&env, "gate");
    gated(&env, &repo, &gate);
    let running = begin(&repo, &["--approve", "auto"]);
    let theirs = repo.commit("meanwhile", &[("b", "theirs\n")]);
    gate.open();
    drop(running.end().ok());
    assert_eq!((repo.read("a").as_str(), repo.read("b").as_str()), ("2\n", "theirs\n"));
    assert_eq!(repo.git(&["rev-parse", "HEAD^1"]), theirs);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
}

#[test]
fn the_same_lines_changed_by_the_user_send_the_step_back_on_top_of_them() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let gate = Gate::new(&env, "gate");
    gated(&env, &repo, &gate);
    let mut running = begin(&repo, &["--approve", "auto"]);
    repo.commit("meanwhile", &[("a", "theirs\n")]);
    gate.open();
    running.wait_for(|event| event["type"] == "ejected" && event["reason"] == "conflict");
    gate.open();
    drop(running.end().ok());
    assert_eq!(repo.read("a"), "2\n");
    assert_eq!(repo.git(&["log", "--format=%s", "--first-parent"]), "Land one\nmeanwhile\nfirst");
}

#[test]
fn a_step_branch_that_its_user_deletes_does_not_lose_the_work() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    drop(run(&env, &repo, ONE, &[]).code(4));
    repo.git(&["branch", "-D", &branch(&repo)]);
    assert_snapshot!(repo.wattle(&["approve", "one"]).shown(), @"
    exit 0
    --- stdout
    one: Tess Ter approves COMMIT
    --- stderr
    nothing runs: wattle resume, or wattle merge to land what is approved
    ");
    let merged = repo.wattle(&["merge"]);
    assert_snapshot!(merged.shown(), @"
    exit 0
    --- stdout
    completed change a: 1 of 1 step landed on main, cost: nothing
    --- stderr
    one: queued
    one: landing
    one: landed as COMMIT, not verified
    ");
    // An approval is of a commit, not of a branch; the attempt ref has kept it.
    let restored = repo.wattle(&["restore", "one"]).ok().out;
    assert_eq!(repo.git(&["show", &format!("{}:a", restored.trim())]), "2");
}

#[test]
fn a_commit_of_the_user_on_a_step_branch_goes_to_review_under_auto_too() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    let gate = Gate::new(&env, "gate");
    let plan = format!(
        "version: 1\ntask: t\nchecks: [{{ name: slow, run: '{}' }}]\nsteps:\n  - {{ id: zero, touches: [b], run: echo 2 > b }}\n  - {{ id: one, touches: [a], run: echo 2 > a }}\n",
        gate.wait()
    );
    std::fs::write(env.root().join("gated.yaml"), plan).unwrap();
    let mut running = repo.spawn(&["run", "-f", "../gated.yaml", "--json", "--approve", "auto", "--jobs", "1"]);
    running.wait_for(is_state("one", "queued"));
    let branch = branch(&repo).lines().find(|name| name.ends_with("/one")).unwrap().to_owned();
    repo.git(&["worktree", "add", "--quiet", "../fix", &branch]);
    let fix = env.root().join("fix");
    std::fs::write(fix.join("a"), "theirs\n").unwrap();
    env.git(&fix, &["commit", "--quiet", "-am", "mine"]);
    gate.open();
    let moved = running.wait_for(is_state("one", "review"));
    assert_eq!(moved["why"], "branch_moved");
    drop(running.end().code(4));
    assert_eq!((repo.read("a").as_str(), repo.read("b").as_str()), ("1\n", "2\n"));
    assert!(repo.wattle(&["review", "one"]).ok().out.contains("+theirs"));
    drop(repo.wattle(&["approve", "one"]).ok());
    let merging = repo.spawn(&["merge", "--json"]);
    gate.open();
    drop(merging.end().ok());
    assert_eq!(repo.read("a"), "theirs\n");
}

#[test]
fn garbage_collection_takes_nothing_that_a_run_needs() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    let gate = Gate::new(&env, "gate");
    let plan = format!(
        "version: 1\ntask: t\nchecks: []\nsteps:\n  - {{ id: zero, touches: [b], run: echo 2 > b }}\n  - {{ id: one, needs: [zero], touches: [a], run: '{} ; echo 2 > a' }}\n",
        gate.wait()
    );
    std::fs::write(env.root().join("gated.yaml"), plan).unwrap();
    let mut running = repo.spawn(&["run", "-f", "../gated.yaml", "--json"]);
    running.wait_for(is_state("one", "running"));
    repo.git(&["gc", "--quiet", "--prune=now"]);
    repo.git(&["worktree", "prune", "--expire=now"]);
    gate.open();
    drop(running.end().code(4));
    repo.git(&["gc", "--quiet", "--prune=now"]);
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!((repo.read("a").as_str(), repo.read("b").as_str()), ("2\n", "2\n"));
    repo.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_second_run_is_told_who_owns_the_repository() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let gate = Gate::new(&env, "gate");
    gated(&env, &repo, &gate);
    let running = begin(&repo, &["--approve", "auto"]);
    let before = (Theirs::of(&repo), repo.git(&["for-each-ref"]));
    assert_snapshot!(run(&env, &repo, ONE, &[]).shown(), @"
    exit 8
    --- stderr
    error: failed to own this repository: another wattle is live here (pid PID on HOST, since TIME)
      hint: wattle status shows it; try again when it is done
    ");
    assert_eq!(run(&env, &repo, ONE, &["--json"]).code(8).json()["error"]["code"], "busy");
    drop(repo.wattle(&["clean"]).code(8));
    drop(repo.wattle(&["resume"]).code(8));
    assert_eq!((Theirs::of(&repo), repo.git(&["for-each-ref"])), before);
    gate.open();
    drop(running.end().ok());
}

#[test]
fn an_approval_of_a_commit_that_has_changed_meanwhile_is_refused() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "0\n")]);
    let plan = ONE.replace("echo 2 > a", "echo $WATTLE_ATTEMPT > a");
    drop(run(&env, &repo, &plan, &[]).code(4));
    let commit = |repo: &TestRepo<'_>| {
        let status = repo.wattle(&["status", "--json"]).ok().json();
        status["steps"][0]["commit"].as_str().unwrap().to_owned()
    };
    let seen = commit(&repo);
    drop(repo.wattle(&["redo", "one", "-m", "again"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    assert_ne!(commit(&repo), seen);
    let pinned = |commit: &str| format!("one@{}", &commit[..12]);
    assert_snapshot!(repo.wattle(&["approve", &pinned(&seen)]).shown(), @"
    exit 2
    --- stderr
    error: one has changed: you saw COMMIT, it is now COMMIT
      hint: wattle review one, then approve again
    ");
    assert_eq!(repo.wattle(&["approve", &pinned(&seen), "--json"]).code(2).json()["error"]["code"], "refused");
    drop(repo.wattle(&["approve", &pinned(&commit(&repo))]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("a"), "2\n");
}
