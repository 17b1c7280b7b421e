//! What a request shows of a conversation: its history as it is, but for edits that are made once and kept.
//!
//! History is append-only. A view is a function of it and of a list of edits, so whoever has both (after a crash, in
//! a log) gets the same bytes. An edit is journaled before a request shows it. There are two kinds:
//!
//! - *mask*: results of calls before a message are told in one line. It keeps every call and its answer.
//! - *swap*: all messages before one are replaced by an account of them: from the working ledger, with a summary of
//!   the model's, or with what little fits.
//!
//! Two rules limit where an edit may be made. A call and its result stay together, so a swap ends before a message of
//! the model or at the end of the history. And thinking is bound to the bytes before it: no message that holds a block
//! only its maker reads may stand behind a change. Such a message goes as a whole, or nothing before it changes.
//!
//! [`ladder`] decides which edit is due, [`check`] what must hold of every request.

pub mod check;
pub mod ladder;
mod part;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::part::{Part, masked, restubbed};
use crate::prefix::{PrefixError, RawMessage, Role};
use crate::reads::{Range, Reads};

/// Why a swap was made; each is one rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// From the working ledger alone.
    Ledger,
    /// With a summary in the model's words.
    Summary,
    /// With the beginnings of the newest results, nothing else.
    Drop,
    /// The conversation begins anew from its ledger.
    Handover,
}

/// One change of what is shown; a journal keeps it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum ViewEdit {
    /// Results in messages with an index below are told in one line.
    Mask {
        /// Index of a message; the first one of a conversation has 0.
        before: u32,
    },
    /// Messages 1 up to (not including) one are replaced by a message of the user.
    Swap {
        /// Index of the first message that stays; that of the next one to come = all are replaced.
        before: u32,
        /// Why.
        rung: Rung,
        /// How many messages there were when it was made.
        at: u32,
        /// What the worktree looked like then, as a hash; empty = nobody looked.
        stamp: String,
        /// What is told instead.
        text: String,
    },
}

impl ViewEdit {
    /// Index of the first message that it leaves alone.
    pub fn before(&self) -> u32 {
        match self {
            ViewEdit::Mask { before } | ViewEdit::Swap { before, .. } => *before,
        }
    }
}

/// Why an edit cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// It ends where no message is or where less would be replaced than is already.
    #[error("edit the view: there is no message {0} to end before")]
    Place(u32),
    /// It would part a call from its result.
    #[error("edit the view: message {0} answers calls that would be gone")]
    Parts(u32),
    /// Thinking would stand behind a change.
    #[error("edit the view: message {0} holds blocks that are bound to what stands before them")]
    Bound(u32),
}

