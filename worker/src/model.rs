//! The model wire: one request in, one committed reply out, and the cost of every attempt on the way.
//!
//! A [`Model`] holds the address and the key; no assignment, tool or child process ever does. It does not
//! build requests (their bytes come from `wattle_cache::prefix` alone) and it does not interpret replies: an
//! assistant message is handed on verbatim, because a provider rejects a history that was rebuilt.
//!
//! [`wire::HttpModel`] is the one implementation over HTTP. It sends, retries and reports; what the bytes of a
//! stream mean is decided by one codec per wire (`anthropic`, `openai_chat`, `openai_responses`) behind
//! `assemble::Assembly`, and whether another attempt helps by the tables of `retry`.

mod anthropic;
pub(crate) mod assemble;
mod error;
mod limits;
mod openai_chat;
mod openai_responses;
pub mod pressure;
mod refusal;
mod retry;
mod setup;
pub mod shared;
mod slots;
pub mod sse;
pub(crate) mod transport;
pub mod wire;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use wattle_cache::ledger::Tokens;
use wattle_cache::prefix::Target;
use wattle_cache::price::{Price, Table};
use wattle_cache::warm::Miss;

pub use self::error::{ModelError, ModelErrorKind, Reason, Wall};
pub use self::setup::{Auth, SetupError, WireOptions};
pub use self::slots::slots;

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

    /// Whom requests are rendered for.
    fn target(&self) -> &Target;

    /// Sends one request, retries what a retry can help, and gives the reply once it is complete.
    ///
    /// A cancelled call drops the response and ends with [`ModelErrorKind::Cancelled`].
    fn stream<'a>(&'a self, request: ModelRequest, cancel: CancellationToken) -> Streaming<'a>;

    /// A worker begins to ask: its number among those that share the model.
    fn join(&self) -> u32 {
        0
    }

    /// What the named model costs now; `None` = unknown, which is never 0.
    fn price(&self, model: &str) -> Option<Price> {
        Table::builtin().newest(self.name(), model)
    }
}

/// One request, ready for the wire.
#[derive(Clone)]
pub struct ModelRequest {
    /// Body of the request, from `wattle_cache::prefix`.
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
    /// The assistant message object: its content blocks as received, and its origin.
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
    /// Tokens, as far as they were reported; else the estimate.
    pub usage: Tokens,
    /// Output tokens that were spent on thinking, where the provider says so; they are part of the output.
    pub reasoning_out: u64,
    /// Are the counts the provider's own?
    pub exact: bool,
    /// The model that answered, where the reply names one.
    pub served: Option<String>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// Service tier that was billed, where the provider tells.
    pub tier: Option<String>,
    /// From sending to the first event, in milliseconds.
    pub ttft_ms: Option<u64>,
    /// From sending to its end, in milliseconds. Waiting for a turn to send is not part of it.
    pub total_ms: u64,
    /// Did the reply come whole although a stream was asked for?
    pub whole: bool,
    /// What it failed with, in a word of the provider's or ours; `None` = it gave the reply, or was cancelled.
    pub fault: Option<String>,
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
    Refusal {
        /// What for, where the provider tells.
        category: Option<String>,
    },
    /// The provider paused the turn: it goes on when sent again.
    Pause,
    /// The context window is full.
    ContextFull,
    /// The provider's filter cut the reply.
    ContentFilter,
    /// A reason that this version does not know.
    Other(String),
}
