//! The executor of agent steps.

use std::sync::Arc;

use super::Executed;
use crate::assignment::{AgentWork, LeadAssignment, StepAssignment};
use crate::equipment::Tools;
use crate::host::Host;
use crate::outcome::{Cause, End, Evidence, Outcome};

/// Runs the conversation of a step.
pub(crate) async fn run(
    _step: &StepAssignment,
    _work: &AgentWork,
    _host: Arc<dyn Host>,
    _tools: Arc<Tools>,
) -> Executed {
    Executed::failed(
        Cause::Model,
        "run an agent step: no agent executor in this build",
    )
}

/// Runs the conversation of a lead.
pub(crate) async fn lead(
    _lead: &LeadAssignment,
    _host: Arc<dyn Host>,
    _tools: Arc<Tools>,
) -> Outcome {
    let message = "plan a task: no agent executor in this build".to_owned();
    Outcome {
        end: End::Failed {
            cause: Cause::Model,
            message,
        },
        report: String::new(),
        commit: None,
        check: None,
        evidence: Evidence::default(),
    }
}
