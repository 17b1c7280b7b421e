//! After a crash, a signal or a stop: asks the world what happened, and puts that into the journal.
//!
//! A process can have died at any point. What was intended is in the journal; what was done is in refs
//! and slots. Nothing is repeated that the world shows to be done, and nothing is assumed done that it
//! does not show.

use std::collections::BTreeSet;

use wattle_planner::StepId;
use wattle_workspace::{CommitId, GitError, Pool, PoolError, Repo, fault};

use super::dispatcher::lands::land_events;
use crate::ids::LandingId;
use crate::journal::command::withdraw;
use crate::journal::event::Body;
use crate::journal::recorder::{RecordError, StepNote};
use crate::journal::{JournalError, Reader, Recorder, RunView};
use crate::queue::land::{MoveEnd, advance, branch_ref};
use crate::state::Machine;
use crate::state::attempt::{Attempt, AttemptEvent};
use crate::state::landing::{Landing, LandingEvent};
use crate::state::run::Run;
use crate::state::step::{Step, StepEvent};

/// Beginning of the holders of slots that `wattle path` has made.
pub(crate) const LOOKED_AT: &str = "path/";

/// A failure to recover.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    /// The journal failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The slots cannot be brought to order.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The target branch is gone.
    #[error("find the target branch {0}: it is gone")]
    TargetGone(String),
}

/// Brings the state in line with the world. Where it only lands, what was parked stays parked.
///
/// The run's own state is changed by the caller.
pub(crate) fn recover(
    rec: &mut Recorder,
    repo: &Repo,
    pool: &Pool,
    lands_only: bool,
) -> Result<CommitId, RecoverError> {
    let target = rec.view.started.target.clone();
    let tip = repo.read_ref(&branch_ref(&target))?.ok_or(RecoverError::TargetGone(target))?;
    fault::point("recover.before");
    landings(rec, repo, &tip)?;
    fault::point("recover.landings");
    let steps: Vec<StepId> = rec.view.steps.keys().cloned().collect();
    for step in &steps {
        wake(rec, step, lands_only)?;
    }
    free_slots(rec, pool)?;
    fault::point("recover.after");
    Ok(tip)
}

/// Gives back every slot that nobody goes on in. Nobody may be at work.
pub(crate) fn free_slots(rec: &mut Recorder, pool: &Pool) -> Result<(), RecoverError> {
    let mut kept = kept_slots(&rec.writer.reader, pool)?;
    // This run's own may have changed just now.
    kept.retain(|holder| !holder.starts_with(&format!("{}/", rec.view.run)));
    kept.extend(kept_by(&rec.view));
    for salvaged in pool.recover(&kept)? {
        rec.emit(Body::Salvaged { slot: salvaged.slot.0, name: salvaged.name, commit: salvaged.commit })?;
    }
    Ok(())
}

/// Was the process that drove the run killed?
pub(crate) fn died(rec: &Recorder) -> bool {
    matches!(rec.view.state, Run::Planning | Run::Running)
}

fn landings(rec: &mut Recorder, repo: &Repo, tip: &CommitId) -> Result<(), RecoverError> {
    // The one that moves the target for all that was gathered comes first: if it did, they have landed with it.
    let (mut ids, others): (Vec<LandingId>, _) = rec.view.landings.keys().partition(|id| rec.view.landings[id].last);
    ids.extend(others);
    for id in ids {
        let record = rec.view.landings[&id].clone();
        match record.state {
            Landing::Queued | Landing::Candidate | Landing::Checking | Landing::Red => {
                withdraw(rec, id, "interrupted")?;
            }
            Landing::Green if record.gathered && *tip == rec.view.tip => {}
            Landing::Green if record.gathered => withdraw(rec, id, "tip_moved")?,
            Landing::Green | Landing::Held => settle(rec, repo, tip, id)?,
            Landing::Landed | Landing::Ejected => {}
        }
    }
    Ok(())
}

/// What is held although its target has moved to it, as where the disk was full for a checkout of it, goes on from there.
/// To be called before somebody lets go of what is held.
pub(crate) fn settle_held(rec: &mut Recorder, repo: &Repo) -> Result<(), RecoverError> {
    let target = rec.view.started.target.clone();
    let Some(tip) = repo.read_ref(&branch_ref(&target))? else { return Ok(()) };
    let held = rec.view.landings.iter().filter(|(_, record)| record.state == Landing::Held);
    let held: Vec<_> = held.filter_map(|(id, record)| Some((*id, record.candidate.clone()?.new))).collect();
    for (id, new) in held {
        if repo.is_ancestor(&new, &tip)? {
            settle(rec, repo, &tip, id)?;
        }
    }
    Ok(())
}

