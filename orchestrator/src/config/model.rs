//! Where models are reached: `anthropic/NAME`, `openai/NAME`, servers of the user's file, `script:FILE`.
//!
//! Only whether a key is there is known here; the key itself goes from the environment to the model layer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::Environment;
use super::file::{Server, Wire};

/// A model and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A server that speaks Anthropic Messages.
    Anthropic {
        /// Model, the second part of `PROVIDER/NAME`.
        name: String,
        /// Address.
        base_url: String,
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

/// The servers that this process can reach.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Models {
    servers: BTreeMap<String, Server>,
    anthropic_url: String,
    anthropic_keyed: bool,
}

/// Where Anthropic's service is.
const ANTHROPIC_URL: &str = "https://api.anthropic.com";

impl Models {
    /// Servers of the user's file, and what the environment says.
    pub(crate) fn new(servers: BTreeMap<String, Server>, env: &Environment) -> Self {
        Self {
            servers,
            anthropic_url: env.get("ANTHROPIC_BASE_URL").unwrap_or(ANTHROPIC_URL).trim_end_matches('/').to_owned(),
            anthropic_keyed: env.get("ANTHROPIC_API_KEY").or(env.get("ANTHROPIC_AUTH_TOKEN")).is_some(),
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
            return match server.wire {
                Wire::OpenAi => Err(ModelProblem::NotBuilt(model.to_owned())),
                Wire::Anthropic => Ok(anthropic(name, &server.base_url)),
            };
        }
        match provider {
            "anthropic" if self.anthropic_keyed => Ok(anthropic(name, &self.anthropic_url)),
            "anthropic" => Err(ModelProblem::Key { model: model.to_owned(), variable: "ANTHROPIC_API_KEY" }),
            "openai" => Err(ModelProblem::NotBuilt(model.to_owned())),
            _ => Err(ModelProblem::Provider { model: model.to_owned(), provider: provider.to_owned() }),
        }
    }
}

fn anthropic(name: &str, base_url: &str) -> Endpoint {
    Endpoint::Anthropic { name: name.to_owned(), base_url: base_url.trim_end_matches('/').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_or_says_what_to_set() {
        let keyed = Models::new(BTreeMap::new(), &Environment::of(&[("ANTHROPIC_API_KEY", "sk-1")]));
        let found = keyed.endpoint(Some("anthropic/claude-x"));
        assert_eq!(found, Ok(Endpoint::Anthropic { name: "claude-x".into(), base_url: ANTHROPIC_URL.into() }));
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
    fn a_server_of_the_users_file_needs_no_key() {
        let server = Server { base_url: "http://127.0.0.1:1/".into(), wire: Wire::Anthropic };
        let models = Models::new(BTreeMap::from([("local".into(), server)]), &Environment::of(&[]));
        let found = models.endpoint(Some("local/m"));
        assert_eq!(found, Ok(Endpoint::Anthropic { name: "m".into(), base_url: "http://127.0.0.1:1".into() }));
    }
}
