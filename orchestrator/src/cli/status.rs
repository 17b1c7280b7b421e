//! `wattle status`: one screen about a run.

use std::time::Duration;

use wattle_workspace::lock_holder;

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use super::verb::{Scene, scene};
use crate::report::status::{Status, screen};
use crate::ui::Style;

/// How often a watched run is looked at: verbs are promised within a second.
const LOOK: Duration = Duration::from_millis(400);

/// Show a run: its steps, queue, cost, and what waits for you.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Show it again whenever it changes, until nobody drives it.
    #[arg(long)]
    watch: bool,
}

/// Shows it.
pub(crate) fn run(session: &Session, args: &StatusArgs) -> Done {
    let mut scene = scene(session, false)?;
    let mut status = show(session, &scene);
    while args.watch && status.live.is_some() {
        std::thread::sleep(LOOK);
        let seq = scene.view.seq;
        scene.view = scene.found.reader.replay(&scene.found.run).map_err(CliError::from)?;
        if scene.view.seq != seq || lock_holder(&scene.ctx.repo).is_none() {
            if session.ui.live() {
                session.ui.raw(b"\x1b[H\x1b[2J");
            }
            status = show(session, &scene);
        }
    }
    Ok(Exit::Reached)
}

fn show(session: &Session, scene: &Scene) -> Status {
    let owner = lock_holder(&scene.ctx.repo);
    let status = Status::of(&scene.view, &scene.ctx.repo, owner.as_ref());
    if session.ui.json {
        session.ui.object(&status);
    } else {
        for line in screen(&scene.view, &status) {
            let spans: Vec<(Style, &str)> = line.iter().map(|(style, text)| (*style, text.as_str())).collect();
            session.ui.line(&spans);
        }
    }
    status
}
