//! Reads and moves refs. Every move is one transaction of compare-and-swaps; nothing is ever forced.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use crate::fault;
use crate::git::GitError;
use crate::ids::CommitId;
use crate::repo::Repo;
use crate::sync::sync_present;

/// A transaction that failed although every ref is as expected lost a race for a lock; it is tried this often. Each try
/// already waits seconds for the lock.
const TRIES_MAX: u32 = 3;

/// Folders of refs that are ours alone.
pub(crate) const OURS: [&str; 2] = ["refs/wattle", "refs/heads/wattle"];

/// What a ref must be for a change to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Anything, or nothing.
    Any,
    /// It must not exist.
    Absent,
    /// It must be this commit.
    Is(CommitId),
}

/// One ref's part in a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    /// The full name, as in `refs/heads/main`.
    pub name: String,
    /// Its new value; none deletes it.
    pub new: Option<CommitId>,
    /// What it must be now.
    pub old: Expect,
}

/// A transaction was refused; no ref has moved.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// A ref is not what it was expected to be.
    #[error("move {name}: it is at {} now", found.as_ref().map_or("nothing", CommitId::as_str))]
    Moved {
        /// The ref.
        name: String,
        /// Where it is.
        found: Option<CommitId>,
    },
    /// Another ref's name is in the way: `a` and `a/b` cannot both exist.
    #[error("create {name}: {by} exists, and a ref cannot be both a name and a folder")]
    Occupied {
        /// The ref that cannot be made.
        name: String,
        /// The one in the way.
        by: String,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Repo {
    /// The commit that any revision names; none if there is no such thing.
    pub fn resolve(&self, rev: &str) -> Result<Option<CommitId>, GitError> {
        let spec = format!("{rev}^{{commit}}");
        // `HEAD` and `@{u}` mean those of the checkout that we were started in.
        let ran = self.checkout().args(["rev-parse", "--verify", "--quiet", "--end-of-options", &spec]);
        let ran = ran.accept(128).run()?;
        match ran.code {
            0 => ran.text().parse().map(Some).map_err(|e| ran.unreadable(format!("{e}"))),
            1 => Ok(None),
            // A malformed revision, or one of another type, is a fatal error to git and merely no commit to us.
            128 if is_about_rev(&ran.stderr) => Ok(None),
            _ => Err(ran.failed()),
        }
    }

    /// The commits that many revisions name, in their order, by one process; none for a name of no commit.
    pub fn resolve_all(&self, revs: &[String]) -> Result<Vec<Option<CommitId>>, GitError> {
        // A line is a question, and `cat-file` would take an empty one for the end of nothing: such names are none.
        let plain = |rev: &str| !rev.is_empty() && !rev.contains(['\n', '\0']);
        let asked: Vec<&String> = revs.iter().filter(|rev| plain(rev)).collect();
        let mut input = String::new();
        for rev in &asked {
            input.push_str(rev);
            input.push_str("^{commit}\n");
        }
        let batch = ["cat-file", "--batch-check=%(objecttype) %(objectname)", "--buffer"];
        let ran = match self.checkout().args(batch).stdin(input).run() {
            // A name like `@{u}` of a branch without an upstream ends the whole process.
            Err(GitError::Failed { .. }) => return revs.iter().map(|rev| self.resolve(rev)).collect(),
            ran => ran?,
        };
        let text = ran.text();
        let mut lines = text.lines();
        let mut found = Vec::with_capacity(revs.len());
        for rev in revs {
            let line = if plain(rev) { lines.next() } else { None };
            // Whatever else is said (`missing`, `ambiguous`) does not begin so: no revision has a space in it there.
            found.push(line.and_then(|line| line.strip_prefix("commit ")).and_then(|id| id.parse().ok()));
        }
        Ok(found)
    }

    /// The commit a ref points at.
    pub fn read_ref(&self, full: &str) -> Result<Option<CommitId>, GitError> {
        if let Some(found) = refs_in_files(self.common_dir(), &[full.to_owned()]).and_then(|mut found| found.pop()) {
            return Ok(found);
        }
        Ok(self.list_refs(full)?.into_iter().find(|(name, _)| name == full).map(|(_, commit)| commit))
    }

    /// All refs that are `prefix` or below it (`refs/wattle/`), by name.
    pub fn list_refs(&self, prefix: &str) -> Result<Vec<(String, CommitId)>, GitError> {
        const FORMAT: &str = "--format=%(refname) %(objecttype) %(objectname) %(*objectname)";
        let ran = self.common().args(["for-each-ref", FORMAT, "--", prefix.trim_end_matches('/')]).run()?;
        let mut refs = Vec::new();
        for line in ran.text().lines() {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default();
            let (kind, id, peeled) = (words.next(), words.next(), words.next());
            let commit = match kind {
                Some("commit") => id,
                Some("tag") => peeled,
                _ => continue,
            };
            let commit = commit.and_then(|id| id.parse().ok()).ok_or_else(|| ran.unreadable(format!("`{line}`")))?;
            refs.push((name.to_owned(), commit));
        }
        Ok(refs)
    }

    /// Makes all changes or none, each only if its ref is what it is expected to be; durable when it returns. `reason`
    /// goes to the reflogs.
    pub fn update_refs(&self, changes: &[RefChange], reason: &str) -> Result<(), RefError> {
        if changes.is_empty() {
            return Ok(());
        }
        fault::point_of(|| fault_of(changes, "before"));
        let mut left = TRIES_MAX;
        loop {
            let run =
                self.common().args(["update-ref", "-m", reason, "--stdin", "-z"]).locks(self.shared_locks(changes));
            let error = match run.stdin(self.transaction(changes, "commit")).run() {
                Ok(_) => break,
                Err(error) => error,
            };
            self.explain(changes)?;
            left -= 1;
            if left == 0 || !matches!(&error, GitError::Failed { stderr, .. } if stderr.contains(".lock")) {
                return Err(error.into());
            }
        }
        fault::point_of(|| fault_of(changes, "moved"));
        sync_folders(self.common_dir(), changes).map_err(RefError::Git)?;
        fault::point_of(|| fault_of(changes, "after"));
        Ok(())
    }

    /// Whether all these changes could be made now; makes none.
    pub fn try_refs(&self, changes: &[RefChange]) -> Result<(), RefError> {
        let run = self.common().args(["update-ref", "--stdin", "-z"]);
        match run.stdin(self.transaction(changes, "abort")).run() {
            Ok(_) => Ok(()),
            Err(error) => self.explain(changes).and(Err(error.into())),
        }
    }

    /// The locks of a transaction that are not on refs of ours: those on others' branches and on HEAD, which git takes with
    /// the branch that it names, on the packed refs, which it takes to delete, and on a reftable.
    fn shared_locks(&self, changes: &[RefChange]) -> Vec<PathBuf> {
        let common = self.common_dir();
        let tables = common.join("reftable");
        if tables.exists() {
            return vec![tables.join("tables.list.lock")];
        }
        let theirs = changes.iter().filter(|change| !is_ours(&change.name));
        let mut locks: Vec<PathBuf> = theirs.map(|change| common.join(format!("{}.lock", change.name))).collect();
        if changes.iter().any(|change| change.name.starts_with("refs/heads/")) {
            locks.push(common.join("HEAD.lock"));
        }
        if changes.iter().any(|change| change.new.is_none()) {
            locks.push(common.join("packed-refs.lock"));
        }
        locks
    }

    fn transaction(&self, changes: &[RefChange], end: &str) -> Vec<u8> {
        let zeros = |like: Option<&CommitId>| "0".repeat(like.map_or(40, |id| id.as_str().len()));
        let width = changes.iter().find_map(|c| {
            c.new.as_ref().or(match &c.old {
                Expect::Is(id) => Some(id),
                Expect::Any | Expect::Absent => None,
            })
        });
        let zero = zeros(width);
        let mut input = String::from("start\0");
        for RefChange { name, new, old } in changes {
            let old = match old {
                Expect::Any => "",
                Expect::Absent => &zero,
                Expect::Is(id) => id.as_str(),
            };
            match new {
                Some(new) => input.push_str(&format!("update {name}\0{new}\0{old}\0")),
                None if old == zero => input.push_str(&format!("verify {name}\0{old}\0")),
                None => input.push_str(&format!("delete {name}\0{old}\0")),
            }
        }
        input.push_str(&format!("prepare\0{end}\0"));
        input.into_bytes()
    }

    /// Why a transaction was refused, if the refs themselves say so.
    fn explain(&self, changes: &[RefChange]) -> Result<(), RefError> {
        for RefChange { name, new, old } in changes {
            let found = self.read_ref(name)?;
            let as_expected = match old {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Is(id) => found.as_ref() == Some(id),
            };
            if !as_expected {
                return Err(RefError::Moved { name: name.clone(), found });
            }
            if found.is_none()
                && new.is_some()
                && let Some(by) = self.in_the_way(name)?
            {
                return Err(RefError::Occupied { name: name.clone(), by });
            }
        }
        Ok(())
    }

    /// The ref that makes `name` impossible: one of its folders, or a ref below it.
    fn in_the_way(&self, name: &str) -> Result<Option<String>, GitError> {
        if let Some((below, _)) = self.list_refs(name)?.into_iter().next() {
            return Ok(Some(below));
        }
        let folders = name.match_indices('/').map(|(at, _)| &name[..at]).skip(2);
        for folder in folders {
            if self.read_ref(folder)?.is_some() {
                return Ok(Some(folder.to_owned()));
            }
        }
        Ok(None)
    }
}

/// Nobody else moves such a ref, so that a lock on it is one of ours.
fn is_ours(name: &str) -> bool {
    OURS.iter().any(|folder| name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// What the files say of refs, where refs are files: each one's own file, else the packed ones, as git itself looks; none
/// where they do not say it beyond doubt. Only of branches and of refs of ours, which are never tags.
pub(crate) fn refs_in_files(common: &Path, names: &[String]) -> Option<Vec<Option<CommitId>>> {
    if common.join("reftable").exists() {
        return None;
    }
    let mut packed: Option<Vec<u8>> = None;
    let mut found = Vec::with_capacity(names.len());
    for full in names {
        let ours = full.starts_with("refs/heads/") || full.starts_with("refs/wattle/");
        if !ours || !Path::new(full).components().all(|c| matches!(c, Component::Normal(_))) {
            return None;
        }
        match fs::read(common.join(full)) {
            // Anything but an id and a line end is git's to explain: a symbolic ref, or a file that is being written.
            Ok(bytes) => {
                found.push(Some(std::str::from_utf8(&bytes).ok()?.strip_suffix('\n')?.parse().ok()?));
                continue;
            }
            // A folder, or a file where a folder would have to be, is no such ref; it can be packed all the same.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory) => {}
            Err(_) => return None,
        }
        if packed.is_none() {
            packed = match fs::read(common.join("packed-refs")) {
                Ok(bytes) => Some(bytes),
                Err(e) if e.kind() == ErrorKind::NotFound => Some(Vec::new()),
                Err(_) => return None,
            };
        }
        found.push(packed.as_deref().and_then(|packed| packed_ref(packed, full)));
    }
    Some(found)
}

/// Finds a ref among lines `id name`; other lines are comments and what tags point at.
fn packed_ref(packed: &[u8], full: &str) -> Option<CommitId> {
    let line = packed.split(|b| *b == b'\n').find(|line| {
        line.strip_suffix(full.as_bytes()).is_some_and(|id| id.last() == Some(&b' ') && !id.starts_with(b"#"))
    })?;
    std::str::from_utf8(line).ok()?.split(' ').next()?.parse().ok()
}

/// The name of a fault point of a transaction: by what its first ref is for.
fn fault_of(changes: &[RefChange], at: &str) -> Option<String> {
    let name = changes.first()?.name.as_str();
    let kind = match name.strip_prefix("refs/wattle/").and_then(|rest| rest.split('/').next()) {
        Some(kind) => kind,
        None if name.starts_with("refs/heads/wattle/") => "step",
        None => "target",
    };
    Some(format!("ref.{kind}.{at}"))
}

fn is_about_rev(stderr: &str) -> bool {
    let known = ["Needed a single revision", "unknown revision", "bad revision", "expected commit type", "ambiguous"];
    stderr.is_empty() || known.iter().any(|k| stderr.contains(k)) || stderr.contains("upstream")
}

/// Syncs the folders whose names a transaction changed: git syncs the files, but not that they are there.
fn sync_folders(common: &Path, changes: &[RefChange]) -> Result<(), GitError> {
    let mut folders = vec![common.to_owned(), common.join("refs")];
    for change in changes {
        let above = Path::new(&change.name).ancestors().skip(1).take_while(|p| p.components().count() > 1);
        folders.extend(above.map(|p| common.join(p)));
    }
    folders.sort();
    folders.dedup();
    // A folder may be absent, or go at any moment: refs can be packed, or in a reftable, which git syncs itself.
    sync_present(&folders)
}

#[cfg(test)]
mod tests;
