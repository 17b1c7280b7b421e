//! A budget: what a request may cost is reserved before it is sent, and settled when its usage is known.
//!
//! So the sum of what is spent and what is under way never passes a cap. A claim waits while others are open (most
//! of what they reserve comes back) and is refused only when what is settled and the claim itself are over a cap.

use std::collections::BTreeMap;

use super::money;

/// What a request may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Tokens, input and output together.
    pub tokens: u64,
    /// Nano-dollars; 0 where the price is not known (then only tokens bind).
    pub nano_usd: u64,
}

/// What is spent for certain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Tokens, input and output together.
    pub tokens: u64,
    /// Nano-dollars, as far as prices are known.
    pub nano_usd: u64,
}

/// The caps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Tokens.
    pub tokens: Option<u64>,
    /// Nano-dollars.
    pub nano_usd: Option<u64>,
}

/// What becomes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// It holds.
    Granted,
    /// Others are open; it may hold once they are settled.
    Wait,
    /// It is over a cap even alone; the words say which.
    Refused(String),
}

/// Open claims by who has made them: each has one request at a time.
#[derive(Debug, Clone)]
pub struct Budget<K> {
    caps: Caps,
    open: BTreeMap<K, Claim>,
}

impl<K: Ord> Budget<K> {
    /// A budget with these caps.
    pub fn new(caps: Caps) -> Self {
        Self { caps, open: BTreeMap::new() }
    }

    /// Asks for a claim. A claim of the same owner that is still open is replaced by a new one that holds.
    pub fn reserve(&mut self, owner: K, claim: Claim, settled: Settled) -> Grant {
        let over = |cap: Option<u64>, used: u64, own: u64| cap.is_some_and(|cap| used.saturating_add(own) > cap);
        if over(self.caps.tokens, settled.tokens, claim.tokens) {
            let (cap, used) = (self.caps.tokens.unwrap_or(0), settled.tokens);
            let message = format!(
                "the run's cap of {cap} tokens is reached: {used} are spent, the next request may take {}",
                claim.tokens
            );
            return Grant::Refused(message);
        }
        if over(self.caps.nano_usd, settled.nano_usd, claim.nano_usd) {
            let (cap, used) = (money::usd(self.caps.nano_usd.unwrap_or(0)), money::usd(settled.nano_usd));
            let next = money::usd(claim.nano_usd);
            let message =
                format!("the run's cap of {cap} is reached: {used} is spent, the next request may cost {next}");
            return Grant::Refused(message);
        }
        let others = || self.open.iter().filter(|(other, _)| **other != owner).map(|(_, claim)| claim);
        let tokens = others().fold(settled.tokens, |sum, claim| sum.saturating_add(claim.tokens));
        let nano_usd = others().fold(settled.nano_usd, |sum, claim| sum.saturating_add(claim.nano_usd));
        if over(self.caps.tokens, tokens, claim.tokens) || over(self.caps.nano_usd, nano_usd, claim.nano_usd) {
            return Grant::Wait;
        }
        self.open.insert(owner, claim);
        Grant::Granted
    }

    /// The request of an owner is over.
    pub fn settle(&mut self, owner: &K) {
        self.open.remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Budget, Caps, Claim, Grant, Settled};

    #[test]
    fn a_claim_waits_for_open_ones_and_is_refused_only_alone() {
        let mut budget = Budget::new(Caps { tokens: Some(100), nano_usd: None });
        let claim = Claim { tokens: 60, nano_usd: 0 };
        let mut settled = Settled::default();
        assert_eq!(budget.reserve("a", claim, settled), Grant::Granted);
        assert_eq!(budget.reserve("b", claim, settled), Grant::Wait);
        budget.settle(&"a");
        settled.tokens = 30;
        assert_eq!(budget.reserve("b", claim, settled), Grant::Granted);
        settled.tokens = 90;
        assert!(matches!(budget.reserve("c", claim, settled), Grant::Refused(_)));
    }

    proptest! {
        /// However workers reserve and settle: what is spent never passes a cap, and whoever waits has somebody to
        /// wait for.
        #[test]
        fn no_history_passes_a_cap(
            cap in 1u64..500,
            moves in prop::collection::vec((0u8..6, 1u64..120, 0u64..100), 1..80),
        ) {
            let mut budget = Budget::new(Caps { tokens: None, nano_usd: Some(cap) });
            let mut open = std::collections::BTreeMap::new();
            let mut spent = 0;
            for (worker, most, share) in moves {
                if let Some(reserved) = open.remove(&worker) {
                    // A request costs at most what was reserved for it.
                    spent += reserved * share / 100;
                    budget.settle(&worker);
                }
                let claim = Claim { tokens: 0, nano_usd: most };
                match budget.reserve(worker, claim, Settled { tokens: 0, nano_usd: spent }) {
                    Grant::Granted => drop(open.insert(worker, most)),
                    Grant::Wait => prop_assert!(!open.is_empty()),
                    Grant::Refused(_) => prop_assert!(spent + most > cap),
                }
                prop_assert!(spent + open.values().sum::<u64>() <= cap);
            }
        }
    }
}
