//! `wattle doctor --model`: one cheap request to the configured model, and what its answer means.

use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{self, PrefixTtl, RequestOptions, SharedPrefix};
use wattle_worker::model::{Attempt, ModelError, ModelErrorKind, ModelRequest, Reply};

use super::Findings;
use crate::config::money::format_usd;
use crate::run::context::Context;
use crate::run::models::Models;

/// Longest wait for an answer: the retries of a connection that fails take four seconds, a slow model a few more.
const WAIT: Duration = Duration::from_secs(30);
/// Bound on the output: a word is enough.
const OUTPUT_TOKENS: u32 = 16;

/// Asks, and says what came back.
pub(super) fn ask(found: &mut Findings, ctx: &Context, folder: &Path, name: Option<&str>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return found.fail("model", format!("start the runtime: {error}"), "see the limits of the machine");
        }
    };
    runtime.block_on(async {
        let models = Models::new(ctx, folder, PrefixTtl::FiveMinutes);
        let (model, wire) = match models.find(name).await {
            Ok(found) => found,
            Err(error) => return found.fail("model", error.to_string(), &error.mend()),
        };
        let shared = match SharedPrefix::new(Vec::new(), "You are asked whether you can be reached.", "") {
            Ok(shared) => shared,
            Err(error) => return found.fail("model", error.to_string(), "this is a mistake of wattle's"),
        };
        let options = RequestOptions {
            model: wire.clone(),
            max_tokens: OUTPUT_TOKENS,
            effort: None,
            stream: true,
            prefix_ttl: PrefixTtl::FiveMinutes,
            min_cache_tokens: model.price(&wire).and_then(|price| price.min_cache_tokens).unwrap_or(0),
            tail: String::new(),
        };
        let rendered = prefix::render_for(model.target(), &shared, "Say ok.", &[], &options);
        let request = ModelRequest {
            bytes: rendered.bytes.into(),
            prefix_len: rendered.prefix_len,
            prefix_sha: rendered.prefix_sha,
            model: wire.clone(),
            first: true,
            watch: None,
        };
        let cancel = CancellationToken::new();
        match tokio::time::timeout(WAIT, model.stream(request, cancel)).await {
            Err(_) => {
                let seconds = WAIT.as_secs();
                found.fail(
                    "model",
                    format!("{wire}: no answer in {seconds} s"),
                    "see the address, the network and the proxy",
                );
            }
            Ok(Err(error)) => refused(found, &wire, &error),
            Ok(Ok(reply)) => {
                let price = model.price(&wire);
                let nano = price.as_ref().and_then(|price| reply.usage.nano_usd(&price.rates));
                answered(found, &wire, &reply, nano);
            }
        }
    });
}

fn answered(found: &mut Findings, wire: &str, reply: &Reply, nano_usd: Option<u64>) {
    let attempt = reply.attempts.last().cloned().unwrap_or_default();
    let Attempt { ttft_ms, total_ms, served, exact, whole, .. } = attempt;
    let by = served.filter(|served| served != wire).map_or(String::new(), |served| format!(" (served by {served})"));
    let first = ttft_ms.map_or(String::new(), |ms| format!("first word after {ms} ms, "));
    let usd = nano_usd.map_or("price unknown".to_owned(), format_usd);
    let (prompt, out) = (reply.usage.prompt(), reply.usage.out);
    found.ok("model", format!("{wire}{by} answers: {first}{total_ms} ms in all, {prompt} tokens in, {out} out, {usd}"));
    if whole {
        found.warn(
            "model",
            "the reply came whole although a stream was asked for",
            "something between here and the model holds replies back: a long one may time out there",
        );
    }
    if !exact {
        found.warn(
            "model",
            "the reply tells no token counts",
            "costs will be estimates; see what the server can report",
        );
    }
    if nano_usd.is_none() {
        found.warn(
            "model",
            format!("the price of {wire} is not known"),
            "put it under `prices:` in the user's configuration, or bound runs by `limits: { tokens: … }`",
        );
    }
}

fn refused(found: &mut Findings, wire: &str, error: &ModelError) {
    let mend = match &error.kind {
        ModelErrorKind::Fatal { reason, .. } => reason.mend(),
        ModelErrorKind::Exhausted { mend, .. } => mend,
        ModelErrorKind::RetriesSpent { .. } => "see the address, the network and the proxy",
        ModelErrorKind::Cancelled => "try again",
    };
    found.fail("model", format!("{wire}: {error}"), mend);
}
