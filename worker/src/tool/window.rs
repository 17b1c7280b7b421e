//! The part of a search's answer that is shown: so many rows from an offset, the same ones on every call.
//!
//! A search first counts the rows of every file, several files at a time. What is kept of that is bounded: the
//! files that come first in the order of their paths, as many as the window can need. Then the files of the window
//! are looked at once more, in order, to write their rows.

use std::collections::BinaryHeap;

/// Rows of a result when no other bound is given.
const ROWS_DEFAULT: usize = 250;
/// Rows of a result at most, whatever is asked for; its bytes are bounded, too.
const ROWS_MAX: usize = 10_000;
/// Bound on a result, in bytes.
const RESULT_BYTES_MAX: usize = 30_000;
/// Rows that may be left out first: who pages on that far has asked too broadly.
const OFFSET_MAX: usize = 100_000;

/// The window of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    offset: usize,
    rows: usize,
}

impl Window {
    pub(super) fn new(head_limit: Option<usize>, offset: usize) -> Result<Window, String> {
        if offset > OFFSET_MAX {
            return Err(format!("an offset above {OFFSET_MAX} is not taken: narrow the search instead"));
        }
        let rows = head_limit.filter(|rows| *rows > 0).unwrap_or(ROWS_DEFAULT).min(ROWS_MAX);
        Ok(Window { offset, rows })
    }
}

/// The files that match: how many, and the first of them.
#[derive(Debug)]
pub(super) struct Tally {
    /// Path and number of rows, the greatest path on top.
    first: BinaryHeap<(Box<[u8]>, u64)>,
    first_max: usize,
    /// Files that match.
    pub(super) files: u64,
    /// Rows in all of them.
    pub(super) rows: u64,
}

impl Tally {
    pub(super) fn new(window: Window) -> Tally {
        // Each of these files has a row, so no window can need more of them.
        let first_max = window.offset + window.rows;
        Tally { first: BinaryHeap::new(), first_max, files: 0, rows: 0 }
    }

    pub(super) fn add(&mut self, path: &[u8], rows: u64) {
        self.files += 1;
        self.rows += rows;
        self.keep(path, rows);
    }

    fn keep(&mut self, path: &[u8], rows: u64) {
        if self.first.len() == self.first_max {
            if self.first.peek().is_none_or(|(last, _)| **last <= *path) {
                return;
            }
            self.first.pop();
        }
        self.first.push((path.into(), rows));
    }

    pub(super) fn merge(&mut self, other: Tally) {
        self.files += other.files;
        self.rows += other.rows;
        for (path, rows) in other.first {
            self.keep(&path, rows);
        }
    }

    /// The first files with their rows, in the order of their paths.
    pub(super) fn into_first(self) -> Vec<(Box<[u8]>, u64)> {
        self.first.into_sorted_vec()
    }
}

/// The rows that are shown, within the bounds of their window.
#[derive(Debug)]
pub(super) struct Rows {
    out: String,
    window: Window,
    skip: usize,
    shown: usize,
    full: bool,
}

impl Rows {
    pub(super) fn new(window: Window) -> Rows {
        Rows { out: String::new(), window, skip: window.offset, shown: 0, full: false }
    }

    /// May a whole file with so many rows be left out, because the window begins after it?
    pub(super) fn pass_over(&mut self, rows: u64) -> bool {
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let before = rows <= self.skip;
        if before {
            self.skip -= rows;
        }
        before
    }

    /// Is there room for another row?
    pub(super) fn full(&self) -> bool {
        self.full || self.shown == self.window.rows
    }

    pub(super) fn push(&mut self, row: &str) {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.full() || self.out.len() + row.len() > RESULT_BYTES_MAX {
            self.full = true;
        } else {
            self.shown += 1;
            self.out.push_str(row);
            self.out.push('\n');
        }
    }

    /// The result, with a line about what it leaves out of `rows` rows (`what` names them) in `files` files.
    pub(super) fn finish(mut self, rows: u64, what: &str, files: u64) -> String {
        let offset = self.window.offset;
        if self.shown == 0 {
            return format!("Nothing is left at offset {offset}: there are {rows} {what} in all.");
        }
        let (first, last) = (offset + 1, offset + self.shown);
        if (last as u64) < rows {
            let among = match files {
                _ if what == "files" => String::new(),
                1 => " in 1 file".to_owned(),
                _ => format!(" in {files} files"),
            };
            self.out.push_str(&format!(
                "({what} {first} to {last} of {rows}{among} are shown. Narrow the search with path, glob or a longer pattern, or go on with offset {last}.)\n"
            ));
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// However the files are shared between threads, the window shows the same.
        #[test]
        fn a_window_depends_on_no_order(
            files in proptest::collection::btree_map("[a-c/]{1,4}", 1u64..5, 0..30),
            shuffle in proptest::collection::vec(0usize..4, 30),
            limit in 1usize..12,
            offset in 0usize..12,
        ) {
            let window = Window::new(Some(limit), offset).unwrap();
            let mut shares: Vec<Tally> = (0..4).map(|_| Tally::new(window)).collect();
            for ((path, rows), share) in files.iter().zip(&shuffle) {
                shares[*share].add(path.as_bytes(), *rows);
            }
            let mut all = Tally::new(window);
            shares.into_iter().for_each(|share| all.merge(share));
            let total = all.rows;
            proptest::prop_assert_eq!(total, files.values().sum::<u64>());
            let mut rows = Rows::new(window);
            for (path, count) in all.into_first() {
                if rows.full() {
                    break;
                }
                if !rows.pass_over(count) {
                    (0..count).for_each(|row| rows.push(&format!("{}{row}", String::from_utf8_lossy(&path))));
                }
            }
            let whole = files.iter().flat_map(|(path, count)| (0..*count).map(move |row| format!("{path}{row}\n")));
            let expected: String = whole.skip(offset).take(limit).collect();
            if expected.is_empty() {
                proptest::prop_assert_eq!(rows.shown, 0);
            } else {
                let shown = rows.finish(total, "rows", u64::MAX);
                proptest::prop_assert!(shown.starts_with(&expected), "{} {}", shown, expected);
                proptest::prop_assert_eq!(shown == expected, (offset + limit) as u64 >= total);
            }
        }
    }
}
