//! What every effect of a run works with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::Sender;
use tokio_util::sync::CancellationToken;
use wattle_worker::assignment::Command;
use wattle_worker::model::Model;
use wattle_worker::perform::Tools;
use wattle_workspace::{CommitId, GitError, Lease, Pool, PoolError, Signature, Want};

use super::context::Context;
use super::input::Input;
use super::models::Models;

/// Who works in a slot now: where the disk has no room for another slot, the next one waits for one of them.
#[derive(Debug, Default)]
pub(crate) struct Room {
    at_work: AtomicUsize,
    left: tokio::sync::Notify,
}

/// One who works in a slot, until dropped.
#[derive(Debug)]
pub(crate) struct AtWork(Arc<Room>);

impl AtWork {
    /// Somebody more.
    pub(crate) fn begin(room: &Arc<Room>) -> Self {
        room.at_work.fetch_add(1, Ordering::SeqCst);
        Self(room.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
        self.0.left.notify_waiters();
    }
}

/// Why something could not be done, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// A bound that the user has set leaves no room for it.
    #[error("{0}")]
    Bound(String),
    /// The machine, git or Wattle itself.
    #[error("{0}")]
    Machine(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Machine(message)
    }
}

/// What every effect works with.
pub(crate) struct Shared {
    /// The repository and its surroundings.
    pub(crate) ctx: Context,
    /// The slots.
    pub(crate) pool: Arc<Pool>,
    /// Who works in them.
    pub(crate) room: Arc<Room>,
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
            servers: self.ctx.servers.clone(),
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

    /// Leases a slot by `lease`. While there is no room for a new one and others are at work, it waits for theirs; that is
    /// said once. With nobody at work it is refused, with what can be done.
    pub(crate) async fn lease_by(
        &self,
        lease: impl Fn(&Pool) -> Result<Lease, PoolError> + Clone + Send + 'static,
    ) -> Result<(Lease, AtWork), Failure> {
        let (mut said, mut alone) = (false, false);
        loop {
            let left = self.room.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            let (pool, lease) = (self.pool.clone(), lease.clone());
            let (message, refused, mend): (_, fn(String) -> Failure, _) =
                match self.blocking(move || Ok::<_, String>(lease(&pool))).await? {
                    Ok(lease) => return Ok((lease, AtWork::begin(&self.room))),
                    Err(error @ PoolError::Quota { .. }) => (error.to_string(), Failure::Bound, "raise it"),
                    Err(error @ PoolError::NoRoom { .. }) => (error.to_string(), Failure::Machine, "make room on it"),
                    Err(error) => return Err(Failure::Machine(error.to_string())),
                };
            if self.room.at_work.load(Ordering::SeqCst) == 0 {
                // Whoever left just now has left a slot.
                if std::mem::replace(&mut alone, true) {
                    return Err(refused(format!("{message}: {mend}, or `wattle clean`")));
                }
                continue;
            }
            alone = false;
            if !std::mem::replace(&mut said, true) {
                // The dispatcher outlives every effect.
                let _ = self.inputs.send(Input::NoRoom(format!("{message}: waiting for one to be free")));
            }
            tokio::select! {
                () = left => {}
                () = self.stop.cancelled() => return Err(Failure::Machine("wait for a slot: stopped".to_owned())),
            }
        }
    }

    /// Leases a slot; waits as [`Self::lease_by`] does.
    pub(crate) async fn lease(&self, want: Want) -> Result<(Lease, AtWork), Failure> {
        self.lease_by(move |pool| pool.lease(&want)).await
    }

    /// As [`Self::blocking`], for git.
    pub(crate) async fn git<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, String> {
        self.blocking(act).await
    }

    /// What the setup of a slot at a commit depends on: its command and the contents of its key files.
    pub(crate) async fn setup_key(
        &self,
        setup: Option<&(Command, Vec<String>)>,
        base: &CommitId,
    ) -> Result<Option<String>, String> {
        let Some((command, files)) = setup.cloned() else { return Ok(None) };
        let (repo, base) = (self.ctx.repo.clone(), base.clone());
        self.git(move || {
            let tree = repo.tree_of(&base)?;
            let mut key = format!("{:?} {:?}\n", command.run, command.env);
            for file in files {
                let blob = repo.blob_of(&tree, &file)?;
                key.push_str(&format!("{file} {}\n", blob.map_or_else(String::new, |blob| blob.to_string())));
            }
            Ok(Some(crate::ids::Blob::of(key.as_bytes()).0))
        })
        .await
    }
}
