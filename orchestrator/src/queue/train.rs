//! The k-ary prefix queue, as a pure planner: what is checked next, on what, and what may land.
//!
//! A *candidate* is the tip of the target with some changes merged onto it in order. Every check runs on a whole
//! candidate, so what lands is always a tree that was checked, and only prefixes of the queue land: nobody is overtaken
//! but by what the one in front clashes with. A red prefix is a *gap* that all free check slots split; those that are
//! left try the line without one suspect, which is the prefix as soon as that one is sent back. [`plan`] is run from
//! scratch on every event and remembers nothing: a signal that comes twice, or a process that died, does no harm.
//!
//! With one slot the cuts are those that cost the fewest checks (`alone`); with more, each next check is the one
//! from which most is to be expected beside what runs already (`worlds`). A timeout is never bisected: the same
//! candidate is asked again, then the line goes one by one from the front.
//!
//! What a change clashes with, what a verdict says of a tree and when a tip moves is the caller's knowledge; it comes
//! in through [`Knowledge`] by exact lists of items. After `[1, 2]` has landed, what was known of `[1, 2, 3]` is known
//! of `[3]`: it is the same tree.

mod alone;
mod estimate;
mod order;
#[cfg(test)]
mod tests;
mod worlds;

pub use estimate::Estimate;
pub use order::{Entry, STEP_MS, order};

/// One place in the queue: a change or a group. The number is the caller's and stays.
pub type Item = u32;

/// What is known of a candidate: the tip with some items merged onto it in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was never asked.
    Unknown,
    /// The first check on exactly this is under way. While a verdict is asked for once more, it is still told.
    Running,
    /// It passed.
    Green,
    /// It failed.
    Red {
        /// So many times in a row.
        times: u32,
    },
    /// It timed out or could not be run: this says nothing about any change.
    Unsure {
        /// So many times in a row.
        times: u32,
    },
    /// These items do not merge in this order: there is no such candidate.
    Clash,
}

/// What the caller knows.
pub trait Knowledge {
    /// What is known of the tip with these items on it, in this order. No item: the tip itself.
    fn of(&self, items: &[Item]) -> Known;
}

/// What the planner may use, and what it expects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Check slots in all.
    pub slots: usize,
    /// So many items of the queue are looked at.
    pub look_ahead: usize,
    /// Share of changes that are red.
    pub red_share: f64,
    /// Share of checks that are red without a reason.
    pub flake_share: f64,
}

/// Why an item leaves the queue without landing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its check is red, on a tip that is green.
    Red,
    /// Its check says nothing, on a tip on which it does.
    Timeout,
    /// It does not merge with the tip.
    Clash,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Occupy a slot with a check.
    Check {
        /// Of the tip with these on it; none: a control of the tip itself.
        items: Vec<Item>,
        /// It has a verdict, and is asked once more on a clean slot.
        again: bool,
    },
    /// Move the target to this green candidate. It is the only act of an answer.
    Land {
        /// What it holds.
        items: Vec<Item>,
    },
    /// Send an item back. It is always the first of those that merge with the tip.
    Eject {
        /// Which.
        item: Item,
        /// Why.
        why: Why,
    },
    /// The tip is red by itself (or its check says nothing): stop the line, blame nobody.
    BaseRed,
    /// A check under way whose verdict cannot matter any more.
    Cancel {
        /// Of what.
        items: Vec<Item>,
    },
}

/// A verdict that says nothing is asked for this often in all. Two: one bad moment of a machine is common, two in a
/// row are the check's own.
pub const UNSURE_MAX: u32 = 2;

/// So small a share of innocent changes may be sent back. The goal of the design: 0.02 %.
pub const FALSE_EJECTS: f64 = 0.0002;

/// More repetitions than this tell nothing new: at 10 % flakes four reds in a row are one in 10,000.
const REDS_MAX: u32 = 4;

/// The share of reds is taken to lie between these: below, prefixes grow past every look-ahead; above, batches do not
/// pay at all (Ungar: 0.38).
const RED_SHARE: (f64, f64) = (0.002, 0.35);

/// So many items are looked at, whatever the limit says: the bits of a set. Longer prefixes would nearly always be red.
const LOOK_AHEAD_MAX: usize = 64;

