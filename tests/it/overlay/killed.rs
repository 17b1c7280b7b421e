//! A run that had slots mounted is killed: what it had written is seen by whoever looks from outside, and whoever goes on
//! reaches the same end.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{names, refused, world};
use crate::crash::world::{Expected, kill_processes, processes, wreck};
use crate::env::{Output, TestEnv, TestRepo};
use crate::faults::plans::{QUEUE, RUN};
use crate::faults::say;

/// What the tests of this file look at when they are over.
const NOTE: &str = "WHERE-ARE-THE-FILES.txt";

/// How many runs are tried until one passes a point.
const TRIES_MAX: usize = 8;

/// A step that kills its run on its first try, after it has changed, added and removed files; what it leaves behind holds
/// the mounts if `and` says so.
fn plan(env: &TestEnv, and: &str) -> String {
    let (once, edit) =
        (env.root().join("once").display().to_string(), "echo two >> a.txt; rm dir/b.txt; echo new > c.txt");
    format!(
        r#"
version: 1
task: Killed in the middle
checks: [{{ name: c, run: 'grep -qx two a.txt && test ! -e dir/b.txt' }}]
steps:
  - id: s
    touches: ["**"]
    run: |
      {edit}; touch built.o
      test -e {once} || {{ touch {once}; {and} kill -9 $PPID; sleep 60; }}
"#
    )
}

fn killed<'e>(env: &'e TestEnv, and: &str) -> TestRepo<'e> {
    let repo = env.repo("repo", &[("a.txt", "one\n"), ("dir/b.txt", "b\n"), (".gitignore", "*.o\n")]);
    std::fs::write(env.root().join("plan.yaml"), plan(env, and)).expect("the folder is ours");
    let killed = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]);
    assert_eq!(killed.code, 128 + 9, "{}", killed.whole());
    repo
}

/// The end of the run, however it was reached.
#[track_caller]
fn ended(env: &TestEnv, repo: &TestRepo<'_>, resumed: Output) {
    assert_eq!(resumed.code, 0, "{}", resumed.whole());
    assert_eq!((repo.read("a.txt"), repo.read("c.txt")), ("one\ntwo\n".into(), "new\n".into()));
    assert!(!repo.path.join("dir/b.txt").exists());
    repo.git(&["fsck", "--strict", "--no-dangling"]);
    _ = repo.wattle(&["clean"]).ok();
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(names(&env.state().join("layers")), [] as [&str; 0]);
}

/// The files that a worker had written are there, as it left them.
#[track_caller]
fn seen(repo: &TestRepo<'_>) -> PathBuf {
    let path = PathBuf::from(
        repo.wattle(&["path", "s"])
            .ok()
            .out
            .trim()
            .replace("$ROOT", repo.path.parent().map_or("", |p| p.to_str().unwrap_or_default())),
    );
    let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    assert_eq!((read("a.txt"), read("c.txt")), ("one\ntwo\n".into(), "new\n".into()), "{}", path.display());
    assert!(!path.join("dir/b.txt").exists() && path.join("built.o").exists() && !path.join(NOTE).exists());
    path
}

#[test]
fn a_resume_mounts_again_and_goes_on() {
    let (env, _) = world();
    let repo = killed(&env, "");
    kill_processes(env.root());
    let status = repo.wattle(&["status", "--json"]).json();
    let shown =
        status["steps"][0]["worktree"].as_str().map(|path| path.replace("$ROOT", &env.root().display().to_string()));
    assert!(shown.is_none_or(|path| !PathBuf::from(path).join(NOTE).exists()), "a folder without the work: {status}");
    ended(&env, &repo, repo.wattle(&["resume"]));
}

#[test]
fn somebody_outside_gets_a_folder_with_the_work_and_the_run_goes_on_in_it() {
    let (env, _) = world();
    let repo = killed(&env, "");
    kill_processes(env.root());
    let path = seen(&repo);
    assert_eq!(seen(&repo), path, "twice is once");
    let status = env.git(&path, &["status", "--porcelain"]);
    assert_eq!(status, " M a.txt\n D dir/b.txt\n?? c.txt", "git in it sees just what was changed");
    ended(&env, &repo, repo.wattle(&["resume"]));
}

