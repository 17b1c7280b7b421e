//! `wattle path`: a worktree with a step's work, made if need be.

use super::error::Exit;
use super::session::Session;
use super::verb::scene;
use super::{Done, pick};
use crate::run::salvage;

/// Print the path of a worktree with a step's work, made if need be.
#[derive(Debug, clap::Args)]
pub(crate) struct PathArgs {
    /// The step.
    step: String,
}

/// Finds or makes it.
pub(crate) fn run(session: &Session, args: &PathArgs) -> Done {
    let scene = scene(session, false)?;
    let step = pick::step(&scene.view, &args.step)?;
    let path = salvage::path(&scene.ctx, &scene.view, &step)?;
    if session.ui.json {
        session.ui.object(&serde_json::json!({ "v": 1, "step": step, "path": path }));
    } else {
        session.ui.data(&format!("{}\n", path.display()));
    }
    Ok(Exit::Reached)
}
