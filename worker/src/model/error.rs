//! A call that gave no reply: what went wrong, and what a user can do about it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Attempt;

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
    /// The provider refused for good.
    #[error("ask the model: {provider} answered {status} {code}: {message} ({})", reason.mend())]
    Fatal {
        /// Provider.
        provider: String,
        /// HTTP status, or the one that an error event stands for.
        status: u16,
        /// The provider's name of the error.
        code: String,
        /// Its words, bounded.
        message: String,
        /// What that means for the work.
        reason: Reason,
    },
    /// Every attempt failed in a way that might have passed.
    #[error("ask the model: gave up on {provider} after {attempts} attempts, the last: {last} ({mend})")]
    Exhausted {
        /// Provider.
        provider: String,
        /// How many attempts there were.
        attempts: u32,
        /// What the last one failed with.
        last: String,
        /// What a user can do.
        mend: &'static str,
    },
    /// All requests of the run together have failed too often.
    #[error(
        "ask the model: {provider} failed again ({last}), and the run has spent its {budget} retries (is the provider well? `wattle resume` goes on)"
    )]
    RetriesSpent {
        /// Provider.
        provider: String,
        /// How many retries a run has.
        budget: u32,
        /// What the last attempt failed with.
        last: String,
    },
    /// The caller cancelled it.
    #[error("ask the model: cancelled")]
    Cancelled,
}

impl ModelErrorKind {
    /// Would every other request be refused as well? Then whoever asks for many had better stop.
    pub fn stops_all(&self) -> Option<Wall> {
        match self {
            ModelErrorKind::Fatal { reason, .. } => reason.wall(),
            ModelErrorKind::Exhausted { .. } | ModelErrorKind::RetriesSpent { .. } | ModelErrorKind::Cancelled => None,
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

/// Why a provider refused for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The key is wrong, or may not do this.
    Key,
    /// A spend limit or an empty account: no waiting helps.
    Money,
    /// There is no such model, or it is not for this key.
    UnknownModel,
    /// What is at the address does not speak this wire.
    Address,
    /// The conversation is longer than the model's context.
    Context,
    /// The request is larger than the provider takes.
    TooLarge,
    /// The provider's policy.
    Policy,
    /// The request is not valid in the provider's eyes.
    Request,
}

impl Reason {
    /// What every other request to this model would run into as well.
    pub fn wall(self) -> Option<Wall> {
        match self {
            Reason::Money => Some(Wall::Money),
            Reason::Key | Reason::UnknownModel | Reason::Address => Some(Wall::Access),
            Reason::Context | Reason::TooLarge | Reason::Policy | Reason::Request => None,
        }
    }

    /// What a user can do.
    pub fn mend(self) -> &'static str {
        match self {
            Reason::Key => "set a key that may use this model, then `wattle resume`",
            Reason::Money => "raise the account's limit or add money, then `wattle resume`",
            Reason::UnknownModel => "see the name of the model: --model PROVIDER/NAME, or `model:`",
            Reason::Address => "see the base_url of the model: nothing there speaks this wire",
            Reason::Context => "split the step, or name a model with a larger context",
            Reason::TooLarge => "the prompt is too large to send: split the step, or read less into it",
            Reason::Policy => "the provider's policy forbids it: change the task, or name another model",
            Reason::Request => "the request is not valid for this model; `wattle log STEP` shows the conversation",
        }
    }
}
