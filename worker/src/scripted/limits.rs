//! Rate limits: token buckets that fill up evenly, and the headers that tell how full they are.
//!
//! What was read from the cache does not count, so a shared prefix also multiplies what may be sent.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::bill::Tokens;
use super::prompt::Wire;
use super::refusal::Refusal;

/// Milliseconds of a minute, over which a limit is spread.
const MINUTE_MS: u64 = 60_000;
/// Days from 1970-01-01 to 0000-03-01, from which years are counted here so that leap days come last.
const EPOCH_DAYS: u64 = 719_468;

/// Rate limits of each model.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Requests.
    requests_per_minute: Option<u64>,
    /// Input that is not read from the cache.
    input_tokens_per_minute: Option<u64>,
    /// Output.
    output_tokens_per_minute: Option<u64>,
}

/// How full the buckets of a model are, in 60,000ths of one.
#[derive(Debug, Clone, Copy)]
struct Level {
    at_ms: u64,
    left: [u64; 3],
}

/// The buckets of all models.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    levels: BTreeMap<String, Level>,
}

/// Headers that go with every answer.
pub(super) type Headers = Vec<(&'static str, String)>;

/// Names of the headers limit, remaining and reset of requests, input and output.
const MESSAGES: [[&str; 3]; 3] = [
    [
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ],
    [
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ],
    [
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ],
];
const OTHERS: [[&str; 3]; 2] = [
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
    ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
];

impl Buckets {
    /// Takes what a request needs, or says when to come back. `epoch_ms` is the time of day at 0.
    pub(super) fn take(
        &mut self,
        limits: &Limits,
        wire: Wire,
        model: &str,
        tokens: &Tokens,
        (epoch_ms, now_ms): (u64, u64),
    ) -> Result<Headers, Refusal> {
        let caps = [limits.requests_per_minute, limits.input_tokens_per_minute, limits.output_tokens_per_minute];
        let full = caps.map(|cap| cap.unwrap_or(0).saturating_mul(MINUTE_MS));
        let level = self.levels.entry(model.to_owned()).or_insert(Level { at_ms: now_ms, left: full });
        let passed = now_ms.saturating_sub(level.at_ms);
        level.at_ms = now_ms;
        let needs = [1, tokens.uncached + tokens.written(), tokens.out].map(|need| need.saturating_mul(MINUTE_MS));
        let mut wait_ms = 0;
        for index in 0..caps.len() {
            let Some(cap) = caps[index] else { continue };
            level.left[index] = level.left[index].saturating_add(cap.saturating_mul(passed)).min(full[index]);
            // A request larger than the bucket is let through a full one: it could never be sent otherwise.
            let missing = needs[index].min(full[index]).saturating_sub(level.left[index]);
            wait_ms = wait_ms.max(missing.div_ceil(cap.max(1)));
        }
        if wait_ms == 0 {
            for (left, need) in level.left.iter_mut().zip(needs) {
                *left = left.saturating_sub(need);
            }
        }
        let mut headers = headers(wire, caps, level, full, epoch_ms + now_ms);
        if wait_ms == 0 {
            return Ok(headers);
        }
        headers.push(("retry-after", wait_ms.div_ceil(1000).to_string()));
        let mut refusal = Refusal::new(429, format!("This request would exceed the rate limit for {model}."));
        if wire != Wire::Messages {
            headers.push(("retry-after-ms", wait_ms.to_string()));
            refusal = refusal.code("rate_limit_exceeded");
        }
        refusal.headers = headers;
        Err(refusal)
    }
}

fn headers(wire: Wire, caps: [Option<u64>; 3], level: &Level, full: [u64; 3], now_ms: u64) -> Headers {
    let names: &[[&'static str; 3]] = if wire == Wire::Messages { &MESSAGES } else { &OTHERS };
    let mut headers = Headers::new();
    for (index, [limit, remaining, reset]) in names.iter().enumerate() {
        let Some(cap) = caps[index] else { continue };
        let full_in_ms = (full[index] - level.left[index]).div_ceil(cap.max(1));
        headers.push((limit, cap.to_string()));
        headers.push((remaining, (level.left[index] / MINUTE_MS).to_string()));
        headers.push((
            reset,
            match wire {
                Wire::Messages => rfc3339(now_ms + full_in_ms),
                Wire::Chat | Wire::Responses => span(full_in_ms),
            },
        ));
    }
    headers
}

/// A span of time, as OpenAI writes it.
fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    match seconds / 60 {
        _ if ms < 1000 => format!("{ms}ms"),
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}

/// A time of day in milliseconds since 1970, to the second above.
fn rfc3339(ms: u64) -> String {
    let seconds = ms.div_ceil(1000);
    let (days, second) = (seconds / 86_400 + EPOCH_DAYS, seconds % 86_400);
    // Years of 400 have 146,097 days; the day of such an era gives the year, and the year's day the month.
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Limits, Wire, rfc3339};
    use crate::scripted::bill::Tokens;

    #[test]
    fn a_day_is_told_as_it_is_written() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_796_000_000_001, "2026-11-30T00:53:21Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn what_is_read_from_the_cache_does_not_count_and_a_bucket_fills_evenly() {
        let limits = Limits {
            requests_per_minute: Some(60),
            input_tokens_per_minute: Some(600),
            output_tokens_per_minute: None,
        };
        let mut buckets = Buckets::default();
        let mut take = |uncached, read, now_ms| {
            let tokens = Tokens { uncached, read, out: 50, ..Tokens::default() };
            buckets.take(&limits, Wire::Messages, "m", &tokens, (0, now_ms))
        };
        let headers = take(400, 100_000, 0).unwrap();
        assert!(headers.contains(&("anthropic-ratelimit-input-tokens-remaining", "200".to_owned())), "{headers:?}");
        assert!(headers.contains(&("anthropic-ratelimit-input-tokens-reset", "1970-01-01T00:00:40Z".to_owned())));
        let refused = take(201, 0, 0).unwrap_err();
        assert_eq!(refused.status, 429);
        assert!(refused.headers.contains(&("retry-after", "1".to_owned())), "{refused:?}");
        take(201, 0, 100).unwrap();
        let refused = take(600, 0, 100).unwrap_err();
        assert!(refused.headers.contains(&("retry-after", "60".to_owned())), "{refused:?}");
        take(9_000, 0, 60_100).unwrap();
    }

    #[test]
    fn the_other_wires_have_headers_of_their_own() {
        let limits =
            Limits { requests_per_minute: Some(1), input_tokens_per_minute: None, output_tokens_per_minute: None };
        let mut buckets = Buckets::default();
        let mut take = || buckets.take(&limits, Wire::Chat, "m", &Tokens::default(), (0, 0));
        assert_eq!(take().unwrap()[2], ("x-ratelimit-reset-requests", "1m0s".to_owned()));
        let refused = take().unwrap_err();
        assert_eq!(refused.code.as_deref(), Some("rate_limit_exceeded"));
        assert!(refused.headers.contains(&("retry-after-ms", "60000".to_owned())), "{refused:?}");
    }
}
