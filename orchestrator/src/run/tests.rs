//! Whole runs in process: real repositories, real git, real processes.

mod audit;
mod glance;
mod predict;
mod queue;
mod random;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;
use wattle_planner::StepId;
use wattle_workspace::{OpenOptions, Repo};

use super::begin::{Overrides, RunEnd, RunRequest, resume, start};
use super::clean::{Item, clean};
use super::context::Context;
use super::salvage::{kept, path, restore};
use super::verbs::submit;
use crate::clock::SystemClock;
use crate::ids::RunId;
use crate::journal::command::{Answer, Pinned, Verb};
use crate::journal::{Body, Event, Glance, Reader, RunView};
use crate::options::{Approve, OnInput, RunOptions, Until};
use crate::state::run::Run;
use crate::state::step::Step;

/// After so many events of a run what is kept for `status` is held against them.
const GLANCES_EVERY: u64 = 5;

struct Env {
    folder: TempDir,
    ctx: Context,
}

impl Env {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let repo = folder.path().join("repo");
        std::fs::create_dir(&repo).expect("a folder");
        git(&repo, &["init", "-q", "-b", "main"]);
        for (path, text) in files {
            write(&repo, path, text);
        }
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-q", "--allow-empty", "-m", "first"]);
        let path: std::ffi::OsString = "/usr/local/bin:/usr/bin:/bin".into();
        let open = OpenOptions {
            state_dir: folder.path().join("state"),
            repo_id: None,
            path: path.clone(),
            home: Some(folder.path().to_owned()),
            xdg_config_home: None,
        };
        let ctx = Context {
            repo: Repo::open(&repo, &open).expect("a repository"),
            clock: Arc::new(SystemClock),
            child_env: BTreeMap::from([("PATH".into(), path)]),
            models: Default::default(),
            prewarm: false,
            servers: wattle_worker::lsp::Pool::new(BTreeMap::new()),
            prices: Arc::new(wattle_cache::price::Table::builtin().clone()),
            who: "tester".to_owned(),
            host: "here".to_owned(),
            temp: folder.path().to_owned(),
        };
        Self { folder, ctx }
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn run(&self, plan: &str, change: impl FnOnce(&mut RunOptions)) -> (RunEnd, Vec<Event>) {
        let mut options = RunOptions {
            name: None,
            target: None,
            base: None,
            jobs: 3,
            checks: 1,
            approve: Approve::Auto,
            until: Until::Landed,
            until_explicit: false,
            model: None,
            nano_usd_max: None,
            tokens_max: None,
            disk_bytes_max: None,
            clean_ignored: false,
            slots: Default::default(),
            on_input: OnInput::Wait,
        };
        change(&mut options);
        let request = RunRequest {
            plan_name: "plan.yml".to_owned(),
            plan_text: plan.to_owned(),
            files: BTreeMap::new(),
            options,
            lead_usage: Vec::new(),
            planning: None,
            talk: None,
            stop_at_plan: false,
            folder: self.folder.path().to_owned(),
        };
        let mut events = Vec::new();
        let mut sink = |event: &Event| {
            events.push(event.clone());
            if event.seq.is_multiple_of(GLANCES_EVERY) {
                self.glance_is_the_fold(&event.run);
            }
        };
        let end = start(&self.ctx, request, &mut sink).expect("a run");
        self.glance_is_the_fold(&end.run);
        (end, events)
    }

    fn resume(&self, run: &RunId, overrides: Overrides) -> RunEnd {
        let overrides = Overrides { folder: self.folder.path().to_owned(), ..overrides };
        let end = resume(&self.ctx, run, &overrides, &mut |_| {}).expect("a resumed run");
        self.glance_is_the_fold(run);
        end
    }

    /// What is kept for `status` is what the events say. Asked after a commit of a live run, it is what a kill there leaves.
    fn glance_is_the_fold(&self, run: &RunId) {
        let reader = Reader::open(self.ctx.repo.state_dir()).expect("a journal").expect("a journal");
        let kept = reader.kept_glance(run).expect("rows").expect("rows of the run");
        assert_eq!(kept, Glance::of(&reader.replay(run).expect("a legal history")));
    }

