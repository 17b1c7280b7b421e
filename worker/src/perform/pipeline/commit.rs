//! The commit of a write step: made by us from the files of its worktree, told before it is made, and kept under
//! the attempt's own ref whatever becomes of it.

use std::sync::Arc;

use regex::RegexSet;
use wattle_workspace::{
    BlobId, CaptureError, CaptureOptions, Change, CommitId, CommitSpec, Expect, GitError, RefChange, RefError, Repo,
    TreeId,
};

use super::{Pipeline, plain};
use crate::assignment::CommitForm;
use crate::exec::{ExecEnd, Executed};
use crate::host::{Intent, Message};
use crate::outcome::{Cause, Committed, End, Evidence, Outcome};
use crate::perform::{Halt, blocking, restore, say};

/// How often a commit is made again whose objects somebody has pruned before their ref was there.
const TRIES_MAX: u32 = 3;
/// Written files that the evidence lists one by one; the commit itself has all of them.
const WROTE_MAX: usize = 2000;

/// What a commit was made of.
pub(super) struct Made {
    /// Is its tree certainly what the worktree holds? Not when paths were kept out of it, nor after a resume.
    pub(super) in_place: bool,
    pub(super) committed: Committed,
    /// Words of the executor.
    pub(super) executed: Executed,
}

impl Pipeline {
    /// The commit that an interrupted try had made, if it is still there.
    pub(super) async fn resumed(&self, form: &CommitForm) -> Result<Option<Made>, Halt> {
        let Some(commit) = self.step.resume.committed.clone() else {
            return Ok(None);
        };
        // What a failed executor had left is kept, and is as failed as it was.
        let end = match self.step.resume.failed.clone() {
            Some((cause, message)) => ExecEnd::Failed { cause, message },
            None => ExecEnd::Done,
        };
        let (tools, base, form) = (Arc::clone(&self.tools), self.step.place.base.clone(), form.clone());
        let checked = self.step.check.is_some();
        blocking(move || {
            let made = std::slice::from_ref(&commit);
            let whole = match made_ref(&form).filter(|_| checked) {
                // It may be a change moved to a new base, which nothing keeps before its check has passed.
                Some(name) => tools.repo.keep_whole(&name, &base, made, "wattle: made"),
                None => tools.repo.require_whole(&base, made),
            };
            match whole {
                Ok(()) => {}
                Err(GitError::Pruned { .. }) => return Ok(None),
                Err(error) => return Err(Halt::environment(error)),
            }
            let tree = tools.repo.tree_of(&commit).map_err(Halt::environment)?;
            let from = tools.repo.tree_of(&base).map_err(Halt::environment)?;
            let changes = tools.repo.changes(&from, &tree).map_err(Halt::environment)?;
            let evidence = Evidence { tree: Some(tree.clone()), ..Evidence::default() };
            let report = format!("Continued with the commit {} that was made before.\n", commit.short());
            let outside = outside(&changes, &form.touches)?;
            let committed = Committed { commit, tree, changes, outside };
            let executed = Executed { end, report, evidence, partial: false };
            Ok(Some(Made { in_place: false, committed, executed }))
        })
        .await
    }

    /// Makes a commit of the files of the worktree; no commit is an outcome of its own.
    pub(super) async fn commit(&self, form: &CommitForm, mut executed: Executed) -> Result<Made, Box<Outcome>> {
        if executed.end == ExecEnd::Parked {
            return Err(Box::new(plain(executed)));
        }
        let (tools, step, owned) = (Arc::clone(&self.tools), self.step.place.clone(), form.clone());
        let captured = blocking(move || {
            let base_tree = tools.repo.tree_of(&step.base).map_err(Halt::environment)?;
            let discard = CaptureOptions { discard: owned.discard.clone() };
            let captured = tools.repo.capture(&step.path, &step.base, &discard).map_err(uncommittable)?;
            let wrote = wrote(&tools.repo, &base_tree, &captured.tree, &captured.changes)?;
            let outside = outside(&captured.changes, &owned.touches)?;
            Ok((captured, outside, wrote))
        })
        .await;
        let (captured, outside, wrote) = match captured {
            Ok(captured) => captured,
            Err(halt) => return Err(Box::new(instead(executed, halt))),
        };
        executed.evidence.tree = Some(captured.tree.clone());
        if executed.evidence.wrote.is_empty() {
            executed.evidence.wrote = wrote;
        }
        if captured.changes.is_empty() {
            let outcome = plain(executed);
            let end = if outcome.end == End::Done { End::Unchanged } else { outcome.end.clone() };
            return Err(Box::new(Outcome { end, ..outcome }));
        }
        let spec = CommitSpec {
            tree: captured.tree.clone(),
            parents: vec![self.step.place.base.clone()],
            message: form.message.clone(),
            author: form.author.clone(),
            committer: form.committer.clone(),
            time_s: form.time_s,
        };
        let failed = match &executed.end {
            ExecEnd::Failed { cause, message } => Some((*cause, message.clone())),
            ExecEnd::Done | ExecEnd::Parked => None,
        };
        match self.make(form, spec, failed).await {
            Ok(commit) => {
                let committed = Committed { commit, tree: captured.tree, changes: captured.changes, outside };
                Ok(Made { in_place: form.discard.is_empty(), committed, executed })
            }
            Err(halt) => Err(Box::new(instead(executed, halt))),
        }
    }

