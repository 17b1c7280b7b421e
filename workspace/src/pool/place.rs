//! One slot's files: making its worktree, proving that it is one of its own, bringing it to a commit.
//!
//! The index is ours, beside the slot, and git reads none of the worktree's configuration; the worktree's own index is a
//! copy, there for whoever works in the slot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::record::{Guard, Record, index_of, path_of};
use crate::capture::copy_with_time;
use crate::fault;
use crate::git::{At, GitError, Run};
use crate::ids::CommitId;
use crate::include;
use crate::paths::{gitdir, shown};
use crate::repo::Repo;
use crate::shape::MARK;
use crate::slot::{Class, PoolError};

/// What a git command that was under way leaves in a worktree's git directory; the next holder must not inherit it.
const UNDER_WAY: &[&str] = &[
    "AUTO_MERGE",
    "BISECT_ANCESTORS_OK",
    "BISECT_EXPECTED_REV",
    "BISECT_LOG",
    "BISECT_NAMES",
    "BISECT_START",
    "BISECT_TERMS",
    "CHERRY_PICK_HEAD",
    "HEAD.lock",
    "MERGE_HEAD",
    "MERGE_MODE",
    "MERGE_MSG",
    "REBASE_HEAD",
    "REVERT_HEAD",
    "SQUASH_MSG",
    "index.lock",
    "rebase-apply",
    "rebase-merge",
    "sequencer",
];

/// A slot's files and git directory.
pub(crate) struct Place<'a> {
    repo: &'a Repo,
    path: PathBuf,
    index: PathBuf,
    store: PathBuf,
    git_dir: Option<PathBuf>,
    class: Class,
}

