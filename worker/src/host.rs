//! The Host boundary: the one duplex between a worker and whoever gave it its assignment.
//!
//! Everything that crosses it is serialisable, so that a remote transport is one more implementation of
//! [`Host`] and changes nothing else. A worker acts on a model's reply or a tool call only after
//! the [`Reply::Ack`] of its intent: what is journaled is what happened.

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use wattle_cache::ledger::Tokens;
use wattle_cache::price::Snapshot;
use wattle_cache::warm::Miss;
use wattle_workspace::{CommitId, TreeId};

use crate::model::Wall;
use crate::outcome::{Cause, CheckResult, Evidence};

/// A message of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", content = "body", rename_all = "snake_case")]
pub enum Message {
    /// About to do something with an effect.
    Intent(Intent),
    /// What came of it.
    Result(StepResult),
    /// Tokens and money of one HTTP attempt.
    Usage(Box<Usage>),
    /// May this much be spent? Answered by [`Reply::Granted`] or [`Reply::Refused`].
    Reserve {
        /// Upper bound of the next request, in tokens (input and output together).
        tokens: u64,
        /// Upper bound of its price in nano-dollars; `None` = unknown price.
        nano_usd: Option<u64>,
    },
    /// A question. Answered by [`Reply::Answer`], or by [`Reply::Refused`] when nobody will.
    Ask {
        /// Who is to answer.
        #[serde(default)]
        to: Asked,
        /// The question.
        question: String,
        /// Answers on offer; empty = free text.
        options: Vec<String>,
    },
    /// A plan or a record that the worker proposes. Answered by [`Reply::Ack`] or [`Reply::Refused`].
    Propose(Proposal),
}

/// Who is asked. The answer is words: it permits nothing that was not permitted before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// A human.
    #[default]
    User,
    /// The lead, who knows the whole plan; where there is none, a human.
    Lead,
}

/// What a worker is about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Intent {
    /// Start the executor of the step (its process, its rewrite, its conversation).
    Execute,
    /// Make the commit object; repeating it gives the same id.
    Commit {
        /// The commit that will exist.
        commit: CommitId,
        /// Its tree.
        tree: TreeId,
        /// Why the executor that left these files had failed; `None` = it had not.
        #[serde(default)]
        failed: Option<(Cause, String)>,
    },
    /// Run the step's own check on a commit.
    Check {
        /// The commit under test.
        commit: CommitId,
        /// Its tree.
        tree: TreeId,
    },
    /// Repair after a red check.
    Repair {
        /// Number of the repair, from 1.
        number: u32,
    },
    /// One tool call of an agent.
    Tool {
        /// Id that the model gave the call.
        id: String,
        /// Name of the tool.
        name: String,
        /// Input, JSON text as the model sent it.
        input: String,
    },
}

/// What came of an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum StepResult {
    /// The executor ended.
    Executed {
        /// Evidence of its process or rewrite.
        evidence: Evidence,
    },
    /// The step's own check ended.
    Checked {
        /// The tree under test.
        tree: TreeId,
        /// Its result.
        result: CheckResult,
    },
    /// A message joined the conversation (user or assistant): its verbatim JSON.
    Turn {
        /// Index of the message in the conversation, from 0.
        index: u32,
        /// JSON text of the message.
        json: String,
        /// The row of the ledger for the request that it came by: journaled with it or not at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Box<Usage>>,
    },
    /// What is shown of the conversation changes from the next request on: JSON of a `wattle_cache::view::ViewEdit`.
    ViewEdit {
        /// JSON text of the edit.
        json: String,
    },
    /// The provider refuses, and would refuse every other request as well. The worker parks.
    Refused {
        /// What it runs into.
        wall: Wall,
        /// The provider's words, and what helps.
        message: String,
    },
    /// A tool call ended.
    Tool {
        /// Id of the call.
        id: String,
        /// Was it refused or did it fail?
        is_error: bool,
        /// Evidence.
        evidence: Evidence,
    },
    /// A bound bit.
    BoundHit {
        /// Name of the bound.
        bound: String,
        /// What it did, one line.
        message: String,
    },
}

