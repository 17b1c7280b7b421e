//! A user's own commits on a step's branch: kept, reviewed, and landed once they are approved.

use std::path::PathBuf;

use super::{states, world};
use crate::env::{TestEnv, TestRepo};

const PLAN: &str = r#"
version: 1
task: Change the files
checks: [{ name: no-bad, run: "! grep -rq bad a b c" }]
steps:
  - { id: a, touches: ["a/**"], run: "echo new >a/f; echo $WATTLE_ATTEMPT >>../../../../../worked-a" }
  - { id: b, touches: ["b/**"], run: "echo new >b/f" }
"#;

/// The branch of a step of the newest run.
fn branch(repo: &TestRepo<'_>, step: &str) -> String {
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let found = status["steps"].as_array().unwrap().iter().find(|found| found["id"] == step).unwrap();
    found["branch"].as_str().unwrap().to_owned()
}

/// A worktree of the user's at a step's branch.
fn checkout(env: &TestEnv, repo: &TestRepo<'_>, step: &str) -> PathBuf {
    let path = env.root().join("by-hand");
    repo.git(&["worktree", "add", "--quiet", path.to_str().unwrap(), &branch(repo, step)]);
    path
}

fn commit(env: &TestEnv, folder: &std::path::Path, path: &str, text: &str) {
    std::fs::write(folder.join(path), text).unwrap();
    env.git(folder, &["add", "--all"]);
    env.git(folder, &["commit", "--quiet", "-m", &format!("by hand: {path}")]);
}

fn reviewed<'e>(env: &'e TestEnv, plan: &str) -> TestRepo<'e> {
    let repo = world(env, plan);
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    repo
}

fn plain() -> String {
    PLAN.replace("; echo $WATTLE_ATTEMPT >>../../../../../worked-a", "")
}

#[test]
fn several_commits_are_shown_bound_and_landed_with_their_history() {
    let env = TestEnv::new();
    let repo = reviewed(&env, &plain());
    let mine = checkout(&env, &repo, "a");
    let worker = env.git(&mine, &["rev-parse", "HEAD"]);
    commit(&env, &mine, "a/mine", "one\n");
    commit(&env, &mine, "a/mine", "two\n");
    let head = env.git(&mine, &["rev-parse", "HEAD"]);
    let review = repo.wattle(&["review", "a", "--json"]).ok().json();
    let step = &review["steps"][0];
    assert_eq!((&step["commit"], &step["why"]), (&head.as_str().into(), &"branch_moved".into()));
    assert_eq!(step["paths"], serde_json::json!(["a/f", "a/mine"]));
    assert!(step["diff"].as_str().unwrap().contains("+two"), "{step}");
    let seen = repo.wattle(&["approve", &format!("a@{worker}")]).code(2);
    assert!(seen.err.contains("has changed"), "an approval of what is no more is refused: {}", seen.err);
    drop(repo.wattle(&["approve", "a"]).ok());
    let status = repo.wattle(&["status", "--json"]).ok().json();
    assert_eq!(status["steps"][0]["approved"]["commit"], head.as_str());
    drop(repo.wattle(&["merge", "a"]).code(4));
    assert_eq!((repo.read("a/f"), repo.read("a/mine")), ("new\n".to_owned(), "two\n".to_owned()));
    let log = repo.git(&["log", "--format=%s", "main"]);
    assert_eq!(log.matches("by hand: a/mine").count(), 2, "{log}");
}

#[test]
fn commits_in_the_worktree_that_path_has_made_count_too() {
    let env = TestEnv::new();
    let repo = reviewed(&env, &plain());
    let path = |repo: &TestRepo<'_>| {
        let path = repo.wattle(&["path", "a"]).ok().out;
        env.root().join(path.trim().strip_prefix("$ROOT/").unwrap())
    };
    let slot = path(&repo);
    commit(&env, &slot, "a/mine", "one\n");
    std::fs::write(slot.join("a/draft"), "not committed\n").unwrap();
    assert_eq!(path(&repo), slot, "it stays where it is");
    let shown = repo.wattle(&["review", "a"]).ok().out;
    assert!(shown.contains("a/mine") && !shown.contains("a/draft"), "{shown}");
    drop(repo.wattle(&["approve", "a"]).ok());
    assert_eq!(repo.git(&["show", &format!("{}:a/mine", branch(&repo, "a"))]), "one");
    assert_eq!(std::fs::read_to_string(path(&repo).join("a/draft")).unwrap(), "not committed\n");
    drop(repo.wattle(&["merge", "a"]).code(4));
    assert_eq!(repo.read("a/mine"), "one\n");
}

#[test]
fn what_was_amended_rebased_or_merged_is_only_what_the_step_changes() {
    let ways: [(&str, &[&[&str]]); 3] = [
        ("amended", &[&["commit", "--quiet", "--amend", "-m", "better said"]]),
        ("rebased", &[&["rebase", "--quiet", "main"]]),
        ("merged", &[&["merge", "--quiet", "-m", "catch up", "main"]]),
    ];
    for (way, commands) in ways {
        for style in ["merge", "squash"] {
            let env = TestEnv::new();
            let repo = reviewed(&env, &format!("{}commit: {{ style: {style} }}\n", plain()));
            let mine = checkout(&env, &repo, "a");
            repo.commit("elsewhere", &[("c/f", "theirs\n")]);
            for command in commands {
                env.git(&mine, command);
            }
            let review = repo.wattle(&["review", "a", "--json"]).ok().json();
            assert_eq!(review["steps"][0]["paths"], serde_json::json!(["a/f"]), "{way} {style}");
            drop(repo.wattle(&["approve", "a"]).ok());
            drop(repo.wattle(&["merge", "a"]).code(4));
            assert_eq!((repo.read("a/f"), repo.read("c/f")), ("new\n".into(), "theirs\n".into()), "{way} {style}");
            assert_eq!(states(&repo, &[]), "a landed, b review");
        }
    }
}

