//! Dependents only move: no worker runs again unless a change conflicts or its check turns red.

use std::collections::BTreeMap;

use super::{states, world};
use crate::env::{TestEnv, TestRepo};

/// How often each step's worker has run.
fn worked(env: &TestEnv) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let log = std::fs::read_to_string(env.root().join("worked")).unwrap_or_default();
    for line in log.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

fn once(steps: &[&str]) -> BTreeMap<String, usize> {
    steps.iter().map(|step| ((*step).to_owned(), 1)).collect()
}

/// A chain `a <- b <- c <- d` of steps that each write a file of their own, and count their workers.
fn chain(env: &TestEnv, extra: &str) -> String {
    let log = env.root().join("worked");
    let step = |id: &str, needs: &str| {
        format!(
            "  - {{ id: {id}, needs: [{needs}], touches: [\"{id}/**\"], run: \"echo $WATTLE_STEP >>{}; mkdir -p {id}; seq 9 >{id}/n; echo $(($(cat {id}/at 2>/dev/null || echo 0) + 1)) >{id}/f\" }}\n",
            log.display()
        )
    };
    let steps = [step("a", ""), step("b", "a"), step("c", "b"), step("d", "c")].concat();
    format!("version: 1\ntask: Chain\nchecks: []\n{extra}steps:\n{steps}")
}

fn chained<'e>(env: &'e TestEnv, extra: &str) -> TestRepo<'e> {
    let repo = world(env, &chain(env, extra));
    drop(repo.wattle(&["run", "-f", "../plan.yaml", "--jobs", "2"]).code(4));
    assert_eq!(worked(env), once(&["a", "b", "c", "d"]));
    repo
}

/// The commit of each step, and the commits of its unlanded base.
fn branch(repo: &TestRepo<'_>, step: &str) -> String {
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let found = status["steps"].as_array().unwrap().iter().find(|found| found["id"] == step).unwrap();
    found["branch"].as_str().unwrap().to_owned()
}

fn files(repo: &TestRepo<'_>, rev: &str) -> String {
    repo.git(&["ls-tree", "-r", "--name-only", rev]).replace('\n', " ")
}

#[test]
fn a_rejected_step_in_the_middle_of_a_chain_is_taken_out_from_under_the_rest() {
    let env = TestEnv::new();
    let repo = chained(&env, "");
    let said = repo.wattle(&["reject", "b"]).ok();
    assert!(said.err.contains("2 restack, up to 2 run again, ≤ $0.00"), "{}", said.err);
    drop(repo.wattle(&["resume"]).code(4));
    assert_eq!(states(&repo, &[]), "a review, b rejected, c review, d review");
    assert_eq!(worked(&env), once(&["a", "b", "c", "d"]), "nobody has worked again");
    assert_eq!(
        files(&repo, &branch(&repo, "d")),
        "a/f a/n b/f c/f c/n d/f d/n",
        "b's own file of the base is there, b/n is not"
    );
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(states(&repo, &[]), "a landed, b rejected, c landed, d landed");
    assert!(!repo.path.join("b/n").exists());
}

#[test]
fn a_step_that_is_done_again_runs_alone() {
    let env = TestEnv::new();
    let repo = chained(&env, "");
    drop(repo.wattle(&["redo", "b"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    let mut counts = once(&["a", "b", "c", "d"]);
    counts.insert("b".to_owned(), 2);
    assert_eq!(worked(&env), counts);
    assert_eq!(states(&repo, &[]), "a review, b review, c review, d review");
}

#[test]
fn a_users_commit_on_a_lower_branch_moves_what_stands_on_it() {
    let env = TestEnv::new();
    let repo = chained(&env, "");
    let mine = env.root().join("mine");
    repo.git(&["worktree", "add", "--quiet", mine.to_str().unwrap(), &branch(&repo, "a")]);
    std::fs::write(mine.join("a/mine"), "by hand\n").unwrap();
    env.git(&mine, &["add", "--all"]);
    env.git(&mine, &["commit", "--quiet", "-m", "by hand"]);
    drop(repo.wattle(&["resume"]).code(4));
    assert_eq!(states(&repo, &[]), "a review, b review, c review, d review");
    assert_eq!(worked(&env), once(&["a", "b", "c", "d"]));
    assert_eq!(repo.git(&["show", &format!("{}:a/mine", branch(&repo, "d"))]), "by hand");
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!((repo.read("a/mine").as_str(), repo.read("d/n").lines().count()), ("by hand\n", 9));
    assert_eq!(worked(&env), once(&["a", "b", "c", "d"]));
}

#[test]
fn a_target_that_moved_costs_no_worker() {
    let env = TestEnv::new();
    let repo = chained(&env, "");
    repo.commit("meanwhile", &[("e/f", "theirs\n")]);
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(states(&repo, &[]), "a landed, b landed, c landed, d landed");
    assert_eq!((worked(&env), repo.read("e/f")), (once(&["a", "b", "c", "d"]), "theirs\n".to_owned()));
}

#[test]
fn only_the_dependent_whose_change_conflicts_works_again() {
    let env = TestEnv::new();
    let log = env.root().join("worked");
    let step = |id: &str, needs: &str, run: &str| {
        let run = format!("echo {id} >>{}; {run}", log.display());
        format!("  - {{ id: {id}, needs: [{needs}], run: \"{run}\", touches: [\"a/**\", \"{id}/**\"] }}\n")
    };
    let plan = format!(
        "version: 1\ntask: t\nchecks: []\nsteps:\n{}{}{}",
        step("a", "", "echo $WATTLE_ATTEMPT >a/f"),
        step("b", "a", "sed -i s/$/-b/ a/f"),
        step("c", "a", "echo c >c/f"),
    );
    let repo = world(&env, &plan);
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    let counts = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2), ("c".to_owned(), 1)]);
    assert_eq!((worked(&env), states(&repo, &[]).as_str()), (counts, "a review, b review, c review"));
    assert_eq!(repo.git(&["show", &format!("{}:a/f", branch(&repo, "b"))]), "2-b");
}

