//! The look after a landing covers every change that was queued, however it landed: taken out of what is known of the
//! landing, each one of them is missed.

use std::collections::BTreeSet;

use super::*;
use crate::queue::audit::{audit, audit_job};
use crate::run::undo::revert;
use crate::state::landing::Landing;

const STEPS: &str = r#"
steps:
  - { id: a, touches: ["a/**"], run: echo new >a/f && echo mine >all }
  - { id: b, touches: ["b/**"], run: echo new >b/f && echo mine >all }
"#;

/// Runs a plan of this head to its end: what was looked at is what has landed, and nothing was missed.
fn landed(head: &str, steps: &str) -> (Env, RunView) {
    let env = Env::new(&[("a/f", "old\n"), ("b/f", "old\n"), ("all", "old\n")]);
    let text = format!("version: 1\ntask: t\ndiscard: [all]\n{head}{steps}");
    let (end, events) = env.run(&text, |_| {});
    assert_eq!(end.exit, 0, "{head}");
    looked_at(&events, head);
    let view = env.view(&end.run);
    (env, view)
}

fn looked_at(events: &[Event], head: &str) {
    let (mut moved, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for event in events {
        match &event.body {
            Body::LandingState(change) if change.state == Landing::Landed => _ = moved.insert(change.landing),
            Body::Audited { landing, missing } => {
                assert_eq!(*missing, Vec::<String>::new(), "{head}");
                seen.insert(*landing);
            }
            _ => {}
        }
    }
    if head.contains("at: final") {
        // They were put together before, and the last of them has moved the target with all.
        moved = moved.last().copied().into_iter().collect();
    }
    assert!(!moved.is_empty() && moved.is_subset(&seen), "{head}: {moved:?} landed, {seen:?} were looked at");
}

/// Each change, as if the merge had dropped it, is missed by name; gives whose were.
fn missed(env: &Env, view: &RunView) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (id, record) in view.landings.iter().filter(|(_, record)| record.state == Landing::Landed) {
        let job = audit_job(view, *id).expect("it has a candidate");
        assert_eq!(audit(&env.ctx.repo, &job).expect("it can be looked at"), Vec::<String>::new());
        for (at, entry) in record.entries.iter().enumerate() {
            let mut dropped = view.clone();
            let made = dropped.landings.get_mut(id).and_then(|record| record.candidate.as_mut()).expect("a candidate");
            made.trees[at] = if at == 0 { made.old_tree.clone() } else { made.trees[at - 1].clone() };
            let job = audit_job(&dropped, *id).expect("it has a candidate");
            let missing = audit(&env.ctx.repo, &job).expect("it can be looked at");
            let words = format!("the change of {} to ", entry.step);
            assert!(missing.iter().any(|line| line.starts_with(&words)), "{} of {id:?}: {missing:?}", entry.step);
            found.insert(entry.step.to_string());
        }
    }
    found
}

#[test]
fn every_change_is_missed_however_it_lands() {
    let group = STEPS.replace("touches", "group: both, touches");
    let heads = [
        ("checks: []\n", STEPS),
        ("checks: [{ name: c, run: \"true\" }]\ncommit: { style: squash }\n", STEPS),
        ("checks: [{ name: c, run: \"true\" }]\ngroups: { both: { land: together } }\n", group.as_str()),
        ("checks: []\ncommit: { style: squash }\ngroups: { both: { land: together } }\n", group.as_str()),
        ("checks: []\ngenerated: [{ path: all, run: cat a/f b/f >all }]\n", STEPS),
        ("checks: []\ngenerated: [{ path: all, run: cat a/f b/f >all }]\ncommit: { style: squash }\n", STEPS),
    ];
    for (head, steps) in heads {
        let (env, view) = landed(head, steps);
        assert_eq!(missed(&env, &view), BTreeSet::from(["a".to_owned(), "b".to_owned()]), "{head}");
        env.is_sound();
    }
}

#[test]
fn what_is_undone_is_missed_too() {
    let (env, view) = landed("checks: []\n", STEPS);
    let undo = revert(&env.ctx.repo, &view, &[id("a"), id("b")], true).expect("a plan");
    let (end, events) = env.run(&undo.plan, |_| {});
    assert_eq!((end.exit, env.file("a/f"), env.file("b/f")), (0, "old\n".to_owned(), "old\n".to_owned()));
    looked_at(&events, "revert");
    assert_eq!(missed(&env, &env.view(&end.run)), BTreeSet::from(["revert-a".to_owned()]));
}

#[test]
fn what_was_gathered_for_a_final_check_is_looked_at_when_it_lands() {
    let (env, view) = landed("checks: [{ name: c, run: \"true\", at: final }]\n", STEPS);
    check_states(&view, &[("a", "landed"), ("b", "landed")]);
    env.is_sound();
}
