//! Makes commit objects: the bytes are ours, so the same specification gives the same id, however often it is repeated.

mod loose;
mod moved;

use std::fmt::Write as _;

use git2::{ObjectType, Oid};

use crate::git::{GitError, Run};
use crate::ids::{CommitId, Signature, TreeId};
use crate::repo::Repo;

/// Digits of an id in a repository of the usual format.
const SHA1_HEX: usize = 40;

/// All of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSpec {
    /// Its files.
    pub tree: TreeId,
    /// Its parents, first parent first.
    pub parents: Vec<CommitId>,
    /// Its message; ends with a newline in the object whether or not it does here.
    pub message: String,
    /// Who did the work.
    pub author: Signature,
    /// Who made the commit.
    pub committer: Signature,
    /// When, for both, in seconds since 1970 (UTC).
    pub time_s: i64,
}

/// A name or address without what would end its header: git drops the same characters.
fn plain(text: &str) -> String {
    let text: String = text.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\r' | '\0')).collect();
    let crud = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '.' | ',' | ':' | ';' | '"' | '\\' | '\'');
    text.trim_matches(crud).to_owned()
}

fn object(s: &CommitSpec) -> String {
    let mut out = format!("tree {}\n", s.tree);
    for parent in &s.parents {
        _ = writeln!(out, "parent {parent}");
    }
    for (role, who) in [("author", &s.author), ("committer", &s.committer)] {
        _ = writeln!(out, "{role} {} <{}> {} +0000", plain(&who.name), plain(&who.email), s.time_s);
    }
    // A NUL would end the message for every reader of it.
    let message = s.message.replace('\0', "");
    _ = write!(out, "\n{message}");
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

impl Repo {
    /// Writes the commit, durably, and gives its id.
    pub fn commit(&self, s: &CommitSpec) -> Result<CommitId, GitError> {
        self.write_commit(object(s).as_bytes(), is_sha1(&s.tree))
    }

    fn write_commit(&self, object: &[u8], sha1: bool) -> Result<CommitId, GitError> {
        // Where git2 opens the repository its objects are files of the usual kind.
        if self.objects_backend() == "git2"
            && self.plain_permissions()
            && let Some(id) = own_id(object, sha1)
        {
            loose::write(&self.common_dir().join("objects"), "commit", object, id.as_str())?;
            return Ok(id);
        }
        hash(self.store().args(["hash-object", "-t", "commit", "-w", "--stdin"]), object)
    }

    /// The id that [`Repo::commit`] would give, without writing anything.
    pub fn commit_id(&self, s: &CommitSpec) -> Result<CommitId, GitError> {
        let object = object(s);
        match own_id(object.as_bytes(), is_sha1(&s.tree)) {
            Some(id) => Ok(id),
            None => hash(self.store().args(["hash-object", "-t", "commit", "--stdin"]), object.as_bytes()),
        }
    }
}

fn is_sha1(tree: &TreeId) -> bool {
    tree.as_str().len() == SHA1_HEX
}

/// The id, computed in process where ids are git2's kind; its build knows SHA-1 only.
fn own_id(object: &[u8], sha1: bool) -> Option<CommitId> {
    let id = sha1.then(|| Oid::hash_object(ObjectType::Commit, object).ok()).flatten()?;
    id.to_string().parse().ok()
}

fn hash(run: Run, object: &[u8]) -> Result<CommitId, GitError> {
    let ran = run.stdin(object).run()?;
    ran.text().parse().map_err(|e| ran.unreadable(format!("{e}")))
}

#[cfg(test)]
mod tests;
