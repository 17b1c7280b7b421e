//! What every verb works with: the repository, the environment of children, the clock.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use wattle_cache::price::Table;
use wattle_worker::lsp;
use wattle_workspace::Repo;

use crate::clock::Clock;
use crate::config::model::Models;

/// What every verb works with.
#[derive(Clone)]
pub(crate) struct Context {
    /// The repository.
    pub(crate) repo: Repo,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The environment that child processes start from, without keys.
    pub(crate) child_env: BTreeMap<OsString, OsString>,
    /// Where models are, with the keys of this process.
    pub(crate) models: Models,
    /// What models cost.
    pub(crate) prices: Arc<Table>,
    /// Is the shared prompt written to a provider's cache by a request of its own?
    pub(crate) prewarm: bool,
    /// The language servers of this process.
    pub(crate) servers: Arc<lsp::Pool>,
    /// Who gives the verbs, for the journal.
    pub(crate) who: String,
    /// Name of this machine.
    pub(crate) host: String,
    /// Scratch folder.
    pub(crate) temp: PathBuf,
}
