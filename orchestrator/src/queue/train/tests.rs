//! The planner's rules, as cases.

use std::collections::BTreeMap;

use super::*;

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
    check(2, 4, &[], &[], &[ask(&[1]), ask(&[1, 2])]);
    check(3, 4, &[], &[&[1]], &[ask(&[1, 2]), ask(&[1, 2, 3])]);
}

#[test]
fn else_evenly_spaced_ones_with_the_longest() {
    check(6, 2, &[], &[], &[ask(&[1, 2, 3]), ask(&[1, 2, 3, 4, 5, 6])]);
}

#[test]
fn the_longest_green_prefix_lands_and_nothing_else_is_done() {
    let green = [(&[1][..], Known::Green), (&[1, 2, 3], Known::Green), (&[1, 2, 3, 4], RED)];
    check(6, 4, &green, &[], &[Act::Land { items: vec![1, 2, 3] }]);
}

#[test]
fn a_red_prefix_is_split_and_what_is_behind_it_is_tried() {
    let acts = [ask(&[1, 2]), ask(&[1]), ask(&[1, 2, 3]), ask(&[5, 6])];
    check(6, 4, &[(&[1, 2, 3, 4], RED)], &[], &acts);
    check(6, 1, &[(&[1, 2, 3, 4], RED)], &[], &[ask(&[1, 2])]);
}

#[test]
fn a_green_candidate_behind_a_gap_lands() {
    let known = [(&[1, 2][..], RED), (&[3, 4], Known::Green)];
    check(4, 4, &known, &[], &[Act::Land { items: vec![3, 4] }]);
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
    check(3, 4, &known, &[], &[ask(&[1]), ask(&[1, 3])]);
    check(3, 4, &[(&[1], Known::Clash)], &[], &[Act::Eject { item: 1, why: Why::Clash }]);
}

#[test]
fn a_check_that_cannot_matter_is_cancelled() {
    let acts = [Act::Cancel { items: vec![9] }, ask(&[1])];
    check(1, 1, &[], &[&[9]], &acts);
}
