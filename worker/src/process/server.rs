//! A process that runs on and is talked to through its pipes, as a language server does.
//!
//! It gets no shell and nothing of our environment. Like a job it has a process group and a token of its own, and
//! whoever holds its [`Leash`] ends all that it started.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Pid;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::{GIT_LOCATION, Group, How, TOKEN, ended, leftover};

/// What to start: a program by its name on the `PATH` of its own environment, or by an absolute path.
pub(crate) struct Program<'a> {
    pub(crate) command: &'a str,
    pub(crate) args: &'a [String],
    /// Where it runs: absolute, and it has to exist.
    pub(crate) dir: &'a Path,
    /// Its whole environment.
    pub(crate) env: &'a BTreeMap<OsString, OsString>,
}

/// A server that runs.
pub(crate) struct Served {
    child: Child,
    pub(crate) input: ChildStdin,
    pub(crate) output: ChildStdout,
    pub(crate) errors: ChildStderr,
    pub(crate) leash: Leash,
}

/// Ends a server and all that it started: when it is told to, and when the last of its copies is dropped.
#[derive(Clone)]
pub(crate) struct Leash(Arc<Mutex<Group>>);

impl Leash {
    /// Kills the process group, and what left the group.
    pub(crate) fn end(&self) {
        let mut group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !group.gone {
            group.end();
        }
    }
}

/// Starts a server.
pub(crate) fn serve(program: &Program<'_>) -> Result<Served, String> {
    let Program { command: name, args, dir, env } = program;
    if !dir.is_absolute() || !dir.is_dir() {
        return Err(format!("start `{name}`: {} is not a directory", dir.display()));
    }
    let fault = |error: std::io::Error| format!("start `{name}`: {error}");
    let token = leftover::token();
    #[expect(clippy::disallowed_methods, reason = "this module is where processes start")]
    let mut command = tokio::process::Command::new(name);
    command.args(*args).current_dir(dir).env_clear().envs(*env);
    for name in GIT_LOCATION {
        command.env_remove(name);
    }
    command.env_remove("OLDPWD").env("PWD", dir).env(TOKEN, &token);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(fault)?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("start `{name}`: it has no process id"))?;
    let leash = Leash(Arc::new(Mutex::new(Group { pid, token, pipe: None, gone: false })));
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(input), Some(output), Some(errors)) = pipes else {
        return Err(format!("start `{name}`: it has no pipes"));
    };
    Ok(Served { child, input, output, errors, leash })
}

/// The process itself, without its pipes.
pub(crate) struct Leader(Child);

impl Served {
    /// Takes it apart, so that its pipes can be used at once.
    pub(crate) fn parts(self) -> (Leader, ChildStdin, ChildStdout, ChildStderr, Leash) {
        (Leader(self.child), self.input, self.output, self.errors, self.leash)
    }
}

impl Leader {
    /// Waits for its end, and says how it ended.
    pub(crate) async fn ended(&mut self) -> String {
        match self.0.wait().await.map(ended) {
            Ok(How::Exited(code)) => format!("it ended with exit code {code}"),
            Ok(How::Signalled(signal)) => format!("signal {signal} ended it"),
            Ok(How::TimedOut | How::Idle | How::Cancelled | How::NotStarted(_)) => "it ended".to_owned(),
            Err(error) => format!("it cannot be waited for: {error}"),
        }
    }
}
