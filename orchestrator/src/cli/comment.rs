//! `wattle comment`: a draft for the step's worker; it costs nothing until `wattle redo` sends it.

use std::path::PathBuf;

use super::error::CliError;
use super::session::Session;
use super::{Done, pick, verb};
use crate::journal::command::Verb;

/// Draft a comment on a step's work.
#[derive(Debug, clap::Args)]
pub(crate) struct CommentArgs {
    /// The step.
    step: String,
    /// The comment.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    message: Option<String>,
    /// Read the comment from a file, or from standard input (`-`).
    #[arg(short = 'F', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where it belongs.
    #[arg(long, value_name = "PATH:LINE")]
    at: Option<String>,
}

/// Drafts it.
pub(crate) fn run(session: &Session, args: &CommentArgs) -> Done {
    let text = verb::text(args.message.as_ref(), args.file.as_deref())?.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| CliError::usage("a comment needs words").hint("-m TEXT or -F FILE"))?;
    let scene = verb::scene(session, true)?;
    let step = pick::step(&scene.view, &args.step)?;
    verb::give(session, &scene, &Verb::Comment { step, text, at: args.at.clone() })
}