/// Tokens of one HTTP attempt to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Provider, as in `PROVIDER/NAME`.
    pub provider: String,
    /// Model that was asked for.
    pub model: String,
    /// Hash of the request bytes up to the shared breakpoint.
    pub prefix_sha: String,
    /// Input tokens that were neither read from nor written to a cache.
    pub uncached_in: u64,
    /// Input tokens read from a cache.
    pub cache_read: u64,
    /// Input tokens written to a cache.
    pub cache_write: u64,
    /// Those of them that were written for the long time to live.
    #[serde(default)]
    pub cache_write_long: u64,
    /// Output tokens.
    pub out: u64,
    /// Those of them that were spent on thinking, where the provider says so.
    #[serde(default)]
    pub reasoning_out: u64,
    /// Price in nano-dollars; `None` = unknown, never 0.
    pub nano_usd: Option<u64>,
    /// What it was priced with; `None` = unknown.
    #[serde(default)]
    pub price: Option<Snapshot>,
    /// Are the counts the provider's own?
    pub exact: bool,
    /// HTTP status; 0 where no answer came.
    pub status: u16,
    /// Index of the message that was asked for.
    #[serde(default)]
    pub turn: u32,
    /// Number of the attempt at it, from 1.
    #[serde(default)]
    pub http_attempt: u32,
    /// The model that answered, where the reply names one.
    #[serde(default)]
    pub served: Option<String>,
    /// The provider's id of the request.
    #[serde(default)]
    pub request_id: Option<String>,
    /// Time from sending to the first event, in milliseconds; `None` = nothing came.
    #[serde(default)]
    pub ttft_ms: Option<u64>,
    /// Time from sending to the end, in milliseconds.
    #[serde(default)]
    pub total_ms: u64,
    /// Why the first request of a worker did not find the shared prefix in the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miss: Option<Miss>,
}

impl Usage {
    /// Its tokens, by the price that applies to them.
    pub fn tokens(&self) -> Tokens {
        Tokens {
            uncached_in: self.uncached_in,
            cache_read: self.cache_read,
            cache_write_short: self.cache_write.saturating_sub(self.cache_write_long),
            cache_write_long: self.cache_write_long,
            out: self.out,
        }
    }
}

/// What a worker proposes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "proposal", rename_all = "snake_case")]
pub enum Proposal {
    /// Steps of a plan: the input of `SubmitPlan`, JSON text.
    Plan {
        /// JSON text.
        json: String,
    },
    /// The rest of the worker's step, as parts that others should do: the `split` of a `Report`, JSON text.
    Split {
        /// JSON text.
        json: String,
    },
    /// A record for the memory of the repository.
    Record {
        /// JSON text.
        json: String,
    },
}

/// What the host says to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// It is in the journal.
    Ack {
        /// Its place there.
        seq: u64,
    },
    /// It is in the journal, and the worker's conversation should hear this with its next turn.
    Told {
        /// Its place there.
        seq: u64,
        /// The words, each a piece of feedback.
        words: Vec<String>,
    },
    /// The reservation holds.
    Granted,
    /// No; the reason is for the worker (and its model) to read.
    Refused {
        /// Why, and what would help.
        reason: String,
    },
    /// The answer of a human.
    Answer {
        /// Its text.
        text: String,
    },
    /// Stop: park what there is and end with [`crate::outcome::End::Parked`].
    Cancel,
}

/// A reply that is still to come.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// The other side of the boundary.
pub trait Host: Send + Sync {
    /// Sends one message and waits for its reply.
    fn send(&self, message: Message) -> Pending<'_>;

    /// Ends when the worker has to stop; processes are ended and the worker parks.
    fn cancelled(&self) -> CancellationToken;
}
