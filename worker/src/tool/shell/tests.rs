//! Commands that go on, on real processes: what the model is told, and that nothing is left.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::jobs::Jobs;
use super::{Running, Shell, ToolResult, Watch};
use crate::assignment::Command;
use crate::process::{self, Job};

/// A shell in a folder, with nothing of a step.
struct Plain(PathBuf);

impl Shell for Plain {
    fn run(&self, command: Command, watch: Watch) -> Running<'_> {
        Box::pin(async move {
            let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            let env = BTreeMap::from([("PATH".into(), path.into())]);
            let job = Job { run: command.run, dir: self.0.clone(), env, bounds: command.bounds };
            Ok(process::run_watched(&job, &watch.stop, Some(watch.tap)).await)
        })
    }
}

struct Bench {
    dir: tempfile::TempDir,
    cancel: CancellationToken,
    jobs: Jobs,
}

/// Jobs whose caller waits for a fifth of a second.
fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    let jobs = Jobs::new(Arc::new(Plain(dir.path().to_owned())), &cancel).patient(Duration::from_millis(200));
    Bench { dir, cancel, jobs }
}

impl Bench {
    async fn bash(&self, command: &str) -> ToolResult {
        super::call(&self.jobs, &json!({"command": command}).to_string()).await
    }

    async fn background(&self, command: &str) -> ToolResult {
        let input = json!({"command": command, "run_in_background": true});
        super::call(&self.jobs, &input.to_string()).await
    }

    /// Looks, and waits for the end.
    async fn end(&self, id: &str) -> ToolResult {
        self.look(&json!({"bash_id": id, "timeout": 60_000})).await
    }

    async fn look(&self, input: &Value) -> ToolResult {
        super::output(&self.jobs, &input.to_string()).await
    }

    async fn kill(&self, id: &str) -> ToolResult {
        super::kill(&self.jobs, &json!({"shell_id": id}).to_string()).await
    }

    fn write(&self, name: &str) {
        std::fs::write(self.dir.path().join(name), "").unwrap();
    }

    /// The lines of a file, as soon as there are so many.
    async fn lines(&self, name: &str, count: usize) -> Vec<String> {
        let start = Instant::now();
        loop {
            let text = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
            if text.ends_with('\n') && text.lines().count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{name} is not written");
            tokio::task::yield_now().await;
        }
    }
}

/// Waits for a killed process to be gone, other than as a zombie; the kernel does that on its own time.
fn gone(pid: &str) -> bool {
    let start = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next().unwrap_or('X'));
        if matches!(state, None | Some('Z' | 'X')) {
            return true;
        }
        if start.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::yield_now();
    }
}

/// One that ignores the signal to end, one in a session of its own, one whose parent is gone, and one that is all of
/// this. Their ids are in `pids`.
const STUBBORN: &str = "\
trap '' TERM; echo $$ >> pids
setsid sh -c 'echo $$ >> pids; exec sleep 1000' &
(sh -c 'echo $$ >> pids; exec sleep 1000' &)
(setsid sh -c 'trap \"\" TERM HUP; echo $$ >> pids; while :; do sleep 1; done' &)
while :; do sleep 0.1; done";

#[tokio::test]
async fn a_short_command_is_answered_at_once() {
    let bench = bench();
    for (command, content, is_error) in [
        ("echo hi", "hi\nexit code 0", false),
        ("true", "(no output)\nexit code 0", false),
        ("printf x; exit 3", "x\nexit code 3", true),
        ("grep -c nothing /dev/null", "0\nexit code 1", false),
        ("test -e nothing", "(no output)\nexit code 1", false),
        ("grep -c x nothing 2>/dev/null", "(no output)\nexit code 2", true),
        ("kill -9 $$", "(no output)\nended by signal 9", true),
    ] {
        let result = bench.bash(command).await;
        assert_eq!((result.content.as_str(), result.is_error), (content, is_error), "{command}");
        assert_eq!(result.evidence.argv[2], command);
    }
    assert!(bench.jobs.close().await.is_empty());
}

