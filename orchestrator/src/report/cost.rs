//! Money and tokens by step, model or day, and what sharing the prefix has saved: all of it computed from the rows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use wattle_cache::ledger::sharing::{self, sharing};
use wattle_worker::host::Usage;

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
    /// What sharing the prefix was worth.
    pub(crate) sharing: Sharing,
}

/// What sharing the prefix was worth, computed from the rows.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Sharing {
    /// Workers that asked a model, the lead among them.
    pub(crate) workers: u64,
    /// Tokens of the shared part that workers have read instead of writing them.
    pub(crate) shared_tokens: u64,
    /// What the same requests would have cost with a cache for each worker; `null` = a price is not known.
    pub(crate) alone_usd: Option<f64>,
    /// What they would have cost with no cache at all; `null` = a price is not known.
    pub(crate) uncached_usd: Option<f64>,
    /// In "N workers cost 1 + (N - 1) k of one": k; `null` = one worker, or a price is not known.
    pub(crate) k: Option<f64>,
    /// First requests of workers that did not find the prefix.
    pub(crate) misses: u64,
    #[serde(skip)]
    alone_nano: Option<u64>,
    #[serde(skip)]
    uncached_nano: Option<u64>,
}

/// One row.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Step, model or day.
    pub(crate) name: String,
    /// HTTP attempts.
    pub(crate) requests: u64,
    /// Those of them whose counts are ours and not the provider's.
    pub(crate) estimated: u64,
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
    /// Money of the rows that are estimated, in dollars; it is part of `usd`.
    pub(crate) estimated_usd: Option<f64>,
    /// Are all counts the provider's own?
    pub(crate) exact: bool,
    #[serde(skip)]
    nano_usd: Option<u64>,
    #[serde(skip)]
    estimated_nano: Option<u64>,
}

impl Row {
    fn new(name: &str) -> Self {
        let (nano_usd, estimated_nano) = (Some(0), Some(0));
        let (usd, estimated_usd) = (json_usd(nano_usd), json_usd(estimated_nano));
        let name = name.to_owned();
        Self { name, exact: true, nano_usd, estimated_nano, usd, estimated_usd, ..Self::default() }
    }

    fn add(&mut self, usage: &Usage) {
        self.requests += 1;
        self.uncached_in += usage.uncached_in;
        self.cache_read += usage.cache_read;
        self.cache_write += usage.cache_write;
        self.out += usage.out;
        self.exact &= usage.exact;
        let sum = |sum: Option<u64>| sum.zip(usage.nano_usd).map(|(sum, more)| sum + more);
        self.nano_usd = sum(self.nano_usd);
        self.usd = json_usd(self.nano_usd);
        if !usage.exact {
            self.estimated += 1;
            self.estimated_nano = sum(self.estimated_nano);
            self.estimated_usd = json_usd(self.estimated_nano);
        }
    }
}

impl Cost {
    /// Sums the usage events.
    pub(crate) fn of<'e>(events: impl Iterator<Item = &'e Event>, by: By) -> Self {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        let mut total = Row::new("total");
        let (mut ledger, mut misses) = (Vec::new(), 0);
        for event in events {
            let Body::Usage { step, usage, .. } = &event.body else { continue };
            let worker = step.as_ref().map_or("(lead)".to_owned(), ToString::to_string);
            let name = match by {
                By::Step => worker.clone(),
                By::Model => format!("{}/{}", usage.provider, usage.model),
                By::Day => event.ts.chars().take(10).collect(),
            };
            rows.entry(name.clone()).or_insert_with(|| Row::new(&name)).add(usage);
            total.add(usage);
            misses += u64::from(usage.miss.is_some());
            ledger.push(sharing::Row {
                worker: format!("{} {worker}", event.run),
                prefix: usage.prefix_sha.clone(),
                tokens: usage.tokens(),
                rates: usage.price.as_ref().map(|price| price.rates),
                nano_usd: usage.nano_usd,
                exact: usage.exact,
            });
        }
        let input = total.uncached_in + total.cache_read + total.cache_write;
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let hit_ratio = (input > 0).then(|| total.cache_read as f64 / input as f64);
        let sharing = Sharing::of(&sharing(&ledger), misses);
        Self { v: 1, rows: rows.into_values().collect(), total, hit_ratio, sharing }
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<32} {:>8} {:>12} {:>12} {:>12} {:>10} {:>10}\n",
            "", "requests", "input", "cache read", "cache write", "output", "usd"
        );
        for row in self.rows.iter().chain([&self.total]) {
            let usd = row.nano_usd.map_or("unknown".to_owned(), format_usd);
            let exact = match (row.estimated, row.estimated_nano) {
                (0, _) => String::new(),
                (count, Some(nano)) => format!(" ({count} counted by us: {})", format_usd(nano)),
                (count, None) => format!(" ({count} counted by us)"),
            };
            text.push_str(&format!(
                "{:<32} {:>8} {:>12} {:>12} {:>12} {:>10} {usd:>10}{exact}\n",
                row.name, row.requests, row.uncached_in, row.cache_read, row.cache_write, row.out
            ));
        }
        if let Some(ratio) = self.hit_ratio {
            text.push_str(&format!("{:.0} % of the input came from a cache\n", ratio * 100.0));
        }
        text.push_str(&self.sharing.words(self.total.nano_usd));
        text
    }
}

impl Sharing {
    fn of(found: &sharing::Sharing, misses: u64) -> Self {
        Self {
            workers: found.workers,
            shared_tokens: found.shared_tokens,
            alone_usd: json_usd(found.alone_nano_usd),
            uncached_usd: json_usd(found.uncached_nano_usd),
            k: found.k,
            misses,
            alone_nano: found.alone_nano_usd,
            uncached_nano: found.uncached_nano_usd,
        }
    }

    fn words(&self, paid: Option<u64>) -> String {
        let mut text = String::new();
        if let (Some(paid), Some(alone), Some(uncached)) = (paid, self.alone_nano, self.uncached_nano)
            && uncached > 0
        {
            let (paid, alone, uncached) = (format_usd(paid), format_usd(alone), format_usd(uncached));
            text.push_str(&format!("with a cache for each worker {alone}, with none {uncached}, paid {paid}\n"));
        }
        if let Some(k) = self.k {
            let n = self.workers;
            let times = 1.0 + (n - 1) as f64 * k;
            text.push_str(&format!("{n} workers cost {times:.2} times one: 1 + {} k, k = {k:.2}\n", n - 1));
        }
        if self.misses > 0 {
            text.push_str(&format!("{} did not find the shared prefix: wattle log names the reasons\n", self.misses));
        }
        text
    }
}
