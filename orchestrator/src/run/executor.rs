//! Performs effects and sends what came of them to the dispatcher. It decides nothing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt;
use super::check::{self, CheckJob};
use super::consult::{ConsultJob, consult};
use super::generate::generate;
use super::input::Input;
use super::jobs::AttemptJob;
use super::notify::notify;
use super::predict::{PredictJob, predict};
use super::shared::Shared;
use crate::ids::LandingId;
use crate::journal::event::Candidate;
use crate::queue::audit::{AuditJob, audit};
use crate::queue::land::{self, CandidateEnd, CandidateJob};

/// One effect.
pub(crate) enum Effect {
    /// Run an attempt; the token stops its worker.
    Attempt(Box<AttemptJob>, CancellationToken),
    /// Ask the lead; the token stops it.
    Consult(Box<ConsultJob>, CancellationToken),
    /// Make a candidate.
    Candidate(LandingId, Box<CandidateJob>),
    /// Run a check of the queue.
    Check(Box<CheckJob>),
    /// Merge commits that are to land, to warn of conflicts.
    Predict(Box<PredictJob>),
    /// Look whether what has landed is there.
    Audit(Box<AuditJob>),
    /// Give back the slot that an ended attempt had kept, if it had.
    Free(String),
    /// Tell somebody of an event.
    Notify {
        /// The command.
        run: String,
        /// Place of the event.
        seq: u64,
        /// The event.
        json: String,
    },
    /// Move the target.
    Move {
        /// For which landing.
        landing: LandingId,
        /// Short name of the target.
        target: String,
        /// To what.
        candidate: Box<Candidate>,
        /// For the reflog.
        reason: String,
    },
}

/// Performs effects on a runtime; every task is joined.
pub(crate) struct Executor {
    /// What effects work with.
    pub(crate) shared: Arc<Shared>,
    /// The runtime.
    pub(crate) runtime: tokio::runtime::Handle,
    /// The tasks.
    pub(crate) tasks: TaskTracker,
}

impl Executor {
    /// Starts an effect.
    pub(crate) fn perform(&self, effect: Effect) {
        let shared = self.shared.clone();
        let task = async move {
            let input = match effect {
                Effect::Attempt(job, cancel) => {
                    let step = job.step.id.clone();
                    let end = attempt::run(shared.clone(), *job, cancel).await;
                    Input::Attempt { step, end }
                }
                Effect::Consult(job, cancel) => {
                    let step = job.step.clone();
                    let outcome = Box::new(consult(shared.clone(), *job, cancel).await);
                    Input::Consulted { step, outcome }
                }
                Effect::Candidate(landing, job) => {
                    let repo = shared.ctx.repo.clone();
                    let job = Arc::new(*job);
                    let building = job.clone();
                    let end = match shared.git(move || land::build(&repo, &building)).await {
                        Ok(CandidateEnd::Built(candidate)) => generate(&shared, &job, candidate).await,
                        other => other,
                    };
                    Input::Candidate { landing, end }
                }
                Effect::Predict(job) => {
                    let repo = shared.ctx.repo.clone();
                    Input::Predicted(shared.git(move || predict(&repo, &job)).await)
                }
                Effect::Free(holder) => {
                    attempt::free(&shared, holder).await;
                    Input::Freed
                }
                Effect::Notify { run, seq, json } => return notify(&shared, run, seq, json).await,
                Effect::Check(job) => check::run(shared.clone(), *job).await,
                Effect::Audit(job) => {
                    let (repo, landing) = (shared.ctx.repo.clone(), job.landing);
                    Input::Audit { landing, missing: shared.git(move || audit(&repo, &job)).await }
                }
                Effect::Move { landing, target, candidate, reason } => {
                    let repo = shared.ctx.repo.clone();
                    let end = shared.git(move || land::advance(&repo, &target, &candidate, &reason)).await;
                    Input::Move { landing, end }
                }
            };
            // The dispatcher outlives every task; a closed channel means that it has given up.
            let _ = shared.inputs.send(input);
        };
        self.tasks.spawn_on(task, &self.runtime);
    }
}
