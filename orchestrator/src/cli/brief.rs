//! `wattle brief`: what every worker of a run begun now would be told, and what it costs.

use schemars::JsonSchema;
use serde::Serialize;
use wattle_cache::ledger::estimate_tokens;

use super::error::{CliError, Exit};
use super::session::Session;
use super::{Done, plan};
use crate::run::brief::{Brief, brief};

/// What stands for a task that is not given.
const NO_TASK: &str = "(the task of the run)";

/// Print the part of the prompt that all workers of a run begun now would share.
///
/// The text itself goes to stdout; its sections with their sizes, and what was left out and why, go to stderr. Tokens
/// are estimated from bytes, rather too high than too low. The symbols of a repository are read once and kept, so a
/// second call is fast.
#[derive(Debug, clap::Args)]
pub(crate) struct BriefArgs {
    /// The task; a line stands for it where it is not given.
    task: Option<String>,
    /// The commit that the run would start from; the default is HEAD.
    #[arg(long, value_name = "REV")]
    base: Option<String>,
}

/// `brief --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Shown {
    /// Version of this JSON.
    v: u32,
    /// The commit.
    base: String,
    /// The parts, in their order; the whole is their texts with a line end between each two.
    sections: Vec<Part>,
    /// Bytes of the whole.
    bytes: usize,
    /// Tokens of the whole, estimated.
    tokens: u64,
    /// What is not in it and why.
    left_out: Vec<String>,
}

/// A part of it.
#[derive(Debug, Serialize, JsonSchema)]
struct Part {
    /// What it is about.
    name: &'static str,
    /// Its bytes.
    bytes: usize,
    /// Its tokens, estimated.
    tokens: u64,
    /// Its text.
    text: String,
}

/// Prints it.
pub(crate) fn run(session: &Session, args: &BriefArgs) -> Done {
    let repo = session.repo()?;
    let base = match &args.base {
        Some(rev) => repo.resolve(rev)?.ok_or_else(|| CliError::usage(format!("`{rev}` is no revision")))?,
        None => plan::head(&repo)?,
    };
    let made = brief(&repo, &base, &repo.facts()?, args.task.as_deref().unwrap_or(NO_TASK))?;
    if session.ui.json {
        session.ui.object(&shown(&made, base.as_str()));
        return Ok(Exit::Reached);
    }
    let text = made.text();
    session.ui.data(&text);
    for section in &made.sections {
        let (bytes, tokens) = (section.text.len(), section.tokens());
        session.ui.talk(&format!("{:<14} {bytes:>8} bytes {tokens:>8} tokens", section.name));
    }
    let tokens = estimate_tokens(text.len());
    session.ui.talk(&format!("{:<14} {:>8} bytes {tokens:>8} tokens (estimated)", "in all", text.len()));
    for left_out in &made.left_out {
        session.ui.talk(&format!("left out: {left_out}"));
    }
    Ok(Exit::Reached)
}

fn shown(made: &Brief, base: &str) -> Shown {
    let part = |section: &crate::run::brief::Section| Part {
        name: section.name,
        bytes: section.text.len(),
        tokens: section.tokens(),
        text: section.text.clone(),
    };
    let bytes = made.text().len();
    Shown {
        v: 1,
        base: base.to_owned(),
        sections: made.sections.iter().map(part).collect(),
        bytes,
        tokens: estimate_tokens(bytes),
        left_out: made.left_out.clone(),
    }
}
