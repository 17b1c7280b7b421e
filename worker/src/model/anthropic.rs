//! The Anthropic Messages wire: one streamed request, tried again while that can help.
//!
//! A turn counts only after the last event of its stream. What came before a fault is thrown away and the
//! whole request is sent again: half a turn can never be continued, and the cached prefix makes it cheap.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::assemble::{Assembled, Assembly, ErrorBody, Progress};
use super::sse::Decoder;
use super::transport::{self, ATTEMPTS_BUSY, ATTEMPTS_OTHER, Pace};
use super::{Attempt, Model, ModelError, ModelErrorKind, ModelRequest, Reply, Streaming};

/// Version that is sent to the provider itself.
const VERSION: &str = "2026-10-21";
/// Version that is sent to other addresses: what gateways and local servers know.
const VERSION_ELSEWHERE: &str = "2023-06-01";
/// Bound on a reply that comes whole, and on the body of an error: far above any real one.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bound on the words of an error that are passed on: enough for what the provider says, not for a page.
const MESSAGE_CHARS_MAX: usize = 600;

/// How requests are authorised; exactly one form is sent.
#[derive(Clone)]
pub enum Auth {
    /// The header `x-api-key`.
    ApiKey(String),
    /// The header `authorization: Bearer`.
    Bearer(String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Auth::ApiKey(_) => "ApiKey(hidden)",
            Auth::Bearer(_) => "Bearer(hidden)",
        })
    }
}

/// Where a model is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct AnthropicOptions {
    /// Address without `/v1`.
    pub base_url: String,
    /// Key.
    pub auth: Auth,
    /// Value of `anthropic-version`; `None` = the newest for the provider itself, the oldest elsewhere.
    pub version: Option<String>,
    /// Name of the provider, the first part of `PROVIDER/NAME`.
    pub provider: String,
}

/// Why a model cannot be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// The address is none.
    #[error("set up the model: base_url {url:?} is no http(s) address")]
    BaseUrl {
        /// What was given.
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

/// A model behind the Anthropic Messages wire.
pub struct Anthropic {
    client: Client,
    endpoint: Url,
    headers: HeaderMap,
    provider: String,
    pace: Pace,
    /// Nobody sends before this: a provider that said "busy" said it to all workers.
    cooldown: Mutex<Option<Instant>>,
}

impl fmt::Debug for Anthropic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Anthropic");
        shown.field("provider", &self.provider).field("endpoint", &self.endpoint.as_str());
        shown.finish_non_exhaustive()
    }
}

impl Anthropic {
    /// Sets up a client; nothing is sent yet.
    ///
    /// # Errors
    /// Fails where the address, the key or the version cannot be used.
    pub fn new(options: AnthropicOptions) -> Result<Anthropic, SetupError> {
        Anthropic::with_pace(options, Pace::default())
    }

