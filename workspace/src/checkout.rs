//! The user's checkouts: a branch and every checkout of it move together, or not at all.
//!
//! First every checkout is asked whether it could move (`read-tree -n -m -u old new`, which spares every change of the
//! user's or refuses), then the branch moves by compare-and-swap, then the checkouts do. A crash in between leaves a branch
//! at `new` whose checkout is still at `old`; the same call completes that. A checkout that refuses after the branch has
//! moved, because a file was saved in that very moment, puts everything back.

mod ready;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::capture::copy_with_time;
use crate::fault;
use crate::git::claim::Claim;
use crate::git::{At, GitError, Run};
use crate::ids::CommitId;
use crate::paths::{gitdir, path_of_shown, shown};
use crate::refs::{Expect, RefChange, RefError};
use crate::repo::Repo;
use crate::sync::sync;

/// A listing of the worktrees that fails is tried again after these pauses.
const LIST_PAUSES_MS: [u64; 9] = [0, 5, 10, 20, 40, 80, 160, 320, 640];
/// Files of one landing that are synced one by one, at up to 5 ms each. Where there are more, their whole file system is,
/// which costs what is waiting to be written there.
const SYNCED_MAX: usize = 256;

/// Why a checkout cannot be moved now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldWhy {
    /// Changed, staged or untracked files are in the way.
    Dirty,
    /// A rebase is under way.
    RebaseInProgress,
    /// A merge is under way.
    MergeInProgress,
    /// A cherry-pick is under way.
    CherryPickInProgress,
    /// A revert is under way.
    RevertInProgress,
    /// A bisection is under way.
    BisectInProgress,
    /// Another git command works on its index, or one died there.
    IndexLocked,
    /// Its checkout failed after the branch had moved, and everything was put back.
    CheckoutFailed,
}

/// What came of moving a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// It moved, and these checkouts with it.
    Moved {
        /// Where it is checked out.
        checkouts: Vec<PathBuf>,
    },
    /// It did not move, because of a checkout.
    Held {
        /// The checkout.
        worktree: PathBuf,
        /// What stands in the way there, where that is files.
        paths: Vec<String>,
        /// Why.
        why: HeldWhy,
    },
    /// It is not where it was expected to be.
    TargetMoved {
        /// Where it is.
        found: Option<CommitId>,
    },
}

/// What git keeps in a worktree's git directory while a command is under way there.
const UNDER_WAY: &[(&str, HeldWhy)] = &[
    ("rebase-merge", HeldWhy::RebaseInProgress),
    ("rebase-apply", HeldWhy::RebaseInProgress),
    ("MERGE_HEAD", HeldWhy::MergeInProgress),
    ("CHERRY_PICK_HEAD", HeldWhy::CherryPickInProgress),
    ("REVERT_HEAD", HeldWhy::RevertInProgress),
    ("BISECT_START", HeldWhy::BisectInProgress),
    ("index.lock", HeldWhy::IndexLocked),
];
/// While one of these is under way its worktree is detached, and the file names the branch it will return to.
const RETURNS: &[(&str, HeldWhy)] = &[
    ("rebase-merge/head-name", HeldWhy::RebaseInProgress),
    ("rebase-apply/head-name", HeldWhy::RebaseInProgress),
    ("BISECT_START", HeldWhy::BisectInProgress),
];

/// One checkout of a branch.
#[derive(Debug)]
struct Checkout<'a> {
    repo: &'a Repo,
    path: PathBuf,
    git_dir: PathBuf,
}

/// How a checkout stands to a move.
enum Stand {
    /// It can move.
    Ready,
    /// It has moved already.
    Done,
    /// It cannot.
    Held(Vec<String>, HeldWhy),
}

