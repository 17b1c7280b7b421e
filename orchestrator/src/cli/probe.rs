//! `wattle probe-slots`: tries out, for the process that starts it, whether slots can be mounts. Hidden: what it enters
//! cannot be left again, so it is a process of its own that ends at once.

use std::path::PathBuf;

use wattle_workspace::overlay;

use super::Done;
use super::error::Exit;
use super::session::Session;
use crate::run::overlay::CAN;

/// Try out whether slots can be mounts below a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    /// The folder.
    folder: PathBuf,
}

/// Tries, and prints what came of it.
pub(crate) fn run(session: &Session, args: &ProbeArgs) -> Done {
    let (exit, said) = match overlay::try_out(&args.folder) {
        Ok(()) => (Exit::Reached, CAN.to_owned()),
        Err(refused) => (Exit::Environment, refused.to_string()),
    };
    session.ui.data(&format!("{said}\n"));
    Ok(exit)
}
