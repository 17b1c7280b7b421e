//! Money and tokens by step, model or day.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::money::{format_usd, json_usd};
use crate::journal::Event;
use crate::journal::event::Body;

/// What the rows are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// A row for each step.
    Step,
    /// A row for each model.
    Model,
    /// A row for each day (UTC).
    Day,
}

/// `cost --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Cost {
    /// Version of this JSON.
    pub(crate) v: u32,
    /// What was spent, by what was asked.
    pub(crate) rows: Vec<Row>,
    /// All of it.
    pub(crate) total: Row,
    /// Part of the input that came from a cache; `null` = there was no input.
    pub(crate) hit_ratio: Option<f64>,
}

/// One row.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Step, model or day.
    pub(crate) name: String,
    /// Requests.
    pub(crate) requests: u64,
    /// Input tokens outside any cache.
    pub(crate) uncached_in: u64,
    /// Input tokens read from a cache.
    pub(crate) cache_read: u64,
    /// Input tokens written to a cache.
    pub(crate) cache_write: u64,
    /// Output tokens.
    pub(crate) out: u64,
    /// Money in dollars; `null` = the price of a request is not known.
    pub(crate) usd: Option<f64>,
    /// Are all counts the provider's own?
    pub(crate) exact: bool,
    #[serde(skip)]
    nano_usd: Option<u64>,
}

impl Row {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), exact: true, nano_usd: Some(0), usd: Some(0.0), ..Self::default() }
    }

    fn add(&mut self, usage: &wattle_worker::host::Usage) {
        self.requests += 1;
        self.uncached_in += usage.uncached_in;
        self.cache_read += usage.cache_read;
        self.cache_write += usage.cache_write;
        self.out += usage.out;
        self.exact &= usage.exact;
        self.nano_usd = self.nano_usd.zip(usage.nano_usd).map(|(sum, more)| sum + more);
        self.usd = json_usd(self.nano_usd);
    }
}

impl Cost {
    /// Sums the usage events.
    pub(crate) fn of<'e>(events: impl Iterator<Item = &'e Event>, by: By) -> Self {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let mut total = Row::new("total");
        for event in events {
            let Body::Usage { step, usage, .. } = &event.body else { continue };
            let name = match by {
                By::Step => step.as_ref().map_or("(lead)".to_owned(), ToString::to_string),
                By::Model => format!("{}/{}", usage.provider, usage.model),
                By::Day => event.ts.chars().take(10).collect(),
            };
            rows.entry(name.clone()).or_insert_with(|| Row::new(&name)).add(usage);
            total.add(usage);
        }
        let input = total.uncached_in + total.cache_read + total.cache_write;
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let hit_ratio = (input > 0).then(|| total.cache_read as f64 / input as f64);
        Self { v: 1, rows: rows.into_values().collect(), total, hit_ratio }
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<32} {:>8} {:>12} {:>12} {:>12} {:>10} {:>10}\n",
            "", "requests", "input", "cache read", "cache write", "output", "usd"
        );
        for row in self.rows.iter().chain([&self.total]) {
            let usd = row.nano_usd.map_or("unknown".to_owned(), format_usd);
            let exact = if row.exact { "" } else { " (counted by us)" };
            text.push_str(&format!(
                "{:<32} {:>8} {:>12} {:>12} {:>12} {:>10} {usd:>10}{exact}\n",
                row.name, row.requests, row.uncached_in, row.cache_read, row.cache_write, row.out
            ));
        }
        if let Some(ratio) = self.hit_ratio {
            text.push_str(&format!("{:.0} % of the input came from a cache\n", ratio * 100.0));
        }
        text
    }
}
