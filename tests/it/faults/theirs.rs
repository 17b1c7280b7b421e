//! What a user does in the repository while a run goes on, at the worst moments: between two of its effects the run is
//! stopped, a merge or a rebase begins, the target moves or vanishes, a slot is deleted, and the run goes on. It holds what
//! it may not land, and ends where it would have.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::audit::{audit, journal, verified};
use super::matrix::{AT_ONCE, go_on, told};
use super::plans::{QUEUE, RUN};
use super::{each, say};
use crate::crash::world::Expected;
use crate::env::{Output, TestEnv, TestRepo};

/// Resumes until a run is at its end whose machine and whose user leave it alone.
const RESUMES_MAX: usize = 4;

/// How long the children of a stopped run may go on to write.
const DELETED_WITHIN: Duration = Duration::from_secs(20);

/// One deed of a user.
struct Deed {
    name: &'static str,
    /// The points at which it is done, one run each.
    at: &'static [&'static str],
    /// What is done.
    begin: fn(&TestEnv, &TestRepo<'_>),
    /// Why the landing is held then; none where nothing is in the way.
    held: Option<&'static str>,
    /// What ends it.
    end: fn(&TestEnv, &TestRepo<'_>),
}

// Moments at which no landing is on its way: git refuses to begin anything in the middle of one.
/// Before a checkout is asked whether it can move, and after it has been.
const AROUND: &[&str] = &["ref.candidate.after:1", "land.asked:2"];
/// Before any landing, and between two.
const BEFORE: &[&str] = &["ref.candidate.after:1", "land.followed:1"];

const DEEDS: &[Deed] = &[
    Deed {
        name: "a merge under way",
        at: AROUND,
        begin: |env, repo| refuses(env, repo, &["merge", "side"]),
        held: Some("merge"),
        end: |_, repo| _ = repo.git(&["merge", "--abort"]),
    },
    Deed {
        name: "a cherry-pick under way",
        at: AROUND,
        begin: |env, repo| refuses(env, repo, &["cherry-pick", "side"]),
        held: Some("cherry_pick"),
        end: |_, repo| _ = repo.git(&["cherry-pick", "--abort"]),
    },
    Deed {
        name: "a revert under way",
        at: AROUND,
        begin: |env, repo| refuses(env, repo, &["revert", "--no-edit", "earlier"]),
        held: Some("revert"),
        end: |_, repo| _ = repo.git(&["revert", "--abort"]),
    },
    Deed {
        name: "a rebase under way",
        at: BEFORE,
        begin: |env, repo| refuses(env, repo, &["rebase", "--quiet", "side"]),
        held: Some("rebase"),
        end: |_, repo| _ = repo.git(&["rebase", "--abort"]),
    },
    Deed {
        name: "a bisection under way",
        at: BEFORE,
        begin: |_, repo| _ = repo.git(&["bisect", "start"]),
        held: Some("bisect"),
        end: |_, repo| _ = repo.git(&["bisect", "reset"]),
    },
    Deed {
        name: "an editor that holds the index",
        at: AROUND,
        begin: |_, repo| std::fs::write(repo.path.join(".git/index.lock"), "").expect("the folder is there"),
        held: Some("index_locked"),
        end: |_, repo| std::fs::remove_file(repo.path.join(".git/index.lock")).expect("nobody else removes it"),
    },
    Deed {
        name: "the target deleted",
        at: BEFORE,
        begin: |_, repo| {
            repo.git(&["branch", "--quiet", "kept", "main"]);
            repo.git(&["switch", "--quiet", "kept"]);
            repo.git(&["branch", "--quiet", "-D", "main"]);
        },
        held: Some("target_gone"),
        end: |_, repo| {
            repo.git(&["branch", "--quiet", "main", "kept"]);
            repo.git(&["switch", "--quiet", "main"]);
            repo.git(&["branch", "--quiet", "-D", "kept"]);
        },
    },
    Deed {
        name: "another branch checked out",
        at: AROUND,
        begin: |_, repo| _ = repo.git(&["switch", "--quiet", "-c", "elsewhere"]),
        held: None,
        end: |_, repo| {
            repo.git(&["switch", "--quiet", "main"]);
            repo.git(&["branch", "--quiet", "-D", "elsewhere"]);
        },
    },
    Deed {
        name: "a second wattle",
        at: &["slot.prepared:2", "ref.attempt.before:1", "land.between:1"],
        begin: |env, repo| {
            for verb in [&RUN[..], &["resume"], &["clean"], &["merge", "--json"]] {
                // The one who owns the repository is stopped, and takes up no verb.
                let said = env.wattle(&repo.path, verb);
                assert_eq!(said.code, 8, "{verb:?}: {}", said.whole());
            }
        },
        held: None,
        end: |_, _| (),
    },
    Deed {
        name: "slots deleted by hand",
        at: &["slot.prepared:1", "slot.prepared:4", "git.add.before:5", "capture.after:2", "ref.candidate.after:2"],
        begin: |env, _| slots(env).iter().for_each(|slot| delete(slot)),
        held: None,
        end: |_, _| (),
    },
];

/// A git command that stops at a conflict.
#[track_caller]
fn refuses(env: &TestEnv, repo: &TestRepo<'_>, args: &[&str]) {
    let ended = env.program("git", &repo.path, args);
    assert!(ended.code != 0 && ended.whole().contains("CONFLICT"), "{args:?} stops at a conflict: {}", ended.whole());
}

/// Deletes a slot, whatever is written to it meanwhile: the run is stopped, its children are not.
fn delete(slot: &Path) {
    let until = Instant::now() + DELETED_WITHIN;
    while let Err(error) = std::fs::remove_dir_all(slot) {
        assert!(error.kind() == ErrorKind::DirectoryNotEmpty && Instant::now() < until, "{}: {error}", slot.display());
    }
}

/// The folders of slots that are there.
fn slots(env: &TestEnv) -> Vec<PathBuf> {
    let repos = std::fs::read_dir(env.root().join("state/repos")).expect("a run has begun").flatten();
    let slots = repos.flat_map(|repo| std::fs::read_dir(repo.path().join("slots")).into_iter().flatten().flatten());
    slots.map(|slot| slot.path()).filter(|path: &PathBuf| path.is_dir()).collect()
}

/// The world of the plan, with a branch that conflicts with the target and a commit of it that cannot be reverted.
fn world(env: &TestEnv) -> TestRepo<'_> {
    let repo = QUEUE.world(env);
    repo.branch("side", "main", &[("theirs", "side\n")]);
    repo.commit("earlier", &[("theirs", "earlier\n")]);
    repo.git(&["tag", "earlier"]);
    repo.commit("later", &[("theirs", "later\n")]);
    repo
}

