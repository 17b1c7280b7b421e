//! What differs between two trees, read in process: folders with the same id are not entered, so the cost is that of what
//! differs. git itself is asked where it may see more than this does: a rename, or a name that is shown otherwise than it
//! is written.

use std::cmp::Ordering;

use super::{Change, ChangeKind, Entry, MODE_TREE};
use crate::git::GitError;
use crate::ids::TreeId;
use crate::repo::Repo;

/// The bits of a mode that tell a file from a link and a submodule.
const KIND: u32 = 0o170_000;
/// Past this many changed paths one git is faster than reading tree by tree.
const CHANGES_MAX: usize = 2_000;

/// The changes found so far; none once git has to be asked.
struct Differ<'a> {
    repo: &'a Repo,
    changes: Vec<Change>,
    added: bool,
    deleted: bool,
}

impl Repo {
    /// The changes from one tree to another in git's order, unless something in them takes git to tell.
    pub(super) fn plain_changes(&self, from: &TreeId, to: &TreeId) -> Result<Option<Vec<Change>>, GitError> {
        let mut differ = Differ { repo: self, changes: Vec::new(), added: false, deleted: false };
        let whole = differ.folder(&[], Some(from.as_str()), Some(to.as_str()))?;
        Ok(whole.then_some(differ.changes))
    }
}

impl Differ<'_> {
    /// Compares two folders; `false` = git has to be asked.
    fn folder(&mut self, prefix: &[u8], from: Option<&str>, to: Option<&str>) -> Result<bool, GitError> {
        let read = |tree: Option<&str>| tree.map_or(Ok(Vec::new()), |tree| self.repo.entries(tree));
        let (old, new) = (read(from)?, read(to)?);
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(true),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => key(a).cmp(&key(b)),
            };
            let a = old.next_if(|_| order != Ordering::Greater);
            let b = new.next_if(|_| order != Ordering::Less);
            if !self.pair(prefix, a, b)? {
                return Ok(false);
            }
        }
    }

    fn pair(&mut self, prefix: &[u8], old: Option<&Entry>, new: Option<&Entry>) -> Result<bool, GitError> {
        let Some(name) = old.or(new).map(|e| &e.name) else {
            return Ok(true);
        };
        if let (Some(a), Some(b)) = (old, new)
            && (canonical(a.mode), &a.id) == (canonical(b.mode), &b.id)
        {
            return Ok(true);
        }
        let path = [prefix, name].concat();
        let tree = |e: Option<&Entry>| e.is_some_and(|e| e.mode == MODE_TREE);
        if tree(old) || tree(new) {
            let id = |e: Option<&Entry>| e.map(|e| e.id.clone());
            let (from, to) = (id(old), id(new));
            return self.folder(&[&path[..], b"/"].concat(), from.as_deref(), to.as_deref());
        }
        let kind = match (old, new) {
            (Some(a), Some(b)) if a.mode & KIND == b.mode & KIND => ChangeKind::Modified,
            (Some(_), Some(_)) => ChangeKind::TypeChanged,
            (Some(_), None) => ChangeKind::Deleted,
            (None, Some(_)) | (None, None) => ChangeKind::Added,
        };
        self.added |= kind == ChangeKind::Added;
        self.deleted |= kind == ChangeKind::Deleted;
        // Only what is both gone and new can have been renamed.
        let renamed = self.added && self.deleted;
        let asks = renamed || path.contains(&b'\\') || self.changes.len() == CHANGES_MAX;
        let Some(path) = String::from_utf8(path).ok().filter(|_| !asks) else {
            return Ok(false);
        };
        self.changes.push(Change { path, from: None, kind });
        Ok(true)
    }
}

/// The mode as git reads it: of a file's permissions only that to execute counts.
fn canonical(mode: u32) -> u32 {
    const FILE: u32 = 0o100_000;
    match mode & KIND {
        FILE if mode & 0o100 != 0 => FILE | 0o755,
        FILE => FILE | 0o644,
        kind => kind,
    }
}

/// By what git sorts the entries of a tree: a folder as if its name ended with a slash.
fn key(entry: &Entry) -> Vec<u8> {
    let slash = (entry.mode == MODE_TREE).then_some(b'/');
    entry.name.iter().copied().chain(slash).collect()
}
