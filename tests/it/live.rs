//! Runs that are live: verbs from a second terminal, signals, crashes, a second run.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::env::{TestEnv, TestRepo};

/// A step that is at work until a file appears, and one that is done at once.
fn waiting<'e>(env: &'e TestEnv, retries: u32) -> TestRepo<'e> {
    let repo = env.repo("r", &[("a/f", "old\n"), ("b/f", "old\n")]);
    let gate = env.root().join("gate");
    let plan = format!(
        "version: 1\ntask: Wait\nchecks: []\ndefaults: {{ retries: {retries} }}\nsteps:\n\
         \x20 - {{ id: quick, touches: [\"b/**\"], run: \"echo new >b/f\" }}\n\
         \x20 - {{ id: slow, touches: [\"a/**\"], run: \"until test -e {}; do sleep 0.02; done; echo new >>a/f\" }}\n",
        gate.display()
    );
    std::fs::write(env.root().join("plan.yaml"), plan).expect("the folder is ours");
    repo
}

fn open(env: &TestEnv) {
    std::fs::write(env.root().join("gate"), "").expect("the folder is ours");
}

fn is(step: &'static str, state: &'static str) -> impl Fn(&serde_json::Value) -> bool {
    move |event| event["type"] == "step_state" && event["step"] == step && event["state"] == state
}

/// Processes whose environment names this test's directory.
fn processes_of(root: &Path) -> usize {
    let name = root.to_str().expect("temporary directories have plain names").as_bytes();
    let environment = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("environ")).unwrap_or_default();
    let entries = std::fs::read_dir("/proc").expect("the tests run on Linux").flatten();
    entries.map(environment).filter(|environ| environ.windows(name.len()).any(|part| part == name)).count()
}

#[test]
fn verbs_of_a_second_terminal_are_taken_up_within_a_second() {
    let env = TestEnv::new();
    let repo = waiting(&env, 0);
    let mut run = repo.spawn(&["run", "-f", "../plan.yaml", "--json"]);
    run.wait_for(is("quick", "review"));
    run.wait_for(is("slow", "running"));
    let status = repo.wattle(&["status", "--json"]).ok().json();
    assert!(status["live"]["pid"].is_u64());
    assert!(status["steps"][1]["worktree"].is_string());

    let before = Instant::now();
    let approved = repo.wattle(&["approve", "quick", "--json"]).ok().json();
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert_eq!(approved["picked_up_by"], status["run"]);
    run.wait_for(is("quick", "approved"));

    let stopped = repo.wattle(&["stop", "slow"]).ok();
    assert!(stopped.err.contains("picked up by run Wait"), "{}", stopped.err);
    run.wait_for(is("slow", "parked"));
    let ended = run.end();
    assert_eq!(ended.code, 4, "{}", ended.err);
    open(&env);
    drop(repo.wattle(&["resume"]).code(4));
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("a/f") + &repo.read("b/f"), "old\nnew\nnew\n");
}

#[test]
fn an_interrupt_parks_within_five_seconds_and_leaves_no_process() {
    let env = TestEnv::new();
    let repo = waiting(&env, 0);
    let mut run = repo.spawn(&["run", "-f", "../plan.yaml", "--json"]);
    run.wait_for(is("slow", "running"));
    let before = Instant::now();
    run.interrupt();
    let ended = run.end().code(130);
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert!(ended.out.contains("\"interrupted\""), "{}", ended.out);
    assert_eq!(processes_of(env.root()), 0);
    open(&env);
    drop(repo.wattle(&["resume"]).code(4));
    drop(repo.wattle(&["approve", "--all"]).ok());
    drop(repo.wattle(&["merge"]).ok());
    assert_eq!(repo.read("a/f"), "old\nnew\n", "its effect is there once");
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let env = TestEnv::new();
    let repo = waiting(&env, 1);
    let mut run = repo.spawn(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]);
    run.wait_for(|event| event["type"] == "landed");
    run.wait_for(is("slow", "running"));
    run.kill();
    let status = repo.wattle(&["status", "--json"]).ok().json();
    assert!(status["live"].is_null(), "a dead owner is not live");
    open(&env);
    drop(repo.wattle(&["resume"]).ok());
    assert_eq!(repo.read("a/f") + &repo.read("b/f"), "old\nnew\nnew\n");
    assert_eq!(repo.git(&["rev-list", "--count", "--first-parent", "main"]), "3");
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn a_second_run_on_one_repository_is_told_that_it_is_busy() {
    let env = TestEnv::new();
    let repo = waiting(&env, 0);
    let mut run = repo.spawn(&["run", "-f", "../plan.yaml", "--json"]);
    run.wait_for(is("slow", "running"));
    let second = repo.wattle(&["run", "-f", "../plan.yaml", "--json"]).code(8).json();
    assert_eq!(second["error"]["code"], "busy");
    drop(repo.wattle(&["stop"]).ok());
    assert_eq!(run.end().code, 4);
    let again = repo.wattle(&["stop"]).code(2);
    assert!(again.err.contains("nothing runs"), "{}", again.err);
}

