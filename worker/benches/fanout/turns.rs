//! One worker over a hundred turns: which part of its input comes from the cache.

use std::sync::Arc;

use wattle_cache::warm::Policy;
use wattle_worker::scripted;

use crate::Res;
use crate::client::{SERVED, Worker, prefix, runtime, shared};
use crate::table::{Line, Table};

const TURNS: usize = 100;
const PREFIX_TOKENS: usize = 20_000;
const ANSWER_TOKENS: usize = 750;

/// Measures.
pub(crate) fn run(table: &mut Table) -> Res<()> {
    let script = format!("version: 1\n{SERVED}\nreplies: [{{ blocks: [{{ tool: Look, input: {{ at: here }} }}] }}]\n");
    let (read, prompt, worst) = runtime()?.block_on(async {
        let server = scripted::serve_text(&script, 0).await?;
        let model = shared(server.base_url(), Policy::default())?;
        let mut worker = Worker::new(&model, &Arc::new(prefix(PREFIX_TOKENS)?), "long");
        let (mut read, mut prompt, mut worst) = (0, 0, 100);
        for turn in 0..TURNS {
            for attempt in worker.turn(ANSWER_TOKENS).await? {
                read += attempt.usage.cache_read;
                prompt += attempt.usage.prompt();
                if turn > 0 {
                    worst = worst.min(100 * attempt.usage.cache_read / attempt.usage.prompt().max(1));
                }
            }
        }
        server.shutdown().await;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((read, prompt, worst))
    })?;
    let share = 100.0 * read as f64 / prompt as f64;
    table.add(Line {
        what: format!("cache-read share over {TURNS} turns of one worker, {ANSWER_TOKENS} tokens added by each"),
        measured: format!("{share:.1} % of the input (the worst turn after the first: {worst} %)"),
        goal: "≥ 94 %",
        reached: Some(share >= 94.0),
    });
    Ok(())
}
