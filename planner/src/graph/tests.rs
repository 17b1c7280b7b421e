//! Order: properties over random graphs, and the cost of the largest ones.

use super::*;
use proptest::prelude::*;

/// Needs, group and pattern, before they are made to fit.
type Raw = (Vec<usize>, Option<usize>, Option<&'static str>);

/// Nodes with needs on any other (so with cycles), a few groups, and few patterns.
fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let globs = prop::sample::select(vec!["**", "a/**", "b/*", "a/x", "b/c/**", "*/x"]);
    let node = (
        prop::collection::vec(0..12usize, 0..3),
        prop::option::weighted(0.3, 0..2usize),
        prop::option::weighted(0.8, globs),
    );
    prop::collection::vec(node, 1..12).prop_map(|raw| {
        let count = raw.len();
        let node = |(i, (needs, group, writes)): (usize, Raw)| {
            // Mostly backwards, so that plans without cycles are common.
            let needs = needs.into_iter().map(|n| n % count);
            Node {
                needs: needs.filter(|n| *n < i || (*n > i && (*n + i) % 5 == 0)).collect(),
                group,
                writes: writes.map(|w| vec![Glob::parse(w).unwrap()]),
            }
        };
        raw.into_iter().enumerate().map(node).collect()
    })
}

/// All pairs (before, after), by brute force.
fn closure(graph: &Graph, count: usize) -> Vec<Vec<bool>> {
    let mut path = vec![vec![false; count]; count];
    for (i, row) in path.iter_mut().enumerate() {
        graph.behind(i).iter().for_each(|(j, _)| row[*j] = true);
    }
    for k in 0..count {
        for i in 0..count {
            for j in 0..count {
                path[i][j] |= path[i][k] && path[k][j];
            }
        }
    }
    path
}