impl<'a> Place<'a> {
    pub(crate) fn of(repo: &'a Repo, root: &Path, record: &Record) -> Place<'a> {
        Place {
            repo,
            path: path_of(root, record.slot),
            index: index_of(root, record.slot),
            store: repo.store_at(&path_of(root, record.slot)),
            git_dir: record.admin.as_ref().map(|name| admin_dir(repo, name)),
            class: record.class,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn files<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Run {
        let at = At::Files { work_tree: &self.path, index: &self.index };
        self.repo.git().at(at).env("GIT_DIR", &self.store).args(args)
    }

    /// A command on the worktree's own HEAD.
    pub(crate) fn own(&self) -> Option<Run> {
        let git_dir = self.git_dir.as_deref()?;
        Some(self.repo.git().at(At::Worktree { git_dir, work_tree: None }))
    }

    fn unproven(&self, why: impl Into<String>) -> PoolError {
        PoolError::Unproven { path: self.path.clone(), why: why.into() }
    }

    /// Makes the worktree, empty of files, and gives the name of its folder under `<common>/worktrees`.
    pub(crate) fn make(&mut self, base: &CommitId) -> Result<String, PoolError> {
        let _guard = admin_lock(self.repo)?;
        clear_half_made(&self.path)?;
        let path = self.path.to_str().ok_or_else(|| self.unproven("its path is not text"))?;
        // Without a branch there is nothing to track: git even refuses `--no-track` beside `--detach`.
        let add = ["worktree", "add", "--force", "--detach", "--no-checkout"];
        self.repo.common().args(add).args([path, base.as_str()]).run()?;
        let file = self.path.join(".git");
        let git_dir = gitdir(&fs::read(&file).map_err(|e| PoolError::io(&file, e))?);
        let name = git_dir.as_deref().and_then(Path::file_name).and_then(|n| n.to_str());
        let name = name.ok_or_else(|| self.unproven("its .git names no folder"))?.to_owned();
        self.git_dir = Some(admin_dir(self.repo, &name));
        self.repo.mark_shape(&self.path)?;
        Ok(name)
    }

    /// Proves that git, started in the slot, finds the slot and nothing else.
    pub(crate) fn prove(&self) -> Result<(), PoolError> {
        let git_dir = self.git_dir.as_deref().ok_or_else(|| self.unproven("it has no worktree"))?;
        let real = fs::symlink_metadata(&self.path).is_ok_and(|m| m.is_dir());
        if !real || self.path.canonicalize().ok().as_deref() != Some(&self.path) {
            return Err(self.unproven("it is not a folder at its own path"));
        }
        let file = self.path.join(".git");
        let plain = fs::symlink_metadata(&file).is_ok_and(|m| m.is_file());
        let forth = gitdir(&fs::read(&file).unwrap_or_default()).and_then(|p| p.canonicalize().ok());
        if !plain || forth.as_deref() != Some(git_dir) {
            return Err(self.unproven(format!("its .git does not name {}", git_dir.display())));
        }
        let back = fs::read_to_string(git_dir.join("gitdir")).unwrap_or_default();
        if Path::new(back.trim_end()) != file {
            return Err(self.unproven(format!("{} names another worktree", git_dir.display())));
        }
        let args = ["rev-parse", "--show-toplevel"];
        let top = self.repo.git().at(At::Discover { dir: &self.path }).args(args).run()?;
        if Path::new(&top.text()) != self.path {
            return Err(self.unproven(format!("git finds {} there", top.text())));
        }
        Ok(())
    }

    /// What differs from the index: changed, missing and untracked files, ignored ones not.
    pub(crate) fn dirt(&self) -> Result<Vec<String>, PoolError> {
        let args = ["ls-files", "-z", "-m", "-d", "-o", "--exclude-standard", "--directory", "--no-empty-directory"];
        let ran = self.files(args).run()?;
        let mut paths: Vec<_> = ran.fields().map(shown).collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Checks `to` out over whatever is there and proves that nothing else is left but ignored files. What a worker wrote
    /// must be in safety before.
    pub(crate) fn bring(&self, to: &CommitId) -> Result<(), PoolError> {
        // Nobody else works on this index, so a lock on it is that of a killed git.
        forget(&self.index.with_extension("index.lock"))?;
        self.files(["read-tree", "--reset", "-u", to.as_str()]).run()?;
        // A check may clone what it likes and that is thrown away; a worker's nested repository never is.
        let force = if self.class == Class::Check { "-ffdq" } else { "-fdq" };
        self.files(["clean", force]).run()?;
        let left = self.dirt()?;
        if let Some(path) = left.first() {
            return Err(self.unproven(format!("{path} is left after cleaning ({} in all)", left.len())));
        }
        let head = self.own().ok_or_else(|| self.unproven("it has no worktree"))?;
        head.args(["update-ref", "--no-deref", "HEAD", to.as_str()]).run()?;
        self.refresh_own()
    }

    /// Ends the use of a slot whose files are proved to be those of `base`: folders without files go, and what a worker's
    /// git keeps there is made anew. Not if HEAD is on a branch, or elsewhere; then `false`.
    pub(crate) fn tidy(&self, base: &CommitId) -> Result<bool, PoolError> {
        let head = self.git_dir.as_ref().and_then(|dir| fs::read_to_string(dir.join("HEAD")).ok());
        if head.as_deref().map(str::trim_end) != Some(base.as_str()) {
            return Ok(false);
        }
        self.files(["clean", "-fdq"]).run()?;
        self.refresh_own()?;
        Ok(true)
    }

    /// Makes the slot what a new one at `to` would be: no ignored file is left but those of `.worktreeinclude`.
    pub(crate) fn scrub(&self, to: &CommitId) -> Result<(), PoolError> {
        fault::point("slot.scrub");
        self.bring(to)?;
        self.files(["clean", "-ffdxq"]).run()?;
        self.include()
    }

    /// Gives the worktree a fresh copy of our index and takes away what a command under way left.
    fn refresh_own(&self) -> Result<(), PoolError> {
        let Some(git_dir) = &self.git_dir else {
            return Ok(());
        };
        for name in UNDER_WAY {
            forget(&git_dir.join(name))?;
        }
        let (fresh, own) = (git_dir.join("index.wattle"), git_dir.join("index"));
        let copied = fault::fails("slot.index").and_then(|()| copy_with_time(&self.index, &fresh));
        fault::point("slot.index.copied");
        let copied = copied.and_then(|()| fs::rename(&fresh, &own));
        fault::point("slot.index.placed");
        copied.map_err(|e| PoolError::io(&own, e))
    }

    /// Copies what `.worktreeinclude` asks for; a file that cannot be copied is an error that names it.
    pub(crate) fn include(&self) -> Result<(), PoolError> {
        Ok(include::copy(self.repo, &self.path)?)
    }

    /// Forgets the worktree and deletes its files, which are clean. They are moved aside first: what keeps a name in use
    /// must not be half deleted under it.
    pub(crate) fn remove(self, generation: u64) -> Result<(), PoolError> {
        fault::point("slot.remove");
        let aside = self.path.with_extension(format!("gone-{generation}"));
        {
            let _guard = admin_lock(self.repo)?;
            if self.path.exists() {
                fs::rename(&self.path, &aside).map_err(|e| PoolError::io(&self.path, e))?;
                fault::point("slot.aside");
            }
            if self.git_dir.as_ref().is_some_and(|dir| dir.exists()) {
                let path = self.path.to_str().ok_or_else(|| self.unproven("its path is not text"))?;
                self.repo.common().args(["worktree", "remove", "--force", "--force", path]).run()?;
            }
        }
        fault::point("slot.gone");
        forget(&aside)?;
        forget(&self.path.with_extension(MARK))?;
        forget(&self.index)
    }
}

/// Deletes a file or folder that may not exist; of a link, the link.
fn forget(path: &Path) -> Result<(), PoolError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    };
    gone.map_err(|e| PoolError::io(path, e))
}

fn admin_dir(repo: &Repo, name: &str) -> PathBuf {
    repo.common_dir().join("worktrees").join(name)
}

/// Every `git worktree` command of ours runs under this: run in parallel, they read each other's half-made folders.
fn admin_lock(repo: &Repo) -> Result<Guard, PoolError> {
    Guard::take(&repo.state_dir().join("worktrees.lock"))
}

/// Removes what a killed `worktree add --no-checkout` leaves: a folder with a `.git` file at most. Anything else there is
/// not ours to remove, and git will refuse the path.
fn clear_half_made(path: &Path) -> Result<(), PoolError> {
    let names: Vec<_> = match fs::read_dir(path) {
        Ok(entries) => entries.filter_map(Result::ok).map(|e| e.file_name()).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(PoolError::io(path, e)),
    };
    if names.iter().any(|n| n != ".git") {
        return Ok(());
    }
    if !names.is_empty() {
        let file = path.join(".git");
        fs::remove_file(&file).map_err(|e| PoolError::io(&file, e))?;
    }
    fs::remove_dir(path).map_err(|e| PoolError::io(path, e))
}

impl From<include::IncludeError> for PoolError {
    fn from(e: include::IncludeError) -> PoolError {
        match e {
            include::IncludeError::Git(e) => PoolError::Git(e),
            include::IncludeError::Io { path, source } => PoolError::Io { path, source },
        }
    }
}

/// The commit that HEAD of a slot names; none when a worker left it unborn.
pub(crate) fn head_of(place: &Place<'_>) -> Result<Option<CommitId>, GitError> {
    let Some(run) = place.own() else {
        return Ok(None);
    };
    let ran = run.args(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).accept(1).run()?;
    Ok(if ran.code == 0 { ran.text().parse().ok() } else { None })
}
