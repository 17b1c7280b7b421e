//! Tests of [`super`].

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Cause, Gate, LEAD_MS_MAX, Miss, Policy, Role, Sizes, Ticket, Verdict};
use crate::ledger::Tokens;
use crate::prefix::PrefixTtl;

fn gate(ramp_ms: u64) -> Gate {
    Gate::new(Policy { ramp_ms, ..Policy::default() })
}

fn tickets<const N: usize>(gate: &mut Gate) -> [Ticket; N] {
    std::array::from_fn(|_| gate.ticket())
}

#[test]
fn one_leads_and_the_others_wait_for_its_reply() {
    let mut gate = gate(0);
    let [a, b, c] = tickets(&mut gate);
    assert_eq!(gate.ask(a, true, 0), Verdict::Go(Role::Lead));
    assert_eq!(gate.ask(b, true, 5), Verdict::Wait { until_ms: LEAD_MS_MAX });
    assert_eq!(gate.ask(c, true, 6), Verdict::Wait { until_ms: LEAD_MS_MAX });
    assert!(gate.started(a));
    assert_eq!(gate.ask(b, true, 200), Verdict::Go(Role::Follower));
    assert_eq!(gate.ask(c, true, 200), Verdict::Go(Role::Follower));
    assert!(!gate.ended(a), "nobody waits for the end of a reply that has begun");
}

#[test]
fn a_lead_that_fails_before_its_reply_begins_is_replaced() {
    let mut gate = gate(0);
    let [a, b, c] = tickets(&mut gate);
    gate.ask(a, true, 0);
    gate.ask(b, true, 1);
    assert!(gate.ended(a));
    assert_eq!(gate.ask(b, true, 100), Verdict::Go(Role::Lead));
    assert_eq!(gate.ask(c, true, 101), Verdict::Wait { until_ms: 100 + LEAD_MS_MAX });
    assert!(gate.started(b));
    assert_eq!(gate.ask(c, true, 102), Verdict::Go(Role::Follower));
}

#[test]
fn a_lead_that_does_not_begin_is_waited_for_no_longer_than_the_bound() {
    let mut gate = gate(0);
    let [a, b, c] = tickets(&mut gate);
    gate.ask(a, true, 0);
    assert_eq!(gate.ask(b, true, LEAD_MS_MAX - 1), Verdict::Wait { until_ms: LEAD_MS_MAX });
    assert_eq!(gate.ask(b, true, LEAD_MS_MAX), Verdict::Go(Role::Alone));
    // Its reply begins before the lead's: from then on the prefix is there.
    assert!(gate.started(b));
    assert_eq!(gate.ask(c, true, LEAD_MS_MAX + 1), Verdict::Go(Role::Follower));
}

#[test]
fn followers_leave_in_a_ramp() {
    let mut gate = Gate::new(Policy { burst: 2, ramp_ms: 100, ..Policy::default() });
    let [lead, a, b, c, d] = tickets(&mut gate);
    gate.ask(lead, true, 0);
    gate.started(lead);
    let now = 1_000;
    assert_eq!(gate.ask(a, true, now), Verdict::Go(Role::Follower));
    assert_eq!(gate.ask(b, true, now), Verdict::Go(Role::Follower));
    assert_eq!(gate.ask(c, true, now), Verdict::Wait { until_ms: now + 100 });
    assert_eq!(gate.ask(c, true, now + 100), Verdict::Go(Role::Follower));
    assert_eq!(gate.ask(d, true, now + 100), Verdict::Wait { until_ms: now + 200 });
    assert_eq!(gate.ask(a, false, now + 100), Verdict::Go(Role::Follower), "a later request keeps to no ramp");
    assert_eq!(gate.ask(d, true, now + 200), Verdict::Go(Role::Follower));
}

#[test]
fn an_entry_that_nobody_used_for_its_life_is_led_again() {
    let mut gate = gate(0);
    let [a, b, c, d] = tickets(&mut gate);
    let ttl = Policy::default().ttl_ms;
    gate.ask(a, true, 0);
    gate.started(a);
    assert_eq!(gate.ask(b, true, ttl - 1), Verdict::Go(Role::Follower));
    assert_eq!(gate.ask(c, true, 2 * ttl - 2), Verdict::Go(Role::Follower), "a read keeps it alive");
    assert_eq!(gate.ask(d, true, 3 * ttl), Verdict::Go(Role::Lead));
}

#[test]
fn a_server_with_few_slots_is_not_asked_by_more() {
    let mut gate = Gate::new(Policy { at_once: Some(2), ramp_ms: 0, ..Policy::default() });
    let [a, b, c] = tickets(&mut gate);
    gate.ask(a, true, 0);
    gate.started(a);
    assert_eq!(gate.ask(b, true, 1), Verdict::Go(Role::Follower));
    assert_eq!(gate.ask(c, true, 2), Verdict::Wait { until_ms: u64::MAX });
    assert!(gate.ended(a), "who waits for a slot is told");
    assert_eq!(gate.ask(c, true, 3), Verdict::Go(Role::Follower));
}

