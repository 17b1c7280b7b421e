//! Is what has landed there? Looked at after a landing, by other means than those that merged it: a merge (or a merge
//! driver that ends with 0) may drop a side, and nobody would see it.

use wattle_planner::Style;
use wattle_workspace::{CommitId, GitError, Repo, TreeId};

use super::land::branch_ref;
use super::plan::gathered_in_order;
use crate::ids::LandingId;
use crate::journal::RunView;
use crate::journal::event::{Candidate, Entry};

/// Files of one entry that are compared. A rewrite of more files than this is compared in this many of them: a loss
/// that spares the first ten thousand is not one that a merge makes.
const PATHS_MAX: usize = 10_000;

/// What to look at.
#[derive(Debug, Clone)]
pub(crate) struct AuditJob {
    /// The landing.
    pub(crate) landing: LandingId,
    target: String,
    old: CommitId,
    new: CommitId,
    tree: TreeId,
    /// Does history hold the entries' own commits?
    merged: bool,
    parts: Vec<Part>,
}

/// One entry, and where it was put.
#[derive(Debug, Clone)]
struct Part {
    entry: Entry,
    base: CommitId,
    paths: Vec<String>,
    /// The tree that it was put on.
    on: TreeId,
    /// The commit that came of it.
    commit: CommitId,
    /// Its tree.
    made: TreeId,
}

/// What to look at once a landing is on the target.
pub(crate) fn audit_job(view: &RunView, id: LandingId) -> Option<AuditJob> {
    let record = view.landings.get(&id)?;
    let candidate = record.candidate.as_ref()?;
    let below = if record.last { gathered_in_order(view) } else { Vec::new() };
    let landings = below.into_iter().map(|(_, record)| record).chain((!record.last).then_some(record));
    let parts = landings.flat_map(|record| record.candidate.iter().flat_map(|made| parts(view, &record.entries, made)));
    Some(AuditJob {
        landing: id,
        target: view.started.target.clone(),
        old: candidate.old.clone(),
        new: candidate.new.clone(),
        tree: candidate.tree.clone(),
        merged: view.plan.commit().style == Style::Merge,
        parts: parts.collect(),
    })
}

fn parts(view: &RunView, entries: &[Entry], made: &Candidate) -> Vec<Part> {
    let on = std::iter::once(&made.old_tree).chain(&made.trees);
    let each = entries.iter().zip(on).zip(made.commits.iter().zip(&made.trees));
    each.filter_map(|((entry, on), (commit, tree))| {
        let work = view.step(&entry.step).work.as_ref()?;
        let generated = view.plan.generated();
        // What the landing makes anew is not what the step has made.
        let paths = work.paths.iter().filter(|path| !generated.iter().any(|made| made.path == **path));
        Some(Part {
            entry: entry.clone(),
            base: work.base.clone(),
            paths: paths.take(PATHS_MAX).cloned().collect(),
            on: on.clone(),
            commit: commit.clone(),
            made: tree.clone(),
        })
    })
    .collect()
}

/// What is not there, in words; empty when all of it is.
pub(crate) fn audit(repo: &Repo, job: &AuditJob) -> Result<Vec<String>, GitError> {
    let mut missing = Vec::new();
    match repo.read_ref(&branch_ref(&job.target))? {
        // Somebody may have moved it on since, or taken it back: that is theirs.
        Some(tip) if tip != job.new && !repo.is_ancestor(&job.new, &tip)? => return Ok(missing),
        Some(_) => {}
        None => return Ok(missing),
    }
    if repo.tree_of(&job.new)? != job.tree {
        missing.push(format!("the tree of {} is not the one that was checked", job.new.short()));
    }
    let mut below = &job.old;
    for part in &job.parts {
        let parents = repo.parents(&part.commit)?;
        if parents.first() != Some(below) || (job.merged && !parents.contains(&part.entry.commit)) {
            missing.push(format!("the commit of {} is not in its history", part.entry.step));
        }
        missing.extend(lost(repo, part)?);
        below = &part.commit;
    }
    if *below != job.new {
        missing.push(format!("{} is not what its steps were put together to", job.new.short()));
    }
    Ok(missing)
}

/// A file that only one side has changed is, after every merge, what that side made of it.
fn lost(repo: &Repo, part: &Part) -> Result<Option<String>, GitError> {
    let base = repo.tree_of(&part.base)?;
    let theirs = repo.tree_of(&part.entry.commit)?;
    for path in &part.paths {
        let before = repo.blob_of(&base, path)?;
        // A new file may follow a folder that was renamed meanwhile, a changed one may follow its own renaming.
        if before.is_none() || repo.blob_of(&part.on, path)? != before {
            continue;
        }
        let meant = repo.blob_of(&theirs, path)?;
        if repo.blob_of(&part.made, path)? != meant {
            return Ok(Some(format!("the change of {} to {path} is not in it", part.entry.step)));
        }
    }
    Ok(None)
}