/// What to do now. `queue` is in order, front first. `running` are the candidates that are being checked; one that
/// does not stand on the tip any more is told with an item that is not in the queue.
#[must_use]
pub fn plan(queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
    let tip = known.of(&[]);
    match tip {
        Known::Red { times } if times >= reds_needed(limits.flake_share) => return vec![Act::BaseRed],
        Known::Unsure { times } if times >= UNSURE_MAX => return vec![Act::BaseRed],
        Known::Red { .. } | Known::Unsure { .. } | Known::Unknown => {}
        Known::Running | Known::Green | Known::Clash => {}
    }
    let (chain, prefixes) = match chain(queue, known, limits) {
        Ok(chain) => chain,
        Err(item) => return vec![Act::Eject { item, why: Why::Clash }],
    };
    if let Some(last) = prefixes.iter().rposition(|known| *known == Known::Green) {
        return vec![Act::Land { items: chain[..=last].to_vec() }];
    }
    let limits = Limits { red_share: limits.red_share.clamp(RED_SHARE.0, RED_SHARE.1), ..*limits };
    let red = prefixes.iter().position(|known| matches!(known, Known::Red { .. })).map(|at| at + 1);
    let unsure = prefixes.iter().position(|known| matches!(known, Known::Unsure { times } if *times >= UNSURE_MAX));
    let unsure = unsure.map(|at| at + 1).filter(|unsure| red.is_none_or(|red| *unsure < red));
    let mut line =
        Line { chain: &chain, prefixes, red, unsure, tip, known, limits, running: Vec::new(), acts: Vec::new() };
    if let Some(act) = line.verdict() {
        return vec![act];
    }
    line.keep(running);
    line.repeat();
    line.dispatch();
    line.acts
}

/// The items that merge one onto the other, up to the look-ahead, with what is known of each prefix. What clashes with
/// something in front of it is passed over. The error is a first item, which clashes with the tip itself.
fn chain(queue: &[Item], known: &dyn Knowledge, limits: &Limits) -> Result<(Vec<Item>, Vec<Known>), Item> {
    let mut chain: Vec<Item> = Vec::new();
    let mut prefixes: Vec<Known> = Vec::new();
    for &item in queue {
        if chain.len() >= limits.look_ahead.clamp(1, LOOK_AHEAD_MAX) {
            break;
        }
        chain.push(item);
        match known.of(&chain) {
            Known::Clash if chain.len() == 1 => return Err(item),
            Known::Clash => drop(chain.pop()),
            known => prefixes.push(known),
        }
    }
    Ok((chain, prefixes))
}

/// So many reds in a row make a verdict, by the share of checks that are red without a reason: no more than
/// [`FALSE_EJECTS`] are to be false. One is enough only where no check ever is.
#[must_use]
pub fn reds_needed(flake_share: f64) -> u32 {
    reds_beside(1.0, flake_share)
}

/// As [`reds_needed`], beside something that an innocent change would bring about with this chance.
fn reds_beside(witness: f64, flake_share: f64) -> u32 {
    let flake = flake_share.clamp(0.0, 1.0);
    let mut chance = flake;
    let mut reds = 1;
    // However good a witness is, a red is repeated once where checks lie at all.
    while reds < REDS_MAX && chance * if reds > 1 { witness } else { 1.0 } > FALSE_EJECTS {
        chance *= flake;
        reds += 1;
    }
    reds
}

/// One planning: what is known of the line, and what is decided so far.
struct Line<'a> {
    chain: &'a [Item],
    /// Of the prefix of one item, of two, and so on.
    prefixes: Vec<Known>,
    /// Length of the shortest prefix that is red.
    red: Option<usize>,
    /// Length of the shortest prefix in front of that which has said nothing as often as it is asked.
    unsure: Option<usize>,
    tip: Known,
    known: &'a dyn Knowledge,
    limits: Limits,
    /// What runs and stays, with what is started.
    running: Vec<Vec<Item>>,
    acts: Vec<Act>,
}