    fn verb(&self, run: &RunId, verb: Verb) {
        submit(&self.ctx, run, &verb).expect("a verb that is not refused");
    }

    fn view(&self, run: &RunId) -> RunView {
        let reader = Reader::open(self.ctx.repo.state_dir()).expect("a journal").expect("a journal");
        reader.replay(run).expect("a legal history")
    }

    fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.repo().join(path)).unwrap_or_default()
    }

    /// What must hold after every run.
    fn is_sound(&self) {
        git(&self.repo(), &["fsck", "--strict", "--no-dangling"]);
        assert_eq!(git(&self.repo(), &["status", "--porcelain"]), "", "the checkout moved with its branch");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test drives git itself")]
fn git(repo: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.com"])
        .args(args)
        .current_dir(repo)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", repo.parent().expect("a parent"))
        .output()
        .expect("git starts");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn write(repo: &Path, path: &str, text: &str) {
    let path = repo.join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

fn id(text: &str) -> StepId {
    text.parse().expect("a valid id")
}

fn states(view: &RunView) -> Vec<(String, &'static str)> {
    let steps = view.plan.steps().iter();
    steps.map(|step| (step.id.to_string(), view.step(&step.id).state.as_str())).collect()
}

fn check_states(view: &RunView, expected: &[(&str, &'static str)]) {
    let expected: Vec<_> = expected.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect();
    assert_eq!(states(view), expected, "{:#?}", view.steps.values().map(|s| (&s.why, &s.message)).collect::<Vec<_>>());
}

#[test]
fn steps_of_every_mode_run_and_writes_land_one_merge_each() {
    let env = Env::new(&[("a.txt", "a\n"), ("b.txt", "b\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: both, run: test -s a.txt && test -s b.txt }]
steps:
  - { id: look, mode: read, run: cat a.txt }
  - { id: one, needs: [look], touches: [a.txt], run: 'cat "$WATTLE_NEEDS/look.md" >/dev/null && echo one >> a.txt' }
  - { id: two, touches: [b.txt], run: echo two >> b.txt }
  - { id: none, touches: [c.txt], run: "true" }
  - { id: play, mode: scratch, needs: [one], run: grep one a.txt && rm a.txt }
"#;
    let (end, events) = env.run(plan, |_| {});
    let view = env.view(&end.run);
    check_states(
        &view,
        &[("look", "done"), ("one", "landed"), ("two", "landed"), ("none", "unchanged"), ("play", "done")],
    );
    assert_eq!((end.state, end.exit), (Run::Completed, 0));
    assert_eq!(env.file("a.txt"), "a\none\n");
    assert_eq!(env.file("b.txt"), "b\ntwo\n");
    assert_eq!(git(&env.repo(), &["rev-list", "--count", "--merges", "HEAD"]).trim(), "2");
    assert!(matches!(events.last().map(|e| &e.body), Some(Body::RunFinished { exit: 0, .. })));
    env.is_sound();
}

#[test]
fn a_group_lands_whole_when_every_part_alone_is_red() {
    let env = Env::new(&[("def.txt", "old\n"), ("use.txt", "old\n")]);
    let plan = r#"
version: 1
task: rename
checks: [{ name: same, run: cmp def.txt use.txt }]
groups: { api: { land: together } }
steps:
  - { id: def, group: api, touches: [def.txt], run: echo new > def.txt }
  - { id: use, group: api, touches: [use.txt], run: echo new > use.txt }
"#;
    let (end, events) = env.run(plan, |_| {});
    check_states(&env.view(&end.run), &[("def", "landed"), ("use", "landed")]);
    let checks = events.iter().filter(|e| matches!(e.body, Body::CheckStarted(_))).count();
    assert_eq!(checks, 1, "a group is checked once, on its last tree");
    assert_eq!(env.file("use.txt"), "new\n");
    env.is_sound();
}

#[test]
fn a_red_change_is_sent_back_with_its_evidence_and_fails_alone() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: no-bad, run: "! grep -r bad *.txt" }]
defaults: { retries: 1 }
steps:
  - { id: bad, touches: [a.txt], run: echo bad >> a.txt }
  - { id: good, touches: [b.txt], run: echo good > b.txt }
  - { id: after, needs: [bad], touches: [c.txt], run: echo c > c.txt }
"#;
    let (end, events) = env.run(plan, |_| {});
    let view = env.view(&end.run);
    assert_eq!(view.step(&id("bad")).state, Step::Failed);
    assert_eq!(view.step(&id("good")).state, Step::Landed);
    assert_eq!(view.step(&id("after")).state, Step::Blocked);
    assert_eq!(end.exit, 1);
    let ejected: Vec<_> = events.iter().filter(|e| matches!(e.body, Body::Ejected { .. })).collect();
    let turns = |event: &Event| match &event.body {
        Body::StepState(change) => {
            Some(format!("{} {} {:?} {:?}", change.step, change.state, change.why, change.message))
        }
        _ => None,
    };
    let turns: Vec<String> = events.iter().filter_map(turns).collect();
    assert_eq!(ejected.len(), 2, "one retry, then the end: {turns:#?}");
    assert_eq!(env.file("a.txt"), "a\n");
    assert_eq!(view.step(&id("bad")).attempts.len(), 2);
    env.is_sound();
}

#[test]
fn what_is_known_of_a_tree_is_not_asked_again() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: no-bad, run: "! grep -r bad *.txt" }]
steps: [{ id: bad, touches: [a.txt], run: echo bad >> a.txt }]
"#;
    let (end, events) = env.run(plan, |_| {});
    assert_eq!(end.exit, 1);
    let verdicts = events.iter().filter_map(|event| match &event.body {
        Body::CheckFinished { check, cached, .. } => Some((check.control, *cached)),
        _ => None,
    });
    let verdicts: Vec<_> = verdicts.collect();
    let expected = [(false, false), (true, false), (false, false), (false, true)];
    assert_eq!(verdicts, expected, "the change, the base, the change on a clean slot; the same change again");
}

#[test]
fn a_base_that_is_red_blames_nobody() {
    let env = Env::new(&[("a.txt", "bad\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: no-bad, run: "! grep -r bad *.txt" }]
steps:
  - { id: one, touches: [b.txt], run: echo one > b.txt }
"#;
    let (end, _) = env.run(plan, |_| {});
    let view = env.view(&end.run);
    assert_eq!((end.state, end.exit), (Run::BaseRed, 7));
    assert_eq!(view.step(&id("one")).state, Step::Queued);
    assert_eq!(view.step(&id("one")).failures, 0);
    env.is_sound();
}

#[test]
fn overlapping_steps_are_ordered_and_build_on_each_other() {
    let env = Env::new(&[("a.txt", "")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps:
  - { id: one, touches: ["*.txt"], run: echo one >> a.txt }
  - { id: two, touches: [a.txt], run: echo two >> a.txt }
  - { id: three, touches: [a.txt], run: echo three >> a.txt }
"#;
    let (end, events) = env.run(plan, |_| {});
    assert_eq!(end.exit, 0);
    assert_eq!(env.file("a.txt"), "one\ntwo\nthree\n");
    assert!(events.iter().any(|e| matches!(e.body, Body::Landed { verified: false, .. })));
    env.is_sound();
}

#[test]
fn behind_a_step_that_changed_nothing_stands_what_it_came_after() {
    let env = Env::new(&[("a.txt", "")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps:
  - { id: one, touches: [a.txt], run: echo one >> a.txt }
  - { id: none, touches: ["a*"], run: "true" }
  - { id: two, touches: ["*.txt"], run: echo two >> a.txt }
"#;
    let (end, _) = env.run(plan, |options| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    });
    let view = env.view(&end.run);
    check_states(&view, &[("one", "review"), ("none", "unchanged"), ("two", "review")]);
    let on: Vec<String> = view.step(&id("two")).work.iter().flat_map(|w| &w.on).map(|e| e.step.to_string()).collect();
    assert_eq!(on, ["one"]);
}

#[test]
fn a_conflict_of_what_is_needed_is_tried_again_when_one_of_them_has_changed() {
    let env = Env::new(&[("c.txt", "")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps:
  - { id: one, touches: [a.txt], run: echo one > c.txt }
  - { id: two, touches: [b.txt], run: 'test "$WATTLE_ATTEMPT" = 1 && echo two > c.txt || echo two > b.txt' }
  - { id: both, needs: [one, two], touches: [d.txt], run: cat b.txt c.txt > d.txt }
"#;
    let (end, _) = env.run(plan, |options| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    });
    let view = env.view(&end.run);
    check_states(&view, &[("one", "review"), ("two", "review"), ("both", "waiting")]);
    assert_eq!(view.step(&id("both")).why.as_deref(), Some("needs_conflict"));
    env.verb(&end.run, Verb::Redo { steps: vec![id("two")], text: None });
    let end = env.resume(&end.run, Overrides::default());
    let view = env.view(&end.run);
    check_states(&view, &[("one", "review"), ("two", "review"), ("both", "review")]);
    let work = view.step(&id("both")).work.clone().expect("work");
    assert_eq!(git(&env.repo(), &["show", &format!("{}:d.txt", work.commit)]), "two\none\n");
}

#[test]
fn final_checks_gather_landings_and_move_the_target_once() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: all, run: test -f b.txt && test -f c.txt, at: final }]
steps:
  - { id: one, touches: [b.txt], run: echo one > b.txt }
  - { id: two, needs: [one], touches: [c.txt], run: test -f b.txt && echo two > c.txt }
"#;
    let (end, _) = env.run(plan, |_| {});
    check_states(&env.view(&end.run), &[("one", "landed"), ("two", "landed")]);
    assert_eq!(end.exit, 0);
    assert_eq!(git(&env.repo(), &["reflog", "show", "main", "--format=%gs"]).lines().count(), 2);
    env.is_sound();
    let env = Env::new(&[("a.txt", "a\n")]);
    let red = plan.replace("test -f b.txt && test -f c.txt, at", "test ! -f c.txt, at");
    let (end, _) = env.run(&red, |_| {});
    check_states(&env.view(&end.run), &[("one", "review"), ("two", "review")]);
    assert_eq!((end.state, end.exit), (Run::Failed, 1));
    assert_eq!(git(&env.repo(), &["rev-list", "--count", "main"]).trim(), "1", "the target has not moved");
}

#[test]
fn manual_approval_binds_a_commit_and_merge_lands_it() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps:
  - { id: one, touches: [b.txt], run: echo one > b.txt }
  - { id: two, needs: [one], touches: [c.txt], run: cp b.txt c.txt }
"#;
    let (end, _) = env.run(plan, |options| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    });
    assert_eq!((end.state, end.exit), (Run::Review, 4));
    check_states(&env.view(&end.run), &[("one", "review"), ("two", "review")]);
    let two = Verb::Merge { steps: vec![id("two")] };
    assert!(submit(&env.ctx, &end.run, &two).is_err(), "two is not approved");
    let stale = Pinned { step: id("one"), commit: Some("0000".to_owned()) };
    let stale = Verb::Approve { steps: vec![stale], widen: Vec::new() };
    let refused = submit(&env.ctx, &end.run, &stale).expect_err("another commit than the one seen").to_string();
    assert!(refused.contains("has changed"), "{refused}");
    let pinned = |step: &str| Pinned { step: id(step), commit: None };
    env.verb(&end.run, Verb::Approve { steps: vec![pinned("two")], widen: Vec::new() });
    let refused = submit(&env.ctx, &end.run, &two).expect_err("its base is not approved").to_string();
    assert_eq!(refused, "two stands on one, which is review");
    env.verb(&end.run, Verb::Approve { steps: vec![pinned("one")], widen: Vec::new() });
    let end = env.resume(&end.run, Overrides { merge: Some(Vec::new()), ..Overrides::default() });
    check_states(&env.view(&end.run), &[("one", "landed"), ("two", "landed")]);
    assert_eq!(end.exit, 0);
    assert!(git(&env.repo(), &["log", "-3"]).contains("Approved-by: tester"));
    env.is_sound();
}

#[test]
fn a_rejected_step_leaves_its_dependents_their_own_change() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps:
  - { id: one, touches: [b.txt], run: echo one > b.txt }
  - { id: two, needs: [one], touches: [c.txt], run: echo two > c.txt }
"#;
    let manual = |options: &mut RunOptions| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    };
    let (end, _) = env.run(plan, manual);
    let before = env.view(&end.run).step(&id("two")).work.clone().expect("work");
    env.verb(&end.run, Verb::Reject { steps: vec![id("one")], text: Some("no".to_owned()) });
    let end = env.resume(&end.run, Overrides::default());
    let view = env.view(&end.run);
    check_states(&view, &[("one", "rejected"), ("two", "review")]);
    let after = view.step(&id("two")).work.clone().expect("work");
    assert_ne!(before.commit, after.commit, "it stands on a new base");
    assert!(after.on.is_empty());
    assert_eq!(after.paths, ["c.txt"]);
    env.is_sound();
}

#[test]
fn a_redone_step_takes_its_dependents_to_its_new_commit() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps:
  - { id: one, touches: [b.txt], run: 'echo "$WATTLE_ATTEMPT" > b.txt' }
  - { id: two, needs: [one], touches: [c.txt], run: echo two > c.txt }
"#;
    let (end, _) = env.run(plan, |options| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    });
    env.verb(&end.run, Verb::Comment { step: id("one"), text: "better".to_owned(), at: None });
    env.verb(&end.run, Verb::Redo { steps: vec![id("one")], text: None });
    let end = env.resume(&end.run, Overrides::default());
    let view = env.view(&end.run);
    check_states(&view, &[("one", "review"), ("two", "review")]);
    let one = view.step(&id("one")).work.clone().expect("work");
    let two = view.step(&id("two")).work.clone().expect("work");
    assert_eq!(two.on.first().map(|entry| &entry.commit), Some(&one.commit));
    let show = format!("{}:b.txt", two.commit);
    assert_eq!(git(&env.repo(), &["show", &show]), "2\n");
}

