//! Server-sent events, decoded from bytes as they come.
//!
//! Lines end with CR, LF or both, a chunk may end anywhere (inside a character, too), several `data` fields of
//! an event are joined by a line feed, and an event without the blank line after it is never given out.

use thiserror::Error;

/// Bound on one event: the largest block a provider sends whole is far smaller, and a stream with no line end
/// must not fill the memory.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The mark that a stream may start with.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its name; empty where the stream gives none.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: String,
}

/// Why a stream cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SseError {
    /// One event is larger than the bound.
    #[error("decode the event stream: an event is larger than {EVENT_BYTES_MAX} bytes")]
    TooLarge,
    /// An event is not text.
    #[error("decode the event stream: an event is not UTF-8")]
    NotText,
}

/// The state between two chunks.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// The last byte was a CR: an LF that follows belongs to the same line end.
    after_cr: bool,
    /// The first line is behind us, so a BOM is no longer one.
    started: bool,
}

impl Decoder {
    /// Takes the next bytes and gives the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, SseError> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ => {
                    self.line.push(byte);
                    let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
                    if held > EVENT_BYTES_MAX {
                        return Err(SseError::TooLarge);
                    }
                }
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Result<Option<Event>, SseError> {
        let bytes = std::mem::take(&mut self.line);
        let first = !std::mem::replace(&mut self.started, true);
        let bytes = if first { bytes.strip_prefix(BOM).unwrap_or(&bytes) } else { &bytes };
        let line = std::str::from_utf8(bytes).map_err(|_| SseError::NotText)?;
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return Ok(self.data.take().map(|data| Event { name, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment (empty name), `id`, `retry` and what a later version adds.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Decoder, Event, SseError};

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.to_owned() }
    }

    fn decode(chunks: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.push(chunk).unwrap()).collect()
    }

    /// Decodes whole, cut in two at every byte, and byte by byte.
    fn check(stream: &str, expected: &[Event]) {
        let bytes = stream.as_bytes();
        assert_eq!(decode(&[bytes]), expected, "{stream:?} whole");
        for at in 0..=bytes.len() {
            assert_eq!(decode(&[&bytes[..at], &bytes[at..]]), expected, "{stream:?} cut at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), expected, "{stream:?} byte by byte");
    }

    #[test]
    fn line_ends_of_every_kind_are_one() {
        let expected = [event("ping", "{\"a\":1}"), event("", "zwei ä€😀")];
        for end in ["\n", "\r\n", "\r"] {
            check(&["event: ping", "data: {\"a\":1}", "", "data:zwei ä€😀", "", ""].join(end), &expected);
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        check("\u{feff}data: x\n\n", &[event("", "x")]);
        check("data: x\ndata:  y\ndata\n\n", &[event("", "x\n y\n")]);
        check(": alive\n\nevent: none\n\ndata: z\n\n", &[event("", "z")]);
        check("id: 4\nretry: 9\nlater: x\nevent: e\ndata: d\n\n", &[event("e", "d")]);
        check("data: dropped at the end of the stream\n", &[]);
    }

    #[test]
    fn what_cannot_be_decoded_is_an_error() {
        assert_eq!(Decoder::default().push(b"data: \xff\n\n"), Err(SseError::NotText));
        let mut decoder = Decoder::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let errors = (0..17).filter_map(|_| decoder.push(&chunk).err()).count();
        assert_eq!(errors, 1);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            stream in "(data|event|x|:|: |\r|\n|\r\n|\n\n|ä|😀){0,30}",
            cuts in prop::collection::vec(0usize..60, 0..5),
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&chunks), decode(&[bytes]));
        }
    }
}
