//! Nobody starves, over random arrivals of random priorities: and the same look at two orders that do starve sees it.

use proptest::prelude::*;

use super::*;

const MINUTE_MS: u64 = 60_000;

/// Who comes when, with which priority; the place in the list is its number.
type Arrivals = Vec<(u64, i32)>;

/// One after the other is served, each for so long, and whoever is in front at that moment is next. When each began.
fn serve(arrivals: &Arrivals, each_ms: u64, order: impl Fn(&[Entry]) -> Vec<Item>) -> Vec<(Item, u64)> {
    let mut left: Vec<Item> = (0..arrivals.len() as Item).collect();
    let (mut now, mut served) = (0, Vec::new());
    while !left.is_empty() {
        let came = |item: &Item| arrivals[*item as usize].0;
        now = left.iter().map(came).min().unwrap_or(now).max(now);
        let here = left.iter().filter(|item| came(item) <= now);
        let entry =
            |item: &Item| Entry { item: *item, priority: arrivals[*item as usize].1, waited_ms: now - came(item) };
        let next = order(&here.map(entry).collect::<Vec<_>>())[0];
        left.retain(|item| *item != next);
        served.push((next, now));
        now += each_ms;
    }
    served
}

/// Somebody whom one has passed that came later than its lead in priority allows.
fn starved(arrivals: &Arrivals, served: &[(Item, u64)]) -> Option<Item> {
    let passed = |(at, (item, _)): (usize, &(Item, u64))| {
        let (came, priority) = arrivals[*item as usize];
        served[..at].iter().any(|(other, _)| {
            let (other_came, other_priority) = arrivals[*other as usize];
            let lead = u64::try_from(other_priority - priority).unwrap_or(0) * STEP_MS;
            other_came > came + lead
        })
    };
    served.iter().enumerate().find(|entry| passed(*entry)).map(|(_, (item, _))| *item)
}

fn by_priority_alone(entries: &[Entry]) -> Vec<Item> {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|entry| (Reverse(entry.priority), Reverse(entry.waited_ms), entry.item));
    sorted.into_iter().map(|entry| entry.item).collect()
}

fn newest_first(entries: &[Entry]) -> Vec<Item> {
    let mut sorted = entries.to_vec();
    sorted.sort_by_key(|entry| (entry.waited_ms, Reverse(entry.item)));
    sorted.into_iter().map(|entry| entry.item).collect()
}

/// One ordinary change among urgent ones that come faster than they are served, for ten hours.
fn rush() -> Arrivals {
    let urgent = (0..600).map(|minute| (minute * MINUTE_MS, 3));
    [(5 * MINUTE_MS, 0)].into_iter().chain(urgent).collect()
}

#[test]
fn an_endless_rush_of_urgent_changes_holds_an_ordinary_one_up_for_a_while_only() {
    let arrivals = rush();
    let began = |order: fn(&[Entry]) -> Vec<Item>| {
        let served = serve(&arrivals, 2 * MINUTE_MS, order);
        served.iter().find(|(item, _)| *item == 0).map(|(_, at)| at / MINUTE_MS)
    };
    // Those that came within three quarters of an hour after it, two minutes each; the rest waits behind it.
    assert_eq!(began(order), Some(100));
    assert_eq!(began(by_priority_alone), Some(1_200), "when the last of the rush is served");
    assert_eq!(began(newest_first), Some(1_196), "when the rush is over and all but the first few are served");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whoever_waits_is_passed_only_by_those_that_came_within_their_lead(
        gaps in prop::collection::vec((0u64..30 * MINUTE_MS, -3i32..4), 2..60),
        each_ms in 1u64..60 * MINUTE_MS,
    ) {
        let mut now = 0;
        let come = |(gap, priority): &(u64, i32)| {
            now += gap;
            (now, *priority)
        };
        let arrivals: Arrivals = gaps.iter().map(come).collect();
        let served = serve(&arrivals, each_ms, order);
        prop_assert_eq!(starved(&arrivals, &served), None);
        prop_assert_eq!(served.len(), arrivals.len());
    }
}

#[test]
fn the_look_sees_orders_that_starve() {
    for bad in [by_priority_alone, newest_first] {
        let arrivals = rush();
        assert!(starved(&arrivals, &serve(&arrivals, 2 * MINUTE_MS, bad)).is_some());
    }
}