#[tokio::test]
async fn nothing_is_kept_between_commands() {
    let bench = bench();
    let root = bench.bash("pwd -P").await.content;
    bench.bash("mkdir sub; cd sub; export KEPT=1; pwd -P").await;
    assert_eq!(bench.bash("pwd -P; printf \"$KEPT\"").await.content, root);
}

#[tokio::test]
async fn a_long_command_goes_on_and_is_told_about() {
    let bench = bench();
    let started = bench.bash("echo one; until [ -e go ]; do sleep 0.01; done; echo two; exit 3").await;
    assert!(!started.is_error && started.content.starts_with("one\nIt goes on in the background as bash_1"));
    assert_eq!((started.evidence.output.as_str(), started.evidence.exit), ("one\n", None));
    let look = bench.look(&json!({"bash_id": "bash_1", "timeout": 0})).await;
    assert!(look.content.starts_with("(no output)\nbash_1 still runs"), "{look:?}");
    bench.write("go");
    let end = bench.end("bash_1").await;
    assert_eq!((end.content.as_str(), end.is_error), ("two\nexit code 3 (bash_1 has ended)", true));
    assert_eq!((end.evidence.output.as_str(), end.evidence.exit), ("one\ntwo\n", Some(3)));
    let again = bench.end("bash_1").await;
    assert_eq!((again.content.as_str(), again.evidence.exit), ("(no output)\nexit code 3 (bash_1 has ended)", Some(3)));
    assert!(bench.jobs.close().await.is_empty(), "the model has seen its end");
}

#[tokio::test]
async fn an_end_between_two_turns_is_told_once() {
    let bench = bench();
    let started = bench.background("until [ -e go ]; do sleep 0.01; done; echo done; touch over").await;
    assert!(started.content.contains("as bash_1"), "{started:?}");
    bench.write("go");
    let note = "(bash_1 has ended meanwhile: exit code 0. BashOutput shows its output.)";
    let start = Instant::now();
    while !bench.bash("ls over").await.content.contains(note) {
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    assert!(!bench.bash("true").await.content.contains("bash_1"));
    let unseen = bench.jobs.close().await;
    assert_eq!((unseen.len(), unseen[0].id.as_str(), unseen[0].ended.evidence.exit), (1, "bash_1", Some(0)));
}

#[tokio::test]
async fn a_filter_shows_the_lines_that_match() {
    let bench = bench();
    bench.background("seq 1 30; printf 'error: 31'").await;
    let end = bench.look(&json!({"bash_id": "bash_1", "filter": "^2.$|error", "timeout": 60_000})).await;
    let lines: Vec<&str> = end.content.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[10]), (12, "20", "error: 31"), "{end:?}");
    for (input, part) in [
        (json!({"bash_id": "bash_1", "filter": "("}), "unclosed group"),
        (json!({"bash_id": "bash_1", "filter": "(\\w{100}){100}"}), "size limit"),
        (json!({"bash_id": "bash_9"}), "there are bash_1"),
        (json!({"bash_id": "1"}), "no job 1"),
    ] {
        let result = bench.look(&input).await;
        assert!(result.is_error && result.content.contains(part), "{result:?}");
    }
}

#[tokio::test]
async fn a_killed_job_leaves_nothing() {
    let bench = bench();
    bench.background(&format!("echo begun; {STUBBORN}")).await;
    let pids = bench.lines("pids", 4).await;
    let killed = bench.kill("bash_1").await;
    assert!(!killed.is_error, "{killed:?}");
    assert_eq!(killed.content, "begun\nended, it was told to stop (bash_1 has ended)");
    assert_eq!((killed.evidence.exit, killed.evidence.output.as_str()), (None, "begun\n"));
    for pid in pids {
        assert!(gone(&pid), "{pid} is left");
    }
    assert!(bench.kill("bash_2").await.is_error);
}

#[tokio::test]
async fn a_job_that_has_ended_by_itself_was_not_killed() {
    let bench = bench();
    bench.background("exit 7").await;
    bench.end("bash_1").await;
    let late = bench.kill("bash_1").await;
    assert_eq!((late.content.as_str(), late.is_error), ("(no output)\nexit code 7 (bash_1 has ended)", true));
}

