//! The one place where processes start: setup, checks, the `run` steps and the shell of an agent; and servers, which
//! run on (`server`).
//!
//! A job is `sh -c` in a process group of its own, with no input and with both outputs on one pipe, so
//! that their order is the order of writing. Four things end it: its own exit, its wall-time bound, its
//! bound on silence, and cancellation. Whatever ended it, nothing of it is left: the group is killed,
//! then every process that carries the job's token in its environment, then whoever still holds the
//! pipe (`leftover`). A process that changed its session, cleared its environment and closed
//! its outputs is not found; only the walls of a later issue stop that one.

mod capture;
mod leftover;
pub(crate) mod server;
mod tap;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::capture::Capture;
pub use self::leftover::end_leftovers;
pub(crate) use self::tap::Tap;
use crate::assignment::Bounds;
use crate::outcome::{Cause, Evidence};

/// Between SIGTERM and SIGKILL: enough to flush and remove a lock file, and well inside the 5 s in which
/// a whole run has to park.
const GRACE: Duration = Duration::from_secs(2);
/// Wait for a killed process to be gone. Longer only when the kernel holds it (a dead network disk).
const KILLED_WAIT: Duration = Duration::from_secs(2);
/// Wait for the end of the output once the group is dead: what is in the pipe (64 KiB) is read in
/// microseconds, so this only bites when somebody outside the group holds the pipe.
const DRAIN: Duration = Duration::from_millis(250);
/// Bytes per read: the size of a Linux pipe.
const READ_BYTES: usize = 64 * 1024;
/// The shell, where POSIX systems have it; which `sh` it is must not depend on the job's own `PATH`.
const SHELL: &str = "/bin/sh";
/// Names the process to the sweep that follows it.
const TOKEN: &str = "WATTLE_TOKEN";
/// Variables that would point a job's git at a repository that is not its worktree; they are set
/// when Wattle itself is started by a hook.
const GIT_LOCATION: [&str; 9] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
];

/// Has the user edit a file in their own terminal, and waits. `false` = the editor says that it failed.
///
/// # Errors
/// Fails where no shell can be started.
#[expect(clippy::disallowed_methods, reason = "this module is where processes start")]
pub fn edit(editor: &str, file: &Path) -> std::io::Result<bool> {
    // An editor is a command with arguments (`code --wait`): the shell takes it apart, as git does.
    let text = format!("{editor} \"$1\"");
    let status = std::process::Command::new(SHELL).args(["-c", &text, "edit"]).arg(file).status()?;
    Ok(status.success())
}

/// Runs this very program to its end, with nothing of our environment.
///
/// # Errors
/// Fails where it cannot be found or started.
#[expect(clippy::disallowed_methods, reason = "this module is where processes start")]
pub fn this_program<'a>(args: impl IntoIterator<Item = &'a OsStr>) -> std::io::Result<std::process::Output> {
    let program = std::env::current_exe()?;
    std::process::Command::new(program).args(args).env_clear().stdin(Stdio::null()).output()
}

/// One shell command, with everything it depends on.
#[derive(Debug, Clone)]
pub struct Job {
    /// Text for `sh -c`.
    pub run: String,
    /// Where it runs: absolute, and it has to exist.
    pub dir: PathBuf,
    /// Its whole environment; nothing else is inherited.
    pub env: BTreeMap<OsString, OsString>,
    /// Its bounds.
    pub bounds: Bounds,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// At its wall-time bound.
    TimedOut,
    /// At its bound on silence.
    Idle,
    /// It was cancelled.
    Cancelled,
    /// It was never started.
    NotStarted(String),
}

/// A job that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// How.
    pub how: How,
    /// What it did.
    pub evidence: Evidence,
}

impl Ended {
    /// Why this is a failure, given the exit codes that count as success; `None` for a success and for
    /// a cancelled job.
    pub fn failure(&self, ok_exit: &[i32], bounds: &Bounds) -> Option<(Cause, String)> {
        match &self.how {
            How::Exited(code) if ok_exit.contains(code) => None,
            How::Cancelled => None,
            How::Exited(code) => Some((Cause::Exit, format!("the command ended with exit code {code}"))),
            How::Signalled(signal) => Some((Cause::Signal, format!("signal {signal} ended the command"))),
            How::TimedOut => {
                Some((Cause::Timeout, format!("the command ran longer than {}", seconds(bounds.timeout_ms))))
            }
            How::Idle => Some((
                Cause::Idle,
                format!("the command wrote nothing for {}", seconds(bounds.idle_ms.unwrap_or_default())),
            )),
            How::NotStarted(why) => Some((Cause::Environment, why.clone())),
        }
    }
}

