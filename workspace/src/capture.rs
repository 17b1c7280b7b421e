//! A worktree's files as a tree, whatever a worker did to its index, HEAD or configuration.
//!
//! The index used is a temporary one of ours. For a slot it begins as a copy of the index that the pool wrote at checkout,
//! whose stat data let git skip what was not touched; the copy keeps the file's time, by which git knows the entries that
//! may have changed within the clock's resolution.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use regex::RegexSet;
use tempfile::TempDir;

use crate::fault;
use crate::git::{At, GitError, Run};
use crate::ids::{CommitId, TreeId};
use crate::lookup::{Change, MODE_GITLINK};
use crate::paths::{shown, shown_path};
use crate::repo::Repo;
use crate::scan::{Scan, ignored, scan};
use crate::submodule;
use crate::walk::walk;
use crate::warm::{SLOTS, at_base, captured_of, forget_captured};

/// Paths that git is told one by one to look at; of more it looks at everything, which takes it about as long.
const NAMED_MAX: usize = 1000;

/// What to take from a worktree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Anchored regular expressions; paths that match keep the base's content.
    pub discard: Vec<String>,
}

/// What a worktree holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// All its files but the ignored ones.
    pub tree: TreeId,
    /// How that differs from the base.
    pub changes: Vec<Change>,
}

/// A worktree could not be made a tree.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It holds what no tree can: nested repositories, pipes, sockets, devices.
    #[error("commit {}: a repository of its own or a special file is no content of a commit", paths.join(", "))]
    Unexpressible {
        /// Where they are.
        paths: Vec<String>,
    },
    /// Files in a submodule were changed and not committed there.
    #[error("commit {}: a submodule's files are committed in the submodule, and there they are not", paths.join(", "))]
    Submodules {
        /// The submodules.
        paths: Vec<String>,
    },
    /// A discard pattern is no regular expression.
    #[error("compile the discard patterns: {why}")]
    Pattern {
        /// What is wrong with them.
        why: String,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Repo {
    /// Makes a tree of the files in `worktree`: tracked and untracked, without ignored ones, relative to `base`. Writes
    /// objects, but changes nothing in the worktree or in its git state.
    pub fn capture(&self, worktree: &Path, base: &CommitId, o: &CaptureOptions) -> Result<Captured, CaptureError> {
        let discard = RegexSet::new(&o.discard).map_err(|e| CaptureError::Pattern { why: e.to_string() })?;
        let base_tree = self.tree_of(base)?;
        let taken = self.take(worktree, base, &base_tree)?;
        let mut tree = taken.tree;
        match taken.index {
            None if self.slot_index(worktree).is_some() => {
                forget_captured(worktree).map_err(|e| GitError::io(worktree, e))?;
            }
            None => {}
            Some(index) if !discard.is_empty() && index.restore(&base_tree, &tree, &discard)? => {
                tree = index.write_tree()?;
            }
            Some(index) => index.keep(&base_tree, &tree)?,
        }
        fault::point("capture.after");
        let changes = if tree == base_tree { Vec::new() } else { self.changes(&base_tree, &tree)? };
        Ok(Captured { tree, changes })
    }

    /// The tree of the files in a worktree. Of a slot only what differs is read; where nothing does, no git is started.
    fn take<'a>(&'a self, worktree: &'a Path, base: &CommitId, base_tree: &TreeId) -> Result<Taken<'a>, CaptureError> {
        let filled = self.fills_submodules(worktree)?;
        let warm = self.slot_index(worktree).filter(|_| !filled && at_base(worktree, base));
        let scanned = match warm {
            Some(index) => scan(worktree, &index, self.id_bytes())?,
            None => None,
        };
        if scanned.as_ref().is_some_and(Scan::is_clean) {
            return Ok(Taken { tree: base_tree.clone(), index: None });
        }
        let index = ScratchIndex::new(self, worktree, base)?;
        let suspects = match &scanned {
            Some(scan) => scan.walked.suspects.clone(),
            None => walk(worktree)?.suspects,
        };
        let paths = index.not_ignored(suspects, base_tree)?;
        if !paths.is_empty() {
            return Err(CaptureError::Unexpressible { paths });
        }
        if filled {
            let paths = submodule::keep(self, worktree, base)?;
            if !paths.is_empty() {
                return Err(CaptureError::Submodules { paths });
            }
        }
        match scanned {
            Some(scan) => index.add_found(&scan)?,
            None => index.add()?,
        }
        let tree = index.write_tree()?;
        Ok(Taken { tree, index: Some(index) })
    }

    /// Makes the files of a clean worktree at `base` those of `tree`, without touching its HEAD or its index: afterwards
    /// they are changes, as if somebody had made them there.
    pub fn place_tree(&self, worktree: &Path, base: &CommitId, tree: &TreeId) -> Result<(), GitError> {
        let index = ScratchIndex::new(self, worktree, base)?;
        index.git(["read-tree", "-m", "-u", base.as_str(), tree.as_str()]).run()?;
        Ok(())
    }

    /// Makes the files of a worktree those of `tree` and gives how they differed (from what was there to `tree`). Only what
    /// differs is written, by git, so that it is converted as a checkout converts it (line ends, filters); ignored files
    /// stay. Its HEAD and its index are not touched.
    pub fn restore_tree(&self, worktree: &Path, base: &CommitId, tree: &TreeId) -> Result<Vec<Change>, CaptureError> {
        let taken = self.take(worktree, base, &self.tree_of(base)?)?;
        let found = taken.tree;
        if found != *tree {
            let index = taken.index.map_or_else(|| ScratchIndex::new(self, worktree, base), Ok)?;
            index.git(["read-tree", "--reset", "-u", tree.as_str()]).run()?;
        }
        Ok(self.changes(&found, tree)?)
    }

    /// The index that the pool keeps for a slot, beside the slot.
    pub(crate) fn slot_index(&self, slot: &Path) -> Option<PathBuf> {
        let slots = self.state_dir().join(SLOTS);
        let index = (slot.parent() == Some(&slots)).then(|| slot.with_extension("index"))?;
        index.is_file().then_some(index)
    }

    /// Of what a walk found suspicious, what no commit can hold: ignored places left out.
    pub(crate) fn unexpressible_of(
        &self,
        worktree: &Path,
        base: &CommitId,
        suspects: Vec<PathBuf>,
    ) -> Result<Vec<String>, GitError> {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let index = ScratchIndex::new(self, worktree, base)?;
        index.not_ignored(suspects, &self.tree_of(base)?)
    }
}

/// The files of a worktree.
struct Taken<'a> {
    tree: TreeId,
    /// The index that they were taken into; none where they are the base's.
    index: Option<ScratchIndex<'a>>,
}

