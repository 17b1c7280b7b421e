//! What models cost: a vendored table of dated rates, and the rows that its user puts before it.
//!
//! A model that is not in the table has no price. It is never taken for free. Rates are written out for every model
//! and every kind of token: none is derived from another, because providers have stopped pricing by fixed factors.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The vendored table; `price.yaml` says where its numbers come from.
static BUILTIN: LazyLock<Table> =
    LazyLock::new(|| Table::parse(include_str!("price.yaml")).expect("a test parses the vendored table"));

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

/// What a request was priced with: kept in its row of the ledger, so that the row can be computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The rates that held for its prompt.
    pub rates: TierRates,
    /// Version of the table; `user` = a row of the user's configuration.
    pub table: String,
    /// The day that the rates hold from, `YYYY-MM-DD`.
    pub from: String,
}

/// The price of a model on a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Its rates.
    pub rates: Rates,
    /// Version of the table they are from.
    pub table: String,
    /// The day they hold from.
    pub from: String,
    /// Tokens below which the provider caches nothing; `None` = unknown.
    pub min_cache_tokens: Option<u64>,
    /// Tokens of its window, prompt and output together; `None` = unknown.
    pub context_tokens: Option<u64>,
}

impl Price {
    /// What a request with so long a prompt is priced with.
    pub fn snapshot(&self, prompt_tokens: u64) -> Snapshot {
        Snapshot { rates: self.rates.at(prompt_tokens), table: self.table.clone(), from: self.from.clone() }
    }
}

/// One model of a table, from one day on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Provider, the first part of `PROVIDER/NAME`.
    pub provider: String,
    /// Name of the model, without a date.
    pub model: String,
    /// The day that the rates hold from, `YYYY-MM-DD`.
    pub from: String,
    /// The rates.
    pub rates: Rates,
    /// Tokens below which the provider caches nothing.
    #[serde(default)]
    pub min_cache_tokens: Option<u64>,
    /// Tokens of its window, prompt and output together.
    #[serde(default)]
    pub context_tokens: Option<u64>,
}

/// Prices of models.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    version: String,
    models: Vec<Row>,
    /// Rows of the user, which are looked at first.
    #[serde(skip)]
    own: Vec<Row>,
}

/// Why a table cannot be used.
#[derive(Debug, Error)]
pub enum PriceError {
    /// It is not in the form of a table.
    #[error("read the price table: {0}")]
    Form(String),
    /// A day is none.
    #[error("read the price table: {0:?} is no day like 2026-11-20")]
    Day(String),
    /// The tiers of a model do not rise.
    #[error("read the price table: the tiers of {0} do not rise")]
    Tiers(String),
}

/// The version that rows of the user's configuration are marked with.
pub const USERS: &str = "user";

impl Table {
    /// The vendored table.
    pub fn builtin() -> &'static Table {
        &BUILTIN
    }

    /// Reads a table.
    ///
    /// # Errors
    /// Fails where the text is no table, a day is none, or tiers do not rise.
    pub fn parse(yaml: &str) -> Result<Table, PriceError> {
        let table: Table = serde_yaml::from_str(yaml).map_err(|error| PriceError::Form(error.to_string()))?;
        table.models.iter().try_for_each(check)?;
        Ok(table)
    }

    /// The same table with rows of the user before it: where one of them holds, the vendored ones are not looked at.
    ///
    /// # Errors
    /// Fails where a day is none, or tiers do not rise.
    pub fn with(mut self, rows: Vec<Row>) -> Result<Table, PriceError> {
        rows.iter().try_for_each(check)?;
        self.own = rows;
        Ok(self)
    }

    /// The price of `provider`/`model` on a day (`YYYY-MM-DD`): that of the newest row from then or earlier, else of
    /// the oldest, whose day is when it was checked and not when it began. A dated name (`NAME-20261001`) has the
    /// price of its name. `None` = unknown.
    pub fn find(&self, provider: &str, model: &str, day: &str) -> Option<Price> {
        let among = |rows: &[Row], table: &str| {
            let mut found: Vec<&Row> =
                rows.iter().filter(|row| row.provider == provider && names(&row.model, model)).collect();
            found.sort_by(|a, b| a.from.cmp(&b.from));
            let row = found.iter().rfind(|row| row.from.as_str() <= day).or(found.first())?;
            let (rates, from) = (row.rates.clone(), row.from.clone());
            let (min_cache_tokens, context_tokens) = (row.min_cache_tokens, row.context_tokens);
            Some(Price { rates, table: table.to_owned(), from, min_cache_tokens, context_tokens })
        };
        let vendored = || among(&self.models, &self.version);
        let Some(own) = among(&self.own, USERS) else { return vendored() };
        // A row of the user's says what is paid; what it leaves out of the rest is as the table says.
        let min_cache_tokens = own.min_cache_tokens.or_else(|| vendored()?.min_cache_tokens);
        let context_tokens = own.context_tokens.or_else(|| vendored()?.context_tokens);
        Some(Price { min_cache_tokens, context_tokens, ..own })
    }

    /// The newest price of a model.
    pub fn newest(&self, provider: &str, model: &str) -> Option<Price> {
        self.find(provider, model, "9999-12-31")
    }
}

