//! `wattle stop`: parks the run, or steps of it.

use super::pick::StepsArg;
use super::session::Session;
use super::{Done, pick, verb};
use crate::journal::command::Verb;

/// Park the run, or some of its steps.
#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    steps: StepsArg,
}

/// Asks for it.
pub(crate) fn run(session: &Session, args: &StopArgs) -> Done {
    let scene = verb::scene(session, true)?;
    let steps = pick::steps(&scene.view, &args.steps, |_| false)?.into_iter().map(|(step, _)| step).collect();
    verb::give(session, &scene, &Verb::Stop { steps })
}
