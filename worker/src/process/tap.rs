//! The output of a job that still runs, for somebody who looks now and then.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::capture::Capture;

/// Bytes of a line that has not ended: longer ones are handed on in pieces.
const LINE_BYTES_MAX: usize = 4096;

/// What was written since the last look, head and tail of it.
#[derive(Debug)]
pub(crate) struct Tap {
    fresh: Mutex<Fresh>,
    bytes_max: u64,
}

#[derive(Debug)]
struct Fresh {
    /// Whole lines.
    lines: Capture,
    any: bool,
    /// The beginning of the next one.
    begun: Vec<u8>,
}

impl Tap {
    /// Keeps at most `bytes_max` bytes between two looks.
    pub(crate) fn new(bytes_max: u64) -> Tap {
        let lines = Capture::new(bytes_max);
        Tap { fresh: Mutex::new(Fresh { lines, any: false, begun: Vec::new() }), bytes_max }
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        let mut fresh = self.fresh();
        let end = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let (whole, rest) = bytes.split_at(end);
        if !whole.is_empty() {
            fresh.hand_on();
            fresh.lines.push(whole);
            fresh.any = true;
        }
        if fresh.begun.len() + rest.len() > LINE_BYTES_MAX {
            fresh.hand_on();
            fresh.lines.push(rest);
            fresh.any = true;
        } else {
            fresh.begun.extend_from_slice(rest);
        }
    }

    /// What is new: whole lines while there are any, so that no line and no character is seen in two halves. A line
    /// that was only begun is given when nothing else is new, or at the end.
    pub(crate) fn take(&self, over: bool) -> String {
        let mut fresh = self.fresh();
        if over || !fresh.any {
            fresh.hand_on();
        }
        fresh.any = false;
        let (text, _) = std::mem::replace(&mut fresh.lines, Capture::new(self.bytes_max)).finish();
        text
    }
}

impl Fresh {
    fn hand_on(&mut self) {
        self.any |= !self.begun.is_empty();
        self.lines.push(&self.begun);
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_gives_whole_lines_and_each_of_them_once() {
        let tap = Tap::new(1000);
        tap.push(b"one\ntw");
        assert_eq!(tap.take(false), "one\n");
        assert_eq!(tap.take(false), "tw");
        tap.push("o\nth\u{e4}".as_bytes());
        assert_eq!(tap.take(false), "o\n");
        tap.push(b"!");
        assert_eq!(tap.take(true), "th\u{e4}!");
        assert_eq!(tap.take(true), "");
    }

    #[test]
    fn what_nobody_looks_at_is_bounded() {
        let tap = Tap::new(200);
        (0..1000).for_each(|number| tap.push(format!("{number}\n").as_bytes()));
        tap.push(&[b'x'; 2 * LINE_BYTES_MAX]);
        let text = tap.take(true);
        assert!(text.len() <= 200 && text.starts_with("0\n1\n") && text.ends_with("xx"), "{text}");
    }
}
