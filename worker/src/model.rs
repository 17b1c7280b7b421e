//! The model wire: one request in, one committed reply out, and the cost of every attempt on the way.
//!
//! A [`Model`] holds the address and the key; no assignment, tool or child process ever does. It does not
//! build requests (their bytes come from `wattle_cache::prefix` alone) and it does not interpret replies: an
//! assistant message is handed on verbatim, because a provider rejects a history that was rebuilt.

pub mod anthropic;
pub(crate) mod assemble;
pub mod shared;
mod sse;
pub(crate) mod transport;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use wattle_cache::ledger::Tokens;
use wattle_cache::price::{Price, Table};
use wattle_cache::warm::Miss;

/// An answer of a [`Watch`] that may take a while.
pub type Asking<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// Who follows a call while it goes on: the loop that asks, and whoever shares the model among workers.
pub trait Watch: Send + Sync {
    /// The reply has begun: what the request wrote to the provider's cache can be read from now on. Told once per
    /// attempt, with the first event of its stream (or the first byte of a reply that comes whole).
    fn started(&self);

    /// An attempt has failed in a way that may pass, and the pause before the next one is over. May it be made?
    /// What the failed one has cost is journaled before the answer; `false` ends the call as cancelled.
    fn again<'a>(&'a self, failed: &'a Attempt) -> Asking<'a>;
}

/// What a call to a model gives.
pub type Streaming<'a> = Pin<Box<dyn Future<Output = Result<Reply, ModelError>> + Send + 'a>>;

/// A model that can be asked; the process that runs the loop is given one.
pub trait Model: Send + Sync {
    /// Name of the provider, the first part of `PROVIDER/NAME`.
    fn name(&self) -> &str;

    /// Sends one request, retries what a retry can help, and gives the reply once it is complete.
    ///
    /// A cancelled call drops the response and ends with [`ModelErrorKind::Cancelled`].
    fn stream<'a>(&'a self, request: ModelRequest, cancel: CancellationToken) -> Streaming<'a>;

    /// What the named model costs now; `None` = unknown, which is never 0.
    fn price(&self, model: &str) -> Option<Price> {
        Table::builtin().newest(self.name(), model)
    }
}

/// One request, ready for the wire.
#[derive(Clone)]
pub struct ModelRequest {
    /// Body of the request, from `wattle_cache::prefix::render`.
    pub bytes: bytes::Bytes,
    /// Length of its shared part, in bytes.
    pub prefix_len: usize,
    /// Hash of its bytes up to the shared breakpoint.
    pub prefix_sha: String,
    /// Name of the model, as the body has it.
    pub model: String,
    /// Is it the first one of its worker?
    pub first: bool,
    /// Who follows the call; `None` = nobody.
    pub watch: Option<Arc<dyn Watch>>,
}

impl fmt::Debug for ModelRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ModelRequest");
        shown.field("bytes", &self.bytes.len()).field("prefix_sha", &self.prefix_sha).field("model", &self.model);
        shown.finish_non_exhaustive()
    }
}

impl ModelRequest {
    /// Says that the reply has begun.
    pub fn started(&self) {
        if let Some(watch) = &self.watch {
            watch.started();
        }
    }

    /// May a failed attempt be made again?
    pub async fn again(&self, failed: &Attempt) -> bool {
        match &self.watch {
            Some(watch) => watch.again(failed).await,
            None => true,
        }
    }
}

/// A complete assistant turn.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The assistant message object with its content blocks as received.
    pub message_json: String,
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
    /// Why it ended.
    pub stop: Stop,
    /// Tokens of the attempt that gave it.
    pub usage: Tokens,
    /// Every HTTP attempt, the last one included.
    pub attempts: Vec<Attempt>,
}

