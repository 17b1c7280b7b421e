//! A worker as the wire sees it: a conversation that grows by a reply and an answer, over a model that is shared.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{PrefixTtl, RawMessage, RequestOptions, SharedPrefix, Target, ToolDefinition, render};
use wattle_cache::price::Table as Prices;
use wattle_cache::warm::Policy;
use wattle_worker::model::shared::{Shared, SharedOptions};
use wattle_worker::model::wire::HttpModel;
use wattle_worker::model::{Attempt, Auth, Model, ModelError, ModelRequest, Reply, WireOptions};

use crate::Res;

/// The model that is asked: one whose price is known to both sides.
pub(crate) const MODEL: &str = "claude-sonnet-5-5";
/// Its prices for the server's own bill, in nano-dollars per token.
pub(crate) const SERVED: &str = "models: { claude-sonnet-5-5: { rates: { input: 2000, output: 10000, cache_read: 100, \
                                 write_short: 2500, write_long: 4000 } } }";

/// A model for workers that share it.
pub(crate) fn shared(base_url: String, policy: Policy) -> Res<Arc<Shared>> {
    let options = WireOptions {
        target: Target::anthropic("anthropic"),
        base_url,
        auth: Auth::ApiKey("bench".to_owned()),
        version: Some("2026-10-21".to_owned()),
        pressure: Arc::default(),
    };
    let prices = Arc::new(Prices::builtin().clone());
    let today = Arc::new(|| "2026-11-28".to_owned());
    Ok(Arc::new(Shared::new(
        Arc::new(HttpModel::new(options)?),
        SharedOptions { policy, prewarm: false, prices, today },
    )))
}

/// What all workers share: a tool, the system text, and a brief of so many tokens.
pub(crate) fn prefix(brief_tokens: usize) -> Res<SharedPrefix> {
    let tool = ToolDefinition {
        name: "Look".to_owned(),
        description: "Looks.".to_owned(),
        input_schema: r#"{"type":"object"}"#.to_owned(),
    };
    // The server counts four bytes as a token.
    Ok(SharedPrefix::new(vec![tool], "Be exact.", &"word".repeat(brief_tokens))?)
}

/// One worker.
pub(crate) struct Worker {
    model: Arc<Shared>,
    shared: Arc<SharedPrefix>,
    message: String,
    history: Vec<RawMessage>,
    asked: bool,
}

impl Worker {
    /// A worker with a message of its own.
    pub(crate) fn new(model: &Arc<Shared>, shared: &Arc<SharedPrefix>, name: &str) -> Worker {
        let message = format!("Role: worker\nStep: {name}\n\nLook at it.");
        let (model, shared) = (Arc::clone(model), Arc::clone(shared));
        Worker { model, shared, message, history: Vec::new(), asked: false }
    }

    /// Asks once; the reply does not join the conversation yet.
    pub(crate) async fn ask(&mut self) -> Result<Reply, ModelError> {
        let options = RequestOptions {
            model: MODEL.to_owned(),
            max_tokens: 1000,
            effort: None,
            stream: true,
            prefix_ttl: PrefixTtl::FiveMinutes,
            min_cache_tokens: 0,
            tail: String::new(),
        };
        let rendered = render(&self.shared, &self.message, &self.history, &options);
        let request = ModelRequest {
            bytes: rendered.bytes.into(),
            prefix_len: rendered.prefix_len,
            prefix_sha: rendered.prefix_sha,
            model: MODEL.to_owned(),
            first: !std::mem::replace(&mut self.asked, true),
            watch: None,
        };
        self.model.stream(request, CancellationToken::new()).await
    }

    /// Asks, and goes on with an answer of so many tokens to the tool that the reply calls.
    pub(crate) async fn turn(&mut self, answer_tokens: usize) -> Res<Vec<Attempt>> {
        let reply = self.ask().await?;
        let message = RawMessage::parse(&reply.message_json)?;
        let calls = reply.blocks.iter().filter_map(|block| match block {
            wattle_worker::model::Block::ToolUse { id, .. } => Some(id.clone()),
            _ => None,
        });
        let results: Vec<_> = calls
            .map(|id| {
                let content = "seen".repeat(answer_tokens);
                serde_json::json!({ "type": "tool_result", "tool_use_id": id, "content": content })
            })
            .collect();
        self.history.push(message);
        if !results.is_empty() {
            let answer = serde_json::json!({ "role": "user", "content": results }).to_string();
            self.history.push(RawMessage::parse(&answer)?);
        }
        Ok(reply.attempts)
    }
}

/// What attempts have cost by our table, in nano-dollars.
pub(crate) fn nano_usd<'a>(attempts: impl IntoIterator<Item = &'a Attempt>) -> Res<u64> {
    let price = Prices::builtin().newest("anthropic", MODEL).ok_or("the model has no price")?;
    let paid = attempts.into_iter().map(|attempt| attempt.usage.nano_usd(&price.rates));
    paid.sum::<Option<u64>>().ok_or_else(|| "a rate is not known".into())
}

/// A runtime for one measurement.
pub(crate) fn runtime() -> Res<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
