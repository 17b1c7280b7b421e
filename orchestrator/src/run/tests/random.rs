//! Small random plans, run for real: whatever the plan, what must never be is not there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::Config;
use wattle_planner::{EdgeKind, StepId, parse_plan};
use wattle_worker::outcome::Verdict;
use wattle_workspace::{Pool, PoolOptions};

use super::{Env, git};
use crate::journal::event::Entry;
use crate::journal::{Body, Event, Reader, RunView};
use crate::options::RunOptions;
use crate::state::Machine;
use crate::state::attempt::Attempt;
use crate::state::landing::Landing;
use crate::state::run::Run;
use crate::state::step::{Step, StepEvent};

/// Whole runs take a second each; the seed is drawn anew each time, so that all who run this search together.
const CASES: u32 = 16;
/// A failure is made smaller in so many tries at most.
const SHRINKS_MAX: u32 = 24;
/// Files that steps fight over.
const FILES: usize = 3;

/// What a step does to its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Append,
    Read,
    Scratch,
    Nothing,
    Fail,
    FailOnce,
    Red,
    RedOnce,
    OwnCheckRed,
}

#[derive(Debug, Clone)]
struct Draft {
    deed: Deed,
    files: Vec<bool>,
    needs: Vec<bool>,
    grouped: bool,
    retries: u32,
}

fn draft() -> impl Strategy<Value = Draft> {
    let deed = prop_oneof![
        6 => Just(Deed::Append),
        1 => Just(Deed::Read),
        1 => Just(Deed::Scratch),
        1 => Just(Deed::Nothing),
        1 => Just(Deed::Fail),
        1 => Just(Deed::FailOnce),
        1 => Just(Deed::Red),
        1 => Just(Deed::RedOnce),
        1 => Just(Deed::OwnCheckRed),
    ];
    let files = proptest::collection::vec(proptest::bool::weighted(0.4), FILES);
    let needs = proptest::collection::vec(proptest::bool::weighted(0.25), 7);
    (deed, files, needs, proptest::bool::weighted(0.3), 0..2_u32)
        .prop_map(|(deed, files, needs, grouped, retries)| Draft { deed, files, needs, grouped, retries })
}

/// The plan's text. A step writes its name into each of its files, a bad one the word `bad` as well.
fn plan(drafts: &[Draft]) -> String {
    let mut text = "version: 1\ntask: At random\nchecks:\n".to_owned();
    text.push_str("  - { name: good, run: \"! grep -rqw bad parts\" }\n");
    text.push_str("  - { name: first, run: \"test -d parts\", paths: [\"parts/0\"] }\n");
    if drafts.iter().any(grouped) {
        text.push_str("groups: { g: { land: together } }\n");
    }
    text.push_str("steps:\n");
    for (number, draft) in drafts.iter().enumerate() {
        let needs: Vec<String> =
            (0..number).filter(|needed| draft.needs[*needed]).map(|needed| format!("s{needed}")).collect();
        // A file of its own, so that every write changes something, and those that it shares.
        let mut files = vec![format!("parts/own-{number}")];
        files.extend((0..FILES).filter(|file| draft.files[*file]).map(|file| format!("parts/{file}")));
        let append = |word: &str| files.iter().map(|file| format!("echo {word} >> {file}")).collect::<Vec<_>>();
        let good = append(&format!("s{number}")).join(" && ");
        let again = "test \\\"$WATTLE_ATTEMPT\\\" -gt 1";
        let run = match draft.deed {
            Deed::Append => good,
            Deed::Read => "cat parts/0".to_owned(),
            Deed::Scratch => "echo bad >> parts/0".to_owned(),
            Deed::Nothing => "true".to_owned(),
            Deed::Fail => "false".to_owned(),
            Deed::FailOnce => format!("{again} && {good}"),
            Deed::Red | Deed::OwnCheckRed => format!("{good} && echo bad >> {}", files[0]),
            Deed::RedOnce => format!("{good} && {{ {again} || echo bad >> {}; }}", files[0]),
        };
        let mode = match draft.deed {
            Deed::Read => "mode: read".to_owned(),
            Deed::Scratch => "mode: scratch".to_owned(),
            _ => format!("touches: [{}]", files.join(", ")),
        };
        let check = match draft.deed {
            Deed::OwnCheckRed => format!(", check: {{ run: \"! grep -qw bad {}\" }}", files[0]),
            _ => String::new(),
        };
        let group = if grouped(draft) { ", group: g" } else { "" };
        text.push_str(&format!(
            "  - {{ id: s{number}, {mode}, needs: [{}], retries: {}{group}{check}, run: \"{run}\" }}\n",
            needs.join(", "),
            draft.retries,
        ));
    }
    text
}

fn grouped(draft: &Draft) -> bool {
    draft.grouped && !matches!(draft.deed, Deed::Read | Deed::Scratch)
}

