//! Who is next: first come, first served within a priority, and nobody waits for ever.

use std::cmp::Reverse;

use super::Item;

/// One step of priority is worth so long a wait. A quarter of an hour: three checks of the usual five minutes, so
/// that what is urgent passes what has just come, and what has waited is not passed by a stream of urgent ones.
pub const STEP_MS: u64 = 15 * 60 * 1000;

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub item: Item,
    /// The higher, the earlier; 0 is usual.
    pub priority: i32,
    /// For so long it has been in the queue.
    pub waited_ms: u64,
}

/// The queue, front first. Between two entries the order never changes while they wait, so that what is being checked
/// stays what it is; a newcomer passes only those that came at most its lead in priority times [`STEP_MS`] before it.
#[must_use]
pub fn order(entries: &[Entry]) -> Vec<Item> {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|entry| {
        let score = i128::from(entry.priority) * i128::from(STEP_MS) + i128::from(entry.waited_ms);
        (Reverse(score), Reverse(entry.waited_ms), entry.item)
    });
    sorted.into_iter().map(|entry| entry.item).collect()
}

#[cfg(test)]
mod tests;
