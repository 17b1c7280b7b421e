//! What a worker is given by the process it runs in, beside its assignment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::lsp;
use crate::model::Model;

/// What a worker is given by the process it runs in.
pub struct Tools {
    /// The repository that its worktree belongs to.
    pub repo: wattle_workspace::Repo,
    /// Where model calls go; `None` = an agent step cannot run here.
    pub model: Option<Arc<dyn Model>>,
    /// Private folder for `WATTLE_NEEDS`, `WATTLE_CHANGED` and outputs.
    pub temp: PathBuf,
    /// The environment that processes start from; keys are already scrubbed.
    pub base_env: BTreeMap<OsString, OsString>,
    /// The language servers of this process: one pool for all of its workers, each of which has a lease.
    pub servers: Arc<lsp::Pool>,
}
