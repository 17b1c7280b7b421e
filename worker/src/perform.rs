//! Does one assignment, whatever goes wrong on the way: everything is an outcome.
//!
//! A step goes through one pipeline, the same for all executors (`pipeline`); a check or a setup is one process
//! (`verify`). Before every effect its intent is sent and its `Ack` awaited.

mod deadline;
mod pipeline;
mod restore;
#[cfg(test)]
mod tests;
mod verify;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;

use crate::assignment::Assignment;
pub use crate::equipment::Tools;
use crate::exec;
use crate::host::{Host, Message, Reply};
use crate::outcome::{Cause, End, Evidence, Outcome};

/// Does an assignment. It never panics: a panic on the way is a failure with [`Cause::Environment`].
pub async fn perform(assignment: Assignment, host: Arc<dyn Host>, tools: Arc<Tools>) -> Outcome {
    let work = async {
        match assignment {
            Assignment::Step(step) => pipeline::step(*step, host, tools).await,
            Assignment::Check(check) => verify::check(&check, &host, &tools).await,
            Assignment::Setup(setup) => verify::setup(&setup, &host, &tools).await,
            Assignment::Lead(lead) => exec::agent::lead(&lead, host, tools).await,
        }
    };
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            failed(Cause::Environment, format!("do an assignment: a bug: {text}"))
        }
    }
}

/// A failure that leaves nothing.
fn failed(cause: Cause, message: impl Into<String>) -> Outcome {
    let message = message.into();
    let report = format!("Failed: {message}.\n");
    outcome(End::Failed { cause, message }, report, Evidence::default())
}

/// An outcome with no commit and no check.
fn outcome(end: End, report: String, evidence: Evidence) -> Outcome {
    Outcome { end, report, commit: None, check: None, evidence }
}

/// Why a worker does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Halt {
    /// It was told to stop.
    Parked,
    /// Something failed.
    Failed(Cause, String),
}

impl Halt {
    fn environment(error: impl std::fmt::Display) -> Self {
        Self::Failed(Cause::Environment, error.to_string())
    }
}

/// Sends a message; the worker goes on only if the host has it and does not say stop.
async fn say(host: &Arc<dyn Host>, message: Message) -> Result<(), Halt> {
    match host.send(message).await {
        Reply::Ack { .. } | Reply::Told { .. } | Reply::Granted | Reply::Answer { .. } => Ok(()),
        Reply::Refused { reason } => Err(Halt::Failed(Cause::Environment, format!("go on: {reason}"))),
        Reply::Cancel => Err(Halt::Parked),
    }
}

/// Runs what blocks (git, files) on a thread for that, and waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Halt> + Send + 'static) -> Result<T, Halt> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Halt::environment(error)),
        },
    }
}
