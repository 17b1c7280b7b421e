//! What every verb works with: the repository, the environment of children, the clock.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use wattle_workspace::Repo;

use crate::clock::Clock;

/// Keys and addresses of model providers. Nothing but the model layer of this process ever sees them.
#[derive(Clone, Default)]
pub(crate) struct Providers {
    /// `ANTHROPIC_API_KEY`.
    pub(crate) anthropic_key: Option<String>,
    /// `ANTHROPIC_AUTH_TOKEN`.
    pub(crate) anthropic_token: Option<String>,
    /// `ANTHROPIC_BASE_URL`.
    pub(crate) anthropic_base_url: Option<String>,
}

/// What every verb works with.
#[derive(Clone)]
pub(crate) struct Context {
    /// The repository.
    pub(crate) repo: Repo,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// The environment that child processes start from, without keys.
    pub(crate) child_env: BTreeMap<OsString, OsString>,
    /// Keys and addresses of models.
    pub(crate) providers: Providers,
    /// Who gives the verbs, for the journal.
    pub(crate) who: String,
    /// Name of this machine.
    pub(crate) host: String,
    /// Scratch folder.
    pub(crate) temp: PathBuf,
}
