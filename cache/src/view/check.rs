//! What must hold of every request. A violation is a mistake of ours: the request is not sent, the step stops.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use super::ladder::Limits;
use super::{View, show};
use crate::prefix::{MARKS_MAX, RawMessage, Rendered, Role};

/// Messages that a provider takes in one request.
const MESSAGES_MAX: usize = 100_000;
/// Bytes that a provider takes in one request.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What every mark in a body contains; in a string its quotes would be escaped.
const MARK: &str = "\"cache_control\":{\"type\":\"ephemeral\"";

/// What is asked of a request beside its view.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// All messages after the first one.
    pub history: &'a [RawMessage],
    /// The worker's own part of the first message: it is in every request.
    pub worker_message: &'a str,
    /// Words that have to be in front of the model (feedback, instructions given on the way).
    pub pinned: &'a [String],
    /// Hash of the shared part of the first request; `None` = this is the first one.
    pub prefix_sha: Option<&'a str>,
    /// Estimate of the request's tokens.
    pub tokens: u64,
    /// What fits.
    pub limits: &'a Limits,
    /// Can an output be read and searched under this name?
    pub resolves: &'a dyn Fn(&str) -> bool,
}

impl fmt::Debug for Facts<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Facts").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// 1. A call without its result, or a result without its call.
    #[error("pairing: message {0} does not answer the calls before it")]
    Pairing(u32),
    /// 2. Messages out of order, or no message of the user at the end.
    #[error("order: message {0} stands in the wrong place")]
    Order(u32),
    /// 3. Words that have to be there are not.
    #[error("pinned: {0:?} is not in the request")]
    Pinned(String),
    /// 4. A part that was sent before has changed without an edit.
    #[error("prefix: {0} has changed although no edit says so")]
    Prefix(String),
    /// 5. It is larger than it may be.
    #[error("bounds: {0}")]
    Bounds(String),
    /// 6. A stub or a preview points to what is not there.
    #[error("stub: {0} is not there")]
    Stub(String),
    /// 7. The same edits of the same history give something else.
    #[error("idempotence: message {0} comes out differently the second time")]
    Idempotence(usize),
    /// 8. Breakpoints are too many, or the shared part ends nowhere.
    #[error("breakpoints: {0}")]
    Breakpoints(String),
    /// 9. The registry of readings counts on a message that is not shown in full.
    #[error("registry: it counts on message {0}, which is not in the view")]
    Registry(u32),
}

/// Checks all nine, and remembers what is sent so that the next request can be compared with it.
///
/// # Errors
/// Gives the first violation.
pub fn check(view: &mut View, rendered: &Rendered, facts: &Facts<'_>) -> Result<(), Violation> {
    pairing(view)?;
    order(view)?;
    pinned(view, facts)?;
    prefix(view, rendered, facts)?;
    bounds(view, rendered, facts)?;
    stubs(view, facts)?;
    idempotence(view, facts)?;
    breakpoints(rendered)?;
    registry(view)?;
    view.sent = (view.parts.iter().map(|part| part.hash).collect(), view.edits.len());
    Ok(())
}

fn pairing(view: &View) -> Result<(), Violation> {
    let mut open: Vec<&str> = Vec::new();
    for part in &view.parts {
        for id in &part.answers {
            match open.iter().position(|asked| asked == id) {
                Some(at) => drop(open.swap_remove(at)),
                None => return Err(Violation::Pairing(part.index)),
            }
        }
        if !open.is_empty() {
            return Err(Violation::Pairing(part.index));
        }
        open.extend(part.calls.iter().map(|call| call.id.as_str()));
    }
    if open.is_empty() { Ok(()) } else { Err(Violation::Pairing(view.next)) }
}

fn order(view: &View) -> Result<(), Violation> {
    for (number, pair) in view.parts.windows(2).enumerate() {
        let follows = if pair[0].told { pair[1].index == pair[0].index } else { pair[1].index == pair[0].index + 1 };
        if !follows || pair[1].told {
            return Err(Violation::Order(pair[1].index));
        }
        if pair[0].role == Role::Assistant && pair[1].role == Role::Assistant {
            return Err(Violation::Order(u32::try_from(number).unwrap_or(u32::MAX)));
        }
    }
    let shown_to = view.parts.last().map_or(1, |part| if part.told { part.index } else { part.index + 1 });
    if shown_to != view.next {
        return Err(Violation::Order(shown_to));
    }
    match view.parts.last() {
        Some(part) if part.role == Role::Assistant => Err(Violation::Order(part.index)),
        Some(_) | None => Ok(()),
    }
}

