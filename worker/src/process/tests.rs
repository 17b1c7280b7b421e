//! Real processes: every way to end, and nothing left.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use std::os::unix::process::CommandExt as _;

use super::*;
use crate::assignment::Bounds;

/// No test waits for this; it only ends one that hangs.
const TIMEOUT_MS: u64 = 60_000;

fn job(dir: &Path, run: &str) -> Job {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    Job {
        run: run.to_owned(),
        dir: dir.to_path_buf(),
        env: BTreeMap::from([("PATH".into(), path.into()), ("GREETING".into(), "hi there".into())]),
        bounds: Bounds { timeout_ms: TIMEOUT_MS, idle_ms: None, output_bytes_max: 64 * 1024 },
    }
}

async fn ran(run: &str) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    super::run(&job(dir.path(), run), &CancellationToken::new()).await
}

/// Is a process with this number there, other than as a zombie?
fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next().unwrap_or('X'));
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits for a killed process to be gone; the kernel does that on its own time.
fn gone(pid: &str) -> bool {
    let start = Instant::now();
    while alive(pid) {
        if start.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[tokio::test]
async fn both_outputs_in_the_order_of_writing() {
    let ended = ran("echo one; echo two >&2; echo \"$GREETING\"; exit 3").await;
    assert_eq!(ended.how, How::Exited(3));
    assert_eq!(ended.evidence.output, "one\ntwo\nhi there\n");
    assert_eq!(ended.evidence.output_bytes, 17);
    assert_eq!(ended.evidence.exit, Some(3));
    assert_eq!(ended.evidence.argv[..2], ["sh", "-c"]);
}

#[tokio::test]
async fn no_input_and_nothing_inherited() {
    let ended = ran("cat; pwd -P; echo \"$PWD\"; env | grep -c CARGO; echo \"[$GIT_DIR]\"").await;
    let lines: Vec<&str> = ended.evidence.output.lines().collect();
    assert_eq!(lines[2..], ["0", "[]"]);
    assert!(lines[0].ends_with(lines[1].rsplit('/').next().unwrap()));
}

#[tokio::test]
async fn git_is_not_pointed_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), "env | grep ^GIT_ | sort");
    for name in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_AUTHOR_NAME"] {
        job.env.insert(name.into(), "x".into());
    }
    let ended = super::run(&job, &CancellationToken::new()).await;
    assert_eq!(ended.evidence.output, "GIT_AUTHOR_NAME=x\n");
}

#[tokio::test]
async fn a_hang_ends_at_the_wall_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), "echo $$; exec sleep 1000");
    job.bounds.timeout_ms = 200;
    let ended = super::run(&job, &CancellationToken::new()).await;
    assert_eq!(ended.how, How::TimedOut);
    assert!(gone(ended.evidence.output.trim()));
    let failure = ended.failure(&[0], &job.bounds);
    assert_eq!(failure, Some((Cause::Timeout, "the command ran longer than 200 ms".to_owned())));
}

#[tokio::test]
async fn output_holds_off_the_bound_on_silence_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), "for i in 1 2 3 4; do echo $i; sleep 0.2; done; sleep 1000");
    job.bounds.idle_ms = Some(600);
    let ended = super::run(&job, &CancellationToken::new()).await;
    assert_eq!(ended.how, How::Idle);
    assert_eq!(ended.evidence.output, "1\n2\n3\n4\n");
}

#[tokio::test]
async fn a_flood_is_counted_and_neither_kept_nor_waited_for() {
    let started = Instant::now();
    let ended = ran("head -c 1073741824 /dev/zero | tr '\\0' x; echo end").await;
    assert_eq!(ended.how, How::Exited(0));
    assert_eq!(ended.evidence.output_bytes, (1 << 30) + 4);
    assert!(ended.evidence.output.len() <= 64 * 1024);
    assert!(ended.evidence.output.ends_with("xend\n"));
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_flood_does_not_hide_a_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(dir.path(), "trap '' TERM; yes");
    job.bounds.timeout_ms = 300;
    let ended = super::run(&job, &CancellationToken::new()).await;
    assert_eq!(ended.how, How::TimedOut);
    assert!(ended.evidence.elapsed_ms < 10_000);
}

