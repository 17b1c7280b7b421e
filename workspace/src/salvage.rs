//! Brings to safety what a worker wrote, before its slot is touched: its commits, its stashes and all its files, under
//! `refs/wattle/salvage/<holder>/<n>`. What is kept by another ref already is not kept twice, so it may be repeated.

use std::collections::BTreeSet;
use std::path::Path;

use crate::capture::{CaptureError, CaptureOptions, Captured};
use crate::commit::CommitSpec;
use crate::fault;
use crate::git::{GitError, Run};
use crate::ids::{CommitId, TreeId};
use crate::refs::{Expect, RefChange, RefError};
use crate::repo::Repo;

/// Where salvaged work is kept.
const ROOT: &str = "refs/wattle/salvage";
/// Where attempts are kept, by their holders.
const ATTEMPTS: &str = "refs/wattle/attempt";
/// The ref of the newest stash entry, which all worktrees share.
const STASH: &str = "refs/stash";
/// Refs that keep work; those of candidates do not, they come and go with the queue.
const KEEPERS: &[&str] = &["refs/heads", "refs/wattle/attempt", ROOT];
/// How often a salvage is made again whose objects somebody has pruned before their ref was there. A prune lists what
/// there is once, so a second one would have to meet the same few milliseconds.
const TRIES_MAX: u32 = 3;
/// Stash entries looked through for new ones; a person's stash rarely holds a dozen.
const STASH_ENTRIES_MAX: usize = 1000;

/// A slot's work could not be brought to safety.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SalvageError {
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Ref(#[from] RefError),
}

/// What to bring to safety.
pub(crate) struct Work<'a> {
    pub(crate) path: &'a Path,
    pub(crate) base: &'a CommitId,
    /// What HEAD of the worktree names.
    pub(crate) head: Option<CommitId>,
    pub(crate) holder: &'a str,
    /// `refs/stash` before the worker came.
    pub(crate) stash: Option<&'a CommitId>,
    /// When, in seconds since 1970.
    pub(crate) time_s: i64,
}

/// Keeps everything of `w` that no ref keeps yet; gives the refs made, the files' first.
pub(crate) fn salvage(repo: &Repo, w: &Work<'_>) -> Result<Vec<(String, CommitId)>, SalvageError> {
    fault::point("salvage.before");
    let mut made = Vec::new();
    // Commits and stashes first: files that no commit can hold must not keep those from safety.
    let stashes = new_stashes(repo, w)?;
    let stray = w.head.as_ref().filter(|head| *head != w.base);
    let stray = match stray {
        Some(head) if !reachable(repo, head)? => Some(head.clone()),
        _ => None,
    };
    let files = files_commit(repo, w);
    match &files {
        // The commit of the files has the stray HEAD as its parent, so one ref keeps both.
        Ok(Files::New(commit)) => made.push(keep_whole(repo, w, commit)?),
        Ok(Files::Kept | Files::Untouched) | Err(_) => {
            if let Some(head) = &stray {
                made.push(keep(repo, w, head)?);
            }
        }
    }
    for stash in &stashes {
        made.push(keep(repo, w, stash)?);
    }
    fault::point("salvage.after");
    files?;
    Ok(made)
}

/// Whether a ref keeps a commit of this tree: that of the holder's own attempt, or any branch or ref of ours.
pub(crate) fn kept(repo: &Repo, tree: &TreeId, holder: &str) -> Result<bool, GitError> {
    let own = repo.read_ref(&format!("{ATTEMPTS}/{}", folder(holder)))?;
    if let Some(commit) = own
        && repo.tree_of(&commit)? == *tree
    {
        return Ok(true);
    }
    Ok(known_trees(repo)?.contains(tree))
}

/// Where `refs/stash` is. Most repositories have none, and where refs are files git need not be asked to know that.
pub(crate) fn stash_now(repo: &Repo) -> Result<Option<CommitId>, GitError> {
    let common = repo.common_dir();
    if !common.join("reftable").exists() && !common.join("refs/stash").exists() {
        let packed = std::fs::read(common.join("packed-refs")).unwrap_or_default();
        if !packed.windows(STASH.len()).any(|w| w == STASH.as_bytes()) {
            return Ok(None);
        }
    }
    repo.read_ref(STASH)
}

/// What the files of a worktree are.
enum Files {
    /// Those of its base.
    Untouched,
    /// Those of a branch or of a ref of ours.
    Kept,
    /// Those of this commit, which nothing keeps yet.
    New(CommitId),
}

/// Keeps a commit of the worktree's files, and makes sure that all of it is there once a ref keeps it.
fn keep_whole(repo: &Repo, w: &Work<'_>, commit: &CommitId) -> Result<(String, CommitId), SalvageError> {
    let mut kept = keep(repo, w, commit);
    for _ in 0..TRIES_MAX {
        if repo.is_whole(w.base, commit)? {
            return kept;
        }
        // Made once more, the objects are the same ones; the ref may be there already.
        files_again(repo, w)?;
        if kept.is_err() {
            kept = keep(repo, w, commit);
        }
    }
    if let Ok((name, commit)) = &kept {
        repo.unkeep(name, commit);
    }
    let what = format!("{commit} lacks objects; is somebody pruning?");
    Err(GitError::Output { command: "git add".to_owned(), what }.into())
}

