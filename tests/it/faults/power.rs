//! Power cuts. Repository and state lie on an ext4 image behind a loop device; while a run goes on, copies of the image
//! hold what had reached the device so far, no more. Each copy is mounted as after a power cut: what the journal calls
//! landed is in git, git finds no fault, and the run goes on to the same end.
//!
//! The run is stopped at its fault points while the image is copied, so that a copy is of one moment. Root and loop devices
//! are needed; without them the test says that it was skipped.

use std::path::Path;

use super::audit::{audit, journal};
use super::plans::{MANY, Plan, QUEUE, RUN};
use super::say;
use crate::crash::world::files;
use crate::env::{Output, TestEnv, TestRepo};

/// At which passes of which points the power is cut: around everything that has to be on the disk before something else
/// is said or done.
const CUTS: &[(&str, &[usize])] = &[
    ("journal.after", &[3, 9, 15, 21, 27, 33, 39]),
    ("land.between", &[1, 2, 3]),
    ("land.followed", &[1, 2, 3, 4]),
    ("ref.attempt.after", &[1, 3]),
    ("ref.candidate.after", &[2, 4]),
    ("ref.salvage.after", &[1]),
    ("git.update-ref.after", &[7, 19, 31]),
    ("slot.record.after", &[11, 47]),
    ("blob.after", &[5, 17]),
];

/// Times that a user has to mend something after one cut: the locks of the target, HEAD and the index come one by one.
const LOCKS_MAX: usize = 3;

/// The image, mounted while this lives.
struct Disk<'e> {
    env: &'e TestEnv,
}

impl<'e> Disk<'e> {
    fn make(env: &'e TestEnv) {
        for (program, args) in [
            ("truncate", &["-s", "64M", "disk.img"][..]),
            ("mkfs.ext4", &["-q", "-F", "disk.img"][..]),
            ("mkdir", &["disk"][..]),
        ] {
            drop(env.program(program, env.root(), args).ok());
        }
    }

    fn mount(env: &'e TestEnv, image: &str) -> Option<Self> {
        let mounted = env.program("mount", env.root(), &["-o", "loop", image, "disk"]);
        (mounted.code == 0).then_some(Self { env })
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        drop(self.env.program("umount", self.env.root(), &["-l", "disk"]));
    }
}

fn able(env: &TestEnv) -> bool {
    rustix::process::geteuid().is_root()
        && Path::new("/dev/loop-control").exists()
        && ["mkfs.ext4", "mount", "truncate"].iter().all(|program| env.find(program).is_some())
}

fn world<'e>(env: &'e TestEnv, plan: &Plan) -> TestRepo<'e> {
    plan.world_at(env, "disk/repo", "disk/plan.yml")
}

#[test]
fn after_a_power_cut_git_has_what_the_journal_says() {
    let mut env = TestEnv::new();
    let state = env.root().join("disk/state");
    env.set("WATTLE_STATE_DIR", state.to_str().expect("a plain path"));
    if !able(&env) {
        return say("skipped: power cuts need root and loop devices");
    }
    Disk::make(&env);
    let Some(disk) = Disk::mount(&env, "disk.img") else {
        return say("skipped: power cuts need loop devices, and none can be mounted here");
    };
    let repo = world(&env, &QUEUE);
    // All that was there before the run is on the disk; from here on it is the run's own business.
    drop(env.program("sync", env.root(), &["-f", "disk"]).ok());
    let stops = CUTS.iter().flat_map(|(name, passes)| passes.iter().map(move |pass| format!("stop={name}:{pass}")));
    let armed = stops.collect::<Vec<_>>().join(";");
    let mut running = env.spawn_with(&repo.path, &[("WATTLE_FAULT", &armed)], &RUN);
    let mut cuts = Vec::new();
    while running.stopped() {
        let image = format!("cut{}.img", cuts.len());
        drop(env.program("cp", env.root(), &["--sparse=always", "disk.img", &image]).ok());
        cuts.push((image, running.landed()));
        running.signal(rustix::process::Signal::CONT);
    }
    drop(running.end().ok());
    let tree = repo.git(&["ls-tree", "-r", "main"]);
    drop(disk);
    for (image, said) in &cuts {
        let _disk = Disk::mount(&env, image).expect("the copy of an ext4 is one");
        // Every object under a ref is read. (`fsck` also reads the indexes of our slots, which are not synced.)
        repo.git(&["rev-list", "--objects", "--all", "--quiet", "--verify-objects"]);
        let landed: Vec<String> = of_type(&journal(&repo), "landed");
        for commit in said {
            assert!(landed.contains(commit), "{image}: {commit} was said to have landed, and the journal has lost it");
        }
        audit(&repo, QUEUE.checks);
        let mut end = repo.wattle(&["resume", "--json"]);
        if end.code == 5 && end.out.contains("no_run") {
            end = env.wattle(&repo.path, &RUN);
        }
        for _ in 0..LOCKS_MAX {
            if end.code == 4 {
                mended(&env, &repo, &end);
                end = repo.wattle(&["resume", "--json"]);
            }
        }
        drop(end.ok());
        assert_eq!(repo.git(&["ls-tree", "-r", "main"]), tree, "{image}");
        assert_eq!(audit(&repo, QUEUE.checks) + 1, repo.git(&["reflog", "show", "main"]).lines().count(), "{image}");
        repo.git(&["fsck", "--strict", "--no-dangling"]);
        for line in repo.git(&["diff", "--name-only"]).lines() {
            assert_eq!(repo.read(line), "", "{image}: {line} is neither what has landed nor empty");
            repo.git(&["checkout", "--quiet", "--", line]);
        }
        assert_eq!(repo.git(&["status", "--porcelain"]), "", "{image}");
    }
    say(&format!("faults: cut the power at {} moments of a run", cuts.len()));
    assert!(cuts.len() >= 15, "most cuts hit: {}", cuts.len());
}