#[test]
fn a_dirty_checkout_in_the_way_holds_the_landing_and_loses_nothing() {
    let env = Env::new(&[("a.txt", "a\n")]);
    write(&env.repo(), "a.txt", "mine\n");
    let plan = r#"
version: 1
task: try it
checks: []
steps: [{ id: one, touches: [a.txt], run: echo theirs > a.txt }]
"#;
    let (end, events) = env.run(plan, |_| {});
    assert_eq!((end.state, end.exit), (Run::Review, 4));
    let held = events.iter().find_map(|event| match &event.body {
        Body::LandingHeld { paths, .. } => Some(paths.clone()),
        _ => None,
    });
    assert_eq!(held, Some(vec!["a.txt".to_owned()]));
    assert_eq!(env.file("a.txt"), "mine\n");
    write(&env.repo(), "a.txt", "a\n");
    let end = env.resume(&end.run, Overrides { merge: Some(Vec::new()), ..Overrides::default() });
    assert_eq!(end.exit, 0);
    assert_eq!(env.file("a.txt"), "theirs\n");
    env.is_sound();
}

#[test]
fn a_question_is_for_humans_and_its_answer_finds_the_worker_again() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let script = r#"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Ask, input: { question: "Which word?" } }]
  - match: { turn: 1, tool_result: blue }
    blocks: [{ tool: Write, input: { file_path: b.txt, content: "blue\n" } }]
  - match: { turn: 2 }
    blocks: [{ text: "Written." }]
