//! Rate limits as the providers' headers tell them, and how long to wait for room under one.
//!
//! A limit is a bucket that fills steadily: `remaining` is what is in it, and after `reset` it is full. So the wait
//! for `need` units is the part of `reset` in which the missing ones come in.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use super::retry::http_date;

/// Longest wait for room: beyond it the provider may say itself what to do, by a 429 with its own pause.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Requests.
    Requests,
    /// Tokens of the input (or all, where the provider does not tell them apart).
    Tokens,
}

/// One bucket at the time of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) unit: Unit,
    pub(super) limit: u64,
    pub(super) remaining: u64,
    /// Until it is full.
    pub(super) reset: Duration,
}

impl Limit {
    /// How long until there is room for `need` units, where `sent` have gone out since the answer, and it came
    /// `since` ago.
    pub(super) fn wait(&self, need: u64, sent: u64, since: Duration) -> Duration {
        let wanted = need.min(self.limit).saturating_add(sent);
        if wanted <= self.remaining || self.limit <= self.remaining {
            return Duration::ZERO;
        }
        let missing = (wanted - self.remaining) as f64 / (self.limit - self.remaining) as f64;
        seconds(self.reset.as_secs_f64() * missing).saturating_sub(since).min(WAIT_MAX)
    }
}

/// The buckets that an answer tells of, in either vendor's headers.
pub(super) fn read(headers: &HeaderMap) -> Vec<Limit> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
    let answered = text("date").and_then(http_date);
    let mut limits = Vec::new();
    for (unit, name) in [
        (Unit::Requests, "anthropic-ratelimit-requests"),
        (Unit::Tokens, "anthropic-ratelimit-input-tokens"),
        (Unit::Tokens, "anthropic-ratelimit-tokens"),
    ] {
        let reset = text(&format!("{name}-reset")).and_then(|text| text.parse::<Timestamp>().ok());
        let (Some(limit), Some(remaining)) = (number(&format!("{name}-limit")), number(&format!("{name}-remaining")))
        else {
            continue;
        };
        let left = reset.zip(answered).map(|(reset, answered)| reset.duration_since(answered).as_secs_f64());
        limits.extend(left.map(|left| Limit { unit, limit, remaining, reset: seconds(left) }));
    }
    for (unit, name) in [(Unit::Requests, "requests"), (Unit::Tokens, "tokens")] {
        let field = |part: &str| format!("x-ratelimit-{part}-{name}");
        let reset = text(&field("reset")).and_then(spelled);
        if let (Some(limit), Some(remaining), Some(reset)) =
            (number(&field("limit")), number(&field("remaining")), reset)
        {
            limits.push(Limit { unit, limit, remaining, reset });
        }
    }
    limits
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(WAIT_MAX)
}

/// A time as OpenAI spells it: `1s`, `6m0s`, `120ms`, `1h2m`; a bare number is seconds.
fn spelled(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then(|| seconds(number));
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total += number
            * match &rest[digits..unit_end] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    Some(seconds(total))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::{Limit, Unit, read, spelled};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    fn both_vendors_headers_are_read() {
        let anthropic = headers(&[
            ("date", "Fri, 20 Nov 2026 12:00:00 GMT"),
            ("anthropic-ratelimit-requests-limit", "50"),
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-11-20T12:00:02Z"),
            ("anthropic-ratelimit-input-tokens-limit", "40000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-20T12:01:00Z"),
            ("anthropic-ratelimit-tokens-limit", "none"),
        ]);
        assert_eq!(
            read(&anthropic),
            [
                Limit { unit: Unit::Requests, limit: 50, remaining: 49, reset: Duration::from_secs(2) },
                Limit { unit: Unit::Tokens, limit: 40_000, remaining: 0, reset: Duration::from_secs(60) },
            ]
        );
        let openai = headers(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-limit-tokens", "150000"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]);
        assert_eq!(
            read(&openai),
            [
                Limit { unit: Unit::Requests, limit: 60, remaining: 59, reset: Duration::from_secs(1) },
                Limit { unit: Unit::Tokens, limit: 150_000, remaining: 149_984, reset: Duration::from_secs(360) },
            ]
        );
        assert_eq!(read(&HeaderMap::new()), []);
    }

    #[test]
    fn times_are_spelled_in_many_ways() {
        for (text, expected) in [
            ("1s", Some(1000)),
            ("120ms", Some(120)),
            ("6m0s", Some(360_000)),
            ("1h2m3.5s", Some(3_723_500)),
            ("2", Some(2000)),
            ("", Some(0)),
            ("soon", None),
            ("4x", None),
        ] {
            assert_eq!(spelled(text), expected.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn the_wait_is_the_time_in_which_the_missing_units_come_in() {
        let limit = |limit, remaining, reset_s| Limit {
            unit: Unit::Tokens,
            limit,
            remaining,
            reset: Duration::from_secs(reset_s),
        };
        for (bucket, need, sent, since_s, expected_s) in [
            (limit(100, 10, 90), 10, 0, 0, 0),
            (limit(100, 10, 90), 40, 0, 0, 30),
            (limit(100, 10, 90), 10, 30, 0, 30),
            (limit(100, 10, 90), 40, 0, 20, 10),
            (limit(100, 10, 90), 40, 0, 100, 0),
            // More than the bucket ever holds: until it is full, within the bound.
            (limit(100, 0, 50), 1000, 0, 0, 50),
            (limit(100, 0, 5000), 100, 0, 0, 60),
            (limit(100, 100, 0), 100, 50, 0, 0),
        ] {
            let wait = bucket.wait(need, sent, Duration::from_secs(since_s));
            assert_eq!(wait, Duration::from_secs(expected_s), "{bucket:?} {need} {sent} {since_s}");
        }
    }
}
