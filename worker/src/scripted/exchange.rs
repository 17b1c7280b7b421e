//! One reply in the making: what a wire needs to word it.

use super::bill::Tokens;
use super::prompt::Prompt;
use super::script::{Block, Chosen};

/// Digits of an id: enough to tell the messages of a run apart.
const ID_DIGITS: usize = 24;

/// What was asked, what is answered, and what it costs.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    pub(super) prompt: &'a Prompt,
    pub(super) chosen: &'a Chosen,
    /// Tokens of the prompt.
    pub(super) tokens: Tokens,
    pub(super) seed: u64,
    /// The part of all ids of this reply that tells it from others.
    pub(super) id: String,
}

impl Exchange<'_> {
    /// Output tokens of the reply when it is sent to its end.
    pub(super) fn out(&self) -> u64 {
        out(self.prompt, self.chosen)
    }

    /// Those of them that are thinking.
    pub(super) fn thinking_out(&self) -> u64 {
        let thought = |block: &&Block| matches!(block, Block::Thinking(_) | Block::Redacted(_));
        if self.prompt.prewarm { 0 } else { self.chosen.blocks.iter().filter(thought).map(Block::tokens).sum() }
    }

    /// The id of a call, by the number of its block.
    pub(super) fn call_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.id)
    }

    /// The id of the request.
    pub(super) fn request_id(&self) -> String {
        request_id(&self.id)
    }
}

/// Output tokens of a reply.
pub(super) fn out(prompt: &Prompt, chosen: &Chosen) -> u64 {
    if prompt.prewarm { 0 } else { chosen.blocks.iter().map(Block::tokens).sum() }
}

/// What ids are made of: the same seed and the same request, the same ids.
pub(super) fn id(seed: u64, body: &blake3::Hash) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(body.as_bytes());
    hasher.finalize().to_hex()[..ID_DIGITS].to_owned()
}

/// The id of a request.
pub(super) fn request_id(id: &str) -> String {
    format!("req_{id}")
}
