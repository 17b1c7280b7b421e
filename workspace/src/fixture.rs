//! Repositories for tests: real git, an environment of its own, nothing inherited.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::git::{self, Run};
use crate::ids::CommitId;
use crate::repo::{OpenOptions, Repo};

/// A home, a state directory and a repository `main` in a temporary folder.
pub(crate) struct Fixture {
    dir: TempDir,
    exe: PathBuf,
}

#[expect(clippy::disallowed_methods, reason = "tests need the search path on which the machine's git is")]
fn search_path() -> OsString {
    std::env::var_os("PATH").expect("tests run with a search path")
}

impl Fixture {
    /// With an empty repository (branch `main`).
    pub(crate) fn empty(init: &[&str]) -> Fixture {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let exe = git::find(&search_path()).expect("tests need git");
        let config = "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n";
        fs::write(dir.path().join("home/.gitconfig"), config).unwrap();
        let f = Fixture { dir, exe };
        f.run(f.dir.path(), &[&["init", "-q"], init, &["main"]].concat());
        f
    }

    /// With one commit of these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Fixture {
        let f = Fixture::empty(&[]);
        f.commit(files);
        f
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    pub(crate) fn main(&self) -> PathBuf {
        self.root().join("main")
    }

    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            state_dir: self.root().join("state"),
            repo_id: None,
            path: search_path(),
            home: Some(self.root().join("home")),
            xdg_config_home: None,
        }
    }

    pub(crate) fn open(&self) -> Repo {
        Repo::open(&self.main(), &self.options()).unwrap()
    }

    fn command(&self, dir: &Path, args: &[&str]) -> Run {
        let dir = dir.to_str().unwrap();
        Run::bare(&self.exe)
            .env("PATH", search_path())
            .env("HOME", self.root().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
            .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
            .env("LC_ALL", "C")
            .args(["-C", dir])
            .args(args)
    }

    /// git as the user would run it, in `dir`.
    pub(crate) fn run(&self, dir: &Path, args: &[&str]) -> String {
        self.command(dir, args).text().unwrap()
    }

    /// git in the main checkout, with something to read.
    pub(crate) fn fed(&self, args: &[&str], input: &str) -> String {
        self.command(&self.main(), args).stdin(input).text().unwrap()
    }

    /// The same for commands that may fail: whether it succeeded.
    pub(crate) fn succeeds(&self, dir: &Path, args: &[&str]) -> bool {
        self.command(dir, args).run().is_ok()
    }

    /// git in the main checkout.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.run(&self.main(), args)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        write(&self.main(), path, text);
    }

    /// Writes files and commits everything in the main checkout.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        for (path, text) in files {
            self.write(path, text);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "files"]);
        self.head()
    }

    pub(crate) fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().unwrap()
    }

    /// A commit on `parent` with these files changed (no text: deleted), made in a worktree that is removed again.
    pub(crate) fn side(&self, parent: &CommitId, files: &[(&str, Option<&str>)]) -> CommitId {
        let dir = self.root().join("side");
        let text = dir.to_str().unwrap().to_owned();
        self.git(&["worktree", "add", "-q", "--detach", &text, parent.as_str()]);
        for (path, content) in files {
            match content {
                Some(content) => write(&dir, path, content),
                None => fs::remove_file(dir.join(path)).unwrap(),
            }
        }
        self.run(&dir, &["add", "-A"]);
        self.run(&dir, &["commit", "-q", "--allow-empty", "-m", "side"]);
        let id = self.run(&dir, &["rev-parse", "HEAD"]).parse().unwrap();
        self.git(&["worktree", "remove", "--force", &text]);
        id
    }

    /// `ls-tree -r` of a revision: the tree as people see it.
    pub(crate) fn tree(&self, rev: &str) -> String {
        self.git(&["ls-tree", "-r", rev])
    }
}

pub(crate) fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
