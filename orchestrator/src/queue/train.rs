//! The k-ary prefix queue, as a pure planner: what is checked next, on what, and what may land.
//!
//! A *candidate* is the tip of the target with some changes merged onto it in order. Every check runs on a whole
//! candidate, so what lands is always a tree that was checked. The longest green prefix of the queue lands; a red one
//! is a *gap* that all free check slots split, while one slot tries what is behind it without it. [`plan`] is run from
//! scratch on every event and remembers nothing: a signal that comes twice, or a process that died, does no harm.
//!
//! What a change clashes with, what a verdict says of a tree and when a tip moves is the caller's knowledge; it comes
//! in through [`Knowledge`] by exact lists of items. After `[1, 2]` has landed, what was known of `[1, 2, 3]` is known
//! of `[3]`: it is the same tree.

/// One place in the queue: a change or a group. The number is the caller's and stays.
pub type Item = u32;

/// What is known of a candidate: the tip with some items merged onto it in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It was never asked.
    Unknown,
    /// A check is under way on exactly this.
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
    /// Send an item back.
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

/// With one slot a prefix of this over the root of the share of reds costs the fewest checks (Dorfman's group size,
/// with the halving of a red one priced in).
const ALONE: f64 = 1.6;

/// The share of reds is taken to lie between these: below, prefixes grow past every look-ahead; above, batches do not
/// pay at all (Ungar: 0.38).
const RED_SHARE: (f64, f64) = (0.002, 0.35);

/// So many reds in a row make a verdict, by the share of checks that are red without a reason.
#[must_use]
pub fn reds_needed(flake_share: f64) -> u32 {
    let mut chance = flake_share;
    let mut reds = 1;
    while chance > FALSE_EJECTS && reds < REDS_MAX {
        chance *= flake_share;
        reds += 1;
    }
    reds
}

/// What to do now. `queue` is in order, front first; `running` are the candidates that are being checked.
#[must_use]
pub fn plan(queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
    let reds = reds_needed(limits.flake_share);
    match known.of(&[]) {
        Known::Red { times } if times >= reds => return vec![Act::BaseRed],
        Known::Unsure { times } if times >= UNSURE_MAX => return vec![Act::BaseRed],
        Known::Red { .. } | Known::Unsure { .. } | Known::Unknown => {}
        Known::Running | Known::Green | Known::Clash => {}
    }
    let chain = match chain(queue, known, limits) {
        Ok(chain) => chain,
        Err(item) => return vec![Act::Eject { item, why: Why::Clash }],
    };
    let mut line = Line { chain: &chain, known, limits, reds, running: running.to_vec(), acts: Vec::new() };
    line.decide();
    line.acts
}

/// The items that merge one onto the other, up to the look-ahead. What clashes with something in front of it is
/// passed over. The error is an item that clashes with the tip itself.
fn chain(queue: &[Item], known: &dyn Knowledge, limits: &Limits) -> Result<Vec<Item>, Item> {
    let mut chain: Vec<Item> = Vec::new();
    for &item in queue {
        if chain.len() >= limits.look_ahead.max(1) {
            break;
        }
        chain.push(item);
        if known.of(&chain) == Known::Clash {
            chain.pop();
            if chain.is_empty() || known.of(&[item]) == Known::Clash {
                return Err(item);
            }
        }
    }
    Ok(chain)
}

/// One planning: what is decided so far.
struct Line<'a> {
    chain: &'a [Item],
    known: &'a dyn Knowledge,
    limits: &'a Limits,
    reds: u32,
    running: Vec<Vec<Item>>,
    acts: Vec<Act>,
}

/// What of the chain is decided.
struct Shape {
    /// Length of the shortest prefix that is red.
    red: Option<usize>,
    /// Length of the shortest prefix that has said nothing as often as it is asked.
    unsure: Option<usize>,
}

