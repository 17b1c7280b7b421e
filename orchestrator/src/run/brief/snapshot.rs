//! How the repository stood when the run began: branch, upstream, newest commits, and what is not included.

use wattle_worker::symbols::one_line;
use wattle_workspace::{CommitId, Facts, GitError, Head, Repo};

use super::fenced;

/// Commits that are named: what the code was last changed for.
const COMMITS_MAX: usize = 5;
/// Dirty paths that are named.
const DIRTY_MAX: usize = 30;
/// Characters of a subject, a branch or a path.
const CHARS_MAX: usize = 120;

/// The section.
pub(super) fn snapshot(
    repo: &Repo,
    base: &CommitId,
    facts: &Facts,
    left_out: &mut Vec<String>,
) -> Result<String, GitError> {
    let line = |text: &str| one_line(text, CHARS_MAX);
    let mut lines = String::new();
    match &facts.head {
        Head::Branch { name, .. } => lines.push_str(&format!("branch: {}\n", line(name))),
        Head::Detached { commit } => lines.push_str(&format!("branch: none, HEAD is at {}\n", commit.short())),
    }
    if let Some(upstream) = &facts.upstream {
        let name = line(&upstream.name);
        lines.push_str(&format!("upstream: {name}, {} ahead, {} behind\n", upstream.ahead, upstream.behind));
    }
    lines.push_str(&format!("base: {base}\n"));
    for (commit, subject) in newest(repo, base)? {
        lines.push_str(&format!("commit: {} {}\n", commit.short(), line(&subject)));
    }
    let mut text = format!("# The repository when this run began\n\n{}", fenced(&lines));
    if !facts.dirty.is_empty() {
        let dirty: String = facts.dirty.iter().take(DIRTY_MAX).map(|path| format!("{}\n", line(path))).collect();
        text.push_str("\nChanged or untracked in the user's checkout, and not included in the base:\n\n");
        text.push_str(&fenced(&dirty));
    }
    if facts.dirty.len() > DIRTY_MAX {
        let more = format!("{} of {} dirty paths", facts.dirty.len() - DIRTY_MAX, facts.dirty.len());
        text.push_str(&format!("\nLeft out: {more}.\n"));
        left_out.push(more);
    }
    Ok(text)
}

/// The newest commits along the first parents, each with its subject.
fn newest(repo: &Repo, base: &CommitId) -> Result<Vec<(CommitId, String)>, GitError> {
    let mut commits = Vec::new();
    let mut next = Some(base.clone());
    while let Some(commit) = next.take().filter(|_| commits.len() < COMMITS_MAX) {
        // A shallow history ends before its first commit.
        if !repo.has_commit(&commit)? {
            break;
        }
        let message = repo.message(&commit)?;
        next = repo.parents(&commit)?.into_iter().next();
        commits.push((commit, message.lines().next().unwrap_or_default().to_owned()));
    }
    Ok(commits)
}