#[tokio::test]
async fn the_end_of_the_conversation_is_the_end_of_its_jobs() {
    let bench = bench();
    bench.background(STUBBORN).await;
    bench.bash("echo $$ >> more; exec sleep 1000").await;
    let pids = [bench.lines("pids", 4).await, bench.lines("more", 1).await].concat();
    let unseen = bench.jobs.close().await;
    let told: Vec<_> = unseen.iter().map(|job| (job.id.as_str(), job.ended.how.clone())).collect();
    assert_eq!(told, [("bash_1", process::How::Cancelled), ("bash_2", process::How::Cancelled)]);
    for pid in pids {
        assert!(gone(&pid), "{pid} is left");
    }
    let late = bench.background("true").await;
    assert!(late.is_error && late.content.contains("being stopped"), "{late:?}");
}

#[tokio::test]
async fn a_stop_ends_jobs_and_the_command_that_is_waited_for() {
    let Bench { dir, cancel, jobs } = bench();
    let bench = Bench { dir, cancel, jobs: jobs.patient(Duration::from_secs(60)) };
    bench.background("echo $$ >> pids; exec sleep 1000").await;
    let stop = async {
        let pids = bench.lines("pids", 2).await;
        bench.cancel.cancel();
        pids
    };
    let (result, pids) = tokio::join!(bench.bash("echo $$ >> pids; exec sleep 1000"), stop);
    assert!(result.is_error && result.content.contains("told to stop"), "{result:?}");
    for pid in pids {
        assert!(gone(&pid), "{pid} is left");
    }
}

#[tokio::test]
async fn dropped_jobs_are_killed() {
    let bench = bench();
    bench.background(STUBBORN).await;
    let pids = bench.lines("pids", 4).await;
    drop(bench.jobs);
    // A task that is aborted is dropped by the runtime, when this one lets it.
    tokio::task::yield_now().await;
    for pid in pids {
        assert!(gone(&pid), "{pid} is left");
    }
}

#[tokio::test]
async fn a_job_has_its_own_time_and_ends_with_it() {
    let bench = bench();
    let input = json!({"command": "echo $$; exec sleep 1000", "run_in_background": true, "timeout": 300});
    super::call(&bench.jobs, &input.to_string()).await;
    let end = bench.end("bash_1").await;
    assert!(end.is_error && end.content.contains("its time was over"), "{end:?}");
    assert!(gone(end.evidence.output.trim()));
}

#[tokio::test]
async fn a_flood_is_kept_at_both_ends() {
    let bench = bench();
    let started = bench.bash("echo first; yes").await;
    assert!(started.content.starts_with("first\ny\n"), "{}", &started.content[..20]);
    let look = bench.look(&json!({"bash_id": "bash_1", "timeout": 0})).await;
    let killed = bench.kill("bash_1").await;
    for result in [&started, &look, &killed] {
        assert!(result.content.len() < (256 << 10) + 1000);
        assert!(result.evidence.output.len() <= 256 << 10);
    }
    assert!(killed.evidence.output.starts_with("first\n") && killed.evidence.output_bytes > 1 << 20);
}

#[tokio::test]
async fn jobs_are_bounded_in_number() {
    let bench = bench();
    for number in 1..=8 {
        let started = bench.background("exec sleep 1000").await;
        assert!(started.content.contains(&format!("as bash_{number},")), "{started:?}");
    }
    let refused = bench.background("true").await;
    assert!(refused.is_error && refused.content.contains("8 jobs run already: bash_1, "), "{refused:?}");
    // A command that would be the ninth keeps its caller waiting instead.
    let waited = bench.bash("sleep 0.4; echo waited").await;
    assert_eq!(waited.content, "waited\nexit code 0");
    bench.kill("bash_3").await;
    assert!(!bench.background("exec sleep 1000").await.is_error);
    assert_eq!(bench.jobs.close().await.len(), 8);
}

#[tokio::test]
async fn ended_jobs_are_forgotten_the_oldest_first() {
    let bench = bench();
    for number in 1..=20 {
        bench.background("true").await;
        bench.end(&format!("bash_{number}")).await;
    }
    assert!(bench.end("bash_1").await.content.contains("no job bash_1: there are bash_5, "));
    assert_eq!(bench.end("bash_20").await.evidence.exit, Some(0));
}
