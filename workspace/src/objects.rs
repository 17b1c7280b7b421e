//! Reads objects: git2 in process where it can open the repository, a `git cat-file --batch` coprocess elsewhere.
//!
//! Both give raw objects only; `lookup` takes them apart, once, so that the two cannot differ.

pub(crate) mod batch;
mod libgit2;

use std::fmt;

use crate::config::Effective;
use crate::git::{Git, GitError};

/// The type of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

/// A source of raw objects, asked by several threads at once.
pub(crate) trait Objects: Send + Sync + fmt::Debug {
    fn name(&self) -> &'static str;

    /// The object, or none if the repository has none of that id.
    fn read(&self, git: &Git, id: &str) -> Result<Option<(Kind, Vec<u8>)>, GitError>;

    /// Whether all is there by which commit `to` differs from `from`, whatever was read before; none = it cannot tell.
    fn has_between(&self, git: &Git, from: &str, to: &str) -> Result<Option<bool>, GitError>;
}

/// git2 if it can open the repository and lazy fetching is not needed, else the coprocess.
pub(crate) fn open_objects(git: &Git, effective: &Effective) -> Box<dyn Objects> {
    if !effective.partial()
        && let Some(objects) = libgit2::Libgit2::probe(git.store())
    {
        return Box::new(objects);
    }
    Box::new(batch::Batch::default())
}