"#;
    std::fs::write(env.folder.path().join("model.yml"), script).expect("a script");
    let plan = r#"
version: 1
task: try it
checks: []
steps: [{ id: one, touches: [b.txt], agent: { prompt: Write the word. } }]
"#;
    let (end, _) = env.run(plan, |options| options.model = Some("script:model.yml".to_owned()));
    let view = env.view(&end.run);
    check_states(&view, &[("one", "needs_input")]);
    assert_eq!((end.state, end.exit), (Run::NeedsInput, 4));
    env.verb(&end.run, Verb::Answer { step: id("one"), answer: Answer::Text("blue".to_owned()) });
    let end = env.resume(&end.run, Overrides::default());
    check_states(&env.view(&end.run), &[("one", "landed")]);
    assert_eq!(env.file("b.txt"), "blue\n");
    env.is_sound();
    let env = Env::new(&[("a.txt", "a\n")]);
    std::fs::write(env.folder.path().join("model.yml"), script).expect("a script");
    let (end, _) = env.run(plan, |options| options.model = Some("script:model.yml".to_owned()));
    env.verb(&end.run, Verb::Reject { steps: vec![id("one")], text: None });
    check_states(&env.view(&end.run), &[("one", "cancelled")]);
}

#[test]
fn clean_frees_what_landed_or_was_rejected_and_names_what_it_keeps() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps:
  - { id: one, touches: [b.txt], run: echo one > b.txt }
  - { id: two, touches: [c.txt], run: echo two > c.txt }
  - { id: three, touches: [d.txt], run: echo three > d.txt }
