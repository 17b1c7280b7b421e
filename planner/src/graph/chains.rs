//! Which steps have to be ordered, without comparing every pair.
//!
//! All steps with one pattern have to be ordered among each other, and so have those of a group: each is a *chain*, and a
//! new step only has to find its place between two members of it. That also goes for every chain whose pattern overlaps one
//! of the step's. Of two patterns that overlap, one stands before the other in the order of their literal beginnings: it is
//! the *wider*. A step looks at all wider chains, of which there are few. Of the narrower ones, of which there can be as many
//! as files, it only looks at those that have grown since the last step of its own chain: what that one came after comes
//! before this one, too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Node, group_count};
use crate::globs::Flat;

/// The chains of a plan, as far as its steps have joined them.
pub(super) struct Chains {
    /// The patterns of each step, then its group.
    of: Vec<Vec<usize>>,
    /// Members of each, first to last.
    members: Vec<Vec<usize>>,
    wider: Vec<Vec<usize>>,
    narrower: Vec<Vec<usize>>,
    /// Narrower chains that have a member which may not come before the last of this one.
    grown: Vec<BTreeSet<usize>>,
}

impl Chains {
    pub(super) fn new(nodes: &[Node]) -> Self {
        let mut numbers: HashMap<&Flat, usize> = HashMap::new();
        let mut flats: Vec<&Flat> = Vec::new();
        let mut of = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut own: Vec<usize> = Vec::new();
            // A pattern that no path matches overlaps nothing, itself included.
            for flat in node.writes.iter().flatten().flat_map(|glob| glob.flats()).filter(|flat| flat.overlaps(flat)) {
                let number = *numbers.entry(flat).or_insert(flats.len());
                if number == flats.len() {
                    flats.push(flat);
                }
                own.push(number);
            }
            own.sort_unstable();
            own.dedup();
            of.push(own);
        }
        let count = flats.len() + group_count(nodes);
        for (own, node) in of.iter_mut().zip(nodes) {
            own.extend(node.group.filter(|_| node.writes.is_some()).map(|group| flats.len() + group));
        }
        let (mut wider, mut narrower) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (a, b) in overlaps(&flats) {
            wider[b].push(a);
            narrower[a].push(b);
        }
        Self { of, members: vec![Vec::new(); count], wider, narrower, grown: vec![BTreeSet::new(); count] }
    }

    /// The members of a chain, first to last.
    pub(super) fn members(&self, chain: usize) -> &[usize] {
        &self.members[chain]
    }

    /// The chains that a step has to find its place in.
    pub(super) fn open(&self, step: usize) -> BTreeSet<usize> {
        let own = &self.of[step];
        let others = own.iter().flat_map(|chain| self.wider[*chain].iter().chain(&self.grown[*chain]));
        let all = own.iter().chain(others).copied();
        all.filter(|chain| !self.members[*chain].is_empty()).collect()
    }

    /// Those that it has to look at besides, once it turns out that it comes before a member of a chain of its own.
    pub(super) fn rest(&self, step: usize, places: &BTreeMap<usize, usize>) -> BTreeSet<usize> {
        let inside = |chain: &&usize| places.get(chain).is_some_and(|place| *place < self.members[**chain].len());
        let all = self.of[step].iter().filter(inside).flat_map(|chain| &self.narrower[*chain]).copied();
        all.filter(|chain| !self.members[*chain].is_empty() && !places.contains_key(chain)).collect()
    }

    /// A step has found its place in each chain that it was to look at.
    pub(super) fn join(&mut self, step: usize, places: &BTreeMap<usize, usize>) {
        for chain in &self.of[step] {
            let place = places.get(chain).copied().unwrap_or(0);
            if place == self.members[*chain].len() {
                let behind = |other: &usize| places.get(other).is_some_and(|at| *at == self.members[*other].len());
                self.grown[*chain].retain(|other| !behind(other));
            }
        }
        for chain in &self.of[step] {
            self.members[*chain].insert(places.get(chain).copied().unwrap_or(0), step);
            for wider in &self.wider[*chain] {
                self.grown[*wider].insert(*chain);
            }
        }
    }
}

/// The pairs of patterns that overlap, the wider first.
///
/// Two patterns can only overlap when the literal beginning of one begins the literal beginning of the other. Sorted by it,
/// the candidates of a pattern stand right behind it.
fn overlaps(flats: &[&Flat]) -> Vec<(usize, usize)> {
    let mut sorted: Vec<usize> = (0..flats.len()).collect();
    sorted.sort_by_key(|number| (flats[*number].prefix(), *number));
    let mut found = Vec::new();
    for (n, number) in sorted.iter().enumerate() {
        let flat = flats[*number];
        for other in &sorted[n + 1..] {
            let prefix = flats[*other].prefix();
            let candidate = if flat.is_literal() { prefix == flat.prefix() } else { prefix.starts_with(flat.prefix()) };
            if !candidate {
                break;
            }
            if flat.overlaps(flats[*other]) {
                found.push((*number, *other));
            }
        }
    }
    found
}
