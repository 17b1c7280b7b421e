//! The executor of `run` steps, and what checks and setup share with it: environment and reports.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wattle_workspace::path_of_shown;

use super::{ExecEnd, Executed};
use crate::assignment::{Command, NeedReport, Owner, Place, StepAssignment};
use crate::equipment::Tools;
use crate::host::Host;
use crate::outcome::{Cause, Evidence};
use crate::process::{self, Ended, How, Job, Tap};

/// Output in a report, in bytes: a page of text. Dependents get reports in their prompts, so this is
/// paid for again with every one of them; the whole output is in the evidence.
const REPORT_OUTPUT_BYTES_MAX: usize = 4096;

/// Runs the command of a step in its worktree.
pub(crate) async fn run(
    step: &StepAssignment,
    command: &Command,
    host: &Arc<dyn Host>,
    tools: &Arc<Tools>,
) -> Executed {
    let scene = Scene {
        owner: &step.owner,
        place: &step.place,
        env: &step.env,
        needs: &step.needs,
        tree: None,
        changed: None,
        timeout_ms_max: Some(step.timeout_ms),
    };
    let ended = match scene.run(command, host, tools).await {
        Ok(ended) => ended,
        Err(error) => return Executed::failed(Cause::Environment, error.to_string()),
    };
    let end = match (&ended.how, ended.failure(&command.ok_exit, &command.bounds)) {
        (How::Cancelled, _) => ExecEnd::Parked,
        (_, Some((cause, message))) => ExecEnd::Failed { cause, message },
        (_, None) => ExecEnd::Done,
    };
    Executed { end, report: report(command, &ended), evidence: ended.evidence, partial: false }
}

/// A folder or a file for a process could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write {} for a command: {source}", path.display())]
pub(crate) struct SceneError {
    path: PathBuf,
    source: io::Error,
}

/// Where and for whom a command runs: everything its environment is made of.
pub(crate) struct Scene<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) place: &'a Place,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) needs: &'a [NeedReport],
    /// `WATTLE_TREE`, for checks.
    pub(crate) tree: Option<&'a str>,
    /// `WATTLE_CHANGED`, for checks.
    pub(crate) changed: Option<&'a [String]>,
    /// A bound of the whole attempt, where it is the tighter one.
    pub(crate) timeout_ms_max: Option<u64>,
}

impl Scene<'_> {
    /// Runs a command to its end.
    pub(crate) async fn run(
        &self,
        command: &Command,
        host: &Arc<dyn Host>,
        tools: &Arc<Tools>,
    ) -> Result<Ended, SceneError> {
        self.run_watched(command, &host.cancelled(), None, tools).await
    }

    /// The same, for somebody who looks at its output and has a word of their own to end it.
    pub(crate) async fn run_watched(
        &self,
        command: &Command,
        cancel: &CancellationToken,
        tap: Option<Arc<Tap>>,
        tools: &Arc<Tools>,
    ) -> Result<Ended, SceneError> {
        let folder = tempfile::Builder::new()
            .prefix("job-")
            .tempdir_in(&tools.temp)
            .map_err(|source| SceneError { path: tools.temp.clone(), source })?;
        let mut bounds = command.bounds;
        if let Some(max) = self.timeout_ms_max {
            bounds.timeout_ms = bounds.timeout_ms.min(max);
        }
        let env = self.environment(command, &tools.base_env, folder.path())?;
        let job = Job { run: command.run.clone(), dir: self.place.path.clone(), env, bounds };
        Ok(process::run_watched(&job, cancel, tap).await)
    }

    fn environment(
        &self,
        command: &Command,
        base: &BTreeMap<OsString, OsString>,
        folder: &Path,
    ) -> Result<BTreeMap<OsString, OsString>, SceneError> {
        let mut env = base.clone();
        for (name, value) in self.env.iter().chain(&command.env) {
            env.insert(name.into(), value.into());
        }
        let needs = folder.join("needs");
        make(&needs, |path| std::fs::create_dir(path))?;
        for need in self.needs {
            if need.step.contains('/') {
                let source = io::ErrorKind::InvalidInput.into();
                return Err(SceneError { path: needs.join(&need.step), source });
            }
            make(&needs.join(format!("{}.md", need.step)), |path| std::fs::write(path, &need.markdown))?;
        }
        env.insert("WATTLE_RUN".into(), self.owner.run.clone().into());
        env.insert("WATTLE_STEP".into(), self.owner.step.clone().into());
        env.insert("WATTLE_ATTEMPT".into(), self.owner.attempt.to_string().into());
        env.insert("WATTLE_BASE".into(), self.place.base.to_string().into());
        env.insert("WATTLE_SLOT".into(), self.place.slot.to_string().into());
        env.insert("WATTLE_NEEDS".into(), needs.into());
        if let Some(tree) = self.tree {
            env.insert("WATTLE_TREE".into(), tree.into());
        }
        if let Some(changed) = self.changed {
            let path = folder.join("changed");
            let mut list = Vec::new();
            for changed in changed {
                list.extend_from_slice(path_of_shown(changed).as_os_str().as_bytes());
                list.push(0);
            }
            make(&path, |path| std::fs::write(path, list))?;
            env.insert("WATTLE_CHANGED".into(), path.into());
        }
        Ok(env)
    }
}

fn make(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), SceneError> {
    write(path).map_err(|source| SceneError { path: path.to_path_buf(), source })
}

/// What a command did, for people and for dependents.
pub(crate) fn report(command: &Command, ended: &Ended) -> String {
    let how = match &ended.how {
        How::Exited(code) => format!("exit code {code}"),
        How::Signalled(signal) => format!("ended by signal {signal}"),
        How::TimedOut => "stopped at its time limit".to_owned(),
        How::Idle => "stopped because it was silent for too long".to_owned(),
        How::Cancelled => "stopped because the run stops".to_owned(),
        How::NotStarted(why) => format!("not started: {why}"),
    };
    let mut text = format!("{}\n{how}\n", fenced(&command.run));
    if ended.evidence.output.is_empty() {
        text.push_str("\nNo output.\n");
    } else {
        let _ = writeln!(text, "\nOutput:\n\n{}", fenced(&shown(&ended.evidence)));
    }
    text
}

/// The output that a report shows, with a line about what it leaves out.
fn shown(evidence: &Evidence) -> String {
    let output = &evidence.output;
    if output.len() <= REPORT_OUTPUT_BYTES_MAX {
        return output.clone();
    }
    let boundary = |at: &usize| output.is_char_boundary(*at);
    let head = (0..=REPORT_OUTPUT_BYTES_MAX / 4).rev().find(boundary).unwrap_or(0);
    let tail = (output.len() - REPORT_OUTPUT_BYTES_MAX * 3 / 4..=output.len()).find(boundary).unwrap_or(output.len());
    let missing = evidence.output_bytes.saturating_sub((head + output.len() - tail) as u64);
    format!("{}\n[... {missing} bytes left out ...]\n{}", &output[..head], &output[tail..])
}

/// A fenced block whose fence is longer than any in the text.
pub(crate) fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{}\n{fence}\n", text.trim_end_matches('\n'))
}
