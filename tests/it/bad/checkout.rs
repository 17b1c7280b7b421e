//! The user's checkout stands in the way of a landing: it is held with what is in the way, nothing of the user's
//! is touched, and `wattle merge` lands it once the way is free.

use insta::assert_snapshot;

use super::{ONE, Theirs, run, scrub, their_refs};
use crate::env::{TestEnv, TestRepo};

/// Runs a plan whose landing is held, and gives what was said; the user's files, index, stash, hooks, configuration
/// and branches are what they were.
fn held(env: &TestEnv, repo: &TestRepo<'_>) -> String {
    let hook = repo.path.join(".git/hooks/pre-commit");
    std::fs::write(hook, "#!/bin/sh\nexit 1\n").unwrap();
    let before = (Theirs::of(repo), their_refs(repo));
    let said = run(env, repo, ONE, &["--approve", "auto", "--target", "main"]).code(4);
    assert_eq!((Theirs::of(repo), their_refs(repo)), before);
    said.shown()
}

#[test]
fn a_dirty_file_that_overlaps_holds_the_landing() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n"), ("c", "1\n")]);
    repo.write("c", "stashed\n");
    repo.git(&["stash", "--quiet"]);
    repo.write("b", "staged\n");
    repo.git(&["add", "b"]);
    repo.write("a", "mine\n");
    assert_snapshot!(held(&env, &repo), @"
    exit 4
    --- stdout
    review change a: 0 of 1 step landed on main, cost: nothing
    waits: commit or put aside a in $ROOT/r, then wattle merge
    --- stderr
    run RUN (change a) on main at COMMIT, 2 dirty files not included
    one: running
    one: queued
    one: landing
    landing held: $ROOT/r has changes of its own in a
    ");
    let status = repo.wattle(&["status"]).ok();
    assert_snapshot!(scrub(&status.out), @"
    change a (RUN)
    review, nobody drives it
    target main at COMMIT, isolation none
    1 step: 1 landing
      one                          landing      LOW    
    queue: held one
    landing held: $ROOT/r has changes of its own in a
    cost: nothing
    waits: commit or put aside a in $ROOT/r, then wattle merge
    ");
    drop(repo.wattle(&["merge"]).code(4));
    assert_eq!(repo.read("a"), "mine\n");
    repo.git(&["checkout", "--quiet", "a"]);
    let theirs = Theirs::of(&repo).but(&["a"]);
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(Theirs::of(&repo).but(&["a"]), theirs);
    assert_eq!((repo.read("a").as_str(), repo.git(&["status", "--porcelain"]).as_str()), ("2\n", "M  b"));
    assert_eq!(repo.git(&["stash", "list"]).lines().count(), 1);
}

#[test]
fn dirty_files_that_do_not_overlap_stay_as_they_are() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    repo.write("b", "mine\n");
    repo.write("new", "untracked\n");
    let theirs = Theirs::of(&repo).but(&["a"]);
    drop(run(&env, &repo, ONE, &["--approve", "auto"]).ok());
    assert_eq!(Theirs::of(&repo).but(&["a"]), theirs);
    assert_eq!(repo.git(&["status", "--porcelain"]), " M b\n?? new");
}

#[test]
fn an_untracked_file_where_a_landing_makes_one_is_not_overwritten() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("b", "1\n")]);
    repo.write("a", "mine, never committed\n");
    assert_snapshot!(held(&env, &repo), @"
    exit 4
    --- stdout
    review change a: 0 of 1 step landed on main, cost: nothing
    waits: commit or put aside a in $ROOT/r, then wattle merge
    --- stderr
    run RUN (change a) on main at COMMIT, 1 dirty file not included
    one: running
    one: queued
    one: landing
    landing held: $ROOT/r has changes of its own in a
    ");
    repo.git(&["clean", "--quiet", "--force", "a"]);
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("a"), "2\n");
}

#[test]
fn a_rebase_in_progress_holds_the_landing() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n"), ("b", "1\n")]);
    repo.branch("side", "main", &[("b", "side\n")]);
    repo.commit("second", &[("b", "main\n")]);
    assert_ne!(env.program("git", &repo.path, &["rebase", "side"]).code, 0, "the rebase stops at a conflict");
    assert_snapshot!(held(&env, &repo), @"
    exit 4
    --- stdout
    review change a: 0 of 1 step landed on main, cost: nothing
    waits: finish or abort the rebase in $ROOT/r, then wattle merge
    --- stderr
    run RUN (change a) on main at COMMIT, 1 dirty file not included
    one: running
    one: queued
    one: landing
    landing held: a rebase is under way in $ROOT/r
    ");
    repo.git(&["rebase", "--abort"]);
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!((repo.read("a").as_str(), repo.read("b").as_str()), ("2\n", "main\n"));
}

#[test]
fn an_index_that_an_editor_holds_locked_holds_the_landing() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a", "1\n")]);
    let lock = repo.path.join(".git/index.lock");
    std::fs::write(&lock, "").unwrap();
    assert_snapshot!(held(&env, &repo), @"
    exit 4
    --- stdout
    review change a: 0 of 1 step landed on main, cost: nothing
    waits: close what has locked the index of $ROOT/r, then wattle merge
    --- stderr
    run RUN (change a) on main at COMMIT
    one: running
    one: queued
    one: landing
    landing held: $ROOT/r: its index is locked, by an editor or another git: $ROOT/r/.git/index.lock
    ");
    assert!(lock.exists(), "a lock of somebody else's is not removed");
    std::fs::remove_file(&lock).unwrap();
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("a"), "2\n");
}
