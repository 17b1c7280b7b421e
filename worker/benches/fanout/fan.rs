//! 32 workers at once over a prefix of 60,000 tokens: who writes it, who reads it, and what the run costs beside the
//! least that it can cost.

use std::sync::Arc;

use wattle_cache::ledger::Tokens;
use wattle_cache::warm::Policy;
use wattle_worker::model::Attempt;
use wattle_worker::scripted;

use crate::Res;
use crate::client::{SERVED, Worker, nano_usd, prefix, runtime, shared};
use crate::table::{Line, Table};

const WORKERS: usize = 32;
const PREFIX_TOKENS: usize = 60_000;
const TURNS: usize = 6;
const ANSWER_TOKENS: usize = 2_000;

/// The server reads 300,000 tokens a second: 200 ms for the prefix, in which nothing of it can be read by others.
const PREFILL: &str = "prefill_tokens_per_second: 300000";

/// Measures with the gate and without.
pub(crate) fn run(table: &mut Table) -> Res<()> {
    let with = measure(Policy { ramp_ms: 0, ..Policy::default() })?;
    let without = measure(Policy { enabled: false, ..Policy::default() })?;
    let firsts = |run: &Run| {
        let wrote = run.first.iter().filter(|tokens| tokens.cache_write() >= PREFIX_TOKENS as u64).count();
        let read = run.first.iter().filter(|tokens| tokens.cache_read >= PREFIX_TOKENS as u64).count();
        (wrote, read)
    };
    let (wrote, read) = firsts(&with);
    table.add(Line {
        what: format!("{WORKERS} workers, {PREFIX_TOKENS} tokens of prefix, 200 ms to read it"),
        measured: format!("{wrote} write, {read} reads of the prefix"),
        goal: "1 write, 31 reads",
        reached: Some((wrote, read) == (1, WORKERS - 1)),
    });
    let (wrote, read) = firsts(&without);
    table.add(Line {
        what: "the same without the gate".to_owned(),
        measured: format!("{wrote} writes, {read} reads"),
        goal: "32 writes",
        reached: Some(wrote == WORKERS),
    });
    let ratio = with.paid as f64 / with.least as f64;
    table.add(Line {
        what: format!("cost of {WORKERS} × {TURNS} turns over the least that it can be"),
        measured: format!("{ratio:.4} (${:.4}; without the gate ${:.4})", usd(with.paid), usd(without.paid)),
        goal: "≤ 1.02",
        reached: Some(ratio <= 1.02),
    });
    let billed = with.billed.map_or("no bill".to_owned(), |billed| format!("bill ${:.6}", usd(billed)));
    table.add(Line {
        what: "the server's own bill of that run".to_owned(),
        measured: format!("{billed}, ours ${:.6}", usd(with.paid)),
        goal: "equal",
        reached: with.billed.map(|billed| billed == with.paid),
    });
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn usd(nano: u64) -> f64 {
    nano as f64 / 1e9
}

struct Run {
    /// The first usage of each worker.
    first: Vec<Tokens>,
    paid: u64,
    least: u64,
    billed: Option<u64>,
}

fn measure(policy: Policy) -> Res<Run> {
    let script = format!(
        "version: 1\n{PREFILL}\n{SERVED}\nreplies: [{{ blocks: [{{ tool: Look, input: {{ at: {:?} }} }}] }}]\n",
        "x".repeat(1_200)
    );
    let (workers, billed) = runtime()?.block_on(ask(&script, policy))?;
    let first: Vec<Tokens> = workers.iter().map(|attempts| attempts[0].usage).collect();
    let paid = nano_usd(workers.iter().flatten())?;
    let least = nano_usd(&least(&workers))?;
    Ok(Run { first, paid, least, billed })
}

/// The attempts of every worker, and the server's bill.
async fn ask(script: &str, policy: Policy) -> Res<(Vec<Vec<Attempt>>, Option<u64>)> {
    let server = scripted::serve_text(script, 0).await?;
    let model = shared(server.base_url(), policy)?;
    let prefix = Arc::new(prefix(PREFIX_TOKENS)?);
    let work = |index: usize| {
        let mut worker = Worker::new(&model, &prefix, &format!("w{index}"));
        tokio::spawn(async move {
            let mut attempts = Vec::new();
            for _ in 0..TURNS {
                attempts.extend(worker.turn(ANSWER_TOKENS).await?);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(attempts)
        })
    };
    let tasks: Vec<_> = (0..WORKERS).map(work).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await??);
    }
    let billed = server.journal().iter().map(|record| record.nano_usd).sum();
    server.shutdown().await;
    Ok((all, billed))
}

/// The same requests as the best of all caches would bill them: every token is written once, by the first request that
/// holds it, and read by all that hold it later. What a worker's first request can read is what most of them have read.
fn least(workers: &[Vec<Attempt>]) -> Vec<Attempt> {
    let mut reads: Vec<u64> =
        workers.iter().map(|attempts| attempts[0].usage.cache_read).filter(|read| *read > 0).collect();
    reads.sort_unstable();
    let shared = reads.get(reads.len() / 2).copied().unwrap_or(0);
    let mut least = Vec::new();
    for (number, attempts) in workers.iter().enumerate() {
        let mut known = if number == 0 { 0 } else { shared };
        for attempt in attempts {
            let prompt = attempt.usage.prompt();
            let usage = Tokens {
                cache_read: known.min(prompt),
                cache_write_short: prompt.saturating_sub(known),
                out: attempt.usage.out,
                ..Tokens::default()
            };
            least.push(Attempt { usage, ..attempt.clone() });
            known = prompt;
        }
    }
    least
}