impl Repo {
    /// Every worktree in which the branch (short name) is checked out; none when git cannot tell.
    pub fn checkouts_of(&self, branch: &str) -> Vec<PathBuf> {
        let listed = self.worktrees().unwrap_or_else(|e| {
            tracing::warn!(error = %e, "worktrees cannot be listed");
            Vec::new()
        });
        let full = format!("refs/heads/{branch}");
        listed.into_iter().filter(|(_, at)| *at == Some(full.clone())).map(|(path, _)| path).collect()
    }

    /// Every branch (full name) that is checked out in a worktree, with one of those; none when git cannot tell.
    pub fn branches_checked_out(&self) -> std::collections::BTreeMap<String, PathBuf> {
        let listed = self.worktrees().unwrap_or_else(|e| {
            tracing::warn!(error = %e, "worktrees cannot be listed");
            Vec::new()
        });
        listed.into_iter().filter_map(|(path, at)| Some((at?, path))).collect()
    }

    /// Moves the branch (short name) from `old` to `new`, and every checkout of it, or nothing. When the branch is at `new`
    /// already, completes checkouts that are still at `old`. Nothing of the user's is reset, stashed or cleaned.
    pub fn advance(&self, branch: &str, old: &CommitId, new: &CommitId, reason: &str) -> Result<Advance, GitError> {
        let name = format!("refs/heads/{branch}");
        let found = self.read_ref(&name)?;
        let moved = found.as_ref() == Some(new);
        if !moved && found.as_ref() != Some(old) {
            return Ok(Advance::TargetMoved { found });
        }
        let (mut checkouts, mut pending) = (Vec::new(), Vec::new());
        let worktrees = match self.worktrees_by_files() {
            _ if self.surely_nowhere(branch) => Vec::new(),
            Some(worktrees) => worktrees,
            None => self.worktrees()?,
        };
        for (worktree, at) in worktrees {
            // Not there now (deleted, or on a medium that is not mounted): nothing that we could move or ask.
            let Some(git_dir) = self.git_dir_of(&worktree) else {
                continue;
            };
            let checkout = Checkout { repo: self, path: worktree, git_dir };
            if at.as_deref() != Some(&name) {
                if let Some(why) = checkout.returns_to(branch) {
                    return Ok(Advance::Held { worktree: checkout.path, paths: Vec::new(), why });
                }
                continue;
            }
            checkouts.push(checkout.path.clone());
            match checkout.stand(old, new, moved)? {
                Stand::Ready => pending.push(checkout),
                // Whoever moved it may have died before it was on the disk.
                Stand::Done => checkout.sync(old, new)?,
                Stand::Held(paths, why) => {
                    return Ok(Advance::Held { worktree: checkout.path, paths, why });
                }
            }
        }
        // The points of a landing that has files to move: a branch that is checked out nowhere has none of them.
        let point = |name| if pending.is_empty() { fault::point("land.nowhere") } else { fault::point(name) };
        point("land.asked");
        if !moved {
            let change = RefChange { name, new: Some(new.clone()), old: Expect::Is(old.clone()) };
            match self.update_refs(std::slice::from_ref(&change), reason) {
                Ok(()) => {}
                Err(RefError::Moved { found, .. }) => return Ok(Advance::TargetMoved { found }),
                Err(RefError::Git(e)) => return Err(e),
                Err(e @ RefError::Occupied { .. }) => return Err(refused(&e)),
            }
            point("land.between");
            return self.follow(pending, checkouts, old, new, Some(branch));
        }
        self.follow(pending, checkouts, old, new, None)
    }