fn pinned(view: &View, facts: &Facts<'_>) -> Result<(), Violation> {
    let there = |words: &str| {
        facts.worker_message.contains(words)
            || view.parts.iter().flat_map(|part| &part.texts).any(|text| text.contains(words))
    };
    match facts.pinned.iter().find(|words| !there(words)) {
        Some(words) => Err(Violation::Pinned(crate::offload::cut(words, 80).to_owned())),
        None => Ok(()),
    }
}

fn prefix(view: &View, rendered: &Rendered, facts: &Facts<'_>) -> Result<(), Violation> {
    if facts.prefix_sha.is_some_and(|first| first != rendered.prefix_sha) {
        return Err(Violation::Prefix("the shared part".to_owned()));
    }
    let (sent, edits) = &view.sent;
    if *edits != view.edits.len() {
        return Ok(());
    }
    let same = sent.iter().zip(&view.parts).take_while(|(sent, part)| **sent == part.hash).count();
    if same < sent.len() { Err(Violation::Prefix(format!("message {same} of the view"))) } else { Ok(()) }
}

fn bounds(view: &View, rendered: &Rendered, facts: &Facts<'_>) -> Result<(), Violation> {
    let Facts { tokens, limits, .. } = facts;
    if view.messages.len() > MESSAGES_MAX || rendered.bytes.len() > BYTES_MAX {
        return Err(Violation::Bounds(format!("{} messages, {} bytes", view.messages.len(), rendered.bytes.len())));
    }
    if *tokens > limits.budget() {
        return Err(Violation::Bounds(format!("about {tokens} tokens of at most {}", limits.budget())));
    }
    Ok(())
}

fn stubs(view: &View, facts: &Facts<'_>) -> Result<(), Violation> {
    let full: BTreeSet<u32> = full(view);
    for part in &view.parts {
        if let Some(named) = part.stubs.iter().find(|named| !full.contains(named)) {
            return Err(Violation::Stub(format!("message {named}")));
        }
        if let Some(name) = part.outputs.iter().find(|name| !(facts.resolves)(name)) {
            return Err(Violation::Stub(name.clone()));
        }
    }
    Ok(())
}

/// Messages that are shown in full.
fn full(view: &View) -> BTreeSet<u32> {
    view.parts.iter().filter(|part| !part.masked && !part.told).map(|part| part.index).collect()
}

/// Compared after every edit; between edits a view only grows, which the fourth one looks at.
fn idempotence(view: &mut View, facts: &Facts<'_>) -> Result<(), Violation> {
    if view.compared == view.edits.len() {
        return Ok(());
    }
    let again = show(facts.history, &view.edits);
    let differs = again.messages.len() != view.messages.len();
    let at = again.messages.iter().zip(&view.messages).position(|(again, here)| again != here);
    match at.or(differs.then_some(again.messages.len())) {
        Some(at) => Err(Violation::Idempotence(at)),
        None => {
            view.compared = view.edits.len();
            Ok(())
        }
    }
}

fn breakpoints(rendered: &Rendered) -> Result<(), Violation> {
    let body = std::str::from_utf8(&rendered.bytes)
        .map_err(|error| Violation::Breakpoints(format!("the body is no text: {error}")))?;
    let marks = body.matches(MARK).count();
    if marks > MARKS_MAX {
        return Err(Violation::Breakpoints(format!("{marks} marks, {MARKS_MAX} are allowed")));
    }
    if rendered.prefix_len == 0 || rendered.prefix_len > rendered.bytes.len() {
        return Err(Violation::Breakpoints(format!("the shared part ends at byte {}", rendered.prefix_len)));
    }
    Ok(())
}

fn registry(view: &View) -> Result<(), Violation> {
    let full = full(view);
    match view.reads.messages().find(|message| !full.contains(message)) {
        Some(message) => Err(Violation::Registry(message)),
        None => Ok(()),
    }
}
