//! The executors: what a step does. One function runs any of them; the pipeline around it is
//! `perform`.

pub(crate) mod agent;
pub(crate) mod command;
pub mod rewrite;

use std::sync::Arc;

use crate::assignment::{StepAssignment, Work};
use crate::equipment::Tools;
use crate::host::Host;
use crate::outcome::{Cause, Evidence};

/// What an executor gives back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Executed {
    /// How it ended.
    pub(crate) end: ExecEnd,
    /// Report for people and for dependents, Markdown.
    pub(crate) report: String,
    /// Evidence of its last process or rewrite.
    pub(crate) evidence: Evidence,
    /// Will others do the rest? The step's own check then says nothing of it alone.
    pub(crate) partial: bool,
}

/// How an executor ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExecEnd {
    /// It did what was asked.
    Done,
    /// It did not.
    Failed {
        /// Why.
        cause: Cause,
        /// One line for people.
        message: String,
    },
    /// It was told to stop.
    Parked,
}

impl Executed {
    /// A failure with no evidence.
    pub(crate) fn failed(cause: Cause, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            report: format!("Failed: {message}.\n"),
            end: ExecEnd::Failed { cause, message },
            evidence: Evidence::default(),
            partial: false,
        }
    }

    /// The end of an executor that was told to stop.
    pub(crate) fn parked() -> Self {
        Self { end: ExecEnd::Parked, report: String::new(), evidence: Evidence::default(), partial: false }
    }
}

/// Does the work of a step (or of its repair) in the step's worktree.
pub(crate) async fn execute(step: &StepAssignment, work: &Work, host: &Arc<dyn Host>, tools: &Arc<Tools>) -> Executed {
    match work {
        Work::Run(command) => command::run(step, command, host, tools).await,
        Work::Rewrite(rewrite) => rewrite::step::run(step, rewrite, host, tools).await,
        Work::Agent(agent) => agent::run(step, agent, Arc::clone(host), Arc::clone(tools)).await,
    }
}