    /// Moves the files of the checkouts after their branch; `undo` names the branch that this call has moved.
    fn follow(
        &self,
        pending: Vec<Checkout<'_>>,
        checkouts: Vec<PathBuf>,
        old: &CommitId,
        new: &CommitId,
        undo: Option<&str>,
    ) -> Result<Advance, GitError> {
        for (n, checkout) in pending.iter().enumerate() {
            fault::point("land.checkout");
            let done = match undo {
                Some(_) => checkout.switch(old, new),
                None => checkout.complete(old, new),
            };
            let Err(e) = done else { continue };
            let GitError::Failed { stderr, .. } = &e else {
                return Err(e);
            };
            let paths = named_paths(stderr);
            if undo.is_some() && checkout.is_cut_off(old, new) {
                // As on a full disk: what is written there is ours, and goes on from where it is, like after a crash.
                return Err(e);
            }
            // What completes an earlier landing has nothing to put back.
            if let Some(branch) = undo {
                for done in &pending[..n] {
                    done.switch(new, old)?;
                }
                let back = RefChange {
                    name: format!("refs/heads/{branch}"),
                    new: Some(old.clone()),
                    old: Expect::Is(new.clone()),
                };
                match self.update_refs(&[back], "wattle: a checkout refused, landing undone") {
                    Ok(()) => {}
                    Err(RefError::Git(e)) => return Err(e),
                    Err(e) => return Err(refused(&e)),
                }
            }
            let worktree = checkout.path.clone();
            return Ok(Advance::Held { worktree, paths, why: HeldWhy::CheckoutFailed });
        }
        if !pending.is_empty() {
            fault::point("land.followed");
        }
        Ok(Advance::Moved { checkouts })
    }

    /// Whether the files say beyond doubt that no worktree has the branch checked out or will return to it. Anything
    /// unusual is doubt, and then git is asked.
    fn surely_nowhere(&self, branch: &str) -> bool {
        let common = self.common_dir();
        // There the HEAD of every worktree lies in the table.
        if common.join("reftable").exists() {
            return false;
        }
        let full = format!("ref: refs/heads/{branch}");
        // A link is the oldest form of a HEAD, and its text would be a commit's.
        let elsewhere = |git_dir: &Path| {
            let head = git_dir.join("HEAD");
            let file = head.symlink_metadata().is_ok_and(|m| m.is_file());
            let text = if file { fs::read_to_string(head).ok() } else { None };
            let away = RETURNS.iter().all(|(name, _)| !git_dir.join(name).exists());
            away && text.is_some_and(|text| text.trim_end() != full && !text.trim().is_empty())
        };
        if !self.is_bare() && !elsewhere(common) {
            return false;
        }
        match fs::read_dir(common.join("worktrees")) {
            Ok(entries) => entries.into_iter().all(|entry| entry.is_ok_and(|entry| elsewhere(&entry.path()))),
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Every worktree with a checkout, and the full name of the branch in it.
    fn worktrees(&self) -> Result<Vec<(PathBuf, Option<String>)>, GitError> {
        let list = || self.common().args(["worktree", "list", "--porcelain", "-z"]).run();
        let mut ran = list();
        // It dies on a worktree that somebody is just adding, ourselves or the user: that takes milliseconds, on a busy
        // machine a moment more.
        for pause in LIST_PAUSES_MS {
            if ran.is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(pause));
            ran = list();
        }
        let ran = ran?;
        let mut found = Vec::new();
        for (n, block) in blocks(&ran.stdout).enumerate() {
            let line = |key: &str| block.iter().find_map(|l| l.strip_prefix(key.as_bytes()));
            let Some(path) = line("worktree ").map(|path| PathBuf::from(OsStr::from_bytes(path))) else {
                continue;
            };
            if block.contains(&&b"bare"[..]) {
                continue;
            }
            // git derives the first one from the name of the git directory, wherever its checkout really is.
            let path = self.main_worktree().filter(|_| n == 0).map_or(path, Path::to_owned);
            found.push((path, line("branch ").map(|name| String::from_utf8_lossy(name).into_owned())));
        }
        Ok(found)
    }

    /// The git directory of a worktree, by its `.git`; none if the worktree is not there.
    fn git_dir_of(&self, worktree: &Path) -> Option<PathBuf> {
        if self.main_worktree() == Some(worktree) {
            return worktree.is_dir().then(|| self.common_dir().to_owned());
        }
        let dot = worktree.join(".git");
        if dot.is_dir() {
            return dot.canonicalize().ok();
        }
        let named = gitdir(&fs::read(&dot).ok()?)?;
        worktree.join(named).canonicalize().ok()
    }
}

/// The worktrees of a listing, each as its lines: an empty line ends one.
fn blocks(listing: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let lines: Vec<&[u8]> = listing.split(|b| *b == 0).collect();
    let blocks: Vec<Vec<&[u8]>> = lines.split(|line| line.is_empty()).map(<[_]>::to_vec).collect();
    blocks.into_iter().filter(|block| !block.is_empty())
}

fn refused(e: &RefError) -> GitError {
    GitError::Output { command: "git update-ref --stdin".to_owned(), what: e.to_string() }
}

impl Checkout<'_> {
    fn git<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Run {
        let at = At::Worktree { git_dir: &self.git_dir, work_tree: Some(&self.path) };
        self.repo.git().at(at).args(args)
    }

