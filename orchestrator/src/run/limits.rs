//! The run's budget: reserve before a request is sent, settle when its usage is known.

use std::collections::BTreeMap;

use wattle_planner::StepId;

use crate::journal::record::Spent;

/// What a request may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Tokens, input and output together.
    pub(crate) tokens: u64,
    /// Nano-dollars; 0 where the price is not known (then only tokens bind).
    pub(crate) nano_usd: u64,
}

/// The caps of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    /// Tokens.
    pub(crate) tokens: Option<u64>,
    /// Nano-dollars.
    pub(crate) nano_usd: Option<u64>,
}

/// What becomes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// It holds.
    Granted,
    /// Others are open; it may hold once they are settled.
    Wait,
    /// It is over a cap even alone.
    Refused(String),
}

/// Open claims by step: a worker has one request at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget {
    caps: Caps,
    open: BTreeMap<Option<StepId>, Claim>,
}

impl Budget {
    /// A budget with these caps.
    pub(crate) fn new(caps: Caps) -> Self {
        Self { caps, open: BTreeMap::new() }
    }

    /// Asks for a claim. It is refused only when what is settled and the claim itself are over a cap.
    pub(crate) fn reserve(&mut self, step: Option<StepId>, claim: Claim, settled: &Spent) -> Grant {
        let over = |cap: Option<u64>, used: u64, own: u64| cap.is_some_and(|cap| used.saturating_add(own) > cap);
        if over(self.caps.tokens, settled.tokens(), claim.tokens) {
            return Grant::Refused(format!("the run's cap of {} tokens is reached", self.caps.tokens.unwrap_or(0)));
        }
        if over(self.caps.nano_usd, settled.nano_usd, claim.nano_usd) {
            let usd = self.caps.nano_usd.unwrap_or(0) as f64 / 1e9;
            return Grant::Refused(format!("the run's cap of ${usd:.2} is reached"));
        }
        let tokens: u64 = self.open.values().map(|claim| claim.tokens).sum();
        let nano: u64 = self.open.values().map(|claim| claim.nano_usd).sum();
        if over(self.caps.tokens, settled.tokens() + tokens, claim.tokens)
            || over(self.caps.nano_usd, settled.nano_usd + nano, claim.nano_usd)
        {
            return Grant::Wait;
        }
        self.open.insert(step, claim);
        Grant::Granted
    }

    /// The request of a step is over.
    pub(crate) fn settle(&mut self, step: &Option<StepId>) {
        self.open.remove(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_waits_for_open_ones_and_is_refused_only_alone() {
        let mut budget = Budget::new(Caps { tokens: Some(100), nano_usd: None });
        let claim = Claim { tokens: 60, nano_usd: 0 };
        let step = |name: &str| Some(name.parse::<StepId>().expect("a valid id"));
        let mut settled = Spent::default();
        assert_eq!(budget.reserve(step("a"), claim, &settled), Grant::Granted);
        assert_eq!(budget.reserve(step("b"), claim, &settled), Grant::Wait);
        budget.settle(&step("a"));
        settled.out = 30;
        assert_eq!(budget.reserve(step("b"), claim, &settled), Grant::Granted);
        settled.out = 90;
        assert!(matches!(budget.reserve(step("c"), claim, &settled), Grant::Refused(_)));
    }
}
