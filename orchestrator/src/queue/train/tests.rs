//! The planner's rules as cases, what must always hold over random worlds, and the goals.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::queue::train;

#[path = "../../../benches/queue/sim.rs"]
mod sim;

use sim::{Faults, Policy, Seen, World};

/// What is known, written down.
struct Told(BTreeMap<Vec<Item>, Known>);

impl Knowledge for Told {
    fn of(&self, items: &[Item]) -> Known {
        self.0.get(items).copied().unwrap_or(Known::Unknown)
    }
}

/// Plans for the queue `1..=n`: what is known is given as pairs, what runs as lists.
#[track_caller]
fn check(n: Item, slots: usize, told: &[(&[Item], Known)], running: &[&[Item]], expected: &[Act]) {
    let queue: Vec<Item> = (1..=n).collect();
    let running: Vec<Vec<Item>> = running.iter().map(|items| items.to_vec()).collect();
    let mut known: BTreeMap<_, _> = told.iter().map(|(items, known)| (items.to_vec(), *known)).collect();
    known.extend(running.iter().map(|items| (items.clone(), Known::Running)));
    let limits = Limits { slots, look_ahead: 32, red_share: 0.05, flake_share: 0.01 };
    assert_eq!(plan(&queue, &running, &Told(known), &limits), expected);
}

fn ask(items: &[Item]) -> Act {
    Act::Check { items: items.to_vec(), again: false }
}

fn again(items: &[Item]) -> Act {
    Act::Check { items: items.to_vec(), again: true }
}

const RED: Known = Known::Red { times: 1 };
const RED_TWICE: Known = Known::Red { times: 2 };
const UNSURE: Known = Known::Unsure { times: 1 };
const UNSURE_TWICE: Known = Known::Unsure { times: 2 };

#[test]
fn an_empty_queue_wants_nothing() {
    check(0, 4, &[], &[], &[]);
}

#[test]
fn with_slots_for_all_each_next_prefix_is_checked() {
    check(2, 4, &[], &[], &[ask(&[1, 2]), ask(&[1])]);
    check(3, 4, &[], &[&[1]], &[ask(&[1, 2, 3]), ask(&[1, 2])]);
}

#[test]
fn else_evenly_spaced_ones() {
    check(6, 2, &[], &[], &[ask(&[1, 2, 3, 4, 5, 6]), ask(&[1, 2, 3])]);
}

#[test]
fn the_longest_green_prefix_lands_and_nothing_else_is_done() {
    let green = [(&[1][..], Known::Green), (&[1, 2, 3], Known::Green), (&[1, 2, 3, 4], RED)];
    check(6, 4, &green, &[], &[Act::Land { items: vec![1, 2, 3] }]);
}

#[test]
fn a_red_prefix_is_split_and_the_line_is_tried_without_one_suspect() {
    let acts = [ask(&[1]), ask(&[2, 3, 4]), ask(&[1, 3, 4])];
    check(4, 3, &[(&[1, 2], RED)], &[], &acts);
    check(6, 1, &[(&[1, 2, 3, 4], RED)], &[], &[ask(&[1, 2])]);
}

#[test]
fn without_a_suspect_nothing_lands_before_it_is_sent_back() {
    let known = [(&[1][..], RED), (&[2, 3], Known::Green), (&[], Known::Green)];
    check(3, 4, &known, &[], &[again(&[1])]);
    let known = [(&[1][..], RED_TWICE), (&[2, 3], Known::Green), (&[], Known::Green)];
    check(3, 4, &known, &[], &[Act::Eject { item: 1, why: Why::Red }]);
}

#[test]
fn a_red_first_item_is_repeated_with_a_control_of_the_tip() {
    check(1, 4, &[(&[1], RED)], &[], &[ask(&[]), again(&[1])]);
    check(1, 4, &[(&[1], RED), (&[], Known::Green)], &[], &[again(&[1])]);
    check(1, 4, &[(&[1], RED_TWICE)], &[&[]], &[]);
    check(1, 4, &[(&[1], RED_TWICE), (&[], Known::Green)], &[], &[Act::Eject { item: 1, why: Why::Red }]);
    check(1, 4, &[(&[1], RED_TWICE), (&[], RED_TWICE)], &[], &[Act::BaseRed]);
}

