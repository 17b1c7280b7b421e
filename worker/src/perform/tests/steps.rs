//! Steps: executor, commit, check, repair.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wattle_workspace::ChangeKind;

use super::bench::{ATTEMPT_REF, Bench, Recorder, TIME_S, command, form, host, run, set, sh};
use crate::assignment::{Mode, Repair, Rewrite, Work};
use crate::host::Reply;
use crate::outcome::{Cause, End, Verdict};

const FILES: &[(&str, &str)] = &[
    ("src/a.rs", "fn a() { old(1); }\n"),
    ("src/b.rs", "fn b() { old(2); }\n"),
    ("tool.sh", "#!/bin/sh\necho tool\n"),
    ("notes/one.txt", "one\n"),
    (".gitignore", "target\n"),
];

fn cause(end: &End) -> Option<Cause> {
    match end {
        End::Failed { cause, .. } => Some(*cause),
        _ => None,
    }
}

#[tokio::test]
async fn a_write_step_leaves_one_commit_with_exactly_its_form() {
    let bench = Bench::new(FILES).await;
    let host = host();
    let text = "mkdir target new; echo x > target/x; echo y > new/y; rm notes/one.txt; git checkout -q -b mine; git commit -q --allow-empty -m z || true";
    let step = bench.step(Mode::Write, run(text));
    let outcome = bench.perform(step, &host).await;
    assert_eq!(outcome.end, End::Committed, "{}", outcome.report);
    let committed = outcome.commit.unwrap();
    let paths: Vec<_> = committed.changes.iter().map(|c| (c.path.as_str(), c.kind)).collect();
    assert_eq!(paths, [("new/y", ChangeKind::Added), ("notes/one.txt", ChangeKind::Deleted)]);
    assert_eq!(committed.outside, Vec::<String>::new());
    assert_eq!(bench.kept(), Some(committed.commit.clone()));
    assert_eq!(host.told(), ["execute", "executed", "commit"]);
    assert_eq!(host.commits(), vec![committed.commit.clone()]);
    assert_eq!(bench.tools.repo.parents(&committed.commit).unwrap(), vec![bench.base.clone()]);
    assert_eq!(bench.tools.repo.message(&committed.commit).unwrap().trim_end(), form().message.trim_end());
    let repo = bench.scratch("repo");
    let who = sh(&repo, &format!("git log -1 --format='%an %ae %at %cn %ce %ct' {ATTEMPT_REF}")).await;
    assert_eq!(who.trim(), format!("ann ann@example.com {TIME_S} wattle wattle@example.com {TIME_S}"));
    let wrote: Vec<_> = outcome.evidence.wrote.iter().map(|w| (w.0.as_str(), w.1.is_some(), w.2.is_some())).collect();
    assert_eq!(wrote, [("new/y", false, true), ("notes/one.txt", true, false)]);
    assert_eq!(outcome.evidence.tree, Some(committed.tree));
}

#[tokio::test]
async fn the_same_work_is_the_same_commit() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let bench = Bench::new(FILES).await;
        let step = bench.step(Mode::Write, run("echo more >> src/a.rs"));
        ids.push(bench.perform(step, &host()).await.commit.unwrap().commit);
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn no_change_is_no_commit() {
    let bench = Bench::new(FILES).await;
    let host = host();
    let mut step = bench.step(Mode::Write, run("mkdir target; echo x > target/x"));
    step.check = Some(command("exit 1"));
    let outcome = bench.perform(step, &host).await;
    assert_eq!(outcome.end, End::Unchanged);
    assert_eq!((outcome.commit, outcome.check, bench.kept()), (None, None, None));
    assert_eq!(host.told(), ["execute", "executed"]);
}

#[tokio::test]
async fn work_outside_its_touches_is_named() {
    let bench = Bench::new(FILES).await;
    let mut step = bench.step(Mode::Write, run("mv notes/one.txt src/one.txt; echo >> src/b.rs"));
    step.commit.as_mut().unwrap().touches = vec!["src/.*".to_owned()];
    let outcome = bench.perform(step, &host()).await;
    assert_eq!(outcome.end, End::Committed);
    // Both sides of a rename count.
    assert_eq!(outcome.commit.unwrap().outside, ["notes/one.txt"]);
}

