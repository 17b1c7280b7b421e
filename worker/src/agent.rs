//! The loop of an agent: ask the model, run the tools it calls, until it is done.
//!
//! What is journaled is what happened. A reply is acted on only after its turn is in the journal, a tool runs
//! only after its intent is, and the results of one turn go back together in one message. So the journal always
//! holds whole turns, and a conversation that was cut off goes on after the last of them ([`transcript`]).
//!
//! The loop decides what a call may do ([`dispatch`]) and keeps what the conversation has read; tools keep
//! nothing. It never waits on anything but the host, the model and a tool.

mod account;
pub(crate) mod brief;
mod call;
mod card;
mod dispatch;
pub mod ledger;
mod shape;
mod stuck;
mod touch;
mod transcript;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use wattle_cache::prefix::{PrefixError, PrefixTtl, RequestOptions, with_tail};

use self::call::Caller;
use self::card::Card;
use self::dispatch::{Dispatch, Submitted};
use self::transcript::{Standing, Transcript};
use self::view::Fitting;
use crate::fork::Fork;
use crate::host::{Host, Message, Reply as HostReply, StepResult, Usage};
use crate::instructions::Instructions;
use crate::model::{Block, Model, Reply, Stop};
use crate::outcome::{Cause, Evidence};
use crate::tool::host::InProcess;

/// Bound of the second try after a reply was cut at the first one.
const OUTPUT_TOKENS_SECOND: u32 = 65_536;
/// Bound on a report, in bytes: dependents get it in their prompts, each of their turns pays for it.
const REPORT_BYTES_MAX: usize = 16 * 1024;
/// Replies after which a conversation that keeps its cards gets another: each stays in the prompt for good, and within
/// eight replies (some ten thousand tokens) the last one is near enough to the end.
const CARD_EVERY: usize = 8;

/// What a conversation is about.
pub(crate) struct Task<'a> {
    /// Name of the model on the wire.
    pub(crate) model_name: &'a str,
    /// What all workers of the run share.
    pub(crate) brief: &'a str,
    /// How long that stays in the provider's cache.
    pub(crate) prefix_ttl: PrefixTtl,
    /// The worker's own part of the first message.
    pub(crate) worker_message: String,
    /// Tools that may be called.
    pub(crate) allowed: BTreeSet<String>,
    /// Bound on the number of replies.
    pub(crate) max_turns: u32,
    /// Bound on money of its own.
    pub(crate) max_nano_usd: Option<u64>,
    /// How many proposals may be sent back; `None` = nothing is to be proposed.
    pub(crate) proposals_max: Option<u32>,
    /// Completed turns of an earlier try.
    pub(crate) messages: &'a [String],
    /// Edits of what is shown of them.
    pub(crate) views: &'a [String],
    /// What its tools did.
    pub(crate) evidence: &'a [(String, Evidence)],
    /// Tokens of the model's window; `None` = as the table of prices says.
    pub(crate) context_tokens: Option<u64>,
    /// What that try has spent, in nano-dollars.
    pub(crate) spent_nano_usd: u64,
    /// Words for this worker, oldest first.
    pub(crate) feedback: &'a [String],
    /// Instructions beside those of the brief.
    pub(crate) instructions: &'a Instructions,
    /// Id and title of the step, for the card; both empty for a lead.
    pub(crate) step: (&'a str, &'a str),
    /// Where the worker is; empty = nobody tells it when that has changed.
    pub(crate) worktree: String,
    /// The conversation that it goes on from.
    pub(crate) fork: Option<&'a Fork>,
}

/// A conversation that has ended.
pub(crate) struct Conversation {
    /// How.
    pub(crate) end: Finish,
    /// What it reports; the JSON of the plan where one was accepted.
    pub(crate) report: String,
    /// Has a plan been accepted?
    pub(crate) planned: bool,
    /// Will the rest of its work be done by others?
    pub(crate) split: bool,
    /// Files it read, and its last process.
    pub(crate) evidence: Evidence,
}

/// How a conversation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model says that it is done, or its plan was accepted.
    Done,
    /// It did not get there.
    Failed(Cause, String),
    /// It was told to stop.
    Parked,
}

/// Why a conversation does not go on.
enum Halt {
    Parked,
    Failed(Cause, String),
}

impl From<PrefixError> for Halt {
    fn from(error: PrefixError) -> Halt {
        Halt::Failed(Cause::Environment, error.to_string())
    }
}