/// An index of our own over a worktree, at `base`.
struct ScratchIndex<'a> {
    repo: &'a Repo,
    worktree: &'a Path,
    path: PathBuf,
    store: PathBuf,
    _dir: TempDir,
}

impl<'a> ScratchIndex<'a> {
    fn new(repo: &'a Repo, worktree: &'a Path, base: &CommitId) -> Result<Self, GitError> {
        let io = |e| GitError::io(repo.state_dir(), e);
        let dir = tempfile::Builder::new().prefix("index-").tempdir_in(repo.state_dir());
        let dir = dir.map_err(io)?;
        let path = dir.path().join("index");
        let warm = repo.slot_index(worktree);
        if let Some(warm) = &warm {
            copy_with_time(warm, &path).map_err(|e| GitError::io(warm, e))?;
        }
        let index = ScratchIndex { repo, worktree, path, store: repo.store_at(worktree), _dir: dir };
        // `-m` keeps the stat data of entries that stay, and without an index there are none to keep; `-i` leaves the files
        // out of it, which may be anything by now.
        let merge: &[&str] = if warm.is_some() { &["-m", "-i"] } else { &[] };
        if warm.is_none() || !at_base(worktree, base) {
            index.git(["read-tree"].iter().chain(merge).copied().chain([base.as_str()])).run()?;
        }
        Ok(index)
    }

    /// Leaves the index beside the slot, if it has one, for whoever asks whether the slot still holds just this tree.
    fn keep(&self, base: &TreeId, tree: &TreeId) -> Result<(), GitError> {
        let slot = self.worktree;
        if self.repo.slot_index(slot).is_none() {
            return Ok(());
        }
        forget_captured(slot).map_err(|e| GitError::io(slot, e))?;
        if base == tree {
            return Ok(());
        }
        let kept = captured_of(slot, tree);
        fs::rename(&self.path, &kept).map_err(|e| GitError::io(&kept, e))
    }

    fn git<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> Run {
        let at = At::Files { work_tree: self.worktree, index: &self.path };
        self.repo.git().at(at).env("GIT_DIR", &self.store).args(args)
    }