    /// Makes the commit and a ref that keeps it: the attempt's own where nothing can change the commit any more, else one
    /// that goes when that comes.
    async fn make(
        &self,
        form: &CommitForm,
        spec: CommitSpec,
        failed: Option<(Cause, String)>,
    ) -> Result<CommitId, Halt> {
        let last = failed.is_some() || self.step.check.is_none();
        let (tools, owned) = (Arc::clone(&self.tools), spec.clone());
        let commit = blocking(move || tools.repo.commit_id(&owned).map_err(Halt::environment)).await?;
        let intent = Intent::Commit { commit: commit.clone(), tree: spec.tree.clone(), failed };
        say(&self.host, Message::Intent(intent)).await?;
        let tools = Arc::clone(&self.tools);
        let (place, form) = (self.step.place.clone(), form.clone());
        blocking(move || {
            let made = made_ref(&form).filter(|_| !last);
            let options = CaptureOptions { discard: form.discard.clone() };
            for _ in 0..TRIES_MAX {
                tools.repo.commit(&spec).map_err(Halt::environment)?;
                let kept = match &made {
                    Some(name) => {
                        let change = RefChange { name: name.clone(), new: Some(commit.clone()), old: Expect::Any };
                        tools.repo.update_refs(&[change], "wattle: made").map_err(Halt::environment)
                    }
                    None => keep(&tools.repo, &form, &commit),
                };
                match tools.repo.require_whole(&place.base, std::slice::from_ref(&commit)) {
                    Ok(()) => return kept.map(|()| commit),
                    Err(GitError::Pruned { .. }) => {}
                    Err(error) => return Err(Halt::environment(error)),
                }
                // Somebody has pruned what no ref kept yet; the files are still there.
                tools.repo.capture(&place.path, &place.base, &options).map_err(uncommittable)?;
            }
            tools.repo.unkeep(made.as_ref().unwrap_or(&form.attempt_ref), &commit);
            Err(Halt::environment("keep the commit: its objects are pruned as soon as they are made"))
        })
        .await
    }

    /// Points the attempt's ref at the commit, once and for ever.
    pub(super) async fn keep(&self, form: &CommitForm, commit: &CommitId) -> Result<(), Halt> {
        let (tools, commit, form) = (Arc::clone(&self.tools), commit.clone(), form.clone());
        blocking(move || keep(&tools.repo, &form, &commit)).await
    }
}

/// The ref that keeps a commit while it is checked.
fn made_ref(form: &CommitForm) -> Option<String> {
    let (run, attempt) = form.attempt_ref.strip_prefix("refs/wattle/attempt/")?.split_once('/')?;
    Some(format!("refs/wattle/candidate/{run}/made/{attempt}"))
}

fn keep(repo: &Repo, form: &CommitForm, commit: &CommitId) -> Result<(), Halt> {
    let name = form.attempt_ref.clone();
    if repo.read_ref(&name).map_err(Halt::environment)?.as_ref() == Some(commit) {
        return Ok(());
    }
    let mut changes = vec![RefChange { name, new: Some(commit.clone()), old: Expect::Absent }];
    if let Some(name) = made_ref(form)
        && let Some(made) = repo.read_ref(&name).map_err(Halt::environment)?
    {
        changes.push(RefChange { name, new: None, old: Expect::Is(made) });
    }
    match repo.update_refs(&changes, "wattle: attempt") {
        Ok(()) => Ok(()),
        Err(RefError::Moved { found: Some(found), .. }) if found == *commit => Ok(()),
        Err(error) => Err(Halt::environment(error)),
    }
}

/// The outcome when no commit could be made; an executor's own failure is the first cause and stays.
fn instead(executed: Executed, halt: Halt) -> Outcome {
    let own = plain(executed);
    match (&own.end, halt) {
        (_, Halt::Parked) => Outcome { end: End::Parked, ..own },
        (End::Failed { .. }, Halt::Failed(_, message)) => {
            let report = format!("{}\nIts files could not be kept as a commit: {message}.\n", own.report);
            Outcome { report, ..own }
        }
        (_, Halt::Failed(cause, message)) => {
            let report = format!("{}\nFailed: {message}.\n", own.report);
            Outcome { end: End::Failed { cause, message }, report, ..own }
        }
    }
}

fn uncommittable(error: CaptureError) -> Halt {
    let cause = match &error {
        CaptureError::Unexpressible { .. } | CaptureError::Submodules { .. } => Cause::Uncommittable,
        CaptureError::Pattern { .. } | CaptureError::Git(_) => Cause::Environment,
    };
    Halt::Failed(cause, error.to_string())
}

/// Changed paths that the step may not change; both sides of a rename count.
fn outside(changes: &[Change], touches: &[String]) -> Result<Vec<String>, Halt> {
    let anchored = touches.iter().map(|pattern| format!(r"\A(?:{pattern})\z"));
    let covered = RegexSet::new(anchored).map_err(Halt::environment)?;
    Ok(restore::paths(changes).into_iter().filter(|path| !covered.is_match(path)).collect())
}

type Wrote = (String, Option<BlobId>, Option<BlobId>);

fn wrote(repo: &Repo, before: &TreeId, after: &TreeId, changes: &[Change]) -> Result<Vec<Wrote>, Halt> {
    let paths = restore::paths(changes);
    let row = |path: String| {
        let old = repo.blob_of(before, &path).map_err(Halt::environment)?;
        let new = repo.blob_of(after, &path).map_err(Halt::environment)?;
        Ok((path, old, new))
    };
    paths.into_iter().take(WROTE_MAX).map(row).collect()
}
