//! A world for merge queues: changes come, some are red, checks take one unit of time, some lie, and now and then
//! something breaks. It knows the truth, so it can count what a queue got wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::train::{Act, Item, Knowledge, Known, Limits, Why};

/// SplitMix64: small, seeded, good enough for coins (Steele, Lea and Flood, 2014).
pub(super) struct Coins(u64);

impl Coins {
    /// A stream of its own for each seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evenly between 0 and 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Does something of this chance happen?
    pub(super) fn hit(&mut self, chance: f64) -> bool {
        self.share() < chance
    }

    /// A wait with this mean.
    pub(super) fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }
}

/// Who decides.
pub(super) trait Policy {
    /// What to do now, as `train::plan`.
    fn plan(&mut self, queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act>;
}

/// What goes wrong beside red changes and flakes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Share of changes that clash with one of the three before them.
    pub(super) clashes: f64,
    /// Share of changes whose check never ends.
    pub(super) hangs: f64,
    /// Share of checks that time out by themselves.
    pub(super) timeouts: f64,
    /// Per unit of time: the owner dies, and what runs is lost.
    pub(super) crashes: f64,
    /// Per unit of time: somebody else commits to the target; one in four of these commits is red.
    pub(super) strangers: f64,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// From coming to landing or going back, in check times.
    pub(super) waits: Vec<f64>,
    /// Checks begun.
    pub(super) checks: u64,
    /// Time in slots, in check times: what was cancelled counts for as long as it ran.
    pub(super) spent: f64,
    /// Landings, each of one or more changes.
    pub(super) landings: u64,
    /// Changes landed.
    pub(super) landed: u64,
    /// Changes sent back.
    pub(super) ejected: u64,
    /// Of these, those that were all right.
    pub(super) false_ejects: u64,
    /// Landings on a tree that no check had found green. This must be 0.
    pub(super) unverified: u64,
    /// Landed changes that are red in truth.
    pub(super) red_landed: u64,
    /// Times that the line was stopped.
    pub(super) base_reds: u64,
    /// Of these, those with a tip that was all right.
    pub(super) false_stops: u64,
    /// Still waiting at the end.
    pub(super) left: u64,
    /// When the last one was decided.
    pub(super) end: f64,
}

/// A change, as it is in truth.
#[derive(Clone, Copy, Default)]
struct Truth {
    red: bool,
    hangs: bool,
    clash: Option<Item>,
    came: f64,
}

struct Run {
    ends: f64,
    /// Length of the history that it stands on.
    base: usize,
    items: Vec<Item>,
}

/// Commits of others have the highest numbers.
const STRANGER: Item = 1 << 30;

/// The world at one moment.
pub(super) struct World {
    coins: Coins,
    limits: Limits,
    faults: Faults,
    now: f64,
    truth: Vec<Truth>,
    /// What is on the target, in order.
    history: Vec<Item>,
    on: BTreeSet<Item>,
    strangers: u32,
    /// The tip is red by this commit of somebody else.
    broken: bool,
    queue: Vec<Item>,
    running: Vec<Run>,
    /// By the tree: a hash over everything in it, in order.
    verdicts: BTreeMap<u64, Known>,
    /// Independent of the verdicts: trees that a check found green.
    proven: BTreeSet<u64>,
    tip: u64,
    seen: Seen,
}

fn grown(tree: u64, items: &[Item]) -> u64 {
    items.iter().fold(tree, |tree, item| Coins(tree ^ u64::from(*item).wrapping_mul(0xD6E8_FEB8_6659_FD93)).next())
}

struct Told<'a>(&'a World);

impl Knowledge for Told<'_> {
    fn of(&self, items: &[Item]) -> Known {
        let world = self.0;
        let clashes = |at: usize| {
            let enemy = world.truth[items[at] as usize].clash;
            enemy.is_some_and(|enemy| world.on.contains(&enemy) || items[..at].contains(&enemy))
        };
        if (0..items.len()).any(clashes) {
            return Known::Clash;
        }
        world.verdicts.get(&grown(world.tip, items)).copied().unwrap_or(Known::Unknown)
    }
}

