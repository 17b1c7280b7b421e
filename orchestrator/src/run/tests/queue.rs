//! The merge queue in whole runs: several places at a time, and nothing on the target that was not checked.

use std::collections::BTreeSet;

use super::{Env, check_states, git, id};
use crate::journal::command::{Pinned, Verb};
use crate::journal::{Body, Event, RunView};
use crate::options::{Approve, Until};
use crate::queue::plan::flake_share;
use crate::queue::train::Estimate;
use crate::run::begin::Overrides;
use crate::state::landing::Landing;
use crate::state::step::Step;

/// Steps that each write a file of their own; those numbered in `bad` write what no check lets pass.
fn plan(steps: usize, bad: &[usize], check: &str) -> String {
    let mut text = format!("version: 1\ntask: many\nchecks: [{{ name: good, run: \"{check}\" }}]\n");
    text.push_str("defaults: { retries: 0 }\nsteps:\n");
    for number in 0..steps {
        let word = if bad.contains(&number) { "bad" } else { "good" };
        text.push_str(&format!("  - {{ id: s{number}, touches: [{number}.txt], run: echo {word} > {number}.txt }}\n"));
    }
    text
}

/// Verdicts that were not known before, as `(control, green)`.
fn asked(events: &[Event]) -> Vec<(bool, bool)> {
    let verdict = |event: &Event| match &event.body {
        Body::CheckFinished { check, verdict, cached: false, .. } => {
            Some((check.control, *verdict == wattle_worker::outcome::Verdict::Green))
        }
        _ => None,
    };
    events.iter().filter_map(verdict).collect()
}

/// Every tree that the target has had since was green before it got there, and the audit found it whole.
fn is_verified(env: &Env, events: &[Event]) {
    let mut green = BTreeSet::new();
    for event in events {
        match &event.body {
            Body::CheckFinished { check, verdict: wattle_worker::outcome::Verdict::Green, .. } => {
                green.insert(check.tree.to_string());
            }
            Body::Audited { missing, .. } => assert_eq!(*missing, Vec::<String>::new()),
            _ => {}
        }
    }
    let places = git(&env.repo(), &["reflog", "show", "main", "--format=%H"]);
    let count = places.lines().count() - 1;
    for place in places.lines().take(count) {
        let tree = git(&env.repo(), &["rev-parse", &format!("{place}^{{tree}}")]);
        assert!(green.contains(tree.trim()), "{place} was not checked");
    }
    let moves = events.iter().filter(|event| match &event.body {
        Body::LandingState(change) => change.state == Landing::Landed,
        _ => false,
    });
    assert_eq!(moves.count(), count, "a move of the target for each landing");
    env.is_sound();
}

const NO_BAD: &str = "! grep -q bad *.txt";

#[test]
fn with_one_slot_several_changes_are_checked_at_once() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let (end, events) = env.run(&plan(6, &[], NO_BAD), |options| options.jobs = 6);
    assert_eq!(end.exit, 0);
    let asked = asked(&events);
    assert!(asked.len() < 6, "{asked:?}");
    assert_eq!(git(&env.repo(), &["rev-list", "--count", "--merges", "main"]).trim(), "6", "one merge each");
    is_verified(&env, &events);
}

#[test]
fn a_red_change_among_many_is_found_and_the_others_land() {
    for checks in [1, 2, 4, 8] {
        let env = Env::new(&[("a.txt", "a\n")]);
        let (end, events) = env.run(&plan(8, &[2, 5], NO_BAD), |options| {
            options.jobs = 4;
            options.checks = checks;
        });
        let view = env.view(&end.run);
        let states: Vec<_> = view.plan.steps().iter().map(|step| view.step(&step.id).state.as_str()).collect();
        let expected = ["landed", "landed", "failed", "landed", "landed", "failed", "landed", "landed"];
        assert_eq!(states, expected, "{checks} check slots");
        assert_eq!(end.exit, 1);
        is_verified(&env, &events);
        assert_eq!(landed(&events), joined(&view), "first come, first served");
        let share = flake_share(&view);
        assert!(share <= Estimate::new().flake_share(), "two are red, and none of it by chance: {share}");
    }
}

/// The steps that have landed, in the order in which they joined the queue.
fn joined(view: &RunView) -> Vec<String> {
    let mut steps: Vec<_> = view.steps.iter().filter(|(_, record)| record.landed.is_some()).collect();
    steps.sort_by_key(|(_, record)| record.queued_seq);
    steps.into_iter().map(|(step, _)| step.to_string()).collect()
}

/// Steps in the order in which they landed.
fn landed(events: &[Event]) -> Vec<String> {
    let step = |event: &Event| match &event.body {
        Body::StepState(change) if change.state == Step::Landed => Some(change.step.to_string()),
        _ => None,
    };
    events.iter().filter_map(step).collect()
}

