//! One slot's files: making its worktree, proving that it is one of its own, bringing it to a commit.
//!
//! The index is ours, beside the slot, and git reads none of the worktree's configuration; the worktree's own index is a
//! copy, there for whoever works in the slot.
//!
//! There are two ways to another commit. `shift` touches only what differs between the index and the commit, and refuses
//! to overwrite what is not as the index says; whether anything else is left is then for `changed` to tell, the one walk
//! over all files. `bring` resets and cleans, and is for slots that are not as their index says.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::print::{difference, print_of};
use super::record::{Guard, Record, index_of, path_of};
use super::trash::ASIDE;
use crate::capture::copy_with_time;
use crate::config::write_whole;
use crate::fault;
use crate::git::{At, GitError, Run};
use crate::ids::CommitId;
use crate::include;
use crate::paths::{gitdir, shown};
use crate::repo::Repo;
use crate::scan::{Scan, ignored, scan};
use crate::shape::MARK;
use crate::slot::{Class, PoolError};
use crate::walk::{Walked, walk};

/// An index has a header of 12 bytes and ends with a checksum of 20 at least.
const INDEX_BYTES_MIN: u64 = 32;
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

/// What a walk over a slot's files found.
pub(crate) struct Look {
    /// Something differs from the index, or is not in it and not ignored.
    pub(crate) changed: bool,
    /// What git's own listings leave out.
    pub(crate) walked: Walked,
}

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
    fn own(&self) -> Option<Run> {
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
        // Twice `--force`: the path is ours, also where a killed git has left it locked.
        let add = ["worktree", "add", "--force", "--force", "--detach", "--no-checkout"];
        self.repo.common().args(add).args([path, base.as_str()]).run()?;
        let file = self.path.join(".git");
        let git_dir = gitdir(&fs::read(&file).map_err(|e| PoolError::io(&file, e))?);
        let name = git_dir.as_deref().and_then(Path::file_name).and_then(|n| n.to_str());
        let name = name.ok_or_else(|| self.unproven("its .git names no folder"))?.to_owned();
        self.git_dir = Some(admin_dir(self.repo, &name));
        self.repo.mark_shape(&self.path)?;
        Ok(name)
    }

    /// Keeps git from forgetting the worktree while its files cannot be seen.
    pub(crate) fn lock(&self, why: &str) -> Result<(), PoolError> {
        let file = self.git_dir.as_deref().ok_or_else(|| self.unproven("it has no worktree"))?.join("locked");
        fs::write(&file, why).map_err(|e| PoolError::io(&file, e))
    }

    /// Writes what `worktree add` had written and a power cut has emptied: git does not sync these files, and without them
    /// not even salvage works. Nothing that says anything is touched.
    pub(crate) fn mend(&self, base: &CommitId) -> Result<(), PoolError> {
        let Some(git_dir) = self.git_dir.as_ref().filter(|dir| dir.is_dir() && self.path.is_dir()) else {
            return Ok(());
        };
        let there = self.path.join(".git");
        for (file, text) in [
            (git_dir.join("commondir"), "../..".to_owned()),
            (git_dir.join("gitdir"), there.display().to_string()),
            (git_dir.join("HEAD"), base.to_string()),
            (there, format!("gitdir: {}", git_dir.display())),
        ] {
            if fs::metadata(&file).is_ok_and(|meta| meta.len() > 0) {
                continue;
            }
            tracing::warn!(file = %file.display(), "written again: it was empty");
            write_whole(&file, format!("{text}\n").as_bytes()).map_err(|e| PoolError::io(&file, e))?;
        }
        // Without ours the files are read afresh. The worktree's own is a copy of it, which the user's `git fsck` reads, too.
        for index in [&self.index, &git_dir.join("index")] {
            if fs::metadata(index).is_ok_and(|meta| meta.len() < INDEX_BYTES_MIN) {
                forget(index)?;
            }
        }
        Ok(())
    }

    /// Proves that git, started in the slot, finds the slot and nothing else.
    pub(crate) fn prove(&self) -> Result<(), PoolError> {
        self.prove_links()?;
        let args = ["rev-parse", "--show-toplevel"];
        let top = self.repo.git().at(At::Discover { dir: &self.path }).args(args).run()?;
        if Path::new(&top.text()) != self.path {
            return Err(self.unproven(format!("git finds {} there", top.text())));
        }
        Ok(())
    }

    /// The files by which git finds a slot: each names the other. With them as they were when git was asked, and nothing
    /// else in the git folder that could send it elsewhere (`prove_print`), it need not be asked again.
    pub(crate) fn prove_links(&self) -> Result<(), PoolError> {
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
        Ok(())
    }

    /// What the slot's git folder is like, to be compared when the next holder comes.
    pub(crate) fn print(&self) -> Result<String, PoolError> {
        let git_dir = self.git_dir.as_deref().ok_or_else(|| self.unproven("it has no worktree"))?;
        print_of(&self.path, git_dir).map_err(|e| PoolError::io(git_dir, e))
    }

    /// Proves that nobody is at work in the slot's git folder, and that there is no configuration, hook or other thing in
    /// it that was not there when it was made.
    pub(crate) fn prove_print(&self, before: &str) -> Result<(), PoolError> {
        let now = self.print()?;
        if now == before {
            return Ok(());
        }
        let why = format!("its git folder is not as it was made: {}", difference(before, &now));
        Err(PoolError::Altered { path: self.path.clone(), why })
    }

    /// Whether any file differs from what this index says, or is not in it (ignored ones do not count), and what git's own
    /// listings leave out: one walk. What the walk cannot vouch for, git is asked about.
    pub(crate) fn look(&self, index: &Path) -> Result<Look, PoolError> {
        let Some(scan) = self.scan(index)? else {
            return Ok(Look { changed: self.changed_says_git(index)?, walked: walk(&self.path)? });
        };
        let changed = !self.vouched_for(&scan)? && self.changed_says_git(index)?;
        Ok(Look { changed, walked: scan.walked })
    }

    /// Whether any file differs from what this index says, or is not in it.
    pub(crate) fn changed(&self, index: &Path) -> Result<bool, PoolError> {
        let vouched = self.scan(index)?.is_some_and(|scan| matches!(self.vouched_for(&scan), Ok(true)));
        Ok(!vouched && self.changed_says_git(index)?)
    }

    /// Compares the files with an index in process, if it is of a kind for that.
    fn scan(&self, index: &Path) -> Result<Option<Scan>, PoolError> {
        Ok(scan(&self.path, index, self.repo.id_bytes())?)
    }

    /// Whether all files are as the index says, and every other one is ignored.
    fn vouched_for(&self, scan: &Scan) -> Result<bool, PoolError> {
        Ok(scan.doubtful.is_empty() && ignored(self.files([]), &scan.untracked)?.len() == scan.untracked.len())
    }

    /// The same, asked of git, which walks over all files itself.
    fn changed_says_git(&self, index: &Path) -> Result<bool, PoolError> {
        let run = self.repo.git().at(At::Files { work_tree: &self.path, index }).env("GIT_DIR", &self.store);
        match run.args(["add", "--all", "--sparse", "--dry-run"]).run() {
            Ok(ran) => Ok(!ran.stdout.is_empty()),
            // What cannot be added (an empty repository in it) was not there before.
            Err(GitError::Failed { .. }) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    /// Brings index and files to `to` by what differs between the two. Nothing is overwritten that is not as the index
    /// says: then it is refused, which is `false`.
    pub(crate) fn shift(&self, to: &CommitId) -> Result<bool, PoolError> {
        forget(&self.index.with_extension("index.lock"))?;
        match self.files(["read-tree", "-m", "-u", to.as_str()]).run() {
            Ok(_) => Ok(true),
            Err(e @ GitError::Failed { .. }) => {
                tracing::debug!(slot = %self.path.display(), reason = %e, "reset instead");
                Ok(false)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The index that tells of the slot's files.
    pub(crate) fn index(&self) -> &Path {
        &self.index
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
        // As a new slot always is; a walk in process costs half of git's two.
        if let Some(scan) = self.scan(&self.index)?
            && scan.walked == Walked::default()
            && self.vouched_for(&scan)?
        {
            return Ok(());
        }
        self.clean()?;
        if !self.changed(&self.index)? {
            return Ok(());
        }
        let left = self.dirt()?;
        let path = left.first().map_or("something", String::as_str);
        Err(self.unproven(format!("{path} is left after cleaning ({} in all)", left.len())))
    }

    /// Gives whoever works in the slot a git state of its own at `base`: HEAD detached there, a fresh copy of our index,
    /// nothing under way.
    pub(crate) fn hand_over(&self, base: &CommitId) -> Result<(), PoolError> {
        self.leave(base)?;
        let git_dir = self.git_dir.as_deref().ok_or_else(|| self.unproven("it has no worktree"))?;
        let (fresh, own) = (git_dir.join("index.wattle"), git_dir.join("index"));
        let copied = fault::fails("slot.index").and_then(|()| copy_with_time(&self.index, &fresh));
        fault::point("slot.index.copied");
        let copied = copied.and_then(|()| fs::rename(&fresh, &own));
        fault::point("slot.index.placed");
        copied.map_err(|e| PoolError::io(&own, e))
    }

    /// Detaches HEAD at a commit, under git's own lock where refs are files; it is nobody's but the slot's, and made again
    /// for every holder, so nothing is synced.
    fn point_head(&self, git_dir: &Path, to: &CommitId) -> Result<(), PoolError> {
        if self.repo.common_dir().join("reftable").exists() {
            let head = self.repo.git().at(At::Worktree { git_dir, work_tree: None });
            head.args(["update-ref", "--no-deref", "HEAD", to.as_str()]).run()?;
            return Ok(());
        }
        let (lock, head) = (git_dir.join("HEAD.lock"), git_dir.join("HEAD"));
        let mut file = File::create_new(&lock).map_err(|e| PoolError::io(&lock, e))?;
        let written = io::Write::write_all(&mut file, format!("{to}\n").as_bytes());
        written.and_then(|()| fs::rename(&lock, &head)).map_err(|e| {
            // On a full disk, say. Nobody would take it away: whoever is to have the slot next need not come.
            let _ = fs::remove_file(&lock);
            PoolError::io(&lock, e)
        })
    }

    /// The commit that HEAD is at, where it is detached and refs are files.
    pub(crate) fn head_file(&self) -> Option<CommitId> {
        let text = fs::read_to_string(self.git_dir.as_ref()?.join("HEAD")).ok()?;
        text.trim_end().parse().ok()
    }

    /// Takes away what a command under way left, as one that was killed does, and detaches HEAD at `base`.
    pub(crate) fn leave(&self, base: &CommitId) -> Result<(), PoolError> {
        let git_dir = self.git_dir.as_deref().ok_or_else(|| self.unproven("it has no worktree"))?;
        UNDER_WAY.iter().try_for_each(|name| forget(&git_dir.join(name)))?;
        if self.head_file().as_ref() != Some(base) {
            self.point_head(git_dir, base)?;
        }
        Ok(())
    }

    /// Removes files and folders that are not in the index, ignored ones left out; folders without files, too, which git
    /// neither stores nor lists.
    pub(crate) fn clean(&self) -> Result<(), PoolError> {
        self.files(["clean", self.force()]).run()?;
        Ok(())
    }

    /// How `clean` is told to clean: a check may clone what it likes and that is thrown away; a worker's nested repository
    /// never is.
    fn force(&self) -> &'static str {
        match self.class {
            Class::Check => "-ffdq",
            Class::Work | Class::Snapshot => "-fdq",
        }
    }

    /// Makes the slot what a new one at `to` would be: no ignored file is left but those of `.worktreeinclude`.
    pub(crate) fn scrub(&self, to: &CommitId) -> Result<(), PoolError> {
        fault::point("slot.scrub");
        self.bring(to)?;
        self.clear_ignored()
    }

    /// Removes every ignored file but those of `.worktreeinclude`, which are copied again.
    pub(crate) fn clear_ignored(&self) -> Result<(), PoolError> {
        self.files(["clean", "-ffdxq"]).run()?;
        self.include()
    }

    /// Copies what `.worktreeinclude` asks for; a file that cannot be copied is an error that names it.
    pub(crate) fn include(&self) -> Result<(), PoolError> {
        Ok(include::copy(self.repo, &self.path)?)
    }

    /// Forgets the worktree and moves its files, which are clean, aside, to be deleted; gives where they are. What keeps a
    /// name in use must not be half deleted under it.
    pub(crate) fn remove(self, generation: u64) -> Result<PathBuf, PoolError> {
        fault::point("slot.remove");
        let name = format!("{}{ASIDE}{generation}", self.path.file_name().unwrap_or_default().to_string_lossy());
        let aside = self.path.with_file_name(name);
        {
            let _guard = admin_lock(self.repo)?;
            if self.path.exists() {
                fs::rename(&self.path, &aside).map_err(|e| PoolError::io(&self.path, e))?;
                fault::point("slot.aside");
            }
            if self.git_dir.as_ref().is_some_and(|dir| dir.exists()) || self.is_registered() {
                let path = self.path.to_str().ok_or_else(|| self.unproven("its path is not text"))?;
                self.repo.common().args(["worktree", "remove", "--force", "--force", path]).run()?;
            }
        }
        fault::point("slot.gone");
        forget(&self.path.with_extension(MARK))?;
        forget(&self.index)?;
        Ok(aside)
    }

    /// Whether git knows a worktree at this path: one whose making ended, and whoever made it died before the name that git
    /// gave it was written down.
    fn is_registered(&self) -> bool {
        let entries = fs::read_dir(self.repo.common_dir().join("worktrees")).into_iter().flatten().flatten();
        let mut texts = entries.filter_map(|entry| fs::read_to_string(entry.path().join("gitdir")).ok());
        texts.any(|text| Path::new(text.trim_end()).parent() == Some(&self.path))
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
    if let Some(commit) = place.head_file() {
        return Ok(Some(commit));
    }
    let Some(run) = place.own() else {
        return Ok(None);
    };
    let ran = run.args(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).accept(1).run()?;
    Ok(if ran.code == 0 { ran.text().parse().ok() } else { None })
}
