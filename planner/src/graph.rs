//! The order of steps: the graph of `needs`, the implicit order between steps that may write the same file, and what
//! follows from both.
//!
//! Two write steps that may touch a common path, or that land in one group, are never left unordered. Where `needs`
//! does not order them, plan order does, with an edge of kind `after`. Groups make this less than trivial: a group
//! lands in one move, so a step outside must not come after one member and before another. Order is therefore decided
//! between *units* (a group, or a step of no group): an edge between two units follows the order the units already
//! have, and only where they have none, plan order. Since an edge is added only where the opposite path is absent,
//! nothing added can close a cycle, neither of units nor of steps.

mod chains;
mod reach;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use petgraph::Direction;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use serde::{Deserialize, Serialize};

use crate::globs::{Flat, Glob};
use crate::id::StepId;
use chains::Chains;
use reach::{Reach, Square};

/// An edge of the plan, seen from one of its ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edge {
    /// The step at the other end.
    pub step: StepId,
    /// Why the two are ordered.
    pub kind: EdgeKind,
}

/// Why two steps are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EdgeKind {
    /// The plan says so; failure is passed on.
    Needs,
    /// They may touch a common path, or land together; failure is not passed on.
    After,
}

/// What the order of a step depends on. Steps are known by their place in the plan here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    /// The steps it needs.
    pub(crate) needs: Vec<usize>,
    /// A number per group.
    pub(crate) group: Option<usize>,
    /// What it may write; `None` for a step that does not write.
    pub(crate) writes: Option<Vec<Glob>>,
}

/// The order of all steps of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    before: Vec<Vec<(usize, EdgeKind)>>,
    behind: Vec<Vec<(usize, EdgeKind)>>,
    priority: Vec<u32>,
    order: Vec<usize>,
    ranks: Vec<usize>,
}

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disorder {
    /// Each step needs the next, the last needs the first.
    Cycle(Vec<usize>),
    /// Groups that would have to land before themselves: pairs of a step and one it needs, each pair continued by one
    /// whose first step is the second of this, or of the same group; the last is so continued by the first.
    GroupCycle(Vec<(usize, usize)>),
}

impl Graph {
    /// The graph of `nodes`, or every cycle in it.
    pub(crate) fn new(nodes: &[Node]) -> Result<Self, Vec<Disorder>> {
        let mut edges: DiGraph<(), EdgeKind> = DiGraph::new();
        for _ in nodes {
            edges.add_node(());
        }
        for (i, node) in nodes.iter().enumerate() {
            for need in node.needs.iter().collect::<BTreeSet<_>>() {
                edges.add_edge(NodeIndex::new(*need), NodeIndex::new(i), EdgeKind::Needs);
            }
        }
        let mut disorder: Vec<Disorder> = cycles(&edges).into_iter().map(Disorder::Cycle).collect();
        if disorder.is_empty() {
            disorder.extend(group_cycles(nodes).into_iter().map(Disorder::GroupCycle));
        }
        if !disorder.is_empty() {
            return Err(disorder);
        }
        add_implicit(&mut edges, nodes);
        let priority = bottom_levels(&edges);
        let order = topological(&edges, |i| (priority[i], Reverse(i)));
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(rank, i)| ranks[*i] = rank);
        let all = |direction| edges.node_indices().map(|node| neighbours(&edges, node, direction)).collect();
        Ok(Self { before: all(Direction::Incoming), behind: all(Direction::Outgoing), priority, order, ranks })
    }

    pub(crate) fn priority(&self, step: usize) -> u32 {
        self.priority[step]
    }

    /// What `step` comes directly after, in plan order.
    pub(crate) fn before(&self, step: usize) -> &[(usize, EdgeKind)] {
        &self.before[step]
    }

    /// What comes directly after `step`, in plan order.
    pub(crate) fn behind(&self, step: usize) -> &[(usize, EdgeKind)] {
        &self.behind[step]
    }

    /// The place of a step in that order.
    pub(crate) fn rank(&self, step: usize) -> usize {
        self.ranks[step]
    }

    /// A topological order: among what may come next, the highest priority, then the earliest in the plan.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }
}

/// The other ends of a step's edges, in plan order.
fn neighbours(edges: &DiGraph<(), EdgeKind>, node: NodeIndex, direction: Direction) -> Vec<(usize, EdgeKind)> {
    let end = |edge: petgraph::graph::EdgeReference<'_, EdgeKind>| match direction {
        Direction::Incoming => (edge.source().index(), *edge.weight()),
        Direction::Outgoing => (edge.target().index(), *edge.weight()),
    };
    let mut found: Vec<(usize, EdgeKind)> = edges.edges_directed(node, direction).map(end).collect();
    found.sort_unstable();
    found
}

