//! Objects through git2, in process. It reads by way of our own store folder, whose `alternates` name the repository's
//! objects, so it meets neither the repository's configuration nor its ref format.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use git2::{ErrorCode, ObjectType, Oid, Repository};

use super::{Kind, Objects};
use crate::config::ALTERNATES;
use crate::git::{Git, GitError};

/// Idle handles kept, likewise one per usual reader: each holds its own object cache.
const IDLE_MAX: usize = 4;

/// A pool of handles; git2's may move between threads but not be shared by them.
pub(crate) struct Libgit2 {
    store: PathBuf,
    idle: Mutex<Vec<Repository>>,
}

impl fmt::Debug for Libgit2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Libgit2").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Libgit2 {
    /// A pool, if git2 can open the repository at all.
    pub(crate) fn probe(store: &Path) -> Option<Libgit2> {
        // Without it git2 would open an empty repository.
        if !store.join(ALTERNATES).exists() {
            return None;
        }
        if !are_told_apart(&store.join("objects")) {
            tracing::debug!("folders of objects on several disks have one number; git serves the objects");
            return None;
        }
        match Repository::open_bare(store) {
            Ok(repo) => Some(Libgit2 { store: store.to_owned(), idle: Mutex::new(vec![repo]) }),
            Err(e) => {
                tracing::debug!(error = %e, "git2 cannot open this repository; git serves its objects");
                None
            }
        }
    }

    fn failed(&self, id: &str, error: &git2::Error) -> GitError {
        GitError::Output { command: format!("git2 read {id}"), what: error.message().to_owned() }
    }
}

impl Objects for Libgit2 {
    fn name(&self) -> &'static str {
        "git2"
    }

    fn read(&self, _git: &Git, id: &str) -> Result<Option<(Kind, Vec<u8>)>, GitError> {
        let Ok(oid) = id.parse::<Oid>() else {
            return Ok(None);
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let repo = match idle {
            Some(repo) => repo,
            None => Repository::open_bare(&self.store).map_err(|e| self.failed(id, &e))?,
        };
        let answer = read(&repo, oid).map_err(|e| self.failed(id, &e));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(repo);
        }
        answer
    }

    fn has_between(&self, _git: &Git, from: &str, to: &str) -> Result<Option<bool>, GitError> {
        // A handle of its own: one that has read an object still has it when it is gone.
        let found = Repository::open_bare(&self.store).and_then(|repo| {
            let from = repo.find_commit(from.parse()?)?.tree_id();
            match repo.find_commit(to.parse()?) {
                Ok(commit) => is_there(&repo, Some(from), commit.tree_id()),
                Err(e) if e.code() == ErrorCode::NotFound => Ok(false),
                Err(e) => Err(e),
            }
        });
        found.map(Some).map_err(|e| self.failed(to, &e))
    }
}

/// Whether libgit2 tells a folder of objects and all those that it borrows from apart. It takes two of the same inode number
/// for one, whatever disks they lie on, and then has nothing of the second (`git_odb__add_default_backends`).
fn are_told_apart(objects: &Path) -> bool {
    let (mut folders, mut disks) = (vec![objects.to_owned()], HashMap::new());
    while let Some(folder) = folders.pop() {
        let Ok(is) = folder.metadata() else { continue };
        match disks.insert(is.ino(), is.dev()) {
            Some(disk) if disk == is.dev() => continue,
            Some(_) => return false,
            None => {}
        }
        let borrowed = fs::read(folder.join("info/alternates")).unwrap_or_default();
        let borrowed = borrowed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#');
        folders.extend(borrowed.map(|line| folder.join(OsStr::from_bytes(line))));
    }
    true
}

/// Whether a tree is there with all that is not in `from`.
fn is_there(repo: &Repository, from: Option<Oid>, to: Oid) -> Result<bool, git2::Error> {
    if from == Some(to) {
        return Ok(true);
    }
    let tree = match repo.find_tree(to) {
        Ok(tree) => tree,
        Err(e) if e.code() == ErrorCode::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let old = from.map(|from| repo.find_tree(from)).transpose()?;
    let odb = repo.odb()?;
    for entry in &tree {
        let before = old.as_ref().and_then(|old| old.get_name_bytes(entry.name_bytes()));
        if before.as_ref().is_some_and(|before| before.id() == entry.id()) {
            continue;
        }
        let there = match entry.kind() {
            Some(ObjectType::Tree) => {
                let folder = before.filter(|before| before.kind() == Some(ObjectType::Tree));
                is_there(repo, folder.map(|before| before.id()), entry.id())?
            }
            // A submodule's commit is in another repository.
            Some(ObjectType::Commit) => true,
            _ => odb.exists(entry.id()),
        };
        if !there {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read(repo: &Repository, oid: Oid) -> Result<Option<(Kind, Vec<u8>)>, git2::Error> {
    let odb = repo.odb()?;
    let object = match odb.read(oid) {
        Ok(object) => object,
        Err(e) if e.code() == ErrorCode::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let kind = match object.kind() {
        ObjectType::Commit => Kind::Commit,
        ObjectType::Tree => Kind::Tree,
        ObjectType::Blob => Kind::Blob,
        ObjectType::Tag => Kind::Tag,
        ObjectType::Any => return Ok(None),
    };
    Ok(Some((kind, object.data().to_vec())))
}
