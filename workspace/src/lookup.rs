//! What a run asks of the repository's objects: commits, trees, files, what differs.
//!
//! Commits and trees are parsed here from raw objects. What needs the history (`is_ancestor`, `merge_base`) and renames
//! (`changes`) is git's own answer.

mod differ;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::git::GitError;
use crate::ids::{BlobId, CommitId, TreeId};
use crate::objects::Kind;
use crate::paths::{bytes, shown};
use crate::repo::Repo;

/// How a path differs between two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Only the newer tree has it.
    Added,
    /// Its content or mode differs.
    Modified,
    /// Only the older tree has it.
    Deleted,
    /// It was `from` before.
    Renamed,
    /// A file became a link or a submodule, or the reverse.
    TypeChanged,
}

/// One path that differs between two trees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Change {
    /// Its path in the newer tree; of a deleted one, in the older. Like all paths here it is shown by the rule of `paths`.
    pub path: String,
    /// Where a renamed one was before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// What happened.
    pub kind: ChangeKind,
}

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) id: String,
}

/// Commits read in process before git is asked for an ancestor: reading this many costs less than starting git, and a
/// candidate of the queue is no longer.
const NEAR_MAX: usize = 64;

pub(crate) const MODE_TREE: u32 = 0o040_000;
const MODE_LINK: u32 = 0o120_000;
pub(crate) const MODE_GITLINK: u32 = 0o160_000;

impl Repo {
    fn object(&self, id: &str, kind: Kind) -> Result<Vec<u8>, GitError> {
        match self.objects().read(self.git(), id)? {
            Some((found, raw)) if found == kind => Ok(raw),
            Some((found, _)) => Err(unexpected(id, format!("a {found:?}, not a {kind:?}"))),
            None => Err(unexpected(id, "no such object")),
        }
    }

    /// A commit object as it is stored: its message need not be text.
    pub(crate) fn commit_bytes(&self, id: &CommitId) -> Result<Vec<u8>, GitError> {
        self.object(id.as_str(), Kind::Commit)
    }