/// A deed at a point.
struct Case {
    deed: &'static Deed,
    at: &'static str,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.deed.name, self.at)
    }
}

fn held(end: &Output) -> Vec<Value> {
    end.events().into_iter().filter(|event| event["type"] == "landing_held").collect()
}

impl Case {
    fn run(&self, expected: &Expected) {
        let env = TestEnv::new();
        let repo = world(&env);
        let armed = format!("stop={}", self.at);
        let running = env.spawn_with(&repo.path, &[("WATTLE_FAULT", &armed)], &RUN);
        assert!(running.stopped(), "{self}: the point is passed");
        (self.deed.begin)(&env, &repo);
        let theirs = seen(&repo.path);
        running.signal(rustix::process::Signal::CONT);
        let mut end = running.end();
        if let Some(why) = self.deed.held {
            assert_eq!(end.code, 4, "{self}\n{}\n{}\n{}", end.out, end.err, told(&repo));
            let held = held(&end);
            // What begins after the question is met by the switch itself, which is taken back.
            let fits = |event: &Value| event["why"] == why || event["why"] == "checkout_failed";
            assert!(held.iter().any(fits), "{self}: {held:?}");
            assert_eq!(seen(&repo.path), theirs, "{self}: nothing of the user's has changed");
        }
        (self.deed.end)(&env, &repo);
        for _ in 0..RESUMES_MAX {
            if end.code != 0 {
                assert_eq!(end.code, 4, "{self}\n{}\n{}\n{}", end.out, end.err, told(&repo));
                end = go_on(&env, &repo, None);
            }
        }
        assert_eq!(end.code, 0, "{self}\n{}\n{}\n{}", end.out, end.err, told(&repo));
        audit(&repo, QUEUE.checks);
        repo.git(&["branch", "--quiet", "-D", "side"]);
        expected.hold(&env, &repo);
    }
}