    /// The same, of a command that locks the checkout's index.
    fn locking<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Run {
        self.git(args).locks(vec![self.git_dir.join("index.lock")])
    }

    /// Why a worktree that has no branch now will come back to this one.
    fn returns_to(&self, branch: &str) -> Option<HeldWhy> {
        let full = format!("refs/heads/{branch}");
        RETURNS.iter().find_map(|(file, why)| {
            let text = fs::read_to_string(self.git_dir.join(file)).ok()?;
            [branch, &full].contains(&text.trim_end()).then_some(*why)
        })
    }

    /// Whether the checkout can move from `old` to `new`; with `moved` its branch has moved before, and only a checkout
    /// whose index is still at `old` is behind.
    fn stand(&self, old: &CommitId, new: &CommitId, moved: bool) -> Result<Stand, GitError> {
        let changed = || self.repo.changed_paths(&self.repo.tree_of(old)?, &self.repo.tree_of(new)?);
        if moved {
            let changed = changed()?;
            let staged = |commit: &CommitId| -> Result<bool, GitError> {
                let differing = self.differing(&["--cached", commit.as_str()])?;
                Ok(differing.is_disjoint(&changed))
            };
            if !staged(old)? || staged(new)? {
                return Ok(Stand::Done);
            }
        }
        let under_way = UNDER_WAY.iter().find(|(name, _)| self.git_dir.join(name).exists());
        if let Some((name, why)) = under_way {
            let paths = if *why == HeldWhy::IndexLocked { vec![self.shown(name)] } else { Vec::new() };
            return Ok(Stand::Held(paths, *why));
        }
        if moved {
            let changed = changed()?;
            // What was cut off will have been written by then.
            let index = self.index_with_what_is_done(new, &changed, &self.cut_off(new, &changed)?)?;
            let run = self.git(["read-tree", "-n", "-m", "-u", old.as_str(), new.as_str()]);
            if run.env("GIT_INDEX_FILE", &index.path).accept(128).run()?.code == 0 {
                return Ok(Stand::Ready);
            }
        }
        if !moved && self.is_surely_ready(old, new)? {
            return Ok(Stand::Ready);
        }
        let dry_run = || self.locking(["read-tree", "-n", "-m", "-u", old.as_str(), new.as_str()]).accept(128).run();
        if dry_run()?.code == 0 {
            return Ok(Stand::Ready);
        }
        // Files that were only touched are not changed; the dry run takes them for it until the index is refreshed.
        let refresh = self.locking(["update-index", "-q", "--refresh"]).accept(128).run()?;
        let dry = dry_run()?;
        if dry.code == 0 {
            return Ok(Stand::Ready);
        }
        if dry.stderr.contains("index.lock") {
            return Ok(Stand::Held(vec![self.shown("index.lock")], HeldWhy::IndexLocked));
        }
        let mut paths: BTreeSet<String> = named_paths(&dry.stderr).into_iter().collect();
        // git stops at the first path in the way; the user wants all.
        paths.extend(self.differing(&[old.as_str()])?.intersection(&changed()?).cloned());
        if paths.is_empty() {
            tracing::debug!(refresh = %refresh.stderr, "a checkout refuses without naming a path");
            return Err(dry.failed());
        }
        Ok(Stand::Held(paths.into_iter().collect(), HeldWhy::Dirty))
    }