    fn commit_text(&self, id: &CommitId) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.commit_bytes(id)?).into_owned())
    }

    /// Whether the repository holds this tree.
    pub(crate) fn has_tree(&self, tree: &TreeId) -> Result<bool, GitError> {
        Ok(matches!(self.objects().read(self.git(), tree.as_str())?, Some((Kind::Tree, _))))
    }

    /// A tree object as it is stored.
    pub(crate) fn tree_bytes(&self, tree: &str) -> Result<Vec<u8>, GitError> {
        self.object(tree, Kind::Tree)
    }

    pub(crate) fn entries(&self, tree: &str) -> Result<Vec<Entry>, GitError> {
        parse_tree(tree, &self.object(tree, Kind::Tree)?, tree.len() / 2)
    }

    /// The tree of a commit.
    pub fn tree_of(&self, commit: &CommitId) -> Result<TreeId, GitError> {
        let text = self.commit_text(commit)?;
        let tree = headers(&text, "tree").next().and_then(|t| t.parse().ok());
        tree.ok_or_else(|| unexpected(commit.as_str(), "a commit without a tree"))
    }

    /// The parents of a commit, first parent first.
    pub fn parents(&self, commit: &CommitId) -> Result<Vec<CommitId>, GitError> {
        let text = self.commit_text(commit)?;
        let parse = |p: &str| p.parse().map_err(|e| unexpected(commit.as_str(), e));
        headers(&text, "parent").map(parse).collect()
    }

    /// The message of a commit, whole.
    pub fn message(&self, commit: &CommitId) -> Result<String, GitError> {
        let text = self.commit_text(commit)?;
        Ok(text.split_once("\n\n").map(|(_, message)| message.to_owned()).unwrap_or_default())
    }

    /// Whether the repository holds this commit.
    pub fn has_commit(&self, commit: &CommitId) -> Result<bool, GitError> {
        Ok(matches!(self.objects().read(self.git(), commit.as_str())?, Some((Kind::Commit, _))))
    }

    /// Whether `a` is `b` or in its history.
    pub fn is_ancestor(&self, a: &CommitId, b: &CommitId) -> Result<bool, GitError> {
        if a == b || self.is_near(a, b) {
            return Ok(true);
        }
        let ran = self.store().args(["merge-base", "--is-ancestor", a.as_str(), b.as_str()]).accept(1).run()?;
        Ok(ran.code == 0)
    }

    /// Whether `a` is among the nearest ancestors of `b`, as what has just landed is; read in process. `false` says nothing:
    /// it may be farther away, or beyond what a shallow history holds.
    fn is_near(&self, a: &CommitId, b: &CommitId) -> bool {
        let mut seen = BTreeSet::from([b.clone()]);
        let mut left = VecDeque::from([b.clone()]);
        while let Some(commit) = left.pop_front() {
            let Ok(parents) = self.parents(&commit) else {
                return false;
            };
            for parent in parents {
                if parent == *a {
                    return true;
                }
                if seen.len() < NEAR_MAX && seen.insert(parent.clone()) {
                    left.push_back(parent);
                }
            }
        }
        false
    }

    /// The best common ancestor, if the histories meet.
    pub fn merge_base(&self, a: &CommitId, b: &CommitId) -> Result<Option<CommitId>, GitError> {
        let ran = self.store().args(["merge-base", a.as_str(), b.as_str()]).accept(1).run()?;
        if ran.code == 1 {
            return Ok(None);
        }
        ran.text().parse().map(Some).map_err(|e| ran.unreadable(format!("{e}")))
    }

    /// How many commits `to` has that `from` has not.
    pub fn commits_between(&self, from: &CommitId, to: &CommitId) -> Result<u64, GitError> {
        let range = format!("{from}..{to}");
        let ran = self.store().args(["rev-list", "--count", range.as_str()]).run()?;
        ran.text().parse().map_err(|e| ran.unreadable(format!("{e}")))
    }

    /// The paths of every file, link and submodule in a tree, in git's order.
    pub fn files(&self, tree: &TreeId) -> Result<Vec<String>, GitError> {
        let mut paths = Vec::new();
        // Depth is bounded by what git itself accepts in a path.
        let mut stack = vec![(Vec::new(), self.entries(tree.as_str())?.into_iter())];
        while let Some((prefix, entries)) = stack.last_mut() {
            let Some(entry) = entries.next() else {
                stack.pop();
                continue;
            };
            let mut path = prefix.clone();
            path.extend_from_slice(&entry.name);
            if entry.mode == MODE_TREE {
                path.push(b'/');
                stack.push((path, self.entries(&entry.id)?.into_iter()));
            } else {
                paths.push(shown(&path));
            }
        }
        Ok(paths)
    }

    pub(crate) fn entry(&self, tree: &TreeId, path: &str) -> Result<Option<Entry>, GitError> {
        let mut tree = tree.as_str().to_owned();
        let path = bytes(path);
        let mut names = path.split(|b| *b == b'/').peekable();
        while let Some(name) = names.next() {
            let found = self.entries(&tree)?.into_iter().find(|e| e.name == name);
            match found {
                None => return Ok(None),
                Some(entry) if names.peek().is_none() => return Ok(Some(entry)),
                Some(entry) if entry.mode == MODE_TREE => tree = entry.id,
                Some(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The content of a file in a tree (of a link, its target); none if the tree has no such file.
    pub fn read_file(&self, tree: &TreeId, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        match self.blob_of(tree, path)? {
            Some(blob) => self.object(blob.as_str(), Kind::Blob).map(Some),
            None => Ok(None),
        }
    }

    /// Whether a path of a tree is a symbolic link.
    pub fn is_link(&self, tree: &TreeId, path: &str) -> Result<bool, GitError> {
        Ok(self.entry(tree, path)?.is_some_and(|entry| entry.mode == MODE_LINK))
    }

    /// The content of a blob.
    pub fn blob(&self, blob: &BlobId) -> Result<Vec<u8>, GitError> {
        self.object(blob.as_str(), Kind::Blob)
    }

    /// The id of a file's content in a tree.
    pub fn blob_of(&self, tree: &TreeId, path: &str) -> Result<Option<BlobId>, GitError> {
        let entry = self.entry(tree, path)?.filter(|e| !matches!(e.mode, MODE_TREE | MODE_GITLINK));
        entry.map(|e| e.id.parse().map_err(|err| unexpected(&e.id, err))).transpose()
    }

    /// The tree with nothing in it, written so that it can be named as a base.
    pub fn empty_tree(&self) -> Result<TreeId, GitError> {
        let ran = self.store().args(["hash-object", "-t", "tree", "-w", "--stdin"]).stdin("").run()?;
        ran.text().parse().map_err(|e| ran.unreadable(format!("{e}")))
    }

    /// What differs between two trees, renames paired (both their sides are named).
    pub fn changes(&self, from: &TreeId, to: &TreeId) -> Result<Vec<Change>, GitError> {
        if from == to {
            return Ok(Vec::new());
        }
        if let Some(changes) = self.plain_changes(from, to)? {
            return Ok(changes);
        }
        let args = ["diff-tree", "-r", "-M", "-z", "--raw", "--no-abbrev", from.as_str(), to.as_str()];
        let ran = self.store().args(args).run()?;
        let mut fields = ran.fields().map(shown);
        let mut changes = Vec::new();
        while let Some(info) = fields.next() {
            let status = info.rsplit(' ').next().and_then(|s| s.chars().next());
            let mut path = || fields.next().ok_or_else(|| ran.unreadable("a change without a path"));
            let (path, from, kind) = match status {
                Some('A') => (path()?, None, ChangeKind::Added),
                Some('M') => (path()?, None, ChangeKind::Modified),
                Some('D') => (path()?, None, ChangeKind::Deleted),
                Some('T') => (path()?, None, ChangeKind::TypeChanged),
                Some('R') => {
                    let from = path()?;
                    (path()?, Some(from), ChangeKind::Renamed)
                }
                _ => return Err(ran.unreadable(format!("`{info}`"))),
            };
            changes.push(Change { path, from, kind });
        }
        Ok(changes)
    }

    /// The difference between two trees for people: a patch, or with `stat` its summary per file.
    pub fn diff(&self, from: &TreeId, to: &TreeId, stat: bool) -> Result<String, GitError> {
        let form = if stat { "--stat" } else { "--patch" };
        let args = ["diff-tree", "-r", "-M", "--no-color", "--no-ext-diff", form, from.as_str(), to.as_str()];
        let ran = self.store().args(args).run()?;
        Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
    }
}

fn unexpected(id: &str, what: impl fmt::Display) -> GitError {
    GitError::Output { command: format!("git cat-file {id}"), what: what.to_string() }
}

/// The entries of a raw tree object, whose ids are `id_bytes` long.
fn parse_tree(id: &str, mut raw: &[u8], id_bytes: usize) -> Result<Vec<Entry>, GitError> {
    let broken = || unexpected(id, "a broken tree");
    let mut entries = Vec::new();
    while !raw.is_empty() {
        let space = raw.iter().position(|b| *b == b' ').ok_or_else(broken)?;
        let nul = raw.iter().position(|b| *b == 0).filter(|n| *n > space).ok_or_else(broken)?;
        let mode = std::str::from_utf8(&raw[..space]).ok().and_then(|m| u32::from_str_radix(m, 8).ok());
        let oid = raw.get(nul + 1..nul + 1 + id_bytes).ok_or_else(broken)?;
        let hex = oid.iter().map(|b| format!("{b:02x}")).collect();
        entries.push(Entry { mode: mode.ok_or_else(broken)?, name: raw[space + 1..nul].to_owned(), id: hex });
        raw = &raw[nul + 1 + id_bytes..];
    }
    Ok(entries)
}

/// The value of each header line `key` of a raw commit.
fn headers<'a>(raw: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let prefix = format!("{key} ");
    let head = raw.split_once("\n\n").map_or(raw, |(head, _)| head);
    head.lines().filter_map(move |line| line.strip_prefix(&*prefix))
}

#[cfg(test)]
mod tests;
