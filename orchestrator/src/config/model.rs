//! Where models are reached: `anthropic/NAME`, `openai/NAME`, servers of the user's file, `script:FILE`.
//!
//! Keys stay in this process: they are shown by no `Debug`, serialised nowhere, and passed to no child.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use wattle_cache::prefix::{BriefPlace, Codec, Dialect, Target};

use super::environment::Environment;
use super::file::{AuthStyle, Server, Wire};

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
    /// A server that speaks one of the wires.
    Server {
        /// Whom requests are rendered for: the wire, the provider, and what it takes.
        target: Target,
        /// Model, the second part of `PROVIDER/NAME`.
        name: String,
        /// Address.
        base_url: String,
        /// Key.
        auth: Auth,
        /// Value of `anthropic-version`; `None` = the usual one.
        version: Option<String>,
        /// Requests at once, where the server has so many slots.
        slots: Option<u32>,
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
        variable: String,
    },
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
        }
    }
}

/// The servers that this process can reach.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub(crate) struct Models {
    servers: BTreeMap<String, Server>,
    anthropic_url: String,
    openai_url: String,
    #[serde(skip)]
    anthropic: Option<Auth>,
    #[serde(skip)]
    openai: Option<Auth>,
    /// Keys of the servers, by the variable that holds them.
    #[serde(skip)]
    keys: BTreeMap<String, Secret>,
}

/// Where Anthropic's service is.
const ANTHROPIC_URL: &str = "https://api.anthropic.com";
/// Where OpenAI's service is.
const OPENAI_URL: &str = "https://api.openai.com/v1";
/// A service whose cache holds whole messages only.
const DEEPSEEK_HOST: &str = "api.deepseek.com";