/// Kahn's algorithm; what is ready and has the greatest key comes next. A cycle leaves its steps out.
fn topological<K: Ord>(edges: &DiGraph<(), EdgeKind>, key: impl Fn(usize) -> K) -> Vec<usize> {
    let mut waits: Vec<usize> =
        edges.node_indices().map(|n| edges.neighbors_directed(n, Direction::Incoming).count()).collect();
    let mut ready: BinaryHeap<(K, usize)> = (0..waits.len()).filter(|i| waits[*i] == 0).map(|i| (key(i), i)).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some((_, i)) = ready.pop() {
        order.push(i);
        for next in edges.neighbors_directed(NodeIndex::new(i), Direction::Outgoing) {
            waits[next.index()] -= 1;
            if waits[next.index()] == 0 {
                ready.push((key(next.index()), next.index()));
            }
        }
    }
    order
}

/// For each step the length of the longest chain of dependents.
fn bottom_levels(edges: &DiGraph<(), EdgeKind>) -> Vec<u32> {
    let mut levels = vec![0; edges.node_count()];
    for i in topological(edges, Reverse).into_iter().rev() {
        levels[i] = edges
            .neighbors_directed(NodeIndex::new(i), Direction::Outgoing)
            .map(|next| levels[next.index()] + 1)
            .max()
            .unwrap_or(0);
    }
    levels
}

/// One shortest cycle through the first step of each knot, written so that each step needs the next.
fn cycles(edges: &DiGraph<(), EdgeKind>) -> Vec<Vec<usize>> {
    let mut found: Vec<Vec<usize>> = kosaraju_scc(edges)
        .into_iter()
        .filter(|knot| knot.len() > 1)
        .filter_map(|knot| {
            let start = knot.iter().map(|n| n.index()).min()?;
            let mut cycle = needs_path(edges, start, |i| i == start, |_| true)?;
            cycle.pop();
            Some(cycle)
        })
        .collect();
    found.sort_unstable();
    found
}

/// A shortest path along `needs` from `start` to a step that `end` accepts, both included, over steps that `through`
/// allows.
fn needs_path(
    edges: &DiGraph<(), EdgeKind>,
    start: usize,
    end: impl Fn(usize) -> bool,
    through: impl Fn(usize) -> bool,
) -> Option<Vec<usize>> {
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(i) = open.pop_front() {
        let mut needs: Vec<usize> =
            edges.neighbors_directed(NodeIndex::new(i), Direction::Incoming).map(NodeIndex::index).collect();
        needs.sort_unstable();
        for need in needs {
            if end(need) {
                let mut path = vec![need];
                let mut at = Some(i);
                while let Some(i) = at {
                    path.push(i);
                    at = from.get(&i).copied();
                }
                path.reverse();
                return Some(path);
            }
            if need != start && through(need) && !from.contains_key(&need) {
                from.insert(need, i);
                open.push_back(need);
            }
        }
    }
    None
}

/// The number of each step's unit: first the groups, then the steps of none.
fn units(nodes: &[Node]) -> Vec<usize> {
    let groups = group_count(nodes);
    let unit = |(i, node): (usize, &Node)| node.group.unwrap_or(groups + i);
    nodes.iter().enumerate().map(unit).collect()
}

fn group_count(nodes: &[Node]) -> usize {
    let last = nodes.iter().filter_map(|node| node.group).max();
    last.map_or(0, |last| last + 1)
}

/// Cycles of the units, where the steps have none.
fn group_cycles(nodes: &[Node]) -> Vec<Vec<(usize, usize)>> {
    let units = units(nodes);
    let mut between: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for need in node.needs.iter().filter(|need| units[**need] != units[i]) {
            between.entry((units[i], units[*need])).or_insert((i, *need));
        }
    }
    let mut edges: DiGraph<(), EdgeKind> = DiGraph::new();
    for _ in 0..group_count(nodes) + nodes.len() {
        edges.add_node(());
    }
    for (unit, need) in between.keys() {
        edges.add_edge(NodeIndex::new(*need), NodeIndex::new(*unit), EdgeKind::Needs);
    }
    let pairs = |cycle: &Vec<usize>| {
        let next = cycle.iter().cycle().skip(1);
        let pair = |(unit, need): (&usize, &usize)| between[&(*unit, *need)];
        cycle.iter().zip(next).map(pair).collect()
    };
    cycles(&edges).iter().map(pairs).collect()
}

/// Orders what must be ordered and is not: each step, in plan order, finds its place in every chain that it belongs to or
/// overlaps with.
fn add_implicit(edges: &mut DiGraph<(), EdgeKind>, nodes: &[Node]) {
    let mut chains = Chains::new(nodes);
    let mut paths = Paths::new(edges, nodes);
    for step in 0..nodes.len() {
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let mut open = chains.open(step);
        while !open.is_empty() {
            let last = |chain: &usize| chains.members(*chain).last().copied();
            let mut order: Vec<usize> = open.into_iter().collect();
            // Nearest first: the chain through it makes most of the others superfluous.
            order.sort_by_key(|chain| Reverse(last(chain)));
            paths.look(step, order.iter().filter_map(last));
            for chain in order {
                let members = chains.members(chain);
                let place = members.iter().rposition(|member| !paths.is_before(step, *member)).map_or(0, |at| at + 1);
                if let Some(before) = place.checked_sub(1) {
                    paths.order(edges, members[before], step);
                }
                if let Some(behind) = members.get(place) {
                    paths.order(edges, step, *behind);
                }
                places.insert(chain, place);
            }
            open = chains.rest(step, &places);
        }
        chains.join(step, &places);
    }
}

