//! The HTTP client of the model wire, and when a failed attempt is worth another one.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Url};

/// Bound on connecting: longer means that nobody is there.
const CONNECT: Duration = Duration::from_secs(10);
/// Bound on silence in a response, pings included; providers ping every few seconds.
const IDLE: Duration = Duration::from_secs(120);
/// First pause before a retry, and the bound that doubling stops at: the formula of the providers' own clients.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// See [`BACKOFF_FIRST`].
const BACKOFF_MAX: Duration = Duration::from_secs(8);
/// A provider may ask for a longer pause, up to this; beyond it a run is better told that it failed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Attempts when the provider is busy: with the pauses above about 40 s, an ordinary spell of load.
pub(super) const ATTEMPTS_BUSY: u32 = 8;
/// Attempts for any other fault that might pass.
pub(super) const ATTEMPTS_OTHER: u32 = 4;

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

/// May another attempt help after this status?
pub(super) fn retryable(status: u16, headers: &HeaderMap) -> bool {
    match headers.get("x-should-retry").and_then(|value| value.to_str().ok()) {
        Some("true") => true,
        Some("false") => false,
        Some(_) | None => matches!(status, 408 | 409 | 429) || status >= 500,
    }
}

/// The pause that the provider asks for.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| -> Option<f64> {
        let value = headers.get(name)?.to_str().ok()?;
        value.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
    };
    let seconds = number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after"))?;
    Some(Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())))
}

/// The pause before attempt `number` (the first retry is 1): doubled each time, bounded, and up to a quarter
/// shorter by chance, so that workers that failed together do not come back together.
pub(super) fn backoff(pace: &Pace, number: u32) -> Duration {
    let doubled = pace.backoff_first.saturating_mul(2u32.saturating_pow(number.saturating_sub(1)));
    let chance = (RandomState::new().build_hasher().finish() % 1024) as f64 / 1024.0;
    doubled.min(BACKOFF_MAX).mul_f64(1.0 - 0.25 * chance)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::Url;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{Pace, backoff, is_loopback, retry_after, retryable};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            assert!(retryable(status, &HeaderMap::new()), "{status}");
        }
        for status in [301, 400, 401, 402, 403, 404, 413, 422] {
            assert!(!retryable(status, &HeaderMap::new()), "{status}");
        }
        assert!(!retryable(529, &headers(&[("x-should-retry", "false")])));
        assert!(retryable(400, &headers(&[("x-should-retry", "true")])));
    }

    #[test]
    fn a_pause_is_what_the_provider_asks_for_within_bounds() {
        let check = |pairs: &[(&str, &str)], expected: Option<u64>| {
            assert_eq!(retry_after(&headers(pairs)), expected.map(Duration::from_millis), "{pairs:?}");
        };
        check(&[], None);
        check(&[("retry-after", "1.5")], Some(1500));
        check(&[("retry-after", "9"), ("retry-after-ms", "250")], Some(250));
        check(&[("retry-after", "86400")], Some(60_000));
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "NaN")], None);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        for number in 1..40 {
            let full = Duration::from_millis(500 << (number - 1).min(4));
            let pause = backoff(&Pace::default(), number);
            assert!(pause <= full && pause >= full.mul_f64(0.75), "{number}: {pause:?}");
        }
    }

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
