//! `wattle completions`: completions of the command line for a shell.

use clap_complete::Shell;

use super::error::Exit;
use super::session::Session;
use super::{Done, grammar};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints them.
pub(crate) fn run(session: &Session, args: &CompletionsArgs) -> Done {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut grammar(), "wattle", &mut text);
    session.ui.raw(&text);
    Ok(Exit::Reached)
}
