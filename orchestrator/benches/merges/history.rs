//! The merges of a history, and repositories that borrow its objects so that nothing is written to it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use wattle_workspace::CommitId;

use crate::place::Scene;
use crate::{Res, commit};

/// A merge commit of two parents.
pub(crate) struct Merge {
    pub(crate) commit: String,
    /// The tree that it records.
    pub(crate) tree: String,
    /// Its first parent.
    pub(crate) ours: CommitId,
    /// Its second parent.
    pub(crate) theirs: CommitId,
}

/// All of them that a ref reaches, newest first.
pub(crate) fn merges(scene: &Scene, repository: &Path) -> Res<Vec<Merge>> {
    let args = ["log", "--all", "--min-parents=2", "--max-parents=2", "--format=%H %T %P"];
    let list = scene.git(repository, &args)?;
    let merge = |line: &str| -> Res<Merge> {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, tree, ours, theirs] = words[..] else { return Err(format!("git log says {line}").into()) };
        Ok(Merge { commit: id.to_owned(), tree: tree.to_owned(), ours: commit(ours)?, theirs: commit(theirs)? })
    };
    list.lines().map(merge).collect()
}

/// Writes down for git which commits stand on which. It changes no answer: in histories of tens of thousands of commits
/// every merge would read them all to find its base.
pub(crate) fn index(scene: &Scene, repositories: &[&Path], merges: &[Merge]) -> Res<()> {
    for repository in repositories {
        let mut command = scene.command("git", repository, &["commit-graph", "write", "--stdin-commits"]);
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let mut pipe = child.stdin.take().ok_or("git has no input")?;
        for merge in merges {
            writeln!(pipe, "{}", merge.commit)?;
        }
        drop(pipe);
        if !child.wait()?.success() {
            return Err("git commit-graph failed".into());
        }
    }
    Ok(())
}

/// An empty repository of the scene whose objects are those of `of`.
pub(crate) fn borrowing(scene: &Scene, of: &Path, name: &str, how: &[&str]) -> Res<PathBuf> {
    let path = scene.root().join(name);
    let format = scene.git(of, &["rev-parse", "--show-object-format"])?;
    let format = format!("--object-format={format}");
    let shown = path.to_str().ok_or("the scratch folder's name is no text")?;
    scene.git(scene.root(), &[&["init", "-q", &format], how, &[shown]].concat())?;
    let objects = scene.git(of, &["rev-parse", "--path-format=absolute", "--git-path", "objects"])?;
    let folder = if how.contains(&"--bare") { path.clone() } else { path.join(".git") };
    fs::write(folder.join("objects/info/alternates"), format!("{objects}\n"))?;
    Ok(path)
}