impl Models {
    /// Servers of the user's file, and keys and addresses of the environment.
    pub(crate) fn new(servers: BTreeMap<String, Server>, env: &Environment) -> Self {
        let key = |name: &str| env.get(name).map(|text| Secret(text.to_owned()));
        let url = |name: &str, usual: &str| env.get(name).unwrap_or(usual).trim_end_matches('/').to_owned();
        let named = servers.values().filter_map(|server| server.key.clone());
        Self {
            anthropic_url: url("ANTHROPIC_BASE_URL", ANTHROPIC_URL),
            openai_url: url("OPENAI_BASE_URL", OPENAI_URL),
            anthropic: key("ANTHROPIC_API_KEY")
                .map(Auth::ApiKey)
                .or_else(|| key("ANTHROPIC_AUTH_TOKEN").map(Auth::Bearer)),
            openai: key("OPENAI_API_KEY").map(Auth::Bearer),
            keys: named.filter_map(|name| key(&name).map(|secret| (name, secret))).collect(),
            servers,
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
        let missing = |variable: &str| ModelProblem::Key { model: model.to_owned(), variable: variable.to_owned() };
        let (codec, base_url, auth) = match provider {
            "anthropic" => {
                let auth = self.anthropic.clone().ok_or_else(|| missing("ANTHROPIC_API_KEY"))?;
                (Codec::AnthropicMessages, self.anthropic_url.clone(), auth)
            }
            "openai" if self.openai_url == OPENAI_URL => {
                let auth = self.openai.clone().ok_or_else(|| missing("OPENAI_API_KEY"))?;
                (Codec::OpenaiResponses, OPENAI_URL.to_owned(), auth)
            }
            // Another address has the wire that all servers have, and perhaps wants no key.
            "openai" => (Codec::OpenaiChat, self.openai_url.clone(), self.openai.clone().unwrap_or(Auth::None)),
            _ => return Err(ModelProblem::Provider { model: model.to_owned(), provider: provider.to_owned() }),
        };
        let target = Target { codec, provider: provider.to_owned(), dialect: dialect(&base_url, name) };
        Ok(Endpoint::Server { target, name: name.to_owned(), base_url, auth, version: None, slots: None })
    }

    fn server(&self, model: &str, provider: &str, name: &str, server: &Server) -> Result<Endpoint, ModelProblem> {
        let codec = match server.wire {
            Wire::Anthropic => Codec::AnthropicMessages,
            Wire::OpenaiChat => Codec::OpenaiChat,
            Wire::OpenaiResponses => Codec::OpenaiResponses,
        };
        let base_url = server.base_url.trim_end_matches('/').to_owned();
        let target = Target { codec, provider: provider.to_owned(), dialect: dialect(&base_url, name) };
        let auth = self.auth(model, provider, server)?;
        let (name, version, slots) = (name.to_owned(), server.version.clone(), server.slots);
        Ok(Endpoint::Server { target, name, base_url, auth, version, slots })
    }

    /// The key of a server: the one that its entry names. The vendors' own keys are for entries of their names only.
    fn auth(&self, model: &str, provider: &str, server: &Server) -> Result<Auth, ModelProblem> {
        let usual = match server.wire {
            Wire::Anthropic => AuthStyle::ApiKey,
            Wire::OpenaiChat | Wire::OpenaiResponses => AuthStyle::Bearer,
        };
        let named = match &server.key {
            Some(variable) => {
                let missing = || ModelProblem::Key { model: model.to_owned(), variable: variable.clone() };
                Some(Auth::styled(usual, self.keys.get(variable).ok_or_else(missing)?.clone()))
            }
            None => match provider {
                "anthropic" => self.anthropic.clone(),
                "openai" => self.openai.clone(),
                _ => None,
            },
        };
        Ok(match (named, server.auth) {
            (_, Some(AuthStyle::None)) | (None, _) => Auth::None,
            (Some(auth), None) => auth,
            (Some(Auth::ApiKey(secret) | Auth::Bearer(secret)), Some(style)) => Auth::styled(style, secret),
            (Some(Auth::None), Some(_)) => Auth::None,
        })
    }
}

impl Auth {
    fn styled(style: AuthStyle, secret: Secret) -> Auth {
        match style {
            AuthStyle::ApiKey => Auth::ApiKey(secret),
            AuthStyle::Bearer => Auth::Bearer(secret),
            AuthStyle::None => Auth::None,
        }
    }
}

/// What the service at an address takes. Fields of OpenAI's own are for OpenAI alone: strict servers refuse them.
fn dialect(base_url: &str, name: &str) -> Dialect {
    let host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    match host {
        "api.openai.com" => Dialect::openai(name),
        DEEPSEEK_HOST => Dialect { brief: BriefPlace::Message, ..Dialect::plain() },
        _ => Dialect::elsewhere(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An endpoint in one line.
    fn shown(models: &Models, model: &str) -> String {
        match models.endpoint(Some(model)) {
            Ok(Endpoint::Server { target, name, base_url, auth, version, .. }) => {
                let auth = match auth {
                    Auth::ApiKey(secret) => format!("x-api-key {}", secret.expose()),
                    Auth::Bearer(secret) => format!("bearer {}", secret.expose()),
                    Auth::None => "no key".to_owned(),
                };
                format!("{:?} {}/{name} at {base_url}, {auth}, {version:?}", target.codec, target.provider)
            }
            Ok(Endpoint::Script { file }) => format!("script {}", file.display()),
            Err(problem) => problem.to_string(),
        }
    }

    #[test]
    fn a_model_is_found_or_says_what_to_set() {
        let env = [("ANTHROPIC_API_KEY", "sk-1"), ("OPENAI_API_KEY", "sk-2")];
        let keyed = Models::new(BTreeMap::new(), &Environment::of(&env));
        assert_eq!(
            shown(&keyed, "anthropic/claude-x"),
            "AnthropicMessages anthropic/claude-x at https://api.anthropic.com, x-api-key sk-1, None"
        );
        assert_eq!(
            shown(&keyed, "openai/gpt-6-sol"),
            "OpenaiResponses openai/gpt-6-sol at https://api.openai.com/v1, bearer sk-2, None"
        );
        let hidden = format!("{keyed:?} {}", serde_json::to_string(&keyed).unwrap());
        assert!(!hidden.contains("sk-1") && !hidden.contains("sk-2"), "{hidden}");
        let env = [("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/"), ("ANTHROPIC_AUTH_TOKEN", "t")];
        let elsewhere = Models::new(BTreeMap::new(), &Environment::of(&env));
        assert_eq!(shown(&elsewhere, "openai/q"), "OpenaiChat openai/q at http://127.0.0.1:9/v1, no key, None");
        assert_eq!(
            shown(&elsewhere, "anthropic/c"),
            "AnthropicMessages anthropic/c at https://api.anthropic.com, bearer t, None"
        );
        let bare = Models::new(BTreeMap::new(), &Environment::of(&[]));
        for (model, message) in [
            ("claude", "read the model `claude`: it has to be PROVIDER/NAME or script:FILE"),
            ("anthropic/c", "use the model `anthropic/c`: ANTHROPIC_API_KEY is not set"),
            ("local/c", "find the model `local/c`: no server `local` is configured"),
            ("openai/g", "use the model `openai/g`: OPENAI_API_KEY is not set"),
            ("script:a.yaml", "script a.yaml"),
        ] {
            assert_eq!(shown(&bare, model), message);
        }
        assert_eq!(bare.endpoint(None).unwrap_err().to_string(), "find a model: none is set");
    }

    #[test]
    fn a_server_gets_its_own_key_in_its_own_way() {
        let server = |wire, auth, key: Option<&str>| Server {
            slots: None,
            base_url: "http://127.0.0.1:1/".into(),
            wire,
            auth,
            key: key.map(str::to_owned),
            version: Some("2023-06-01".to_owned()),
        };
        let servers = BTreeMap::from([
            ("local".to_owned(), server(Wire::Anthropic, None, None)),
            ("gateway".to_owned(), server(Wire::Anthropic, Some(AuthStyle::Bearer), Some("GATEWAY_KEY"))),
            ("keyed".to_owned(), server(Wire::OpenaiChat, None, Some("GATEWAY_KEY"))),
            ("unset".to_owned(), server(Wire::OpenaiChat, None, Some("OTHER_KEY"))),
            ("anthropic".to_owned(), server(Wire::Anthropic, Some(AuthStyle::Bearer), None)),
            ("openai".to_owned(), server(Wire::OpenaiResponses, Some(AuthStyle::None), None)),
        ]);
        let env = [("ANTHROPIC_API_KEY", "k"), ("GATEWAY_KEY", "g"), ("OPENAI_API_KEY", "o")];
        let models = Models::new(servers, &Environment::of(&env));
        for (model, expected) in [
            ("local/m", "AnthropicMessages local/m at http://127.0.0.1:1, no key, Some(\"2023-06-01\")"),
            ("gateway/m", "AnthropicMessages gateway/m at http://127.0.0.1:1, bearer g, Some(\"2023-06-01\")"),
            ("keyed/a/b", "OpenaiChat keyed/a/b at http://127.0.0.1:1, bearer g, Some(\"2023-06-01\")"),
            ("unset/m", "use the model `unset/m`: OTHER_KEY is not set"),
            ("anthropic/m", "AnthropicMessages anthropic/m at http://127.0.0.1:1, bearer k, Some(\"2023-06-01\")"),
            ("openai/m", "OpenaiResponses openai/m at http://127.0.0.1:1, no key, Some(\"2023-06-01\")"),
        ] {
            assert_eq!(shown(&models, model), expected);
        }
    }

    #[test]
    fn only_openai_is_sent_openais_fields() {
        assert_eq!(dialect("https://api.openai.com/v1", "gpt-6-sol"), Dialect::openai("gpt-6-sol"));
        assert_eq!(dialect("https://api.deepseek.com", "deepseek-chat").brief, BriefPlace::Message);
        for url in ["http://127.0.0.1:11434/v1", "https://api.openai.com.example.org/v1"] {
            assert_eq!(dialect(url, "qwen3"), Dialect::plain(), "{url}");
            // A gateway to a model that knows no other name for the bound on output.
            assert_eq!(dialect(url, "gpt-6-sol"), Dialect::elsewhere("gpt-6-sol"), "{url}");
        }
    }
}
