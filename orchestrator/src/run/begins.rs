//! How an agent's conversation begins: afresh, or from the lead's.
//!
//! A conversation that has begun goes on as it began. For a new one the plan's `context` says it, and where that leaves it
//! open the cost rule of `wattle_cache::fork`. From the lead's it can only begin where that is the same for the provider:
//! its model, and the brief before it.

use wattle_cache::fork::{Choice, Ground, choose};
use wattle_cache::ledger::estimate_tokens;
use wattle_cache::price::Table;
use wattle_planner::{AgentSpec, Context, Step, Work as Planned};
use wattle_worker::assignment::Work;
use wattle_worker::fork::{Fork, is_forked};

use super::jobs::AttemptJob;
use super::lead::LeadTalk;
use crate::journal::RunView;
use crate::journal::blob::{BlobError, Blobs};

/// Gives the work of an attempt the lead's conversation, if it is to go on from that. What comes back is why it does not,
/// although its plan says so.
pub(crate) fn begin(
    view: &RunView,
    blobs: &Blobs,
    prices: &Table,
    job: &mut AttemptJob,
) -> Result<Option<String>, BlobError> {
    let (Work::Agent(work), Planned::Agent(agent)) = (&mut job.work, &job.step.work) else { return Ok(None) };
    let begun = job.messages.first().map(|first| is_forked(first));
    if begun == Some(false) || (begun.is_none() && agent.context == Context::Fresh) {
        return Ok(None);
    }
    let asked = begun.is_none() && agent.context == Context::Fork;
    let Some(talk) = talk(view, blobs)? else {
        return Ok(asked.then(|| "there is no lead to go on from: the step begins afresh".to_owned()));
    };
    let same_model = job.model == talk.model;
    let fork = Fork { messages: talk.messages, read: talk.read };
    let why = if !same_model {
        Some("the lead's model was another one: the step begins afresh")
    } else if fork.brief().as_ref() != Some(&work.brief) {
        Some("the lead looked at another commit or task: the step begins afresh")
    } else {
        None
    };
    match (begun, why) {
        // What it was told then is part of what it says now.
        (Some(_), _) => work.fork = Some(fork),
        (None, Some(why)) => return Ok(asked.then(|| why.to_owned())),
        (None, None) if asked || pays(&fork, &work.brief, &job.step, agent, prices, job.model.as_deref()) => {
            work.fork = Some(fork);
        }
        (None, None) => {}
    }
    Ok(None)
}

/// The lead's conversation, where the run has one.
pub(crate) fn talk(view: &RunView, blobs: &Blobs) -> Result<Option<LeadTalk>, BlobError> {
    let Some(blob) = &view.started.lead else { return Ok(None) };
    // One that a newer version has written otherwise is as good as none.
    Ok(serde_json::from_str(&blobs.text(blob)?).ok())
}

/// Does it cost less to go on from the lead's conversation?
fn pays(fork: &Fork, brief: &str, step: &Step, agent: &AgentSpec, prices: &Table, model: Option<&str>) -> bool {
    let known = fork.known(|path| step.touches.iter().any(|glob| glob.matches(path)));
    let ground = Ground {
        lead_tokens: estimate_tokens(fork.bytes().saturating_sub(brief.len())),
        shared_tokens: estimate_tokens(brief.len()),
        known_tokens: estimate_tokens(known.bytes),
        known_files: known.files as u64,
        max_turns: u64::from(agent.max_turns),
    };
    let price =
        model.and_then(|model| model.split_once('/')).and_then(|(provider, name)| prices.newest(provider, name));
    choose(&ground, price.as_ref().map(|price| &price.rates)) == Choice::Fork
}
