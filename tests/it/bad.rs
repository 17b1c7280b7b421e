//! Bad input and bad days: each has a defined outcome, an exit code, a message with its mend, and loses nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod checkout;
mod json;
mod meanwhile;
mod places;
mod plans;
mod runs;
mod steps;

use std::sync::LazyLock;

use regex::Regex;

use crate::env::{Output, TestRepo};

/// A plan that changes `a` and lands without checks.
pub(crate) const ONE: &str = "\
version: 1
task: change a
checks: []
steps:
  - { id: one, touches: [a], run: echo 2 > a }
";

/// What differs from one run of a test to the next: run ids, repository ids, object names, times, processes.
static CHANGING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\br0[0-9a-z]{13}\b", "RUN"),
        (r"\brepos/[0-9a-f]{20}\b", "repos/ID"),
        (r"\b[0-9a-f]{40}\b", "COMMIT"),
        (r"\b[0-9a-f]{12}\b", "COMMIT"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
        (r"\bpid \d+ on \S+,", "pid PID on HOST,"),
        (r"\bprocess \d+ on \S+ ", "process PID on HOST "),
        (r"\(\d+ ms\)", "(MS)"),
        (r"\b\d+ bytes\b", "N bytes"),
    ]
    .into_iter()
    .map(|(pattern, name)| (Regex::new(pattern).expect("a literal"), name))
    .collect()
});

/// Text without what differs from one run of a test to the next.
pub(crate) fn scrub(text: &str) -> String {
    CHANGING.iter().fold(text.to_owned(), |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned())
}

impl Output {
    /// Everything it printed, for a snapshot.
    pub(crate) fn shown(&self) -> String {
        scrub(&self.whole())
    }
}

/// Everything of a user's repository that Wattle has no business with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Theirs {
    files: Vec<(String, Vec<u8>)>,
    head: Vec<u8>,
    index: Option<Vec<u8>>,
    config: Vec<u8>,
    hooks: Vec<(String, Vec<u8>)>,
    stash: Option<Vec<u8>>,
}

impl Theirs {
    /// What is there now. Reads files only: git itself would refresh the index.
    pub(crate) fn of(repo: &TestRepo<'_>) -> Self {
        let git = repo.path.join(".git");
        Self {
            files: files(&repo.path, &[".git"]),
            head: std::fs::read(git.join("HEAD")).unwrap(),
            index: std::fs::read(git.join("index")).ok(),
            config: std::fs::read(git.join("config")).unwrap(),
            hooks: files(&git.join("hooks"), &[]),
            stash: std::fs::read(git.join("refs/stash")).ok(),
        }
    }

    /// The same, but for the files (and so the index) that a landing has changed.
    pub(crate) fn but(mut self, changed: &[&str]) -> Self {
        self.files.retain(|(path, _)| !changed.contains(&path.as_str()));
        self.index = None;
        self
    }
}

/// Every file below a folder with its bytes, in order.
fn files(root: &std::path::Path, but: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if but.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else {
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The refs of a repository that are not Wattle's own.
pub(crate) fn their_refs(repo: &TestRepo<'_>) -> String {
    let all = repo.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
    all.lines()
        .filter(|line| !line.contains("wattle/r0") && !line.contains("refs/wattle/"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs a plan from standard input.
pub(crate) fn run(env: &crate::env::TestEnv, repo: &TestRepo<'_>, plan: &str, more: &[&str]) -> Output {
    let args: Vec<&str> = ["run", "-f", "-"].iter().chain(more).copied().collect();
    env.wattle_fed(&repo.path, &args, plan)
}
