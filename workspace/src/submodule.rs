//! Submodules of a slot: repositories of their own below it, made without the network from what the user's repository has
//! of them, and kept from losing anything.
//!
//! A submodule in a slot borrows the objects of the one in `<common>/modules` and has refs, index and configuration of its
//! own, so a worker may commit and check out in it and the user's stays as it is. What a worker commits there is brought
//! into the user's submodule under `refs/wattle/submodule/<commit>` when the step's files are captured, or the commit that
//! names it would name nothing; what a worker leaves uncommitted there is refused and named. Its configuration is ours: it
//! is written anew before any git of ours looks at it, because a filter or a hook in it would run outside every wall.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::git::{At, GitError, Run};
use crate::ids::CommitId;
use crate::lookup::MODE_GITLINK;
use crate::paths::{path_of_shown, shown};
use crate::repo::Repo;

/// Submodules in submodules in submodules: people use two levels. What is deeper stays empty.
const DEPTH_MAX: u32 = 8;
/// Where what workers commit in a submodule is kept.
const KEPT: &str = "refs/wattle/submodule";
/// A submodule's configuration in a slot. Everything else comes from the user's, as admitted.
const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tbare = false\n";
const CONFIG_SHA256: &str =
    "[core]\n\trepositoryformatversion = 1\n\tbare = false\n[extensions]\n\tobjectformat = sha256\n";
/// Digits of an id in a repository of the usual format.
const SHA1_HEX: usize = 40;

/// A submodule that a commit names.
struct Link {
    /// Its place in the worktree.
    path: PathBuf,
    /// The user's git directory of it.
    source: PathBuf,
    /// The commit to check out.
    commit: CommitId,
}

/// One level: the repository whose submodules are meant, and its worktree in the slot.
struct Level<'a> {
    repo: &'a Repo,
    /// The user's git directory of it.
    source: &'a Path,
    /// Where its files are in the slot.
    files: &'a Path,
    depth: u32,
}

/// Fills the submodules of a slot that is at `to`, as far as the user's repository has them.
pub(crate) fn fill(repo: &Repo, slot: &Path, to: &CommitId) -> Result<(), GitError> {
    if !has_any(repo, to)? {
        return Ok(());
    }
    Level { repo, source: repo.common_dir(), files: slot, depth: 0 }.fill(to)
}

/// Takes away the submodules of a slot that is leaving `from`, where `to` has none: git would leave their folders. What is
/// in them must be in safety.
pub(crate) fn leave(repo: &Repo, slot: &Path, from: &CommitId, to: &CommitId) -> Result<(), GitError> {
    if from == to || !has_any(repo, from)? {
        return Ok(());
    }
    let level = Level { repo, source: repo.common_dir(), files: slot, depth: 0 };
    let tree = repo.tree_of(to)?;
    for link in level.links(from)? {
        let stays =
            repo.entry(&tree, &shown(link.path.as_os_str().as_bytes()))?.is_some_and(|e| e.mode == MODE_GITLINK);
        let path = slot.join(&link.path);
        if !stays && real_folder(slot, &link.path) && path.join(".git").is_dir() {
            fs::remove_dir_all(&path).map_err(|e| GitError::io(&path, e))?;
        }
    }
    Ok(())
}

/// Brings what was committed in a slot's submodules to safety, and gives the paths of those that hold anything uncommitted.
pub(crate) fn keep(repo: &Repo, slot: &Path, base: &CommitId) -> Result<Vec<String>, GitError> {
    if !has_any(repo, base)? {
        return Ok(Vec::new());
    }
    let mut dirty = Vec::new();
    Level { repo, source: repo.common_dir(), files: slot, depth: 0 }.keep(base, Path::new(""), &mut dirty)?;
    dirty.sort();
    Ok(dirty)
}

fn has_any(repo: &Repo, commit: &CommitId) -> Result<bool, GitError> {
    Ok(repo.entry(&repo.tree_of(commit)?, ".gitmodules")?.is_some())
}