#[test]
fn a_dependent_whose_check_turns_red_on_the_new_base_works_again() {
    let env = TestEnv::new();
    let log = env.root().join("worked");
    let plan = format!(
        r#"
version: 1
task: t
checks: []
steps:
  - {{ id: a, touches: ["a/**"], run: "echo $WATTLE_ATTEMPT >a/f; echo a >>{0}" }}
  - {{ id: b, needs: [a], touches: ["b/**"], run: "cp a/f b/f; echo b >>{0}", check: {{ run: "cmp a/f b/f" }} }}
  - {{ id: c, needs: [a], touches: ["c/**"], run: "echo c >c/f; echo c >>{0}", check: {{ run: "test -s a/f" }} }}
"#,
        log.display()
    );
    let repo = world(&env, &plan);
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    let counts = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 2), ("c".to_owned(), 1)]);
    assert_eq!((worked(&env), states(&repo, &[]).as_str()), (counts, "a review, b review, c review"));
}

/// `b` stands on `a`, whose every attempt makes another file; both wait for review. With a worktree at `b`'s branch.
fn on_top(env: &TestEnv) -> (TestRepo<'_>, std::path::PathBuf) {
    let plan = r#"
version: 1
task: t
checks: []
steps:
  - { id: a, touches: ["a/**"], run: "echo $WATTLE_ATTEMPT >a/f" }
  - { id: b, needs: [a], touches: ["a/**", "b/**"], run: "echo new >b/f" }
"#;
    let repo = world(env, plan);
    drop(repo.wattle(&["run", "-f", "../plan.yaml"]).code(4));
    let mine = env.root().join("mine");
    repo.git(&["worktree", "add", "--quiet", mine.to_str().unwrap(), &branch(&repo, "b")]);
    (repo, mine)
}

/// A commit of somebody's, with a date of its own.
fn commit(env: &TestEnv, mine: &std::path::Path, who: &str, (path, text): (&str, &str)) {
    std::fs::write(mine.join(path), text).unwrap();
    env.git(mine, &["add", "--all"]);
    let author = format!("--author={who} <{who}@example.org>");
    let message = format!("{who} on {path}\n\nWhy,\n\n  and how.");
    env.git(mine, &["commit", "--quiet", &author, "--date=2020-02-03T04:05:06+0700", "-m", &message]);
}

#[test]
fn a_users_several_commits_stay_several_when_their_base_moves() {
    let env = TestEnv::new();
    let (repo, mine) = on_top(&env);
    commit(&env, &mine, "Eve", ("b/eve", "one\n"));
    commit(&env, &mine, "Max", ("b/max", "two\n"));
    let shape = |range: &str| repo.git(&["log", "--format=%an %ae %aI%n%B%n", range]);
    let made = shape(&format!("{}~2..{0}", branch(&repo, "b")));
    env.git(&mine, &["checkout", "--quiet", "--detach"]);
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    assert_eq!(states(&repo, &[]), "a review, b review");
    let (a, b) = (branch(&repo, "a"), branch(&repo, "b"));
    assert_eq!(repo.git(&["rev-list", "--count", &format!("{a}..{b}")]), "3", "the worker's and two by hand");
    assert_eq!(shape(&format!("{b}~2..{b}")), made);
    assert_eq!(repo.git(&["show", &format!("{b}:a/f")]), "2", "they stand on the new base");
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!((repo.read("b/eve"), repo.read("b/max")), ("one\n".to_owned(), "two\n".to_owned()));
    let log = repo.git(&["log", "--format=%an", "main"]);
    assert_eq!((log.matches("Eve").count(), log.matches("Max").count()), (1, 1), "{log}");
}

#[test]
fn commits_that_do_not_merge_one_by_one_move_as_one() {
    let env = TestEnv::new();
    let (repo, mine) = on_top(&env);
    // There and back: on their own they conflict with what the base becomes, together they do not.
    commit(&env, &mine, "Eve", ("a/f", "hers\n"));
    commit(&env, &mine, "Eve", ("a/f", "1\n"));
    commit(&env, &mine, "Eve", ("b/eve", "one\n"));
    env.git(&mine, &["checkout", "--quiet", "--detach"]);
    drop(repo.wattle(&["redo", "a"]).ok());
    drop(repo.wattle(&["resume"]).code(4));
    assert_eq!(states(&repo, &[]), "a review, b review");
    let (a, b) = (branch(&repo, "a"), branch(&repo, "b"));
    assert_eq!(repo.git(&["rev-list", "--count", &format!("{a}..{b}")]), "1");
    let files = ["a/f", "b/f", "b/eve"].map(|path| repo.git(&["show", &format!("{b}:{path}")]));
    assert_eq!(files, ["2", "new", "one"]);
}