/// A commit of the worktree's files, if no branch or ref of ours has just these files.
fn files_commit(repo: &Repo, w: &Work<'_>) -> Result<Files, SalvageError> {
    let captured = repo.capture(w.path, w.base, &CaptureOptions::default())?;
    if captured.changes.is_empty() {
        return Ok(Files::Untouched);
    }
    if known_trees(repo)?.contains(&captured.tree) {
        return Ok(Files::Kept);
    }
    let parent = w.head.as_ref().unwrap_or(w.base);
    if repo.tree_of(parent)? == captured.tree && parent != w.base && reachable(repo, parent)? {
        return Ok(Files::Kept);
    }
    Ok(Files::New(commit_of(repo, w, captured)?))
}

fn files_again(repo: &Repo, w: &Work<'_>) -> Result<(), SalvageError> {
    commit_of(repo, w, repo.capture(w.path, w.base, &CaptureOptions::default())?)?;
    Ok(())
}

/// The commit that holds a slot's files; the same files give the same one.
fn commit_of(repo: &Repo, w: &Work<'_>, captured: Captured) -> Result<CommitId, GitError> {
    let parent = w.head.as_ref().unwrap_or(w.base);
    let message = format!(
        "Work left by {}\n\n{} paths differ from {}.\nSalvaged from {}.\n",
        w.holder,
        captured.changes.len(),
        w.base,
        w.path.display(),
    );
    let identity = repo.identity();
    let spec = CommitSpec {
        tree: captured.tree,
        parents: vec![parent.clone()],
        message,
        author: identity.clone(),
        committer: identity,
        time_s: w.time_s,
    };
    repo.commit(&spec)
}

/// The trees of all branches and of all refs of ours.
fn known_trees(repo: &Repo) -> Result<BTreeSet<TreeId>, GitError> {
    let args = ["for-each-ref", "--format=%(tree)"];
    Ok(repo.common().args(args).args(KEEPERS).text()?.lines().filter_map(|line| line.parse().ok()).collect())
}

fn reachable(repo: &Repo, commit: &CommitId) -> Result<bool, GitError> {
    let contains: Run = repo.common().args(["for-each-ref", "--format=%(refname)", "--contains", commit.as_str()]);
    Ok(contains.text()?.lines().any(|name| !name.starts_with("refs/wattle/candidate/")))
}

/// Stash entries that were not there when the worker came, and that nothing keeps yet.
fn new_stashes(repo: &Repo, w: &Work<'_>) -> Result<Vec<CommitId>, GitError> {
    let now = stash_now(repo)?;
    if now.is_none() || now.as_ref() == w.stash {
        return Ok(Vec::new());
    }
    let limit = format!("--max-count={STASH_ENTRIES_MAX}");
    let log = ["log", "--walk-reflogs", "--format=%H", &limit, "refs/stash", "--"];
    let text = repo.common().args(log).text()?;
    let entries = text.lines().filter_map(|line| line.parse::<CommitId>().ok());
    let mut new: Vec<CommitId> = entries.take_while(|entry| Some(entry) != w.stash).collect();
    if new.is_empty() {
        new.extend(now);
    }
    let kept: BTreeSet<CommitId> = repo.list_refs(ROOT)?.into_iter().map(|(_, commit)| commit).collect();
    new.retain(|stash| !kept.contains(stash));
    Ok(new)
}

/// A holder as the folders of a ref name: `run/step/attempt` stays, what git forbids is replaced.
fn folder(holder: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }
    };
    let parts = holder.split('/').filter(|part| !part.is_empty());
    let parts: Vec<String> = parts.map(|part| part.chars().map(safe).collect()).collect();
    if parts.is_empty() { "unnamed".to_owned() } else { parts.join("/") }
}

/// Points the next free ref of the holder at the commit.
fn keep(repo: &Repo, w: &Work<'_>, commit: &CommitId) -> Result<(String, CommitId), SalvageError> {
    let mut folder = folder(w.holder);
    loop {
        let prefix = format!("{ROOT}/{folder}");
        let taken = repo.list_refs(&prefix)?;
        let numbers = taken.iter().filter_map(|(name, _)| name.strip_prefix(&prefix)?.strip_prefix('/')?.parse().ok());
        let name = format!("{prefix}/{}", numbers.max().unwrap_or(0_u32) + 1);
        let change = RefChange { name: name.clone(), new: Some(commit.clone()), old: Expect::Absent };
        match repo.update_refs(&[change], "wattle: salvage") {
            Ok(()) => return Ok((name, commit.clone())),
            // Somebody took the number: the next one.
            Err(RefError::Moved { .. }) => {}
            // A holder whose name is a folder of another's: one level only, which no folder of ours is.
            Err(RefError::Occupied { .. }) if folder.contains('/') => folder = folder.replace('/', "-"),
            Err(RefError::Occupied { .. }) => folder.push_str("-files"),
            Err(e) => return Err(e.into()),
        }
    }
}
