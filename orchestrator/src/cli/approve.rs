//! `wattle approve`: lets commits into the queue, each bound to the commit that was seen.

use super::error::CliError;
use super::pick::{self, StepsArg};
use super::session::Session;
use super::{Done, verb};
use crate::journal::command::{Pinned, Verb};
use crate::state::step::Step;

/// Approve the commits of steps in review.
#[derive(Debug, clap::Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    steps: StepsArg,
    /// Everything in review; lists and pins what it approves.
    #[arg(long)]
    all: bool,
    /// Accept work on this path, which is outside the step's `touches`.
    #[arg(long, value_name = "PATH")]
    widen: Vec<String>,
}

/// Pins the commits as they are now, and approves them.
pub(crate) fn run(session: &Session, args: &ApproveArgs) -> Done {
    let scene = verb::scene(session, true)?;
    if args.steps.steps.is_empty() && !args.all && args.steps.risk.is_none() {
        return Err(
            CliError::usage("no step is named").hint("`wattle review` lists what waits; --all approves all of it")
        );
    }
    let in_review = |id: &wattle_planner::StepId| scene.view.steps[id].state == Step::Review;
    let picked = pick::steps(&scene.view, &args.steps, in_review)?;
    if picked.is_empty() {
        return Err(CliError::usage("nothing waits for review").hint("wattle status"));
    }
    // A commit of the user's that takes the place of the worker's moves what stands on it.
    let moved = |step: &wattle_planner::StepId| scene.view.steps[step].why.as_deref() == Some("branch_moved");
    let moved: Vec<_> = picked.iter().map(|(step, _)| step.clone()).filter(moved).collect();
    if let Some(words) = verb::consequence(&scene.view, &moved) {
        session.ui.talk(&words);
    }
    let mut pinned = Vec::new();
    for (step, typed) in picked {
        let now = scene.view.steps[&step].work.as_ref().map(|work| work.commit.to_string());
        let commit = typed.or(now);
        if args.all || args.steps.risk.is_some() {
            session.ui.talk(&format!("{step}@{}", commit.as_deref().unwrap_or("?")));
        }
        pinned.push(Pinned { step, commit });
    }
    verb::give(session, &scene, &Verb::Approve { steps: pinned, widen: args.widen.clone() })
}