/// Holds a conversation to its end.
pub(crate) async fn converse(
    task: Task<'_>,
    model: Arc<dyn Model>,
    host: Arc<dyn Host>,
    tool_host: InProcess,
) -> Conversation {
    let transcript = match Transcript::open(task.brief, &task.worker_message, task.fork, task.messages, task.views) {
        Ok(transcript) => transcript,
        Err(error) => {
            let end = Finish::Failed(Cause::Environment, error.to_string());
            let evidence = Evidence::default();
            return Conversation { end, report: String::new(), planned: false, split: false, evidence };
        }
    };
    tool_host.outputs().restore(task.evidence, transcript.view().outputs());
    let dispatch = Dispatch::new(&task, Arc::clone(&host), tool_host, &transcript);
    let caller = Caller::new(&task, model, Arc::clone(&host));
    let fitting = Fitting::new(task.context_tokens.or_else(|| caller.context_tokens()));
    let mut talk =
        Talk { task, caller, host, transcript, dispatch, fitting, heard: Vec::new(), given: 0, card: String::new() };
    let end = match talk.run().await {
        Ok(()) => Finish::Done,
        Err(Halt::Parked) => Finish::Parked,
        Err(Halt::Failed(cause, message)) => Finish::Failed(cause, message),
    };
    let report = match &talk.dispatch.accepted {
        Some(plan) => plan.clone(),
        None => bounded(talk.transcript.report()),
    };
    let (planned, split) = (talk.dispatch.accepted.is_some(), talk.dispatch.split);
    Conversation { end, report, planned, split, evidence: talk.dispatch.evidence }
}

fn bounded(mut report: String) -> String {
    if report.len() > REPORT_BYTES_MAX {
        let cut = (0..=REPORT_BYTES_MAX).rev().find(|at| report.is_char_boundary(*at)).unwrap_or(0);
        report.truncate(cut);
        report.push_str("\n\n(The report was cut here.)\n");
    }
    report
}

/// Sends a message and waits; a stop ends the wait, because an answer may be hours away.
async fn send(host: &Arc<dyn Host>, message: Message) -> HostReply {
    let cancelled = host.cancelled();
    tokio::select! {
        biased;
        reply = host.send(message) => reply,
        () = cancelled.cancelled() => HostReply::Cancel,
    }
}

/// Sends what has to be in the journal before the conversation goes on, and gives what it should hear.
async fn record(host: &Arc<dyn Host>, message: Message) -> Result<Vec<String>, Halt> {
    match send(host, message).await {
        HostReply::Told { words, .. } => Ok(words),
        HostReply::Ack { .. } | HostReply::Granted | HostReply::Answer { .. } => Ok(Vec::new()),
        HostReply::Refused { reason } => Err(Halt::Failed(Cause::Environment, format!("go on: {reason}"))),
        HostReply::Cancel => Err(Halt::Parked),
    }
}

struct Talk<'a> {
    task: Task<'a>,
    caller: Caller,
    host: Arc<dyn Host>,
    transcript: Transcript,
    dispatch: Dispatch,
    fitting: Fitting,
    /// Feedback that came meanwhile.
    heard: Vec<String>,
    /// How many of those the conversation has been given.
    given: usize,
    /// What the request that is under way ends with; it joins no message.
    card: String,
}

