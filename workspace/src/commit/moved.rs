//! Commits that are moved one by one, as `git rebase` moves them: who wrote what, when and why stays theirs.

use crate::git::GitError;
use crate::ids::{CommitId, Signature, TreeId};
use crate::repo::Repo;

use super::{is_sha1, plain};

impl Repo {
    /// The commits after `base` up to `commit`, oldest first, where each has one parent and they are at most `max`; else
    /// none. `base` itself has none after it.
    pub fn line(&self, base: &CommitId, commit: &CommitId, max: usize) -> Result<Option<Vec<CommitId>>, GitError> {
        let mut line = Vec::new();
        let mut at = commit.clone();
        while at != *base {
            let mut parents = self.parents(&at)?.into_iter();
            let (Some(parent), None) = (parents.next(), parents.next()) else { return Ok(None) };
            if line.len() == max {
                return Ok(None);
            }
            line.push(std::mem::replace(&mut at, parent));
        }
        line.reverse();
        Ok(Some(line))
    }

    /// Writes a commit that has the author, the author's date and the message of another, byte for byte, on other files and
    /// another parent. Signatures go: they are of the commit that was.
    pub fn recommit(
        &self,
        of: &CommitId,
        tree: &TreeId,
        parent: &CommitId,
        committer: &Signature,
        time_s: i64,
    ) -> Result<CommitId, GitError> {
        let old = self.commit_bytes(of)?;
        let end = old.windows(2).position(|pair| pair == b"\n\n").unwrap_or(old.len());
        let (headers, message) = old.split_at(end);
        let header = |name: &str| {
            let is_it = |line: &&[u8]| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
            headers.split(|byte| *byte == b'\n').find(is_it)
        };
        let author = header("author").ok_or_else(|| GitError::Output {
            command: format!("git cat-file commit {of}"),
            what: "a commit without an author".to_owned(),
        })?;
        let mut new = format!("tree {tree}\nparent {parent}\n").into_bytes();
        new.extend_from_slice(author);
        let who = (plain(&committer.name), plain(&committer.email));
        new.extend_from_slice(format!("\ncommitter {} <{}> {time_s} +0000", who.0, who.1).as_bytes());
        if let Some(encoding) = header("encoding") {
            new.push(b'\n');
            new.extend_from_slice(encoding);
        }
        new.extend_from_slice(if message.is_empty() { b"\n\n" } else { message });
        self.write_commit(&new, is_sha1(tree))
    }
}
