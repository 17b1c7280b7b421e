//! `wattle man`: the manual page, made of the same text as `--help`.

use super::error::{CliError, Exit};
use super::session::Session;
use super::{Done, grammar};

/// Print the manual page, or that of a command.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The command.
    command: Option<String>,
}

/// Prints it.
pub(crate) fn run(session: &Session, args: &ManArgs) -> Done {
    let mut whole = grammar();
    whole.build();
    let page = match &args.command {
        None => whole,
        Some(name) => {
            whole.find_subcommand(name).ok_or_else(|| CliError::usage(format!("there is no command `{name}`")))?.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).expect("a vector takes every byte");
    session.ui.raw(&text);
    Ok(Exit::Reached)
}
