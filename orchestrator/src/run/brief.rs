//! The brief: the part of the prompt that all workers of a run share, made of the base commit alone.
//!
//! No date, branch, path of a machine or name of a step is in it, so that its bytes are the same for
//! every worker and on every machine.

use wattle_worker::instructions;
use wattle_workspace::{CommitId, GitError, Repo};

/// Directories of the layout that are named; beyond this a map helps less than a search.
const LAYOUT_LINES_MAX: usize = 200;

/// The brief of a base commit and a task.
pub(crate) fn brief(repo: &Repo, base: &CommitId, task: &str) -> Result<String, GitError> {
    let tree = repo.tree_of(base)?;
    let mut text = format!("# The task of this run\n\n{task}\n\n# Layout of the repository\n\n");
    let mut folders = std::collections::BTreeMap::<String, usize>::new();
    for file in repo.files(&tree)? {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let short: Vec<&str> = folder.split('/').take(3).collect();
        *folders.entry(short.join("/")).or_default() += 1;
    }
    for (folder, files) in folders.iter().take(LAYOUT_LINES_MAX) {
        let name = if folder.is_empty() { "." } else { folder };
        text.push_str(&format!("- {name}/ ({files} files)\n"));
    }
    if folders.len() > LAYOUT_LINES_MAX {
        text.push_str(&format!("- and {} more folders\n", folders.len() - LAYOUT_LINES_MAX));
    }
    text.push_str(&instructions::load(repo, &tree)?.shared);
    Ok(text)
}