/// The order so far, of steps and of their units.
struct Paths {
    unit_of: Vec<usize>,
    steps: Reach,
    units: Reach,
    /// The step whose predecessors were looked at, down to a place, in the order after so many moves.
    seen: Option<(usize, usize, u64)>,
}

impl Paths {
    fn new(edges: &DiGraph<(), EdgeKind>, nodes: &[Node]) -> Self {
        let unit_of = units(nodes);
        let order = topological(edges, Reverse);
        let mut place = vec![0; nodes.len()];
        order.iter().enumerate().for_each(|(at, i)| place[*i] = at);
        let mut unit_place = vec![usize::MAX; group_count(nodes) + nodes.len()];
        let mut begun = 0;
        for i in order.iter().copied() {
            let place = &mut unit_place[unit_of[i]];
            if *place == usize::MAX {
                *place = begun;
                begun += 1;
            }
        }
        for place in unit_place.iter_mut().filter(|place| **place == usize::MAX) {
            *place = begun;
            begun += 1;
        }
        let (steps, units) = (Reach::new(place), Reach::new(unit_place));
        let mut paths = Self { unit_of, steps, units, seen: None };
        for i in order {
            paths.add_needs(i, &nodes[i].needs);
        }
        paths
    }

    /// Adds the edges of a step's needs that say more than the others.
    fn add_needs(&mut self, step: usize, needs: &[usize]) {
        let mut nearest: Vec<usize> = needs.to_vec();
        nearest.sort_unstable_by_key(|need| Reverse(self.steps.place(*need)));
        let floor = nearest.last().map_or(0, |need| self.steps.place(*need));
        self.steps.begin();
        for need in nearest {
            if self.steps.saw(need) {
                continue;
            }
            self.steps.see(need, floor);
            self.steps.add(need, step);
            self.add_units(need, step);
        }
    }

    fn add_units(&mut self, from: usize, to: usize) {
        let (from, to) = (self.unit_of[from], self.unit_of[to]);
        if from != to && !self.units.path(from, to) {
            self.units.add(from, to);
        }
    }

    /// Looks at what comes before a step, as far back as the first of these members of chains.
    fn look(&mut self, step: usize, members: impl Iterator<Item = usize>) {
        let Some(floor) = members.map(|member| self.steps.place(member)).min() else { return };
        self.steps.begin();
        self.steps.see(step, floor);
        self.seen = Some((step, floor, self.steps.moves()));
    }

    /// Does `step` come before another, by itself or with its unit?
    fn is_before(&mut self, step: usize, other: usize) -> bool {
        let (unit, of_other) = (self.unit_of[step], self.unit_of[other]);
        // The look for this takes the place of the one before.
        let forward = self.steps.place(step) < self.steps.place(other);
        if forward {
            self.seen = None;
        }
        (forward && self.steps.path(step, other)) || (unit != of_other && self.units.path(unit, of_other))
    }

    /// Makes one step come before another, unless it does; the opposite must not be so.
    fn order(&mut self, edges: &mut DiGraph<(), EdgeKind>, from: usize, to: usize) {
        let now = self.steps.moves();
        let looked =
            self.seen.filter(|(of, floor, moves)| *of == to && *moves == now && self.steps.place(from) >= *floor);
        let known = match looked {
            Some(_) => self.steps.saw(from),
            None => self.steps.path(from, to),
        };
        if known {
            if looked.is_none() {
                self.seen = None;
            }
            return;
        }
        edges.add_edge(NodeIndex::new(from), NodeIndex::new(to), EdgeKind::After);
        self.steps.add(from, to);
        self.add_units(from, to);
        match looked {
            // What comes before `from` comes before `to` now.
            Some((_, floor, _)) if self.steps.moves() == now => self.steps.see(from, floor),
            Some(_) | None => self.seen = None,
        }
    }
}

/// The pairs (earlier, later) of write steps that may touch a common path.
///
/// Two patterns can only overlap when the literal beginning of one begins the literal beginning of the other. Sorted
/// by it, the candidates of a pattern stand right behind it, so thousands of steps with files of their own cost
/// little more than the sorting.
pub(crate) fn overlapping(nodes: &[Node]) -> Square {
    let mut flats: Vec<(&str, usize, &Flat)> = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        for glob in node.writes.iter().flatten() {
            flats.extend(glob.flats().iter().map(|flat| (flat.prefix(), i, flat)));
        }
    }
    flats.sort_by_key(|(prefix, i, _)| (*prefix, *i));
    let mut pairs = Square::new(nodes.len());
    for (n, (prefix, i, flat)) in flats.iter().enumerate() {
        for (other_prefix, j, other) in &flats[n + 1..] {
            let candidate = if flat.is_literal() { other_prefix == prefix } else { other_prefix.starts_with(prefix) };
            if !candidate {
                break;
            }
            let (a, b) = (*i.min(j), *i.max(j));
            if a != b && !pairs.get(a, b) && flat.overlaps(other) {
                pairs.set(a, b);
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests;