#[test]
fn what_says_nothing_is_repeated_whole_and_never_bisected() {
    check(3, 1, &[(&[1, 2, 3], UNSURE)], &[], &[again(&[1, 2, 3])]);
    check(3, 1, &[(&[1, 2, 3], UNSURE_TWICE)], &[], &[ask(&[1])]);
    let known = [(&[1][..], UNSURE_TWICE), (&[], Known::Green)];
    check(3, 1, &known, &[], &[Act::Eject { item: 1, why: Why::Timeout }]);
    check(3, 1, &[(&[1], UNSURE_TWICE), (&[], UNSURE_TWICE)], &[], &[Act::BaseRed]);
}

#[test]
fn what_clashes_is_passed_over_and_with_the_tip_sent_back() {
    let known = [(&[1, 2][..], Known::Clash)];
    check(3, 4, &known, &[], &[ask(&[1, 3]), ask(&[1])]);
    check(3, 4, &[(&[1], Known::Clash)], &[], &[Act::Eject { item: 1, why: Why::Clash }]);
}

#[test]
fn a_check_that_cannot_matter_is_cancelled() {
    let acts = [Act::Cancel { items: vec![9] }, ask(&[1])];
    check(1, 1, &[], &[&[9]], &acts);
}

#[test]
fn checks_that_never_lie_are_not_repeated_and_those_that_often_do_more_than_twice() {
    assert_eq!([0.0, 0.001, 0.01, 0.03, 0.1, 0.9].map(reds_needed), [1, 2, 2, 3, 4, 4]);
    assert_eq!([0.0, 0.01, 0.03].map(|share| reds_beside(0.1, share)), [1, 2, 2], "another red is a witness");
}

#[test]
fn shares_are_learnt_and_forgotten() {
    let mut seen = Estimate::new();
    assert_eq!((seen.red_share(), seen.flake_share()), (0.05, 0.01));
    (0..100).for_each(|_| seen.ejected());
    assert!(seen.red_share() > 0.7);
    seen.landed(2000);
    assert!(seen.red_share() < 0.01);
    (0..2000).for_each(|_| seen.checked(false));
    assert!(seen.flake_share() >= 0.001 && seen.flake_share() < 0.005, "never none: only its owner can promise that");
    (0..50).for_each(|_| seen.checked(true));
    assert!(seen.flake_share() > 0.1);
}

#[test]
fn priority_goes_first_but_nobody_waits_for_ever() {
    let entry = |item, priority, minutes: u64| Entry { item, priority, waited_ms: minutes * 60_000 };
    assert_eq!(order(&[entry(1, 0, 9), entry(2, 0, 10), entry(3, 1, 0)]), [3, 2, 1]);
    assert_eq!(order(&[entry(1, 0, 16), entry(2, 1, 0)]), [1, 2], "a quarter of an hour is a step of priority");
    assert_eq!(order(&[entry(2, 0, 1), entry(1, 0, 1)]), [1, 2]);
}

/// Ours, looked at with each answer.
struct Watched;