impl Line<'_> {
    /// What can be said of the first item.
    fn verdict(&self) -> Option<Act> {
        let item = *self.chain.first()?;
        if self.tip != Known::Green {
            return None;
        }
        match self.prefixes[0] {
            Known::Red { times } => (times >= self.reds_needed()).then_some(Act::Eject { item, why: Why::Red }),
            Known::Unsure { times } => (times >= UNSURE_MAX).then_some(Act::Eject { item, why: Why::Timeout }),
            Known::Unknown | Known::Running | Known::Green | Known::Clash => None,
        }
    }

    /// For the first item. A longer red candidate that holds it is a witness: so many others would have to be to blame.
    fn reds_needed(&self) -> u32 {
        let flake = self.limits.flake_share;
        let others = self.prefixes.iter().skip(1).position(|known| matches!(known, Known::Red { .. }));
        let innocent = |others: usize| {
            let good = (0..=others).fold(1.0, |good, _| good * (1.0 - self.limits.red_share));
            1.0 - good * (1.0 - flake)
        };
        reds_beside(others.map_or(1.0, innocent), flake)
    }

    /// Sorts what runs: a check stays as long as its verdict can matter.
    fn keep(&mut self, running: &[Vec<Item>]) {
        for items in running {
            // Where checks are red without a reason, the longer one may still be green.
            let flaky = self.limits.flake_share > FALSE_EJECTS;
            let dead = match worlds::set(self.chain, items) {
                None => true,
                Some(_) if items.is_empty() => self.tip == Known::Green,
                Some(set) => !flaky && self.red.is_some_and(|red| worlds::prefix(red) & !set == 0 && items.len() > red),
            };
            if dead {
                self.acts.push(Act::Cancel { items: items.clone() });
            } else {
                self.running.push(items.clone());
            }
        }
    }

    fn free(&self) -> usize {
        self.limits.slots.max(1).saturating_sub(self.running.len())
    }

    /// Starts a check if there is a slot, unless it runs or has a verdict that stands.
    fn check(&mut self, items: &[Item]) -> bool {
        if self.free() == 0 || self.running.iter().any(|other| other == items) {
            return false;
        }
        let again = match self.known.of(items) {
            Known::Unknown => false,
            Known::Red { times } if items.is_empty() && times < reds_needed(self.limits.flake_share) => true,
            Known::Red { times } if items.len() == 1 && times < self.reds_needed() => true,
            Known::Unsure { times } if times < UNSURE_MAX => true,
            Known::Running | Known::Green | Known::Red { .. } | Known::Unsure { .. } | Known::Clash => return false,
        };
        self.running.push(items.to_vec());
        self.acts.push(Act::Check { items: items.to_vec(), again });
        true
    }

    /// What has a verdict that is not enough: a first item that is red, with a control; a timeout, whole.
    fn repeat(&mut self) {
        let chain = self.chain;
        if self.red == Some(1) || self.unsure == Some(1) {
            if self.tip != Known::Green {
                self.check(&[]);
            }
            self.check(&chain[..1]);
        }
        for len in 1..=self.red.unwrap_or(chain.len()) {
            if matches!(self.prefixes[len - 1], Known::Unsure { .. }) {
                self.check(&chain[..len]);
            }
        }
    }

    fn dispatch(&mut self) {
        let chain = self.chain;
        if let Some(unsure) = self.unsure {
            // One after the other, from the front: whose the time is cannot be told from a half.
            for len in 1..unsure {
                self.check(&chain[..len]);
            }
        } else if self.limits.slots <= 1 {
            if self.free() > 0 && !chain.is_empty() && self.red != Some(1) {
                let len = alone::cut(chain.len(), self.red, self.limits.red_share);
                self.check(&chain[..len]);
            }
        } else {
            self.choose();
        }
        // Whatever was chosen, the line never stands still.
        if self.running.is_empty() {
            (1..=chain.len()).any(|len| self.check(&chain[..len]));
        }
    }

    /// The checks from which most is to be expected, one after the other.
    fn choose(&mut self) {
        if self.free() == 0 || self.chain.is_empty() {
            return;
        }
        let (chain, known) = (self.chain, self.known);
        let running: Vec<worlds::Set> = self.running.iter().filter_map(|items| worlds::set(chain, items)).collect();
        let is_prefix = |set: &worlds::Set| *set == worlds::prefix(set.count_ones() as usize);
        let only_prefixes = self.red.is_none() && running.iter().all(is_prefix);
        let mut belief = worlds::Belief::new(chain.len(), self.red, only_prefixes, &self.limits);
        let mut options = Vec::new();
        for set in worlds::options(chain.len(), self.red) {
            // Of prefixes it is known already.
            let said = match is_prefix(&set) {
                true => self.prefixes[set.count_ones() as usize - 1],
                false => known.of(&worlds::items(chain, set)),
            };
            match said {
                Known::Red { times } => belief.is_red(set, times),
                Known::Green => belief.is_green(set),
                Known::Unknown => options.push(set),
                Known::Running | Known::Unsure { .. } | Known::Clash => {}
            }
        }
        for set in running {
            options.retain(|option| *option != set);
            belief.expect(set);
        }
        while self.free() > 0 {
            let Some(set) = belief.best(&options) else { return };
            options.retain(|option| *option != set);
            self.check(&worlds::items(chain, set));
            belief.expect(set);
        }
    }
}
