//! What is done with the matches of one file: first they are counted, later some of them are written down.

use std::io;

use grep_searcher::{Searcher, Sink, SinkContext, SinkMatch};

use super::{Mode, Rows};

/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 500;

/// Counts the rows that a file gives.
pub(super) struct Counting {
    mode: Mode,
    pub(super) rows: u64,
    /// A NUL byte was met, and what follows it was not searched.
    pub(super) binary: bool,
}

impl Counting {
    pub(super) fn new(mode: Mode) -> Counting {
        Counting { mode, rows: 0, binary: false }
    }
}

/// Lines in these bytes, as [`str::lines`] counts them.
fn lines(bytes: &[u8]) -> u64 {
    let ends = memchr::memchr_iter(b'\n', bytes).count() as u64;
    ends + u64::from(bytes.last().is_some_and(|last| *last != b'\n'))
}

impl Sink for Counting {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        match self.mode {
            Mode::FilesWithMatches => self.rows = 1,
            Mode::Count => self.rows += 1,
            Mode::Content => self.rows += lines(found.bytes()),
        }
        Ok(self.mode != Mode::FilesWithMatches)
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        if self.mode == Mode::Content {
            self.rows += lines(context.bytes());
        }
        Ok(true)
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> Result<bool, io::Error> {
        self.binary = true;
        Ok(false)
    }
}

/// Writes the rows of a file until there is no room.
pub(super) struct Writing<'a> {
    pub(super) name: &'a str,
    pub(super) numbers: bool,
    pub(super) rows: &'a mut Rows,
}

impl Writing<'_> {
    fn show(&mut self, bytes: &[u8], number: Option<u64>, mark: char) -> bool {
        for (index, line) in (0u64..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            if self.rows.full() {
                return false;
            }
            // Only so many bytes can be shown: a line of 50 MB is not made text as a whole.
            let text = String::from_utf8_lossy(&line[..line.len().min(LINE_CHARS_MAX * 4)]);
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let mut shown: String = text.strip_suffix('\r').unwrap_or(text).chars().take(LINE_CHARS_MAX).collect();
            if line.len() > shown.len() + 2 {
                shown.push_str(" … (the line goes on)");
            }
            let row = match number.filter(|_| self.numbers) {
                Some(number) => format!("{}{mark}{}{mark}{shown}", self.name, number + index),
                None => format!("{}{mark}{shown}", self.name),
            };
            self.rows.push(&row);
        }
        !self.rows.full()
    }
}

impl Sink for Writing<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, io::Error> {
        Ok(self.show(found.bytes(), found.line_number(), ':'))
    }

    fn context(&mut self, _: &Searcher, context: &SinkContext<'_>) -> Result<bool, io::Error> {
        Ok(self.show(context.bytes(), context.line_number(), '-'))
    }
}
