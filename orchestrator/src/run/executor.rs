//! Performs effects and sends what came of them to the dispatcher. It decides nothing.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wattle_worker::model::Model;
use wattle_worker::perform::Tools;
use wattle_workspace::{CommitId, GitError, Pool, Signature};

use super::attempt;
use super::check::{self, CheckJob};
use super::context::Context;
use super::generate::generate;
use super::input::Input;
use super::jobs::AttemptJob;
use super::models::Models;
use super::notify::notify;
use crate::ids::LandingId;
use crate::journal::event::Candidate;
use crate::queue::land::{self, CandidateEnd, CandidateJob};

/// What every effect works with.
pub(crate) struct Shared {
    /// The repository and its surroundings.
    pub(crate) ctx: Context,
    /// The slots.
    pub(crate) pool: Arc<Pool>,
    /// The models.
    pub(crate) models: Models,
    /// Author and committer of our commits.
    pub(crate) identity: Signature,
    /// The dispatcher.
    pub(crate) inputs: Sender<Input>,
    /// Ends when everything has to stop.
    pub(crate) stop: CancellationToken,
    /// Scratch folder of the run.
    pub(crate) temp: PathBuf,
}

impl Shared {
    /// What a worker is given.
    pub(crate) fn tools(&self, model: Option<Arc<dyn Model>>) -> Arc<Tools> {
        Arc::new(Tools {
            repo: self.ctx.repo.clone(),
            model,
            temp: self.temp.clone(),
            base_env: self.ctx.child_env.clone(),
        })
    }

    /// Runs something that blocks on a thread for that; errors become words.
    pub(crate) async fn blocking<T, E>(&self, act: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, String>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        match tokio::task::spawn_blocking(act).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(format!("a bug: {panic}")),
        }
    }

    /// As [`Self::blocking`], for git.
    pub(crate) async fn git<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, String> {
        self.blocking(act).await
    }

    /// What the setup of a slot at a commit depends on: the contents of its key files.
    pub(crate) async fn setup_key(&self, files: Option<&[String]>, base: &CommitId) -> Result<Option<String>, String> {
        let Some(files) = files.map(<[String]>::to_vec) else { return Ok(None) };
        let (repo, base) = (self.ctx.repo.clone(), base.clone());
        self.git(move || {
            let tree = repo.tree_of(&base)?;
            let mut key = String::new();
            for file in files {
                let blob = repo.blob_of(&tree, &file)?;
                key.push_str(&format!("{file} {}\n", blob.map_or_else(String::new, |blob| blob.to_string())));
            }
            Ok(Some(crate::ids::Blob::of(key.as_bytes()).0))
        })
        .await
    }
}

/// One effect.
pub(crate) enum Effect {
    /// Run an attempt; the token stops its worker.
    Attempt(Box<AttemptJob>, CancellationToken),
    /// Make a candidate.
    Candidate(LandingId, Box<CandidateJob>),
    /// Run a check of the queue.
    Check(Box<CheckJob>),
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
                Effect::Candidate(landing, job) => {
                    let repo = shared.ctx.repo.clone();
                    let job = Arc::new(*job);
                    let building = job.clone();
                    let end = match shared.git(move || land::build(&repo, &building)).await {
                        Ok(CandidateEnd::Built(candidate)) => match generate(&shared, &job, candidate).await {
                            Ok(candidate) => Ok(CandidateEnd::Built(candidate)),
                            Err(message) => Ok(CandidateEnd::NotGenerated(message)),
                        },
                        other => other,
                    };
                    Input::Candidate { landing, end }
                }
                Effect::Free(holder) => return attempt::free(&shared, holder).await,
                Effect::Notify { run, seq, json } => return notify(&shared, run, seq, json).await,
                Effect::Check(job) => check::run(shared.clone(), *job).await,
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