impl Talk<'_> {
    async fn run(&mut self) -> Result<(), Halt> {
        if self.task.messages.is_empty() {
            self.journal(0, self.transcript.first().to_owned(), None).await?;
        }
        let mut again = true;
        loop {
            match self.transcript.standing() {
                Standing::Calls(calls) => {
                    self.dispatch.room = self.fitting.turn_bytes();
                    let answered = self.dispatch.run(&calls, again, self.transcript.view()).await?;
                    if let Submitted::Accepted = answered.submitted {
                        return Ok(());
                    }
                    self.append(answered.message, None).await?;
                }
                Standing::Finished => match self.feedback() {
                    Some(message) => self.append(message, None).await?,
                    None => return Ok(()),
                },
                Standing::ToSend => {
                    let feedback = if again || !self.heard.is_empty() { self.feedback() } else { None };
                    if let Some(message) = feedback {
                        self.append(message, None).await?;
                    }
                    match self.ask().await? {
                        Some((message, row)) => self.append(message, Some(row)).await?,
                        None => return Ok(()),
                    }
                    again = false;
                }
            }
        }
    }

    /// What the conversation has not been given yet, of the feedback it began with and of what came since.
    fn feedback(&mut self) -> Option<String> {
        self.given = self.heard.len();
        let all: Vec<String> = self.task.feedback.iter().chain(&self.heard).cloned().collect();
        self.transcript.feedback(&all, &self.task.worktree)
    }

    async fn append(&mut self, json: String, row: Option<Usage>) -> Result<(), Halt> {
        // Checked before it is journaled: what is in the journal can always be sent again.
        let index = self.transcript.push(&json)?;
        self.journal(index, json, row).await
    }

    async fn journal(&mut self, index: u32, json: String, row: Option<Usage>) -> Result<(), Halt> {
        let usage = row.map(Box::new);
        let heard = record(&self.host, Message::Result(StepResult::Turn { index, json, usage })).await?;
        self.heard.extend(heard);
        Ok(())
    }

    /// One reply with its row of the ledger; `None` = the model is done and said nothing more.
    async fn ask(&mut self) -> Result<Option<(String, Usage)>, Halt> {
        if self.transcript.replies_since_feedback() >= self.task.max_turns {
            let message = format!("the model was not done after {} turns", self.task.max_turns);
            self.bound("max_turns", &message).await?;
            return Err(Halt::Failed(Cause::Turns, message));
        }
        if stuck::stuck(&self.transcript) {
            let message = "the model made the same calls ten times and was told the same each time";
            self.bound("repeats", message).await?;
            return Err(Halt::Failed(Cause::Turns, message.to_owned()));
        }
        self.card = self.next_card();
        let (mut reply, mut row) = self.request(self.fitting.output()).await?;
        if reply.stop == Stop::MaxTokens {
            // A reply that was cut may hold half a call: it is thrown away, the turn is asked for again.
            record(&self.host, Message::Usage(Box::new(row))).await?;
            self.bound("output_tokens", "a reply was cut; asked again with more room").await?;
            (reply, row) = self.request(OUTPUT_TOKENS_SECOND).await?;
        }
        let opaque = reply.blocks.iter().any(|block| matches!(block, Block::Opaque));
        if self.caller.target().keeps_tail(opaque) {
            reply.message_json = with_tail(&reply.message_json, &self.card);
        }
        let said = match self.judge(reply) {
            Ok(Some(message)) => return Ok(Some((message, row))),
            Ok(None) => Ok(None),
            Err(halt) => Err(halt),
        };
        // No turn comes of it, but it has cost what it has cost.
        record(&self.host, Message::Usage(Box::new(row))).await?;
        said
    }

    /// The message of a reply, if the conversation goes on with it.
    fn judge(&self, reply: Reply) -> Result<Option<String>, Halt> {
        let calls = reply.blocks.iter().any(|block| matches!(block, Block::ToolUse { .. }));
        let failed = |message: String| Err(Halt::Failed(Cause::Model, message));
        match reply.stop {
            Stop::MaxTokens => {
                let message = format!("a reply did not end within {OUTPUT_TOKENS_SECOND} tokens");
                Err(Halt::Failed(Cause::Turns, message))
            }
            Stop::Refusal { category } => {
                let category = category.map(|category| format!(" ({category})")).unwrap_or_default();
                failed(format!("the model declined to go on{category}: change the task, or name another model"))
            }
            Stop::ContentFilter => {
                failed("the provider's filter cut the reply: change the task, or name another model".to_owned())
            }
            Stop::ContextFull => failed(
                "the conversation no longer fits the model's context: split the step, or name a model with a larger one"
                    .to_owned(),
            ),
            Stop::Pause if !calls => failed("the model paused its turn, which nothing here asks for".to_owned()),
            Stop::End | Stop::ToolUse | Stop::StopSequence | Stop::Pause | Stop::Other(_) => {
                Ok(if reply.blocks.is_empty() { None } else { Some(reply.message_json) })
            }
        }
    }

    async fn bound(&self, bound: &str, message: &str) -> Result<(), Halt> {
        let (bound, message) = (bound.to_owned(), message.to_owned());
        record(&self.host, Message::Result(StepResult::BoundHit { bound, message })).await.map(drop)
    }

    /// What the next request ends with; empty where it still holds an earlier card.
    fn next_card(&self) -> String {
        #[derive(serde::Deserialize)]
        struct QuestionForm {
            question: String,
        }
        let since = self.transcript.replies_since_tail(self.caller.target(), self.task.model_name);
        if since.is_some_and(|replies| replies < CARD_EVERY) {
            return String::new();
        }
        let asked = self.transcript.unanswered().iter();
        let open = asked.filter_map(|call| serde_json::from_str::<QuestionForm>(&call.input).ok());
        let max = self.task.max_turns;
        Card {
            rules: &self.task.instructions.rules,
            step: self.task.step.0,
            title: self.task.step.1,
            open: open.map(|form| form.question).collect(),
            turns: (max.saturating_sub(self.transcript.replies_since_feedback()), max),
            nano_usd: self.caller.left_nano_usd(),
        }
        .render()
    }

    async fn request(&mut self, max_tokens: u32) -> Result<(Reply, Usage), Halt> {
        let (rendered, max_tokens) = self.fitted(max_tokens).await?;
        if rendered.dropped_blocks > 0 {
            tracing::info!(blocks = rendered.dropped_blocks, "blocks of another model's turns are left out");
        }
        let bytes = rendered.bytes.len();
        let (reply, row) = self.caller.call(rendered, max_tokens, self.transcript.next_index()).await?;
        self.fitting.learn(bytes, &row);
        Ok((reply, row))
    }

    fn options(&self, max_tokens: u32) -> RequestOptions {
        RequestOptions {
            model: self.task.model_name.to_owned(),
            max_tokens,
            effort: None,
            stream: true,
            prefix_ttl: self.task.prefix_ttl,
            min_cache_tokens: self.caller.min_cache_tokens(),
            tail: self.card.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
