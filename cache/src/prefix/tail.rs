//! The tail: words at the very end of a request, behind the last mark, that are as a rule sent once and kept nowhere.
//!
//! Bytes behind the last mark cost no cache entry: the next request goes on from the mark, without them. But there
//! are receivers for whom what stood before a reply is part of it:
//!
//! - thinking that is bound to its place is refused once anything before it has changed, and
//! - a cache that holds whole messages finds nothing of a request whose last message is gone.
//!
//! There the tail becomes part of the conversation: the reply is journaled with the tail that stood before it, and
//! every later request to the same receiver holds it at that place. So history stays append-only for all of them.

use std::borrow::Cow;

use super::target::{BriefPlace, Codec, Target};
use super::{RawMessage, Role, push_string};

/// Between the words of a message and a tail that shares its text.
const BETWEEN: &str = "\n\n";

impl Target {
    /// Does a reply of this receiver need the tail that stood before it? `opaque`: it holds blocks that only their maker
    /// understands.
    pub fn keeps_tail(&self, opaque: bool) -> bool {
        match self.codec {
            Codec::AnthropicMessages => opaque,
            Codec::OpenaiChat => self.dialect.breakpoint || self.dialect.brief == BriefPlace::Message,
            Codec::OpenaiResponses => self.dialect.breakpoint,
        }
    }
}

/// The text of a reply, as it is journaled where it needs the tail that stood before it.
///
/// # Panics
/// Panics where `json` is no JSON object.
pub fn with_tail(json: &str, tail: &str) -> String {
    if tail.is_empty() {
        return json.to_owned();
    }
    let open = json.trim_end().strip_suffix('}').expect("a reply is a JSON object");
    let mut out = format!("{open},\"tail\":");
    push_string(&mut out, tail);
    out.push('}');
    out
}

/// Replies since the newest tail that a request of this history holds anyway; `None` = it holds none.
pub fn replies_since_tail(history: &[RawMessage], target: &Target, model: &str) -> Option<usize> {
    let replies = history.iter().rev().filter(|message| message.role == Role::Assistant);
    let mut since = 0;
    for reply in replies {
        since += 1;
        if !kept(reply, target, model).is_empty() {
            return Some(since);
        }
    }
    None
}

fn kept<'a>(reply: &'a RawMessage, target: &Target, model: &str) -> &'a str {
    match &reply.tail {
        Some(tail) if target.takes(reply.origin(), model) => tail,
        Some(_) | None => "",
    }
}

/// What stands at the end of a message: the first one (0) or `history[index - 1]`. That is the tail which the reply to
/// it needs, or at the end of the request the tail of this one.
pub(super) fn behind<'a>(
    history: &'a [RawMessage],
    index: usize,
    target: &Target,
    model: &str,
    now: &'a str,
) -> &'a str {
    let is_user = index == 0 || history.get(index - 1).is_some_and(|message| message.role == Role::User);
    match history.get(index) {
        _ if !is_user => "",
        Some(reply) if reply.role == Role::Assistant => kept(reply, target, model),
        Some(_) => "",
        None => now,
    }
}

/// Words and a tail in one text.
pub(super) fn joined<'a>(words: &'a str, tail: &str) -> Cow<'a, str> {
    if tail.is_empty() { Cow::Borrowed(words) } else { Cow::Owned(format!("{words}{BETWEEN}{tail}")) }
}

/// Ends the content of a message on the Anthropic wire, with a tail as its last block.
pub(super) fn close(out: &mut String, tail: &str) {
    if !tail.is_empty() {
        out.push_str(",{\"type\":\"text\",\"text\":");
        push_string(out, tail);
        out.push('}');
    }
    out.push_str("]}");
}
