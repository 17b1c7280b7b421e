//! The run's budget (its arithmetic is `wattle_cache::ledger::budget`) and how its workers go through the gate.

pub(crate) use wattle_cache::ledger::budget::{Budget, Caps, Claim, Grant, Settled};
use wattle_cache::prefix::PrefixTtl;
use wattle_cache::warm::kind::CacheKind;
use wattle_cache::warm::{LONG_MS, Policy, SHORT_MS, choose_ttl};

use crate::journal::record::Spent;
use crate::journal::{Body, Event, JournalError, Reader};

/// What a run has spent for certain.
pub(crate) fn settled(spent: &Spent) -> Settled {
    Settled { tokens: spent.tokens(), nano_usd: spent.nano_usd }
}

/// How workers go through the gate of a model: a server on this machine has no limits that a burst could trip.
pub(crate) fn gate(base_url: &str, prefix_ttl: PrefixTtl, slots: Option<u32>) -> Policy {
    let host = base_url.split("://").nth(1).unwrap_or_default();
    let local = ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start));
    let ttl_ms = match prefix_ttl {
        PrefixTtl::FiveMinutes => SHORT_MS,
        PrefixTtl::OneHour => LONG_MS,
    };
    let at_once = slots.and_then(|total| CacheKind::Slots { total }.at_once());
    let usual = Policy { ttl_ms, at_once, ..Policy::default() };
    if local { Policy { ramp_ms: 0, ..usual } } else { usual }
}

/// Runs that are looked at for one that asked a model.
const RUNS_LOOKED_AT: usize = 5;

/// How long the shared part of the prompt is to be cached, by what the newest earlier run that asked a model was like: a
/// repository whose builds take ten minutes leaves its workers silent for as long again.
pub(crate) fn prefix_ttl(reader: &Reader) -> Result<PrefixTtl, JournalError> {
    for run in reader.runs()?.iter().take(RUNS_LOOKED_AT) {
        let silences = silences_ms(&reader.events(&run.run, 0)?);
        if !silences.is_empty() {
            return Ok(choose_ttl(silences));
        }
    }
    Ok(PrefixTtl::FiveMinutes)
}

/// Times between two requests of a run while it was driven, in milliseconds.
fn silences_ms(events: &[Event]) -> Vec<u64> {
    let (mut silences, mut last) = (Vec::new(), None::<i64>);
    for event in events {
        match &event.body {
            // While nobody drove it nobody waited, either.
            Body::Resumed { .. } => last = None,
            Body::Usage { .. } => {
                let Ok(at) = event.ts.parse::<jiff::Timestamp>().map(|at| at.as_millisecond()) else { continue };
                silences.extend(last.replace(at).map(|before| u64::try_from(at - before).unwrap_or(0)));
            }
            _ => {}
        }
    }
    silences
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_server_elsewhere_is_spared_bursts() {
        for (url, ramp) in [
            ("https://api.anthropic.com", true),
            ("http://127.0.0.1:8080", false),
            ("http://localhost/v1", false),
            ("http://[::1]:9", false),
            ("https://gateway.example.org", true),
        ] {
            assert_eq!(super::gate(url, Default::default(), Some(2)).at_once, Some(2));
            assert_eq!(super::gate(url, Default::default(), None).ramp_ms > 0, ramp, "{url}");
        }
    }
}
