//! What sharing the prefix has saved, computed from the rows of the ledger alone.
//!
//! Two other worlds are computed from the very same requests. *Alone*: every worker has a cache of its own, so the
//! shared part that its first request has read would have been written by it. *Uncached*: no cache at all, every
//! token of input at its full rate. A worker of the first world costs one N-th of it, so the real cost of N workers
//! is `1 + (N - 1) k` of those, and k says how much of another worker is left to pay: 1 = nothing was shared.

use std::collections::{BTreeMap, BTreeSet};

use super::Tokens;
use crate::price::TierRates;

/// One request of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Whose request it was.
    pub worker: String,
    /// Hash of its shared part.
    pub prefix: String,
    /// Its tokens.
    pub tokens: Tokens,
    /// The rates it was priced with; `None` = unknown.
    pub rates: Option<TierRates>,
    /// What it cost, in nano-dollars; `None` = unknown.
    pub nano_usd: Option<u64>,
    /// Are the counts the provider's own?
    pub exact: bool,
}

/// What sharing was worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sharing {
    /// Workers that asked a model.
    pub workers: u64,
    /// Tokens of the shared part that workers have read instead of writing them.
    pub shared_tokens: u64,
    /// What was paid; `None` = a price is not known.
    pub nano_usd: Option<u64>,
    /// What the same requests would have cost with a cache for each worker; `None` = a rate is not known.
    pub alone_nano_usd: Option<u64>,
    /// What they would have cost with no cache.
    pub uncached_nano_usd: Option<u64>,
    /// In "N workers cost `1 + (N - 1) k` of one": k; `None` = one worker, or nothing known was paid.
    pub k: Option<f64>,
}

/// Computes it; rows in the order of their requests.
pub fn sharing<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Sharing {
    let mut begun: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut workers: BTreeMap<&str, ()> = BTreeMap::new();
    let (mut paid, mut alone, mut uncached) = (Some(0u64), Some(0u64), Some(0u64));
    let mut shared_tokens = 0;
    let add = |sum: &mut Option<u64>, more: Option<u64>| *sum = sum.zip(more).and_then(|(a, b)| a.checked_add(b));
    for row in rows {
        workers.insert(&row.worker, ());
        let mut tokens = row.tokens;
        // A request that came to nothing has read nothing that the next one would not read again.
        if row.exact && tokens.prompt() > 0 && begun.insert((&row.worker, &row.prefix)) {
            shared_tokens += tokens.cache_read;
            tokens.cache_write_short += tokens.cache_read;
            tokens.cache_read = 0;
        }
        let all = Tokens { uncached_in: tokens.prompt(), out: tokens.out, ..Tokens::default() };
        let free = tokens.prompt() == 0 && tokens.out == 0;
        let price =
            |tokens: Tokens| if free { Some(0) } else { row.rates.and_then(|rates| tokens.nano_usd_at(&rates)) };
        add(&mut paid, if free { Some(0) } else { row.nano_usd });
        add(&mut alone, price(tokens));
        add(&mut uncached, price(all));
    }
    let workers = workers.len() as u64;
    let k = paid.zip(alone).filter(|(_, alone)| workers > 1 && *alone > 0).map(|(paid, alone)| {
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people; the sums above are integers")]
        let (paid, one, others) = (paid as f64, alone as f64 / workers as f64, (workers - 1) as f64);
        (paid / one - 1.0) / others
    });
    Sharing { workers, shared_tokens, nano_usd: paid, alone_nano_usd: alone, uncached_nano_usd: uncached, k }
}

#[cfg(test)]
mod tests {
    use super::{Row, sharing};
    use crate::ledger::Tokens;
    use crate::price::Table;

    const PREFIX: u64 = 60_000;

    fn row(worker: &str, tokens: Tokens) -> Row {
        let price = Table::builtin().newest("anthropic", "claude-opus-5-5").unwrap();
        let rates = Some(price.rates.at(tokens.prompt()));
        let nano_usd = tokens.nano_usd(&price.rates);
        Row { worker: worker.to_owned(), prefix: "p".to_owned(), tokens, rates, nano_usd, exact: true }
    }

    /// The table of the specification's section 11: a shared prefix, N workers, T turns of 2,000 tokens in and 400 out.
    fn run(workers: usize, turns: u64) -> Vec<Row> {
        let mut rows = Vec::new();
        for worker in 0..workers {
            for turn in 0..turns {
                let first = if worker == 0 { 0 } else { PREFIX };
                let read = if turn == 0 { first } else { PREFIX + turn * 2000 };
                let written = PREFIX + (turn + 1) * 2000 - read;
                let tokens = Tokens { cache_read: read, cache_write_short: written, out: 400, ..Tokens::default() };
                rows.push(row(&format!("w{worker}"), tokens));
            }
        }
        rows
    }

    #[test]
    fn the_published_case_is_computed_from_its_rows() {
        let found = sharing(&run(8, 6));
        // Opus 5.5, P = 60k, N = 8, T = 6; published: none 13.25, private caches 3.79, shared 1.79 dollars.
        let usd = |nano: Option<u64>| (nano.unwrap() as f64 / 1e7).round() / 100.0;
        assert_eq!(usd(found.nano_usd), 1.78);
        assert_eq!(usd(found.alone_nano_usd), 3.79);
        assert_eq!(usd(found.uncached_nano_usd), 13.25);
        assert_eq!((found.workers, found.shared_tokens), (8, 7 * PREFIX));
        let k = found.k.unwrap();
        assert!((0.38..0.40).contains(&k), "{k}");
    }

    #[test]
    fn what_is_not_known_is_not_computed() {
        let mut rows = run(2, 2);
        rows[1].nano_usd = None;
        let found = sharing(&rows);
        assert_eq!((found.nano_usd, found.k), (None, None));
        assert!(found.alone_nano_usd.is_some());
        let one = sharing(&run(1, 3));
        assert_eq!((one.workers, one.k, one.shared_tokens), (1, None, 0));
        assert_eq!(one.nano_usd, one.alone_nano_usd);
        assert_eq!(sharing(&[]).nano_usd, Some(0));
    }

    #[test]
    fn a_refused_request_costs_nothing_and_begins_nothing() {
        let mut rows = run(2, 1);
        let refused = Row { rates: None, nano_usd: None, ..row("w1", Tokens::default()) };
        rows.insert(1, refused);
        assert_eq!(sharing(&rows), sharing(&run(2, 1)));
    }
}