impl Policy for Watched {
    fn plan(&mut self, queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
        let acts = train::plan(queue, running, known, limits);
        assert_eq!(acts, train::plan(queue, running, known, limits), "the same question has the same answer");
        let moves = acts.iter().filter(|act| !matches!(act, Act::Check { .. } | Act::Cancel { .. })).count();
        assert!(moves == 0 || acts.len() == 1, "what moves the line stands alone: {acts:?}");
        for act in &acts {
            match act {
                Act::Land { items } => {
                    assert_eq!(known.of(items), Known::Green);
                    let last = queue.iter().position(|item| Some(item) == items.last()).unwrap();
                    let mut front = Vec::new();
                    for item in &queue[..=last] {
                        front.push(*item);
                        if !items.contains(item) {
                            assert_eq!(known.of(&front), Known::Clash, "{item} is overtaken for no reason");
                            front.pop();
                        }
                    }
                }
                Act::Check { items, again } => {
                    assert!(!running.contains(items), "nothing runs twice");
                    assert_eq!(*again, matches!(known.of(items), Known::Red { .. } | Known::Unsure { .. }));
                    let silent = (1..=queue.len())
                        .find(|len| matches!(known.of(&queue[..*len]), Known::Unsure { times } if times >= UNSURE_MAX));
                    if let Some(silent) = silent.filter(|silent| !again && queue[..*silent].starts_with(items)) {
                        let asked = |len: usize| {
                            let front = &queue[..len];
                            let now = running.iter().chain(acts.iter().filter_map(checked));
                            known.of(front) != Known::Unknown || now.into_iter().any(|other| other == front)
                        };
                        assert!(
                            (1..items.len()).all(asked) || red_before(queue, silent, known),
                            "a timeout is bisected"
                        );
                    }
                }
                Act::Eject { item, why: Why::Red | Why::Timeout } => {
                    let waits = queue.iter().position(|other| other == item).unwrap();
                    let front = &queue[..waits];
                    assert!(front.iter().all(|other| known.of(&[*other]) == Known::Clash), "{front:?} come first");
                    assert_eq!(known.of(&[]), Known::Green);
                }
                Act::Eject { .. } | Act::BaseRed | Act::Cancel { .. } => {}
            }
        }
        acts
    }
}

/// Ours, with a look at how many landings pass a change that waits.
#[derive(Default)]
struct Fair {
    overtaken: BTreeMap<Item, u32>,
    overtaken_max: u32,
}

impl Policy for Fair {
    fn plan(&mut self, queue: &[Item], running: &[Vec<Item>], known: &dyn Knowledge, limits: &Limits) -> Vec<Act> {
        let acts = Watched.plan(queue, running, known, limits);
        for act in &acts {
            if let Act::Land { items } = act {
                let last = queue.iter().position(|item| Some(item) == items.last()).unwrap();
                for item in queue[..last].iter().filter(|item| !items.contains(item)) {
                    let times = self.overtaken.entry(*item).or_default();
                    *times += 1;
                    self.overtaken_max = self.overtaken_max.max(*times);
                }
            }
        }
        acts
    }
}

fn red_before(queue: &[Item], len: usize, known: &dyn Knowledge) -> bool {
    (1..len).any(|len| matches!(known.of(&queue[..len]), Known::Red { .. }))
}

fn checked(act: &Act) -> Option<&Vec<Item>> {
    if let Act::Check { items, .. } = act { Some(items) } else { None }
}

