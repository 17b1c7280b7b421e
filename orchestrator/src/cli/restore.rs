//! `wattle restore`: brings work that was put aside back on a branch.

use serde_json::json;

use super::error::Exit;
use super::session::Session;
use super::verb::scene;
use super::{Done, pick};
use crate::run::salvage;

/// Bring salvaged work of a step back on a branch.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The step.
    step: String,
}

/// Makes the branch.
pub(crate) fn run(session: &Session, args: &RestoreArgs) -> Done {
    let scene = scene(session, false)?;
    let step = pick::step(&scene.view, &args.step)?;
    let back = salvage::restore(&scene.ctx, &scene.view.run, &step)?;
    let (branch, commit, from) = (&back.branch, &back.commit, &back.from);
    if session.ui.json {
        session.ui.object(&json!({ "v": 1, "step": step, "branch": branch, "commit": commit, "from": from }));
    } else {
        session.ui.data(&format!("{branch}\n"));
        session.ui.talk(&format!("{} from {from}", commit.short()));
    }
    Ok(Exit::Reached)
}
