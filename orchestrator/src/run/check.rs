//! Checks of the queue, each on an exact tree in a check slot that no worker ever holds.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wattle_planner::StepId;
use wattle_worker::assignment::{Assignment, CheckAssignment, Command, Place, SetupAssignment};
use wattle_worker::host::{Host, Message, Pending, Reply};
use wattle_worker::outcome::{CheckResult, End, Evidence, Verdict};
use wattle_worker::perform::perform;
use wattle_workspace::{Class, CommitId, Lease, TreeId, Want};

use super::input::Input;
use super::jobs::owner;
use super::shared::Shared;
use crate::ids::LandingId;

/// One check of the queue.
pub(crate) struct CheckJob {
    /// Id of the run.
    pub(crate) run: String,
    /// For which landing.
    pub(crate) landing: LandingId,
    /// Its name.
    pub(crate) check: String,
    /// The commit whose tree is tested.
    pub(crate) commit: CommitId,
    /// That tree.
    pub(crate) tree: TreeId,
    /// Is it the base's?
    pub(crate) control: bool,
    /// What runs.
    pub(crate) command: Command,
    /// Paths that differ from the tip.
    pub(crate) changed: Vec<String>,
    /// Command and key files of the setup.
    pub(crate) setup: Option<(Command, Vec<String>)>,
    /// The step it is run for, where there is one.
    pub(crate) step: Option<StepId>,
}

/// The host of a check: it has nothing to say but "stop".
struct CheckHost {
    cancel: CancellationToken,
}

impl Host for CheckHost {
    fn send(&self, _: Message) -> Pending<'_> {
        // The start of the check is in the journal; its evidence comes with the outcome.
        let reply = if self.cancel.is_cancelled() { Reply::Cancel } else { Reply::Ack { seq: 0 } };
        Box::pin(async move { reply })
    }

    fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

/// Runs a check; a red one on a warm slot is repeated on a clean one before it counts.
pub(crate) async fn run(shared: Arc<Shared>, job: CheckJob) -> Input {
    let shared = &shared;
    let result = match attempt(shared, &job).await {
        Ok(result) => result,
        Err(message) => error(message),
    };
    let CheckJob { landing, check, tree, control, .. } = job;
    Input::Check { landing, check, tree, control, result: Box::new(result) }
}

fn error(message: String) -> CheckResult {
    let evidence = Evidence { output: message, ..Evidence::default() };
    CheckResult { verdict: Verdict::Error, evidence, changed_by_check: Vec::new() }
}

async fn attempt(shared: &Arc<Shared>, job: &CheckJob) -> Result<CheckResult, String> {
    let setup_key = shared.setup_key(job.setup.as_ref().map(|(_, key)| key.as_slice()), &job.commit).await?;
    let want = Want {
        class: Class::Check,
        base: job.commit.clone(),
        holder: format!("{}/landing-{}/{}", job.run, job.landing.0, job.check),
        setup_key: setup_key.clone(),
    };
    let (lease, _at_work) = shared.lease(want).await?;
    let result = checked(shared, job, &lease, setup_key.as_deref(), lease.needs_setup).await;
    let result = match result {
        Ok(red) if red.verdict == Verdict::Red && lease.generation > 1 => {
            let (pool, again) = (shared.pool.clone(), lease.clone());
            shared.blocking(move || pool.scrub(&again)).await?;
            checked(shared, job, &lease, setup_key.as_deref(), true).await
        }
        other => other,
    };
    let pool = shared.pool.clone();
    let slot = lease.slot.0;
    if let Err(error) = shared.blocking(move || pool.release(lease)).await {
        tracing::warn!(slot, error, "a check slot was not given back");
    }
    result
}

async fn checked(
    shared: &Arc<Shared>,
    job: &CheckJob,
    lease: &Lease,
    setup_key: Option<&str>,
    needs_setup: bool,
) -> Result<CheckResult, String> {
    let host = Arc::new(CheckHost { cancel: shared.stop.child_token() });
    let place = Place { path: lease.path.clone(), slot: lease.slot.0, base: lease.base.clone() };
    let step = job.step.as_ref().map_or("", StepId::as_str);
    let owner = owner(&job.run, step, 0);
    if needs_setup && let (Some((command, _)), Some(key)) = (&job.setup, setup_key) {
        let setup = SetupAssignment { owner: owner.clone(), place: place.clone(), command: command.clone() };
        let outcome = perform(Assignment::Setup(setup), host.clone(), shared.tools(None)).await;
        match outcome.end {
            End::Done | End::Committed | End::Unchanged => {}
            End::Failed { message, .. } => return Err(format!("setup: {message}\n{}", outcome.evidence.output)),
            End::Parked | End::NeedsInput { .. } => return Err("setup: stopped".to_owned()),
        }
        let (pool, lease, key) = (shared.pool.clone(), lease.clone(), key.to_owned());
        shared.blocking(move || pool.setup_done(&lease, &key)).await?;
    }
    let assignment = CheckAssignment {
        owner,
        name: job.check.clone(),
        place,
        tree: job.tree.clone(),
        command: job.command.clone(),
        changed: job.changed.clone(),
    };
    let outcome = perform(Assignment::Check(assignment), host, shared.tools(None)).await;
    match (outcome.check, outcome.end) {
        (Some(result), _) => Ok(result),
        (None, End::Failed { message, .. }) => Err(message),
        (None, end) => Err(format!("the check ended without a verdict: {end:?}")),
    }
}
