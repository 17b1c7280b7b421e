//! The bill of whole conversations: rows computed by hand, the client's, and the server's own.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wattle_cache::ledger::Tokens;
use wattle_cache::prefix::{self, Codec, PrefixTtl, RequestOptions, SharedPrefix};
use wattle_cache::price::Table;

use super::{model, statuses};
use crate::model::{Attempt, Model as _, ModelRequest};
use crate::scripted::{Server, serve_text};

const MODEL: &str = "claude-sonnet-5-5";
const MINUTE: Duration = Duration::from_secs(60);

/// The reply of one token, and one that is cut in the middle. The rates are those of the price table, in nano-dollars.
const SCRIPT: &str = r#"
version: 1
models: { claude-sonnet-5-5: { rates: { input: 2000, output: 10000, cache_read: 100, write_short: 2500, write_long: 4000 } } }
replies:
  - match: { text: broken }
    times: 1
    fault: { cut_after_bytes: 900 }
    blocks: [{ text: "a reply of some length that is cut before its end, as a connection is that breaks in its middle" }]
  - blocks: [{ text: four }]
"#;

/// What a run shares and what a worker says, each of a known number of tokens.
struct Said {
    system: String,
    brief: String,
    ttl: PrefixTtl,
}

/// Tokens of a block of text, as the server counts them: four bytes of its JSON are one.
fn tokens(text: &str) -> u64 {
    format!(r#"{{"type":"text","text":"{text}"}}"#).len().div_ceil(4) as u64
}

async fn ask(server: &Server, said: &Said, worker: &str) -> Vec<Attempt> {
    let shared = SharedPrefix::new(Vec::new(), &said.system, &said.brief).unwrap();
    let options = RequestOptions {
        model: MODEL.to_owned(),
        max_tokens: 100,
        effort: None,
        stream: true,
        prefix_ttl: said.ttl,
        min_cache_tokens: 0,
        tail: String::new(),
    };
    let rendered = prefix::render(&shared, worker, &[], &options);
    let request = ModelRequest {
        bytes: rendered.bytes.into(),
        prefix_len: rendered.prefix_len,
        prefix_sha: rendered.prefix_sha,
        model: MODEL.to_owned(),
        first: true,
        watch: None,
    };
    let client = model(Codec::AnthropicMessages, &server.base_url(), 20_000);
    client.stream(request, CancellationToken::new()).await.unwrap().attempts
}

/// The row of a request that writes so much for an hour and so much for five minutes, and reads so much.
fn row(written_long: u64, written_short: u64, read: u64) -> Tokens {
    Tokens {
        uncached_in: 0,
        cache_read: read,
        cache_write_short: written_short,
        cache_write_long: written_long,
        out: 1,
    }
}

#[tokio::test]
async fn lives_and_bills_are_those_computed_by_hand() {
    let server = serve_text(SCRIPT, 0).await.unwrap();
    let said = |name: &str, ttl| Said { system: format!("{name} system"), brief: name.repeat(1500), ttl };
    let (hour, short) = (said("hour", PrefixTtl::OneHour), said("five", PrefixTtl::FiveMinutes));
    let shared = |said: &Said| tokens(&said.system) + tokens(&said.brief);
    let (long, five, worker) = (shared(&hour), shared(&short), tokens("worker one"));
    assert_eq!((long, five, worker), (9 + 1507, 9 + 1507, 9), "counted once by hand");

    // Minutes that pass before a request, the request, and its row.
    let history = [
        (0, &hour, "worker one", row(long, worker, 0)),
        (0, &hour, "worker two", row(0, worker, long)),
        (4, &hour, "worker one", row(0, 0, long + worker)),
        // What lives five minutes is gone, what lives an hour is not; and each reading renews it.
        (6, &hour, "worker one", row(0, worker, long)),
        (59, &hour, "worker one", row(0, worker, long)),
        (60, &hour, "worker one", row(long, worker, 0)),
        (0, &short, "worker one", row(0, five + worker, 0)),
        (4, &short, "worker two", row(0, worker, five)),
        (4, &short, "worker two", row(0, 0, five + worker)),
        // The first worker's own part was not renewed by the second one's requests.
        (4, &short, "worker one", row(0, worker, five)),
        (5, &short, "worker one", row(0, five + worker, 0)),
    ];
    let mut attempts = Vec::new();
    for (number, (minutes, said, worker, expected)) in history.iter().enumerate() {
        server.advance(MINUTE * *minutes);
        let made = ask(&server, said, worker).await;
        assert_eq!((made[0].usage, made[0].exact, made.len()), (*expected, true, 1), "request {number}");
        attempts.extend(made);
    }
    // One more that breaks: its row is an estimate and stands apart.
    let broken = ask(&server, &short, "broken one").await;
    assert_eq!(statuses(&broken), [200, 200]);
    assert_eq!([broken[0].exact, broken[1].exact], [false, true]);
    assert_eq!(broken[0].usage.prompt(), five + worker, "what went in was told before it broke");
    // The reply had begun, so its request was in the cache: the second one reads all of it.
    let again = row(0, 0, five + worker);
    assert_eq!(broken[1].usage, again);
    attempts.extend(broken);

    let rates = Table::builtin().newest("anthropic", MODEL).unwrap().rates;
    let ours: u64 = attempts.iter().filter(|a| a.exact).map(|a| a.usage.nano_usd(&rates).unwrap()).sum();
    let records = server.journal();
    assert_eq!(records.len(), attempts.len());
    let bill: u64 = records.iter().filter(|record| record.complete).map(|record| record.nano_usd.unwrap()).sum();
    let by_hand =
        |t: &Tokens| t.cache_read * 100 + t.cache_write_short * 2500 + t.cache_write_long * 4000 + t.out * 10_000;
    let expected: u64 = history.iter().map(|(_, _, _, tokens)| by_hand(tokens)).sum::<u64>() + by_hand(&again);
    assert_eq!((ours, bill), (expected, expected));
    server.shutdown().await;
}
