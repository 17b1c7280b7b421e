//! Commands in the background, seen from the step: what is left of them, and what its commit holds.

use std::path::Path;
use std::time::{Duration, Instant};

use super::bench::{Bench, Recorder};
use crate::assignment::{Mode, StepAssignment};
use crate::host::{Intent, Message, Reply, StepResult};
use crate::outcome::End;

const LIB: &[(&str, &str)] = &[("src/lib.rs", "fn alpha() {}\n"), (".gitignore", "pids\n")];

/// Starts a command that would write for ever and some that hide, and is then done; the last word of a turn decides.
const STARTS: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks:
      - { tool: Bash, input: { command: "echo $$ >> pids; (setsid sh -c 'trap \"\" TERM; echo $$ >> pids; while :; do sleep 1; done' &); while :; do date >> log; sleep 0.01; done", run_in_background: true } }
      - { tool: Bash, input: { command: "until [ $(cat pids | wc -l) -ge 2 ] && [ -s log ]; do sleep 0.01; done" } }
  - match: { turn: 1, tool_result: "as bash_1" }
    blocks: [{ tool: BashOutput, input: { bash_id: bash_1, timeout: 0 } }]
  - match: { turn: 2, tool_result: "bash_1 still runs" }
    blocks: [{ text: "Done." }]
"##;

/// The processes of the script; the file is ignored and stays in the slot.
fn pids(step: &StepAssignment) -> Vec<String> {
    let text = std::fs::read_to_string(step.place.path.join("pids")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Waits until the kernel has done away with a killed process.
fn assert_gone(pids: &[String]) {
    assert_eq!(pids.len(), 2, "{pids:?}");
    let start = Instant::now();
    for pid in pids {
        let running = |stat: String| !stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']));
        while std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).is_ok_and(running) {
            assert!(start.elapsed() < Duration::from_secs(5), "{pid} is left");
            std::thread::yield_now();
        }
    }
}

#[tokio::test]
async fn no_job_outlives_its_conversation() {
    let bench = Bench::new(STARTS, LIB).await;
    let step = bench.step("one", Mode::Write, "start it");
    let host = Recorder::new();
    let outcome = bench.perform(&step, &host).await;
    assert_eq!(outcome.end, End::Committed, "{outcome:?}");
    assert_gone(&pids(&step));
    // The commit holds the file as it is now: nobody wrote to it while the commit was made, and nobody has since.
    let log = std::fs::read_to_string(step.place.path.join("log")).unwrap();
    assert_eq!(bench.file(&outcome, "log").as_deref(), Some(log.as_str()));
    assert!(outcome.report.contains("(background job bash_1 still ran and was ended with the conversation: echo $$"));
    let hit = |message: &Message| matches!(message, Message::Result(StepResult::BoundHit { bound, .. }) if bound == "background_jobs");
    assert!(host.messages.lock().unwrap().iter().any(hit));
}

#[tokio::test]
async fn no_job_outlives_a_step_that_is_parked() {
    let bench = Bench::new(STARTS, LIB).await;
    let step = bench.step("one", Mode::Write, "start it");
    // Stopped as a whole when it looks; and told to stop by the answer to what it says.
    let look =
        |message: &Message| matches!(message, Message::Intent(Intent::Tool { name, .. }) if name == "BashOutput");
    let host = Recorder::with(move |_, message| look(message).then_some(Reply::Cancel));
    let outcome = bench.perform(&step, &host).await;
    assert_eq!(outcome.end, End::Parked, "{outcome:?}");
    assert_gone(&pids(&step));
}

#[tokio::test]
async fn no_job_outlives_a_step_that_is_stopped() {
    let bench = Bench::new(STARTS, LIB).await;
    let step = bench.step("one", Mode::Scratch, "start it");
    let host = Recorder::new();
    let cancel = host.cancel.clone();
    let started = async {
        let pids = step.place.path.join("pids");
        while std::fs::read_to_string(&pids).unwrap_or_default().lines().count() < 2 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
        Instant::now()
    };
    let (outcome, stopped) = tokio::join!(bench.perform(&step, &host), started);
    assert_eq!(outcome.end, End::Parked, "{outcome:?}");
    assert!(stopped.elapsed() < Duration::from_secs(5));
    assert_gone(&pids(&step));
}

#[tokio::test]
async fn no_job_outlives_the_time_of_its_step() {
    let bench = Bench::new(&STARTS.replace("timeout: 0", "timeout: 600000"), LIB).await;
    let mut step = bench.step("one", Mode::Scratch, "start it");
    step.timeout_ms = 3_000;
    let outcome = bench.perform(&step, &Recorder::new()).await;
    assert!(matches!(outcome.end, End::Failed { .. }), "{outcome:?}");
    assert_gone(&pids(&step));
}

/// Looks at the end of what it started; a read step may do so, too, if it was given the shell.
const LOOKS: &str = r##"
version: 1
replies:
  - match: { turn: 0 }
    blocks: [{ tool: Bash, input: { command: "echo 'fn main() {}' > a.rs; seq 1 40000; exit 3", run_in_background: true } }]
  - match: { turn: 1, tool_result: "as bash_1" }
    blocks: [{ tool: BashOutput, input: { bash_id: bash_1, timeout: 60000 } }]
  - match: { turn: 2, tool_result: "exit code 3" }
    blocks: [{ tool: AstGrep, input: { pattern: "fn $F() {}", lang: rust } }]
  - match: { turn: 3, tool_result: "a.rs:1: fn main() {}  [$F = main]" }
    blocks: [{ text: "Done." }]
"##;

#[tokio::test]
async fn the_end_of_a_job_stands_in_the_journal_and_a_part_of_it_in_the_conversation() {
    let bench = Bench::new(LOOKS, LIB).await;
    let host = Recorder::new();
    let outcome = bench.perform(&bench.step("one", Mode::Write, "look"), &host).await;
    assert_eq!((&outcome.end, outcome.report.as_str()), (&End::Committed, "Done."), "{outcome:?}");
    let messages = host.messages.lock().unwrap();
    let evidence = messages.iter().find_map(|message| match message {
        Message::Result(StepResult::Tool { evidence, .. }) if evidence.exit == Some(3) => Some(evidence),
        _ => None,
    });
    let evidence = evidence.expect("the result of BashOutput carries it");
    assert!(evidence.argv[2].contains("seq 1 40000"));
    assert!(evidence.output.len() > 200_000 && evidence.output.starts_with("1\n2\n"));
    drop(messages);
    let (shown, is_error) = host.tool_results()[1].clone();
    assert!(is_error && shown.len() < 31_000, "{}", shown.len());
    assert!(shown.contains("lines left out") && shown.ends_with("40000\nexit code 3 (bash_1 has ended)"));
}