"#;
    let (end, _) = env.run(plan, |options| {
        options.approve = Approve::Manual;
        options.until = Until::Review;
    });
    let pinned = Pinned { step: id("one"), commit: None };
    env.verb(&end.run, Verb::Approve { steps: vec![pinned], widen: Vec::new() });
    let end = env.resume(&end.run, Overrides { merge: Some(Vec::new()), ..Overrides::default() });
    env.verb(&end.run, Verb::Reject { steps: vec![id("two")], text: None });
    let keep = crate::config::Keep { days: 30, count: 500 };
    let would = clean(&env.ctx, keep, true).expect("a dry run");
    let done = clean(&env.ctx, keep, false).expect("cleaning");
    assert_eq!(would.freed.len(), done.freed.len(), "a dry run says what would be done");
    let names = |items: &[Item], kind: &str| -> Vec<String> {
        let items = items.iter().filter(|item| item.kind == kind);
        items.map(|item| item.name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(&done.freed, "branch"), ["one", "two"]);
    assert_eq!(names(&done.kept, "branch"), ["three"]);
    assert!(names(&done.kept, "slot").is_empty());
    assert_eq!(git(&env.repo(), &["worktree", "list"]).lines().count(), 1);
    let two = kept(&env.ctx, Some((&end.run, &id("two")))).expect("the refs can be read");
    let two = restore(&env.ctx, &two, "two", None, None).expect("salvaged work");
    assert_eq!(git(&env.repo(), &["show", &format!("{}:c.txt", two.branch)]), "two\n");
    let three = path(&env.ctx, &env.view(&end.run), &id("three")).expect("a worktree");
    assert_eq!(std::fs::read_to_string(three.join("d.txt")).expect("its work"), "three\n");
    env.is_sound();
}