#[test]
fn where_mounts_are_refused_the_run_goes_on_in_plain_folders() {
    let (env, _) = world();
    let repo = killed(&env, "");
    kill_processes(env.root());
    ended(&env, &repo, refused::wattle(&env, &repo, &["resume"]));
}

#[test]
fn what_a_dead_run_has_left_running_holds_the_mounts_and_nobody_mounts_them_twice() {
    let (env, can) = world();
    // Without its environment and in a session of its own nobody finds it by name.
    let repo =
        killed(&env, "(cd / && exec env -i setsid sleep 3600) > /dev/null 2>&1 & echo $! > \"$HOME/left\"; sleep 0.2;");
    if !can {
        say("nothing is mounted, so nothing is held");
        return ended(&env, &repo, repo.wattle(&["resume"]));
    }
    kill_processes(env.root());
    let left = std::fs::read_to_string(env.root().join("home/left")).unwrap_or_default();
    let looked = repo.wattle(&["path", "s"]);
    assert_eq!(looked.code, 5, "{}", looked.whole());
    assert!(looked.err.contains("only process ") && looked.err.contains("see"), "{}", looked.err);
    let resumed = repo.wattle(&["resume"]);
    let pid = left.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    let ended_now = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
    assert!(matches!(ended_now, Some(Ok(()))), "it lived all the while: {left}");
    ended(&env, &repo, resumed);
}

#[test]
fn killed_at_every_point_of_a_slots_life_the_run_reaches_the_same_end() {
    let (mut env, can) = world();
    if !can {
        env = TestEnv::new();
    }
    let repo = QUEUE.world(&env);
    let list = env.root().join("list");
    let end = env.wattle_with(&repo.path, &[("WATTLE_FAULT", &format!("list={}", list.display()))], &RUN).ok();
    let expected = Expected::of(&repo, end.events().len(), wreck);
    let text = std::fs::read_to_string(list).expect("a build with debug assertions has fault points");
    let ours =
        |name: &&str| ["slot.", "template.", "salvage.", "git.worktree."].iter().any(|start| name.starts_with(start));
    let points: BTreeSet<&str> = text.lines().map(|line| line.trim_end_matches('!')).filter(ours).collect();
    let mounts = points.contains("slot.mounted") && points.contains("template.made");
    assert!(mounts == can && points.len() > 12, "{points:?}");
    for point in points {
        // Not every run passes each: only a red check on a slot that was used before is asked again on a scrubbed one.
        let hit = (0..TRIES_MAX).any(|_| killed_at(point, can, &expected));
        assert!(hit, "{point} is passed by none of {TRIES_MAX} runs");
    }
}

/// Kills a run at the point, resumes, and holds the end against the undisturbed one; `false` = it was not passed.
fn killed_at(point: &str, can: bool, expected: &Expected) -> bool {
    let env = if can { world().0 } else { TestEnv::new() };
    let repo = QUEUE.world(&env);
    let run = env.wattle_with(&repo.path, &[("WATTLE_FAULT", &format!("kill={point}:1"))], &RUN);
    if run.code == 0 {
        return false;
    }
    assert_eq!(run.code, 128 + 9, "{point}: {}", run.whole());
    let resumed = repo.wattle(&["resume"]);
    // Killed before there was a run, there is none to go on with.
    let resumed = if resumed.code == 5 { env.wattle(&repo.path, &RUN) } else { resumed };
    assert_eq!(resumed.code, 0, "{point}: {}", resumed.whole());
    expected.hold(&env, &repo);
    assert_eq!(processes(env.root()), [] as [String; 0], "{point}");
    true
}

#[test]
fn killed_while_a_folder_is_made_of_a_mount_nothing_is_lost() {
    let (env, can) = world();
    for point in ["slot.flat", "slot.flat.between", "slot.flat.placed", "slot.lift"] {
        let (env, _) = if can { world() } else { (TestEnv::new(), false) };
        let repo = killed(&env, "");
        kill_processes(env.root());
        let died = env.wattle_with(&repo.path, &[("WATTLE_FAULT", &format!("kill={point}:1"))], &["path", "s"]);
        assert_eq!(died.code, if can { 128 + 9 } else { 0 }, "{point}: {}", died.whole());
        seen(&repo);
        ended(&env, &repo, repo.wattle(&["resume"]));
    }
    drop(env);
}
