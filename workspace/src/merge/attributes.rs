//! Which commits merge alike as far as their `.gitattributes` go.
//!
//! `git merge` takes attributes (drivers, line ends, what is binary) from the files of the checkout that it runs in, hence
//! from the first of the two commits. One process reads them from one commit, so pairs are put into a process by the sum of
//! their attribute files. Subtrees are remembered by id: of a second commit only what differs is read.

use std::collections::HashMap;

use git2::{ObjectType, Oid};

use super::known::Root;
use crate::git::GitError;
use crate::ids::CommitId;
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
    root: Option<Root>,
    /// A tree that was read from end to end.
    walked: Option<Root>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(repo: &'a Repo, root: Option<Root>) -> Attributes<'a> {
        Attributes { repo, known: HashMap::new(), root, walked: None }
    }

    /// A tree that had to be read from end to end, for the next time.
    pub(super) fn walked(self) -> Option<Root> {
        self.walked
    }

    /// The sum for a commit; none when it has no attributes at all.
    pub(super) fn of(&mut self, commit: &CommitId) -> Result<Option<String>, GitError> {
        let tree = self.repo.tree_of(commit)?;
        if let Some(known) = self.known.get(tree.as_str()) {
            return Ok(known.clone());
        }
        if let Some(Root { root, sum }) = &self.root
            && self.repo.has_tree(root)?
        {
            let changed = self.repo.changed_paths(root, &tree)?;
            if !changed.iter().any(|path| path.rsplit('/').next().is_some_and(|name| name.as_bytes() == FILE)) {
                self.known.insert(tree.as_str().to_owned(), sum.clone());
                return Ok(sum.clone());
            }
        }
        // git limits the depth of a path, and with it that of this.
        let sum = self.sum(tree.as_str())?;
        self.walked = Some(Root { root: tree, sum: sum.clone() });
        Ok(sum)
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