#[tokio::test]
async fn a_signal_of_its_own() {
    let ended = ran("kill -9 $$").await;
    assert_eq!(ended.how, How::Signalled(9));
    assert_eq!(ended.evidence.signal, Some(9));
    assert_eq!(ended.evidence.exit, None);
}

#[tokio::test]
async fn background_children_end_with_their_leader() {
    let started = Instant::now();
    let ended = ran("sleep 1000 & echo $!; sh -c 'trap \"\" TERM HUP; sleep 1000' & echo $!").await;
    assert_eq!(ended.how, How::Exited(0));
    for pid in ended.evidence.output.lines() {
        assert!(gone(pid), "{pid} is left");
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn children_in_a_session_of_their_own_end_too() {
    let dir = tempfile::tempdir().unwrap();
    let run = "setsid sh -c 'echo $$ > pid; exec sleep 1000' & while ! [ -s pid ]; do :; done; cat pid";
    let ended = super::run(&job(dir.path(), run), &CancellationToken::new()).await;
    assert_eq!(ended.how, How::Exited(0));
    assert!(gone(ended.evidence.output.trim()));
}

#[tokio::test]
async fn a_child_with_an_empty_environment_is_known_by_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let run = "setsid env -i /bin/sh -c 'echo $$ > pid; exec sleep 1000' & while ! [ -s pid ]; do :; done; cat pid";
    let started = Instant::now();
    let ended = super::run(&job(dir.path(), run), &CancellationToken::new()).await;
    assert_eq!(ended.how, How::Exited(0));
    assert!(gone(ended.evidence.output.trim()));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn cancelled_within_its_grace_even_if_it_ignores_the_signal() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), "trap '' TERM; echo $$; touch ready; while :; do sleep 0.1; done");
    let cancel = CancellationToken::new();
    let running = super::run(&job, &cancel);
    let ready = dir.path().join("ready");
    let stop = async {
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
        Instant::now()
    };
    let (ended, stopped) = tokio::join!(running, stop);
    assert_eq!(ended.how, How::Cancelled);
    assert!(stopped.elapsed() < Duration::from_secs(4));
    assert!(gone(ended.evidence.output.trim()));
    assert_eq!(ended.failure(&[0], &job.bounds), None);
}

#[tokio::test]
async fn a_terminated_job_may_clean_up() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), "trap 'echo bye; exit 0' TERM; touch ready; while :; do sleep 0.05; done");
    let cancel = CancellationToken::new();
    let ready = dir.path().join("ready");
    let stop = async {
        while !ready.exists() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(super::run(&job, &cancel), stop);
    assert_eq!(ended.how, How::Cancelled);
    assert!(ended.evidence.output.ends_with("bye\n"), "{}", ended.evidence.output);
}

#[tokio::test]
async fn a_dropped_job_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let job = job(dir.path(), "echo $$ > pid; exec sleep 1000");
    let pid = dir.path().join("pid");
    let cancel = CancellationToken::new();
    let written = async {
        loop {
            let text = std::fs::read_to_string(&pid).unwrap_or_default();
            if text.ends_with('\n') {
                return text;
            }
            tokio::task::yield_now().await;
        }
    };
    let pid = tokio::select! {
        _ = super::run(&job, &cancel) => panic!("it ended"),
        pid = written => pid,
    };
    assert!(gone(pid.trim()));
}

#[tokio::test]
async fn what_cannot_start_says_where() {
    let job = job(Path::new("/nonexistent/tree"), "true");
    let ended = super::run(&job, &CancellationToken::new()).await;
    let failure = ended.failure(&[0], &job.bounds).unwrap();
    assert_eq!(failure.0, Cause::Environment);
    assert_eq!(failure.1, "start a command: /nonexistent/tree is not a directory");
}

#[tokio::test]
async fn leftovers_of_a_dead_run_are_found_by_its_id() {
    let run = format!("run-{}", super::leftover::token());
    #[expect(clippy::disallowed_methods, reason = "a process that nobody supervises any more")]
    let mut orphan =
        std::process::Command::new("sleep").arg("1000").env("WATTLE_RUN", &run).process_group(0).spawn().unwrap();
    // Between fork and exec, the environment is still that of this process.
    while end_leftovers(&run) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(orphan.wait().unwrap().signal(), Some(9));
    assert_eq!(end_leftovers(&run), 0);
}
