//! Bounded memory of an unbounded output: its head and its tail, and a count of all of it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::tap::Tap;

/// The head gets one part in this many: what a command says first names it, what it says last is
/// why it failed.
const HEAD_SHARE: usize = 4;
/// Room for the line that stands for what was left out.
const MARK_BYTES: usize = 64;

/// Captures a stream.
#[derive(Debug)]
pub(super) struct Capture {
    head: Vec<u8>,
    head_max: usize,
    tail: VecDeque<u8>,
    tail_max: usize,
    bytes: u64,
    spare: Vec<u8>,
    tap: Option<Arc<Tap>>,
}

impl Capture {
    /// Keeps at most `bytes_max` bytes, the line about what is missing included.
    pub(super) fn new(bytes_max: u64) -> Self {
        let kept = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_sub(MARK_BYTES);
        let head_max = kept / HEAD_SHARE;
        let tail_max = kept - head_max;
        Self { head: Vec::new(), head_max, tail: VecDeque::new(), tail_max, bytes: 0, spare: Vec::new(), tap: None }
    }

    /// Hands on everything that is added from now on.
    pub(super) fn watch(&mut self, tap: Arc<Tap>) {
        self.tap = Some(tap);
    }

    /// A buffer to read into; one allocation serves the whole stream.
    pub(super) fn buffer(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.resize(len, 0);
        buffer
    }

    /// Takes the buffer back for the next read.
    pub(super) fn give_back(&mut self, buffer: Vec<u8>) {
        self.spare = buffer;
    }

    /// Adds what was read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(tap) = &self.tap {
            tap.push(bytes);
        }
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let room = self.head_max - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(self.tail_max)..];
        let excess = (self.tail.len() + rest.len()).saturating_sub(self.tail_max);
        self.tail.drain(..excess);
        self.tail.extend(rest);
    }

    /// The text that is kept and the number of bytes that were seen.
    pub(super) fn finish(&mut self) -> (String, u64) {
        let tail: Vec<u8> = self.tail.drain(..).collect();
        let kept = (self.head.len() + tail.len()) as u64;
        let mut all = std::mem::take(&mut self.head);
        if kept == self.bytes {
            all.extend_from_slice(&tail);
            return (text(&all), self.bytes);
        }
        let head = &all[..all.len() - cut_end(&all)];
        let tail = &tail[cut_start(&tail)..];
        let missing = self.bytes - (head.len() + tail.len()) as u64;
        let text = format!("{}\n[... {missing} bytes left out ...]\n{}", text(head), text(tail));
        (text, self.bytes)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes at the end that begin a character whose rest was cut off.
fn cut_end(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    let lead = tail.iter().rev().position(|byte| byte & 0b1100_0000 != 0b1000_0000);
    match lead {
        Some(back) => {
            let byte = tail[tail.len() - 1 - back];
            let len = match byte {
                0b1100_0000..=0b1101_1111 => 2,
                0b1110_0000..=0b1110_1111 => 3,
                0b1111_0000..=0b1111_0111 => 4,
                _ => 1,
            };
            if len > back + 1 { back + 1 } else { 0 }
        }
        None => 0,
    }
}

/// Bytes at the start that end a character whose beginning was cut off.
fn cut_start(bytes: &[u8]) -> usize {
    bytes.iter().take(3).take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes_max: u64, chunks: &[&[u8]], expected: &str, bytes: u64) {
        let mut capture = Capture::new(bytes_max);
        for chunk in chunks {
            capture.push(chunk);
        }
        assert_eq!(capture.finish(), (expected.to_owned(), bytes));
    }

    #[test]
    fn keeps_all_that_fits() {
        check(1000, &[b"one ", b"two"], "one two", 7);
        check(1000, &[], "", 0);
    }

    #[test]
    fn keeps_head_and_tail_of_the_rest() {
        // 16 bytes of text: 4 of head, 12 of tail.
        let chunks: &[&[u8]] = &[b"abcdefgh", b"ijklmnop", b"qrstuvwx"];
        check(80, chunks, "abcd\n[... 8 bytes left out ...]\nmnopqrstuvwx", 24);
    }

    #[test]
    fn never_cuts_a_character() {
        let text = "äöü".repeat(20);
        let mut capture = Capture::new(64 + 13);
        capture.push(text.as_bytes());
        let (kept, bytes) = capture.finish();
        assert_eq!(bytes, 120);
        assert!(!kept.contains('\u{fffd}'), "{kept}");
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_as_such() {
        check(1000, &[b"a\xff"], "a\u{fffd}", 2);
    }

    proptest::proptest! {
        #[test]
        fn never_longer_than_its_bound(max in 64u64..300, chunks in proptest::collection::vec("[a-z]{0,90}", 0..9)) {
            let mut capture = Capture::new(max);
            for chunk in &chunks {
                capture.push(chunk.as_bytes());
            }
            let all = chunks.concat();
            let (kept, bytes) = capture.finish();
            proptest::prop_assert_eq!(bytes, all.len() as u64);
            proptest::prop_assert!(kept.len() as u64 <= max);
            if all.len() as u64 <= max - 64 {
                proptest::prop_assert_eq!(kept, all);
            }
        }
    }
}
