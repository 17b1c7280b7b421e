//! What a completed run frees without being asked, so that the refs of a repository stay bounded where nobody ever says
//! `wattle clean`: what was put aside and is over by `keep.days` and `keep.count`, and branches and attempts of completed
//! runs that are older than that, or beyond that number.
//!
//! The rules are those of `clean`, and so are the promises: what the target does not hold is put aside first and has its
//! days from then on, nothing goes that no earlier look has listed, what cannot be told stays. Slots and blobs stay: they
//! are of use to the next run.

use std::collections::{BTreeMap, BTreeSet};

use wattle_workspace::CommitId;

use super::{Cleaned, branches, retention};
use crate::config::Keep;
use crate::ids::RunId;
use crate::journal::{JournalError, Reader};
use crate::run::begin::{RunError, own};
use crate::run::context::Context;
use crate::state::run::Run;

/// The refs of attempts.
const ATTEMPTS: &str = "refs/wattle/attempt/";
/// Runs that are looked at after one run, the oldest first: each takes some milliseconds, and one run makes the attempts
/// of one run. What is left is for the next.
const RUNS_MAX: usize = 16;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Frees what is over. Where somebody else owns the repository by now, it is left to the end of their run.
pub(crate) fn retain(ctx: &Context, keep: Keep) -> Result<Cleaned, RunError> {
    let mut done = Cleaned { keep, ..Cleaned::default() };
    let Some(reader) = Reader::open(ctx.repo.state_dir())? else { return Ok(done) };
    let aside = ctx.repo.list_refs(retention::ROOT)?;
    let runs = over(ctx, &reader, keep, &ctx.repo.list_refs(ATTEMPTS)?)?;
    let (owners, unlisted) = retention::due(ctx, keep, &aside);
    if runs.is_empty() && owners.is_empty() && !unlisted {
        return Ok(done);
    }
    let _lock = match own(ctx, None) {
        Err(RunError::Busy { .. }) => return Ok(done),
        lock => lock?,
    };
    let mut views = BTreeMap::new();
    let checked_out = ctx.repo.branches_checked_out();
    for run in runs {
        let view = reader.replay(&run)?;
        branches::clean(ctx, &view, &checked_out, false, &mut done)?;
        views.insert(run.to_string(), view);
    }
    let known: BTreeSet<String> = reader.runs()?.into_iter().map(|run| run.run.to_string()).collect();
    for run in owners.intersection(&known) {
        if !views.contains_key(run) {
            views.insert(run.clone(), reader.replay(&RunId::from_text(run.clone()))?);
        }
    }
    retention::clean(ctx, keep, &views, &aside, false, &mut done)?;
    Ok(done)
}

/// Completed runs whose attempts are over.
fn over(
    ctx: &Context,
    reader: &Reader,
    keep: Keep,
    attempts: &[(String, CommitId)],
) -> Result<Vec<RunId>, JournalError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in attempts {
        *counts.entry(name.trim_start_matches(ATTEMPTS).split('/').next().unwrap_or_default()).or_default() += 1;
    }
    let now = ctx.clock.now_ms();
    let old = |at: &str| {
        let at = at.parse::<jiff::Timestamp>().map_or(now, |time| time.as_millisecond());
        (now - at) / DAY_MS >= i64::from(keep.days)
    };
    let (mut place, mut found) = (0, Vec::new());
    for run in reader.runs()? {
        let Some(count) = counts.get(run.run.as_str()) else { continue };
        place += count;
        let many = place > keep.count as usize;
        if run.state == Run::Completed.as_str() && (many || (old(&run.since) && old(&ended(reader, &run.run)?))) {
            found.push(run.run);
        }
    }
    Ok(found.into_iter().rev().take(RUNS_MAX).collect())
}

/// When the last thing happened in a run.
fn ended(reader: &Reader, run: &RunId) -> Result<String, JournalError> {
    let events = reader.events(run, 0)?;
    Ok(events.last().map(|event| event.ts.clone()).unwrap_or_default())
}
