//! What can go wrong with a reply, as a script orders it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::prompt::Wire;
use super::refusal::Refusal;

/// What goes wrong with a reply.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    /// Answer with this status instead of a message.
    pub(super) status: Option<u16>,
    /// Seconds for the header `retry-after`.
    pub(super) retry_after: Option<f64>,
    /// For the header `retry-after-ms`.
    pub(super) retry_after_ms: Option<u64>,
    /// For the header `x-should-retry`.
    pub(super) should_retry: Option<bool>,
    /// Name of the error; default: the usual one of the status.
    pub(super) kind: Option<String>,
    /// Finer than the name, such as `enforced_spend_limit_reached` or `insufficient_quota`.
    pub(super) code: Option<String>,
    /// Words of the error.
    pub(super) message: Option<String>,
    /// With `status`: a page of a proxy, not an error object.
    #[serde(default)]
    pub(super) page: bool,
    /// Close the connection with no answer at all.
    #[serde(default)]
    pub(super) reset: bool,
    /// Close the connection after so many bytes of the reply.
    pub(super) cut_after_bytes: Option<usize>,
    /// Send nothing more after so many bytes of the reply.
    pub(super) stall_after_bytes: Option<usize>,
    /// How long a stall lasts before the reply goes on; default: one hour.
    pub(super) stall_ms: Option<u64>,
    /// End the stream with an error event of this type in place of the end of the message.
    pub(super) error_event: Option<String>,
    /// Send the reply in pieces of so many bytes.
    pub(super) chunk_bytes: Option<usize>,
    /// Time before every event that carries output.
    #[serde(default)]
    pub(super) event_ms: u64,
    /// Lines end with CR and LF.
    #[serde(default)]
    pub(super) crlf: bool,
    /// Signs of life after every event.
    #[serde(default)]
    pub(super) pings: u8,
    /// Answer with one JSON object, though a stream was asked for.
    #[serde(default)]
    pub(super) whole: bool,
    /// Types of events that are sent twice.
    #[serde(default)]
    pub(super) duplicate: Vec<String>,
    /// An event and fields that nobody knows.
    #[serde(default)]
    pub(super) unknown: bool,
}

impl Fault {
    /// The answer in place of a reply, if this is one.
    pub(super) fn refusal(&self, wire: Wire) -> Option<Refusal> {
        let status = self.status?;
        let mut headers = Vec::new();
        headers.extend(self.retry_after.map(|seconds| ("retry-after", seconds.to_string())));
        headers.extend(self.retry_after_ms.map(|ms| ("retry-after-ms", ms.to_string())));
        headers.extend(self.should_retry.map(|retry| ("x-should-retry", retry.to_string())));
        let usual = (status == 429 && wire != Wire::Messages).then(|| "rate_limit_exceeded".to_owned());
        Some(Refusal {
            status,
            kind: self.kind.clone().unwrap_or_default(),
            code: self.code.clone().or(usual).map(String::into_boxed_str),
            param: None,
            message: self.message.clone().unwrap_or_else(|| format!("the script answers {status}")),
            headers,
            page: self.page,
        })
    }

    /// What is wrong with it, if something is.
    pub(super) fn mistake(&self) -> Option<&'static str> {
        if self.status.is_some_and(|status| !(300..=599).contains(&status)) {
            return Some("`status` has to be one of 300 to 599");
        }
        if self.retry_after.is_some_and(|seconds| !(0.0..=1e9).contains(&seconds)) {
            return Some("`retry_after` has to be a number of seconds");
        }
        (self.chunk_bytes == Some(0)).then_some("`chunk_bytes` has to be at least 1")
    }

    /// In one line, for the journal; empty = nothing goes wrong.
    pub(super) fn describe(&self) -> String {
        let mut words = Vec::new();
        words.extend(self.status.map(|status| format!("status {status}")));
        words.extend(self.cut_after_bytes.map(|bytes| format!("cut after {bytes}")));
        words.extend(self.stall_after_bytes.map(|bytes| format!("stall after {bytes}")));
        words.extend(self.error_event.as_ref().map(|kind| format!("error event {kind}")));
        words.extend(self.chunk_bytes.map(|bytes| format!("chunks of {bytes}")));
        for (set, word) in [
            (self.reset, "reset"),
            (self.crlf, "crlf"),
            (self.pings > 0, "pings"),
            (self.whole, "whole"),
            (!self.duplicate.is_empty(), "duplicates"),
            (self.unknown, "unknown"),
        ] {
            if set {
                words.push(word.to_owned());
            }
        }
        words.join(", ")
    }
}
