//! The tool Bash: one command in the worktree, through the place where all processes start.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde::Deserialize;

use super::{Definition, ToolResult, parse};
use crate::assignment::{Bounds, Command};
use crate::process::{Ended, How};

/// Wall time of a command that asks for none.
const TIMEOUT_MS: u64 = 120_000;
/// Wall time that a command may ask for: a long build. What needs more is a step or a check of its own.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// Output that the model is shown, head and tail.
const OUTPUT_BYTES_MAX: u64 = 30_000;
/// Programs whose exit code 1 is an answer and no failure.
const ANSWER_WITH_ONE: [&str; 6] = ["grep", "rg", "diff", "cmp", "test", "["];

/// The tool as the model is told of it.
pub(super) const DEFINITION: Definition = Definition {
    name: super::BASH,
    description: "Runs a shell command with `sh -c` in the root of the worktree and returns its output and exit code. Nothing is kept between calls (no directory, no variables) and nothing may run on after it. Prefer Read, Glob and Grep for looking at files.",
    schema: r#"{"type":"object","properties":{"command":{"type":"string"},"timeout":{"type":"integer","description":"Milliseconds, default 120000, at most 600000"},"description":{"type":"string","description":"What it does, in a few words"}},"required":["command"],"additionalProperties":false}"#,
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

/// A process that is still to end; the message is for the model.
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Ended, String>> + Send + 'a>>;

/// Starts the commands of one step, in its worktree and with its environment. Whoever knows the step gives this
/// to the tools, which know none.
pub(crate) trait Shell: Send + Sync {
    /// Runs one command to its end.
    fn run(&self, command: Command) -> Running<'_>;
}

/// Runs a command.
pub(super) async fn call(shell: &dyn Shell, input: &str) -> ToolResult {
    let input: Input = match parse("Bash", input) {
        Ok(input) => input,
        Err(message) => return ToolResult::failed(message),
    };
    if input.run_in_background {
        return ToolResult::failed("nothing may run on after its call; run it without run_in_background");
    }
    let bounds = Bounds {
        timeout_ms: input.timeout.unwrap_or(TIMEOUT_MS).clamp(1, TIMEOUT_MS_MAX),
        idle_ms: None,
        output_bytes_max: OUTPUT_BYTES_MAX,
    };
    let command = Command { run: input.command, ok_exit: vec![0], env: BTreeMap::new(), bounds };
    match shell.run(command.clone()).await {
        Ok(ended) => result(&command, ended),
        Err(message) => ToolResult::failed(message),
    }
}

fn result(command: &Command, ended: Ended) -> ToolResult {
    let first = command.run.split_whitespace().next().unwrap_or_default();
    let (last, is_error) = match &ended.how {
        How::Exited(0) => ("exit code 0".to_owned(), false),
        How::Exited(code) => {
            let answer = *code == 1 && ANSWER_WITH_ONE.contains(&first);
            (format!("exit code {code}"), !answer)
        }
        How::Signalled(signal) => (format!("ended by signal {signal}"), true),
        How::TimedOut => (format!("ended after {} ms, its time was over", ended.evidence.elapsed_ms), true),
        How::Idle => ("ended, it wrote nothing for too long".to_owned(), true),
        How::Cancelled => ("ended, the work was stopped".to_owned(), true),
        How::NotStarted(why) => (why.clone(), true),
    };
    let output = if ended.evidence.output.is_empty() { "(no output)\n" } else { &ended.evidence.output };
    let gap = if output.ends_with('\n') { "" } else { "\n" };
    ToolResult { content: format!("{output}{gap}{last}"), is_error, evidence: ended.evidence }
}
