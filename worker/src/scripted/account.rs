//! Tokens and cache hits, by the rules of the real service.
//!
//! Entries are written at marks only; a mark finds an entry up to twenty positions before it; below the
//! minimum nothing is cached. An entry is there once the reply that wrote it begins. It never expires here:
//! a run with a script is shorter than any time to live.

use std::collections::HashSet;

use super::request::{LongLived, Parsed, Position};

/// Positions that a mark looks back over, itself included.
const LOOKBACK: usize = 20;
/// Tokens below which nothing is cached: the minimum of the newest models.
const CACHED_TOKENS_MIN: u64 = 512;
/// Bytes of a token.
const BYTES_PER_TOKEN: usize = 4;

/// What one request is charged for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bill {
    pub(super) uncached: u64,
    pub(super) read: u64,
    pub(super) written_short: u64,
    pub(super) written_long: u64,
}

/// All entries that requests have written.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    entries: HashSet<blake3::Hash>,
}

/// Tokens of a text of so many bytes.
pub(super) fn tokens_of(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

/// Tokens of a whole prompt.
pub(super) fn tokens(request: &Parsed) -> u64 {
    request.positions.iter().map(|position| tokens_of(position.bytes)).sum()
}

impl Accounts {
    /// Charges a request and remembers what it wrote.
    pub(super) fn bill(&mut self, request: &Parsed) -> Bill {
        let ends = ends(request);
        let marks: Vec<(usize, LongLived)> = (0..)
            .zip(&request.positions)
            .filter_map(|(index, position): (usize, &Position)| Some((index, position.mark?)))
            .filter(|(index, _)| ends[*index].1 >= CACHED_TOKENS_MIN)
            .collect();
        let hit = marks.iter().filter_map(|(mark, _)| {
            let window = (mark.saturating_sub(LOOKBACK - 1)..=*mark).rev();
            window.into_iter().find(|index| self.entries.contains(&ends[*index].0))
        });
        let read = hit.max().map_or(0, |index| ends[index].1);
        let long_end = marks.iter().filter(|(_, long)| long.0).map(|(index, _)| ends[*index].1).max();
        let last = marks.last().map_or(read, |(index, _)| ends[*index].1);
        let long = long_end.unwrap_or(0).max(read);
        self.entries.extend(marks.iter().map(|(index, _)| ends[*index].0));
        Bill {
            uncached: ends.last().map_or(0, |(_, total)| *total) - last,
            read,
            written_short: last - long,
            written_long: long - read,
        }
    }
}

/// For each position the hash and the tokens of everything up to its end.
fn ends(request: &Parsed) -> Vec<(blake3::Hash, u64)> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{}\n{}\n", request.model, request.settings).as_bytes());
    let mut total = 0;
    let mut ends = Vec::new();
    for position in &request.positions {
        hasher.update(position.canonical.as_bytes()).update(b"\n");
        total += tokens_of(position.bytes);
        ends.push((hasher.finalize(), total));
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::{Accounts, Bill};
    use crate::scripted::request::{LongLived, Parsed, Position};

    fn position(name: &str, tokens: usize, mark: bool) -> Position {
        let mark = mark.then_some(LongLived(false));
        Position { canonical: name.to_owned(), bytes: tokens * 4, mark }
    }

    fn request(positions: Vec<Position>) -> Parsed {
        Parsed { positions, ..Parsed::default() }
    }

    #[test]
    fn a_shared_start_is_written_once_and_read_after_that() {
        let mut accounts = Accounts::default();
        let one = request(vec![position("brief", 1000, true), position("one", 10, true)]);
        let two = request(vec![position("brief", 1000, true), position("two", 10, true)]);
        assert_eq!(accounts.bill(&one), Bill { written_short: 1010, ..Bill::default() });
        assert_eq!(accounts.bill(&two), Bill { read: 1000, written_short: 10, ..Bill::default() });
        assert_eq!(accounts.bill(&two), Bill { read: 1010, ..Bill::default() });
    }

    #[test]
    fn what_is_too_short_is_not_cached() {
        let mut accounts = Accounts::default();
        let short = request(vec![position("brief", 511, true)]);
        for _ in 0..2 {
            assert_eq!(accounts.bill(&short), Bill { uncached: 511, ..Bill::default() });
        }
    }

    #[test]
    fn a_mark_sees_twenty_positions_back() {
        for (added, read) in [(19, 600), (20, 0)] {
            let mut accounts = Accounts::default();
            accounts.bill(&request(vec![position("brief", 600, true)]));
            let mut positions = vec![position("brief", 600, false)];
            positions.extend((1..added).map(|index| position(&format!("{index}"), 1, false)));
            positions.push(position("tail", 1, true));
            assert_eq!(accounts.bill(&request(positions)).read, read, "{added}");
        }
    }
}
