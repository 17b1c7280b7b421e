//! `wattle reject`: final; the work is kept aside under its attempt ref.

use std::path::PathBuf;

use super::error::CliError;
use super::pick::StepsArg;
use super::session::Session;
use super::{Done, pick, verb};
use crate::journal::command::Verb;

/// Reject a step's work for good.
#[derive(Debug, clap::Args)]
pub(crate) struct RejectArgs {
    #[command(flatten)]
    steps: StepsArg,
    /// Why.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    message: Option<String>,
    /// Read the reason from a file, or from standard input (`-`).
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Says what it means for dependents, and rejects.
pub(crate) fn run(session: &Session, args: &RejectArgs) -> Done {
    let scene = verb::scene(session, true)?;
    let text = verb::text(args.message.as_ref(), args.file.as_deref())?;
    let steps: Vec<_> = pick::steps(&scene.view, &args.steps, |_| false)?.into_iter().map(|(step, _)| step).collect();
    if steps.is_empty() {
        return Err(CliError::usage("no step is named"));
    }
    if let Some(words) = verb::consequence(&scene.view, &steps) {
        session.ui.talk(&words);
    }
    verb::give(session, &scene, &Verb::Reject { steps, text })
}
