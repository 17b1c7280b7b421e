//! The model wire: one request in, one committed reply out, and the cost of every attempt on the way.
//!
//! A [`Model`] holds the address and the key; no assignment, tool or child process ever does. It does not
//! build requests (their bytes come from `wattle_cache::prefix` alone) and it does not interpret replies: an
//! assistant message is handed on verbatim, because a provider rejects a history that was rebuilt.

pub mod anthropic;
pub(crate) mod assemble;
mod sse;
pub(crate) mod transport;

use std::future::Future;
use std::pin::Pin;

use serde_json::value::RawValue;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use wattle_cache::ledger::Tokens;
use wattle_cache::price::{self, Rates};

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

    /// What the named model costs; `None` = unknown, which is never 0.
    fn rates(&self, model: &str) -> Option<Rates> {
        price::builtin(self.name(), model)
    }
}

/// One request, ready for the wire.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// Body of the request, from `wattle_cache::prefix::render`.
    pub bytes: bytes::Bytes,
    /// Hash of its bytes up to the shared breakpoint.
    pub prefix_sha: String,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// HTTP status; 0 where no answer came.
    pub status: u16,
    /// Tokens as far as they were reported.
    pub usage: Tokens,
    /// Are the counts the provider's own?
    pub exact: bool,
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

/// What a user can do about a refusal.
fn mend(status: u16) -> &'static str {
    match status {
        401 | 403 => " (set a key that may use this model, then try again)",
        402 => " (the account has no money left)",
        404 => " (is the name of the model right?)",
        _ => "",
    }
}
