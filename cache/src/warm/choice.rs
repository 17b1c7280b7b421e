//! Which time to live the shared prefix gets.

use crate::prefix::PrefixTtl;

/// Longest silence between two requests that the short time to live still covers: an entry lives five minutes from the
/// start of a request, and a reply itself may take a minute.
const KEEP_SHORT_MS_MAX: u64 = 4 * 60_000;
/// The same for the long time to live.
const KEEP_LONG_MS_MAX: u64 = 59 * 60_000;

/// What writing the prefix for an hour costs more than for five minutes, in percent of its input price (2 and 1.25).
const LONG_MORE: u64 = 75;
/// What an expired entry costs: the prefix is written again instead of read, for five minutes and for an hour.
const SHORT_EXPIRED: u64 = 120;
/// See [`SHORT_EXPIRED`].
const LONG_EXPIRED: u64 = 195;

/// The cheaper time to live for a run with such silences between its requests, in milliseconds: what is expected, say
/// by what an earlier run of the repository was like. With none it is the short one.
pub fn choose_ttl(silences_ms: impl IntoIterator<Item = u64>) -> PrefixTtl {
    let (mut short, mut long) = (0, LONG_MORE);
    for silence in silences_ms {
        short += if silence > KEEP_SHORT_MS_MAX { SHORT_EXPIRED } else { 0 };
        long += if silence > KEEP_LONG_MS_MAX { LONG_EXPIRED } else { 0 };
    }
    if long < short { PrefixTtl::OneHour } else { PrefixTtl::FiveMinutes }
}
