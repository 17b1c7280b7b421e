//! Which commits merge alike as far as their `.gitattributes` go.
//!
//! `git merge` takes attributes (drivers, line ends, what is binary) from the files of the checkout that it runs in, hence
//! from the first of the two commits. One process reads them from one commit, so pairs are put into a process by the sum of
//! their attribute files. Subtrees are remembered by id: of a second commit only what differs is read.

use std::collections::HashMap;

use git2::{ObjectType, Oid};

use crate::git::GitError;
use crate::ids::CommitId;
use crate::lookup::MODE_TREE;
use crate::repo::Repo;

/// The name of a file of attributes.
const FILE: &[u8] = b".gitattributes";

/// Sums of the attribute files of trees.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    repo: &'a Repo,
    /// By tree; none for one without such a file anywhere.
    known: HashMap<String, Option<String>>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(repo: &'a Repo) -> Attributes<'a> {
        Attributes { repo, known: HashMap::new() }
    }

    /// The sum for a commit; none when it has no attributes at all.
    pub(super) fn of(&mut self, commit: &CommitId) -> Result<Option<String>, GitError> {
        let tree = self.repo.tree_of(commit)?;
        // git limits the depth of a path, and with it that of this.
        self.sum(tree.as_str())
    }

    fn sum(&mut self, tree: &str) -> Result<Option<String>, GitError> {
        if let Some(known) = self.known.get(tree) {
            return Ok(known.clone());
        }
        let mut found = Vec::new();
        for entry in self.repo.entries(tree)? {
            let id = match entry.mode {
                MODE_TREE => self.sum(&entry.id)?,
                _ if entry.name == FILE => Some(entry.id),
                _ => None,
            };
            if let Some(id) = id {
                found.extend_from_slice(&entry.name);
                found.extend_from_slice(format!("\0{:o} {id}\n", entry.mode).as_bytes());
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

/// A digest that is the same in every process.
pub(super) fn digest(bytes: &[u8]) -> Result<String, GitError> {
    let failed = |e: git2::Error| GitError::Output { command: "hash".to_owned(), what: e.message().to_owned() };
    Ok(Oid::hash_object(ObjectType::Blob, bytes).map_err(failed)?.to_string())
}
