//! The executor of agent steps, and the lead: both are one conversation with a model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::Scene;
use super::{ExecEnd, Executed};
use crate::agent::{self, Conversation, Finish, Task, brief};
use crate::assignment::{AgentWork, Command, LeadAssignment, LeadTask, Owner, Place, StepAssignment};
use crate::equipment::Tools;
use crate::exec::rewrite::search;
use crate::host::{Host, Message, StepResult};
use crate::lsp::Lease;
use crate::outcome::{Cause, End, Evidence, Outcome};
use crate::process::How;
use crate::tool::host::InProcess;
use crate::tool::shell::jobs::{Jobs, Unseen};
use crate::tool::shell::{Running, Shell, Watch};

/// What is said where there is no model.
const NO_MODEL: &str = "ask a model: none is set; name one with --model PROVIDER/NAME";

/// Characters of a command in a line about it.
const COMMAND_CHARS_MAX: usize = 200;

/// The shell of a step's agent: its commands get the same surroundings as the command of a `run` step.
struct StepShell {
    step: StepAssignment,
    tools: Arc<Tools>,
}

impl Shell for StepShell {
    fn run(&self, command: Command, watch: Watch) -> Running<'_> {
        Box::pin(async move {
            let scene = Scene {
                owner: &self.step.owner,
                place: &self.step.place,
                env: &self.step.env,
                needs: &self.step.needs,
                tree: None,
                changed: None,
                timeout_ms_max: Some(self.step.timeout_ms),
            };
            let ended = scene.run_watched(&command, &watch.stop, Some(watch.tap), &self.tools).await;
            ended.map_err(|error| error.to_string())
        })
    }
}

/// Runs the conversation of a step.
pub(crate) async fn run(step: &StepAssignment, work: &AgentWork, host: Arc<dyn Host>, tools: Arc<Tools>) -> Executed {
    let Some(model) = tools.model.clone() else {
        return Executed::failed(Cause::Model, NO_MODEL);
    };
    let shell = StepShell { step: step.clone(), tools: Arc::clone(&tools) };
    let jobs = Arc::new(Jobs::new(Arc::new(shell), &host.cancelled()));
    let opened = InProcess::new(&step.place.path, Some(Arc::clone(&jobs)), &tools.temp);
    let servers = servers(&step.owner, &step.place, &step.env, &host, &tools);
    let tool_host = match opened {
        Ok(tool_host) => {
            tool_host.finding(search::compile).stopping(host.cancelled()).with_servers(Arc::clone(&servers))
        }
        Err(error) => return Executed::failed(Cause::Environment, error.to_string()),
    };
    let allowed = brief::allowed(work, step.mode);
    let task = Task {
        model_name: &work.model,
        brief: &work.brief,
        prefix_ttl: work.prefix_ttl,
        worker_message: brief::worker_message(step, work, &allowed),
        allowed,
        max_turns: work.max_turns,
        max_nano_usd: work.max_nano_usd,
        proposals_max: None,
        messages: &step.resume.messages,
        views: &step.resume.views,
        evidence: &step.resume.evidence,
        context_tokens: None,
        spent_nano_usd: step.resume.spent_nano_usd,
        feedback: &step.feedback,
        instructions: &work.instructions,
        step: (&step.owner.step, &step.title),
        worktree: step.place.path.display().to_string(),
        fork: work.fork.as_ref(),
    };
    let talk = agent::converse(task, model, Arc::clone(&host), tool_host).await;
    let Conversation { end, mut report, evidence, planned: _, split } = talk;
    // Whatever comes of the worktree now, no process of ours writes to it any more.
    report.push_str(&ended_last(jobs.close().await, &host).await);
    servers.close().await;
    let end = match end {
        Finish::Done => ExecEnd::Done,
        Finish::Failed(cause, message) => ExecEnd::Failed { cause, message },
        Finish::Parked => ExecEnd::Parked,
    };
    Executed { end, report, evidence, partial: split }
}

