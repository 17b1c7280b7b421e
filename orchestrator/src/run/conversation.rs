//! The conversation of a step as the journal has it: for a worker that goes on with it, and for whoever looks back.

use std::collections::BTreeMap;

use wattle_cache::offload;
use wattle_worker::outcome::Evidence;

use crate::ids::Blob;
use crate::journal::blob::Blobs;
use crate::journal::record::AttemptRecord;

/// Bytes of long outputs that a worker is given back: what it keeps itself. The newest ones come first.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Messages, edits of what is shown of them, and what the tools did.
pub(crate) struct Conversation {
    /// By index.
    pub(crate) messages: Vec<Blob>,
    /// Oldest first.
    pub(crate) views: Vec<Blob>,
    /// By the ids of calls, in the order they ended.
    tools: Vec<(String, Blob)>,
}

impl Conversation {
    /// The conversation of some attempts. One that goes on with an earlier one's numbers its messages on from there;
    /// one that begins anew begins at 0.
    pub(crate) fn of(attempts: &[AttemptRecord]) -> Conversation {
        let (mut messages, mut views, mut tools) = (BTreeMap::new(), Vec::new(), Vec::new());
        for attempt in attempts {
            if attempt.messages.contains_key(&0) {
                messages.clear();
                views.clear();
                tools.clear();
            }
            messages.extend(attempt.messages.clone());
            views.extend(attempt.views.clone());
            // `execute` and `check` are no calls, and no message has them for an id.
            tools.extend(attempt.evidence.clone());
        }
        Conversation { messages: messages.into_values().collect(), views, tools }
    }

    /// What the tools did, each output only where it was too long to be shown. What cannot be read is left out: it
    /// serves the working ledger, and the work goes on without.
    pub(crate) fn evidence(&self, blobs: &Blobs) -> Vec<(String, Evidence)> {
        let mut room = if self.messages.is_empty() { 0 } else { OUTPUT_BYTES_MAX };
        let mut all: Vec<(String, Evidence)> = Vec::new();
        for (id, blob) in self.tools.iter().rev().filter(|_| !self.messages.is_empty()) {
            let Ok(text) = blobs.text(blob) else { continue };
            let Ok(mut evidence) = serde_json::from_str::<Evidence>(&text) else { continue };
            if offload::too_long(&evidence.output) && evidence.output.len() <= room {
                room -= evidence.output.len();
            } else {
                evidence.output.clear();
            }
            all.push((id.clone(), evidence));
        }
        all.reverse();
        all
    }
}