#[tokio::test]
async fn a_command_sees_what_it_is_promised() {
    let bench = Bench::new(FILES).await;
    let text = "echo $WATTLE_RUN $WATTLE_STEP $WATTLE_ATTEMPT $WATTLE_BASE $WATTLE_SLOT $OF_STEP; cat \"$WATTLE_NEEDS\"/survey.md; pwd";
    let step = bench.step(Mode::Scratch, run(text));
    let (slot, path) = (step.place.slot, step.place.path.clone());
    let outcome = bench.perform(step, &host()).await;
    assert_eq!(outcome.end, End::Done);
    let expected = format!("r1 s1 1 {} {slot} yes\nfound it\n{}\n", bench.base, path.display());
    assert_eq!(outcome.evidence.output, expected);
    assert!(outcome.report.contains("exit code 0"), "{}", outcome.report);
    assert!(outcome.report.contains("found it"), "{}", outcome.report);
}

#[tokio::test]
async fn exit_codes_that_count_as_success() {
    let bench = Bench::new(FILES).await;
    let mut ok = command("exit 1");
    ok.ok_exit = vec![0, 1];
    let outcome = bench.perform(bench.step(Mode::Scratch, Work::Run(ok)), &host()).await;
    assert_eq!(outcome.end, End::Done);
}

#[tokio::test]
async fn a_failure_keeps_its_work() {
    let bench = Bench::new(FILES).await;
    let host = host();
    let mut step = bench.step(Mode::Write, run("echo half > half; exit 7"));
    step.check = Some(command("true"));
    let outcome = bench.perform(step, &host).await;
    assert_eq!(cause(&outcome.end), Some(Cause::Exit));
    assert_eq!(outcome.evidence.exit, Some(7));
    let committed = outcome.commit.unwrap();
    assert_eq!(bench.file(&committed.tree, "half"), "half\n");
    assert_eq!(bench.kept(), Some(committed.commit));
    assert_eq!(outcome.check, None);
    assert_eq!(host.told(), ["execute", "executed", "commit of a failure"]);
}

#[tokio::test]
async fn red_repaired_green() {
    let bench = Bench::new(FILES).await;
    let host = host();
    let mut step = bench.step(Mode::Write, run("echo one >> notes/one.txt; echo > added"));
    step.check = Some(command("grep -q two notes/one.txt || { echo no two; exit 1; }"));
    step.repair = Some(Repair { work: run("echo two >> notes/one.txt"), attempts: 2 });
    let outcome = bench.perform(step, &host).await;
    assert_eq!(outcome.end, End::Committed, "{}", outcome.report);
    let told =
        ["execute", "executed", "commit", "check", "checked", "repair", "executed", "commit", "check", "checked"];
    assert_eq!(host.told(), told);
    let committed = outcome.commit.unwrap();
    let commits = host.commits();
    assert_ne!(commits[0], commits[1]);
    assert_eq!(commits[1], committed.commit);
    assert_eq!(bench.tools.repo.parents(&committed.commit).unwrap(), vec![bench.base.clone()]);
    assert_eq!(bench.file(&committed.tree, "notes/one.txt"), "one\none\ntwo\n");
    assert_eq!(bench.kept(), Some(committed.commit));
    assert_eq!(outcome.check.unwrap().verdict, Verdict::Green);
    assert!(outcome.report.contains("no two") && outcome.report.contains("Repair 1"), "{}", outcome.report);
}

#[tokio::test]
async fn red_after_all_repairs_is_kept() {
    let bench = Bench::new(FILES).await;
    let mut step = bench.step(Mode::Write, run("echo > added"));
    step.check = Some(command("exit 1"));
    step.repair = Some(Repair { work: run("echo x >> added"), attempts: 2 });
    let outcome = bench.perform(step, &host()).await;
    assert_eq!(cause(&outcome.end), Some(Cause::CheckRed));
    let committed = outcome.commit.unwrap();
    assert_eq!(bench.file(&committed.tree, "added"), "\nx\nx\n");
    assert_eq!(bench.kept(), Some(committed.commit));
    assert_eq!(outcome.check.unwrap().verdict, Verdict::Red);
}

#[tokio::test]
async fn what_a_check_changes_is_discarded_and_named() {
    let bench = Bench::new(FILES).await;
    let mut step = bench.step(Mode::Write, run("echo > added; ln -s added link; chmod +x src/b.rs"));
    let vandal = "echo >> added; rm tool.sh link; chmod -x src/b.rs; chmod +x src/a.rs; rm -r notes; \
                  ln -s /tmp notes; mkdir -p deep/er; echo > deep/er/file; mkdir target; echo > target/x";
    step.check = Some(command(vandal));
    let place = step.place.clone();
    let outcome = bench.perform(step, &host()).await;
    assert_eq!(outcome.end, End::Committed, "{}", outcome.report);
    let check = outcome.check.unwrap();
    assert_eq!(check.verdict, Verdict::Green);
    let changed = ["added", "deep/er/file", "link", "notes", "notes/one.txt", "src/a.rs", "src/b.rs", "tool.sh"];
    assert_eq!(set(&check.changed_by_check), changed.into());
    assert_eq!(bench.tree_in(&place), outcome.commit.unwrap().tree);
    assert!(!place.path.join("deep").exists() && place.path.join("target/x").exists());
    assert!(!std::path::Path::new("/tmp/one.txt").exists());
}