    /// Whether a switch has failed on the way, by no fault of what was there: all that it met is of `old` or of `new`.
    fn is_cut_off(&self, old: &CommitId, new: &CommitId) -> bool {
        match self.stand(old, new, true) {
            Ok(Stand::Ready | Stand::Done) | Err(_) => true,
            Ok(Stand::Held(..)) => false,
        }
    }

    /// Files that begin as those of `new` do and end before them: what was being written when the disk was full, or before a
    /// crash. Every byte of such a file is in `new`, so that nothing is lost where it is written again. Of a file that a
    /// filter converts nothing can be said here; it is its user's to look at.
    fn cut_off(&self, new: &CommitId, changed: &BTreeSet<String>) -> Result<BTreeSet<String>, GitError> {
        let tree = self.repo.tree_of(new)?;
        let mut found = BTreeSet::new();
        for path in changed {
            let file = self.path.join(path_of_shown(path));
            let Some(meta) = file.symlink_metadata().ok().filter(fs::Metadata::is_file) else { continue };
            let Some(whole) = self.repo.read_file(&tree, path)? else { continue };
            if meta.len() < whole.len() as u64 && fs::read(&file).is_ok_and(|begun| whole.starts_with(&begun)) {
                found.insert(path.clone());
            }
        }
        Ok(found)
    }

    fn shown(&self, name: &str) -> String {
        self.git_dir.join(name).display().to_string()
    }

    /// The tracked paths in which the files, or with `--cached` the index, differ from a commit.
    fn differing(&self, args: &[&str]) -> Result<BTreeSet<String>, GitError> {
        let diff = ["diff-index", "-z", "--name-only", "--no-renames", "--ignore-submodules=dirty"];
        let ran = self.git(diff.iter().chain(args).copied()).run()?;
        Ok(ran.fields().map(shown).collect())
    }

    fn switch(&self, from: &CommitId, to: &CommitId) -> Result<(), GitError> {
        self.locking(["read-tree", "-m", "-u", from.as_str(), to.as_str()]).run()?;
        self.sync(from, to)
    }

    /// Brings to the disk what a switch has written, files first. git does not: a power cut after the ref is there would
    /// leave an old index, which shows what has landed as staged reverts.
    fn sync(&self, from: &CommitId, to: &CommitId) -> Result<(), GitError> {
        self.sync_files(from, to)?;
        // A checkout without files may have none.
        let index = Some(self.git_dir.join("index")).filter(|index| index.is_file());
        sync(index.as_slice())
    }

    fn sync_files(&self, from: &CommitId, to: &CommitId) -> Result<(), GitError> {
        let changed = self.repo.changed_paths(&self.repo.tree_of(from)?, &self.repo.tree_of(to)?)?;
        if changed.len() > SYNCED_MAX && cfg!(target_os = "linux") {
            return sync_all_of(&self.path).map_err(|e| GitError::io(&self.path, e));
        }
        let files = changed.iter().map(|path| self.path.join(path_of_shown(path)));
        // What is gone, a link or a folder has no bytes of its own.
        let files = files.filter(|path| path.symlink_metadata().is_ok_and(|is| is.is_file()));
        sync(&files.collect::<Vec<_>>())
    }