    pub(crate) fn with_pace(options: AnthropicOptions, pace: Pace) -> Result<Anthropic, SetupError> {
        let wrong = || SetupError::BaseUrl { url: options.base_url.clone() };
        let base = Url::parse(&options.base_url).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong());
        }
        let text = format!("{}/v1/messages", options.base_url.trim_end_matches('/'));
        let endpoint = Url::parse(&text).map_err(|_| wrong())?;
        let own = base.host_str().is_some_and(|host| host == "api.anthropic.com");
        let version = match &options.version {
            Some(version) => version.as_str(),
            None if own => VERSION,
            None => VERSION_ELSEWHERE,
        };
        let (name, secret) = match &options.auth {
            Auth::ApiKey(key) => ("x-api-key", key.clone()),
            Auth::Bearer(token) => ("authorization", format!("Bearer {token}")),
        };
        let mut secret = HeaderValue::from_str(&secret).map_err(|_| SetupError::Header { what: "key" })?;
        secret.set_sensitive(true);
        let version = HeaderValue::from_str(version).map_err(|_| SetupError::Header { what: "anthropic-version" })?;
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("anthropic-version", version);
        headers.insert(name, secret);
        let client = transport::client(&base, &pace).map_err(|source| SetupError::Client { source })?;
        let provider = options.provider;
        Ok(Anthropic { client, endpoint, headers, provider, pace, cooldown: Mutex::new(None) })
    }

    async fn ask(&self, request: ModelRequest, cancel: CancellationToken) -> Result<Reply, ModelError> {
        let mut attempts = Vec::new();
        let mut other_faults = 0;
        loop {
            let mut assembly = Assembly::default();
            let mut attempt = Attempt::default();
            tokio::select! {
                () = cancel.cancelled() => return Err(ModelError { kind: ModelErrorKind::Cancelled, attempts }),
                () = self.wait_for_cooldown() => {}
            }
            let sent = Instant::now();
            let ended = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                ended = self.attempt(&request, &mut assembly, &mut attempt) => Some(ended),
            };
            let usage = assembly.tokens();
            attempt.usage = usage;
            attempt.exact = assembly.exact() || (attempt.status >= 400 && !assembly.started);
            attempt.total_ms = millis(sent);
            attempts.push(attempt);
            let fault = match ended {
                None => {
                    return Err(ModelError { kind: ModelErrorKind::Cancelled, attempts });
                }
                Some(Ok(())) => {
                    let Assembled { message_json, blocks, stop } = assembly.finish();
                    return Ok(Reply { message_json, blocks, stop, usage, attempts });
                }
                Some(Err(fault)) => fault,
            };
            let made = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
            other_faults += u32::from(!fault.busy());
            let pause = match fault.plan(made, other_faults, &self.provider) {
                Ok(pause) => pause.unwrap_or_else(|| transport::backoff(&self.pace, made)),
                Err(kind) => return Err(ModelError { kind, attempts }),
            };
            tracing::debug!(provider = %self.provider, attempt = made, fault = %fault.words, "model attempt failed");
            if fault.busy() {
                self.cool_down(Instant::now() + pause);
            }
            tokio::select! {
                () = cancel.cancelled() => return Err(ModelError { kind: ModelErrorKind::Cancelled, attempts }),
                () = tokio::time::sleep(pause) => {}
            }
            if let Some(failed) = attempts.last()
                && !request.again(failed).await
            {
                return Err(ModelError { kind: ModelErrorKind::Cancelled, attempts });
            }
        }
    }

    async fn wait_for_cooldown(&self) {
        loop {
            let until = *self.cooldown.lock().unwrap_or_else(PoisonError::into_inner);
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) | None => return,
            }
        }
    }

    fn cool_down(&self, until: Instant) {
        let mut cooldown = self.cooldown.lock().unwrap_or_else(PoisonError::into_inner);
        *cooldown = Some(cooldown.map_or(until, |earlier| earlier.max(until)));
    }

    /// One HTTP attempt. What is known of it is noted as soon as it is.
    async fn attempt(
        &self,
        request: &ModelRequest,
        assembly: &mut Assembly,
        attempt: &mut Attempt,
    ) -> Result<(), Fault> {
        let sent = Instant::now();
        let post = self.client.post(self.endpoint.clone()).headers(self.headers.clone());
        let response = post.body(request.bytes.clone()).send().await.map_err(|error| Fault::broken(&error))?;
        attempt.status = response.status().as_u16();
        let id = response.headers().get("request-id").and_then(|value| value.to_str().ok());
        attempt.request_id = id.map(str::to_owned);
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        if content_type.is_some_and(|kind| kind.starts_with("application/json")) {
            request.started();
            attempt.ttft_ms = Some(millis(sent));
            attempt.whole = true;
            let body = body_text(response).await?;
            return assembly.take_whole(&body).map_err(|error| Fault::passing(format!("read the reply: {error}")));
        }
        let mut decoder = Decoder::default();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| Fault::broken(&error))?;
            let events = decoder.push(&chunk).map_err(|error| Fault::passing(error.to_string()))?;
            for event in events {
                let progress = assembly.take(&event);
                if assembly.started && attempt.ttft_ms.is_none() {
                    attempt.ttft_ms = Some(millis(sent));
                    request.started();
                }
                match progress.map_err(|error| Fault::passing(format!("read event {}: {error}", event.name)))? {
                    Progress::More => {}
                    Progress::Complete => return Ok(()),
                    Progress::Failed { code, message } => {
                        let status = status_of(&code);
                        return Err(Fault::answered(status, &HeaderMap::new(), code, None, &message));
                    }
                }
            }
        }
        Err(Fault::passing("the stream ended before the message did".to_owned()))
    }
}

