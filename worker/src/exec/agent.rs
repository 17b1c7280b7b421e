//! The executor of agent steps, and the lead: both are one conversation with a model.

use std::sync::Arc;

use super::{ExecEnd, Executed};
use crate::agent::{self, Conversation, Finish, Task, brief};
use crate::assignment::{AgentWork, LeadAssignment, StepAssignment};
use crate::equipment::Tools;
use crate::host::Host;
use crate::outcome::{Cause, End, Evidence, Outcome};
use crate::tool::host::InProcess;

/// What is said where there is no model.
const NO_MODEL: &str = "ask a model: none is set; name one with --model PROVIDER/NAME";

/// Runs the conversation of a step.
pub(crate) async fn run(
    step: &StepAssignment,
    work: &AgentWork,
    host: Arc<dyn Host>,
    tools: Arc<Tools>,
) -> Executed {
    let Some(model) = tools.model.clone() else {
        return Executed::failed(Cause::Model, NO_MODEL);
    };
    let opened = InProcess::new(
        &step.place.path,
        Some(step.clone()),
        Arc::clone(&host),
        Arc::clone(&tools),
    );
    let tool_host = match opened {
        Ok(tool_host) => tool_host,
        Err(error) => return Executed::failed(Cause::Environment, error.to_string()),
    };
    let allowed = brief::allowed(work, step.mode);
    let task = Task {
        model_name: &work.model,
        brief: &work.brief,
        worker_message: brief::worker_message(step, work, &allowed),
        allowed,
        max_turns: work.max_turns,
        max_nano_usd: work.max_nano_usd,
        proposals_max: None,
        messages: &step.resume.messages,
        feedback: &step.feedback,
    };
    let Conversation {
        end,
        report,
        evidence,
        planned: _,
    } = agent::converse(task, model, host, tool_host).await;
    let end = match end {
        Finish::Done => ExecEnd::Done,
        Finish::Failed(cause, message) => ExecEnd::Failed { cause, message },
        Finish::Parked => ExecEnd::Parked,
    };
    Executed {
        end,
        report,
        evidence,
    }
}

/// Runs the conversation of a lead; the report of a lead that is done is the JSON of its accepted plan.
pub(crate) async fn lead(lead: &LeadAssignment, host: Arc<dyn Host>, tools: Arc<Tools>) -> Outcome {
    let Some(model) = tools.model.clone() else {
        return outcome(
            failed(Cause::Model, NO_MODEL.to_owned()),
            String::new(),
            Evidence::default(),
        );
    };
    let opened = InProcess::new(
        &lead.place.path,
        None,
        Arc::clone(&host),
        Arc::clone(&tools),
    );
    let tool_host = match opened {
        Ok(tool_host) => tool_host,
        Err(error) => {
            let end = failed(Cause::Environment, error.to_string());
            return outcome(end, String::new(), Evidence::default());
        }
    };
    let task = Task {
        model_name: &lead.agent.model,
        brief: &lead.agent.brief,
        worker_message: brief::lead_message(lead),
        allowed: brief::lead_allowed(),
        max_turns: lead.agent.max_turns,
        max_nano_usd: lead.agent.max_nano_usd,
        proposals_max: Some(lead.proposals_max),
        messages: &[],
        feedback: &[],
    };
    let talk = agent::converse(task, model, host, tool_host).await;
    let end = match talk.end {
        Finish::Done if talk.planned => End::Done,
        Finish::Done => failed(Cause::Turns, "the lead ended without a plan".to_owned()),
        Finish::Failed(cause, message) => failed(cause, message),
        Finish::Parked => End::Parked,
    };
    outcome(end, talk.report, talk.evidence)
}

fn failed(cause: Cause, message: String) -> End {
    End::Failed { cause, message }
}

fn outcome(end: End, report: String, evidence: Evidence) -> Outcome {
    Outcome {
        end,
        report,
        commit: None,
        check: None,
        evidence,
    }
}