#[test]
fn taken_off_the_step_below_it_still_stands_on_what_that_stood_on() {
    let env = TestEnv::new();
    let chain = r#"
version: 1
task: t
checks: []
steps:
  - { id: a, touches: ["a/**"], run: "echo new >a/f" }
  - { id: b, needs: [a], touches: ["b/**"], run: "echo new >b/f" }
  - { id: c, needs: [b], touches: ["c/**"], run: "echo new >c/f" }
"#;
    let repo = reviewed(&env, chain);
    let mine = checkout(&env, &repo, "c");
    env.git(&mine, &["rebase", "--quiet", "--onto", &branch(&repo, "a"), &branch(&repo, "b")]);
    drop(repo.wattle(&["approve", "c"]).ok());
    let refused = repo.wattle(&["merge", "c"]).code(2);
    assert!(refused.err.contains("c stands on a, which is review"), "{}", refused.err);
}

#[test]
fn outside_its_touches_it_waits_for_its_user_to_widen_them() {
    let env = TestEnv::new();
    let repo = reviewed(&env, &plain());
    let mine = checkout(&env, &repo, "a");
    commit(&env, &mine, "c/mine", "one\n");
    let refused = repo.wattle(&["approve", "a"]).code(2);
    assert!(refused.err.contains("outside its touches: c/mine"), "{}", refused.err);
    drop(repo.wattle(&["approve", "a", "--widen", "c/mine"]).ok());
    drop(repo.wattle(&["merge", "a"]).code(4));
    assert_eq!(repo.read("c/mine"), "one\n");
}

#[test]
fn a_branch_that_was_reset_or_deleted_loses_nothing() {
    let env = TestEnv::new();
    let repo = reviewed(&env, &plain());
    let (a, work) = (branch(&repo, "a"), repo.git(&["rev-parse", &branch(&repo, "a")]));
    repo.git(&["branch", "--force", &a, "main"]);
    let empty = repo.wattle(&["approve", "a"]).code(2);
    assert!(empty.err.contains("a changes nothing any more"), "{}", empty.err);
    let kept = repo.git(&["for-each-ref", "--format=%(refname)", "--contains", &work]);
    assert!(kept.contains("refs/wattle/attempt/"), "{kept}");
    // Put back, it is what it was.
    repo.git(&["branch", "--force", &a, &work]);
    drop(repo.wattle(&["approve", "a"]).ok());
    repo.git(&["branch", "-D", &branch(&repo, "b")]);
    drop(repo.wattle(&["approve", "b"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!((repo.read("a/f"), repo.read("b/f")), ("new\n".to_owned(), "new\n".to_owned()));
}

#[test]
fn an_approval_lapses_when_its_user_commits_on_and_auto_waits_for_review() {
    let env = TestEnv::new();
    let repo = reviewed(&env, &plain());
    drop(repo.wattle(&["approve", "a"]).ok());
    let mine = checkout(&env, &repo, "a");
    commit(&env, &mine, "a/mine", "one\n");
    drop(repo.wattle(&["merge"]).code(4));
    assert_eq!(states(&repo, &[]), "a review, b review", "nothing that nobody approved has landed");
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("a/mine"), "one\n");
}

#[test]
fn redo_and_reject_keep_what_its_user_committed() {
    let env = TestEnv::new();
    let repo = reviewed(&env, &plain());
    let mine = checkout(&env, &repo, "a");
    commit(&env, &mine, "a/mine", "one\n");
    let head = env.git(&mine, &["rev-parse", "HEAD"]);
    env.git(&mine, &["checkout", "--quiet", "--detach"]);
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    assert_ne!(repo.git(&["rev-parse", &branch(&repo, "a")]), head, "the worker has done it again");
    let holders =
        |commit: &str| repo.git(&["for-each-ref", "--format=%(refname)", "--contains", commit, "refs/wattle"]);
    assert!(holders(&head).contains("refs/wattle/"), "{}", holders(&head));
    env.git(&mine, &["checkout", "--quiet", &branch(&repo, "a")]);
    commit(&env, &mine, "a/other", "two\n");
    let other = env.git(&mine, &["rev-parse", "HEAD"]);
    env.git(&mine, &["checkout", "--quiet", "--detach"]);
    drop(repo.wattle(&["reject", "a"]).ok());
    let back = repo.wattle(&["restore", "a"]).ok().out;
    assert_eq!(repo.git(&["rev-parse", back.trim()]), other, "the newest comes back first");
    drop(repo.wattle(&["clean"]).ok());
    for commit in [&head, &other] {
        assert!(!holders(commit).is_empty(), "{commit} is under no ref of ours");
    }
}
