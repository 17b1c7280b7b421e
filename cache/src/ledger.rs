//! Arithmetic of tokens and money, in integers.
//!
//! Rates are pico-dollars per token (that is micro-dollars per million tokens), so every published price is a
//! whole number; a row is rounded up to a nano-dollar once, at its end.

pub mod budget;
pub mod money;
pub mod sharing;

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

use crate::price::{Rates, TierRates};

/// Pico-dollars in a nano-dollar.
const PICO_PER_NANO: u128 = 1_000;

/// Offline estimate of the bytes of a token: the newer tokenizers give about 3.5 bytes, and an estimate that
/// is too high only reserves too much, so it is rounded down.
const BYTES_PER_TOKEN: u64 = 3;

/// Tokens of one request, by the price that applies to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Input that was neither read from nor written to a cache.
    pub uncached_in: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache for the short time to live.
    pub cache_write_short: u64,
    /// Input written to a cache for the long time to live.
    pub cache_write_long: u64,
    /// Output, thinking included.
    pub out: u64,
}

impl Tokens {
    /// The whole prompt, cached or not; price tiers look at this number.
    pub fn prompt(&self) -> u64 {
        self.uncached_in.saturating_add(self.cache_read).saturating_add(self.cache_write())
    }

    /// Input written to a cache, for either time to live.
    pub fn cache_write(&self) -> u64 {
        self.cache_write_short.saturating_add(self.cache_write_long)
    }

    /// Price in nano-dollars, rounded up; `None` where a rate that is needed is not known.
    pub fn nano_usd(&self, rates: &Rates) -> Option<u64> {
        self.nano_usd_at(&rates.at(self.prompt()))
    }

    /// The same at the rates of one tier.
    pub fn nano_usd_at(&self, rates: &TierRates) -> Option<u64> {
        let mut pico: u128 = 0;
        for (tokens, rate) in [
            (self.uncached_in, Some(rates.input)),
            (self.cache_read, rates.cache_read),
            (self.cache_write_short, rates.cache_write_short),
            (self.cache_write_long, rates.cache_write_long),
            (self.out, Some(rates.output)),
        ] {
            if tokens > 0 {
                pico = pico.checked_add(u128::from(tokens) * u128::from(rate?))?;
            }
        }
        u64::try_from(pico.div_ceil(PICO_PER_NANO)).ok()
    }
}

impl Add for Tokens {
    type Output = Tokens;

    fn add(self, other: Tokens) -> Tokens {
        Tokens {
            uncached_in: self.uncached_in.saturating_add(other.uncached_in),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write_short: self.cache_write_short.saturating_add(other.cache_write_short),
            cache_write_long: self.cache_write_long.saturating_add(other.cache_write_long),
            out: self.out.saturating_add(other.out),
        }
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Tokens) {
        *self = *self + other;
    }
}

/// Estimate of the tokens in a request of so many bytes; an upper guess, for reservations.
pub fn estimate_tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// Upper bound of what a request may cost before it is sent, in nano-dollars: its whole prompt at the dearest
/// input rate, and all the output it may give. `None` = unknown price.
pub fn reserve_nano_usd(prompt_tokens: u64, max_tokens: u64, rates: &Rates) -> Option<u64> {
    let tier = rates.at(prompt_tokens);
    let dearest = [Some(tier.input), tier.cache_write_short, tier.cache_write_long]
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(tier.input);
    let pico = u128::from(prompt_tokens) * u128::from(dearest) + u128::from(max_tokens) * u128::from(tier.output);
    u64::try_from(pico.div_ceil(PICO_PER_NANO)).ok()
}

#[cfg(test)]
mod tests {
    use super::{Tokens, reserve_nano_usd};
    use crate::price::{Rates, Table};

    fn rates(model: &str) -> Rates {
        Table::builtin().newest("anthropic", model).expect("a model of the table").rates
    }

    fn check(model: &str, tokens: Tokens, expected: Option<u64>) {
        let rates = rates(model);
        assert_eq!(tokens.nano_usd(&rates), expected, "{model} {tokens:?}");
    }

    #[test]
    fn a_row_is_priced_to_the_nano_dollar() {
        let all = Tokens { uncached_in: 1, cache_read: 10, cache_write_short: 100, cache_write_long: 1_000, out: 7 };
        // Sonnet 5.5: 2 + 10*0.1 + 100*2.5 + 1000*4 + 7*10 dollars per million.
        check("claude-sonnet-5-5", all, Some(2_000 + 1_000 + 250_000 + 4_000_000 + 70_000));
        check("claude-opus-5-5", Tokens { out: 1_000_000, ..Tokens::default() }, Some(20_000_000_000));
    }

    #[test]
    fn a_fraction_of_a_nano_dollar_is_rounded_up_once() {
        // Haiku 5.5 reads at 0.01 dollars per million: 10 nano-dollars a token, exactly.
        check("claude-haiku-5-5", Tokens { cache_read: 3, ..Tokens::default() }, Some(30));
        // Above 100,000 tokens of prompt all tokens cost the higher rate.
        check("claude-haiku-5-5", Tokens { cache_read: 100_001, ..Tokens::default() }, Some(100_001 * 50));
        check("claude-haiku-5-5", Tokens { cache_read: 100_000, ..Tokens::default() }, Some(100_000 * 10));
    }

    #[test]
    fn a_rate_that_is_not_known_gives_no_price_and_never_zero() {
        check("claude-fable-5-2", Tokens { out: 5, ..Tokens::default() }, Some(200_000));
        check("claude-fable-5-2", Tokens { cache_read: 5, out: 5, ..Tokens::default() }, None);
        assert_eq!(Table::builtin().newest("anthropic", "claude-of-tomorrow"), None);
        assert_eq!(Table::builtin().newest("nobody", "claude-opus-5-5"), None);
    }

    #[test]
    fn a_reservation_is_never_below_the_bill() {
        let rates = rates("claude-haiku-5-5");
        for prompt in [0u64, 1, 99_999, 100_000, 100_001, 400_000] {
            let reserved = reserve_nano_usd(prompt, 50, &rates).expect("known");
            for tokens in [
                Tokens { uncached_in: prompt, out: 50, ..Tokens::default() },
                Tokens { cache_read: prompt, out: 50, ..Tokens::default() },
                Tokens { cache_write_long: prompt, out: 50, ..Tokens::default() },
            ] {
                assert!(tokens.nano_usd(&rates).expect("known") <= reserved, "{tokens:?}");
            }
        }
    }
}
