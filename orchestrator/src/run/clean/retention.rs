//! How long what was put aside is kept: by age and by number, counted from the `clean` that first listed it.
//!
//! The age of a commit is not the age of its being put aside, so the days are counted in a small file of our
//! own. Where that is lost the count begins anew: an error only ever keeps. Nothing goes that an earlier `clean`
//! has not listed, and nothing whose step may still need it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wattle_workspace::CommitId;

use super::Cleaned;
use super::branches::delete;
use crate::config::Keep;
use crate::journal::RunView;
use crate::run::begin::RunError;
use crate::run::context::Context;
use crate::run::recover::LOOKED_AT;
use crate::state::step::Step;

/// Where work is put aside.
pub(super) const ROOT: &str = "refs/wattle/salvage/";

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// When what was put aside was first listed, `put-aside.json` in the repository's state directory.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    v: u32,
    /// By ref and commit, in milliseconds since 1970.
    since: BTreeMap<String, i64>,
}

impl Seen {
    fn file(ctx: &Context) -> PathBuf {
        ctx.repo.state_dir().join("put-aside.json")
    }

    fn load(ctx: &Context) -> Self {
        let read = std::fs::read(Self::file(ctx)).ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    fn store(&self, ctx: &Context) -> Result<(), RunError> {
        let failed = |source| RunError::Io { action: "keep the list of what is put aside", source };
        let mut file = tempfile::NamedTempFile::new_in(ctx.repo.state_dir()).map_err(failed)?;
        file.write_all(&serde_json::to_vec(self).expect("names and numbers")).map_err(failed)?;
        file.persist(Self::file(ctx)).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// One thing that is put aside.
struct Row {
    name: String,
    commit: CommitId,
    /// When it was first listed; now, if it is only now.
    first: i64,
    days: i64,
    /// Has an earlier look listed it?
    listed: bool,
    /// Has it been there for long enough, or are there too many?
    over: bool,
}

/// What is put aside, newest first. `before` is what was there when this look began.
fn rows(
    now: i64,
    seen: &Seen,
    keep: Keep,
    mut there: Vec<(String, CommitId)>,
    before: &[(String, CommitId)],
) -> Vec<Row> {
    // The newest first, so that the number counts from there.
    there.sort_by_key(|(name, commit)| std::cmp::Reverse(*seen.since.get(&key(name, commit)).unwrap_or(&now)));
    let row = |(place, (name, commit)): (usize, (String, CommitId))| {
        let since = seen.since.get(&key(&name, &commit)).copied();
        let since = since.filter(|_| before.iter().any(|(old, _)| *old == name));
        let first = since.unwrap_or(now);
        let days = (now - first) / DAY_MS;
        let over = since.is_some() && (days >= i64::from(keep.days) || place >= keep.count as usize);
        Row { name, commit, first, days, listed: since.is_some(), over }
    };
    there.into_iter().enumerate().map(row).collect()
}

fn key(name: &str, commit: &CommitId) -> String {
    format!("{name} {commit}")
}

/// Is there anything to do: the runs of what is over, and whether something has never been listed.
pub(super) fn due(ctx: &Context, keep: Keep, there: &[(String, CommitId)]) -> (BTreeSet<String>, bool) {
    let rows = rows(ctx.clock.now_ms(), &Seen::load(ctx), keep, there.to_vec(), there);
    let over = rows.iter().filter(|row| row.over).filter_map(|row| owner(&row.name).0);
    (over.map(str::to_owned).collect(), rows.iter().any(|row| !row.listed))
}

/// Lists what is put aside and frees what has been long enough. `before` is what was there when this clean began.
pub(super) fn clean(
    ctx: &Context,
    keep: Keep,
    views: &BTreeMap<String, RunView>,
    before: &[(String, CommitId)],
    dry_run: bool,
    done: &mut Cleaned,
) -> Result<(), RunError> {
    let mut since = BTreeMap::new();
    let there = ctx.repo.list_refs(ROOT)?;
    for row in rows(ctx.clock.now_ms(), &Seen::load(ctx), keep, there, before) {
        let Row { name, commit, first, days, over, .. } = row;
        let id = key(&name, &commit);
        match needed(views, &name) {
            Some(why) => done.kept("salvage", &name, format!("{why}; wattle restore brings it back")),
            None if over => {
                if !dry_run {
                    delete(ctx, name.clone(), commit)?;
                }
                let why = if days >= i64::from(keep.days) {
                    format!("listed {days} days ago, kept for {}", keep.days)
                } else {
                    format!("more than {} are put aside", keep.count)
                };
                done.freed("salvage", &name, why);
                continue;
            }
            None => {
                let left = i64::from(keep.days) - days;
                done.kept("salvage", &name, format!("wattle restore brings it back, for {left} days more"));
            }
        }
        since.insert(id, first);
    }
    if dry_run { Ok(()) } else { Seen { v: 1, since }.store(ctx) }
}

/// Run and step of what is put aside, by its name.
fn owner(name: &str) -> (Option<&str>, Option<&str>) {
    let mut parts = name.trim_start_matches(ROOT).trim_start_matches(LOOKED_AT).split('/');
    (parts.next(), parts.next())
}

/// Why what is put aside must not go by age: its step may need it, or nobody can tell whose it is.
fn needed(views: &BTreeMap<String, RunView>, name: &str) -> Option<String> {
    let (run, step) = owner(name);
    let (run, step) = (run.unwrap_or_default(), step.unwrap_or_default());
    let record = views.get(run).and_then(|view| view.steps.iter().find(|(id, _)| id.as_str() == step));
    let Some((_, record)) = record else { return Some("no run here knows whose it is".to_owned()) };
    match record.state {
        Step::Landed | Step::Rejected | Step::Done | Step::Unchanged | Step::Cancelled | Step::Skipped => None,
        Step::Waiting | Step::Ready | Step::Running | Step::NeedsInput | Step::Checking | Step::Review => {
            Some(format!("its step is {}", record.state))
        }
        Step::Approved | Step::Queued | Step::Landing | Step::Parked | Step::Stale | Step::Failed | Step::Blocked => {
            Some(format!("its step is {}", record.state))
        }
    }
}
