//! The tools Bash, BashOutput and KillShell: commands in the worktree, through the place where all processes start.
//!
//! Nobody is blocked by a long command: after a while it goes on as a background job ([`jobs`]), and the model is
//! told how to look again.

pub(crate) mod jobs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use regex::RegexBuilder;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use self::jobs::{Jobs, Look, Started};
use super::{Definition, ToolResult, parse};
use crate::assignment::{Bounds, Command};
use crate::outcome::Evidence;
use crate::process::{Ended, How, Tap};

/// Wall time of a command that asks for none.
const TIMEOUT_MS: u64 = 120_000;
/// Wall time that a command may ask for: a long build. What needs more is a step or a check of its own.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Output of a command that is kept, head and tail: what a long build says. The model is shown a preview of more than a
/// few pages.
pub(super) const OUTPUT_BYTES_MAX: u64 = 256 << 10;
/// How long BashOutput waits for the end of a job when no time is given: a look at what ends soon costs one turn.
const LOOK_MS: u64 = 15_000;
/// Memory of a filter: it is a word or two.
const FILTER_HEAP_MAX: usize = 1 << 20;
/// Programs whose exit code 1 is an answer and no failure.
const ANSWER_WITH_ONE: [&str; 6] = ["grep", "rg", "diff", "cmp", "test", "["];

/// Bash as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: super::BASH,
    description: "Runs a shell command with `sh -c` in the root of the worktree and returns its output and exit code. Nothing is kept between calls (no directory, no variables). A command that takes longer than 15 s goes on in the background: BashOutput shows its output and its end, KillShell ends it; all such jobs are ended when your work is. Prefer Read, Glob and Grep for looking at files.",
    schema: r#"{"type":"object","properties":{"command":{"type":"string"},"timeout":{"type":"integer","description":"Milliseconds until the command is ended, default 120000 (600000 in the background), at most 600000"},"run_in_background":{"type":"boolean","description":"Do not wait for it at all, as for a server"},"description":{"type":"string","description":"What it does, in a few words"}},"required":["command"],"additionalProperties":false}"#,
};

/// BashOutput as the model is told of it.
pub(super) const OUTPUT: Definition = Definition {
    name: super::BASH_OUTPUT,
    description: "Shows what a background job has written since the last look, and whether it still runs or how it ended. Waits for its end, for 15 s if no timeout is given.",
    schema: r#"{"type":"object","properties":{"bash_id":{"type":"string","description":"Id that Bash gave, such as bash_1"},"filter":{"type":"string","description":"Show only lines that match this regular expression; the others are gone"},"timeout":{"type":"integer","description":"Milliseconds to wait for its end, default 15000, at most 600000; 0 = do not wait"}},"required":["bash_id"],"additionalProperties":false}"#,
};

/// KillShell as the model is told of it.
pub(super) const KILL: Definition = Definition {
    name: super::KILL_SHELL,
    description: "Ends a background job with everything that it has started, and shows what it wrote since the last look.",
    schema: r#"{"type":"object","properties":{"shell_id":{"type":"string","description":"Id that Bash gave, such as bash_1"}},"required":["shell_id"],"additionalProperties":false}"#,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    command: String,
    timeout: Option<u64>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default)]
    run_in_background: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputInput {
    bash_id: String,
    filter: Option<String>,
    timeout: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KillInput {
    shell_id: String,
}

/// Ends a command, and shows what it writes.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) stop: CancellationToken,
    pub(crate) tap: Arc<Tap>,
}

/// A process that is still to end; the message is for the model.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Ended, String>> + Send + 'a>>;

/// Starts the commands of one step, in its worktree and with its environment. Whoever knows the step gives this
/// to the tools, which know none.
pub(crate) trait Shell: Send + Sync {
    /// Runs one command to its end.
    fn run(&self, command: Command, watch: Watch) -> Running<'_>;
}

