//! What every effect of a run works with.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio_util::sync::CancellationToken;
use wattle_worker::model::Model;
use wattle_worker::perform::Tools;
use wattle_workspace::{CommitId, GitError, Pool, Signature};

use super::context::Context;
use super::input::Input;
use super::models::Models;

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
