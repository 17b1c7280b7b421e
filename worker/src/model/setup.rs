//! Where a model is and how it is spoken to: what a user configures, turned into headers and an address once.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;
use wattle_cache::prefix::{Codec, Target};

use super::pressure::Pressure;

/// Version that is sent to Anthropic itself.
const VERSION: &str = "2026-10-21";
/// Version that is sent to other addresses: what gateways and local servers know.
const VERSION_ELSEWHERE: &str = "2023-06-01";

/// A key that is shorter protects nothing, and is a letter or two of many words: it is shown as it is. Servers of a
/// user's own are given such keys (`x`, `-`) because their clients want one.
const SECRET_CHARS_MIN: usize = 4;
/// A key that is shorter (`none`, `local`, `ollama`) may be a part of longer words, and is hidden only where it stands
/// as a word of its own. Providers' keys have forty characters and more.
const SECRET_CHARS_ANYWHERE: usize = 8;

/// How requests are authorised; exactly one form is sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// The header `x-api-key`.
    ApiKey(String),
    /// The header `authorization: Bearer`.
    Bearer(String),
    /// Nothing: a server of the user's own.
    None,
}

impl Auth {
    fn secret(&self) -> Option<&str> {
        match self {
            Auth::ApiKey(key) | Auth::Bearer(key) => Some(key),
            Auth::None => None,
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Auth::ApiKey(_) => "ApiKey(hidden)",
            Auth::Bearer(_) => "Bearer(hidden)",
            Auth::None => "None",
        })
    }
}

/// Where a model is and how it is spoken to.
#[derive(Clone)]
pub struct WireOptions {
    /// Whom requests are rendered for, the wire and the provider among it.
    pub target: Target,
    /// Address: without `/v1` for Anthropic Messages, with it for the OpenAI wires.
    pub base_url: String,
    /// Key.
    pub auth: Auth,
    /// Value of `anthropic-version`; `None` = the newest for Anthropic itself, the oldest elsewhere.
    pub version: Option<String>,
    /// What all models of a run share.
    pub pressure: Arc<Pressure>,
}

impl fmt::Debug for WireOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        formatter
            .debug_struct("WireOptions")
            .field("target", &self.target)
            .field("auth", &self.auth)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Why a model cannot be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The address is none.
    #[error("set up the model: base_url {url:?} is no http(s) address")]
    BaseUrl {
        /// What was given, without a password.
        url: String,
    },
    /// The key or the version cannot be sent as a header.
    #[error("set up the model: the {what} holds characters that a header cannot carry")]
    Header {
        /// Which one.
        what: &'static str,
    },
    /// The HTTP client cannot be built.
    #[error("set up the model: build the http client: {source}")]
    Client {
        /// What it says.
        source: reqwest::Error,
    },
}

/// An address and the headers of every request to it.
pub(super) struct Setup {
    pub(super) base: Url,
    pub(super) endpoint: Url,
    pub(super) headers: HeaderMap,
    /// What must not be shown, wherever it turns up.
    pub(super) secrets: Vec<String>,
}

impl Setup {
    pub(super) fn new(options: &WireOptions) -> Result<Setup, SetupError> {
        let wrong = || SetupError::BaseUrl { url: without_password(&options.base_url) };
        let base = Url::parse(&options.base_url).map_err(|_| wrong())?;
        let host = base.host_str().ok_or_else(wrong)?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let path = match options.target.codec {
            Codec::AnthropicMessages => "v1/messages",
            Codec::OpenaiChat => "chat/completions",
            Codec::OpenaiResponses => "responses",
        };
        let text = format!("{}/{path}", options.base_url.trim_end_matches('/'));
        let endpoint = Url::parse(&text).map_err(|_| wrong())?;
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("accept", HeaderValue::from_static("text/event-stream, application/json"));
        if options.target.codec == Codec::AnthropicMessages {
            let usual = if host == "api.anthropic.com" { VERSION } else { VERSION_ELSEWHERE };
            let version = options.version.as_deref().unwrap_or(usual);
            let version =
                HeaderValue::from_str(version).map_err(|_| SetupError::Header { what: "anthropic-version" })?;
            headers.insert("anthropic-version", version);
        }
        if let Some((name, value)) = authorisation(&options.auth)? {
            headers.insert(name, value);
        }
        let given = [options.auth.secret(), base.password()].into_iter().flatten().map(str::trim);
        let secrets = given.filter(|secret| !secret.is_empty()).map(ToOwned::to_owned).collect();
        Ok(Setup { endpoint, headers, secrets, base })
    }
}