#[tokio::test]
async fn a_check_sees_the_commit_and_not_what_was_kept_out_of_it() {
    let bench = Bench::new(FILES).await;
    let mut step = bench.step(Mode::Write, run("echo two > notes/one.txt; echo > added"));
    step.commit.as_mut().unwrap().discard = vec!["notes/.*".to_owned()];
    let text = "[ \"$(cat notes/one.txt)\" = one ] && [ \"$(git write-tree)\" != \"$WATTLE_TREE\" ] && tr '\\0' ' ' < \"$WATTLE_CHANGED\"";
    step.check = Some(command(text));
    let outcome = bench.perform(step, &host()).await;
    assert_eq!(outcome.end, End::Committed, "{}", outcome.report);
    assert_eq!(outcome.check.unwrap().evidence.output, "added ");
}

#[tokio::test]
async fn a_read_step_may_not_write() {
    let bench = Bench::new(FILES).await;
    let host = host();
    let outcome = bench.perform(bench.step(Mode::Read, run("echo >> src/a.rs; echo > extra")), &host).await;
    assert_eq!(cause(&outcome.end), Some(Cause::WroteInReadMode));
    let message = format!("{:?}", outcome.end);
    assert!(message.contains("a read step changed files: extra, src/a.rs"), "{message}");
    assert_eq!(outcome.commit, None);
}

#[tokio::test]
async fn a_read_step_reports() {
    let bench = Bench::new(FILES).await;
    let outcome = bench.perform(bench.step(Mode::Read, run("grep -rn old src | sort")), &host()).await;
    assert_eq!(outcome.end, End::Done);
    assert!(outcome.report.contains("src/b.rs:1:fn b() { old(2); }"), "{}", outcome.report);
}

#[tokio::test]
async fn a_rewrite_stays_inside_its_touches() {
    let bench = Bench::new(FILES).await;
    let rewrite = Rewrite::Pattern { pattern: "old($A)".into(), fix: "new($A)".into(), lang: "rust".into() };
    let mut step = bench.step(Mode::Write, Work::Rewrite(rewrite.clone()));
    step.commit.as_mut().unwrap().touches = vec!["src/a[^/]*".to_owned()];
    let outcome = bench.perform(step, &host()).await;
    assert_eq!(outcome.end, End::Committed, "{}", outcome.report);
    let committed = outcome.commit.unwrap();
    assert_eq!(bench.file(&committed.tree, "src/a.rs"), "fn a() { new(1); }\n");
    assert_eq!(bench.file(&committed.tree, "src/b.rs"), "fn b() { old(2); }\n");
    // A step that only reads says whether the rule still matches.
    let outcome = bench.perform(bench.step(Mode::Read, Work::Rewrite(rewrite)), &host()).await;
    assert_eq!(cause(&outcome.end), Some(Cause::Exit));
    assert!(outcome.report.contains("src/b.rs:1"), "{}", outcome.report);
}

#[tokio::test]
async fn a_bad_rule_is_the_rules_fault() {
    let bench = Bench::new(FILES).await;
    let rewrite = Rewrite::Pattern { pattern: "x".into(), fix: "y".into(), lang: "klingon".into() };
    let outcome = bench.perform(bench.step(Mode::Write, Work::Rewrite(rewrite)), &host()).await;
    assert_eq!(cause(&outcome.end), Some(Cause::BadRule));
}

#[tokio::test]
async fn a_resumed_step_goes_on_with_its_commit() {
    let bench = Bench::new(FILES).await;
    let first = bench.perform(bench.step(Mode::Write, run("echo done > done")), &host()).await.commit.unwrap();
    let host = host();
    // The executor would fail, and the worktree is not the commit's.
    let mut step = bench.step(Mode::Write, run("exit 9"));
    step.resume.committed = Some(first.commit.clone());
    step.check = Some(command("[ \"$(cat done)\" = done ]"));
    let outcome = bench.perform(step, &host).await;
    assert_eq!(outcome.end, End::Committed, "{}", outcome.report);
    assert_eq!(outcome.commit, Some(first));
    assert_eq!(host.told(), ["check", "checked"]);
}