/// Runs a command.
pub(super) async fn call(jobs: &Jobs, input: &str) -> ToolResult {
    let input: Input = match parse(super::BASH, input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let usual = if input.run_in_background { TIMEOUT_MS_MAX } else { TIMEOUT_MS };
    let bounds = Bounds {
        timeout_ms: input.timeout.unwrap_or(usual).clamp(1, TIMEOUT_MS_MAX),
        idle_ms: None,
        output_bytes_max: OUTPUT_BYTES_MAX,
    };
    let command = Command { run: input.command, ok_exit: vec![0], env: BTreeMap::new(), bounds };
    let started = match jobs.start(command.clone(), input.run_in_background).await {
        Ok(Started::Ended(ended)) => result(&command.run, &ended.evidence.output, &ended),
        Ok(Started::Runs { id, look }) => {
            let seconds = command.bounds.timeout_ms.div_ceil(1000);
            let words = format!(
                "It goes on in the background as {id}, for at most {seconds} s in all. BashOutput with bash_id {id} shows what is new and how it ended; KillShell ends it. What is not over when your work is, is ended then."
            );
            ToolResult { content: text(&look.fresh, &words), is_error: false, evidence: still(&command.run, look) }
        }
        Err(message) => ToolResult::failed(message),
    };
    told(jobs, started)
}

/// Looks at a job.
pub(super) async fn output(jobs: &Jobs, input: &str) -> ToolResult {
    let input: OutputInput = match parse(super::BASH_OUTPUT, input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let filter = input.filter.map(|filter| RegexBuilder::new(&filter).size_limit(FILTER_HEAP_MAX).build());
    let filter = match filter.transpose() {
        Ok(filter) => filter,
        Err(error) => return ToolResult::failed(format!("filter: {error}")),
    };
    let wait = Duration::from_millis(input.timeout.unwrap_or(LOOK_MS).min(TIMEOUT_MS_MAX));
    let mut look = match jobs.look(&input.bash_id, wait).await {
        Ok(look) => look,
        Err(message) => return ToolResult::failed(message),
    };
    if let Some(filter) = filter {
        look.fresh = look.fresh.split_inclusive('\n').filter(|line| filter.is_match(line.trim_end())).collect();
    }
    let id = input.bash_id;
    told(jobs, looked(&id, look, "still runs"))
}

/// Ends a job.
pub(super) async fn kill(jobs: &Jobs, input: &str) -> ToolResult {
    let input: KillInput = match parse(super::KILL_SHELL, input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    let killed = match jobs.kill(&input.shell_id).await {
        Ok(look) => look,
        Err(message) => return ToolResult::failed(message),
    };
    let was_killed = killed.ended.as_ref().is_some_and(|ended| ended.how == How::Cancelled);
    let mut result = looked(&input.shell_id, killed, "could not be ended yet");
    result.is_error &= !was_killed;
    told(jobs, result)
}

fn looked(id: &str, look: Look, running: &str) -> ToolResult {
    match look.ended.clone() {
        None => {
            let words = format!("{id} {running}, for {} s so far", look.elapsed.as_secs());
            let evidence = still(&look.command.clone(), look);
            ToolResult { content: text(&evidence.output, &words), is_error: false, evidence }
        }
        Some(ended) => {
            let mut result = result(&look.command, &look.fresh, &ended);
            result.content.push_str(&format!(" ({id} has ended)"));
            result
        }
    }
}

/// Adds which jobs have ended since the model was last told.
fn told(jobs: &Jobs, mut result: ToolResult) -> ToolResult {
    for (id, ended) in jobs.untold() {
        let (how, _) = verdict("", &ended);
        result.content.push_str(&format!("\n({id} has ended meanwhile: {how}. BashOutput shows its output.)"));
    }
    result
}

/// What is known of a command that still runs.
fn still(run: &str, look: Look) -> Evidence {
    Evidence {
        argv: vec!["sh".to_owned(), "-c".to_owned(), run.to_owned()],
        output_bytes: look.fresh.len() as u64,
        output: look.fresh,
        elapsed_ms: u64::try_from(look.elapsed.as_millis()).unwrap_or(u64::MAX),
        ..Evidence::default()
    }
}

/// The last line of a result, and whether it is a failure.
fn verdict(run: &str, ended: &Ended) -> (String, bool) {
    let first = run.split_whitespace().next().unwrap_or_default();
    match &ended.how {
        How::Exited(0) => ("exit code 0".to_owned(), false),
        How::Exited(code) => {
            let answer = *code == 1 && ANSWER_WITH_ONE.contains(&first);
            (format!("exit code {code}"), !answer)
        }
        How::Signalled(signal) => (format!("ended by signal {signal}"), true),
        How::TimedOut => (format!("ended after {} ms, its time was over", ended.evidence.elapsed_ms), true),
        How::Idle => ("ended, it wrote nothing for too long".to_owned(), true),
        How::Cancelled => ("ended, it was told to stop".to_owned(), true),
        How::NotStarted(why) => (why.clone(), true),
    }
}

fn result(run: &str, output: &str, ended: &Ended) -> ToolResult {
    let (last, is_error) = verdict(run, ended);
    ToolResult { content: text(output, &last), is_error, evidence: ended.evidence.clone() }
}

fn text(output: &str, last: &str) -> String {
    let output = if output.is_empty() { "(no output)\n" } else { output };
    let gap = if output.ends_with('\n') { "" } else { "\n" };
    format!("{output}{gap}{last}")
}
