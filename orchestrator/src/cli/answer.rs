//! `wattle answer`: answers a gate or a worker's question.

use super::error::CliError;
use super::later::not_built;
use super::session::Session;
use super::{Done, pick, verb};
use crate::journal::command::{Answer, Verb};

/// Answer a step's question.
#[derive(Debug, clap::Args)]
pub(crate) struct AnswerArgs {
    /// The step.
    step: String,
    /// Yes.
    #[arg(long, group = "what")]
    allow: bool,
    /// Yes, and the same from here on.
    #[arg(long, requires = "allow")]
    always: bool,
    /// No.
    #[arg(long, group = "what")]
    deny: bool,
    /// In words.
    #[arg(short, long, value_name = "TEXT", group = "what")]
    message: Option<String>,
}

/// Gives the answer.
pub(crate) fn run(session: &Session, args: &AnswerArgs) -> Done {
    if args.always {
        return Err(not_built("answer --allow --always"));
    }
    let answer = match (&args.message, args.allow, args.deny) {
        (Some(text), _, _) => Answer::Text(text.clone()),
        (None, true, _) => Answer::Allow,
        (None, false, true) => Answer::Deny,
        (None, false, false) => return Err(CliError::usage("no answer is given").hint("--allow, --deny or -m TEXT")),
    };
    let scene = verb::scene(session, true)?;
    let step = pick::step(&scene.view, &args.step)?;
    verb::give(session, &scene, &Verb::Answer { step, answer })
}