/// The files of a checkout, with what they hold.
fn seen(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = crate::crash::world::files(folder, &|path| !path.starts_with(folder.join(".git")));
    let mut files: Vec<_> =
        files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap_or_default())).collect();
    files.sort();
    files
}

fn undisturbed() -> Expected {
    let env = TestEnv::new();
    let repo = world(&env);
    let events = env.wattle(&repo.path, &RUN).ok().events().len();
    Expected::of(&repo, events, |repo| _ = audit(repo, QUEUE.checks))
}

#[test]
fn whatever_a_user_is_at_meanwhile_the_run_ends_as_it_would() {
    let expected = undisturbed();
    let cases: Vec<Case> = DEEDS.iter().flat_map(|deed| deed.at.iter().map(move |at| Case { deed, at })).collect();
    let (done, failures) = each(&cases, AT_ONCE, |case| {
        case.run(&expected);
        1
    });
    say(&format!("faults: a user was at {} things in {done} runs; {} ended otherwise", DEEDS.len(), failures.len()));
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn slots_deleted_while_a_run_is_down_are_made_again() {
    let expected = undisturbed();
    for at in ["git.add.started:6", "slot.prepared:3", "git.update-ref.started:4", "slot.settle:2"] {
        let env = TestEnv::new();
        let repo = world(&env);
        let armed = format!("kill={at}");
        drop(env.wattle_with(&repo.path, &[("WATTLE_FAULT", &armed)], &RUN).code(137));
        crate::crash::world::kill_processes(env.root());
        slots(&env).iter().for_each(|slot| std::fs::remove_dir_all(slot).expect("it is there"));
        let mut end = go_on(&env, &repo, None);
        for _ in 0..RESUMES_MAX {
            if end.code == 4 {
                end = go_on(&env, &repo, None);
            }
        }
        assert_eq!(end.code, 0, "{at}\n{}\n{}\n{}", end.out, end.err, told(&repo));
        repo.git(&["branch", "--quiet", "-D", "side"]);
        expected.hold(&env, &repo);
    }
}

#[test]
fn a_target_moved_back_is_landed_on_from_there() {
    let env = TestEnv::new();
    let repo = world(&env);
    let running = env.spawn_with(&repo.path, &[("WATTLE_FAULT", "stop=land.followed:1;stop=land.followed:3")], &RUN);
    let mut back = Vec::new();
    while running.stopped() {
        back.push(repo.git(&["rev-parse", "main"]));
        // All that the landing brought: half of a group would leave a target that is red by itself.
        repo.git(&["reset", "--quiet", "--hard", "main@{1}"]);
        running.signal(rustix::process::Signal::CONT);
    }
    let mut end = running.end();
    for _ in 0..RESUMES_MAX {
        if end.code == 4 {
            end = go_on(&env, &repo, None);
        }
    }
    assert_eq!(end.code, 0, "{}\n{}\n{}", end.out, end.err, told(&repo));
    assert_eq!(back.len(), 2, "it was moved back twice");
    // What was moved back is gone, unless a change that stands on it has brought it along; the tip is a checked one.
    let given = verified(&repo, &journal(&repo), QUEUE.checks);
    assert_eq!(given.first(), Some(&repo.git(&["rev-parse", "main"])));
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    repo.git(&["fsck", "--strict", "--no-dangling"]);
}
