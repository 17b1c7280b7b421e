//! Generated files of a candidate, made anew by the plan's commands on the merged tree.
//!
//! A generated file (a lock file, say) is left out of every step's commit by `discard`, so that it never
//! conflicts; the landing makes it of what the steps have become together.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wattle_worker::assignment::Bounds;
use wattle_worker::outcome::Cause;
use wattle_worker::process::{self, Job};
use wattle_workspace::{CaptureOptions, Class, Lease, Want};

use super::jobs::OUTPUT_BYTES_MAX;
use super::shared::Shared;
use crate::journal::event::Candidate;
use crate::queue::land::{CandidateEnd, CandidateJob, retree};

/// Making a lock file anew takes seconds; what takes longer than a build's patience hangs.
const TIMEOUT_MS: u64 = 10 * 60_000;

/// The candidate with its generated files made anew, or why its commands do not make them. `Err` = the machine has refused
/// to find out.
pub(crate) async fn generate(
    shared: &Arc<Shared>,
    job: &CandidateJob,
    candidate: Candidate,
) -> Result<CandidateEnd, String> {
    if job.generated.is_empty() {
        return Ok(CandidateEnd::Built(candidate));
    }
    let want = Want {
        class: Class::Check,
        base: candidate.new.clone(),
        holder: format!("{}/generate-{}", job.run, job.landing.0),
        setup_key: None,
    };
    let (lease, _at_work) = shared.lease(want).await.map_err(|refused| refused.to_string())?;
    let made = make(shared, job, candidate, &lease).await;
    let (pool, slot) = (shared.pool.clone(), lease.slot.0);
    if let Err(error) = shared.blocking(move || pool.release(lease)).await {
        tracing::warn!(slot, error, "a check slot was not given back");
    }
    made
}

async fn make(
    shared: &Arc<Shared>,
    job: &CandidateJob,
    candidate: Candidate,
    lease: &Lease,
) -> Result<CandidateEnd, String> {
    let bounds = Bounds { timeout_ms: TIMEOUT_MS, idle_ms: None, output_bytes_max: OUTPUT_BYTES_MAX };
    let cancel: CancellationToken = shared.stop.child_token();
    for generated in &job.generated {
        let mut env = shared.ctx.child_env.clone();
        env.insert("WATTLE_RUN".into(), job.run.clone().into());
        let run = Job { run: generated.run.clone(), dir: lease.path.clone(), env, bounds };
        let ended = process::run(&run, &cancel).await;
        if let Some((cause, message)) = ended.failure(&[0], &bounds) {
            let message = format!("generate {}: {message}\n{}", generated.path, ended.evidence.output);
            return if cause == Cause::Environment { Err(message) } else { Ok(CandidateEnd::NotGenerated(message)) };
        }
    }
    let (repo, path, base) = (shared.ctx.repo.clone(), lease.path.clone(), candidate.new.clone());
    let captured = shared.blocking(move || repo.capture(&path, &base, &CaptureOptions::default())).await?;
    let meant: Vec<&str> = job.generated.iter().map(|generated| generated.path.as_str()).collect();
    let others: Vec<&str> =
        captured.changes.iter().map(|change| change.path.as_str()).filter(|path| !meant.contains(path)).collect();
    if !others.is_empty() {
        let message = format!("generate {}: the commands also change {}", meant.join(", "), others.join(", "));
        return Ok(CandidateEnd::NotGenerated(message));
    }
    if captured.changes.is_empty() {
        return Ok(CandidateEnd::Built(candidate));
    }
    let (repo, job) = (shared.ctx.repo.clone(), job.clone());
    shared.git(move || retree(&repo, &job, candidate, captured.tree)).await.map(CandidateEnd::Built)
}