    /// Completes a switch that was cut off: its files may be written already, its index not. The index is replaced at the
    /// end, whole, so that another cut leaves what this one found.
    fn complete(&self, old: &CommitId, new: &CommitId) -> Result<(), GitError> {
        let changed = self.repo.changed_paths(&self.repo.tree_of(old)?, &self.repo.tree_of(new)?)?;
        for path in self.cut_off(new, &changed)? {
            let file = self.path.join(path_of_shown(&path));
            fs::remove_file(&file).map_err(|e| GitError::io(&file, e))?;
        }
        let index = self.index_with_what_is_done(new, &changed, &BTreeSet::new())?;
        let run = self.git(["read-tree", "-m", "-u", old.as_str(), new.as_str()]);
        run.env("GIT_INDEX_FILE", &index.path).run()?;
        self.sync_files(old, new)?;
        let lock = self.git_dir.join("index.lock");
        let claim = Claim::make(&self.repo.git().claims(), std::slice::from_ref(&lock));
        let claim = claim.map_err(|e| GitError::io(&lock, e))?;
        let placed = fs::File::create_new(&lock).and_then(|_| {
            copy_with_time(&index.path, &lock)?;
            fs::File::open(&lock)?.sync_all()?;
            fault::point("land.completing");
            fs::rename(&lock, self.git_dir.join("index"))?;
            fs::File::open(&self.git_dir)?.sync_all()
        });
        drop(claim);
        placed.map_err(|e| GitError::io(&lock, e))
    }

    /// A copy of the checkout's index in which those of the changed paths are at `new` whose files are, or will be.
    fn index_with_what_is_done(
        &self,
        new: &CommitId,
        changed: &BTreeSet<String>,
        will_be: &BTreeSet<String>,
    ) -> Result<IndexCopy, GitError> {
        let io = |e| GitError::io(&self.git_dir, e);
        let dir = tempfile::Builder::new().prefix("index-").tempdir_in(self.repo.state_dir()).map_err(io)?;
        let (path, at_new) = (dir.path().join("index"), dir.path().join("new"));
        copy_with_time(&self.git_dir.join("index"), &path).map_err(io)?;
        let run = |args: &[&str], index: &Path| self.git(args.iter().copied()).env("GIT_INDEX_FILE", index);
        run(&["update-index", "-q", "--refresh"], &path).accept(1).run()?;
        run(&["read-tree", new.as_str()], &at_new).run()?;
        // A fresh index knows no file times; until it does, every file counts as changed.
        run(&["update-index", "-q", "--refresh"], &at_new).accept(1).run()?;
        let undone = run(&["diff-files", "-z", "--name-only"], &at_new).run()?;
        let undone: BTreeSet<&[u8]> = undone.fields().collect();
        let mut input = Vec::new();
        for entry in run(&["ls-files", "-z", "--stage"], &at_new).run()?.fields() {
            // `mode id stage<TAB>path`, which is what --index-info reads.
            let name = entry.splitn(2, |b| *b == b'\t').nth(1).unwrap_or_default();
            let path = shown(name);
            if changed.contains(&path) && (!undone.contains(name) || will_be.contains(&path)) {
                input.extend_from_slice(entry);
                input.push(0);
            }
        }
        run(&["update-index", "-z", "--index-info"], &path).stdin(input).run()?;
        run(&["update-index", "-q", "--refresh"], &path).accept(1).run()?;
        Ok(IndexCopy { path, _dir: dir })
    }
}

/// Brings everything to the disk that waits to be written to the file system of a folder.
#[cfg(target_os = "linux")]
fn sync_all_of(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(folder)?)?)
}

/// There each file is synced instead.
#[cfg(not(target_os = "linux"))]
fn sync_all_of(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// A private copy of a checkout's index.
struct IndexCopy {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

/// The paths that git's refusals name: each between the outer quotes of a line.
fn named_paths(stderr: &str) -> Vec<String> {
    let quoted = |line: &str| {
        let (from, to) = (line.find('\'')?, line.rfind('\'')?);
        (from < to).then(|| line[from + 1..to].to_owned())
    };
    let refusals = stderr.lines().filter(|l| l.starts_with("error:") || l.starts_with("fatal:"));
    refusals.filter_map(quoted).collect()
}

#[cfg(test)]
mod tests;
