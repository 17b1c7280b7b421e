//! SIGINT and SIGTERM park a run within 5 s, whatever its steps think of that; a second one kills.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::world::{processes, sound};
use crate::env::{TestEnv, TestRepo};

/// In which time a run has to park.
const PARKED_WITHIN: Duration = Duration::from_secs(5);
/// In which time a killed one is gone: below the 2 s that its steps are given to end.
const KILLED_WITHIN: Duration = Duration::from_millis(1500);

/// A repository, and a plan whose one slow step says `up` in a pipe when it is at work, ignores signals and
/// has a child in a session of its own. Once there is a file `go`, it ends at once.
fn stubborn<'e>(env: &'e TestEnv, trap: &str) -> TestRepo<'e> {
    let root = env.root().display();
    let plan = format!(
        r#"
version: 1
task: wait
checks: []
steps:
  - {{ id: quick, touches: [b.txt], run: echo b >> b.txt }}
  - id: slow
    touches: [a.txt]
    run: |
      if test -e {root}/go; then echo a >> a.txt; exit; fi
      {trap}
      setsid sleep 1000 &
      echo half > a.txt
      echo up > {root}/pipe
      while :; do sleep 0.1; done
"#
    );
    std::fs::write(env.root().join("plan.yml"), plan).expect("the folder is ours");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, env.root().join("pipe"), kind, mode, 0).expect("the folder is ours");
    env.repo("repo", &[("0", "0\n")])
}

/// Waits for the next word that the step writes into the pipe.
fn said(env: &TestEnv) -> String {
    std::fs::read_to_string(env.root().join("pipe")).expect("a pipe").trim().to_owned()
}

const RUN: [&str; 6] = ["run", "-f", "../plan.yml", "--approve", "auto", "--json"];

fn goes_on(env: &TestEnv, repo: &TestRepo<'_>) {
    std::fs::write(env.root().join("go"), "").expect("the folder is ours");
    let _ = repo.wattle(&["resume", "--json"]).ok();
    assert_eq!((repo.read("a.txt"), repo.read("b.txt")), ("a\n".to_owned(), "b\n".to_owned()));
    sound(env, repo);
}

fn parks(signal: Signal) {
    let env = TestEnv::new();
    let repo = stubborn(&env, "trap '' TERM INT HUP");
    let run = repo.spawn(&RUN);
    assert_eq!(said(&env), "up");
    let then = Instant::now();
    run.signal(signal);
    let end = run.end().code(130);
    let took = then.elapsed();
    assert!(took < PARKED_WITHIN, "{took:?}");
    let last = end.events().pop().expect("events");
    assert_eq!((last["type"].as_str(), last["exit"].as_u64()), (Some("run_finished"), Some(130)));
    assert_eq!(processes(env.root()), [] as [String; 0]);
    goes_on(&env, &repo);
}

#[test]
fn an_interrupt_parks_in_time_and_leaves_no_process() {
    parks(Signal::INT);
}

#[test]
fn a_termination_parks_in_time_and_leaves_no_process() {
    parks(Signal::TERM);
}

#[test]
fn a_second_signal_kills_and_what_is_left_is_ended_by_the_resume() {
    let env = TestEnv::new();
    let root = env.root().display();
    let repo = stubborn(&env, &format!("trap 'echo told > {root}/pipe' TERM"));
    let run = repo.spawn(&RUN);
    assert_eq!(said(&env), "up");
    run.signal(Signal::INT);
    assert_eq!(said(&env), "told");
    let then = Instant::now();
    run.signal(Signal::INT);
    let _ = run.end().code(130);
    assert!(then.elapsed() < KILLED_WITHIN, "{:?}", then.elapsed());
    goes_on(&env, &repo);
}
