//! Giving a verb to a run, and saying what came of it: the same for all verbs.

use serde_json::json;

use super::Done;
use super::error::Exit;
use super::pick::{self, Found};
use super::session::Session;
use crate::journal::RunView;
use crate::journal::command::Verb;
use crate::report::events::describe;
use crate::run::context::Context;
use crate::run::theirs;
use crate::run::verbs::submit;

/// What a verb works on.
pub(crate) struct Scene {
    /// Repository, clock, environment.
    pub(crate) ctx: Context,
    /// The journal and the run.
    pub(crate) found: Found,
    /// The run as it is now.
    pub(crate) view: RunView,
}

/// Finds the repository and the run; `changes` = the verb changes something.
pub(crate) fn scene(session: &Session, changes: bool) -> Result<Scene, super::error::CliError> {
    let repo = session.repo()?;
    let ctx = session.context(repo)?;
    let found = pick::run(session, ctx.repo.state_dir(), changes)?;
    let mut view = found.reader.replay(&found.run)?;
    theirs::overlay(&ctx.repo, &mut view).map_err(crate::run::begin::RunError::from)?;
    Ok(Scene { ctx, found, view })
}

/// Gives it, and prints the events it caused.
pub(crate) fn give(session: &Session, scene: &Scene, verb: &Verb) -> Done {
    let done = submit(&scene.ctx, &scene.found.run, verb)?;
    if session.ui.json {
        let taken = if done.live { Some(scene.found.run.to_string()) } else { None };
        session.ui.object(&json!({ "v": 1, "run": scene.found.run, "picked_up_by": taken, "events": done.events }));
        return Ok(Exit::Reached);
    }
    for (style, text) in done.events.iter().filter_map(describe) {
        session.ui.line(&[(style, &text)]);
    }
    if done.live {
        session.ui.talk(&format!("picked up by run {}", scene.view.started.name));
    } else {
        let lands = matches!(verb, Verb::Approve { .. });
        let more = if lands { ", or wattle merge to land what is approved" } else { "" };
        session.ui.talk(&format!("nothing runs: wattle resume{more}"));
    }
    Ok(Exit::Reached)
}

/// Text of `-m`, or of a file, or of standard input (`-`).
pub(crate) fn text(
    message: Option<&String>,
    file: Option<&std::path::Path>,
) -> Result<Option<String>, super::error::CliError> {
    use super::error::CliError;
    let read = match (message, file) {
        (Some(text), _) => return Ok(Some(text.clone())),
        (None, None) => return Ok(None),
        (None, Some(path)) if path.as_os_str() == "-" => std::io::read_to_string(std::io::stdin()),
        (None, Some(path)) => std::fs::read_to_string(path),
    };
    read.map(Some).map_err(|error| CliError::file("read", file.unwrap_or(std::path::Path::new("-")), &error))
}

/// What a verb on a step means for those that stand on it, said before it is done: `None` = nothing.
pub(crate) fn consequence(view: &RunView, steps: &[wattle_planner::StepId]) -> Option<String> {
    let mut touched = std::collections::BTreeSet::new();
    let mut open: Vec<_> = steps.to_vec();
    while let Some(step) = open.pop() {
        for next in view.plan.successors(&step) {
            let has_work =
                view.steps.get(&next.step).is_some_and(|record| record.work.is_some() && record.landed.is_none());
            if has_work && !steps.contains(&next.step) && touched.insert(next.step.clone()) {
                open.push(next.step);
            }
        }
    }
    let price = most(view, &touched);
    let price =
        price.map_or("no cap in money".to_owned(), |most| format!("≤ {}", crate::config::money::format_usd(most)));
    (!touched.is_empty()).then(|| format!("{} restack, up to {} run again, {price}", touched.len(), touched.len()))
}

/// The most that these steps can cost if all of them run again, in nano-dollars: their own caps where all have one,
/// and never more than what the run's cap has left. `None` = there is no cap in money.
fn most(view: &RunView, steps: &std::collections::BTreeSet<wattle_planner::StepId>) -> Option<u64> {
    let works = steps.iter().filter_map(|id| view.plan.step(id));
    let works = works
        .flat_map(|step| std::iter::once((&step.work, 1)).chain(step.repair.iter().map(|r| (&r.work, r.attempts))));
    let caps: Vec<Option<u64>> = works
        .filter_map(|(work, times)| match work {
            wattle_planner::Work::Agent(agent) => Some(agent.max_nano_usd.map(|most| most * u64::from(times))),
            wattle_planner::Work::Run { .. } | wattle_planner::Work::Rewrite(_) | wattle_planner::Work::Revert(_) => {
                None
            }
        })
        .collect();
    let own: Option<u64> = caps.iter().copied().sum();
    let left = view.started.options.nano_usd_max.map(|most| most.saturating_sub(view.spent.nano_usd));
    match (own, left) {
        (Some(own), Some(left)) => Some(own.min(left)),
        (only, None) | (None, only) => only,
    }
}
