//! The program killed at any moment: it is run again, and reaches the same end.
//!
//! A moment is a place in the stream of events (the program is killed as soon as the event has been read,
//! while its effects are under way) or, for some, a point in time. Seeds are fixed and printed.

#![expect(clippy::print_stdout, reason = "the seed and the kills are shown where the test fails")]

mod agent;
mod signals;
pub(crate) mod world;

use std::time::Duration;

use crate::env::{Background, TestEnv, TestRepo};
use world::{Expected, Rng, wreck};

/// Kills of the large run: by the stream of events and by the clock.
const KILLS_BY_EVENT: usize = 36;
/// As above.
const KILLS_BY_CLOCK: usize = 14;
/// Most kills that one run has to survive; the rest of it is left alone, so that every run ends.
const KILLS_OF_ONE_RUN: usize = 6;
/// Where a run that is not killed ends; far more than a run that was killed often needs.
const RESUMES_MAX: usize = 5;

/// Twenty steps of every kind: reads, rewrites, commands, a scratch step, a group, overlaps, own checks, a repair.
const PLAN: &str = r#"
version: 1
task: Try everything at once
checks:
  - name: whole
    run: |
      if grep -q 'new(' src/a.rs; then grep -q 'new(' src/b.rs && test -s doc/api.md; else ! grep -q 'new(' src/b.rs; fi
  - { name: shared, run: 'test -z "$(sort shared.txt | uniq -d)"', paths: ["shared*"] }
groups: { api: { land: together } }
steps:
  - { id: survey, mode: read, run: "sleep 0.03; grep -rn old src" }
  - { id: count, mode: read, needs: [survey], run: 'test -s "$WATTLE_NEEDS/survey.md"' }
  - { id: rw-a, group: api, touches: [src/a.rs], rewrite: { pattern: old($A), fix: new($A), lang: rust } }
  - { id: rw-b, group: api, touches: [src/b.rs], rewrite: { pattern: old($A), fix: new($A), lang: rust } }
  - { id: doc, group: api, needs: [rw-a], touches: [doc/api.md], run: mkdir -p doc && echo api >> doc/api.md }
  - { id: rw-c, needs: [count], touches: [src/c.rs], rewrite: { pattern: legacy($A), fix: modern($A), lang: rust } }
  - { id: shared-1, touches: ["shared*"], run: sleep 0.02; echo one >> shared.txt }
  - { id: shared-2, touches: [shared.txt], run: sleep 0.02; echo two >> shared.txt }
  - { id: shared-3, touches: ["*.txt"], run: echo three >> shared.txt }
  - { id: chain, needs: [shared-3], touches: [log/chain], run: cat shared.txt >> log/chain }
  - { id: w1, touches: [log/w1], run: sleep 0.04; echo w1 >> log/w1, check: { run: "test $(wc -l < log/w1) = 1" } }
  - id: w2
    touches: [log/w2]
    run: echo bad >> log/w2
    check: { run: grep -qx w2 log/w2 }
    repair: { run: echo w2 >> log/w2, attempts: 1 }
  - { id: w3, touches: [log/w3], run: sleep 0.03; echo w3 >> log/w3 }
  - { id: w4, touches: [log/w4], run: sleep 0.02; echo w4 >> log/w4 }
  - { id: w5, needs: [w1], touches: [log/w5], run: cat log/w1 >> log/w5 }
  - { id: w6, needs: [w2], touches: [log/w6], run: cat log/w2 >> log/w6 }
  - { id: w7, touches: [log/w7], run: echo w7 >> log/w7 }
  - { id: play, mode: scratch, needs: [w3], run: sleep 0.02; rm log/w3 }
  - { id: none, touches: [log/none], run: "true" }
  - { id: last, needs: ["w*", chain, rw-c], touches: [log/last], run: cat log/* src/c.rs >> log/last }
"#;

const FILES: [(&str, &str); 5] = [
    ("src/a.rs", "fn a() { old(1); }\n"),
    ("src/b.rs", "fn b() { old(2); }\n"),
    ("src/c.rs", "fn c() { legacy(3); }\n"),
    ("shared.txt", ""),
    ("log/0", "0\n"),
];

/// A world with the plan beside the repository.
fn world(env: &TestEnv) -> TestRepo<'_> {
    std::fs::write(env.root().join("plan.yml"), PLAN).expect("the folder is ours");
    env.repo("repo", &FILES)
}

fn start<'e>(repo: &'e TestRepo<'_>) -> Background<'e> {
    repo.spawn(&["run", "-f", "../plan.yml", "--approve", "auto", "--jobs", "4", "--json"])
}

/// The run with nobody disturbing it.
fn undisturbed() -> Expected {
    let env = TestEnv::new();
    let repo = world(&env);
    let end = start(&repo).end().ok();
    let events = end.events().len();
    let expected = Expected::of(&repo, events, wreck);
    assert_eq!(expected.landed.len(), 16, "every write but `none` has landed: {:?}", expected.landed);
    expected.hold(&env, &repo);
    expected
}

/// Kills runs until so many kills have hit, and holds each against the undisturbed one.
fn survives(seed: u64, kills: usize, strike: impl Fn(&mut Rng, &mut Background<'_>, &Expected) -> bool) {
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let expected = undisturbed();
    let mut left = kills;
    while left > 0 {
        let env = TestEnv::new();
        let repo = world(&env);
        let mut now = start(&repo);
        let mut hits = 0;
        while hits < KILLS_OF_ONE_RUN.min(left) && strike(&mut rng, &mut now, &expected) {
            hits += usize::from(now.kill());
            wreck(&repo);
            now = resume(&repo);
        }
        left -= hits;
        let mut end = now.end();
        // Killed before its first event: there is nothing to go on with.
        for _ in 0..RESUMES_MAX {
            if end.code == 5 {
                end = start(&repo).end();
            }
        }
        println!("{hits} kills, then {} lines", end.out.lines().count());
        let _ = end.ok();
        expected.hold(&env, &repo);
    }
}

fn resume<'e>(repo: &'e TestRepo<'_>) -> Background<'e> {
    repo.spawn(&["resume", "--json"])
}

#[test]
fn killed_at_any_event_a_run_goes_on_to_the_same_end() {
    survives(0x77a7_71e1, KILLS_BY_EVENT, |rng, now, expected| {
        let most = (2 * expected.events / KILLS_OF_ONE_RUN).max(2);
        now.read(1 + rng.below(most))
    });
}

#[test]
fn killed_at_any_time_a_run_goes_on_to_the_same_end() {
    survives(0x77a7_71e2, KILLS_BY_CLOCK, |rng, now, _| {
        // Not to wait for anything: the moment of the kill is what is drawn.
        std::thread::sleep(Duration::from_millis(rng.below(900) as u64));
        now.read(1)
    });
}
