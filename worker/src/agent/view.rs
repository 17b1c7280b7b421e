//! Keeps the conversation within the model's window: takes the edit that is due, journals it, and checks each request.
//!
//! Which edit is due is decided by [`ladder`]; here it is carried out. An edit is in the journal before a request
//! shows it, so a conversation that goes on after an interruption sends the same bytes.

use wattle_cache::offload::cut;
use wattle_cache::prefix::{Rendered, RequestOptions};
use wattle_cache::view::check::Facts;
use wattle_cache::view::ladder::{self, Due, Gauge, Limits, WINDOW_DEFAULT};
use wattle_cache::view::{Rung, ViewEdit};

use super::account::{self, Account};
use super::ledger::Ledger;
use super::{Halt, Talk, brief, record};
use crate::host::{Message, StepResult, Usage};
use crate::model::Block;
use crate::outcome::Cause;

/// Bound on the output of one reply: a long edit fits; more in one turn is better split.
const OUTPUT_TOKENS: u64 = 16_384;
/// Part of a small window that a reply may have.
const OUTPUT_PART: u64 = 4;
/// Bound on the output of a summary: 2,000 tokens of it are used, the rest is for thinking.
const SUMMARY_TOKENS: u32 = 4_096;
/// Bytes of a summary that are used: 2,000 tokens.
const SUMMARY_BYTES_MAX: usize = 8_000;
/// Edits before one request: a batch of masks, and then a swap.
const EDITS_MAX: usize = 3;
/// What is said where nothing helps.
const SPLIT: &str = "split the step into smaller ones, or name a model with a larger window";
/// What a model is asked for when it is to sum up.
const SUMMARY: &str = "\
Stop here and sum up, for yourself: the messages above will be gone. Write at most one page, in plain text, without \
calling a tool: what you have found out that is not in the files, what you decided and why, what you tried that did \
not work, and what you were about to do. Do not repeat the task, and do not list files or commands: that is kept.";

/// What fits, and how it is measured.
#[derive(Debug)]
pub(super) struct Fitting {
    limits: Limits,
    gauge: Gauge,
    prefix_sha: Option<String>,
}

impl Fitting {
    /// For a model whose window has so many tokens.
    pub(super) fn new(context_tokens: Option<u64>) -> Fitting {
        let window = context_tokens.unwrap_or(WINDOW_DEFAULT);
        let limits = Limits { window, output: OUTPUT_TOKENS.min(window / OUTPUT_PART) };
        Fitting { limits, gauge: Gauge::default(), prefix_sha: None }
    }

    /// Bound on the output of a reply.
    pub(super) fn output(&self) -> u32 {
        u32::try_from(self.limits.output).unwrap_or(u32::MAX)
    }

    /// Bytes that the results of one reply may have together.
    pub(super) fn turn_bytes(&self) -> usize {
        self.gauge.bytes(self.limits.turn())
    }

    /// The provider has counted a request.
    pub(super) fn learn(&mut self, bytes: usize, row: &Usage) {
        if row.exact {
            self.gauge.learn(bytes, row.uncached_in + row.cache_read + row.cache_write);
        }
    }
}

