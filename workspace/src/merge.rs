//! Merges without a checkout: git's own ort, renames and merge drivers included, on objects alone.

use crate::git::{GitError, Ran, Version};
use crate::ids::{CommitId, TreeId};
use crate::paths::shown;
use crate::repo::Repo;

/// Commits whose patches are compared when a landing is looked for by its patch. Past this the answer "not landed" is
/// given, which keeps work rather than dropping it.
const LANDED_COMMITS_MAX: &str = "--max-count=2000";

/// How a patch is written for its id. The whole of it: `log` pairs renames and converts text where `diff-tree` does not, and
/// without full object ids two changes of a binary file would look alike.
const PATCH: &[&str] = &["-p", "--full-index", "--binary", "--no-renames", "--no-ext-diff", "--no-textconv"];

/// What to merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeSpec {
    /// The common ancestor to use instead of the one that history gives (git 2.40).
    pub base: Option<CommitId>,
    /// One side; its content comes first in conflicts.
    pub ours: CommitId,
    /// The other side.
    pub theirs: CommitId,
}

/// What came of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// It merges.
    Clean {
        /// The merged files.
        tree: TreeId,
    },
    /// It does not.
    Conflicts {
        /// The files as far as they merge, with conflict markers in the rest.
        tree: TreeId,
        /// The paths in conflict.
        paths: Vec<String>,
        /// What git says of them.
        messages: String,
    },
}

impl Repo {
    /// Merges two commits.
    pub fn merge(&self, m: &MergeSpec) -> Result<Merged, GitError> {
        let mut args = vec!["merge-tree", "--write-tree", "-z", "--name-only", "--allow-unrelated-histories"];
        let base;
        if let Some(given) = &m.base {
            self.needs("merge-tree --merge-base", Version(2, 40, 0), "2.40")?;
            base = format!("--merge-base={given}");
            args.push(&base);
        }
        args.extend([m.ours.as_str(), m.theirs.as_str()]);
        let ran = self.store().args(args).accept(1).run()?;
        let fields: Vec<&[u8]> = ran.stdout.split(|b| *b == 0).collect();
        let mut fields = fields.into_iter();
        one(&ran, &mut fields, ran.code == 0)
    }

    /// Merges each pair, in one process; the answers are in the order of the pairs.
    pub fn merge_pairs(&self, pairs: &[(CommitId, CommitId)]) -> Result<Vec<Merged>, GitError> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let input: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
        let args = ["merge-tree", "--write-tree", "--stdin", "--name-only", "--allow-unrelated-histories"];
        let ran = self.store().args(args).stdin(input).accept(1).run()?;
        let fields: Vec<&[u8]> = ran.stdout.split(|b| *b == 0).collect();
        let mut fields = fields.into_iter();
        let mut answers = Vec::with_capacity(pairs.len());
        for _ in pairs {
            let clean = fields.next().filter(|s| matches!(*s, b"0" | b"1"));
            let clean = clean.ok_or_else(|| ran.unreadable("no status for a pair"))? == b"1";
            answers.push(one(&ran, &mut fields, clean)?);
            if clean {
                // The empty field that closes a pair; the list of messages, where there is one, closes itself.
                fields.next();
            }
        }
        Ok(answers)
    }

    /// What identifies the patch between two commits wherever it is applied; none for an empty one.
    pub fn patch_id(&self, from: &CommitId, to: &CommitId) -> Result<Option<String>, GitError> {
        let patch = self.store().args(["diff-tree"]).args(PATCH).args([from.as_str(), to.as_str()]);
        let patch = patch.run()?.stdout;
        Ok(self.patch_ids(patch)?.into_iter().next())
    }

    fn patch_ids(&self, patches: Vec<u8>) -> Result<Vec<String>, GitError> {
        let text = self.store().args(["patch-id", "--stable"]).stdin(patches).text()?;
        Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Whether the change from `base` to `commit` is in `target`: by history, or because merging it changes nothing, or
    /// because a commit of `base..target` has the same patch.
    pub fn landed(&self, commit: &CommitId, base: &CommitId, target: &CommitId) -> Result<bool, GitError> {
        if self.is_ancestor(commit, target)? {
            return Ok(true);
        }
        let merged = self.merge(&MergeSpec { base: None, ours: target.clone(), theirs: commit.clone() })?;
        if matches!(merged, Merged::Clean { tree } if tree == self.tree_of(target)?) {
            return Ok(true);
        }
        let Some(id) = self.patch_id(base, commit)? else {
            return Ok(self.tree_of(base)? == self.tree_of(commit)?);
        };
        let range = format!("{base}..{target}");
        let log = self.store().args(["log", "--no-merges", LANDED_COMMITS_MAX]).args(PATCH).args([range.as_str()]);
        Ok(self.patch_ids(log.run()?.stdout)?.contains(&id))
    }
}

/// Reads one result: the tree, and of a conflict the paths up to an empty field, then the messages.
fn one<'a>(ran: &Ran, fields: &mut impl Iterator<Item = &'a [u8]>, clean: bool) -> Result<Merged, GitError> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let tree = fields.next().map(text).and_then(|t| t.parse().ok()).ok_or_else(|| ran.unreadable("no tree"))?;
    if clean {
        return Ok(Merged::Clean { tree });
    }
    let paths = fields.by_ref().take_while(|f| !f.is_empty()).map(shown).collect();
    let mut messages = String::new();
    while let Some(count) = fields.next().filter(|f| !f.is_empty()) {
        let count: usize = text(count).parse().map_err(|_| ran.unreadable("a message without its number of paths"))?;
        // The paths it is about, then its type, then what is said.
        let said = fields.nth(count + 1).map(text).ok_or_else(|| ran.unreadable("a message cut off"))?;
        messages.push_str(&said);
    }
    Ok(Merged::Conflicts { tree, paths, messages })
}

#[cfg(test)]
mod tests;
