//! Which edit is due: thresholds, hysteresis, and when to give up.
//!
//! ```text
//! 60 %  mask old results, in batches           (only where no thinking stands behind them)
//! 80 %  swap: what was said so far → the working ledger, the newest exchanges stay
//!       still > 50 %: the model sums up, on the same prefix
//!       still > 50 %, or no summary came: drop all but the beginnings of the newest results
//!       once more within one attempt: hand over to a fresh conversation, then stop
//! ```
//!
//! Percentages are of the window less the output that a reply may have. Each edit makes the provider's cache worthless
//! from its first changed message on, so edits are rare and large rather than many and small.

use serde::{Deserialize, Serialize};

use super::View;
use crate::prefix::Role;

/// Tokens of a window that nobody has told us: what the smallest of today's hosted models take.
pub const WINDOW_DEFAULT: u64 = 200_000;
/// Percent of the budget at which old results are masked: early enough that a batch is worth its rewriting.
const MASK_AT: u64 = 60;
/// Percent at which the state is swapped: a turn's results have to fit above it.
const SWAP_AT: u64 = 80;
/// Percent that a swap has to come below: from there a worker has as much room again before the next one.
const SWAPPED_BELOW: u64 = 50;
/// Percent that the newest results may fill; they are what the next reply is about, and are spared by masks. They are
/// written to the cache again with each batch and read with each turn after it: of 300 turns 25 % cost 0.62 of the raw
/// history, 12 % (22,000 tokens of the usual window, some thirty readings) 0.50.
const SPARED: u64 = 12;
/// Percent that the newest exchanges may fill after a swap.
const KEPT: u64 = 20;
/// Tokens that a batch of masks has to bring, so that the cache is seldom broken.
const RECLAIMED_MIN: u64 = 20_000;
/// Part of a small budget that a batch has to bring instead.
const RECLAIMED_PART: u64 = 6;
/// Percent that the results of one turn may fill together: with what is there at 80 % they fit.
const TURN: u64 = 18;
/// Tokens of a thousand bytes until a provider has counted: dense code and JSON have up to a third.
const TOKENS_PER_KB: u64 = 330;
/// Least and most tokens of a thousand bytes that are believed: one token has 2 to 8 bytes.
const TOKENS_PER_KB_RANGE: (u64, u64) = (125, 500);

/// What fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Tokens of the model's window.
    pub window: u64,
    /// Tokens of the output of a reply.
    pub output: u64,
}

impl Limits {
    /// Tokens that a prompt may have.
    pub fn budget(&self) -> u64 {
        self.window.saturating_sub(self.output)
    }

    fn part(&self, percent: u64) -> u64 {
        self.budget() * percent / 100
    }

    /// Tokens that the results of one turn may have.
    pub fn turn(&self) -> u64 {
        self.part(TURN)
    }

    /// Has a swap made enough room?
    pub fn roomy(&self, tokens: u64) -> bool {
        tokens <= self.part(SWAPPED_BELOW)
    }

    /// Tokens that an account of the newest exchanges may have.
    pub fn retold(&self) -> u64 {
        self.part(KEPT)
    }
}

/// Estimates tokens from bytes, corrected by what the provider has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge(u64);

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge(TOKENS_PER_KB)
    }
}

impl Gauge {
    /// Tokens of so many bytes.
    pub fn tokens(&self, bytes: usize) -> u64 {
        (bytes as u64 * self.0).div_ceil(1000)
    }

    /// Bytes that have so many tokens.
    pub fn bytes(&self, tokens: u64) -> usize {
        usize::try_from(tokens * 1000 / self.0).unwrap_or(usize::MAX)
    }

    /// The provider has counted so many tokens in a request of so many bytes.
    pub fn learn(&mut self, bytes: usize, tokens: u64) {
        if bytes > 0 && tokens > 0 {
            let (least, most) = TOKENS_PER_KB_RANGE;
            self.0 = (tokens * 1000).div_ceil(bytes as u64).clamp(least, most);
        }
    }
}

/// What is to be done before a request is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// It can be sent.
    Nothing,
    /// Results before this message are masked.
    Mask(u32),
    /// Messages before this one are swapped for the ledger.
    Swap(u32),
}

/// The edit that is due for a request of so many tokens.
pub fn due(view: &View, tokens: u64, limits: &Limits, gauge: &Gauge) -> Due {
    if tokens <= limits.part(MASK_AT) {
        return Due::Nothing;
    }
    if let Some(before) = mask(view, limits, gauge) {
        return Due::Mask(before);
    }
    if tokens <= limits.part(SWAP_AT) { Due::Nothing } else { Due::Swap(kept_from(view, limits, gauge)) }
}

/// Where a batch of masks ends that brings enough and spares the newest results.
fn mask(view: &View, limits: &Limits, gauge: &Gauge) -> Option<u32> {
    let mut spared = 0;
    let mut before = None;
    for part in view.parts.iter().rev().filter(|part| !part.answers.is_empty()) {
        spared += part.bytes;
        if before.is_some() || gauge.tokens(spared) > limits.part(SPARED) {
            // The newest message with results is never masked: nobody has seen it yet.
            before = before.or(Some(part.index + 1)).filter(|before| *before < view.next);
            break;
        }
    }
    let before = before?;
    let reclaimed: usize = view.maskable(before).map(|part| part.maskable).sum();
    let enough = RECLAIMED_MIN.min(limits.budget() / RECLAIMED_PART);
    let edit = super::ViewEdit::Mask { before };
    (gauge.tokens(reclaimed) >= enough && view.fits(&edit).is_ok()).then_some(before)
}

/// The first message that stays after a swap: the newest exchanges, as far as they fit and hold no thinking. A view
/// that ends with bound thinking keeps none: its newest exchange is told in words.
fn kept_from(view: &View, limits: &Limits, gauge: &Gauge) -> u32 {
    let (mut from, mut bytes) = (view.next, 0);
    for part in view.parts.iter().rev() {
        bytes += part.bytes;
        if part.told || part.bound || gauge.tokens(bytes) > limits.part(KEPT) {
            break;
        }
        if part.role == Role::Assistant {
            from = part.index;
        }
    }
    from
}