/// A step starts only on what it needs, and one landing at a time moves the target.
fn watch(view: &RunView, events: &[Event]) {
    let mut steps: BTreeMap<&StepId, Step> = BTreeMap::new();
    let mut landings: BTreeMap<u32, Landing> = BTreeMap::new();
    for event in events {
        match &event.body {
            Body::StepState(change) => {
                if change.event == StepEvent::Start && change.attempt == 1 {
                    for edge in view.plan.predecessors(&change.step) {
                        let before = steps.get(&edge.step).copied().unwrap_or(Step::Waiting);
                        let there = match before {
                            Step::Review | Step::Approved | Step::Queued | Step::Landing => true,
                            state => state.terminal() && (edge.kind == EdgeKind::After || state.exit() == 0),
                        };
                        assert!(there, "{} starts while {} is {before}", change.step, edge.step);
                    }
                }
                steps.insert(&change.step, change.state);
            }
            Body::LandingState(change) => {
                landings.insert(change.landing.0, change.state);
                let moving = landings.values().filter(|state| matches!(state, Landing::Green | Landing::Held));
                assert!(moving.count() <= 1, "two landings at once: {landings:?}");
            }
            _ => {}
        }
    }
}

/// The target has only ever been at its base and at tips whose exact tree every check passed that applies.
fn target(env: &Env, events: &[Event]) {
    let mut green: BTreeSet<(String, String)> = BTreeSet::new();
    for event in events {
        if let Body::CheckFinished { check, verdict: Verdict::Green, .. } = &event.body {
            green.insert((check.tree.to_string(), check.check.clone()));
        }
    }
    let places = git(&env.repo(), &["reflog", "show", "main", "--format=%H"]);
    let places: Vec<&str> = places.lines().rev().collect();
    for pair in places.windows(2) {
        let tree = git(&env.repo(), &["rev-parse", &format!("{}^{{tree}}", pair[1])]).trim().to_owned();
        assert!(green.contains(&(tree.clone(), "good".to_owned())), "{} was not checked", pair[1]);
        let changed = git(&env.repo(), &["diff", "--name-only", pair[0], pair[1]]);
        let first = changed.lines().any(|path| path == "parts/0");
        assert!(!first || green.contains(&(tree, "first".to_owned())), "{} was not checked by first", pair[1]);
    }
}

/// What the journal says is what was shown, and what the table of runs says.
fn journal(env: &Env, view: &RunView, events: &[Event]) {
    let reader = Reader::open(env.ctx.repo.state_dir()).expect("a journal").expect("a journal");
    let kept = reader.events(&view.run, 0).expect("events");
    assert_eq!(kept, events, "shown and kept");
    let runs = reader.runs().expect("runs");
    assert_eq!((runs.len(), runs[0].state.as_str()), (1, view.state.as_str()));
}

/// Every commit that counts is under its attempt ref, and every slot is free or said to be retired.
fn kept(env: &Env, view: &RunView) {
    for (step, record) in view.steps.iter() {
        for attempt in record.attempts.iter().filter(|attempt| attempt.state == Attempt::Succeeded) {
            let Some(commit) = &attempt.committed else { continue };
            let name = format!("refs/wattle/attempt/{}/{step}/{}", view.run, attempt.number);
            let found = env.ctx.repo.read_ref(&name).expect("refs");
            assert_eq!(found.as_ref(), Some(commit), "{name}");
        }
    }
    let pool = Pool::open(&env.ctx.repo, PoolOptions::default()).expect("slots");
    for slot in pool.list() {
        assert_eq!((slot.holder, slot.retired), (None, None), "slot {}", slot.slot);
    }
}

/// The effect of a step that landed is there once, that of another is not.
fn effects(env: &Env, view: &RunView) {
    let own = |number: usize| env.file(&format!("parts/own-{number}"));
    let all: String = (0..view.steps.len()).map(own).collect();
    for (step, record) in view.steps.iter() {
        let times = all.lines().filter(|line| *line == step.as_str()).count();
        assert_eq!(times, usize::from(record.state == Step::Landed), "{step} is {}: {all}", record.state);
    }
    let shared: String = (0..FILES).map(|number| env.file(&format!("parts/{number}"))).collect();
    assert!(!all.contains("bad") && !shared.contains("bad"), "nothing red is on the target");
}

proptest! {
    #![proptest_config(Config { cases: CASES, max_shrink_iters: SHRINKS_MAX, failure_persistence: None, ..Config::default() })]

    #[test]
    fn whatever_the_plan_nothing_is_there_that_must_not_be(drafts in proptest::collection::vec(draft(), 4..8), checks in 1..5_u32) {
        let text = plan(&drafts);
        prop_assume!(parse_plan("plan.yml", &text).is_ok());
        let env = Env::new(&[("parts/base", "base\n"), ("parts/0", "0\n")]);
        let (end, events) = env.run(&text, |options: &mut RunOptions| {
            options.jobs = 4;
            options.checks = checks;
        });
        let view = env.view(&end.run);
        watch(&view, &events);
        target(&env, &events);
        journal(&env, &view, &events);
        kept(&env, &view);
        effects(&env, &view);
        let fine = view.steps.values().all(|record| record.state.terminal() && record.state.exit() == 0);
        assert_eq!(end.state == Run::Completed, fine, "{end:?}: {:?}", super::states(&view));
        assert_eq!(end.exit == 0, fine);
        // Left over are only members of a group that did not land, and what stands on them.
        let open = |record: &&crate::journal::record::StepRecord| !record.state.terminal();
        for record in view.steps.values().filter(open) {
            let on: &[Entry] = record.work.as_ref().map_or(&[], |work| &work.on);
            let grouped = record.why.as_deref() == Some("group");
            assert!(grouped || !on.is_empty(), "{:?}", super::states(&view));
        }
        env.is_sound();
    }
}
