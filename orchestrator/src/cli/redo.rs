//! `wattle redo`: sends all drafts, and more words, to the same worker in one turn.

use std::path::PathBuf;

use super::error::CliError;
use super::pick::StepsArg;
use super::session::Session;
use super::{Done, pick, verb};
use crate::journal::command::Verb;

/// Have a step done again, with the drafted comments.
#[derive(Debug, clap::Args)]
pub(crate) struct RedoArgs {
    #[command(flatten)]
    steps: StepsArg,
    /// Words for the worker.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    message: Option<String>,
    /// Read the words from a file, or from standard input (`-`).
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Says what it means for dependents, and sends it.
pub(crate) fn run(session: &Session, args: &RedoArgs) -> Done {
    let scene = verb::scene(session, true)?;
    let text = verb::text(args.message.as_ref(), args.file.as_deref())?;
    let steps: Vec<_> = pick::steps(&scene.view, &args.steps, |_| false)?.into_iter().map(|(step, _)| step).collect();
    if steps.is_empty() {
        return Err(CliError::usage("no step is named"));
    }
    if let Some(words) = verb::consequence(&scene.view, &steps) {
        session.ui.talk(&words);
    }
    verb::give(session, &scene, &Verb::Redo { steps, text })
}