#[test]
fn what_stands_on_another_lands_behind_it_in_one_check() {
    let env = Env::new(&[("a.txt", "")]);
    let text = r#"
version: 1
task: a chain
checks: [{ name: count, run: test "$(wc -l < a.txt)" -ge 1 }]
steps:
  - { id: one, touches: [a.txt], run: echo one >> a.txt }
  - { id: two, needs: [one], touches: [a.txt], run: echo two >> a.txt }
  - { id: three, needs: [two], touches: [a.txt], run: echo three >> a.txt }
"#;
    let (end, _) = env.run(text, |options| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    });
    let pinned = |step: &str| Pinned { step: id(step), commit: None };
    let all = ["one", "two", "three"];
    env.verb(&end.run, Verb::Approve { steps: all.map(pinned).to_vec(), widen: Vec::new() });
    let end = env.resume(&end.run, Overrides { merge: Some(Vec::new()), ..Overrides::default() });
    let view = env.view(&end.run);
    check_states(&view, &[("one", "landed"), ("two", "landed"), ("three", "landed")]);
    assert_eq!(view.landings.values().filter(|record| record.state == Landing::Landed).count(), 1);
    assert_eq!(env.file("a.txt"), "one\ntwo\nthree\n");
}

#[test]
fn a_check_that_is_red_by_chance_costs_nobody_a_change() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let chance = env.folder.path().join("chance");
    // Red the first time it is asked about a change that is alone, green ever after.
    let check = format!("test -e {0} || {{ touch {0}; false; }}", chance.display());
    let (end, events) = env.run(&plan(1, &[], &check), |_| {});
    assert_eq!(end.exit, 0);
    assert_eq!(asked(&events), [(false, false), (true, true), (false, true)]);
    is_verified(&env, &events);
    // What was red and is green on the same tree was a flake, and the queue reckons with more of them.
    let share = flake_share(&env.view(&end.run));
    assert!((0.015..0.03).contains(&share), "{share}");
}

#[test]
fn a_check_that_runs_out_of_time_is_asked_again_and_splits_nothing() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let marker = env.folder.path().join("late");
    let check = format!("test -e {0} || {{ touch {0}; sleep 60; }}", marker.display());
    let text = plan(5, &[], &check).replace("run: \"test", "timeout: 1s, run: \"test");
    let (end, events) = env.run(&text, |options| {
        options.jobs = 5;
        options.checks = 1;
    });
    assert_eq!(end.exit, 0);
    let split = events.iter().any(|event| match &event.body {
        Body::LandingState(change) => change.why.as_deref() == Some("split"),
        _ => false,
    });
    assert!(!split, "a timeout says nothing of a change");
    is_verified(&env, &events);
}

#[test]
fn what_another_run_has_found_green_is_not_checked_again() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let text = plan(1, &[], NO_BAD);
    let (first, events) = env.run(&text, |_| {});
    assert_eq!((first.exit, asked(&events).len()), (0, 1));
    git(&env.repo(), &["reset", "-q", "--hard", "HEAD^"]);
    let (second, events) = env.run(&text, |_| {});
    assert_eq!((second.exit, asked(&events).len()), (0, 0), "the same tree, the same check");
    git(&env.repo(), &["reset", "-q", "--hard", "HEAD^"]);
    let (third, events) = env.run(&text.replace("grep -q bad", "grep -q worse"), |_| {});
    assert_eq!((third.exit, asked(&events).len()), (0, 1), "another check");
}

#[test]
fn changes_that_clash_land_one_after_the_other_or_go_back() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let text = r#"
version: 1
task: clash
checks: [{ name: good, run: "! grep -q bad a.txt" }]
defaults: { retries: 0 }
steps:
  - { id: one, touches: [1.txt], run: echo one > a.txt }
  - { id: two, touches: [2.txt], run: echo two > a.txt }
  - { id: three, touches: [3.txt], run: echo three > 3.txt }
"#;
    let (end, _) = env.run(text, |options| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    });
    let pinned = |step: &str| Pinned { step: id(step), commit: None };
    let all = ["one", "two", "three"];
    env.verb(&end.run, Verb::Approve { steps: all.map(pinned).to_vec(), widen: vec!["a.txt".to_owned()] });
    let end = env.resume(&end.run, Overrides { merge: Some(Vec::new()), ..Overrides::default() });
    let view = env.view(&end.run);
    check_states(&view, &[("one", "landed"), ("two", "failed"), ("three", "landed")]);
    assert_eq!(view.step(&id("two")).why.as_deref(), Some("conflict"));
    assert_eq!(env.file("a.txt"), "one\n");
    env.is_sound();
}
