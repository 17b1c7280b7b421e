//! Which time to live the shared prefix gets.

use crate::prefix::PrefixTtl;

/// Longest expected silence between two requests of a run that the short time to live still covers: an entry lives
/// five minutes from the start of a request, and a reply itself may take a minute.
pub const KEEP_SHORT_MS_MAX: u64 = 4 * 60_000;

/// The time to live for a run whose requests are expected to be silent for so long. The long one costs 0.75 of the
/// prefix more, once; an expired short one costs about 1.2 of it each time.
pub fn choose_ttl(expected_idle_ms: u64) -> PrefixTtl {
    if expected_idle_ms > KEEP_SHORT_MS_MAX { PrefixTtl::OneHour } else { PrefixTtl::FiveMinutes }
}