impl Talk<'_> {
    /// The next request, edited as it is due and checked, and the output that it may ask for.
    pub(super) async fn fitted(&mut self, max_tokens: u32) -> Result<(Rendered, u32), Halt> {
        for _ in 0..EDITS_MAX {
            let rendered = self.transcript.render(self.caller.target(), &self.options(max_tokens));
            let tokens = self.fitting.gauge.tokens(rendered.bytes.len());
            let Fitting { limits, gauge, .. } = &self.fitting;
            match ladder::due(self.transcript.view(), tokens, limits, gauge) {
                Due::Nothing => return self.checked(rendered, tokens, max_tokens),
                Due::Mask(before) => self.edit(ViewEdit::Mask { before }).await?,
                Due::Swap(before) => self.swap(before, rendered.bytes.len()).await?,
            }
        }
        Err(self.split("it is still too long after it was made shorter").await)
    }

    /// What must hold does; else nothing is sent.
    fn checked(&mut self, rendered: Rendered, tokens: u64, max_tokens: u32) -> Result<(Rendered, u32), Halt> {
        let pinned = self.pinned();
        let outputs = self.dispatch.outputs();
        let facts = Facts {
            history: &[],
            worker_message: "",
            pinned: &pinned,
            prefix_sha: self.fitting.prefix_sha.as_deref(),
            tokens,
            limits: &self.fitting.limits,
            resolves: &|name| outputs.resolves(name),
        };
        if let Err(violation) = self.transcript.check(&rendered, &facts) {
            let message = format!("a mistake of ours in the view of the conversation, nothing was sent: {violation}");
            return Err(Halt::Failed(Cause::Environment, message));
        }
        self.fitting.prefix_sha.get_or_insert_with(|| rendered.prefix_sha.clone());
        // A second try asks for more output than the first; what is not there cannot be given.
        let left = u32::try_from(self.fitting.limits.window.saturating_sub(tokens)).unwrap_or(u32::MAX);
        if max_tokens <= left {
            return Ok((rendered, max_tokens));
        }
        let shorter = self.transcript.render(self.caller.target(), &self.options(left));
        Ok((shorter, left))
    }

    /// Journals an edit, then makes it.
    async fn edit(&mut self, edit: ViewEdit) -> Result<(), Halt> {
        let json = serde_json::to_string(&edit).expect("an edit is plain data");
        self.heard.extend(record(&self.host, Message::Result(StepResult::ViewEdit { json })).await?);
        self.transcript.edit(edit).map_err(|error| Halt::Failed(Cause::Environment, error.to_string()))
    }

    /// Swaps by the first rung that makes enough room.
    async fn swap(&mut self, before: u32, bytes: usize) -> Result<(), Halt> {
        let stamp = self.dispatch.stamp();
        let ledger = Ledger::of(self.transcript.messages(), &self.dispatch.done);
        let idle = self.idle(&stamp, &ledger);
        if idle > 1 {
            return Err(self.split("it was made shorter twice, and nothing has come of it since").await);
        }
        let next = self.transcript.view().next_index();
        let mut summary = None;
        for (rung, before) in
            [(Rung::Ledger, before), (Rung::Summary, next), (Rung::Drop, next), (Rung::Handover, next)]
        {
            // What a worker said itself helps where the ledger alone has not.
            let skipped = match rung {
                Rung::Ledger => idle > 0,
                Rung::Summary => {
                    summary = self.summary(bytes).await?;
                    summary.is_none()
                }
                Rung::Drop => false,
                // A second fresh beginning would begin like the first.
                Rung::Handover => self.transcript.view().has(Rung::Handover),
            };
            if skipped {
                continue;
            }
            let text = self.account(rung, before, &ledger, summary.as_deref());
            let edit = ViewEdit::Swap { before, rung, at: next, stamp: stamp.clone(), text };
            if self.roomy(&edit, bytes) {
                return self.edit(edit).await;
            }
        }
        Err(self.split("what has to stay fills more than half of the window").await)
    }

    /// Does an edit of a request of so many bytes make enough room?
    fn roomy(&self, edit: &ViewEdit, bytes: usize) -> bool {
        let Ok(after) = self.transcript.bytes_after(edit) else { return false };
        let left = (bytes + after).saturating_sub(self.transcript.view().bytes());
        self.fitting.limits.roomy(self.fitting.gauge.tokens(left))
    }

    /// How many of the newest swaps, without a gap, were made since anything was achieved: since the files of the
    /// worktree changed or, where they may not change, since something was read for the first time.
    fn idle(&self, stamp: &str, ledger: &Ledger) -> usize {
        let writes = self.dispatch.writes();
        let achieved = |made: &str, at: u32| {
            if writes { made != stamp || made.is_empty() } else { ledger.read.values().any(|read| read.first >= at) }
        };
        let swaps = self.transcript.view().edits().iter().rev().filter_map(|edit| match edit {
            ViewEdit::Swap { stamp, at, .. } => Some((stamp, *at)),
            ViewEdit::Mask { .. } => None,
        });
        swaps.take_while(|(made, at)| !achieved(made, *at)).count()
    }

    /// What stands in place of the messages before one.
    fn account(&self, rung: Rung, before: u32, ledger: &Ledger, summary: Option<&str>) -> String {
        let Fitting { limits, gauge, .. } = &self.fitting;
        let all = before == self.transcript.view().next_index();
        let retold_bytes = match rung {
            Rung::Ledger | Rung::Summary if all => gauge.bytes(limits.retold()),
            Rung::Drop => gauge.bytes(limits.retold() / 4),
            Rung::Ledger | Rung::Summary | Rung::Handover => 0,
        };
        let gone = |words: &String| {
            !self.task.worker_message.contains(words.as_str()) && !self.transcript.view().says(before, words)
        };
        account::text(&Account {
            before,
            ledger: &ledger.markdown(),
            summary,
            pinned: &self.pinned().into_iter().filter(gone).collect::<Vec<_>>(),
            retold: &account::retold(self.transcript.messages(), retold_bytes),
        })
    }

    /// Words that have to stay in front of the model, whatever is swapped.
    pub(super) fn pinned(&self) -> Vec<String> {
        let feedback: Vec<String> = self.task.feedback.iter().chain(&self.heard[..self.given]).cloned().collect();
        let task = self.transcript.task().into_iter();
        task.chain(brief::feedback_parts(&feedback)).chain(self.dispatch.given()).collect()
    }

    /// The model's own summary, asked on the prefix that is in the provider's cache. Calls in it are not made: it is
    /// no turn of the conversation. `None` = none came.
    async fn summary(&mut self, bytes: usize) -> Result<Option<String>, Halt> {
        let tokens = self.fitting.gauge.tokens(bytes + SUMMARY.len());
        if tokens + u64::from(SUMMARY_TOKENS) > self.fitting.limits.window {
            return Ok(None);
        }
        // It is no turn: nothing of it has to be sent again.
        let options = RequestOptions { tail: String::new(), ..self.options(SUMMARY_TOKENS) };
        let rendered = self.transcript.render_asking(SUMMARY, self.caller.target(), &options);
        let asked = self.caller.call(rendered, SUMMARY_TOKENS, self.transcript.next_index()).await;
        let (reply, row) = match asked {
            Ok(answered) => answered,
            Err(Halt::Failed(Cause::Model | Cause::RequestRefused, message)) => {
                tracing::warn!(message, "no summary came");
                return Ok(None);
            }
            Err(halt) => return Err(halt),
        };
        record(&self.host, Message::Usage(Box::new(row))).await?;
        let texts = reply.blocks.iter().filter_map(|block| match block {
            Block::Text(text) => Some(text.as_str()),
            Block::ToolUse { .. } | Block::Opaque => None,
        });
        let text = texts.collect::<Vec<_>>().join("\n\n");
        Ok(Some(cut(text.trim(), SUMMARY_BYTES_MAX).to_owned()).filter(|text| !text.is_empty()))
    }

    async fn split(&self, why: &str) -> Halt {
        let message = format!("the conversation does not fit the model's window, so nothing was sent: {why}; {SPLIT}");
        match self.bound("context_tokens", &message).await {
            Ok(()) => Halt::Failed(Cause::RequestRefused, message),
            Err(halt) => halt,
        }
    }
}