impl Model for Anthropic {
    fn name(&self) -> &str {
        &self.provider
    }

    fn stream<'a>(&'a self, request: ModelRequest, cancel: CancellationToken) -> Streaming<'a> {
        Box::pin(self.ask(request, cancel))
    }
}

/// A failed attempt.
struct Fault {
    /// Status, or the one that an error event stands for; 0 where no answer came.
    status: u16,
    code: String,
    words: String,
    /// May another attempt help?
    retry: bool,
    /// The pause that was asked for.
    pause: Option<std::time::Duration>,
}

impl Fault {
    /// The connection or the stream broke.
    fn broken(error: &reqwest::Error) -> Fault {
        let mut words = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            words = format!("{words}: {inner}");
            source = inner.source();
        }
        Fault::passing(words)
    }

    fn passing(words: String) -> Fault {
        Fault { status: 0, code: String::new(), words, retry: true, pause: None }
    }

    fn answered(status: u16, headers: &HeaderMap, code: String, detail: Option<&str>, message: &str) -> Fault {
        // A spend limit is a 429 that no waiting helps against.
        let spent = detail.is_some_and(|detail| detail.ends_with("spend_limit_reached"));
        let words: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        Fault {
            status,
            code: detail.map_or(code, ToOwned::to_owned),
            words,
            retry: !spent && transport::retryable(status, headers),
            pause: transport::retry_after(headers),
        }
    }

    /// Does the provider say that it has too much to do?
    fn busy(&self) -> bool {
        matches!(self.status, 429 | 529)
    }

    /// The pause before the next attempt, or the error that ends the call.
    fn plan(
        &self,
        made: u32,
        other_faults: u32,
        provider: &str,
    ) -> Result<Option<std::time::Duration>, ModelErrorKind> {
        let provider = provider.to_owned();
        if !self.retry {
            return Err(ModelErrorKind::Fatal {
                provider,
                status: self.status,
                code: self.code.clone(),
                message: self.words.clone(),
            });
        }
        if made >= ATTEMPTS_BUSY || other_faults >= ATTEMPTS_OTHER {
            let last = match self.status {
                0 => self.words.clone(),
                status => format!("{status} {}: {}", self.code, self.words),
            };
            return Err(ModelErrorKind::Exhausted { provider, attempts: made, last });
        }
        Ok(self.pause)
    }
}

/// Time since then, in milliseconds.
fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The status that an error event of a stream stands for.
fn status_of(code: &str) -> u16 {
    match code {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    }
}

/// An answer that is not a success; proxies answer with pages, so the body may be anything.
async fn refusal(response: Response) -> Fault {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = match body_text(response).await {
        Ok(body) => body,
        Err(fault) => fault.words,
    };
    match serde_json::from_str::<ErrorBody>(&body) {
        Ok(ErrorBody { error }) => {
            let detail = error.details.and_then(|details| details.error_code);
            Fault::answered(status, &headers, error.kind, detail.as_deref(), &error.message)
        }
        Err(_) => Fault::answered(status, &headers, "(no error object)".to_owned(), None, body.trim()),
    }
}

async fn body_text(response: Response) -> Result<String, Fault> {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk.map_err(|error| Fault::broken(&error))?);
        if body.len() > BODY_BYTES_MAX {
            return Err(Fault::passing(format!("the reply is larger than {BODY_BYTES_MAX} bytes")));
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[cfg(test)]
mod tests;
