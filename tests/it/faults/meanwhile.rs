//! What a user's git does to the repository at the worst moments: the run is stopped between two of its effects, somebody
//! collects garbage, packs refs or prunes worktrees, and the run goes on to the same end.

use super::audit::audit;
use super::plans::{QUEUE, RUN};
use super::say;
use crate::crash::world::Expected;
use crate::env::{Output, TestEnv, TestRepo};

/// Where objects exist that no ref may keep yet, or refs that were just made.
const POINTS: &[&str] = &[
    "git.write-tree.after",
    "capture.after",
    "git.hash-object.after",
    "git.merge-tree.after",
    "ref.attempt.before",
    "ref.candidate.before",
    "ref.salvage.before",
    "ref.target.before",
    "land.between",
    "slot.made",
    "slot.prepared",
];
/// Passes of each point at which the run is stopped.
const PASSES: &[usize] = &[1, 2, 4];
/// What is done there, in turn.
const ACTS: &[&[&str]] = &[
    &["gc", "--quiet", "--prune=now"],
    &["pack-refs", "--all", "--prune"],
    &["gc", "--quiet", "--prune=now"],
    &["worktree", "prune", "--expire=now"],
    &["prune", "--expire=now"],
];
/// A pruned candidate costs a resume at most, and only prunes meet one.
const RESUMES_MAX: usize = 8;

#[test]
fn whatever_a_user_collects_or_packs_meanwhile_the_run_ends_as_it_would() {
    let before = TestEnv::new();
    let repo = QUEUE.world(&before);
    let events = before.wattle(&repo.path, &RUN).ok().events().len();
    let expected = Expected::of(&repo, events, |repo| _ = audit(repo, QUEUE.checks));
    let env = TestEnv::new();
    let repo = QUEUE.world(&env);
    let stops = POINTS.iter().flat_map(|name| PASSES.iter().map(move |pass| format!("stop={name}:{pass}")));
    let armed = stops.collect::<Vec<_>>().join(";");
    let running = env.spawn_with(&repo.path, &[("WATTLE_FAULT", &armed)], &RUN);
    let mut met = 0;
    while running.stopped() {
        // A lock that a stopped run holds makes git refuse, which is its right.
        drop(env.program("git", &repo.path, ACTS[met % ACTS.len()]));
        met += 1;
        running.signal(rustix::process::Signal::CONT);
    }
    let end = gone_on(&repo, running.end());
    assert_eq!(end.code, 0, "{}\n{}", repo.wattle(&["status"]).whole(), repo.wattle(&["log"]).whole());
    expected.hold(&env, &repo);
    say(&format!("faults: a user's git met a run at {met} moments"));
    assert!(met >= 12, "most moments were met: {met}");
}

/// Goes on with a run until it has ended well. What is pruned more often than it is made again waits for a resume.
fn gone_on(repo: &TestRepo<'_>, mut end: Output) -> Output {
    for _ in 0..RESUMES_MAX {
        if end.code == 1 {
            let status = repo.wattle(&["status", "--json"]).ok().json();
            for step in status["steps"].as_array().expect("a list").iter().filter(|step| step["state"] == "failed") {
                drop(repo.wattle(&["retry", step["id"].as_str().expect("a name")]).ok());
            }
        }
        if end.code != 0 {
            end = repo.wattle(&["resume", "--json"]);
        }
    }
    end
}

/// Nothing reads what lands here: there is no check, and the target is checked out nowhere.
const UNREAD: &str = r#"
version: 1
task: Land what nobody reads
checks: []
limits: { jobs: 3 }
steps:
  - { id: a, touches: ["a/**"], run: mkdir a && echo a > a/f }
  - { id: b, touches: ["b/**"], run: mkdir b && echo b > b/f }
  - { id: c, touches: ["c/**"], run: mkdir c && echo c > c/f }
"#;

