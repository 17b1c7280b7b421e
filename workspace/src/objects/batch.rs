//! Objects from `git cat-file --batch` coprocesses: serves every repository that git itself can read.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Mutex, PoisonError};

use super::{Kind, Objects};
use crate::git::{At, Git, GitError};

/// Idle coprocesses kept: as many as threads usually read at once. More are started when needed and ended after use.
const IDLE_MAX: usize = 4;

#[derive(Debug)]
struct Coprocess {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    command: String,
}

impl Coprocess {
    fn start(git: &Git) -> Result<Coprocess, GitError> {
        let (mut child, command) = git.at(At::Store).args(["cat-file", "--batch"]).spawn()?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("its output was asked to be piped"));
        Ok(Coprocess { child, stdin, stdout, command })
    }

    fn ask(&mut self, id: &str) -> Result<Option<(Kind, Vec<u8>)>, GitError> {
        let broken = |what: String| GitError::Output { command: self.command.clone(), what };
        let stdin = self.stdin.as_mut().ok_or_else(|| broken("no input pipe".to_owned()))?;
        writeln!(stdin, "{id}").and_then(|()| stdin.flush()).map_err(|e| broken(e.to_string()))?;
        let mut header = String::new();
        self.stdout.read_line(&mut header).map_err(|e| broken(e.to_string()))?;
        let mut words = header.split_whitespace().skip(1);
        let kind = match words.next() {
            Some("missing") => return Ok(None),
            Some("commit") => Kind::Commit,
            Some("tree") => Kind::Tree,
            Some("blob") => Kind::Blob,
            Some("tag") => Kind::Tag,
            Some(_) | None => return Err(broken(format!("`{}`", header.trim_end()))),
        };
        let size = words.next().and_then(|s| s.parse::<usize>().ok());
        let size = size.ok_or_else(|| broken(format!("`{}`", header.trim_end())))?;
        let mut body = vec![0; size + 1];
        self.stdout.read_exact(&mut body).map_err(|e| broken(e.to_string()))?;
        body.truncate(size);
        Ok(Some((kind, body)))
    }
}

impl Drop for Coprocess {
    fn drop(&mut self) {
        // It ends when its input does; waiting leaves no zombie.
        drop(self.stdin.take());
        if let Err(e) = self.child.wait() {
            tracing::debug!(error = %e, "waiting for cat-file");
        }
    }
}

/// A pool of coprocesses.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    idle: Mutex<Vec<Coprocess>>,
}

impl Objects for Batch {
    fn name(&self) -> &'static str {
        "cat-file"
    }

    fn read(&self, git: &Git, id: &str) -> Result<Option<(Kind, Vec<u8>)>, GitError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut coprocess = match idle {
            Some(coprocess) => coprocess,
            None => Coprocess::start(git)?,
        };
        // After an error its output may be out of step, so it is dropped, not kept.
        let answer = coprocess.ask(id)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(coprocess);
        }
        Ok(answer)
    }

    fn has_between(&self, _git: &Git, _from: &str, _to: &str) -> Result<Option<bool>, GitError> {
        // A coprocess still has what it has read.
        Ok(None)
    }
}