/// A history that does not fit its edits.
#[derive(Debug, Error)]
pub enum ViewError {
    /// A message cannot be read.
    #[error(transparent)]
    Message(#[from] PrefixError),
    /// An edit cannot be made.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// The messages of a request after the first one, and what is known of them.
#[derive(Debug, Clone, Default)]
pub struct View {
    edits: Vec<ViewEdit>,
    messages: Vec<RawMessage>,
    parts: Vec<Part>,
    reads: Reads,
    /// Index of the next message of the history.
    next: u32,
    /// Hashes of the messages of the newest request that was checked, and the edits that it showed.
    sent: (Vec<blake3::Hash>, usize),
    /// Edits whose repetition was compared with what is here.
    compared: usize,
}

impl View {
    /// The view of a history (all messages after the first one) with the edits that were made of it.
    ///
    /// # Errors
    /// Fails where an edit does not fit.
    pub fn restore(history: &[RawMessage], edits: Vec<ViewEdit>) -> Result<View, EditError> {
        let mut view = View { next: 1, ..View::default() };
        for message in history {
            view.push(message);
        }
        for edit in edits {
            view.place(&edit)?;
            view.edits.push(edit);
        }
        view.rebuild(history);
        Ok(view)
    }

    /// A message has joined the history.
    pub fn push(&mut self, message: &RawMessage) {
        let before = self.parts.last().filter(|part| part.role == Role::Assistant);
        let part = Part::of(message, self.next, before);
        for read in part.readings(message) {
            self.reads.put(read.range, &read.content, self.next);
        }
        self.messages.push(message.clone());
        self.parts.push(part);
        self.next += 1;
    }

    /// Makes an edit; `history` is all messages after the first one.
    ///
    /// # Errors
    /// Fails where it does not fit, and changes nothing then.
    pub fn edit(&mut self, history: &[RawMessage], edit: ViewEdit) -> Result<(), EditError> {
        self.fits(&edit)?;
        self.edits.push(edit);
        self.rebuild(history);
        Ok(())
    }

    /// May an edit be made?
    ///
    /// # Errors
    /// Says why not.
    pub fn fits(&self, edit: &ViewEdit) -> Result<(), EditError> {
        self.place(edit)?;
        let before = edit.before();
        let changed = match edit {
            // Where nothing is long enough to be told in a line, nothing changes.
            ViewEdit::Mask { .. } => self.maskable(before).map(|part| part.index).next(),
            ViewEdit::Swap { .. } => Some(before),
        };
        let Some(changed) = changed else { return Ok(()) };
        // The message that is masked first is the user's; what is bound to it stands behind it.
        match self.parts.iter().find(|part| part.index >= changed && part.bound && !part.told) {
            Some(part) => Err(EditError::Bound(part.index)),
            None => Ok(()),
        }
    }

    fn place(&self, edit: &ViewEdit) -> Result<(), EditError> {
        let before = edit.before();
        let so_far = self.edits.iter().filter(|made| matches!(made, ViewEdit::Swap { .. }));
        let least = so_far.map(ViewEdit::before).max().unwrap_or(1);
        if before < least || before > self.next {
            return Err(EditError::Place(before));
        }
        let first = self.parts.iter().find(|part| part.index == before && !part.told);
        match (edit, first) {
            (ViewEdit::Swap { .. }, Some(part)) if part.role == Role::User && !part.answers.is_empty() => {
                Err(EditError::Parts(before))
            }
            (ViewEdit::Mask { .. } | ViewEdit::Swap { .. }, _) => Ok(()),
        }
    }

    /// Builds everything anew from the history and the edits.
    fn rebuild(&mut self, history: &[RawMessage]) {
        let Shown { messages, parts, reads } = show(history, &self.edits);
        (self.messages, self.parts, self.reads) = (messages, parts, reads);
    }

    /// The messages to be sent after the first one.
    pub fn messages(&self) -> &[RawMessage] {
        &self.messages
    }

    /// All edits so far, oldest first.
    pub fn edits(&self) -> &[ViewEdit] {
        &self.edits
    }

    /// What of the files is in front of the model.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Bytes of the messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.as_str().len()).sum()
    }

    /// Index of the next message of the history.
    pub fn next_index(&self) -> u32 {
        self.next
    }

    /// Swaps so far.
    pub fn swaps(&self) -> usize {
        self.edits.iter().filter(|edit| matches!(edit, ViewEdit::Swap { .. })).count()
    }

    /// Was a swap of this kind made?
    pub fn has(&self, wanted: Rung) -> bool {
        self.edits.iter().any(|edit| matches!(edit, ViewEdit::Swap { rung, .. } if *rung == wanted))
    }

    /// Do these words stand in a text of the user, in a message with this index or a later one?
    pub fn says(&self, from: u32, words: &str) -> bool {
        let later = self.parts.iter().filter(|part| part.index >= from && !part.told);
        later.flat_map(|part| &part.texts).any(|text| text.contains(words))
    }

    /// Names of kept outputs that it points to.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| &part.outputs).map(String::as_str)
    }

    /// Parts that a mask before a message would change.
    fn maskable(&self, before: u32) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.index < before && !part.told && !part.masked && part.maskable > 0)
    }
}

/// What a request shows of a history.
struct Shown {
    messages: Vec<RawMessage>,
    parts: Vec<Part>,
    reads: Reads,
}

/// The view as a function of history and edits. Only the newest swap counts, it tells of everything before it, and
/// of the masks the farthest.
fn show(history: &[RawMessage], edits: &[ViewEdit]) -> Shown {
    let mask = edits.iter().filter(|edit| matches!(edit, ViewEdit::Mask { .. })).map(ViewEdit::before).max();
    let swap = edits.iter().rev().find_map(|edit| match edit {
        ViewEdit::Swap { before, text, .. } => Some((*before, text)),
        ViewEdit::Mask { .. } => None,
    });
    let mut shown = Shown { messages: Vec::new(), parts: Vec::new(), reads: Reads::default() };
    let first = swap.map_or(1, |(before, _)| before);
    if let Some((before, text)) = swap {
        let message = part::told(text);
        shown.parts.push(Part { told: true, ..Part::of(&message, before, None) });
        shown.messages.push(message);
    }
    let mut in_full = std::collections::BTreeSet::new();
    for (index, message) in (1_u32..).zip(history).skip(first as usize - 1) {
        let before = shown.parts.last().filter(|part| part.role == Role::Assistant).cloned();
        let plain = Part::of(message, index, before.as_ref());
        let is_masked = mask.is_some_and(|mask| index < mask) && plain.maskable > 0;
        let (message, mut part) = if is_masked {
            let message = masked(message, before.as_ref());
            (message.clone(), Part { masked: true, ..Part::of(&message, index, before.as_ref()) })
        } else if plain.stubs.iter().any(|named| *named != index && !in_full.contains(named)) {
            // The copy that it points to is gone; the reading can be asked for again.
            let message = restubbed(message, before.as_ref(), |named| named == index || in_full.contains(&named));
            (message.clone(), Part::of(&message, index, before.as_ref()))
        } else {
            in_full.insert(index);
            (message.clone(), plain)
        };
        if !part.masked {
            for read in part.readings(&message) {
                shown.reads.put(read.range, &read.content, index);
            }
            in_full.insert(index);
        }
        part.index = index;
        shown.messages.push(message);
        shown.parts.push(part);
    }
    shown
}

/// A reading that stands in a message.
struct Reading {
    range: Range,
    content: String,
}

#[cfg(test)]
mod tests;
