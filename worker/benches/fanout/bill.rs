//! Our ledger against the server's own bill, over a thousand requests of which many fail.

use std::sync::Arc;

use wattle_cache::warm::Policy;
use wattle_worker::model::Attempt;
use wattle_worker::scripted;

use crate::Res;
use crate::client::{SERVED, Worker, nano_usd, prefix, runtime, shared};
use crate::table::{Line, Table};

const WORKERS: usize = 10;
const TURNS: usize = 100;
const PREFIX_TOKENS: usize = 4_000;
const ANSWER_TOKENS: usize = 40;

/// One attempt in eight fails: refused, busy, cut at its start and in its middle, or with an error in the stream.
const FAULTS: &str = "seed: 11\nchaos: { percent: 12, faults: [{ status: 529, retry_after_ms: 1 }, { status: 500 }, \
                      { cut_after_bytes: 700 }, { cut_after_bytes: 1500 }, { error_event: overloaded_error }] }";

/// Measures.
pub(crate) fn run(table: &mut Table) -> Res<()> {
    let words = "It is as it was said to be. ".repeat(12);
    let script = format!(
        "version: 1\n{SERVED}\n{FAULTS}\nreplies: [{{ blocks: [{{ text: {words:?} }}, {{ tool: Look, input: {{ at: here }} }}] }}]\n"
    );
    let (attempts, records) = runtime()?.block_on(ask(&script))?;
    let (exact, estimated): (Vec<&Attempt>, Vec<&Attempt>) = attempts.iter().partition(|attempt| attempt.exact);
    let (whole, broken): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.complete || record.status >= 300);
    let ours = nano_usd(exact.iter().copied())?;
    let bill: u64 = whole.iter().filter_map(|record| record.nano_usd).sum();
    table.add(Line {
        what: format!(
            "{} requests, {} of them failed: exact rows against the server's bill",
            records.len(),
            failed(&attempts)
        ),
        measured: format!("{ours} against {bill} nano-dollars over {} rows", exact.len()),
        goal: "equal",
        reached: Some(ours == bill && attempts.len() == records.len()),
    });
    let guessed = nano_usd(estimated.iter().copied())?;
    let charged: u64 = broken.iter().filter_map(|record| record.nano_usd).sum();
    let off = 100.0 * (guessed as f64 - charged as f64).abs() / (charged.max(1) as f64);
    table.add(Line {
        what: format!("estimated rows ({}) against what was charged for them", estimated.len()),
        measured: format!("{guessed} against {charged} nano-dollars: {off:.1} % off"),
        goal: "≤ 10 %",
        reached: Some(off <= 10.0),
    });
    Ok(())
}

fn failed(attempts: &[Attempt]) -> usize {
    attempts.iter().filter(|attempt| !attempt.exact || attempt.status >= 300).count()
}

async fn ask(script: &str) -> Res<(Vec<Attempt>, Vec<scripted::Record>)> {
    let server = scripted::serve_text(script, 0).await?;
    let model = shared(server.base_url(), Policy { ramp_ms: 0, ..Policy::default() })?;
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
        all.extend(task.await??);
    }
    let records = server.journal();
    server.shutdown().await;
    Ok((all, records))
}