#[test]
fn after_a_power_cut_every_file_of_a_large_landing_is_there() {
    let mut env = TestEnv::new();
    let state = env.root().join("disk/state");
    env.set("WATTLE_STATE_DIR", state.to_str().expect("a plain path"));
    if !able(&env) {
        return say("skipped: power cuts need root and loop devices");
    }
    Disk::make(&env);
    let Some(disk) = Disk::mount(&env, "disk.img") else {
        return say("skipped: power cuts need loop devices, and none can be mounted here");
    };
    let repo = world(&env, &MANY);
    drop(env.program("sync", env.root(), &["-f", "disk"]).ok());
    let armed = "stop=land.followed:1;stop=land.followed:2;stop=land.followed:3";
    let running = env.spawn_with(&repo.path, &[("WATTLE_FAULT", armed)], &RUN);
    let mut cuts = Vec::new();
    while running.stopped() {
        let image = format!("cut{}.img", cuts.len());
        drop(env.program("cp", env.root(), &["--sparse=always", "disk.img", &image]).ok());
        cuts.push((image, repo.git(&["rev-parse", "main"])));
        running.signal(rustix::process::Signal::CONT);
    }
    drop(running.end().ok());
    let landed = repo.git(&["rev-parse", "main"]);
    drop(disk);
    let mut whole = 0;
    for (image, main) in &cuts {
        let _disk = Disk::mount(&env, image).expect("the copy of an ext4 is one");
        assert_eq!(repo.git(&["rev-parse", "main"]), *main, "{image}");
        // Not what the index says of the files: what is in them.
        drop(env.program("git", &repo.path, &["update-index", "-q", "--really-refresh"]));
        assert_eq!(repo.git(&["status", "--porcelain"]), "", "{image}");
        whole += usize::from(*main == landed);
    }
    say(&format!("faults: cut the power at {} moments of a landing of 401 files", cuts.len()));
    assert!(whole > 0, "the landing is in none of {cuts:?}");
}

/// Does what a user is told after a power cut: a lock in the user's own repository goes, and so does what the cut has made of
/// files of a landing, which no git syncs: they are empty, or what they were before.
#[track_caller]
fn mended(env: &TestEnv, repo: &TestRepo<'_>, end: &Output) {
    let locks = files(&repo.path.join(".git"), &|path| path.extension().is_some_and(|end| end == "lock"));
    let events = end.events();
    let held = events.iter().filter(|event| event["type"] == "landing_held" && event["why"] == "dirty");
    let mut mended = !locks.is_empty();
    for path in held.flat_map(|event| event["paths"].as_array().expect("a list")) {
        let path = path.as_str().expect("a path");
        let now = repo.git(&["hash-object", path]);
        let before = repo.git(&["log", "--format=", "--raw", "--no-abbrev", "-m", "--", path]);
        assert!(
            repo.read(path).is_empty() || before.contains(&now),
            "{path} is neither empty nor of an earlier commit"
        );
        repo.git(&["checkout", "--quiet", "HEAD", "--", path]);
        mended = true;
    }
    assert!(mended, "{}", end.whole());
    for lock in locks {
        let shown = lock.strip_prefix(env.root()).expect("it lies there").display().to_string();
        assert!(end.out.contains(&shown), "{shown} is in the way and is not named: {}", end.whole());
        std::fs::remove_file(lock).expect("nobody holds it");
    }
}

/// The commits that events of a type name.
pub(crate) fn of_type(events: &[serde_json::Value], kind: &str) -> Vec<String> {
    let fit = events.iter().filter(|event| event["type"] == kind);
    fit.map(|event| event["commit"].as_str().expect("a commit").to_owned()).collect()
}
