//! What is to be expected of a check, when several run at a time.
//!
//! The items of the line are red independently, by the share of reds. A *world* says which are: nobody, one, or the
//! first two, which is all that a check of a prefix, or of the line without one suspect, can tell. Each world has a
//! weight by what is known. The next check is the one that raises the expected worth of the answers most, beside what
//! runs already; below a price it is not started. The figures of the worth are those with which the simulator
//! (`benches/queue.rs`) does best over 2 to 20 % of reds and 2 to 8 slots; it is flat around them.

use super::{Item, Limits};

/// A set of places of the line, as bits.
pub(super) type Set = u64;

/// A gap that is half as long is worth as much as so many decided items.
const HALVING: f64 = 1.2;
/// A check that promises fewer items than this is not started: its slot is kept for who comes next.
const PRICE: f64 = 0.2;

/// The first `len` places.
pub(super) fn prefix(len: usize) -> Set {
    if len == 0 { 0 } else { Set::MAX >> (64 - len.min(64)) }
}

/// The places of these items, if they are in the line in this order.
pub(super) fn set(chain: &[Item], items: &[Item]) -> Option<Set> {
    let mut from = 0;
    let mut set = 0;
    for item in items {
        let at = from + chain[from..].iter().position(|other| other == item)?;
        set |= 1 << at;
        from = at + 1;
    }
    Some(set)
}

/// The items at these places.
pub(super) fn items(chain: &[Item], set: Set) -> Vec<Item> {
    chain.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, item)| *item).collect()
}

/// The first red item of a world; beyond every line where there is none.
fn first(world: Set) -> u32 {
    world.trailing_zeros()
}

/// What may be checked: every prefix (shorter than a red one), and behind a red one the line without one of its items,
/// whole, half as long and so on.
pub(super) fn options(len: usize, red: Option<usize>) -> Vec<Set> {
    let mut found: Vec<Set> = (1..red.unwrap_or(len + 1)).map(prefix).collect();
    for suspect in 0..red.unwrap_or(0) {
        let mut to = len;
        while to > suspect + 1 {
            found.push(prefix(to) & !(1 << suspect));
            // Behind the one culprit every length is worth knowing: it is the next line.
            to = if red == Some(1) { to - 1 } else { suspect + 1 + (to - suspect - 1) / 2 };
        }
    }
    found
}

/// What the answers of the checks under way leave, in one world.
#[derive(Clone, Copy, PartialEq)]
struct Left {
    /// Longest green prefix.
    green: usize,
    /// Shortest red one.
    red: usize,
    /// Items of the longest green line without one suspect.
    around: usize,
}

impl Left {
    fn with(mut self, set: Set, world: Set) -> Self {
        let len = set.count_ones() as usize;
        match (set == prefix(len), set & world == 0) {
            (true, true) => self.green = self.green.max(len),
            (true, false) => self.red = self.red.min(len),
            (false, true) => self.around = self.around.max(len),
            (false, false) => {}
        }
        self
    }
}

/// Worlds in which a prefix, and what is behind the first red item, get the same answers.
struct Class {
    /// One of them.
    world: Set,
    weight: f64,
    left: Left,
    worth: f64,
}

/// The worlds with their weights.
pub(super) struct Belief {
    flake: f64,
    len: usize,
    /// By their first red item; nobody comes first.
    worlds: Vec<(Set, f64, Left)>,
    /// Worth of a gap of this length.
    gaps: Vec<f64>,
}

