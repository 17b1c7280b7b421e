//! Which commits merge alike as far as their `.gitattributes` go.
//!
//! `git merge` takes attributes (drivers, line ends, what is binary) from the files of the checkout that it runs in, hence
//! from the first of the two commits. One process reads them from one commit, so pairs are put into a process by the sum of
//! their attribute files. Subtrees are remembered by id: of a second commit only what differs is read.

use std::collections::HashMap;

use git2::{ObjectType, Oid};

use super::known::Root;
use crate::git::GitError;
use crate::ids::{CommitId, TreeId};
use crate::repo::Repo;

/// The mode of a folder in a raw tree.
const FOLDER: &[u8] = b"40000";
/// The name of a file of attributes.
const FILE: &[u8] = b".gitattributes";

/// Sums of the attribute files of trees.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    repo: &'a Repo,
    /// By tree; none for one without such a file anywhere.
    known: HashMap<String, Option<String>>,
    /// A tree whose sum is known from earlier: others are compared with it, as long as there are few of them.
    near: Option<Root>,
    /// Trees of commits whose sums are new.
    found: Vec<Root>,
}

impl<'a> Attributes<'a> {
    /// With the trees that are known from earlier. `compare`: others are compared with the newest of them, instead of
    /// being read from end to end.
    pub(super) fn new(repo: &'a Repo, roots: &[Root], compare: bool) -> Attributes<'a> {
        let known = roots.iter().map(|root| (root.root.as_str().to_owned(), root.sum.clone())).collect();
        Attributes { repo, known, near: roots.last().filter(|_| compare).cloned(), found: Vec::new() }
    }

    /// What was found out, for the next time.
    pub(super) fn found(self) -> Vec<Root> {
        self.found
    }

    /// The sum for a commit; none when it has no attributes at all.
    pub(super) fn of(&mut self, commit: &CommitId) -> Result<Option<String>, GitError> {
        let tree = self.repo.tree_of(commit)?;
        if let Some(known) = self.known.get(tree.as_str()) {
            return Ok(known.clone());
        }
        let sum = match self.as_near(&tree)? {
            Some(sum) => sum,
            // git limits the depth of a path, and with it that of this.
            None => self.sum(tree.as_str())?,
        };
        self.known.insert(tree.as_str().to_owned(), sum.clone());
        self.found.push(Root { root: tree, sum: sum.clone() });
        Ok(sum)
    }

    /// The sum of the tree that is known from earlier, if this one differs from it in no file of attributes.
    fn as_near(&self, tree: &TreeId) -> Result<Option<Option<String>>, GitError> {
        let Some(Root { root, sum }) = &self.near else { return Ok(None) };
        // It may have been collected since.
        if !self.repo.has_tree(root)? {
            return Ok(None);
        }
        let is_one = |path: &String| path.rsplit('/').next().is_some_and(|name| name.as_bytes() == FILE);
        let differs = self.repo.changed_paths(root, tree)?.iter().any(is_one);
        Ok((!differs).then(|| sum.clone()))
    }

    fn sum(&mut self, tree: &str) -> Result<Option<String>, GitError> {
        if let Some(known) = self.known.get(tree) {
            return Ok(known.clone());
        }
        let mut found = Vec::new();
        let raw = self.repo.tree_bytes(tree)?;
        let mut rest = raw.as_slice();
        // Every name of the repository passes here: what is not asked for is not even copied.
        while let Some(First { mode, name, id, next }) = first(rest, tree.len() / 2) {
            rest = next;
            let folder = mode == FOLDER;
            if !folder && name != FILE {
                continue;
            }
            let mut id = Some(hex(id));
            if folder {
                id = self.sum(id.as_deref().unwrap_or_default())?;
            }
            if let Some(id) = id {
                found.extend_from_slice(&[mode, b" ", name, b"\0", id.as_bytes(), b"\n"].concat());
            }
        }
        let sum = match found.is_empty() {
            true => None,
            false => Some(digest(&found)?),
        };
        self.known.insert(tree.to_owned(), sum.clone());
        Ok(sum)
    }
}

/// The first entry of a raw tree, and what follows it.
struct First<'a> {
    mode: &'a [u8],
    name: &'a [u8],
    id: &'a [u8],
    next: &'a [u8],
}

fn first(raw: &[u8], id_bytes: usize) -> Option<First<'_>> {
    let nul = raw.iter().position(|b| *b == 0)?;
    let space = raw[..nul].iter().position(|b| *b == b' ')?;
    let (id, next) = raw.get(nul + 1..)?.split_at_checked(id_bytes)?;
    Some(First { mode: &raw[..space], name: &raw[space + 1..nul], id, next })
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

/// A digest that is the same in every process.
pub(super) fn digest(bytes: &[u8]) -> Result<String, GitError> {
    let failed = |e: git2::Error| GitError::Output { command: "hash".to_owned(), what: e.message().to_owned() };
    Ok(Oid::hash_object(ObjectType::Blob, bytes).map_err(failed)?.to_string())
}