/// One HTTP attempt, for the ledger: a failed one may have cost money as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// HTTP status; 0 where no answer came.
    pub status: u16,
    /// Tokens as far as they were reported.
    pub usage: Tokens,
    /// Output tokens that were spent on thinking, where the provider says so; they are part of the output.
    pub reasoning_out: u64,
    /// Are the counts the provider's own?
    pub exact: bool,
    /// The model that answered, where the reply names one.
    pub served: Option<String>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Time from sending to the first event, in milliseconds; `None` = nothing came.
    pub ttft_ms: Option<u64>,
    /// Time from sending to its end, in milliseconds.
    pub total_ms: u64,
    /// Did the reply come whole although a stream was asked for?
    pub whole: bool,
    /// Why it did not find the shared prefix in the cache although it should have; set by whoever shares the model.
    pub miss: Option<Miss>,
}

/// A block of an assistant message, as far as the loop needs to know it.
#[derive(Debug, Clone)]
pub enum Block {
    /// Text.
    Text(String),
    /// A call of a tool.
    ToolUse {
        /// Id that the result has to name.
        id: String,
        /// Name of the tool.
        name: String,
        /// Input as the model sent it.
        input: Box<RawValue>,
    },
    /// Whatever else there is (thinking, blocks of a later version); only echoed.
    Opaque,
}

/// Why an assistant turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The model is done.
    End,
    /// The bound on output tokens was reached.
    MaxTokens,
    /// Tools are to be called.
    ToolUse,
    /// A stop sequence was met.
    StopSequence,
    /// The model declined.
    Refusal,
    /// The provider paused the turn: it goes on when sent again.
    Pause,
    /// The context window is full.
    ContextFull,
    /// A reason that this version does not know.
    Other(String),
}

/// A call that gave no reply, with what it may have cost.
#[derive(Debug, Clone, Error)]
#[error("{kind}")]
pub struct ModelError {
    /// What went wrong.
    #[source]
    pub kind: ModelErrorKind,
    /// Every HTTP attempt.
    pub attempts: Vec<Attempt>,
}

/// What went wrong with a call to a model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelErrorKind {
    /// The provider refused for good: a wrong key, an invalid request, a spend limit.
    #[error("ask the model: {provider} answered {status} {code}: {message}{}", mend(*status))]
    Fatal {
        /// Provider.
        provider: String,
        /// HTTP status, or the one that an error event stands for.
        status: u16,
        /// The provider's name of the error.
        code: String,
        /// Its words, bounded.
        message: String,
    },
    /// Every attempt failed in a way that might have passed.
    #[error("ask the model: gave up on {provider} after {attempts} attempts, the last: {last}")]
    Exhausted {
        /// Provider.
        provider: String,
        /// How many attempts there were.
        attempts: u32,
        /// What the last one failed with.
        last: String,
    },
    /// The caller cancelled it.
    #[error("ask the model: cancelled")]
    Cancelled,
}

impl ModelErrorKind {
    /// Would every other request be refused as well? Then whoever asks for many had better stop.
    pub fn stops_all(&self) -> Option<Wall> {
        let ModelErrorKind::Fatal { status, code, message, .. } = self else { return None };
        let spent = ["insufficient_quota", "billing_error", "billing_hard_limit_reached"].contains(&code.as_str())
            || code.ends_with("spend_limit_reached")
            || *status == 402
            // A limit that the user has set comes as a request that is not valid.
            || (*status == 400 && message.starts_with("You have reached your specified"));
        match status {
            _ if spent => Some(Wall::Money),
            401 => Some(Wall::Access),
            403 if code != "misalignment_policy_violation" => Some(Wall::Access),
            404 => Some(Wall::Access),
            _ => None,
        }
    }
}

/// What every request of a run would run into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// The account has no money or no quota left.
    Money,
    /// The key, the model or the address is not the right one.
    Access,
}

/// What a user can do about a refusal.
fn mend(status: u16) -> &'static str {
    match status {
        401 | 403 => " (set a key that may use this model, then try again)",
        402 => " (the account has no money left)",
        404 => " (is the name of the model right?)",
        _ => "",
    }
}