impl Belief {
    /// What is believed of a line of so many, of which so many are red together. Where only prefixes are asked about, the
    /// second red item makes no difference: such worlds are told together, as if it were not there.
    pub(super) fn new(len: usize, red: Option<usize>, only_prefixes: bool, limits: &Limits) -> Self {
        let bad = limits.red_share;
        let good = 1.0 - bad;
        let mut powers = vec![1.0];
        while powers.len() <= len {
            powers.push(powers[powers.len() - 1] * good);
        }
        let left = Left { green: 0, red: red.unwrap_or(len + 1), around: 0 };
        let mut worlds = Vec::with_capacity(1 + if only_prefixes { len } else { len * (len + 1) / 2 });
        worlds.push((0, powers[len], left));
        for first in 0..len {
            let weight = powers[first] * bad;
            if only_prefixes {
                worlds.push((1 << first, weight, left));
                continue;
            }
            worlds.push((1 << first, weight * powers[len - first - 1], left));
            worlds.extend(
                (first + 1..len)
                    .map(|second| (1 << first | 1 << second, weight * powers[second - first - 1] * bad, left)),
            );
        }
        let gaps = (0..=len + 1).map(|gap| -HALVING * (gap.max(1) as f64).log2()).collect();
        let mut belief = Self { flake: limits.flake_share.clamp(0.0, 1.0), len, worlds, gaps };
        if let Some(red) = red {
            belief.is_red(prefix(red), 1);
        }
        belief
    }

    /// A candidate has been red so many times.
    pub(super) fn is_red(&mut self, set: Set, times: u32) {
        for (world, weight, _) in &mut self.worlds {
            if set & *world == 0 {
                *weight *= self.flake.powi(i32::try_from(times).unwrap_or(i32::MAX));
            }
        }
        self.worlds.retain(|(_, weight, _)| *weight > 0.0);
    }

    /// A candidate is green.
    pub(super) fn is_green(&mut self, set: Set) {
        self.worlds.retain(|(world, _, _)| set & *world == 0);
        self.expect(set);
    }

    /// A candidate is being checked.
    pub(super) fn expect(&mut self, set: Set) {
        for (world, _, left) in &mut self.worlds {
            *left = left.with(set, *world);
        }
    }

    /// The option from which most is to be expected, if it is worth its price.
    pub(super) fn best(&self, options: &[Set]) -> Option<Set> {
        let classes = self.classes();
        let total: f64 = classes.iter().map(|class| class.weight).sum();
        let mut best = None;
        // Beside what there is to be expected without it.
        let mut most = PRICE * total;
        for &option in options {
            let more = if option == prefix(option.count_ones() as usize) {
                classes.iter().map(|class| self.gain(class, option)).sum()
            } else {
                self.gain_around(&classes, option)
            };
            // A hair more, so that rounding does not choose.
            if more > most + 1e-9 * total {
                most = more;
                best = Some(option);
            }
        }
        best
    }

    /// The worlds by what a prefix can tell of them.
    fn classes(&self) -> Vec<Class> {
        let mut classes: Vec<Class> = Vec::with_capacity(2 * self.len + 2);
        for (world, weight, left) in &self.worlds {
            match classes.last_mut() {
                Some(last) if first(last.world) == first(*world) && last.left == *left => last.weight += weight,
                _ => {
                    let (world, weight, left) = (*world, *weight, *left);
                    classes.push(Class { world, weight, left, worth: self.worth(left) });
                }
            }
        }
        classes
    }

    fn gain(&self, class: &Class, option: Set) -> f64 {
        class.weight * (self.worth(class.left.with(option, class.world)) - class.worth)
    }

    /// The same for the line without one item: it is green only in worlds whose first red item is that one, or behind it.
    fn gain_around(&self, classes: &[Class], option: Set) -> f64 {
        let end = 64 - option.leading_zeros();
        let behind =
            classes.iter().filter(|class| first(class.world) >= end).map(|class| self.gain(class, option)).sum();
        let suspect = first(!option);
        let from = self.worlds.partition_point(|(world, _, _)| *world == 0 || first(*world) < suspect);
        let of_suspect = self.worlds[from..].iter().take_while(|(world, _, _)| first(*world) == suspect);
        of_suspect.fold(behind, |sum: f64, (world, weight, left)| {
            sum + weight * (self.worth(left.with(option, *world)) - self.worth(*left))
        })
    }

    /// What answers are worth, in decided items.
    fn worth(&self, left: Left) -> f64 {
        let green = left.green as f64;
        if left.red > self.len {
            return green;
        }
        match left.red.saturating_sub(left.green) {
            // The one culprit is decided, too, and what is green without it lands with the rest.
            1 => left.around.max(left.green) as f64 + 1.0,
            gap => green + self.gaps[gap],
        }
    }
}
