//! Checks and setup that are assignments of their own.

use std::sync::Arc;

use wattle_workspace::Class;

use super::bench::{Bench, command, host, owner};
use crate::assignment::{Assignment, CheckAssignment, SetupAssignment};
use crate::host::Host;
use crate::outcome::{Cause, End, Outcome, Verdict};
use crate::perform::perform;

const FILES: &[(&str, &str)] = &[("a.txt", "a\n"), (".gitignore", "target\n")];

async fn checked(bench: &Bench, change: impl FnOnce(&mut CheckAssignment)) -> Outcome {
    let mut check = CheckAssignment {
        owner: owner(),
        name: "build".to_owned(),
        place: bench.place(Class::Check, "check"),
        tree: bench.tools.repo.tree_of(&bench.base).unwrap(),
        proved: false,
        command: command("true"),
        changed: vec!["a.txt".to_owned(), "b c.txt".to_owned()],
    };
    change(&mut check);
    let host: Arc<dyn Host> = host();
    perform(Assignment::Check(check), host, Arc::clone(&bench.tools)).await
}

#[tokio::test]
async fn verdicts() {
    let bench = Bench::new(FILES).await;
    let cases: [(&str, Verdict); 5] = [
        ("true", Verdict::Green),
        ("exit 3", Verdict::Red),
        ("kill -9 $$", Verdict::Red),
        ("sleep 1000", Verdict::Timeout),
        ("echo $WATTLE_TREE; tr '\\0' '|' < \"$WATTLE_CHANGED\"", Verdict::Green),
    ];
    for (text, expected) in cases {
        let outcome = checked(&bench, |check| {
            check.command.run = text.to_owned();
            if expected == Verdict::Timeout {
                check.command.bounds.timeout_ms = 200;
            }
        })
        .await;
        assert_eq!(outcome.end, End::Done, "{text}");
        assert_eq!(outcome.check.unwrap().verdict, expected, "{text}");
        if text.starts_with("echo") {
            let tree = bench.tools.repo.tree_of(&bench.base).unwrap();
            assert_eq!(outcome.evidence.output, format!("{tree}\na.txt|b c.txt|"));
        }
    }
}

#[tokio::test]
async fn another_tree_is_not_checked() {
    let bench = Bench::new(FILES).await;
    let outcome = checked(&bench, |check| {
        std::fs::write(check.place.path.join("stray"), "x").unwrap();
        check.command.run = "touch ran".to_owned();
    })
    .await;
    assert!(matches!(outcome.end, End::Failed { cause: Cause::Environment, .. }), "{:?}", outcome.end);
    assert_eq!(outcome.check.unwrap().verdict, Verdict::Error);
}

#[tokio::test]
async fn a_slot_proved_for_its_base_is_proved_for_no_other_tree() {
    let bench = Bench::new(FILES).await;
    let empty = bench.tools.repo.empty_tree().unwrap();
    for (tree, expected) in [(None, Verdict::Green), (Some(empty), Verdict::Error)] {
        let outcome = checked(&bench, |check| {
            check.proved = true;
            check.tree = tree.unwrap_or(check.tree.clone());
        })
        .await;
        assert_eq!(outcome.check.unwrap().verdict, expected);
    }
}

#[tokio::test]
async fn a_slot_is_left_as_it_was() {
    let bench = Bench::new(FILES).await;
    let outcome = checked(&bench, |check| check.command.run = "echo b > a.txt; echo > new; exit 1".to_owned()).await;
    let check = outcome.check.unwrap();
    assert_eq!(check.verdict, Verdict::Red);
    assert_eq!(check.changed_by_check, ["a.txt", "new"]);
}

#[tokio::test]
async fn a_verdict_holds_whatever_the_check_leaves() {
    let bench = Bench::new(FILES).await;
    let outcome = checked(&bench, |check| check.command.run = "mkfifo pipe".to_owned()).await;
    assert_eq!(outcome.check.unwrap().verdict, Verdict::Green);
    assert!(outcome.report.contains("could not be discarded"), "{}", outcome.report);
    assert!(outcome.report.contains("pipe"), "{}", outcome.report);
}

#[tokio::test]
async fn what_cannot_be_started_is_no_verdict_on_the_tree() {
    let bench = Bench::new(FILES).await;
    let outcome = checked(&bench, |check| check.place.path.push("missing")).await;
    assert_eq!(outcome.check.unwrap().verdict, Verdict::Error);
}

#[tokio::test]
async fn setup_does_or_does_not() {
    let bench = Bench::new(FILES).await;
    let place = bench.place(Class::Work, "setup");
    let mut setup = SetupAssignment { owner: owner(), place, command: command("mkdir -p target; echo ok > target/ok") };
    let first = perform(Assignment::Setup(setup.clone()), host(), Arc::clone(&bench.tools)).await;
    assert_eq!(first.end, End::Done);
    assert!(setup.place.path.join("target/ok").exists());
    setup.command.run = "echo no network; exit 4".to_owned();
    let slot = setup.place.slot;
    let second = perform(Assignment::Setup(setup), host(), Arc::clone(&bench.tools)).await;
    let message = format!("set up slot {slot}: the command ended with exit code 4");
    assert_eq!(second.end, End::Failed { cause: Cause::Exit, message });
    assert_eq!(second.evidence.output, "no network\n");
}