#[test]
fn what_waited_in_the_queue_when_the_run_stopped_can_be_rejected() {
    let env = Env::new(&[("a.txt", "bad\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: no-bad, run: "! grep -r bad *.txt" }]
steps:
  - { id: one, touches: [b.txt], run: echo one > b.txt }
  - { id: two, touches: [c.txt], run: echo two > c.txt }
"#;
    let (end, _) = env.run(plan, |_| {});
    assert_eq!(end.exit, 7);
    env.verb(&end.run, Verb::Reject { steps: vec![id("one")], text: None });
    write(&env.repo(), "a.txt", "good\n");
    git(&env.repo(), &["commit", "-qam", "mended"]);
    let end = env.resume(&end.run, Overrides::default());
    check_states(&env.view(&end.run), &[("one", "rejected"), ("two", "landed")]);
    assert_eq!(env.file("b.txt"), "");
    env.is_sound();
}

#[test]
fn a_step_gathered_for_a_red_final_check_drags_nothing_rejected_onto_the_target() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: all, run: test ! -f b.txt, at: final }]
steps:
  - { id: one, touches: [b.txt], run: echo one > b.txt }
  - { id: two, touches: [c.txt], run: echo two > c.txt }
"#;
    let (end, _) = env.run(plan, |options| options.jobs = 1);
    check_states(&env.view(&end.run), &[("one", "review"), ("two", "review")]);
    env.verb(&end.run, Verb::Reject { steps: vec![id("one")], text: None });
    let pinned = Pinned { step: id("two"), commit: None };
    env.verb(&end.run, Verb::Approve { steps: vec![pinned], widen: Vec::new() });
    let end = env.resume(&end.run, Overrides::default());
    check_states(&env.view(&end.run), &[("one", "rejected"), ("two", "landed")]);
    assert_eq!((env.file("b.txt"), env.file("c.txt")), (String::new(), "two\n".to_owned()));
    assert!(!git(&env.repo(), &["log", "--format=%s", "main"]).contains("one"));
    env.is_sound();
}

