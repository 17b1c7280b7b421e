//! Models by name: `PROVIDER/NAME` or `script:FILE`, made once per process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use wattle_planner::{Plan, StepId, Work};
use wattle_worker::model::Model;
use wattle_worker::model::anthropic::{Anthropic, AnthropicOptions, Auth, SetupError};
use wattle_worker::scripted;

use super::context::Providers;

/// Address of the Anthropic service.
const ANTHROPIC: &str = "https://api.anthropic.com";

/// Why there is no such model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    /// An agent step and no model.
    #[error("find a model: none is set")]
    None,
    /// A step that needs one has none.
    #[error("start step {step}: {problem}")]
    Step {
        /// The step.
        step: StepId,
        /// Why.
        problem: Box<ModelError>,
    },
    /// The name has no known provider.
    #[error("find the model {0}: this wattle speaks to anthropic/NAME and script:FILE")]
    Provider(String),
    /// No key.
    #[error("use the model {0}: neither ANTHROPIC_API_KEY nor ANTHROPIC_AUTH_TOKEN is set")]
    Key(String),
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
    pub(crate) fn mend(&self) -> &'static str {
        match self {
            Self::Step { problem, .. } => problem.mend(),
            Self::None => "give --model PROVIDER/NAME, or set WATTLE_MODEL, or `model:` in the configuration",
            Self::Provider(_) => "for example --model anthropic/claude-sonnet-5-5 or --model script:replies.yaml",
            Self::Key(_) => "export ANTHROPIC_API_KEY=…",
            Self::Setup(_) => "see the key and ANTHROPIC_BASE_URL",
            Self::Script { .. } => "a script is found from the directory that wattle is started in, or from -C",
        }
    }
}

/// Are there models for all steps that ask one, before anything starts?
pub(crate) fn require(
    providers: &Providers,
    folder: &Path,
    plan: &Plan,
    model: Option<&str>,
    runs: impl Fn(&StepId) -> bool,
) -> Result<(), ModelError> {
    let models = Models::new(providers.clone(), folder);
    for step in plan.steps().iter().filter(|step| runs(&step.id)) {
        let repair = step.repair.as_ref().map(|repair| &repair.work);
        for work in [Some(&step.work), repair].into_iter().flatten() {
            let Work::Agent(agent) = work else { continue };
            let found = models.look(agent.model.as_deref().or(model));
            found.map_err(|problem| ModelError::Step { step: step.id.clone(), problem: Box::new(problem) })?;
        }
    }
    Ok(())
}

/// A model and its name on the wire.
pub(crate) type Found = (Arc<dyn Model>, String);

/// Models that have been asked for.
pub(crate) struct Models {
    providers: Providers,
    folder: PathBuf,
    found: Mutex<BTreeMap<String, Found>>,
    servers: tokio::sync::Mutex<Vec<scripted::Server>>,
}

impl Models {
    /// No model yet; scripts are found from `folder`.
    pub(crate) fn new(providers: Providers, folder: &Path) -> Self {
        let found = Mutex::new(BTreeMap::new());
        Self { providers, folder: folder.to_owned(), found, servers: Default::default() }
    }

    /// The model of a name.
    pub(crate) async fn find(&self, name: Option<&str>) -> Result<Found, ModelError> {
        let name = name.ok_or(ModelError::None)?;
        // Held over the await: two steps that want one script get one server.
        let mut servers = self.servers.lock().await;
        if let Some(found) = self.known(name) {
            return Ok(found);
        }
        let made = match name.split_once(':') {
            Some(("script", file)) => {
                let path = self.folder.join(file);
                let failed = |message: String| ModelError::Script { message };
                let server = scripted::serve(&path, 0).await.map_err(|error| failed(error.to_string()))?;
                let base_url = server.base_url();
                servers.push(server);
                let auth = Auth::ApiKey("scripted".to_owned());
                (anthropic("script", base_url, auth)?, "claude-scripted".to_owned())
            }
            _ => self.remote(name)?,
        };
        self.found.lock().expect("no holder panics").insert(name.to_owned(), made.clone());
        Ok(made)
    }

    /// Could this model be asked? Starts nothing and asks nobody.
    fn look(&self, name: Option<&str>) -> Result<(), ModelError> {
        let name = name.ok_or(ModelError::None)?;
        let Some(file) = name.strip_prefix("script:") else { return self.remote(name).map(drop) };
        let path = self.folder.join(file);
        scripted::Script::load(&path).map(drop).map_err(|error| ModelError::Script { message: error.to_string() })
    }

    fn known(&self, name: &str) -> Option<Found> {
        self.found.lock().expect("no holder panics").get(name).cloned()
    }

    fn remote(&self, name: &str) -> Result<Found, ModelError> {
        let Some(("anthropic", wire)) = name.split_once('/') else {
            return Err(ModelError::Provider(name.to_owned()));
        };
        let auth = match (&self.providers.anthropic_key, &self.providers.anthropic_token) {
            (Some(key), _) => Auth::ApiKey(key.clone()),
            (None, Some(token)) => Auth::Bearer(token.clone()),
            (None, None) => return Err(ModelError::Key(name.to_owned())),
        };
        let base_url = self.providers.anthropic_base_url.clone().unwrap_or_else(|| ANTHROPIC.to_owned());
        Ok((anthropic("anthropic", base_url, auth)?, wire.to_owned()))
    }
}

fn anthropic(provider: &str, base_url: String, auth: Auth) -> Result<Arc<dyn Model>, SetupError> {
    let options = AnthropicOptions { base_url, auth, version: None, provider: provider.to_owned() };
    Ok(Arc::new(Anthropic::new(options)?))
}
