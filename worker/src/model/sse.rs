//! Server-sent events, decoded from bytes as they come.
//!
//! Lines end with CR, LF or both, a chunk may end anywhere (inside a character, too), several `data` fields of
//! an event are joined by a line feed, and an event without the blank line after it is never given out.
//!
//! A line that lies whole in one chunk is never copied; what is held between two chunks is one unfinished line
//! and the data of one unfinished event, both within one bound.

use std::ops::ControlFlow;

use memchr::memchr2;
use thiserror::Error;

/// Bound on one event: the largest block a provider sends whole is far smaller, and a stream with no line end
/// must not fill the memory.
pub const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The mark that a stream may start with.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// One event, as long as the decoder is not moved on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its name; empty where the stream gives none.
    pub name: &'a str,
    /// Its data.
    pub data: &'a str,
}

/// Why a stream cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SseError {
    /// One event is larger than the bound.
    #[error("decode the event stream: an event is larger than {EVENT_BYTES_MAX} bytes")]
    TooLarge,
    /// An event is not text.
    #[error("decode the event stream: an event is not UTF-8")]
    NotText,
}

/// The state between two chunks.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The start of a line that has not ended.
    line: Vec<u8>,
    name: String,
    data: String,
    /// Has a `data` field come since the last event?
    has_data: bool,
    /// The last byte was a CR: an LF that follows belongs to the same line end.
    after_cr: bool,
    /// The first line is behind us, so a BOM is no longer one.
    started: bool,
}

impl Decoder {
    /// Takes the next bytes and gives each event that they complete to `each`, until it breaks. After a break or
    /// an error the decoder is of no more use.
    ///
    /// # Errors
    /// Fails where an event is larger than [`EVENT_BYTES_MAX`] or no text.
    pub fn push<B>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Event<'_>) -> ControlFlow<B>,
    ) -> Result<Option<B>, SseError> {
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(at) = memchr2(b'\n', b'\r', rest) {
            let complete = if self.line.is_empty() {
                self.end_line(&rest[..at])?
            } else {
                self.hold(&rest[..at])?;
                let line = std::mem::take(&mut self.line);
                let complete = self.end_line(&line)?;
                self.line = line;
                self.line.clear();
                complete
            };
            let ended_by_cr = rest[at] == b'\r';
            rest = &rest[at + 1..];
            if ended_by_cr {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if complete {
                let broke = each(Event { name: &self.name, data: &self.data });
                self.name.clear();
                self.data.clear();
                self.has_data = false;
                if let ControlFlow::Break(value) = broke {
                    return Ok(Some(value));
                }
            }
        }
        self.hold(rest)?;
        Ok(None)
    }

    /// Bytes that are held until more come.
    pub fn held_bytes(&self) -> usize {
        self.line.len() + self.name.len() + self.data.len()
    }

    fn hold(&mut self, part: &[u8]) -> Result<(), SseError> {
        if self.held_bytes() + part.len() > EVENT_BYTES_MAX {
            return Err(SseError::TooLarge);
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Takes one line; is an event complete with it?
    fn end_line(&mut self, bytes: &[u8]) -> Result<bool, SseError> {
        let first = !std::mem::replace(&mut self.started, true);
        let bytes = if first { bytes.strip_prefix(BOM).unwrap_or(bytes) } else { bytes };
        if bytes.is_empty() {
            if !self.has_data {
                self.name.clear();
            }
            return Ok(self.has_data);
        }
        let (field, value) = match bytes.iter().take(6).position(|byte| *byte == b':') {
            Some(at) => (&bytes[..at], bytes[at + 1..].strip_prefix(b" ").unwrap_or(&bytes[at + 1..])),
            None => (bytes, &bytes[bytes.len()..]),
        };
        match field {
            b"event" => text(value)?.clone_into(&mut self.name),
            b"data" => {
                // What is held may include this very line, which does not count twice.
                let held = self.name.len() + self.data.len() + value.len();
                if held > EVENT_BYTES_MAX {
                    return Err(SseError::TooLarge);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(text(value)?);
            }
            // A comment (empty name), `id`, `retry` and what a later version adds.
            _ => {}
        }
        Ok(false)
    }
}

fn text(bytes: &[u8]) -> Result<&str, SseError> {
    std::str::from_utf8(bytes).map_err(|_| SseError::NotText)
}

#[cfg(test)]
mod tests;
