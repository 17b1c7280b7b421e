//! The brief: the part of the prompt that all workers of a run share, made of the base commit alone.
//!
//! No date, branch, path of a machine or name of a step is in it, so that its bytes are the same for
//! every worker and on every machine.

use wattle_workspace::{CommitId, GitError, Repo};

/// Instruction files that are read where they are present, in this order.
const INSTRUCTIONS: [&str; 2] = ["AGENTS.md", "CLAUDE.md"];
/// Instructions are passed on whole up to this; it is what comparable agents read (`spec/runtime.md` 1.10).
const INSTRUCTIONS_BYTES_MAX: usize = 32 << 10;
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
    let mut seen = Vec::new();
    for name in INSTRUCTIONS {
        let Some(bytes) = repo.read_file(&tree, name)? else { continue };
        let body = String::from_utf8_lossy(&bytes).into_owned();
        if seen.contains(&body) {
            continue;
        }
        text.push_str(&format!("\n# {name}\n\n{}\n", clip(&body)));
        seen.push(body);
    }
    Ok(text)
}

fn clip(body: &str) -> String {
    if body.len() <= INSTRUCTIONS_BYTES_MAX {
        return body.to_owned();
    }
    let end = (0..=INSTRUCTIONS_BYTES_MAX).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n(cut: the file is larger than {INSTRUCTIONS_BYTES_MAX} bytes)", &body[..end])
}