    /// Takes every change of the files, those outside the cone of a sparse slot, too.
    fn add(&self) -> Result<(), GitError> {
        self.git(["add", "--all", "--sparse"]).run().map(|_| ())
    }

    /// Takes what a walk has found to differ. Where that is not plain names of files, git looks at everything itself.
    fn add_found(&self, found: &Scan) -> Result<(), GitError> {
        let Some(strangers) = self.strangers(found)? else { return self.add() };
        let named: Vec<&Vec<u8>> = found.doubtful.iter().chain(strangers).collect();
        if named.is_empty() {
            return Ok(());
        }
        let input = named.into_iter().flat_map(|path| path.iter().copied().chain([0])).collect::<Vec<u8>>();
        let args = ["add", "--all", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul"];
        match self.git(args).stdin(input).run() {
            // A name is gone or ignored meanwhile.
            Err(GitError::Failed { .. }) => self.add(),
            added => added.map(|_| ()),
        }
    }

    /// The untracked files that are not ignored, if that can be said: of a folder only git says what counts in it.
    fn strangers<'f>(&self, found: &'f Scan) -> Result<Option<Vec<&'f Vec<u8>>>, GitError> {
        if found.doubtful.len() + found.untracked.len() > NAMED_MAX {
            return Ok(None);
        }
        let ignored = ignored(self.git([]), &found.untracked)?;
        let left: Vec<_> = found.untracked.iter().filter(|path| !ignored.contains(*path)).collect();
        let folder = |path: &Vec<u8>| self.worktree.join(OsStr::from_bytes(path)).is_dir();
        Ok((!left.iter().any(|path| folder(path))).then_some(left))
    }

    fn write_tree(&self) -> Result<TreeId, GitError> {
        let ran = self.git(["write-tree"]).run()?;
        ran.text().parse().map_err(|e| ran.unreadable(format!("{e}")))
    }

    /// Of the suspects those that are neither ignored nor submodules of the base.
    fn not_ignored(&self, suspects: Vec<PathBuf>, base: &TreeId) -> Result<Vec<String>, GitError> {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        let mut input = Vec::new();
        for path in &suspects {
            input.extend_from_slice(path.as_os_str().as_bytes());
            input.push(0);
        }
        // A pathspec is literal here anyway, and check-ignore refuses to be told so.
        let run = self.git(["check-ignore", "-z", "--stdin"]).env("GIT_LITERAL_PATHSPECS", "0");
        let ran = run.stdin(input).accept(1).run()?;
        let ignored: Vec<&[u8]> = ran.fields().collect();
        let mut paths = Vec::new();
        for path in suspects {
            let text = shown_path(&path);
            let submodule = self.repo.entry(base, &text)?.is_some_and(|e| e.mode == MODE_GITLINK);
            if !submodule && !ignored.contains(&path.as_os_str().as_bytes()) {
                paths.push(text);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Puts the base's content of matching paths back into the index; tells whether there were any.
    fn restore(&self, base: &TreeId, tree: &TreeId, discard: &RegexSet) -> Result<bool, GitError> {
        let args = ["diff-tree", "-r", "-z", "--no-renames", "--raw", "--no-abbrev"];
        let ran = self.git(args.into_iter().chain([base.as_str(), tree.as_str()])).run()?;
        let mut fields = ran.fields();
        let mut input = Vec::new();
        while let (Some(info), Some(path)) = (fields.next(), fields.next()) {
            if !discard.is_match(&shown(path)) {
                continue;
            }
            // `:mode-before mode-after id-before id-after status`; mode 0 removes the entry.
            let info = String::from_utf8_lossy(info);
            let mut words = info.trim_start_matches(':').split(' ');
            let (mode, id) = (words.next(), words.nth(1));
            let (mode, id) = mode.zip(id).ok_or_else(|| ran.unreadable(info.clone()))?;
            input.extend_from_slice(format!("{mode} {id}\t").as_bytes());
            input.extend_from_slice(path);
            input.push(0);
        }
        if input.is_empty() {
            return Ok(false);
        }
        self.git(["update-index", "--replace", "-z", "--index-info"]).stdin(input).run()?;
        Ok(true)
    }
}

/// Copies a file together with its time of change.
pub(crate) fn copy_with_time(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    let modified = from.metadata()?.modified()?;
    File::options().write(true).open(to)?.set_modified(modified)
}

#[cfg(test)]
mod tests;
