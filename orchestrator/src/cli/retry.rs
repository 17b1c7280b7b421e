//! `wattle retry`: tries steps again that failed, were blocked, stopped or skipped.

use super::error::CliError;
use super::pick::StepsArg;
use super::session::Session;
use super::{Done, pick, verb};
use crate::journal::command::Verb;

/// Try steps again.
#[derive(Debug, clap::Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    steps: StepsArg,
    /// With a new conversation.
    #[arg(long)]
    fresh: bool,
}

/// Asks for it.
pub(crate) fn run(session: &Session, args: &RetryArgs) -> Done {
    let scene = verb::scene(session, true)?;
    let steps: Vec<_> = pick::steps(&scene.view, &args.steps, |_| false)?.into_iter().map(|(step, _)| step).collect();
    if steps.is_empty() {
        return Err(CliError::usage("no step is named").hint("wattle status"));
    }
    verb::give(session, &scene, &Verb::Retry { steps, fresh: args.fresh })
}
