//! Models by name: `PROVIDER/NAME` or `script:FILE`, made once per process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use wattle_cache::prefix::{PrefixTtl, Target};
use wattle_cache::price::Table;
use wattle_planner::{Plan, StepId, Work};
use wattle_worker::model::pressure::Pressure;
use wattle_worker::model::shared::{Shared, SharedOptions};
use wattle_worker::model::wire::HttpModel;
use wattle_worker::model::{Auth, Model, SetupError, WireOptions};
use wattle_worker::scripted;

use super::context::Context;
use super::definitions::model_of;
use super::limits::gate;
use crate::clock::{Clock, day};
use crate::config::model::{self, Endpoint, ModelProblem};
use crate::journal::event::AgentFile;

/// Why there is no such model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// The name says nothing, or nobody has said where that model is.
    #[error(transparent)]
    Unknown(#[from] ModelProblem),
    /// A step that needs a model has none.
    #[error("start step {step}: {problem}")]
    Step {
        /// The step.
        step: StepId,
        /// Why.
        problem: Box<ModelError>,
    },
    /// The address or the key cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The script cannot be served.
    #[error("{message}")]
    Script {
        /// Why, with its path.
        message: String,
    },
}

impl ModelError {
    /// What to do about it.
    pub(crate) fn mend(&self) -> String {
        match self {
            Self::Step { problem, .. } => problem.mend(),
            Self::Unknown(problem) => problem.mend(),
            Self::Setup(_) => "see the key and the address of the model".to_owned(),
            Self::Script { .. } => {
                "a script is found from the directory that wattle is started in, or from -C".to_owned()
            }
        }
    }
}

/// Are there models for all steps that ask one, before anything starts? `runs` says which steps will.
pub(crate) fn require(
    endpoints: &model::Models,
    folder: &Path,
    plan: &Plan,
    agents: &BTreeMap<String, AgentFile>,
    model: Option<&str>,
    runs: impl Fn(&StepId) -> bool,
) -> Result<(), ModelError> {
    for step in plan.steps().iter().filter(|step| runs(&step.id)) {
        let repair = step.repair.as_ref().map(|repair| &repair.work);
        for work in [Some(&step.work), repair].into_iter().flatten() {
            let Work::Agent(agent) = work else { continue };
            let found = look(endpoints, folder, model_of(agent, agents).or(model));
            found.map_err(|problem| ModelError::Step { step: step.id.clone(), problem: Box::new(problem) })?;
        }
    }
    Ok(())
}

/// Could this model be asked? Starts nothing and asks nobody.
pub(crate) fn look(endpoints: &model::Models, folder: &Path, name: Option<&str>) -> Result<(), ModelError> {
    match endpoints.endpoint(name)? {
        Endpoint::Server { .. } => Ok(()),
        Endpoint::Script { file } => match scripted::Script::load(&folder.join(file)) {
            Ok(_) => Ok(()),
            Err(error) => Err(ModelError::Script { message: error.to_string() }),
        },
    }
}

/// The service that routes requests by a key for its cache; other servers may refuse the field.
const OPENAI: &str = "https://api.openai.com/";

/// A model and its name on the wire.
pub(crate) type Found = (Arc<dyn Model>, String);

/// Models that have been asked for.
pub(crate) struct Models {
    endpoints: model::Models,
    prices: Arc<Table>,
    prewarm: bool,
    clock: Arc<dyn Clock>,
    folder: PathBuf,
    prefix_ttl: PrefixTtl,
    found: Mutex<BTreeMap<String, Found>>,
    /// What all of them share: pauses, pace, the retries of the run.
    pressure: Arc<Pressure>,
    servers: tokio::sync::Mutex<Vec<scripted::Server>>,
}

impl Models {
    /// No model yet; scripts are found from `folder`.
    pub(crate) fn new(ctx: &Context, folder: &Path, prefix_ttl: PrefixTtl) -> Self {
        Self {
            endpoints: ctx.models.clone(),
            prices: ctx.prices.clone(),
            prewarm: ctx.prewarm,
            clock: ctx.clock.clone(),
            folder: folder.to_owned(),
            prefix_ttl,
            found: Mutex::default(),
            pressure: Arc::default(),
            servers: Default::default(),
        }
    }

    /// The model of a name.
    pub(crate) async fn find(&self, name: Option<&str>) -> Result<Found, ModelError> {
        // Held over the await: two steps that want one script get one server.
        let mut servers = self.servers.lock().await;
        let key = name.unwrap_or_default();
        if let Some(found) = self.known(key) {
            return Ok(found);
        }
        let (made, name, base_url, slots) = match self.endpoints.endpoint(name)? {
            Endpoint::Script { file } => {
                let path = self.folder.join(file);
                let failed = |error: scripted::ServeError| ModelError::Script { message: error.to_string() };
                let server = scripted::serve(&path, 0).await.map_err(failed)?;
                let base_url = server.base_url();
                servers.push(server);
                let (target, auth) = (Target::anthropic("script"), Auth::ApiKey("scripted".to_owned()));
                let model = self.over_http(target, base_url.clone(), auth, None)?;
                (model, "claude-scripted".to_owned(), base_url, None)
            }
            Endpoint::Server { mut target, name, base_url, auth, version, slots } => {
                if base_url.starts_with(OPENAI) {
                    target.dialect.cache_key = Some(format!("wattle-{:x}", self.clock.now_ms()));
                }
                let auth = match auth {
                    model::Auth::ApiKey(key) => Auth::ApiKey(key.expose().to_owned()),
                    model::Auth::Bearer(token) => Auth::Bearer(token.expose().to_owned()),
                    model::Auth::None => Auth::None,
                };
                let slots = match slots {
                    Some(said) => Some(said),
                    None => wattle_worker::model::slots(&target, &base_url).await,
                };
                (self.over_http(target, base_url.clone(), auth, version)?, name, base_url, slots)
            }
        };
        let clock = self.clock.clone();
        let today = Arc::new(move || day(clock.now_ms()));
        let options = SharedOptions {
            policy: gate(&base_url, self.prefix_ttl, slots),
            prewarm: self.prewarm,
            prices: self.prices.clone(),
            today,
        };
        let made: Found = (Arc::new(Shared::new(made, options)), name);
        self.found.lock().expect("no holder panics").insert(key.to_owned(), made.clone());
        Ok(made)
    }

    fn known(&self, name: &str) -> Option<Found> {
        self.found.lock().expect("no holder panics").get(name).cloned()
    }

    fn over_http(
        &self,
        target: Target,
        base_url: String,
        auth: Auth,
        version: Option<String>,
    ) -> Result<Arc<dyn Model>, SetupError> {
        let options = WireOptions { target, base_url, auth, version, pressure: Arc::clone(&self.pressure) };
        Ok(Arc::new(HttpModel::new(options)?))
    }
}
