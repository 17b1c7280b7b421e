//! `wattle merge`: lands approved steps through the merge queue, in plan order.

use wattle_workspace::lock_holder;

use super::pick::StepsArg;
use super::session::Session;
use super::{Done, pick, resume, verb};
use crate::journal::command::Verb;
use crate::run::begin::Overrides;

/// Land approved steps; a held landing is tried again.
#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    steps: StepsArg,
}

/// Asks the live run for it, or drives the queue here.
pub(crate) fn run(session: &Session, args: &MergeArgs) -> Done {
    let scene = verb::scene(session, true)?;
    let steps: Vec<_> = pick::steps(&scene.view, &args.steps, |_| false)?.into_iter().map(|(step, _)| step).collect();
    if lock_holder(&scene.ctx.repo).is_some() {
        return verb::give(session, &scene, &Verb::Merge { steps });
    }
    let overrides = Overrides { merge: Some(steps), folder: session.start()?, ..Overrides::default() };
    resume::drive(session, &scene, &overrides)
}
