//! `wattle status`: one screen about a run.

use std::path::PathBuf;
use std::time::Duration;

use wattle_workspace::{LockInfo, Site, lock_holder};

use super::Done;
use super::error::{CliError, Exit};
use super::pick::{self, Found};
use super::session::Session;
use super::verb::scene;
use crate::journal::Glance;
use crate::report::status::{Status, screen};
use crate::run::theirs;

/// How often a watched run is looked at: verbs are promised within a second.
const LOOK: Duration = Duration::from_millis(400);

/// Show a run: its steps, queue, cost, and what waits for you.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Show it again whenever it changes, until nobody drives it.
    #[arg(long)]
    watch: bool,
}

/// What is shown.
struct Seen {
    glance: Glance,
    owner: Option<LockInfo>,
    state_dir: PathBuf,
}

/// Shows it.
pub(crate) fn run(session: &Session, args: &StatusArgs) -> Done {
    let site = session.site()?;
    let found = site.as_ref().map(|site| pick::run(session, site.state_dir(), false)).transpose()?;
    let known = site.as_ref().zip(found.as_ref());
    let mut seen = look(session, known)?;
    let mut status = show(session, &seen);
    while args.watch && status.live.is_some() {
        std::thread::sleep(LOOK);
        if let Some((site, found)) = known {
            let same = found.reader.seq(&found.run)? == seen.glance.seq;
            if same && site.lock_holder().is_some() {
                continue;
            }
        }
        let next = look(session, known)?;
        if next.glance.seq != seen.glance.seq || next.owner.is_none() {
            if session.ui.live() {
                session.ui.raw(b"\x1b[H\x1b[2J");
            }
            status = show(session, &next);
        }
        seen = next;
    }
    Ok(Exit::Reached)
}

/// Looks at what is kept for this, and only where that does not do at the repository and every event: it is asked for by
/// people and by programs, while the run needs the machine.
fn look(session: &Session, known: Option<(&Site, &Found)>) -> Result<Seen, CliError> {
    if let Some((site, found)) = known {
        let glance = found.reader.glance(&found.run)?;
        if theirs::untouched(site, &glance) {
            return Ok(Seen { glance, owner: site.lock_holder(), state_dir: site.state_dir().to_owned() });
        }
    }
    let scene = scene(session, false)?;
    let owner = lock_holder(&scene.ctx.repo);
    Ok(Seen { glance: Glance::of(&scene.view), owner, state_dir: scene.ctx.repo.state_dir().to_owned() })
}

fn show(session: &Session, seen: &Seen) -> Status {
    let status = Status::of(&seen.glance, &seen.state_dir, seen.owner.as_ref());
    if session.ui.json {
        session.ui.object(&status);
    } else {
        session.ui.lines(&screen(&seen.glance, &status));
    }
    status
}