fn check(row: &Row) -> Result<(), PriceError> {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let day = match row.from.split('-').collect::<Vec<_>>().as_slice() {
        [year, month, day] => digits(year, 4) && digits(month, 2) && digits(day, 2),
        _ => false,
    };
    if !day {
        return Err(PriceError::Day(row.from.clone()));
    }
    if !row.rates.tiers.windows(2).all(|pair| pair[0].above_prompt_tokens < pair[1].above_prompt_tokens) {
        return Err(PriceError::Tiers(row.model.clone()));
    }
    Ok(())
}

/// Is this the name, with or without a trailing `-YYYYMMDD`?
fn names(row: &str, model: &str) -> bool {
    let undated = match model.rsplit_once('-') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => model,
    };
    row == model || row == undated
}

#[cfg(test)]
mod tests {
    use super::{Rates, Row, Table};

    fn row(model: &str, from: &str, input: u64) -> Row {
        let rates = Rates {
            input,
            output: 1,
            cache_read: None,
            cache_write_short: None,
            cache_write_long: None,
            tiers: Vec::new(),
        };
        let (provider, model, from) = ("p".to_owned(), model.to_owned(), from.to_owned());
        Row { provider, model, from, rates, min_cache_tokens: None, context_tokens: None }
    }

    #[test]
    fn the_vendored_table_parses_and_names_each_model_once_a_day() {
        let mut names: Vec<_> =
            Table::builtin().models.iter().map(|row| (&row.provider, &row.model, &row.from)).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all >= 11, "{all}");
    }

    #[test]
    fn a_model_whose_cache_is_written_for_money_has_a_rate_for_it() {
        // Without one a request that wrote would have no price, and a run no budget.
        for row in Table::builtin().models.iter().filter(|row| row.provider == "openai") {
            assert!(row.rates.cache_read.is_some() && row.rates.cache_write_short.is_some(), "{}", row.model);
            assert!(row.rates.tiers.iter().all(|tier| tier.rates.cache_write_short.is_some()), "{}", row.model);
            assert_eq!(row.rates.at(272_001).input, 2 * row.rates.at(272_000).input, "{}", row.model);
        }
    }

    #[test]
    fn a_dated_name_has_the_price_of_its_name() {
        let newest = |name: &str| Table::builtin().newest("anthropic", name);
        assert_eq!(newest("claude-opus-5-20260901"), newest("claude-opus-5"));
        assert!(newest("claude-opus-5-20260901").is_some());
        assert_eq!(newest("claude-opus-5-2026"), None);
    }

    #[test]
    fn a_day_has_the_row_that_holds_on_it_and_the_users_rows_come_first() {
        let table = Table {
            version: "t".to_owned(),
            models: vec![row("m", "2026-06-01", 2), row("m", "2026-01-01", 1), row("n", "2026-01-01", 9)],
            own: Vec::new(),
        };
        let check = |table: &Table, model: &str, day: &str, expected: Option<(u64, &str)>| {
            let found = table.find("p", model, day);
            let found = found.as_ref().map(|price| (price.rates.input, price.table.as_str()));
            assert_eq!(found, expected, "{model} {day}");
        };
        check(&table, "m", "2025-01-01", Some((1, "t")));
        check(&table, "m", "2026-05-31", Some((1, "t")));
        check(&table, "m", "2026-06-01", Some((2, "t")));
        check(&table, "unknown", "2026-06-01", None);
        let table = table.with(vec![row("m", "2026-03-01", 7)]).unwrap();
        check(&table, "m", "2026-06-01", Some((7, "user")));
        check(&table, "n", "2026-06-01", Some((9, "t")));
        assert!(table.clone().with(vec![row("m", "2026-3-1", 7)]).is_err());
    }
}
