//! A set of small numbers whose least is found at once: each level says which words of the one below it are not empty.

/// Numbers below a bound.
pub(super) struct Ranks {
    /// Bits, 64 of each level for one of the next; the last level is one word.
    levels: Vec<Vec<u64>>,
    len: usize,
}

impl Ranks {
    /// An empty set of numbers below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        let mut levels = Vec::new();
        let mut words = bound;
        while levels.is_empty() || words > 1 {
            words = words.div_ceil(64).max(1);
            levels.push(vec![0; words]);
        }
        Self { levels, len: 0 }
    }

    /// Adds a number, or takes it out.
    pub(super) fn set(&mut self, rank: usize, belongs: bool) {
        let word = &mut self.levels[0][rank / 64];
        let bit = 1 << (rank % 64);
        if (*word & bit != 0) == belongs {
            return;
        }
        self.len = if belongs { self.len + 1 } else { self.len - 1 };
        let mut at = rank;
        for level in &mut self.levels {
            let word = &mut level[at / 64];
            let was_empty = *word == 0;
            if belongs {
                *word |= 1 << (at % 64);
            } else {
                *word &= !(1 << (at % 64));
            }
            // The level above knows already, or has still to keep it.
            if if belongs { !was_empty } else { *word != 0 } {
                return;
            }
            at /= 64;
        }
    }

    /// Adds a number.
    pub(super) fn insert(&mut self, rank: usize) {
        self.set(rank, true);
    }

    /// Takes a number out.
    pub(super) fn remove(&mut self, rank: usize) {
        self.set(rank, false);
    }

    /// The least.
    pub(super) fn first(&self) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let down = self.levels.iter().rev();
        Some(down.fold(0, |at, level| 64 * at + level[at].trailing_zeros() as usize))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them, the least first.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.levels[0].iter().enumerate().filter(|(_, word)| self.len > 0 && **word != 0);
        words.flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| 64 * at + bit))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_numbers(bound in 1..10_000usize, steps in prop::collection::vec((any::<usize>(), any::<bool>()), 0..200)) {
            let (mut ranks, mut plain) = (Ranks::new(bound), BTreeSet::new());
            for (number, belongs) in steps {
                // Few numbers, so that some are met again.
                let rank = number % bound / 7 * 7;
                ranks.set(rank, belongs);
                if belongs { plain.insert(rank); } else { plain.remove(&rank); }
                prop_assert_eq!(ranks.first(), plain.first().copied());
                prop_assert_eq!(ranks.len(), plain.len());
            }
            prop_assert!(ranks.iter().eq(plain.iter().copied()));
        }
    }
}