fn seconds(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{} s", ms / 1000) } else { format!("{ms} ms") }
}

/// Runs a job to its end and leaves nothing of it behind, however it ends.
///
/// Dropping the future kills the job, too.
pub async fn run(job: &Job, cancel: &CancellationToken) -> Ended {
    run_watched(job, cancel, None).await
}

/// The same, for somebody who looks at the output while the job runs.
pub(crate) async fn run_watched(job: &Job, cancel: &CancellationToken, tap: Option<Arc<Tap>>) -> Ended {
    let started = Instant::now();
    let mut evidence =
        Evidence { argv: vec!["sh".to_owned(), "-c".to_owned(), job.run.clone()], ..Evidence::default() };
    let how = match start(job) {
        Err(why) => How::NotStarted(why),
        Ok(mut live) => {
            if let Some(tap) = tap {
                live.capture.watch(tap);
            }
            let how = live.supervise(job, started, cancel).await;
            let (output, bytes) = live.capture.finish();
            evidence.output = output;
            evidence.output_bytes = bytes;
            how
        }
    };
    evidence.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match &how {
        How::Exited(code) => evidence.exit = Some(*code),
        How::Signalled(signal) => evidence.signal = Some(*signal),
        How::TimedOut | How::Idle | How::Cancelled | How::NotStarted(_) => {}
    }
    Ended { how, evidence }
}

/// A job that runs.
struct Live {
    child: Child,
    group: Group,
    output: Option<Receiver>,
    capture: Capture,
}

fn start(job: &Job) -> Result<Live, String> {
    if !job.dir.is_absolute() || !job.dir.is_dir() {
        return Err(format!("start a command: {} is not a directory", job.dir.display()));
    }
    let fault = |error: std::io::Error| format!("start `sh -c` in {}: {error}", job.dir.display());
    let (reader, writer) = std::io::pipe().map_err(fault)?;
    let second = writer.try_clone().map_err(fault)?;
    let token = leftover::token();
    #[expect(clippy::disallowed_methods, reason = "this module is where processes start")]
    let mut command = tokio::process::Command::new(SHELL);
    command.arg("-c").arg(&job.run).current_dir(&job.dir).env_clear().envs(&job.env);
    for name in GIT_LOCATION {
        command.env_remove(name);
    }
    command.env_remove("OLDPWD").env("PWD", &job.dir).env(TOKEN, &token);
    command.stdin(Stdio::null()).stdout(writer).stderr(second).process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(fault)?;
    drop(command); // Holds our copies of the pipe's writing end.
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| "start a command: it has no process id".to_owned())?;
    let group = Group { pid, token, pipe: leftover::inode(&reader), gone: false };
    let fd = OwnedFd::from(reader);
    rustix::io::ioctl_fionbio(&fd, true).map_err(|error| fault(error.into()))?;
    let output = Receiver::from_owned_fd(fd).map_err(fault)?;
    let capture = Capture::new(job.bounds.output_bytes_max);
    Ok(Live { child, group, output: Some(output), capture })
}

/// Everything a job started; killed when dropped.
struct Group {
    pid: Pid,
    token: String,
    pipe: Option<u64>,
    gone: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        // The only error is that nobody is left.
        let _ = rustix::process::kill_process_group(self.pid, signal);
    }

    /// Kills what is left of the group, and what left the group.
    fn end(&mut self) {
        self.signal(Signal::KILL);
        leftover::kill_token(TOKEN, &self.token);
        self.gone = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.gone {
            self.end();
        }
    }
}

/// What the supervisor saw next.
enum Seen {
    Cancel,
    Deadline,
    Exit(ExitStatus),
    Lost(String),
    Output,
    OutputEnd,
}

