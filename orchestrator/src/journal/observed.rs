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
pub(crate) struct Observations(VecDeque<Observed>);

impl Observations {
    /// It was seen so many times.
    pub(super) fn add(&mut self, observed: Observed, times: usize) {
        self.0.extend(std::iter::repeat_n(observed, times.min(OBSERVED_MAX)));
        self.0.drain(..self.0.len().saturating_sub(OBSERVED_MAX));
    }

    /// In the order in which it was seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Observed> {
        self.0.iter().copied()
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
        seen.add(Observed::Flake, usize::MAX);
        assert_eq!(seen.iter().filter(|seen| *seen == Observed::Flake).count(), OBSERVED_MAX);
        assert_eq!(seen.iter().count(), OBSERVED_MAX);
    }
}