/// A landing that was about to move the target: did it?
fn settle(rec: &mut Recorder, repo: &Repo, tip: &CommitId, id: LandingId) -> Result<(), RecoverError> {
    let record = rec.view.landings[&id].clone();
    let Some(candidate) = record.candidate else { return Ok(withdraw(rec, id, "interrupted")?) };
    if !repo.is_ancestor(&candidate.new, tip)? {
        return Ok(withdraw(rec, id, "interrupted")?);
    }
    // The ref has moved, perhaps further since. A checkout that has not followed yet follows now.
    let target = rec.view.started.target.clone();
    match advance(repo, &target, &candidate, "wattle: land, resumed")? {
        MoveEnd::Moved | MoveEnd::TargetMoved(_) => Ok(land_events(rec, id)?),
        MoveEnd::Held { worktree, paths, why } => {
            rec.emit(Body::LandingHeld { landing: id, worktree, paths, why: why.to_owned() })?;
            if record.state == Landing::Green {
                rec.landing(id, LandingEvent::Hold, None, Some(why))?;
            }
            Ok(())
        }
    }
}

fn wake(rec: &mut Recorder, step: &StepId, lands_only: bool) -> Result<(), RecordError> {
    let record = rec.view.step(step);
    let live = record.at_work();
    let answered = record.gate.as_ref().is_some_and(|gate| gate.answer.is_some());
    let (state, cancelling) = (record.state, record.cancelling);
    if live {
        rec.attempt(step, AttemptEvent::Interrupt)?;
    }
    match state {
        Step::Running | Step::Checking | Step::NeedsInput if cancelling => {
            rec.step(step, StepEvent::Cancel, StepNote::why("human"))
        }
        Step::Running | Step::Checking => rec.step(step, StepEvent::Interrupt, StepNote::why("interrupted")),
        Step::NeedsInput if answered => rec.step(step, StepEvent::Interrupt, StepNote::why("interrupted")),
        Step::Parked if lands_only => Ok(()),
        Step::Parked => rec.step(step, StepEvent::Unpark, StepNote::default()),
        Step::NeedsInput | Step::Waiting | Step::Ready | Step::Review | Step::Approved => Ok(()),
        Step::Queued | Step::Landing | Step::Stale | Step::Landed | Step::Done => Ok(()),
        Step::Unchanged | Step::Failed | Step::Blocked | Step::Skipped => Ok(()),
        Step::Cancelled | Step::Rejected => Ok(()),
    }
}

/// Holders of slots that are to be left alone: those that interrupted workers of any run go on in, and
/// those that a human looks at.
pub(crate) fn kept_slots(reader: &Reader, pool: &Pool) -> Result<Vec<String>, JournalError> {
    let holders: Vec<String> = pool.list().into_iter().filter_map(|slot| slot.holder).collect();
    let runs: BTreeSet<&str> = holders.iter().filter_map(|holder| holder.split('/').next()).collect();
    let mut kept: Vec<String> = holders.iter().filter(|holder| holder.starts_with(LOOKED_AT)).cloned().collect();
    for run in reader.runs()? {
        if runs.contains(run.run.as_str()) {
            kept.extend(kept_by(&reader.replay(&run.run)?));
        }
    }
    Ok(kept)
}

/// Holders of the slots that interrupted workers of a run go on in.
fn kept_by(view: &RunView) -> Vec<String> {
    let kept = view.steps.iter().filter(|(_, record)| !record.state.terminal());
    kept.filter_map(|(step, record)| {
        let attempt = record.attempts.last()?;
        let open = match attempt.state {
            Attempt::Succeeded | Attempt::Failed => false,
            Attempt::Parked | Attempt::Interrupted | Attempt::Leased | Attempt::Executing => true,
            Attempt::Committed | Attempt::Checking | Attempt::Repairing | Attempt::Asking => true,
        };
        open.then(|| format!("{}/{step}/{}", view.run, attempt.number))
    })
    .collect()
}