#[test]
fn the_tree_that_passed_the_final_check_is_the_one_that_lands() {
    let env = Env::new(&[("parts/a", "a\n"), ("all.lock", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: fresh, run: cat parts/* | cmp - all.lock }, { name: last, run: cat parts/* | cmp - all.lock, at: final }]
discard: [all.lock]
generated: [{ path: all.lock, run: cat parts/* > all.lock }]
steps:
  - { id: b, touches: ["parts/b"], run: echo b > parts/b }
  - { id: c, touches: ["parts/c"], run: echo c > parts/c }
"#;
    let (end, events) = env.run(plan, |_| {});
    check_states(&env.view(&end.run), &[("b", "landed"), ("c", "landed")]);
    assert_eq!(env.file("all.lock"), "a\nb\nc\n");
    for event in &events {
        if let Body::Landed { commit, tree, .. } = &event.body {
            assert_eq!(git(&env.repo(), &["rev-parse", &format!("{commit}^{{tree}}")]).trim(), tree.as_str());
            git(&env.repo(), &["merge-base", "--is-ancestor", commit.as_str(), "main"]);
        }
    }
    env.is_sound();
}

#[test]
fn a_generated_file_that_cannot_be_made_sends_the_change_back() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: []
defaults: { retries: 0 }
generated: [{ path: all.lock, run: test ! -f bad && echo fine > all.lock }]
steps:
  - { id: bad, touches: [bad], run: echo bad > bad }
  - { id: good, touches: [good], run: echo good > good }
"#;
    let (end, _) = env.run(plan, |_| {});
    check_states(&env.view(&end.run), &[("bad", "failed"), ("good", "landed")]);
    assert_eq!(end.exit, 1);
    env.is_sound();
}

#[test]
fn auto_until_review_queues_and_lands_only_what_is_merged() {
    let env = Env::new(&[("a.txt", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: []
steps: [{ id: one, touches: [b.txt], run: echo one > b.txt }]
"#;
    let (end, _) = env.run(plan, |options| {
        options.until = Until::Review;
        options.until_explicit = true;
    });
    assert_eq!(end.exit, 0, "the asked end was reached");
    assert_eq!(env.file("b.txt"), "");
    let end = env.resume(&end.run, Overrides { merge: Some(Vec::new()), ..Overrides::default() });
    check_states(&env.view(&end.run), &[("one", "landed")]);
    env.is_sound();
}

#[test]
fn generated_files_are_left_out_of_commits_and_made_anew_by_the_landing() {
    let env = Env::new(&[("parts/a", "a\n"), ("all.lock", "a\n")]);
    let plan = r#"
version: 1
task: try it
checks: [{ name: fresh, run: cat parts/* | cmp - all.lock }]
discard: [all.lock]
generated: [{ path: all.lock, run: cat parts/* > all.lock }]
notify: { run: "cat >> ../notice", on: [finished] }
steps:
  - { id: b, touches: ["parts/b"], run: echo b > parts/b && echo mine > all.lock }
  - { id: c, touches: ["parts/c"], run: echo c > parts/c && echo mine > all.lock }
"#;
    let (end, _) = env.run(plan, |_| {});
    check_states(&env.view(&end.run), &[("b", "landed"), ("c", "landed")]);
    assert_eq!(env.file("all.lock"), "a\nb\nc\n");
    let notice = std::fs::read_to_string(env.folder.path().join("notice")).expect("a notice");
    assert!(notice.contains("\"type\":\"run_finished\""), "{notice}");
    env.is_sound();
}