#[test]
fn a_candidate_that_nobody_reads_is_whole_whatever_is_pruned() {
    let mut met = 0;
    for point in ["git.merge-tree.after", "object.after", "ref.candidate.before"] {
        let env = TestEnv::new();
        let repo = env.repo("repo", &[("f", "f\n")]);
        std::fs::write(env.root().join("plan.yml"), UNREAD).expect("the folder is ours");
        let stops = [1, 3, 5, 7].map(|pass| format!("stop={point}:{pass}")).join(";");
        let args = [&RUN[..], &["--target", "line"]].concat();
        let running = env.spawn_with(&repo.path, &[("WATTLE_FAULT", &stops)], &args);
        while running.stopped() {
            drop(env.program("git", &repo.path, &["gc", "--quiet", "--prune=now"]));
            met += 1;
            running.signal(rustix::process::Signal::CONT);
        }
        let end = running.end();
        // What no ref keeps may lack parts.
        repo.git(&["rev-list", "--objects", "--quiet", "--all"]);
        let end = gone_on(&repo, end);
        assert_eq!(end.code, 0, "{point}: {}", end.whole());
        // What nothing keeps goes, and nothing that is kept stops that.
        repo.git(&["gc", "--quiet", "--prune=now"]);
        repo.git(&["fsck", "--strict", "--no-dangling"]);
        assert_eq!(repo.git(&["ls-tree", "-r", "--name-only", "line"]), "a/f\nb/f\nc/f\nf", "{point}");
    }
    say(&format!("faults: pruned at {met} moments what nothing kept yet"));
    assert!(met >= 6, "most moments were met: {met}");
}

/// The last stands on two that have not landed, so that its base is a merge.
const MERGED: &str = r#"
version: 1
task: Stand on two
checks: []
limits: { jobs: 2 }
steps:
  - { id: a, touches: ["a/**"], run: mkdir a && echo a > a/f }
  - { id: b, touches: ["b/**"], run: mkdir b && echo b > b/f }
  - { id: c, needs: [a, b], touches: ["c/**"], run: mkdir c && cat a/f b/f > c/f }
"#;

#[test]
fn a_base_that_was_just_merged_outlives_a_prune() {
    let moments = [
        "git.merge-tree.after:1",
        "object.after:3",
        "ref.candidate.before:1",
        "slot.choose:3",
        "git.read-tree.after:3",
    ];
    for moment in moments {
        let env = TestEnv::new();
        let repo = env.repo("repo", &[("f", "f\n")]);
        std::fs::write(env.root().join("plan.yml"), MERGED).expect("the folder is ours");
        let armed = format!("stop={moment}");
        let args = ["run", "-f", "../plan.yml", "--json"];
        let running = env.spawn_with(&repo.path, &[("WATTLE_FAULT", &armed)], &args);
        assert!(running.stopped(), "{moment}");
        // Not all of `gc`: it refuses where the stopped run holds the lock of a slot's HEAD.
        repo.git(&["prune", "--expire=now"]);
        running.signal(rustix::process::Signal::CONT);
        let end = running.end().code(4);
        let status = repo.wattle(&["status", "--json"]).ok().json();
        let states = status["steps"].as_array().expect("a list").iter().map(|step| step["state"].clone());
        assert_eq!(states.collect::<Vec<_>>(), ["review"; 3], "{moment}: {}", end.whole());
        assert!(end.events().iter().all(|event| event["state"] != "parked"), "{moment}: {}", end.whole());
        repo.git(&["gc", "--quiet", "--prune=now"]);
        drop(repo.wattle(&["approve", "a", "b", "c"]).ok());
        drop(repo.wattle(&["merge"]).ok());
        assert_eq!(repo.read("c/f"), "a\nb\n", "{moment}");
        drop(repo.wattle(&["clean"]).ok());
        assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main", "{moment}");
        repo.git(&["fsck", "--strict", "--no-dangling"]);
    }
}
