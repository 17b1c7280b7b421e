//! When a failed attempt is worth another one, and how long to wait for it: pure, as tables.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::HeaderMap;

use super::error::{ModelErrorKind, Reason};

/// First pause before a retry, and the bound that doubling stops at: the formula of the providers' own clients.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// See [`BACKOFF_FIRST`].
const BACKOFF_MAX: Duration = Duration::from_secs(8);
/// A provider may ask for a longer pause, up to this; beyond it a run is better told that it failed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Attempts when the provider is busy: with the pauses above about 40 s, an ordinary spell of load.
const ATTEMPTS_BUSY: u32 = 8;
/// Attempts for any other fault that might pass.
const ATTEMPTS_OTHER: u32 = 4;

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// What failed.
    pub(super) kind: FaultKind,
    /// Status, or the one that an error event stands for; 0 where no answer came.
    pub(super) status: u16,
    /// The provider's name of the error, or ours.
    pub(super) code: String,
    /// Words for people.
    pub(super) words: String,
    /// The pause that was asked for.
    pub(super) pause: Option<Duration>,
}

/// What failed, as far as the next step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// No connection could be made: nothing was sent.
    Unreachable,
    /// The connection was reset, or was silent for too long.
    Broken,
    /// The stream ended before its message did.
    Truncated,
    /// What came is no reply of this wire.
    Unreadable,
    /// The provider says that it has too much to do.
    Busy,
    /// The provider failed in another way that may pass.
    Failed,
    /// The provider refused for good.
    Refused(Reason),
}

impl Fault {
    pub(super) fn of(kind: FaultKind, code: &str, words: String) -> Fault {
        Fault { kind, status: 0, code: code.to_owned(), words, pause: None }
    }

    /// One line for people.
    pub(super) fn line(&self) -> String {
        match self.status {
            0 => self.words.clone(),
            status => format!("{status} {}: {}", self.code, self.words),
        }
    }
}

/// The attempts of one request so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All of them.
    pub(super) made: u32,
    /// Those that failed otherwise than by a busy provider.
    pub(super) other: u32,
}

impl Tally {
    pub(super) fn count(&mut self, kind: FaultKind) {
        self.made += 1;
        self.other += u32::from(kind != FaultKind::Busy);
    }
}

/// The pause before the next attempt, or what ends the call. `chance` is in 0..1.
pub(super) fn next(
    fault: &Fault,
    tally: Tally,
    provider: &str,
    first: Duration,
    chance: f64,
) -> Result<Duration, ModelErrorKind> {
    let provider = provider.to_owned();
    if let FaultKind::Refused(reason) = fault.kind {
        let (status, code, message) = (fault.status, fault.code.clone(), fault.words.clone());
        return Err(ModelErrorKind::Fatal { provider, status, code, message, reason });
    }
    if tally.made >= ATTEMPTS_BUSY || tally.other >= ATTEMPTS_OTHER {
        let (attempts, last, mend) = (tally.made, fault.line(), mend(fault.kind));
        return Err(ModelErrorKind::Exhausted { provider, attempts, last, mend });
    }
    Ok(fault.pause.unwrap_or_else(|| backoff(first, tally.made, chance)))
}

fn mend(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Unreachable => "is the server running, and is its base_url right?",
        FaultKind::Broken | FaultKind::Truncated => "see the network and the proxy, then `wattle resume`",
        FaultKind::Unreadable => "see the base_url and the proxy: what answers is no model on this wire",
        FaultKind::Busy => "the provider is busy: `wattle resume` later, or with fewer --jobs",
        FaultKind::Failed | FaultKind::Refused(_) => "is the provider well? `wattle resume` goes on",
    }
}

/// May another attempt help after this status? The header `x-should-retry` has the last word.
pub(super) fn retryable(status: u16, headers: &HeaderMap) -> bool {
    match headers.get("x-should-retry").and_then(|value| value.to_str().ok()) {
        Some("true") => true,
        Some("false") => false,
        Some(_) | None => matches!(status, 408 | 409 | 429) || status >= 500,
    }
}

