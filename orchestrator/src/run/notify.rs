//! `notify`: a command of the plan that is given events, for people who are elsewhere.

use std::sync::Arc;

use wattle_worker::assignment::Bounds;
use wattle_worker::process::{self, Job};

use super::shared::Shared;
use crate::journal::{Body, Event};
use crate::state::step::Step;

/// A notice takes a moment; what takes longer hangs.
const TIMEOUT_MS: u64 = 30_000;

/// The word in `notify.on` that an event belongs to.
pub(crate) fn word(event: &Event) -> Option<&'static str> {
    match &event.body {
        Body::NeedsInput { .. } => Some("needs_input"),
        Body::StepState(change) if change.state == Step::Review => Some("review"),
        Body::StepState(change) if change.state == Step::Failed => Some("failed"),
        Body::RunFinished { .. } => Some("finished"),
        _ => None,
    }
}

/// Runs the command with an event as JSON on its stdin. What comes of it changes nothing.
pub(crate) async fn notify(shared: &Arc<Shared>, run: String, seq: u64, json: String) {
    let file = shared.temp.join(format!("event-{seq}.json"));
    if let Err(error) = std::fs::write(&file, json) {
        tracing::warn!(%error, "a notice was not given");
        return;
    }
    let mut env = shared.ctx.child_env.clone();
    env.insert("WATTLE_EVENT".into(), file.into());
    let bounds = Bounds { timeout_ms: TIMEOUT_MS, idle_ms: None, output_bytes_max: 4096 };
    let job = Job { run: format!("( {run}\n) < \"$WATTLE_EVENT\""), dir: shared.temp.clone(), env, bounds };
    let ended = process::run(&job, &shared.stop.child_token()).await;
    if let Some((_, message)) = ended.failure(&[0], &bounds) {
        tracing::warn!(message, output = ended.evidence.output, "a notice was not given");
    }
}