/// Whether `below` is a folder in `root` that no link leads to.
fn real_folder(root: &Path, below: &Path) -> bool {
    let mut at = root.to_owned();
    below.components().all(|part| {
        at.push(part);
        fs::symlink_metadata(&at).is_ok_and(|m| m.is_dir())
    })
}

impl Level<'_> {
    /// A command on the user's git directory of this level.
    fn source(&self) -> Run {
        self.repo.git().at(At::Worktree { git_dir: self.source, work_tree: None })
    }

    /// The submodules that a commit names and the user's repository has.
    fn links(&self, commit: &CommitId) -> Result<Vec<Link>, GitError> {
        let blob = format!("{commit}:.gitmodules");
        let ask = ["config", "--blob", &blob, "--null", "--get-regexp", r"^submodule\..*\.path$"];
        // No such file, or one that git cannot read: no submodules, as for git itself.
        let ran = self.source().args(ask).accept(128).run()?;
        if ran.code != 0 {
            return Ok(Vec::new());
        }
        let mut names = BTreeMap::new();
        for entry in ran.fields() {
            let mut parts = entry.splitn(2, |b| *b == b'\n');
            let (key, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let name = key.strip_prefix(b"submodule.").and_then(|key| key.strip_suffix(b".path"));
            names.extend(name.map(|name| (path.to_vec(), name.to_vec())));
        }
        let list = ["ls-tree", "-z", commit.as_str(), "--"].map(std::ffi::OsStr::new);
        let paths = names.keys().map(|path| std::ffi::OsStr::from_bytes(path));
        let ran = self.source().args(list.into_iter().chain(paths)).run()?;
        let mut links = Vec::new();
        for entry in ran.fields() {
            // `160000 commit <id>\t<path>`
            let text = shown(entry);
            let Some((info, path)) = text.split_once('\t') else { continue };
            let Some(commit) = info.strip_prefix("160000 commit ").and_then(|id| id.parse().ok()) else { continue };
            let path = path_of_shown(path);
            let name = names.get(path.as_os_str().as_bytes()).map(|name| Path::new(std::ffi::OsStr::from_bytes(name)));
            let plain = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
            let Some(name) = name.filter(|name| plain(name) && plain(&path)) else { continue };
            let source = self.source.join("modules").join(name);
            if source.join("HEAD").is_file() {
                links.push(Link { path, source, commit });
            } else {
                tracing::debug!(path = %path.display(), "a submodule that the repository does not have stays empty");
            }
        }
        Ok(links)
    }

    fn fill(&self, to: &CommitId) -> Result<(), GitError> {
        if self.depth >= DEPTH_MAX {
            return Ok(());
        }
        for link in self.links(to)? {
            let files = self.files.join(&link.path);
            if !real_folder(self.files, &link.path) {
                continue;
            }
            let inner = Submodule { repo: self.repo, source: &link.source, files: &files };
            inner.make(link.commit.as_str().len())?;
            inner.check_out(&link.commit)?;
            Level { repo: self.repo, source: &link.source, files: &files, depth: self.depth + 1 }.fill(&link.commit)?;
        }
        Ok(())
    }

    fn keep(&self, base: &CommitId, above: &Path, dirty: &mut Vec<String>) -> Result<(), GitError> {
        if self.depth >= DEPTH_MAX {
            return Ok(());
        }
        for link in self.links(base)? {
            let (files, path) = (self.files.join(&link.path), above.join(&link.path));
            if !real_folder(self.files, &link.path) || !files.join(".git").is_dir() {
                continue;
            }
            let inner = Submodule { repo: self.repo, source: &link.source, files: &files };
            inner.own_settings(link.commit.as_str().len())?;
            let Some(head) = inner.head()? else {
                dirty.push(shown(path.as_os_str().as_bytes()));
                continue;
            };
            if !inner.is_clean()? {
                dirty.push(shown(path.as_os_str().as_bytes()));
            }
            inner.bring_home(&head)?;
            Level { repo: self.repo, source: &link.source, files: &files, depth: self.depth + 1 }
                .keep(&head, &path, dirty)?;
        }
        Ok(())
    }
}