fn authorisation(auth: &Auth) -> Result<Option<(HeaderName, HeaderValue)>, SetupError> {
    let (name, text) = match auth {
        Auth::ApiKey(key) => (HeaderName::from_static("x-api-key"), key.trim().to_owned()),
        Auth::Bearer(token) => (HeaderName::from_static("authorization"), format!("Bearer {}", token.trim())),
        Auth::None => return Ok(None),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| SetupError::Header { what: "key" })?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

/// The address with nothing between `//` and `@`.
fn without_password(url: &str) -> String {
    match (url.find("//"), url.rfind('@')) {
        (Some(start), Some(at)) if start + 2 <= at => format!("{}{}", &url[..start + 2], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

/// The text with every secret left out: providers and proxies repeat what they were sent.
pub(super) fn redacted(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| hide(&text, secret))
}

fn hide(text: &str, secret: &str) -> String {
    let chars = secret.chars().count();
    if chars < SECRET_CHARS_MIN {
        return text.to_owned();
    }
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in text.match_indices(secret) {
        let (before, after) = (text[..at].chars().next_back(), text[at + found.len()..].chars().next());
        let alone = !before.is_some_and(in_word) && !after.is_some_and(in_word);
        if alone || chars >= SECRET_CHARS_ANYWHERE {
            shown.push_str(&text[from..at]);
            shown.push_str("(hidden)");
            from = at + found.len();
        }
    }
    shown.push_str(&text[from..]);
    shown
}

#[cfg(test)]
mod tests {
    use wattle_cache::prefix::{Codec, Dialect, Target};

    use super::{Auth, Setup, WireOptions, redacted};

    fn options(codec: Codec, base_url: &str, auth: Auth, version: Option<&str>) -> WireOptions {
        let target = Target { codec, provider: "p".to_owned(), dialect: Dialect::plain() };
        let (base_url, version) = (base_url.to_owned(), version.map(ToOwned::to_owned));
        WireOptions { target, base_url, auth, version, pressure: Default::default() }
    }

    fn check(options: &WireOptions, endpoint: &str, expected: &[(&str, &str)]) {
        let setup = Setup::new(options).unwrap();
        assert_eq!(setup.endpoint.as_str(), endpoint);
        for name in ["anthropic-version", "x-api-key", "authorization"] {
            let expected = expected.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            let found = setup.headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{endpoint} {name}");
        }
    }

    #[test]
    fn a_version_and_one_form_of_authorisation_are_sent() {
        let key = || Auth::ApiKey("k".to_owned());
        let token = || Auth::Bearer("t".to_owned());
        let own = "https://api.anthropic.com";
        check(
            &options(Codec::AnthropicMessages, own, key(), None),
            "https://api.anthropic.com/v1/messages",
            &[("anthropic-version", "2026-10-21"), ("x-api-key", "k")],
        );
        check(
            &options(Codec::AnthropicMessages, "http://127.0.0.1:4011/", token(), None),
            "http://127.0.0.1:4011/v1/messages",
            &[("anthropic-version", "2023-06-01"), ("authorization", "Bearer t")],
        );
        check(
            &options(Codec::AnthropicMessages, own, token(), Some("2023-06-01")),
            "https://api.anthropic.com/v1/messages",
            &[("anthropic-version", "2023-06-01"), ("authorization", "Bearer t")],
        );
        check(
            &options(Codec::OpenaiChat, "http://localhost:11434/v1/", Auth::None, None),
            "http://localhost:11434/v1/chat/completions",
            &[],
        );
        check(
            &options(Codec::OpenaiResponses, "https://api.openai.com/v1", token(), None),
            "https://api.openai.com/v1/responses",
            &[("authorization", "Bearer t")],
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_shows_no_secret() {
        for (url, key) in [("ftp://me:pass@x", "k"), ("not a url", "k"), ("http://x", "key\nsecret")] {
            let error = Setup::new(&options(Codec::OpenaiChat, url, Auth::Bearer(key.to_owned()), None));
            let shown = error.err().unwrap().to_string();
            assert!(!shown.contains("pass@") && !shown.contains("secret"), "{shown}");
        }
        let options = options(Codec::OpenaiChat, "http://me:pass@x", Auth::ApiKey("sk-1".to_owned()), None);
        assert!(!format!("{options:?}").contains("pass") && !format!("{options:?}").contains("sk-1"));
        let secrets = Setup::new(&options).unwrap().secrets;
        assert_eq!(redacted("key sk-1 for me:pass", &secrets), "key (hidden) for me:(hidden)");
    }

    #[test]
    fn a_short_key_does_not_eat_words() {
        for (key, words, shown) in [
            ("x", "invalid x-api-key: x is no key for proxy.example", None),
            ("abc", "abc is no key", None),
            ("  ", "nothing to hide", None),
            (
                "none",
                "none of the keys none-such and nonempty fits",
                Some("(hidden) of the keys none-such and nonempty fits"),
            ),
            ("local", "Incorrect key: 'local' (locally)", Some("Incorrect key: '(hidden)' (locally)")),
            ("sk-12345", "key=sk-12345xyz, sk-12345", Some("key=(hidden)xyz, (hidden)")),
            (" sk-long-key\n", "sk-long-key", Some("(hidden)")),
        ] {
            let secrets = Setup::new(&options(Codec::OpenaiChat, "http://x", Auth::Bearer(key.to_owned()), None));
            assert_eq!(redacted(words, &secrets.unwrap().secrets), shown.unwrap_or(words), "{key:?}");
        }
    }
}