#[test]
fn a_miss_is_seen_and_has_its_reason() {
    let sizes = Sizes { prefix_len: 9_000, body_len: 10_000, min_tokens: 512 };
    let lead = Tokens { cache_write_short: 10_000, ..Tokens::default() };
    let read = |cache_read: u64| Tokens { cache_read, cache_write_short: 10_000 - cache_read, ..Tokens::default() };
    let mut gate = gate(0);
    assert_eq!(gate.first_usage(Role::Lead, sizes, &lead), None);
    assert_eq!(gate.first_usage(Role::Follower, sizes, &read(8_100)), None);
    let miss = |read, cause| Some(Miss { expected: 9_000, read, cause, at: None });
    assert_eq!(gate.first_usage(Role::Follower, sizes, &read(8_099)), miss(8_099, Cause::Unavailable));
    assert_eq!(gate.first_usage(Role::Alone, sizes, &read(0)), miss(0, Cause::NotWarm));
    assert_eq!(gate.first_usage(Role::Follower, sizes, &Tokens::default()), None, "nothing was counted");
    let mut open = Gate::new(Policy { enabled: false, ..Policy::default() });
    assert_eq!(open.first_usage(Role::Alone, sizes, &read(0)), None, "nobody has promised anything");
    assert!(Sizes { min_tokens: 2_572, ..sizes }.too_short() && !Sizes { min_tokens: 2_571, ..sizes }.too_short());
    let small = Sizes { min_tokens: 9_001, ..sizes };
    assert_eq!(gate.first_usage(Role::Follower, small, &read(0)), miss(0, Cause::BelowMinimum));
}

#[test]
fn the_long_time_to_live_is_for_long_silences() {
    let minutes = |silences: &[u64]| super::choose_ttl(silences.iter().map(|minutes| minutes * 60_000));
    assert_eq!(minutes(&[]), PrefixTtl::FiveMinutes);
    assert_eq!(minutes(&[1, 4, 3]), PrefixTtl::FiveMinutes);
    assert_eq!(minutes(&[1, 5, 3]), PrefixTtl::OneHour, "one expiry costs more than the longer life");
    assert_eq!(minutes(&[90]), PrefixTtl::FiveMinutes, "an hour does not last that long either");
    assert_eq!(minutes(&[90, 10, 10, 10]), PrefixTtl::OneHour);
}

/// What may happen to a request: it asks, its reply begins, it ends.
#[derive(Debug, Clone, Copy)]
enum Move {
    Ask(usize),
    Start(usize),
    End(usize),
    Wait(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (0usize..6).prop_map(Move::Ask),
        (0usize..6).prop_map(Move::Start),
        (0usize..6).prop_map(Move::End),
        (1u64..20_000).prop_map(Move::Wait),
    ];
    prop::collection::vec(one, 1..120)
}

proptest! {
    /// In any history: at most one leads, nobody follows before a reply has begun, and nobody waits with nobody to
    /// wait for.
    #[test]
    fn no_history_lets_two_lead(moves in moves()) {
        let mut gate = Gate::new(Policy { ramp_ms: 0, ..Policy::default() });
        let all: Vec<Ticket> = (0..6).map(|_| gate.ticket()).collect();
        let mut roles: BTreeMap<usize, (Role, bool)> = BTreeMap::new();
        let (mut now, mut ever_begun, mut led_at) = (0, false, 0);
        for step in moves {
            match step {
                Move::Wait(ms) => now += ms,
                Move::Ask(who) if !roles.contains_key(&who) => match gate.ask(all[who], true, now) {
                    Verdict::Go(role) => {
                        match role {
                            Role::Lead => {
                                prop_assert!(!roles.values().any(|(role, begun)| *role == Role::Lead && !begun)
                                    || now - led_at >= LEAD_MS_MAX);
                                led_at = now;
                            }
                            Role::Follower => prop_assert!(ever_begun),
                            Role::Alone => prop_assert!(now - led_at >= LEAD_MS_MAX),
                        }
                        roles.insert(who, (role, false));
                    }
                    Verdict::Wait { until_ms } => {
                        prop_assert!(until_ms > now);
                        prop_assert!(roles.values().any(|(role, begun)| *role == Role::Lead && !begun));
                    }
                },
                Move::Start(who) => {
                    if let Some((_, begun)) = roles.get_mut(&who) {
                        *begun = true;
                        ever_begun = true;
                        gate.started(all[who]);
                    }
                }
                Move::End(who) => {
                    if roles.remove(&who).is_some() {
                        gate.ended(all[who]);
                    }
                }
                Move::Ask(_) => {}
            }
        }
    }
}