/// The pause that the provider asks for: milliseconds, seconds, or a date, which is taken against the date of the
/// answer itself, so that no clock of ours has to be right.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number =
        |text: &str| -> Option<f64> { text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0) };
    let ms = text("retry-after-ms").and_then(number).map(|ms| ms / 1000.0);
    let after = || {
        let after = text("retry-after")?;
        number(after).or_else(|| {
            let until = http_date(after)?.duration_since(http_date(text("date")?)?);
            Some(until.as_secs_f64().max(0.0))
        })
    };
    let seconds = ms.or_else(after)?;
    Some(Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())))
}

/// A date as HTTP writes it.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The pause before attempt `number` (the first retry is 1): doubled each time, bounded, and up to a quarter
/// shorter by chance, so that workers that failed together do not come back together.
pub(super) fn backoff(first: Duration, number: u32, chance: f64) -> Duration {
    let doubled = first.saturating_mul(2u32.saturating_pow(number.saturating_sub(1)));
    doubled.min(BACKOFF_MAX).mul_f64(1.0 - 0.25 * chance)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{
        BACKOFF_FIRST, Fault, FaultKind, ModelErrorKind, Reason, Tally, backoff, next, retry_after, retryable,
    };

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
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        check(&[], None);
        check(&[("retry-after", "1.5")], Some(1500));
        check(&[("retry-after", "9"), ("retry-after-ms", "250")], Some(250));
        check(&[("retry-after", "9"), ("retry-after-ms", "soon")], Some(9000));
        check(&[("retry-after", "86400")], Some(60_000));
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "NaN")], None);
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT"), date], Some(3000));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT"), date], Some(0));
        check(&[("retry-after", "Mon, 07 Nov 1994 08:49:30 GMT"), date], Some(60_000));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT")], None);
        check(&[("retry-after", "tomorrow"), date], None);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        for number in 1..40 {
            let full = Duration::from_millis(500 << (number - 1).min(4));
            for chance in [0.0, 0.4, 0.999] {
                let pause = backoff(BACKOFF_FIRST, number, chance);
                assert!(pause <= full && pause >= full.mul_f64(0.75), "{number}: {pause:?}");
            }
        }
    }

    #[test]
    fn a_request_is_given_up_after_its_attempts() {
        let check = |kind: FaultKind, made: u32, other: u32, expected: Option<u64>| {
            let fault = Fault::of(kind, "c", "w".to_owned());
            let found = next(&fault, Tally { made, other }, "p", Duration::from_millis(100), 0.0);
            match expected {
                Some(ms) => assert_eq!(found, Ok(Duration::from_millis(ms)), "{kind:?} {made} {other}"),
                None => assert!(
                    matches!(found, Err(ModelErrorKind::Exhausted { attempts, .. }) if attempts == made),
                    "{kind:?} {made} {other}: {found:?}"
                ),
            }
        };
        check(FaultKind::Busy, 1, 0, Some(100));
        check(FaultKind::Busy, 7, 3, Some(6400));
        check(FaultKind::Busy, 8, 0, None);
        for kind in
            [FaultKind::Broken, FaultKind::Truncated, FaultKind::Failed, FaultKind::Unreadable, FaultKind::Unreachable]
        {
            check(kind, 1, 1, Some(100));
            check(kind, 3, 3, Some(400));
            check(kind, 4, 4, None);
        }
    }

    #[test]
    fn a_refusal_ends_a_request_at_once_and_an_asked_pause_is_kept() {
        let fault = Fault::of(FaultKind::Refused(Reason::Money), "billing_error", "no money".to_owned());
        let ended = next(&fault, Tally { made: 1, other: 1 }, "p", BACKOFF_FIRST, 0.0).unwrap_err();
        assert!(matches!(ended, ModelErrorKind::Fatal { reason: Reason::Money, .. }), "{ended:?}");
        let pause = Some(Duration::from_secs(7));
        let fault = Fault { pause, ..Fault::of(FaultKind::Busy, "c", "w".to_owned()) };
        assert_eq!(next(&fault, Tally { made: 1, other: 0 }, "p", BACKOFF_FIRST, 0.5).ok(), pause);
    }

    #[test]
    fn busy_spells_and_other_faults_are_counted_apart() {
        let mut tally = Tally::default();
        for kind in [FaultKind::Busy, FaultKind::Broken, FaultKind::Busy] {
            tally.count(kind);
        }
        assert_eq!(tally, Tally { made: 3, other: 1 });
    }
}