impl Live {
    async fn supervise(&mut self, job: &Job, started: Instant, cancel: &CancellationToken) -> How {
        let wall = started + Duration::from_millis(job.bounds.timeout_ms);
        let idle = job.bounds.idle_ms.map(Duration::from_millis);
        let mut heard = Instant::now();
        let how = loop {
            let silent = idle.map(|idle| heard + idle);
            let deadline = silent.map_or(wall, |silent| silent.min(wall));
            match self.next(Some(deadline), Some(cancel)).await {
                Seen::Cancel => break Err(How::Cancelled),
                Seen::Deadline if deadline == wall => break Err(How::TimedOut),
                Seen::Deadline => break Err(How::Idle),
                Seen::Exit(status) => break Ok(status),
                Seen::Lost(why) => break Err(How::NotStarted(why)),
                Seen::Output => heard = Instant::now(),
                Seen::OutputEnd => {}
            }
        };
        let how = match how {
            Ok(status) => ended(status),
            Err(how) => {
                self.group.signal(Signal::TERM);
                self.until_exit(Instant::now() + GRACE).await;
                how
            }
        };
        self.finish().await;
        how
    }

    /// Keeps reading until the leader is gone or the deadline is there.
    async fn until_exit(&mut self, deadline: Instant) {
        loop {
            match self.next(Some(deadline), None).await {
                Seen::Exit(_) | Seen::Deadline | Seen::Cancel | Seen::Lost(_) => return,
                Seen::Output | Seen::OutputEnd => {}
            }
        }
    }

    /// Nothing may be left; then what is in the pipe is read, without trusting anybody to close it.
    async fn finish(&mut self) {
        self.group.end();
        let _ = timeout(KILLED_WAIT, self.child.wait()).await;
        if self.drain().await {
            return;
        }
        if let Some(pipe) = self.group.pipe {
            leftover::kill_writers(pipe);
        }
        self.drain().await;
        self.output = None;
    }

    /// Reads to the end of the output, for a bounded time; was the end seen?
    async fn drain(&mut self) -> bool {
        let deadline = Instant::now() + DRAIN;
        while let Some(output) = &mut self.output {
            match read(output, &mut self.capture, Some(deadline)).await {
                Seen::OutputEnd => self.output = None,
                Seen::Output => {}
                Seen::Deadline | Seen::Cancel | Seen::Exit(_) | Seen::Lost(_) => return false,
            }
        }
        true
    }

    async fn next(&mut self, deadline: Option<Instant>, cancel: Option<&CancellationToken>) -> Seen {
        let at = deadline.unwrap_or_else(Instant::now);
        // In this order: a flood of output must not hide a deadline.
        let seen = tokio::select! {
            biased;
            () = cancelled(cancel) => Seen::Cancel,
            () = sleep_until(at), if deadline.is_some() => Seen::Deadline,
            status = self.child.wait() => match status {
                Ok(status) => Seen::Exit(status),
                Err(error) => Seen::Lost(format!("wait for the command: {error}")),
            },
            seen = read_some(self.output.as_mut(), &mut self.capture) => seen,
        };
        if matches!(seen, Seen::OutputEnd) {
            self.output = None;
        }
        seen
    }
}

fn ended(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited(code),
        (None, Some(signal)) => How::Signalled(signal),
        (None, None) => How::NotStarted(format!("the command ended with an unknown status: {status}")),
    }
}

async fn cancelled(cancel: Option<&CancellationToken>) {
    match cancel {
        Some(cancel) => cancel.cancelled().await,
        None => std::future::pending().await,
    }
}

async fn read_some(output: Option<&mut Receiver>, capture: &mut Capture) -> Seen {
    match output {
        Some(output) => read(output, capture, None).await,
        None => std::future::pending().await,
    }
}

async fn read(output: &mut Receiver, capture: &mut Capture, deadline: Option<Instant>) -> Seen {
    let mut buffer = capture.buffer(READ_BYTES);
    let reading = output.read(&mut buffer);
    let count = match deadline {
        None => reading.await,
        Some(at) => match tokio::time::timeout_at(at, reading).await {
            Ok(count) => count,
            Err(_) => {
                capture.give_back(buffer);
                return Seen::Deadline;
            }
        },
    };
    let seen = match count {
        Ok(0) | Err(_) => Seen::OutputEnd,
        Ok(count) => {
            capture.push(&buffer[..count]);
            Seen::Output
        }
    };
    capture.give_back(buffer);
    seen
}
