//! A journal with a long history: what writing it costs, and what looking at it costs.

use std::time::{Duration, Instant};

use wattle_planner::StepId;
use wattle_worker::outcome::Verdict;

use super::scene::{begin, commit, steps};
use crate::ids::{Blob, RunId};
use crate::journal::event::{AttemptChange, Body, CheckRef};
use crate::journal::recorder::{RecordError, StepNote};
use crate::journal::{Glance, Reader, Recorder};
use crate::state::attempt::{Attempt, AttemptEvent};
use crate::state::step::StepEvent;

/// What was measured.
#[derive(Debug)]
pub struct History {
    /// Events in the journal.
    pub events: u64,
    /// What writing them took, the rows for `status` included.
    pub writing: Duration,
    /// How many commits that were.
    pub commits: u64,
    /// Bytes of the journal.
    pub bytes: u64,
    /// What `status` reads.
    pub glance: Duration,
    /// The same out of the events.
    pub fold: Duration,
}

/// Writes a run of so many steps and events, so many events a commit, and looks at it. `rows` = with those for `status`.
///
/// # Errors
/// In words, when something fails.
pub fn history(count: usize, events: u64, batch: u64, rows: bool) -> Result<History, String> {
    let folder = tempfile::tempdir_in("target").map_err(|error| error.to_string())?;
    let words = |error: RecordError| error.to_string();
    let mut rec = begin(steps(count), Vec::new(), (4, 1), folder.path())?;
    rec.commit().map_err(words)?;
    let ids: Vec<StepId> = rec.view.steps.keys().cloned().collect();
    let (begun, mut commits, mut last) = (Instant::now(), 0, rec.seq());
    let first = last;
    let mut step = 0;
    while rec.seq() < events {
        one(&mut rec, &ids[step % ids.len()], (events / count as u64 / 2).max(1)).map_err(words)?;
        step += 1;
        if rec.seq() - last >= batch {
            last = rec.seq();
            commits += 1;
            if rows { rec.commit().map(drop) } else { rec.commit_events() }.map_err(words)?;
        }
    }
    if rows { rec.commit().map(drop) } else { rec.commit_events() }.map_err(words)?;
    let writing = begun.elapsed();
    let (run, fold) = (rec.view.run.clone(), Glance::of(&rec.view));
    let (events, bytes) = (rec.seq() - first, size(folder.path()));
    drop(rec);
    let (glance, folding) = look(folder.path(), &run, rows.then_some(&fold))?;
    Ok(History { events, writing, commits, bytes, glance, fold: folding })
}

fn size(folder: &std::path::Path) -> u64 {
    folder.join("journal.db").metadata().map_or(0, |meta| meta.len())
}

fn look(folder: &std::path::Path, run: &RunId, expected: Option<&Glance>) -> Result<(Duration, Duration), String> {
    let words = |error: crate::journal::JournalError| error.to_string();
    let begun = Instant::now();
    let reader = Reader::open(folder).map_err(words)?.ok_or("there is no journal")?;
    let kept = reader.kept_glance(run).map_err(words)?;
    let glance = begun.elapsed();
    if expected.is_some() && kept.as_ref() != expected {
        return Err("what is kept is not what the events say".to_owned());
    }
    let begun = Instant::now();
    let events = reader.events(run, 0).map_err(words)?;
    // The plan of a benchmark is no blob: what parsing it costs comes on top.
    assert!(!events.is_empty());
    Ok((glance, begun.elapsed()))
}

/// An attempt of a step with so many turns and pieces of evidence.
fn one(rec: &mut Recorder, step: &StepId, turns: u64) -> Result<(), RecordError> {
    let state = rec.view.step(step).state;
    if !matches!(state, crate::state::step::Step::Waiting) {
        return evidence(rec, step, turns);
    }
    rec.step(step, StepEvent::Ready, StepNote::default())?;
    let change = AttemptChange {
        step: step.clone(),
        attempt: 1,
        event: None,
        state: Attempt::Leased,
        restack: false,
        slot: None,
        base: None,
        on: Vec::new(),
        cause: None,
    };
    rec.emit(Body::AttemptState(Box::new(change.clone())))?;
    rec.step(step, StepEvent::Start, StepNote::default())?;
    let (event, base) = (Some(AttemptEvent::Execute), Some(commit(1)));
    rec.emit(Body::AttemptState(Box::new(AttemptChange { event, state: Attempt::Executing, base, ..change })))?;
    evidence(rec, step, turns)
}

fn evidence(rec: &mut Recorder, step: &StepId, turns: u64) -> Result<(), RecordError> {
    let attempt = 1;
    for turn in 0..turns {
        let index = u32::try_from(rec.view.step(step).attempts[0].messages.len()).unwrap_or(u32::MAX);
        let message = Blob::of(&turn.to_le_bytes());
        rec.emit(Body::Turn { step: step.clone(), attempt, index, message: message.clone() })?;
        let of = format!("tool-{index}");
        rec.emit(Body::Evidence { step: step.clone(), attempt, of, evidence: message, exit: Some(0) })?;
    }
    let tree = commit(2).as_str().parse().expect("an id is an id");
    let check = CheckRef {
        check: "own".to_owned(),
        at: "step".to_owned(),
        tree,
        step: Some(step.clone()),
        landing: None,
        control: false,
        key: None,
    };
    rec.emit(Body::CheckFinished {
        check,
        verdict: Verdict::Green,
        cached: false,
        exit: Some(0),
        elapsed_ms: 1,
        output: None,
    })
}