#[tokio::test]
async fn a_commit_that_is_lost_is_made_again() {
    let bench = Bench::new(FILES).await;
    let mut step = bench.step(Mode::Write, run("echo done > done"));
    step.resume.committed = Some("1234567890123456789012345678901234567890".parse().unwrap());
    let host = host();
    let outcome = bench.perform(step, &host).await;
    assert_eq!(outcome.end, End::Committed);
    assert_eq!(host.told(), ["execute", "executed", "commit"]);
}

#[tokio::test]
async fn a_stop_at_any_message_parks_before_the_effect() {
    let mut index = 0;
    loop {
        let bench = Bench::new(FILES).await;
        let host = Arc::new(Recorder { at: Some((index, Reply::Cancel)), ..Recorder::default() });
        let mut step = bench.step(Mode::Write, run("echo one > one"));
        let place = step.place.clone();
        step.check = Some(command("[ -e two ]"));
        step.repair = Some(Repair { work: run("echo > two"), attempts: 1 });
        let outcome = bench.perform(step, &host).await;
        let told = host.told();
        if index == told.len() {
            assert_eq!(outcome.end, End::Committed);
            break;
        }
        assert_eq!(outcome.end, End::Parked, "at {index}");
        assert_eq!(told.len(), index + 1, "nothing is said after a stop");
        assert_eq!(bench.kept(), None);
        match told[index] {
            "execute" => assert!(!place.path.join("one").exists()),
            "repair" => assert!(!place.path.join("two").exists()),
            "commit" => {
                let commit = host.commits().pop().unwrap();
                assert!(!bench.tools.repo.has_commit(&commit).unwrap());
            }
            _ => {}
        }
        index += 1;
    }
    assert_eq!(index, 10);
}

#[tokio::test]
async fn a_refusal_fails_with_its_reason() {
    let bench = Bench::new(FILES).await;
    let refused = Reply::Refused { reason: "the disk is full".to_owned() };
    let host = Arc::new(Recorder { at: Some((0, refused)), ..Recorder::default() });
    let outcome = bench.perform(bench.step(Mode::Write, run("true")), &host).await;
    let message = "go on: the disk is full".to_owned();
    assert_eq!(outcome.end, End::Failed { cause: Cause::Environment, message });
}

#[tokio::test]
async fn a_cancelled_step_parks_at_once() {
    let bench = Bench::new(FILES).await;
    let host = host();
    let step = bench.step(Mode::Write, run("echo > ready; sleep 1000"));
    let ready = step.place.path.join("ready");
    let stop = async {
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        host.cancel.cancel();
        Instant::now()
    };
    let (outcome, stopped) = tokio::join!(bench.perform(step, &host), stop);
    assert_eq!(outcome.end, End::Parked);
    assert!(stopped.elapsed() < Duration::from_secs(3));
    assert_eq!(host.told(), ["execute"]);
    assert!(ready.exists(), "its work stays in the worktree");
}

#[tokio::test]
async fn the_attempt_has_a_bound_of_its_own() {
    let bench = Bench::new(FILES).await;
    let mut step = bench.step(Mode::Write, run("echo > half; sleep 1000"));
    step.timeout_ms = 300;
    let outcome = bench.perform(step, &host()).await;
    assert_eq!(cause(&outcome.end), Some(Cause::Timeout));
    assert!(outcome.commit.is_some());
}

#[tokio::test]
async fn an_attempt_ref_is_never_moved() {
    let bench = Bench::new(FILES).await;
    let first = bench.perform(bench.step(Mode::Write, run("echo 1 > n")), &host()).await.commit.unwrap();
    let again = bench.perform(bench.step(Mode::Write, run("echo 1 > n")), &host()).await;
    assert_eq!(again.end, End::Committed, "the same commit is no conflict");
    let other = bench.perform(bench.step(Mode::Write, run("echo 2 > n")), &host()).await;
    assert_eq!(cause(&other.end), Some(Cause::Environment));
    assert_eq!(bench.kept(), Some(first.commit));
}

#[tokio::test]
async fn files_that_no_commit_can_hold() {
    for text in ["mkfifo pipe", "git init -q nested && echo > nested/file"] {
        let bench = Bench::new(FILES).await;
        let outcome = bench.perform(bench.step(Mode::Write, run(text)), &host()).await;
        assert_eq!(cause(&outcome.end), Some(Cause::Uncommittable), "{text}: {:?}", outcome.end);
        assert_eq!(outcome.commit, None);
    }
}