impl World {
    /// An empty queue on a green tip.
    pub(super) fn new(seed: u64, limits: Limits, faults: Faults) -> Self {
        let mut world = Self {
            coins: Coins::new(seed),
            limits,
            faults,
            now: 0.0,
            truth: Vec::new(),
            history: Vec::new(),
            on: BTreeSet::new(),
            strangers: 0,
            broken: false,
            queue: Vec::new(),
            running: Vec::new(),
            verdicts: BTreeMap::new(),
            proven: BTreeSet::new(),
            tip: 1,
            seen: Seen::default(),
        };
        world.verdicts.insert(1, Known::Green);
        world
    }

    /// So many changes at once, until all are decided.
    pub(super) fn burst(mut self, changes: usize, policy: &mut dyn Policy) -> Seen {
        (0..changes).for_each(|_| self.come());
        self.go(policy, f64::INFINITY, f64::INFINITY, usize::MAX)
    }

    /// Changes come with this mean time between them, until a time or so many landed.
    pub(super) fn stream(mut self, every: f64, until: f64, landings: usize, policy: &mut dyn Policy) -> Seen {
        self.go(policy, every, until, landings)
    }

    fn come(&mut self) {
        let item = self.truth.len() as Item;
        let clash = self.coins.hit(self.faults.clashes) && item > 3;
        let back = 1 + (self.coins.share() * 3.0) as Item;
        self.truth.push(Truth {
            red: self.coins.hit(self.limits.red_share),
            hangs: self.coins.hit(self.faults.hangs),
            clash: clash.then(|| item - back),
            came: self.now,
        });
        self.queue.push(item);
    }

    fn go(&mut self, policy: &mut dyn Policy, every: f64, until: f64, landings: usize) -> Seen {
        let mut comes = if every.is_finite() { self.coins.wait(every) } else { f64::INFINITY };
        let rate = |rate: f64| if rate > 0.0 { 1.0 / rate } else { f64::INFINITY };
        let (crash_every, stranger_every) = (rate(self.faults.crashes), rate(self.faults.strangers));
        let mut crash = self.after(crash_every);
        let mut stranger = self.after(stranger_every);
        loop {
            self.settle(policy);
            let ends = self.running.iter().map(|run| run.ends).fold(f64::INFINITY, f64::min);
            let decided = self.queue.is_empty() && every.is_infinite();
            self.now = ends.min(comes).min(crash).min(stranger);
            if decided || self.now >= until || self.now.is_infinite() || self.seen.landings >= landings as u64 {
                self.seen.left = self.queue.len() as u64;
                return self.seen.clone();
            }
            if self.now >= comes {
                self.come();
                comes = self.now + self.coins.wait(every);
            } else if self.now >= crash {
                // Nothing but the verdicts survives: they are in the journal.
                self.running.drain(..).for_each(|run| self.seen.spent -= run.ends - self.now);
                crash = self.after(crash_every);
            } else if self.now >= stranger {
                let red = self.coins.hit(0.25);
                self.broken |= red;
                self.foreign();
                stranger = self.after(stranger_every);
            } else {
                self.finish();
            }
        }
    }

    fn after(&mut self, mean: f64) -> f64 {
        if mean.is_finite() { self.now + self.coins.wait(mean) } else { f64::INFINITY }
    }

    /// Somebody else's commit: nothing is known of the new tip.
    fn foreign(&mut self) {
        let item = STRANGER + self.strangers;
        self.strangers += 1;
        self.history.push(item);
        self.tip = grown(self.tip, &[item]);
    }

