//! What has to be true of a repository after a run, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::env::{TestEnv, TestRepo};

/// Numbers that look random and are the same every time (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// A number below a bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// How the undisturbed run ended.
pub(crate) struct Expected {
    /// Tree of the target.
    tree: String,
    /// How often each step has landed.
    pub(crate) landed: BTreeMap<String, usize>,
    /// Number of its events.
    pub(crate) events: usize,
    /// What holds of every value that the target ever had.
    wreck: fn(&TestRepo<'_>),
}

impl Expected {
    /// What a run has left in a repository.
    pub(crate) fn of(repo: &TestRepo<'_>, events: usize, wreck: fn(&TestRepo<'_>)) -> Self {
        Self { tree: repo.git(&["rev-parse", "main^{tree}"]), landed: merges(repo), events, wreck }
    }

    /// Holds another run of the same plan against it.
    #[track_caller]
    pub(crate) fn hold(&self, env: &TestEnv, repo: &TestRepo<'_>) {
        let diff = repo.git(&["diff", "--stat", &self.tree_here(repo), "main^{tree}"]);
        assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), self.tree, "{diff}");
        assert_eq!(merges(repo), self.landed, "one merge for each step that lands");
        let moves = moves(repo);
        let values: BTreeSet<&str> = moves.iter().map(|[commit, ..]| commit.as_str()).collect();
        assert_eq!(moves.len(), values.len(), "the target never comes back to what it was: {moves:?}");
        assert_eq!(landed_events(repo), self.landed, "one event for each step that lands");
        (self.wreck)(repo);
        sound(env, repo);
        tidy(env, repo);
    }

    /// The expected tree, where this repository has it (for a readable difference).
    fn tree_here(&self, repo: &TestRepo<'_>) -> String {
        let known = repo.git(&["cat-file", "--batch-check", "--batch-all-objects"]);
        if known.contains(&self.tree) { self.tree.clone() } else { "main^{tree}".to_owned() }
    }
}

/// The values that the target ever had, newest first: commit, tree and how it came there. A landing that was taken back in
/// the same moment, because a checkout refused it after all, is none.
pub(crate) fn moves(repo: &TestRepo<'_>) -> Vec<[String; 3]> {
    let reflog = repo.git(&["reflog", "show", "main", "--format=%H %T %gs"]);
    let mut lines = reflog.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.ends_with("landing undone") {
            lines.next();
            continue;
        }
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        found.push(std::array::from_fn(|_| words.next().expect("a line of the format")));
    }
    found
}

/// Landing merges of the target by step.
fn merges(repo: &TestRepo<'_>) -> BTreeMap<String, usize> {
    let format = "--format=%P|%(trailers:key=Wattle-Step,valueonly,separator=%x2C)";
    let log = repo.git(&["log", "--first-parent", format, "main"]);
    let mut found = BTreeMap::new();
    for line in log.lines() {
        let (parents, step) = line.split_once('|').expect("a line of the format");
        if step.is_empty() {
            continue;
        }
        assert!(parents.split(' ').count() <= 2, "{step} is a merge, or one commit where they are squashed");
        *found.entry(step.to_owned()).or_default() += 1;
    }
    found
}

fn landed_events(repo: &TestRepo<'_>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for event in repo.wattle(&["log", "--json"]).ok().events() {
        if event["type"] == "landed" {
            *found.entry(event["step"].as_str().expect("a step").to_owned()).or_default() += 1;
        }
    }
    found
}

/// What holds even while the program lies dead: every tree that the target ever had is one that the checks
/// pass, and nothing of the repository is broken.
#[track_caller]
pub(crate) fn wreck(repo: &TestRepo<'_>) {
    for commit in repo.git(&["reflog", "show", "main", "--format=%H"]).lines() {
        let new = |path: &str| repo.git(&["show", &format!("{commit}:{path}")]).contains("new(");
        assert_eq!(new("src/a.rs"), new("src/b.rs"), "{commit} holds a part of the group");
        let shared = repo.git(&["show", &format!("{commit}:shared.txt")]);
        let whole = ["", "one", "one\ntwo", "one\ntwo\nthree"];
        assert!(whole.contains(&shared.as_str()), "{commit}: {shared}");
    }
}

/// Git finds no fault, the checkout is that of its branch, nobody holds a lock, and no process is left.
#[track_caller]
pub(crate) fn sound(env: &TestEnv, repo: &TestRepo<'_>) {
    repo.git(&["fsck", "--strict", "--no-dangling"]);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    let locks = files(&repo.path.join(".git"), &|path| path.extension().is_some_and(|end| end == "lock"));
    assert_eq!(locks, [] as [PathBuf; 0], "locks of git");
    assert_eq!(repo.wattle(&["status", "--json"]).json()["live"], serde_json::Value::Null);
    assert_eq!(processes(env.root()), [] as [String; 0], "processes of the run");
}

/// After `wattle clean` nothing is left but the journal and what it names: work that interrupted attempts left.
#[track_caller]
fn tidy(env: &TestEnv, repo: &TestRepo<'_>) {
    let cleaned = repo.wattle(&["clean", "--json"]).ok().json();
    let kept = cleaned["kept"].as_array().expect("a list").iter();
    let mut kept: Vec<&str> = kept.map(|item| item["name"].as_str().expect("a name")).collect();
    kept.sort_unstable();
    assert_eq!(repo.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)", "refs/heads"]), "refs/heads/main");
    let ours = repo.git(&["for-each-ref", "--sort=refname", "--format=%(refname)", "refs/wattle"]);
    assert_eq!(ours.lines().collect::<Vec<_>>(), kept, "what it keeps it names");
    assert!(kept.iter().all(|name| name.starts_with("refs/wattle/salvage/")), "{kept:?}");
    let slots = files(&env.root().join("state/repos"), &|path| path.ends_with(".git"));
    assert_eq!(slots, [] as [PathBuf; 0], "slots");
    let repos = std::fs::read_dir(env.root().join("state/repos")).expect("a run has been here").flatten();
    let scratch = repos.flat_map(|repo| std::fs::read_dir(repo.path().join("tmp")).into_iter().flatten().flatten());
    let scratch: Vec<PathBuf> = scratch.map(|entry| entry.path()).collect();
    assert_eq!(scratch, [] as [PathBuf; 0], "scratch files");
}

/// Files below a folder that fit.
pub(crate) fn files(folder: &Path, fits: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path, fits));
        } else if fits(&path) {
            found.push(path);
        }
    }
    found
}

/// Processes that work in a folder or were started with it in their environment; none of ours does.
pub(crate) fn processes(folder: &Path) -> Vec<String> {
    let command = |(pid, _)| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    found(folder).into_iter().map(|process| String::from_utf8_lossy(&command(process)).replace('\0', " ")).collect()
}

/// Kills them all, as the end of a session or the system's hunt for memory does.
pub(crate) fn kill_processes(folder: &Path) {
    for (_, pid) in found(folder) {
        // One that has just ended is not an error.
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
    while !found(folder).is_empty() {
        std::thread::yield_now();
    }
}

fn found(folder: &Path) -> Vec<(i32, rustix::process::Pid)> {
    let wanted = folder.to_str().expect("temporary directories have plain names");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        let environ = std::fs::read(path.join("environ")).unwrap_or_default();
        let place = std::fs::read_link(path.join("cwd")).unwrap_or_default();
        if String::from_utf8_lossy(&environ).contains(wanted) || place.starts_with(wanted) {
            found.extend(rustix::process::Pid::from_raw(number).map(|pid| (number, pid)));
        }
    }
    found
}
