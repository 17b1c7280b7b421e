//! A run asks its lead: for words, when a worker has a question, or for the parts of a step that turned out too large.
//!
//! The lead is asked by going on from the conversation that the plan came of, so that it knows what it knew and the
//! provider has most of it in its cache; where the plan is a file's, by a conversation of its own. What it says is heard
//! by the dispatcher as a worker's words are, which reserves its money and judges the steps it proposes. Its turns are not
//! journaled: whoever is cut off asks again, and what came of it (an answer, a plan) is.

use std::sync::Arc;

use crossbeam_channel::Sender;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::PrefixTtl;
use wattle_planner::{StepId, submit_plan_schema};
use wattle_worker::assignment::{AgentWork, Assignment, LeadAssignment, LeadTask, Place};
use wattle_worker::fork::Fork;
use wattle_worker::host::{Host, Message, Pending, Reply};
use wattle_worker::instructions::Instructions;
use wattle_worker::outcome::{Cause, End, Evidence, Outcome};
use wattle_worker::perform::perform;
use wattle_workspace::{Class, CommitId, Want};

use super::attempt::{place, release};
use super::input::Input;
use super::jobs::owner;
use super::lead::LeadTalk;
use super::shared::Shared;

/// Turns of a lead that splits a step: it knows the plan, and looks at a few files.
const SPLIT_TURNS_MAX: u32 = 20;
/// Proposals of parts that go back to the lead; as many as for a whole plan.
const PROPOSALS_MAX: u32 = 4;

/// What the lead is asked.
pub(crate) struct ConsultJob {
    /// For which step.
    pub(crate) step: StepId,
    /// Id of the run.
    pub(crate) run: String,
    /// Words or parts.
    pub(crate) task: LeadTask,
    /// The question, or the request for parts, Markdown.
    pub(crate) request: String,
    /// The lead's conversation, where there is one.
    pub(crate) talk: Option<LeadTalk>,
    /// Name of the model.
    pub(crate) model: Option<String>,
    /// The brief of the run.
    pub(crate) brief: String,
    /// How long that stays in the provider's cache.
    pub(crate) prefix_ttl: PrefixTtl,
    /// Instructions of the repository beside those of the brief.
    pub(crate) instructions: Instructions,
    /// The commit to look at.
    pub(crate) look: CommitId,
}

/// The host of a lead that is asked while a run goes on.
struct ConsultHost {
    inputs: Sender<Input>,
    step: StepId,
    cancel: CancellationToken,
}

impl Host for ConsultHost {
    fn send(&self, message: Message) -> Pending<'_> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inputs.send(Input::Lead { step: self.step.clone(), message, reply });
        let cancel = self.cancel.clone();
        Box::pin(async move {
            if sent.is_err() {
                return Reply::Cancel;
            }
            tokio::select! {
                biased;
                reply = answer => reply.unwrap_or(Reply::Cancel),
                () = cancel.cancelled() => Reply::Cancel,
            }
        })
    }

    fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

/// Asks; the outcome's report is the answer.
pub(crate) async fn consult(shared: Arc<Shared>, job: ConsultJob, cancel: CancellationToken) -> Outcome {
    let failed = |message: String| Outcome {
        end: End::Failed { cause: Cause::Environment, message },
        report: String::new(),
        commit: None,
        check: None,
        evidence: Evidence::default(),
    };
    let (model, wire) = match shared.models.find(job.model.as_deref()).await {
        Ok(found) => found,
        Err(error) => return failed(error.to_string()),
    };
    let lease = match job.task {
        LeadTask::Answer => None,
        LeadTask::Plan => {
            let holder = format!("{}/{}/lead", job.run, job.step);
            let want = Want { class: Class::Snapshot, base: job.look.clone(), holder, setup_key: None };
            match shared.lease(want).await {
                Ok(leased) => Some(leased),
                Err(error) => return failed(error.to_string()),
            }
        }
    };
    // Who only answers looks at nothing.
    let nowhere = || Place { path: shared.temp.clone(), slot: 0, base: job.look.clone() };
    let assignment = assignment(&job, wire, lease.as_ref().map_or_else(nowhere, |(lease, _)| place(lease)));
    let host = Arc::new(ConsultHost { inputs: shared.inputs.clone(), step: job.step.clone(), cancel });
    let outcome = perform(Assignment::Lead(assignment), host, shared.tools(Some(model))).await;
    if let Some((lease, _at_work)) = lease {
        release(&shared, lease).await;
    }
    outcome
}

fn assignment(job: &ConsultJob, model: String, place: Place) -> LeadAssignment {
    let fork = job.talk.as_ref().map(|talk| Fork { messages: talk.messages.clone(), read: talk.read.clone() });
    let max_turns = match job.task {
        LeadTask::Plan => SPLIT_TURNS_MAX,
        LeadTask::Answer => 1,
    };
    LeadAssignment {
        owner: owner(&job.run, "", 0),
        place,
        task: job.task,
        request: job.request.clone(),
        agent: AgentWork {
            prompt: String::new(),
            model,
            max_turns,
            max_nano_usd: None,
            tools: Vec::new(),
            brief: job.brief.clone(),
            prefix_ttl: job.prefix_ttl,
            fork,
            instructions: job.instructions.clone(),
            definition: None,
        },
        plan_schema: submit_plan_schema().to_string(),
        proposals_max: PROPOSALS_MAX,
    }
}