    /// What runs, as lists on the tip of now; what does not stand on it is told with an item that nobody knows.
    fn lists(&self) -> Vec<Vec<Item>> {
        let list = |run: &Run| {
            let since = &self.history[run.base..];
            run.items.strip_prefix(since).map_or_else(|| vec![Item::MAX], <[Item]>::to_vec)
        };
        self.running.iter().map(list).collect()
    }

    /// Plans until nothing is wanted any more.
    fn settle(&mut self, policy: &mut dyn Policy) {
        loop {
            let lists = self.lists();
            let acts = policy.plan(&self.queue, &lists, &Told(self), &self.limits);
            let moves = acts.iter().any(|act| !matches!(act, Act::Check { .. } | Act::Cancel { .. }));
            for act in acts {
                match act {
                    Act::Check { items, .. } => self.start(items),
                    Act::Land { items } => self.land(&items),
                    Act::Eject { item, why } => self.eject(item, why),
                    Act::Cancel { items } => {
                        let at =
                            self.lists().iter().position(|list| *list == items).expect("only what runs is cancelled");
                        let run = self.running.remove(at);
                        self.seen.spent -= run.ends - self.now;
                    }
                    Act::BaseRed => self.stop(),
                }
            }
            if !moves {
                return;
            }
        }
    }

    fn start(&mut self, items: Vec<Item>) {
        assert!(self.running.len() < self.limits.slots, "no more checks than slots");
        self.seen.checks += 1;
        self.seen.spent += 1.0;
        self.running.push(Run { ends: self.now + 1.0, base: self.history.len(), items });
    }

    fn land(&mut self, items: &[Item]) {
        self.seen.landings += 1;
        self.tip = grown(self.tip, items);
        // Not by what the queue was told, but by what the checks have found.
        self.seen.unverified += u64::from(!self.proven.contains(&self.tip));
        for &item in items {
            let truth = self.truth[item as usize];
            self.seen.red_landed += u64::from(truth.red);
            self.history.push(item);
            self.on.insert(item);
            self.decided(item);
            self.seen.landed += 1;
        }
    }

    fn eject(&mut self, item: Item, why: Why) {
        let truth = self.truth[item as usize];
        let right = match why {
            Why::Red => truth.red,
            Why::Timeout => truth.hangs,
            Why::Clash => truth.clash.is_some_and(|enemy| self.on.contains(&enemy)),
        };
        self.seen.ejected += 1;
        self.seen.false_ejects += u64::from(!right);
        self.decided(item);
    }

    fn decided(&mut self, item: Item) {
        let at = self.queue.iter().position(|other| *other == item).expect("only what waits is decided");
        self.queue.remove(at);
        self.seen.waits.push(self.now - self.truth[item as usize].came);
        self.seen.end = self.now;
    }

    /// The line stops, somebody mends the target.
    fn stop(&mut self) {
        self.seen.base_reds += 1;
        self.seen.false_stops += u64::from(!self.broken);
        self.broken = false;
        self.foreign();
    }

    /// The checks whose time has come.
    fn finish(&mut self) {
        let (done, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(|run| run.ends <= self.now);
        self.running = left;
        for run in done {
            let Some(items) = run.items.strip_prefix(&self.history[run.base..]) else { continue };
            let tree = grown(self.tip, items);
            let of = |mark: fn(&Truth) -> bool| items.iter().any(|item| mark(&self.truth[*item as usize]));
            let (red, hangs) = (of(|truth| truth.red) || self.broken, of(|truth| truth.hangs));
            let before = self.verdicts.get(&tree).copied();
            let verdict = if hangs || self.coins.hit(self.faults.timeouts) {
                let times = if let Some(Known::Unsure { times }) = before { times } else { 0 };
                Known::Unsure { times: times + 1 }
            } else if red || self.coins.hit(self.limits.flake_share) {
                let times = if let Some(Known::Red { times }) = before { times } else { 0 };
                Known::Red { times: times + 1 }
            } else {
                self.proven.insert(tree);
                Known::Green
            };
            self.verdicts.insert(tree, verdict);
        }
    }
}
