//! How many changes are red and how many checks are so without a reason, from the verdicts that were seen.

/// What is taken for granted before anything was seen: 5 % of changes are red (`spec/git.md` 5.2), as firmly as if
/// it had been seen on so many changes.
const RED_BEFORE: (f64, f64) = (0.05, 20.0);
/// 1 % of checks are red without a reason (Google, 2016: 1.5 % of runs), as if seen on so many checks.
const FLAKES_BEFORE: (f64, f64) = (0.01, 100.0);
/// However many were seen: a check without any flake is a promise that only its owner can give.
const FLAKES_MIN: f64 = 0.001;
/// Each verdict weighs so much less than the one after it: a window of some 200 verdicts, so that a bad hour is
/// noticed and forgotten again.
const FADING: f64 = 0.995;

/// Shares, estimated from verdicts in the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    changes: f64,
    red: f64,
    checks: f64,
    flakes: f64,
}

impl Default for Estimate {
    fn default() -> Self {
        Self::new()
    }
}

impl Estimate {
    /// Nothing was seen.
    #[must_use]
    pub fn new() -> Self {
        Self { changes: 0.0, red: 0.0, checks: 0.0, flakes: 0.0 }
    }

    /// So many changes landed together.
    pub fn landed(&mut self, items: usize) {
        for _ in 0..items {
            self.change(0.0);
        }
    }

    /// A change was sent back because its check is red.
    pub fn ejected(&mut self) {
        self.change(1.0);
    }

    /// A check of something that is now known to be green ended: was it red, without a reason?
    pub fn checked(&mut self, flake: bool) {
        self.checks = self.checks * FADING + 1.0;
        self.flakes = self.flakes * FADING + if flake { 1.0 } else { 0.0 };
    }

    fn change(&mut self, red: f64) {
        self.changes = self.changes * FADING + 1.0;
        self.red = self.red * FADING + red;
    }

    /// Share of changes that are red.
    #[must_use]
    pub fn red_share(&self) -> f64 {
        share(RED_BEFORE, self.red, self.changes)
    }

    /// Share of checks that are red without a reason.
    #[must_use]
    pub fn flake_share(&self) -> f64 {
        share(FLAKES_BEFORE, self.flakes, self.checks).max(FLAKES_MIN)
    }
}

fn share((share, firm): (f64, f64), seen: f64, of: f64) -> f64 {
    (share * firm + seen) / (firm + of)
}