/// The order by comparing every pair, nearest first, with a table of all paths.
fn by_pairs(nodes: &[Node]) -> Vec<Vec<bool>> {
    let unit = units(nodes);
    let count = nodes.len();
    let mut steps = vec![vec![false; count]; count];
    let mut between = vec![vec![false; unit.len() + count]; unit.len() + count];
    let join = |paths: &mut Vec<Vec<bool>>, from: usize, to: usize| {
        let before: Vec<usize> = (0..paths.len()).filter(|i| *i == from || paths[*i][from]).collect();
        let after: Vec<usize> = (0..paths.len()).filter(|i| *i == to || paths[to][*i]).collect();
        before.iter().for_each(|a| after.iter().for_each(|b| paths[*a][*b] = true));
    };
    let add = |steps: &mut Vec<Vec<bool>>, between: &mut Vec<Vec<bool>>, from: usize, to: usize| {
        join(steps, from, to);
        if unit[from] != unit[to] {
            join(between, unit[from], unit[to]);
        }
    };
    for (i, node) in nodes.iter().enumerate() {
        node.needs.iter().for_each(|need| add(&mut steps, &mut between, *need, i));
    }
    for later in 0..count {
        for earlier in (0..later).rev() {
            let (Some(a), Some(b)) = (&nodes[earlier].writes, &nodes[later].writes) else { continue };
            let together = nodes[earlier].group.is_some() && nodes[earlier].group == nodes[later].group;
            let ordered = steps[earlier][later] || steps[later][earlier];
            if ordered || !(together || crate::globs::globs_overlap(a, b)) {
                continue;
            }
            let backwards = between[unit[later]][unit[earlier]];
            let (from, to) = if backwards { (later, earlier) } else { (earlier, later) };
            add(&mut steps, &mut between, from, to);
        }
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_order_is_topological_and_overlapping_steps_are_ordered(nodes in nodes()) {
        let Ok(graph) = Graph::new(&nodes) else { return Ok(()) };
        let order = graph.order();
        let mut place = vec![usize::MAX; nodes.len()];
        order.iter().enumerate().for_each(|(at, i)| place[*i] = at);
        prop_assert_eq!(order.len(), nodes.len());
        for (i, node) in nodes.iter().enumerate() {
            for need in &node.needs {
                prop_assert!(graph.before(i).contains(&(*need, EdgeKind::Needs)));
            }
            for (before, _) in graph.before(i) {
                prop_assert!(place[*before] < place[i]);
                prop_assert!(graph.priority(*before) > graph.priority(i));
            }
        }
        let path = closure(&graph, nodes.len());
        for (j, later) in nodes.iter().enumerate() {
            for (i, earlier) in nodes.iter().enumerate().take(j) {
                let (Some(a), Some(b)) = (&earlier.writes, &later.writes) else { continue };
                let together = earlier.group.is_some() && earlier.group == later.group;
                if together || crate::globs::globs_overlap(a, b) {
                    prop_assert!(path[i][j] || path[j][i], "{} and {} are not ordered", i, j);
                }
            }
        }
        prop_assert_eq!(&path, &by_pairs(&nodes), "every pair is ordered as if it had been compared");
        // No step outside of a group lies between two of its members.
        for (a, first) in nodes.iter().enumerate() {
            for (b, last) in nodes.iter().enumerate() {
                for (x, outside) in nodes.iter().enumerate() {
                    let between = path[a][x] && path[x][b];
                    let one_group = first.group.is_some() && first.group == last.group;
                    prop_assert!(!(between && one_group && outside.group != first.group));
                }
            }
        }
    }

    #[test]
    fn what_is_refused_is_a_cycle(nodes in nodes()) {
        let Err(disorder) = Graph::new(&nodes) else { return Ok(()) };
        prop_assert!(!disorder.is_empty());
        for disorder in disorder {
            match disorder {
                Disorder::Cycle(cycle) => {
                    for (i, step) in cycle.iter().enumerate() {
                        let next = cycle[(i + 1) % cycle.len()];
                        prop_assert!(nodes[*step].needs.contains(&next));
                    }
                }
                Disorder::GroupCycle(pairs) => {
                    let same = |a: usize, b: usize| a == b || (nodes[a].group.is_some() && nodes[a].group == nodes[b].group);
                    prop_assert!(pairs.len() > 1 && nodes[pairs[0].0].group.is_some());
                    for (i, (step, need)) in pairs.iter().enumerate() {
                        prop_assert!(nodes[*step].needs.contains(need));
                        prop_assert!(same(*need, pairs[(i + 1) % pairs.len()].0));
                        prop_assert!(!same(*step, *need));
                    }
                }
            }
        }
    }
}

fn writers(count: usize, glob: impl Fn(usize) -> String) -> Vec<Node> {
    (0..count).map(|i| Node { writes: Some(vec![Glob::parse(&glob(i)).unwrap()]), ..Node::default() }).collect()
}

#[test]
fn steps_that_all_overlap_become_one_chain() {
    let graph = Graph::new(&writers(1000, |_| "**".to_owned())).unwrap();
    assert_eq!(graph.order(), (0..1000).collect::<Vec<_>>());
    assert_eq!(graph.before(500), [(499, EdgeKind::After)]);
    assert_eq!(graph.priority(0), 999);
}

#[test]
fn steps_with_folders_of_their_own_are_free() {
    let graph = Graph::new(&writers(5000, |i| format!("pkg/{i}/**"))).unwrap();
    assert_eq!(graph.order(), (0..5000).collect::<Vec<_>>());
    assert!((0..5000).all(|i| graph.before(i).is_empty()));
}

#[test]
fn order_costs_what_the_plan_is_long() {
    // Every hundredth step touches everything, the others one of 500 folders or a file in it.
    let glob = |i: usize| match i % 100 {
        0 => "**".to_owned(),
        1..50 => format!("pkg/{}/**", i % 500),
        _ => format!("pkg/{}/src/{i}.rs", i % 500),
    };
    let graph = Graph::new(&writers(20_000, glob)).unwrap();
    assert_eq!(graph.order(), (0..20_000).collect::<Vec<_>>());
    assert_eq!(graph.before(10_000).len(), 99, "the others have come before the last that touches everything");
    assert_eq!(graph.before(10_001), [(10_000, EdgeKind::After)]);
}

#[test]
fn a_long_chain_of_needs_does_not_overflow_the_stack() {
    let count = 100_000;
    let edges: DiGraph<(), EdgeKind> = DiGraph::from_edges((1..count).map(|i| (i - 1, i, EdgeKind::Needs)));
    assert!(cycles(&edges).is_empty());
    assert_eq!(bottom_levels(&edges)[0], count - 1);
}
