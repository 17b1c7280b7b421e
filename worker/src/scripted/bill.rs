//! What a request is charged: tokens by kind, and money in integer nano-dollars by the rates of the script.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens of one request, by what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Input that came from no cache and went into none.
    pub uncached: u64,
    /// Input read from the cache.
    pub read: u64,
    /// Input written to the cache for the short life.
    pub written_short: u64,
    /// Input written to the cache for the long life.
    pub written_long: u64,
    /// Output.
    pub out: u64,
}

/// Nano-dollars per token; a dollar per million tokens is 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rates {
    /// Input that came from no cache.
    pub(super) input: u32,
    /// Output.
    pub(super) output: u32,
    /// Input read from the cache.
    pub(super) cache_read: u32,
    /// Input written for the short life; default: the rate of input.
    pub(super) write_short: Option<u32>,
    /// Input written for the long life; default: the rate of the short one.
    pub(super) write_long: Option<u32>,
}

/// Rates from a length of the prompt on; they apply to all tokens of such a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    /// The whole prompt, what was read from the cache included, has more tokens than this.
    pub(super) above_tokens: u64,
    /// What then holds.
    pub(super) rates: Rates,
}

impl Tokens {
    /// All of the prompt.
    pub fn prompt(&self) -> u64 {
        self.uncached + self.read + self.written()
    }

    /// What was written to the cache.
    pub fn written(&self) -> u64 {
        self.written_short + self.written_long
    }

    /// What they cost.
    pub(super) fn nano_usd(&self, rates: &Rates, tiers: &[Tier]) -> u64 {
        let prompt = self.prompt();
        let tier = tiers.iter().filter(|tier| prompt > tier.above_tokens).max_by_key(|tier| tier.above_tokens);
        let rates = tier.map_or(rates, |tier| &tier.rates);
        let short = rates.write_short.unwrap_or(rates.input);
        let long = rates.write_long.unwrap_or(short);
        let priced = [
            (self.uncached, rates.input),
            (self.read, rates.cache_read),
            (self.written_short, short),
            (self.written_long, long),
            (self.out, rates.output),
        ];
        priced.into_iter().map(|(tokens, rate)| tokens * u64::from(rate)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Rates, Tier, Tokens};

    #[test]
    fn a_tier_is_chosen_by_the_whole_prompt_and_holds_for_all_of_it() {
        let rates = |n| Rates { input: n, output: 5 * n, cache_read: n / 10, write_short: None, write_long: None };
        let tiers = [Tier { above_tokens: 200, rates: rates(30) }, Tier { above_tokens: 100, rates: rates(20) }];
        let tokens = |read| Tokens { uncached: 50, read, written_short: 10, written_long: 5, out: 2 };
        assert_eq!(tokens(35).nano_usd(&rates(10), &tiers), 65 * 10 + 35 + 2 * 50);
        assert_eq!(tokens(36).nano_usd(&rates(10), &tiers), 65 * 20 + 36 * 2 + 2 * 100);
        assert_eq!(tokens(136).nano_usd(&rates(10), &tiers), 65 * 30 + 136 * 3 + 2 * 150);
    }
}
