//! The HTTP client of the model wire, and bodies that are read whole.

use std::error::Error as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::{Client, Response, Url};

use super::retry::{BACKOFF_FIRST, Fault, FaultKind};

/// Bound on connecting: longer means that nobody is there.
const CONNECT: Duration = Duration::from_secs(10);
/// Bound on silence in a response, pings included; providers ping every few seconds.
const IDLE: Duration = Duration::from_secs(120);
/// Bound on a reply that comes whole, and on the body of an error: far above any real one.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long things may take; tests shorten it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bound on silence in a response.
    pub(crate) idle: Duration,
    /// First pause before a retry.
    pub(crate) backoff_first: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { idle: IDLE, backoff_first: BACKOFF_FIRST }
    }
}

/// A client for one address. It follows no redirect (the key would go along) and never retries by itself
/// (every attempt is a row of the ledger).
pub(super) fn client(base: &Url, pace: &Pace) -> Result<Client, reqwest::Error> {
    // The only error is that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(pace.idle)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never());
    if is_loopback(base) {
        builder = builder.no_proxy();
    }
    builder.build()
}

fn is_loopback(base: &Url) -> bool {
    match base.host_str() {
        None => false,
        Some("localhost") => true,
        Some(host) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

/// The fault that an error of the HTTP client is. Its words leave out the address, which may hold a password.
pub(super) fn broken(error: reqwest::Error, base: &Url) -> Fault {
    let kind = if error.is_connect() { FaultKind::Unreachable } else { FaultKind::Broken };
    let silent = error.is_timeout() && kind == FaultKind::Broken;
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        words = format!("{words}: {inner}");
        source = inner.source();
    }
    match kind {
        FaultKind::Unreachable => {
            let at = base.host_str().unwrap_or_default();
            let port = base.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
            Fault::of(kind, "unreachable", format!("no connection to {at}{port}: {words}"))
        }
        _ if silent => Fault::of(kind, "idle", format!("the server was silent for too long: {words}")),
        _ => Fault::of(kind, "broken", words),
    }
}

/// A body that is no stream, as text.
pub(super) async fn body_text(response: Response, base: &Url) -> Result<String, Fault> {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk.map_err(|error| broken(error, base))?);
        if body.len() > BODY_BYTES_MAX {
            let words = format!("the reply is larger than {BODY_BYTES_MAX} bytes");
            return Err(Fault::of(FaultKind::Unreadable, "too_large", words));
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::is_loopback;

    #[test]
    fn loopback_is_told_from_the_rest() {
        for (url, expected) in [
            ("http://127.0.0.1:80", true),
            ("http://localhost", true),
            ("http://[::1]:9", true),
            ("https://api.anthropic.com", false),
            ("http://127.0.0.1.example.org", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
