//! `wattle clean`: frees slots, branches and blobs of finished runs whose work landed or was rejected; lists
//! what it keeps and why. Never the journal.

use std::collections::BTreeSet;

use serde::Serialize;
use wattle_workspace::{Expect, Pool, PoolOptions, RefChange, Repo};

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::ids::Blob;
use crate::journal::{Reader, RunView};
use crate::run::begin::own;
use crate::run::context::Context;
use crate::state::Machine;
use crate::state::step::Step;

/// Candidates hold nothing but what their steps' commits hold.
const CANDIDATE: &str = "refs/wattle/candidate";

/// Free slots, branches and blobs of finished runs.
#[derive(Debug, clap::Args)]
pub(crate) struct CleanArgs {
    /// Only list what would be freed.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Default, Serialize)]
struct Cleaned {
    v: u32,
    dry_run: bool,
    freed: Vec<String>,
    kept: Vec<Kept>,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Kept {
    what: String,
    why: String,
}

/// Frees what can be freed.
pub(crate) fn run(session: &Session, args: &CleanArgs) -> Done {
    let repo = session.repo()?;
    let ctx = session.context(repo)?;
    let mut cleaned = Cleaned { v: 1, dry_run: args.dry_run, ..Cleaned::default() };
    if let Some(reader) = Reader::open(ctx.repo.state_dir())? {
        let lock = own(&ctx, None)?;
        clean(&ctx, &reader, &mut cleaned)?;
        drop(lock);
    }
    show(session, &cleaned);
    Ok(Exit::Reached)
}

fn clean(ctx: &Context, reader: &Reader, cleaned: &mut Cleaned) -> Result<(), CliError> {
    let mut needed = BTreeSet::new();
    let mut holders = Vec::new();
    for summary in reader.runs()? {
        let view = reader.replay(&summary.run)?;
        let finished = view.steps.values().all(|step| step.state.terminal()) && view.state.terminal();
        if finished {
            refs(&ctx.repo, &view, cleaned)?;
        } else {
            cleaned.kept.push(Kept { what: format!("run {}", view.run), why: format!("it is {}", view.state) });
            holders.push(format!("{}/", view.run));
        }
        blobs(reader, &view, finished, &mut needed)?;
    }
    slots(&ctx.repo, &holders, cleaned)?;
    cleaned.bytes = reader.blobs.sweep(&needed, cleaned.dry_run);
    Ok(())
}

/// Branches and attempts of a finished run: gone where the work landed, kept with a reason where it did not.
fn refs(repo: &Repo, view: &RunView, cleaned: &mut Cleaned) -> Result<(), CliError> {
    let target = repo.read_ref(&format!("refs/heads/{}", view.started.target))?;
    for kind in ["refs/heads/wattle", "refs/wattle/attempt", CANDIDATE] {
        let prefix = format!("{kind}/{}/", view.run);
        for (name, commit) in repo.list_refs(&prefix)? {
            let step = name[prefix.len()..].split('/').next().unwrap_or_default();
            let record = view.steps.iter().find(|(id, _)| id.as_str() == step).map(|(_, record)| record);
            let rejected = record.is_some_and(|record| record.state == Step::Rejected);
            let superseded = record.is_some_and(|record| record.landed.is_some());
            let landed = match &target {
                _ if kind == CANDIDATE => true,
                Some(target) => superseded || repo.landed(&commit, &view.started.base.commit, target)?,
                None => false,
            };
            if landed || (rejected && kind == "refs/heads/wattle") {
                let gone = RefChange { name: name.clone(), new: None, old: Expect::Is(commit) };
                if !cleaned.dry_run {
                    repo.update_refs(&[gone], "wattle: clean")?;
                }
                cleaned.freed.push(name);
            } else {
                let why = if rejected { "rejected work is kept aside" } else { "it has not landed" };
                cleaned.kept.push(Kept { what: name, why: why.to_owned() });
            }
        }
    }
    Ok(())
}

/// Slots that no live run holds; what is in them is put aside first.
fn slots(repo: &Repo, holders: &[String], cleaned: &mut Cleaned) -> Result<(), CliError> {
    let pool = Pool::open(repo, PoolOptions::default())?;
    for slot in pool.list() {
        let what = format!("slot {}", slot.path.display());
        let keep = match (&slot.retired, &slot.holder) {
            (Some(why), _) => Some(why.clone()),
            (None, Some(holder)) if holders.iter().any(|run| holder.starts_with(run)) => {
                Some(format!("{holder} holds it"))
            }
            (None, Some(holder)) if holder.starts_with("path/") => Some("`wattle path` made it".to_owned()),
            (None, _) => None,
        };
        match keep {
            Some(why) => cleaned.kept.push(Kept { what, why }),
            None if cleaned.dry_run => cleaned.freed.push(what),
            None => match pool.remove(slot.slot) {
                Ok(salvaged) => {
                    cleaned.freed.push(what);
                    cleaned
                        .kept
                        .extend(salvaged.map(|one| Kept { what: one.name, why: "it was in a slot".to_owned() }));
                }
                Err(error) => cleaned.kept.push(Kept { what, why: error.to_string() }),
            },
        }
    }
    for (name, _) in repo.list_refs("refs/wattle/salvage/")? {
        cleaned.kept.push(Kept { what: name, why: "salvaged work: wattle restore".to_owned() });
    }
    Ok(())
}

/// Blobs that a run still needs: all of an open one; plan and reports of a finished one.
fn blobs(reader: &Reader, view: &RunView, finished: bool, needed: &mut BTreeSet<Blob>) -> Result<(), CliError> {
    if finished {
        needed.insert(view.started.plan.clone());
        needed.extend(view.started.files.values().cloned());
        needed.extend(view.steps.values().filter_map(|step| step.report.clone()));
        return Ok(());
    }
    for event in reader.events(&view.run, 0)? {
        let json = serde_json::to_value(&event).expect("events have string keys");
        collect(&json, needed);
    }
    Ok(())
}

/// Every text that can be the name of a blob.
fn collect(json: &serde_json::Value, into: &mut BTreeSet<Blob>) {
    match json {
        serde_json::Value::String(text) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            into.insert(Blob(text.clone()));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|one| collect(one, into)),
        serde_json::Value::Object(map) => map.values().for_each(|one| collect(one, into)),
        serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        serde_json::Value::Number(_) | serde_json::Value::String(_) => {}
    }
}

fn show(session: &Session, cleaned: &Cleaned) {
    if session.ui.json {
        return session.ui.object(cleaned);
    }
    let verb = if cleaned.dry_run { "would free" } else { "freed" };
    for what in &cleaned.freed {
        session.ui.data(&format!("{verb} {what}\n"));
    }
    for kept in &cleaned.kept {
        session.ui.data(&format!("kept {}: {}\n", kept.what, kept.why));
    }
    session.ui.talk(&format!("{verb} {} slots and refs, {} bytes of blobs", cleaned.freed.len(), cleaned.bytes));
}
