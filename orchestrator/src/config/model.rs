//! Where models are reached: `anthropic/NAME`, `openai/NAME`, servers of the user's file, `script:FILE`.
//!
//! Keys stay in this process: they are shown by no `Debug`, serialised nowhere, and passed to no child.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::environment::Environment;
use super::file::{Server, Wire};

/// A key; never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The key itself, for the wire.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a key)")
    }
}

/// How a request says who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Auth {
    /// `x-api-key`.
    ApiKey(Secret),
    /// `authorization: bearer`.
    Bearer(Secret),
    /// Nothing: a server of the user's own.
    None,
}

/// A model and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A server that speaks Anthropic Messages.
    Anthropic {
        /// Provider, the first part of `PROVIDER/NAME`.
        provider: String,
        /// Model, the second part.
        name: String,
        /// Address.
        base_url: String,
        /// Key.
        auth: Auth,
    },
    /// The scripted model, started on loopback from a file.
    Script {
        /// The script.
        file: PathBuf,
    },
}

/// Why a model cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ModelProblem {
    /// Neither flag, environment nor configuration names one.
    #[error("find a model: none is set")]
    None,
    /// The name has no provider.
    #[error("read the model `{0}`: it has to be PROVIDER/NAME or script:FILE")]
    Name(String),
    /// Nobody has said where this provider is.
    #[error("find the model `{model}`: no server `{provider}` is configured")]
    Provider {
        /// The whole name.
        model: String,
        /// Its first part.
        provider: String,
    },
    /// The provider's key is not in the environment.
    #[error("use the model `{model}`: {variable} is not set")]
    Key {
        /// The whole name.
        model: String,
        /// What would hold the key.
        variable: &'static str,
    },
    /// A wire of a later version.
    #[error("use the model `{0}`: the OpenAI wire is not built yet")]
    NotBuilt(String),
}

impl ModelProblem {
    /// What to do about it.
    pub(crate) fn mend(&self) -> String {
        match self {
            Self::None => {
                "give --model PROVIDER/NAME, or set WATTLE_MODEL, or `model:` in the configuration".to_owned()
            }
            Self::Name(_) => "for example anthropic/claude-sonnet-5-5 or script:replies.yaml".to_owned(),
            Self::Provider { provider, .. } => {
                format!("add `models: {{ {provider}: {{ base_url: … }} }}` to the user's configuration")
            }
            Self::Key { variable, .. } => format!("export {variable}=…"),
            Self::NotBuilt(_) => "use a model behind the Anthropic wire".to_owned(),
        }
    }
}

/// The servers that this process can reach.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Models {
    servers: BTreeMap<String, Server>,
    anthropic_url: String,
    #[serde(skip)]
    anthropic: Option<Auth>,
}

/// Where Anthropic's service is.
const ANTHROPIC_URL: &str = "https://api.anthropic.com";

impl Models {
    /// Servers of the user's file, and keys and addresses of the environment.
    pub(crate) fn new(servers: BTreeMap<String, Server>, env: &Environment) -> Self {
        let key = |name: &str| env.get(name).map(|text| Secret(text.to_owned()));
        let auth = key("ANTHROPIC_API_KEY").map(Auth::ApiKey);
        Self {
            servers,
            anthropic_url: env.get("ANTHROPIC_BASE_URL").unwrap_or(ANTHROPIC_URL).trim_end_matches('/').to_owned(),
            anthropic: auth.or_else(|| key("ANTHROPIC_AUTH_TOKEN").map(Auth::Bearer)),
        }
    }

    /// How to reach a model; `None` is the model that nobody has named.
    pub(crate) fn endpoint(&self, model: Option<&str>) -> Result<Endpoint, ModelProblem> {
        let model = model.ok_or(ModelProblem::None)?;
        if let Some(file) = model.strip_prefix("script:") {
            return Ok(Endpoint::Script { file: file.into() });
        }
        let Some((provider, name)) = model.split_once('/').filter(|(p, n)| !p.is_empty() && !n.is_empty()) else {
            return Err(ModelProblem::Name(model.to_owned()));
        };
        if let Some(server) = self.servers.get(provider) {
            return self.server(model, provider, name, server);
        }
        match provider {
            "anthropic" => {
                let missing = || ModelProblem::Key { model: model.to_owned(), variable: "ANTHROPIC_API_KEY" };
                let auth = self.anthropic.clone().ok_or_else(missing)?;
                let base_url = self.anthropic_url.clone();
                Ok(Endpoint::Anthropic { provider: provider.into(), name: name.into(), base_url, auth })
            }
            "openai" => Err(ModelProblem::NotBuilt(model.to_owned())),
            _ => Err(ModelProblem::Provider { model: model.to_owned(), provider: provider.to_owned() }),
        }
    }

    fn server(&self, model: &str, provider: &str, name: &str, server: &Server) -> Result<Endpoint, ModelProblem> {
        let auth = match (provider, &self.anthropic) {
            ("anthropic", Some(auth)) => auth.clone(),
            _ => Auth::None,
        };
        match server.wire {
            Wire::OpenAi => Err(ModelProblem::NotBuilt(model.to_owned())),
            Wire::Anthropic => Ok(Endpoint::Anthropic {
                provider: provider.into(),
                name: name.into(),
                base_url: server.base_url.trim_end_matches('/').to_owned(),
                auth,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_or_says_what_to_set() {
        let keyed = Models::new(BTreeMap::new(), &Environment::of(&[("ANTHROPIC_API_KEY", "sk-1")]));
        let Ok(Endpoint::Anthropic { base_url, auth, name, .. }) = keyed.endpoint(Some("anthropic/claude-x")) else {
            panic!("an endpoint");
        };
        assert_eq!((base_url.as_str(), name.as_str()), (ANTHROPIC_URL, "claude-x"));
        assert_eq!(auth, Auth::ApiKey(Secret("sk-1".into())));
        assert!(!format!("{keyed:?}").contains("sk-1"));
        assert!(!serde_json::to_string(&keyed).unwrap().contains("sk-1"));
        let bare = Models::new(BTreeMap::new(), &Environment::of(&[]));
        let cases: [(Option<&str>, &str); 5] = [
            (None, "find a model: none is set"),
            (Some("claude"), "read the model `claude`: it has to be PROVIDER/NAME or script:FILE"),
            (Some("anthropic/c"), "use the model `anthropic/c`: ANTHROPIC_API_KEY is not set"),
            (Some("local/c"), "find the model `local/c`: no server `local` is configured"),
            (Some("openai/g"), "use the model `openai/g`: the OpenAI wire is not built yet"),
        ];
        for (model, message) in cases {
            assert_eq!(bare.endpoint(model).unwrap_err().to_string(), message);
        }
        assert_eq!(bare.endpoint(Some("script:a.yaml")), Ok(Endpoint::Script { file: "a.yaml".into() }));
    }

    #[test]
    fn a_servers_key_is_not_anthropics() {
        let server = Server { base_url: "http://127.0.0.1:1/".into(), wire: Wire::Anthropic };
        let models =
            Models::new(BTreeMap::from([("local".into(), server)]), &Environment::of(&[("ANTHROPIC_API_KEY", "k")]));
        let Ok(Endpoint::Anthropic { auth, base_url, .. }) = models.endpoint(Some("local/m")) else {
            panic!("an endpoint")
        };
        assert_eq!((auth, base_url.as_str()), (Auth::None, "http://127.0.0.1:1"));
    }
}