impl Line<'_> {
    fn decide(&mut self) {
        if let Some(items) = self.green() {
            self.acts.push(Act::Land { items });
            return;
        }
        let shape = self.shape();
        if let Some(act) = self.verdict(&shape) {
            self.acts.push(act);
            return;
        }
        self.cancel(&shape);
        self.repeat(&shape);
        self.dispatch(&shape);
    }

    /// The longest green candidate: of the prefixes, else of what is behind a gap.
    fn green(&self) -> Option<Vec<Item>> {
        let is_green = |items: &[Item]| self.known.of(items) == Known::Green;
        let n = self.chain.len();
        let prefix = (1..=n).rev().find(|&len| is_green(&self.chain[..len]));
        if let Some(len) = prefix {
            return Some(self.chain[..len].to_vec());
        }
        let red = self.shape().red?;
        (1..=n.saturating_sub(red)).rev().find_map(|len| {
            let mut starts = 1..=n - len;
            let start = starts.find(|&start| is_green(&self.chain[start..start + len]))?;
            Some(self.chain[start..start + len].to_vec())
        })
    }

    fn shape(&self) -> Shape {
        let of = |len: usize| self.known.of(&self.chain[..len]);
        let lengths = 1..=self.chain.len();
        Shape {
            red: lengths.clone().find(|&len| matches!(of(len), Known::Red { .. })),
            unsure: lengths.clone().find(|&len| matches!(of(len), Known::Unsure { times } if times >= UNSURE_MAX)),
        }
    }

    /// What can be said of the first item alone.
    fn verdict(&self, shape: &Shape) -> Option<Act> {
        let item = *self.chain.first()?;
        if self.known.of(&[]) != Known::Green || (shape.red != Some(1) && shape.unsure != Some(1)) {
            return None;
        }
        match self.known.of(&[item]) {
            Known::Red { times } if times >= self.reds => Some(Act::Eject { item, why: Why::Red }),
            Known::Unsure { times } if times >= UNSURE_MAX => Some(Act::Eject { item, why: Why::Timeout }),
            Known::Red { .. } | Known::Unsure { .. } | Known::Unknown => None,
            Known::Running | Known::Green | Known::Clash => None,
        }
    }

    /// Checks of what is not in the line any more.
    fn cancel(&mut self, shape: &Shape) {
        let gone = |items: &Vec<Item>| {
            let prefix = self.chain.starts_with(items);
            let beyond = prefix && shape.red.is_some_and(|red| items.len() > red);
            let part = items.is_empty() || self.chain.windows(items.len()).any(|window| window == items);
            beyond || !part
        };
        let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().partition(gone);
        self.running = kept;
        self.acts.extend(gone.into_iter().map(|items| Act::Cancel { items }));
    }

    fn free(&self) -> usize {
        self.limits.slots.max(1).saturating_sub(self.running.len())
    }

    fn runs(&self, items: &[Item]) -> bool {
        self.running.iter().any(|other| other == items)
    }

    /// Starts a check, if there is a slot and it has no verdict that stands.
    fn check(&mut self, items: &[Item]) {
        if self.free() == 0 || self.runs(items) {
            return;
        }
        let again = match self.known.of(items) {
            Known::Unknown => false,
            Known::Red { times } if items.len() <= 1 && times < self.reds => true,
            Known::Unsure { times } if times < UNSURE_MAX => true,
            Known::Running | Known::Green | Known::Red { .. } | Known::Unsure { .. } | Known::Clash => return,
        };
        self.running.push(items.to_vec());
        self.acts.push(Act::Check { items: items.to_vec(), again });
    }

    /// What has a verdict that is not enough: a first item that is red, a control, a timeout.
    fn repeat(&mut self, shape: &Shape) {
        let chain = self.chain;
        if shape.red == Some(1) || shape.unsure == Some(1) {
            if self.known.of(&[]) != Known::Green {
                self.check(&[]);
            }
            self.check(&chain[..1]);
        }
        let end = shape.red.unwrap_or(chain.len());
        for len in 1..=end {
            if matches!(self.known.of(&chain[..len]), Known::Unsure { .. }) {
                self.check(&chain[..len]);
            }
        }
    }

    fn dispatch(&mut self, shape: &Shape) {
        let chain = self.chain;
        match (shape.red, shape.unsure) {
            (red, Some(unsure)) if red.is_none_or(|red| unsure < red) => {
                // One after the other, from the front: whose the time is cannot be told from a half.
                for len in 1..unsure {
                    self.check(&chain[..len]);
                }
            }
            (Some(1), _) => self.cover(&chain[1..]),
            (Some(red), _) => {
                let behind = red < chain.len() && self.limits.slots > 1;
                let keep = usize::from(behind && !self.running.iter().any(|items| !chain.starts_with(items)));
                self.split(red, keep);
                if behind {
                    self.cover(&chain[red..]);
                }
            }
            (None, _) => self.cover(chain),
        }
    }

    /// Checks of prefixes of `line` that no check covers yet: each, if there are slots for all of them, else evenly
    /// spaced with the longest always among them.
    fn cover(&mut self, line: &[Item]) {
        let covered = self.running.iter().filter(|items| line.starts_with(items)).map(Vec::len).max().unwrap_or(0);
        let known = (1..=line.len()).rev().find(|&len| self.known.of(&line[..len]) != Known::Unknown);
        let covered = covered.max(known.unwrap_or(0));
        let free = self.free();
        let end = if self.limits.slots <= 1 { line.len().min(self.alone()) } else { line.len() };
        if free == 0 || covered >= end {
            return;
        }
        let open = end - covered;
        let cuts = free.min(open);
        for cut in 1..=cuts {
            self.check(&line[..covered + (open * cut).div_ceil(cuts)]);
        }
    }

    /// Splits the largest gaps inside a red prefix, with all free slots but `keep`.
    fn split(&mut self, red: usize, keep: usize) {
        while self.free() > keep {
            let mut cuts: Vec<usize> = (1..red).filter(|&len| self.runs(&self.chain[..len])).collect();
            cuts.insert(0, 0);
            cuts.push(red);
            let gap = cuts.windows(2).max_by_key(|gap| (gap[1] - gap[0], std::cmp::Reverse(gap[0])));
            let Some((from, to)) = gap.map(|gap| (gap[0], gap[1])).filter(|(from, to)| to - from > 1) else { return };
            let before = self.running.len();
            let chain = self.chain;
            self.check(&chain[..usize::midpoint(from, to)]);
            if self.running.len() == before {
                return;
            }
        }
    }

    /// The longest prefix that one slot alone tries.
    fn alone(&self) -> usize {
        let share = self.limits.red_share.clamp(RED_SHARE.0, RED_SHARE.1);
        let length = (1..=self.limits.look_ahead.max(1)).take_while(|&len| f64_of(len) * share.sqrt() <= ALONE).last();
        length.unwrap_or(1)
    }
}

fn f64_of(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