#[test]
fn follow_and_watch_end_with_the_run() {
    let env = TestEnv::new();
    let repo = waiting(&env, 0);
    let mut run = repo.spawn(&["run", "-f", "../plan.yaml", "--json"]);
    run.wait_for(is("slow", "running"));
    let mut follower = repo.spawn(&["log", "--follow", "--json"]);
    follower.wait_for(is("slow", "running"));
    let mut watcher = repo.spawn(&["status", "--watch", "--json"]);
    watcher.wait_for(|status| status["live"]["pid"].is_u64());
    open(&env);
    follower.wait_for(is("slow", "review"));
    watcher.wait_for(|status| status["live"].is_null());
    drop(run.end().code(4));
    drop(follower.end().ok());
    drop(watcher.end().ok());
}

/// Steps of the run that is killed again and again.
const STEPS: usize = 20;
/// Kills at most; each comes a little later in the life of its process, so that the run gets through.
const KILLS_MAX: usize = 50;

#[test]
fn killed_at_many_moments_a_run_reaches_the_same_end() {
    let env = TestEnv::new();
    let files: Vec<(String, &str)> = (0..STEPS).map(|i| (format!("f{i}"), "old\n")).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let repo = env.repo("r", &files);
    let mut plan = "version: 1\ntask: Many\nchecks: [{ name: c, run: \"test -e f0\" }]\nsteps:\n".to_owned();
    for i in 0..STEPS {
        let needs = if i >= 5 { format!("needs: [s{}], ", i - 5) } else { String::new() };
        writeln!(plan, "  - {{ id: s{i}, {needs}touches: [f{i}], run: \"echo new >>f{i}\" }}").unwrap();
    }
    std::fs::write(env.root().join("plan.yaml"), plan).unwrap();
    let mut args = vec!["run", "-f", "../plan.yaml", "--approve", "auto", "--json"];
    let mut kills = 0;
    let code = loop {
        let mut run = repo.spawn(&args);
        // The first process has to have begun the run; later ones die early and late.
        let ended = run.events(4 + kills / 2);
        if ended || kills == KILLS_MAX {
            break run.end().code;
        }
        run.kill();
        kills += 1;
        args = vec!["resume", "--json"];
    };
    assert!(kills >= 20, "{kills} kills");
    assert_eq!(code, 0, "after {kills} kills");
    for (path, _) in &files {
        assert_eq!(repo.read(path), "old\nnew\n", "{path}: its effect is there once, after {kills} kills");
    }
    assert_eq!(repo.git(&["rev-list", "--count", "--first-parent", "main"]), (STEPS + 1).to_string());
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    repo.git(&["fsck", "--strict"]);
}

#[test]
fn a_check_that_could_not_be_run_is_asked_again_by_merge_while_the_run_is_live() {
    let env = TestEnv::new();
    let repo = env.repo("r", &[("a/f", "old\n"), ("b/f", "old\n")]);
    let (gate, mended) = (env.root().join("gate"), env.root().join("mended"));
    // In check slots the setup fails until somebody has mended the machine.
    let plan = format!(
        "version: 1\ntask: Wait\nchecks: [{{ name: c, run: 'true' }}]\n\
         setup: {{ run: 'test \"$WATTLE_ATTEMPT\" != 0 || test -e {}', key: [] }}\nsteps:\n\
         \x20 - {{ id: quick, touches: [\"b/**\"], run: \"echo new >b/f\" }}\n\
         \x20 - {{ id: slow, touches: [\"a/**\"], run: \"until test -e {}; do sleep 0.02; done; echo new >>a/f\" }}\n",
        mended.display(),
        gate.display()
    );
    std::fs::write(env.root().join("plan.yaml"), plan).expect("the folder is ours");
    let mut run = repo.spawn(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]);
    let held = |event: &serde_json::Value| event["type"] == "landing_held" && event["why"] == "environment";
    run.next_that(held);
    // Not mended yet: asked again, and held again.
    drop(repo.wattle(&["merge"]).ok());
    run.next_that(held);
    std::fs::write(mended, "").expect("the folder is ours");
    drop(repo.wattle(&["merge"]).ok());
    run.wait_for(|event| event["type"] == "landed" && event["step"] == "quick");
    open(&env);
    drop(run.end().ok());
    assert_eq!((repo.read("a/f").as_str(), repo.read("b/f").as_str()), ("old\nnew\n", "new\n"));
}