/// Tells the journal which jobs were ended with the conversation, and gives the lines of the report about those whose
/// end the model has not seen.
async fn ended_last(unseen: Vec<Unseen>, host: &Arc<dyn Host>) -> String {
    let mut report = String::new();
    for Unseen { id, command, ended } in unseen {
        let command: String = command.chars().take(COMMAND_CHARS_MAX).collect();
        let message = match ended.how {
            How::Cancelled => format!("background job {id} still ran and was ended with the conversation: {command}"),
            How::Exited(code) => format!("background job {id} ended unseen with exit code {code}: {command}"),
            How::Signalled(_) | How::TimedOut | How::Idle | How::NotStarted(_) => {
                format!("background job {id} failed unseen: {command}")
            }
        };
        report.push_str(&format!("\n\n({message})"));
        if ended.how == How::Cancelled && !host.cancelled().is_cancelled() {
            let hit = StepResult::BoundHit { bound: "background_jobs".to_owned(), message };
            // The step goes on either way; who says stop is heard at the next message.
            let _ = host.send(Message::Result(hit)).await;
        }
    }
    report
}

/// Runs the conversation of a lead; the report of a lead that is done is the JSON of its accepted plan, or its answer.
pub(crate) async fn lead(lead: &LeadAssignment, host: Arc<dyn Host>, tools: Arc<Tools>) -> Outcome {
    let Some(model) = tools.model.clone() else {
        return outcome(failed(Cause::Model, NO_MODEL.to_owned()), String::new(), Evidence::default());
    };
    let answers = lead.task == LeadTask::Answer;
    let opened = InProcess::new(&lead.place.path, None, &tools.temp);
    let servers = servers(&lead.owner, &lead.place, &BTreeMap::new(), &host, &tools);
    let tool_host = match opened {
        Ok(tool_host) => {
            tool_host.finding(search::compile).stopping(host.cancelled()).with_servers(Arc::clone(&servers))
        }
        Err(error) => {
            let end = failed(Cause::Environment, error.to_string());
            return outcome(end, String::new(), Evidence::default());
        }
    };
    let task = Task {
        model_name: &lead.agent.model,
        brief: &lead.agent.brief,
        prefix_ttl: lead.agent.prefix_ttl,
        worker_message: brief::lead_message(lead),
        allowed: if answers { BTreeSet::new() } else { brief::lead_allowed() },
        max_turns: lead.agent.max_turns,
        max_nano_usd: lead.agent.max_nano_usd,
        proposals_max: (!answers).then_some(lead.proposals_max),
        messages: &[],
        views: &[],
        evidence: &[],
        context_tokens: None,
        spent_nano_usd: 0,
        feedback: &[],
        instructions: &lead.agent.instructions,
        step: ("", ""),
        worktree: String::new(),
        fork: lead.agent.fork.as_ref(),
    };
    let talk = agent::converse(task, model, host, tool_host).await;
    servers.close().await;
    let end = match talk.end {
        Finish::Done if talk.planned || answers => End::Done,
        Finish::Done => failed(Cause::Turns, "the lead ended without a plan".to_owned()),
        Finish::Failed(cause, message) => failed(cause, message),
        Finish::Parked => End::Parked,
    };
    outcome(end, talk.report, talk.evidence)
}

/// The language servers on a worktree. Of a step they know what its commands know but for its name: a snapshot's
/// servers are those of all who read it.
fn servers(
    owner: &Owner,
    place: &Place,
    env: &BTreeMap<String, String>,
    host: &Arc<dyn Host>,
    tools: &Tools,
) -> Arc<Lease> {
    let mut all = tools.base_env.clone();
    all.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
    all.insert("WATTLE_RUN".into(), owner.run.clone().into());
    all.insert("WATTLE_BASE".into(), place.base.to_string().into());
    all.insert("WATTLE_SLOT".into(), place.slot.to_string().into());
    tools.servers.lease(&place.path, all, host.cancelled())
}

fn failed(cause: Cause, message: String) -> End {
    End::Failed { cause, message }
}

fn outcome(end: End, report: String, evidence: Evidence) -> Outcome {
    Outcome { end, report, commit: None, check: None, evidence }
}
