//! What a run has seen of its checks, the newest of it: facts, for whoever estimates.

use std::collections::VecDeque;

/// So many are kept. Who estimates forgets older ones within some 200; beyond that they only cost room.
const OBSERVED_MAX: usize = 256;

/// One thing that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observed {
    /// A check was green on a tree.
    Green,
    /// A check was red on a tree on which it was green afterwards: red without a reason.
    Flake,
}

/// The newest of what was seen, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observations {
    newest: VecDeque<Observed>,
    seen: u64,
}

impl Observations {
    /// It was seen so many times.
    pub(super) fn add(&mut self, observed: Observed, times: usize) {
        self.seen += times as u64;
        self.newest.extend(std::iter::repeat_n(observed, times.min(OBSERVED_MAX)));
        self.newest.drain(..self.newest.len().saturating_sub(OBSERVED_MAX));
    }

    /// In the order in which it was seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Observed> {
        self.newest.iter().copied()
    }

    /// How much was seen, with what is not kept any more.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept() {
        let mut seen = Observations::default();
        seen.add(Observed::Flake, 1);
        seen.add(Observed::Green, OBSERVED_MAX - 1);
        assert_eq!(seen.iter().next(), Some(Observed::Flake));
        seen.add(Observed::Green, 1);
        assert_eq!(seen.iter().next(), Some(Observed::Green), "the oldest is gone");
        seen.add(Observed::Flake, 10 * OBSERVED_MAX);
        assert_eq!(seen.iter().filter(|seen| *seen == Observed::Flake).count(), OBSERVED_MAX);
        assert_eq!(seen.iter().count(), OBSERVED_MAX);
    }
}
