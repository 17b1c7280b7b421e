//! Merges without a checkout: git's own ort, renames and merge drivers included, on objects alone.
//!
//! A conflict is data: what each side has at each path, and what git says of it under kinds that git keeps stable. What is
//! asked only to know it, for many pairs at once, is in `trial`.

mod attributes;
mod known;
mod renormalize;
mod scratch;
mod trial;

use serde::{Deserialize, Serialize};

pub use trial::{Rules, Trial};

use crate::git::{GitError, Ran, Version};
use crate::ids::{CommitId, TreeId};
use crate::paths::shown;
use crate::repo::Repo;

/// Commits whose patches are compared when a landing is looked for by its patch. Past this the answer "not landed" is
/// given, which keeps work rather than dropping it.
const LANDED_COMMITS_MAX: &str = "--max-count=2000";

/// How a patch is written for its id. The whole of it: `log` pairs renames and converts text where `diff-tree` does not, and
/// without full object ids two changes of a binary file would look alike. `log` alone knows the user's `diff.algorithm`.
const PATCH: &[&str] =
    &["-p", "--full-index", "--binary", "--no-renames", "--no-ext-diff", "--no-textconv", "--diff-algorithm=myers"];

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
        /// The paths in conflict, each once, in git's order.
        paths: Vec<String>,
        /// What git says of them, for people.
        messages: String,
        /// What each side has at the paths in conflict.
        stages: Vec<Stage>,
        /// What git says of them, one by one.
        notes: Vec<Note>,
    },
}

impl Merged {
    /// Is a submodule in conflict?
    fn names_submodule(&self) -> bool {
        match self {
            Merged::Clean { .. } => false,
            Merged::Conflicts { stages, .. } => stages.iter().any(|stage| stage.mode == "160000"),
        }
    }

    /// Gives a side another name in the paths that git names after it: a file in whose place the other side has a folder
    /// becomes `file~NAME`, where NAME is what the merge was asked with (slashes become underscores).
    pub fn rename_side(&mut self, from: &str, to: &str) {
        let Merged::Conflicts { paths, messages, stages, notes, .. } = self else { return };
        let (from, to) = (format!("~{}", from.replace('/', "_")), format!("~{}", to.replace('/', "_")));
        let named = messages.contains(&from) || paths.iter().any(|path| path.contains(&from));
        if from == to || !named {
            return;
        }
        let rename = |text: &mut String| *text = text.replace(&from, &to);
        rename(messages);
        notes.iter_mut().for_each(|note| {
            note.paths.iter_mut().for_each(rename);
            rename(&mut note.text);
        });
        stages.iter_mut().for_each(|stage| rename(&mut stage.path));
        stages.sort_by(|one, other| (&one.path, one.side).cmp(&(&other.path, other.side)));
        *paths = stages.iter().map(|stage| stage.path.clone()).collect();
        paths.dedup();
    }
}

/// One side of a path in conflict, as the index would hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The path.
    pub path: String,
    /// Whose it is.
    pub side: Side,
    /// Its mode, as git writes it (`100644`).
    pub mode: String,
    /// Its content; of a submodule, its commit.
    pub id: String,
}

/// The sides of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The common ancestor.
    Base,
    /// The first commit.
    Ours,
    /// The second commit.
    Theirs,
}

/// One thing that git says of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The paths it is about.
    pub paths: Vec<String>,
    /// Its kind, which git keeps stable: `CONFLICT (contents)`, `Auto-merging`.
    pub kind: String,
    /// The words.
    pub text: String,
}

impl Repo {
    /// Merges two commits.
    pub fn merge(&self, m: &MergeSpec) -> Result<Merged, GitError> {
        let mut args = vec!["merge-tree", "--write-tree", "-z", "--allow-unrelated-histories"];
        let base;
        if let Some(given) = &m.base {
            self.needs("merge-tree --merge-base", Version(2, 40, 0), "2.40")?;
            base = format!("--merge-base={given}");
            args.push(&base);
        }
        args.extend([m.ours.as_str(), m.theirs.as_str()]);
        // Outside a run as `git merge` in a checkout of ours.
        let attributes = self.git().attributes().unwrap_or_else(|| m.ours.clone());
        let (run, _folder) = self.attributed(self.store().args(args), &attributes, self.git().store())?;
        let ran = run.accept(1).run()?;
        let mut fields = ran.stdout.split(|b| *b == 0);
        one(&ran, &mut fields, ran.code == 0)
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
    /// because a commit of `base..target` has the same patch in the files that it changes, whatever else that commit does: so
    /// several changes that were squashed into one count, too.
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
        let mut input = format!("{base}..{target}\n").into_bytes();
        let files = self.files_between(base, commit)?;
        // A line for each: where one of them holds a line end, whole commits are compared.
        if !files.iter().any(|path| path.contains(&b'\n')) {
            input.extend_from_slice(b"--\n");
            input.extend(files.iter().flat_map(|path| [path.as_slice(), b"\n"].concat()));
        }
        let log = self.store().args(["log", "--no-merges", "--stdin", LANDED_COMMITS_MAX]).args(PATCH).stdin(input);
        Ok(self.patch_ids(log.run()?.stdout)?.contains(&id))
    }

    /// The files in which two commits differ, as bytes.
    fn files_between(&self, from: &CommitId, to: &CommitId) -> Result<Vec<Vec<u8>>, GitError> {
        let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", from.as_str(), to.as_str()];
        Ok(self.store().args(args).run()?.fields().map(<[u8]>::to_vec).collect())
    }
}

/// Reads one result: the tree, and of a conflict the stages up to an empty field, then the messages.
fn one<'a>(ran: &Ran, fields: &mut impl Iterator<Item = &'a [u8]>, clean: bool) -> Result<Merged, GitError> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let tree = fields.next().map(text).and_then(|t| t.parse().ok()).ok_or_else(|| ran.unreadable("no tree"))?;
    if clean {
        return Ok(Merged::Clean { tree });
    }
    let mut stages = Vec::new();
    for field in fields.by_ref().take_while(|f| !f.is_empty()).map(shown) {
        stages.push(stage(&field).ok_or_else(|| ran.unreadable(format!("`{field}`")))?);
    }
    let mut paths: Vec<String> = stages.iter().map(|stage| stage.path.clone()).collect();
    paths.dedup();
    let mut notes = Vec::new();
    while let Some(count) = fields.next().filter(|f| !f.is_empty()) {
        let count: usize = text(count).parse().map_err(|_| ran.unreadable("a message without its number of paths"))?;
        let about: Vec<String> = fields.by_ref().take(count).map(shown).collect();
        let (kind, said) = (fields.next().map(text), fields.next().map(text));
        let (Some(kind), Some(said)) = (kind, said) else { return Err(ran.unreadable("a message cut off")) };
        notes.push(Note { paths: about, kind, text: said });
    }
    let messages = notes.iter().map(|note| note.text.as_str()).collect();
    Ok(Merged::Conflicts { tree, paths, messages, stages, notes })
}

/// Reads `mode id stage<TAB>path`.
fn stage(field: &str) -> Option<Stage> {
    let (info, path) = field.split_once('\t')?;
    let mut words = info.split(' ');
    let (mode, id) = (words.next()?.to_owned(), words.next()?.to_owned());
    let side = match words.next()? {
        "1" => Side::Base,
        "2" => Side::Ours,
        "3" => Side::Theirs,
        _ => return None,
    };
    Some(Stage { path: path.to_owned(), side, mode, id })
}

#[cfg(test)]
mod tests;
