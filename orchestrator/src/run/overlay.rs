//! Whether slots can be mounts (`slots: overlay`): trying it out in a process of its own, bringing this process to where it
//! can mount, and what the user is told where that is refused. How it is done is in `wattle_workspace::overlay`.

use std::path::Path;

use wattle_workspace::overlay::{self, Refused};
use wattle_workspace::{BackEnd, Repo};

use crate::options::Slots;

/// The hidden command that tries it out.
pub(crate) const PROBE: &str = "probe-slots";
/// What it says when it can be done.
pub(crate) const CAN: &str = "slots can be mounts";

/// Brings this process to where it can mount slots, if that is asked for or there are slots that have to be mounted. To be
/// called before there is a second thread, so before progress is shown. A refusal is said by the run (`refusal`).
pub(crate) fn enter(repo: &Repo, asked: Slots) {
    if asked == Slots::Checkout && !repo.has_overlay_slots() {
        return;
    }
    if let Err(refused) = overlay::enter(repo.state_dir(), || probe(repo.state_dir())) {
        tracing::warn!(%refused, "slots cannot be mounts");
    }
}

/// Tries it out below a folder.
pub(crate) fn probe(folder: &Path) -> Result<(), Refused> {
    let ran = wattle_worker::process::this_program([PROBE.as_ref(), folder.as_os_str()]);
    let ran = ran.map_err(|error| Refused::new(format!("start this program once more: {error}")))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    match said.trim_end() {
        CAN => Ok(()),
        "" => Err(Refused::new(format!("trying it out ended with {}", ran.status))),
        why => Err(Refused::new(why)),
    }
}

/// What new slots are made of.
pub(crate) fn back_end(asked: Slots) -> BackEnd {
    match asked {
        Slots::Checkout => BackEnd::Checkout,
        Slots::Overlay => BackEnd::Overlay,
    }
}

/// What is said when mounts were asked for and refused.
pub(crate) fn refusal(asked: Slots) -> Option<String> {
    if asked == Slots::Checkout || overlay::entered() {
        return None;
    }
    let why = overlay::refused().unwrap_or("nobody has tried");
    Some(format!("overlay mounts were asked for and are refused, so slots are checkouts: {why}"))
}
