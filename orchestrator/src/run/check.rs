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
use crate::journal::Reader;

/// A verdict of another run is good for this long. What it depends on beyond its key (a toolchain behind the same
/// `PATH`, a service) seldom changes within a working day, and a day later a check is cheap beside the doubt.
const VERDICT_AGE_MAX_MS: i64 = 24 * 3_600_000;

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
    /// Was it red on this tree? Then it is asked once more, on a clean slot.
    pub(crate) again: bool,
    /// Stops it.
    pub(crate) cancel: CancellationToken,
    /// How well processes are kept apart from the machine.
    pub(crate) isolation: String,
}

/// What a check says, and how it came to it.
pub(crate) struct Told {
    /// Was the base asked?
    pub(crate) control: bool,
    /// Was it known, from this run or another?
    pub(crate) cached: bool,
    /// What the verdict depends on; `None` = that could not be found out.
    pub(crate) key: Option<String>,
    /// The verdict with its evidence.
    pub(crate) result: CheckResult,
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

/// Runs a check, unless what it says of the tree is known.
pub(crate) async fn run(shared: Arc<Shared>, job: CheckJob) -> Input {
    let shared = &shared;
    let setup_key = shared.setup_key(job.setup.as_ref(), &job.commit).await;
    let key = setup_key.as_ref().ok().map(|setup| key(shared, &job, setup.as_deref()));
    let known = match &key {
        Some(key) if !job.again => known(shared, key.clone()).await,
        Some(_) | None => None,
    };
    let cached = known.is_some();
    let result = match (known, setup_key) {
        (Some(result), _) => result,
        (None, Ok(setup_key)) => attempt(shared, &job, setup_key).await.unwrap_or_else(error),
        (None, Err(message)) => error(message),
    };
    let CheckJob { landing, check, tree, control, .. } = job;
    Input::Check { landing, check, tree, told: Box::new(Told { control, cached, key, result }) }
}

/// What a verdict depends on: the files, the command, the machine as far as the command sees it.
fn key(shared: &Shared, job: &CheckJob, setup: Option<&str>) -> String {
    let command = &job.command;
    let setup_run = job.setup.as_ref().map(|(command, _)| (&command.run, &command.env, command.bounds.timeout_ms));
    let mut parts: Vec<String> = vec![
        job.tree.to_string(),
        command.run.clone(),
        format!("{:?} {:?} {:?}", command.env, command.ok_exit, command.bounds.timeout_ms),
        format!("{setup_run:?} {setup:?}"),
        // Checks are told which paths changed, and may look at no others.
        format!("{:?}", job.changed),
        job.isolation.clone(),
        // A check in a slot that holds less may see less.
        shared.ctx.repo.shape_name(),
        format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    ];
    parts.extend(shared.ctx.child_env.iter().map(|(name, value)| format!("{name:?}={value:?}")));
    crate::ids::Blob::of(parts.join("\0").as_bytes()).0
}

/// The verdict of another run on the same key.
async fn known(shared: &Arc<Shared>, key: String) -> Option<CheckResult> {
    let (state, since_ms) = (shared.ctx.repo.state_dir().to_owned(), shared.ctx.clock.now_ms() - VERDICT_AGE_MAX_MS);
    let found = shared.blocking(move || match Reader::open(&state)? {
        Some(reader) => reader.verdict(&key, since_ms),
        None => Ok(None),
    });
    let json = found.await.unwrap_or_else(|error| {
        tracing::warn!(error, "what other runs know of a check cannot be read");
        None
    })?;
    let evidence = serde_json::from_str(&json).ok()?;
    Some(CheckResult { verdict: Verdict::Green, evidence, changed_by_check: Vec::new() })
}

fn error(message: String) -> CheckResult {
    let evidence = Evidence { output: message, ..Evidence::default() };
    CheckResult { verdict: Verdict::Error, evidence, changed_by_check: Vec::new() }
}

async fn attempt(shared: &Arc<Shared>, job: &CheckJob, setup_key: Option<String>) -> Result<CheckResult, String> {
    let want = Want {
        class: Class::Check,
        base: job.commit.clone(),
        holder: format!("{}/landing-{}/{}", job.run, job.landing.0, job.check),
        setup_key: setup_key.clone(),
    };
    let (lease, _at_work) = shared.lease(want).await.map_err(|refused| refused.to_string())?;
    let scrubbed = if job.again && lease.generation > 1 {
        let (pool, again) = (shared.pool.clone(), lease.clone());
        shared.blocking(move || pool.scrub(&again)).await.map(|()| true)
    } else {
        Ok(false)
    };
    let result = match scrubbed {
        Ok(scrubbed) => {
            let needs_setup = lease.needs_setup || scrubbed;
            checked(shared, job, &lease, setup_key.as_deref(), needs_setup).await
        }
        Err(message) => Err(message),
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
    let host = Arc::new(CheckHost { cancel: job.cancel.clone() });
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
        proved: !(needs_setup && job.setup.is_some()),
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
