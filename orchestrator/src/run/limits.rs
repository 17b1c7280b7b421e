//! The run's budget (its arithmetic is `wattle_cache::ledger::budget`) and how its workers go through the gate.

pub(crate) use wattle_cache::ledger::budget::{Budget, Caps, Claim, Grant, Settled};
use wattle_cache::warm::Policy;

use crate::journal::record::Spent;

/// What a run has spent for certain.
pub(crate) fn settled(spent: &Spent) -> Settled {
    Settled { tokens: spent.tokens(), nano_usd: spent.nano_usd }
}

/// How workers go through the gate of a model: a server on this machine has no limits that a burst could trip.
pub(crate) fn gate(base_url: &str) -> Policy {
    let host = base_url.split("://").nth(1).unwrap_or_default();
    let local = ["127.", "localhost", "[::1]"].iter().any(|start| host.starts_with(start));
    if local { Policy { ramp_ms: 0, ..Policy::default() } } else { Policy::default() }
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
            assert_eq!(super::gate(url).ramp_ms > 0, ramp, "{url}");
        }
    }
}