/// One submodule in a slot.
struct Submodule<'a> {
    repo: &'a Repo,
    source: &'a Path,
    files: &'a Path,
}

impl Submodule<'_> {
    fn git_dir(&self) -> PathBuf {
        self.files.join(".git")
    }

    fn git<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Run {
        let at = At::Worktree { git_dir: &self.git_dir(), work_tree: Some(self.files) };
        self.repo.git().at(at).args(args)
    }

    fn home<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Run {
        self.repo.git().at(At::Worktree { git_dir: self.source, work_tree: None }).args(args)
    }

    /// Makes its git directory, with the refs of the user's one, if it has none.
    fn make(&self, id_digits: usize) -> Result<(), GitError> {
        let dir = self.git_dir();
        if fs::symlink_metadata(&dir).is_ok_and(|m| m.is_dir()) {
            return self.own_settings(id_digits);
        }
        let refs = self.home(["for-each-ref", "--format=%(objectname) %(refname)"]).run()?.stdout;
        let io = |e| GitError::io(&dir, e);
        for folder in ["objects/info", "refs/heads", "info"] {
            fs::create_dir_all(dir.join(folder)).map_err(io)?;
        }
        fs::write(dir.join("packed-refs"), refs).map_err(io)?;
        self.own_settings(id_digits)?;
        fs::write(dir.join("HEAD"), "ref: refs/heads/none\n").map_err(io)
    }

    /// Puts back all that decides what git does here.
    fn own_settings(&self, id_digits: usize) -> Result<(), GitError> {
        let dir = self.git_dir();
        let io = |e| GitError::io(&dir, e);
        for name in ["commondir", "config.worktree", "info/attributes", "info/sparse-checkout", "index.lock"] {
            match fs::remove_file(dir.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
                Ok(()) | Err(_) => {}
            }
        }
        let config = if id_digits == SHA1_HEX { CONFIG } else { CONFIG_SHA256 };
        let objects = [self.source.join("objects").as_os_str().as_bytes(), b"\n"].concat();
        fs::create_dir_all(dir.join("objects/info")).map_err(io)?;
        for (name, text) in [("config", config.as_bytes()), ("objects/info/alternates", &objects)] {
            let path = dir.join(name);
            // A link there would have us write where it points.
            if fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) {
                fs::remove_file(&path).map_err(io)?;
            }
            fs::write(path, text).map_err(io)?;
        }
        Ok(())
    }

    fn check_out(&self, to: &CommitId) -> Result<(), GitError> {
        if self.home(["cat-file", "-e", &format!("{to}^{{commit}}")]).accept(128).run()?.code != 0 {
            let what = format!("{} lacks {to}: git submodule update --init", self.source.display());
            return Err(GitError::Output { command: format!("git checkout {to}"), what });
        }
        self.git(["checkout", "--quiet", "--force", "--detach", to.as_str()]).run()?;
        self.git(["clean", "-fdq"]).run().map(|_| ())
    }

    fn head(&self) -> Result<Option<CommitId>, GitError> {
        let ran = self.git(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).accept(128).run()?;
        Ok(if ran.code == 0 { ran.text().parse().ok() } else { None })
    }

    fn is_clean(&self) -> Result<bool, GitError> {
        let args = ["status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=dirty"];
        Ok(self.git(args).run()?.stdout.is_empty())
    }

    /// Brings a commit and all that it needs into the user's submodule, under a ref of ours, unless it has it.
    fn bring_home(&self, head: &CommitId) -> Result<(), GitError> {
        let range = ["rev-list", "--max-count=1", head.as_str(), "--not", "--all"];
        let known = self.home(range).accept(128).run()?;
        if known.code == 0 && known.stdout.is_empty() {
            return Ok(());
        }
        let from = self.git_dir();
        let refspec = format!("HEAD:{KEPT}/{head}");
        let fetch = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        let fetch = fetch.map(std::ffi::OsStr::new).into_iter().chain([from.as_os_str(), refspec.as_ref()]);
        let run = self.repo.git().at(At::Worktree { git_dir: self.source, work_tree: None });
        run.args(fetch).run().map(|_| ())
    }
}