fn faults() -> impl Strategy<Value = Faults> {
    let share = || prop_oneof![Just(0.0), 0.0..0.2];
    (share(), share(), share(), share(), share()).prop_map(|(clashes, hangs, timeouts, crashes, strangers)| Faults {
        clashes,
        hangs,
        timeouts,
        crashes,
        strangers,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_change_ends_and_only_green_trees_land(
        seed: u64,
        slots in 1usize..9,
        changes in 1usize..40,
        red_share in 0.0..0.5f64,
        flake_share in prop_oneof![Just(0.0), 0.0..0.1],
        faults in faults(),
    ) {
        let limits = Limits { slots, look_ahead: 32, red_share, flake_share };
        let seen = World::new(seed, limits, faults).burst(changes, &mut Watched);
        prop_assert_eq!(seen.landed + seen.ejected, changes as u64, "all are decided");
        prop_assert_eq!((seen.unverified, seen.red_landed), (0, 0));
        if flake_share == 0.0 && faults.timeouts == 0.0 {
            prop_assert_eq!((seen.false_ejects, seen.false_stops), (0, 0), "the innocent stay");
        }
        if faults.crashes == 0.0 && faults.strangers == 0.0 {
            prop_assert!(seen.checks <= 8 * changes as u64 + 16, "{} checks", seen.checks);
        }
    }

    #[test]
    fn while_changes_keep_coming_none_is_left_behind(
        seed: u64,
        slots in 1usize..9,
        every in 0.3..3.0f64,
        red_share in 0.0..0.3f64,
        faults in faults(),
    ) {
        // What is in front is decided first, but for what it clashes with; so nothing waits for ever behind newcomers.
        let limits = Limits { slots, look_ahead: 32, red_share, flake_share: 0.01 };
        let mut fair = Fair::default();
        World::new(seed, limits, faults).stream(every, 200.0, usize::MAX, &mut fair);
        prop_assert!(fair.overtaken_max <= 1, "one change was overtaken by {} landings", fair.overtaken_max);
    }

    #[test]
    fn the_order_of_two_that_wait_never_changes(
        entries in prop::collection::vec((-9i32..9, 0u64..100_000_000), 1..20),
        later in 0u64..100_000_000,
    ) {
        let entry = |(at, (priority, waited_ms)): (usize, &(i32, u64))| Entry { item: at as Item, priority: *priority, waited_ms: *waited_ms };
        let now: Vec<Entry> = entries.iter().enumerate().map(entry).collect();
        let then: Vec<Entry> = now.iter().map(|entry| Entry { waited_ms: entry.waited_ms + later, ..*entry }).collect();
        prop_assert_eq!(order(&now), order(&then));
        // Whoever has waited for the whole range of priorities is passed by no newcomer.
        let old = Entry { item: 99, priority: -9, waited_ms: 100_000_000 + 18 * STEP_MS };
        prop_assert_eq!(order(&[&now[..], &[old]].concat())[0], 99);
    }
}

/// Mean over 100 seeds, and half of its 95 % interval.
fn burst(slots: usize) -> (f64, f64) {
    let limits = Limits { slots, look_ahead: 32, red_share: 0.05, flake_share: 0.0 };
    let run = |seed| World::new(seed, limits, Faults::default()).burst(32, &mut Watched).end;
    let ends: Vec<f64> = (1..=100).map(run).collect();
    let mean = ends.iter().sum::<f64>() / 100.0;
    let variance = ends.iter().map(|end| (end - mean).powi(2)).sum::<f64>() / 99.0;
    (mean, 1.96 * (variance / 100.0).sqrt())
}

#[test]
fn a_burst_drains_as_fast_as_it_should() {
    for (slots, goal) in [(1, 10.2), (4, 4.8), (8, 3.8)] {
        let (mean, interval) = burst(slots);
        assert!(mean <= goal, "{slots} slots: {mean:.2} ± {interval:.2} check times, wanted {goal}");
    }
}

#[test]
fn a_week_is_as_quick_and_cheap_as_it_should() {
    let week = |slots, per_hour: f64, red_share, flake_share| {
        let limits = Limits { slots, look_ahead: 32, red_share, flake_share };
        let every = 12.0 / per_hour;
        let mut all = Seen::default();
        for seed in 1..=2 {
            let seen = World::new(seed, limits, Faults::default()).stream(every, 2016.0, usize::MAX, &mut Watched);
            all.waits.extend(seen.waits);
            all.spent += seen.spent;
            all.false_ejects += seen.false_ejects;
        }
        all.waits.sort_by(f64::total_cmp);
        let changes = all.waits.len() as f64;
        (300.0 * all.waits[(0.95 * changes) as usize], all.spent / changes, all.false_ejects as f64 / changes)
    };
    let (p95, spent, _) = week(4, 32.0, 0.05, 0.0);
    assert!(p95 <= 600.0 && spent <= 1.05, "{p95} s, {spent} checks per change");
    let (p95, spent, wrong) = week(8, 16.0, 0.10, 0.03);
    assert!(p95 <= 1004.0 && spent <= 1.5 && wrong <= 0.0002, "{p95} s, {spent} checks per change, {wrong}");
}
