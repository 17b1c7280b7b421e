//! What models cost: a vendored table, with room for an entry of the user's.
//!
//! A model that is not in the table has no price. It is never taken for free.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The vendored table; `price.yaml` says where its numbers come from.
static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let table: Table = serde_yaml::from_str(include_str!("price.yaml")).expect("a test parses the vendored table");
    table.models
});

/// Rates of a model, in pico-dollars per token (micro-dollars per million tokens).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Input that no cache was used for.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from a cache; `None` = unknown.
    #[serde(default)]
    pub cache_read: Option<u64>,
    /// Input written for the short time to live; `None` = unknown.
    #[serde(default)]
    pub cache_write_short: Option<u64>,
    /// Input written for the long time to live; `None` = unknown.
    #[serde(default)]
    pub cache_write_long: Option<u64>,
    /// Rates for longer prompts, by rising `above_prompt_tokens`.
    #[serde(default)]
    pub tiers: Vec<Tier>,
}

/// Rates that apply to all tokens of a request whose whole prompt is longer than a bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// The bound, in tokens of the whole prompt.
    pub above_prompt_tokens: u64,
    /// The rates above it.
    pub rates: TierRates,
}

/// The rates that hold for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierRates {
    /// Input that no cache was used for.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Input read from a cache; `None` = unknown.
    #[serde(default)]
    pub cache_read: Option<u64>,
    /// Input written for the short time to live; `None` = unknown.
    #[serde(default)]
    pub cache_write_short: Option<u64>,
    /// Input written for the long time to live; `None` = unknown.
    #[serde(default)]
    pub cache_write_long: Option<u64>,
}

impl Rates {
    /// The rates for a request whose whole prompt has so many tokens.
    pub fn at(&self, prompt_tokens: u64) -> TierRates {
        let tier = self.tiers.iter().rfind(|tier| prompt_tokens > tier.above_prompt_tokens);
        tier.map_or(
            TierRates {
                input: self.input,
                output: self.output,
                cache_read: self.cache_read,
                cache_write_short: self.cache_write_short,
                cache_write_long: self.cache_write_long,
            },
            |tier| tier.rates,
        )
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    models: Vec<Row>,
}

/// One model of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    provider: String,
    model: String,
    rates: Rates,
}

/// The vendored price of `provider`/`model`; `None` = unknown. A dated name (`NAME-20261001`) has the price of
/// its name.
pub fn builtin(provider: &str, model: &str) -> Option<Rates> {
    let name = undated(model);
    let row = TABLE.iter().find(|row| row.provider == provider && row.model == name);
    row.map(|row| row.rates.clone())
}

/// The name without a trailing `-YYYYMMDD`.
fn undated(model: &str) -> &str {
    match model.rsplit_once('-') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => model,
    }
}

#[cfg(test)]
mod tests {
    use super::{TABLE, builtin};

    #[test]
    fn the_table_parses_and_names_each_model_once() {
        let mut names: Vec<_> = TABLE.iter().map(|row| (&row.provider, &row.model)).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all >= 11, "{all}");
    }

    #[test]
    fn a_dated_name_has_the_price_of_its_name() {
        assert_eq!(builtin("anthropic", "claude-opus-5-20260901"), builtin("anthropic", "claude-opus-5"));
        assert!(builtin("anthropic", "claude-opus-5-20260901").is_some());
        assert_eq!(builtin("anthropic", "claude-opus-5-2026"), None);
    }

    #[test]
    fn tiers_rise() {
        for row in TABLE.iter() {
            let bounds: Vec<_> = row.rates.tiers.iter().map(|tier| tier.above_prompt_tokens).collect();
            assert!(bounds.is_sorted(), "{}", row.model);
        }
    }
}
