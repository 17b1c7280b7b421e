//! What others do, as policies of the same world: one at a time, batches that are split, speculation on prefixes.

use super::sim::Policy;
use super::train::{self, Act, Item, Knowledge, Known, Limits, Why};

/// Ours.
pub(super) struct Ours;

impl Policy for Ours {
    fn plan(&mut self, queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
        train::plan(queue, running, known, limits)
    }
}

/// A red that is alone is asked once more where checks lie at all; so do all of these, for a fair match.
fn reds(limits: &Limits) -> u32 {
    if limits.flake_share > 0.0 { 2 } else { 1 }
}

/// What follows from a check of these on the tip: nothing yet, or an act.
fn alone(item: Item, running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Option<Act> {
    let items = vec![item];
    match known.of(&items) {
        Known::Green => Some(Act::Land { items }),
        Known::Red { times } if times >= reds(limits) => Some(Act::Eject { item, why: Why::Red }),
        Known::Unknown | Known::Red { .. } if !running.contains(&items) => Some(Act::Check { items, again: false }),
        Known::Unknown | Known::Running | Known::Red { .. } | Known::Unsure { .. } | Known::Clash => None,
    }
}

/// One change at a time.
pub(super) struct Serial;

impl Policy for Serial {
    fn plan(&mut self, queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
        queue.first().and_then(|item| alone(*item, running, known, limits)).into_iter().collect()
    }
}

/// Batches of at most so many; a red one is split in half, lower half first (bors).
pub(super) struct Batches {
    most: usize,
    open: Vec<Vec<Item>>,
}

impl Batches {
    /// Of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, open: Vec::new() }
    }
}

impl Policy for Batches {
    fn plan(&mut self, queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
        while self.open.last().is_some_and(|batch| !batch.iter().all(|item| queue.contains(item))) {
            self.open.pop();
        }
        if self.open.is_empty() && !queue.is_empty() {
            self.open.push(queue[..queue.len().min(self.most)].to_vec());
        }
        let Some(batch) = self.open.last().cloned() else { return Vec::new() };
        if let [item] = batch[..] {
            return alone(item, running, known, limits).into_iter().collect();
        }
        match known.of(&batch) {
            Known::Green => vec![Act::Land { items: batch }],
            Known::Red { .. } => {
                let (lower, upper) = batch.split_at(batch.len() / 2);
                self.open.pop();
                self.open.push(upper.to_vec());
                self.open.push(lower.to_vec());
                self.plan(queue, running, known, limits)
            }
            Known::Unknown if !running.contains(&batch) => vec![Act::Check { items: batch, again: false }],
            Known::Unknown | Known::Running | Known::Unsure { .. } | Known::Clash => Vec::new(),
        }
    }
}

/// Each change on top of all in front of it, in as many slots as there are (Zuul, GitHub).
pub(super) struct Prefixes;

impl Policy for Prefixes {
    fn plan(&mut self, queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
        let Some(&first) = queue.first() else { return Vec::new() };
        if let Some(act) = alone(first, running, known, limits)
            && !matches!(act, Act::Check { .. })
        {
            return vec![act];
        }
        let mut acts = Vec::new();
        let mut busy = 0;
        for items in running {
            if queue.starts_with(items) {
                busy += 1;
            } else {
                acts.push(Act::Cancel { items: items.clone() });
            }
        }
        for len in 1..=queue.len().min(limits.slots) {
            let items = &queue[..len];
            let open = match known.of(items) {
                Known::Unknown => true,
                Known::Red { times } => len == 1 && times < reds(limits),
                Known::Running | Known::Green | Known::Unsure { .. } | Known::Clash => false,
            };
            if open && busy < limits.slots && !running.iter().any(|other| other == items) {
                busy += 1;
                acts.push(Act::Check { items: items.to_vec(), again: false });
            }
        }
        acts
    }
}
