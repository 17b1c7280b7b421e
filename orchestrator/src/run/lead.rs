//! The lead: an agent that explores a snapshot and proposes the steps of a plan.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::PrefixTtl;
use wattle_planner::{Frame, lead_request, plan_from_reply, submit_plan_schema};
use wattle_worker::assignment::{AgentWork, Assignment, LeadAssignment, LeadTask, Place};
use wattle_worker::host::{Host, Message, Pending, Proposal, Reply, StepResult, Usage};
use wattle_worker::outcome::{Cause, End};
use wattle_worker::perform::Tools;
use wattle_worker::perform::perform;
use wattle_workspace::{BlobId, Class, CommitId, Pool, PoolOptions, Want};

use super::begin::{RunError, own, random};
use super::brief::brief;
use super::context::Context;
use super::jobs::owner;
use super::limits::{Budget, Caps, Claim, Grant, settled};
use super::models::{Models, look};
use crate::clock::Clock;
use crate::ids::RunId;
use crate::journal::event::Body;
use crate::journal::record::Spent;
use crate::journal::store::event;
use crate::journal::{JournalError, Writer};

/// Turns of the lead at most: exploring a large repository took comparable agents about forty calls.
const TURNS_MAX: u32 = 60;
/// How many proposals with problems go back to the lead. A model that fails three times at the same schema
/// does not find it at the fourth.
const PROPOSALS_MAX: u32 = 4;

/// What the lead is asked.
pub(crate) struct LeadRequest<'a> {
    /// The task.
    pub(crate) task: &'a str,
    /// What the plan takes from flags and configuration, never from the model.
    pub(crate) frame: Frame,
    /// The commit to look at.
    pub(crate) base: CommitId,
    /// The model.
    pub(crate) model: Option<&'a str>,
    /// The caps.
    pub(crate) caps: Caps,
    /// Folder from which scripts of the scripted model are found.
    pub(crate) folder: &'a Path,
}

/// What the lead has made.
pub(crate) struct LeadPlan {
    /// The plan file.
    pub(crate) yaml: String,
    /// What it cost.
    pub(crate) usage: Vec<Usage>,
    /// Under which id its rows are in the journal.
    pub(crate) planning: RunId,
    /// Its conversation.
    pub(crate) talk: LeadTalk,
    /// Why each draft before it was sent back.
    pub(crate) sent_back: Vec<String>,
}

/// The conversation of a lead, as a run keeps it: who goes on from it sends these very bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeadTalk {
    /// Name of the model, as it was asked for; `None` = the only one there is.
    pub(crate) model: Option<String>,
    /// Its messages, verbatim JSON, oldest first.
    pub(crate) messages: Vec<String>,
    /// Files it has read, with what it saw.
    pub(crate) read: Vec<(String, BlobId)>,
}

/// Writes the rows of a planning as they come: it has no run yet, and may never have one, but it has cost money.
struct Book {
    writer: Writer,
    clock: Arc<dyn Clock>,
    planning: RunId,
}

impl Book {
    fn write(&mut self, usage: Usage) -> Result<(), JournalError> {
        let seq = self.writer.last_seq()? + 1;
        let body = Body::Usage { step: None, attempt: 0, usage: Box::new(usage) };
        let event = event(seq, self.clock.now_ms(), &self.planning, body);
        self.writer.append(&self.planning, &[event], &[], &[])
    }
}

struct LeadHost {
    task: String,
    frame: Frame,
    state: Mutex<LeadState>,
    cancel: CancellationToken,
}

struct LeadState {
    yaml: Option<String>,
    /// The plan that it was asked to look at again: it can be run, and is paid for.
    doubted: Option<String>,
    messages: BTreeMap<u32, String>,
    sent_back: Vec<String>,
    usage: Vec<Usage>,
    spent: Spent,
    budget: Budget<()>,
    book: Book,
    /// Why the provider refuses every request.
    refused: Option<String>,
}

impl LeadState {
    fn back(&mut self, reason: String) -> Reply {
        self.sent_back.push(reason.clone());
        Reply::Refused { reason }
    }

    fn used(&mut self, usage: Usage) -> Reply {
        self.budget.settle(&());
        self.spent.nano_usd += usage.nano_usd.unwrap_or(0);
        self.spent.uncached_in += usage.uncached_in + usage.cache_read + usage.cache_write;
        self.spent.out += usage.out;
        self.usage.push(usage.clone());
        match self.book.write(usage) {
            Ok(()) => Reply::Ack { seq: 0 },
            Err(error) => Reply::Refused { reason: error.to_string() },
        }
    }
}

impl LeadHost {
    fn reply(&self, message: Message) -> Reply {
        let mut state = self.state.lock().expect("no holder panics");
        match message {
            Message::Usage(usage) => state.used(*usage),
            Message::Result(StepResult::Turn { index, json, usage }) => {
                state.messages.insert(index, json);
                usage.map_or(Reply::Ack { seq: 0 }, |usage| state.used(*usage))
            }
            Message::Result(StepResult::Refused { message, .. }) => {
                state.refused = Some(message);
                Reply::Cancel
            }
            Message::Reserve { tokens, nano_usd } => {
                let claim = Claim { tokens, nano_usd: nano_usd.unwrap_or(0) };
                let spent = settled(&state.spent);
                match state.budget.reserve((), claim, spent) {
                    Grant::Granted | Grant::Wait => Reply::Granted,
                    Grant::Refused(reason) => Reply::Refused { reason },
                }
            }
            Message::Propose(Proposal::Plan { json }) => match plan_from_reply(&self.task, &json, &self.frame) {
                // A plan that comes again with what was doubted is meant so.
                Ok(submitted) if !submitted.doubts.is_empty() && state.doubted.is_none() => {
                    state.doubted = Some(submitted.yaml);
                    state.back(submitted.doubts.join("\n"))
                }
                Ok(submitted) => {
                    state.yaml = Some(submitted.yaml);
                    Reply::Ack { seq: 0 }
                }
                Err(problems) => state.back(problems.to_string()),
            },
            Message::Propose(Proposal::Record { .. } | Proposal::Split { .. }) | Message::Ask { .. } => {
                Reply::Refused { reason: "the lead proposes a plan and asks nothing".to_owned() }
            }
            Message::Intent(_) | Message::Result(_) => Reply::Ack { seq: 0 },
        }
    }
}

impl Host for LeadHost {
    fn send(&self, message: Message) -> Pending<'_> {
        let reply = if self.cancel.is_cancelled() { Reply::Cancel } else { self.reply(message) };
        Box::pin(async move { reply })
    }

    fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

/// Runs the lead on a snapshot of the base.
pub(crate) fn lead(ctx: &Context, request: LeadRequest<'_>) -> Result<LeadPlan, RunError> {
    look(&ctx.models, request.folder, request.model)?;
    let lock = own(ctx, None)?;
    ctx.repo.configure(&request.base)?;
    let pool = Pool::open(&ctx.repo, PoolOptions::default())?;
    let want = Want { class: Class::Snapshot, base: request.base.clone(), holder: "lead".to_owned(), setup_key: None };
    let lease = pool.lease(&want)?;
    let place = Place { path: lease.path.clone(), slot: lease.slot.0, base: lease.base.clone() };
    let result = explore(ctx, request, place);
    // The plan is paid for: a slot that cannot be given back is no reason to drop it.
    if let Err(error) = pool.release(lease) {
        tracing::warn!(%error, "the lead's snapshot was not given back");
    }
    drop(lock);
    result
}

/// The lead's model, tools, bounds and what it is told.
fn agent(ctx: &Context, request: &LeadRequest<'_>, wire: String) -> Result<AgentWork, RunError> {
    let brief = brief(&ctx.repo, &request.base, &ctx.repo.facts()?, request.task)?;
    Ok(AgentWork {
        prompt: String::new(),
        model: wire,
        max_turns: TURNS_MAX,
        max_nano_usd: None,
        tools: Vec::new(),
        brief: brief.text(),
        prefix_ttl: PrefixTtl::FiveMinutes,
        fork: None,
        instructions: brief.instructions,
        definition: None,
    })
}

fn explore(ctx: &Context, request: LeadRequest<'_>, place: Place) -> Result<LeadPlan, RunError> {
    let io = |action| move |source| RunError::Io { action, source };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(io("start the runtime"))?;
    let temp = tempfile::tempdir_in(&ctx.temp).map_err(io("make a scratch folder"))?;
    let models = Models::new(ctx, request.folder, PrefixTtl::FiveMinutes);
    let (model, wire) = runtime.block_on(models.find(request.model))?;
    let agent = agent(ctx, &request, wire)?;
    let planning = RunId::new(ctx.clock.now_ms(), random());
    let host = Arc::new(LeadHost {
        task: request.task.to_owned(),
        frame: request.frame,
        state: Mutex::new(LeadState {
            yaml: None,
            doubted: None,
            messages: BTreeMap::new(),
            sent_back: Vec::new(),
            usage: Vec::new(),
            spent: Spent::default(),
            budget: Budget::new(request.caps),
            book: Book { writer: Writer::open(ctx.repo.state_dir())?, clock: ctx.clock.clone(), planning },
            refused: None,
        }),
        cancel: CancellationToken::new(),
    });
    let assignment = Assignment::Lead(LeadAssignment {
        owner: owner("lead", "", 0),
        place,
        task: LeadTask::Plan,
        request: lead_request(request.task, ""),
        agent,
        plan_schema: submit_plan_schema().to_string(),
        proposals_max: PROPOSALS_MAX,
    });
    let (repo, base_env, servers) = (ctx.repo.clone(), ctx.child_env.clone(), ctx.servers.clone());
    let tools = Tools { repo, model: Some(model), temp: temp.path().to_owned(), base_env, servers };
    end_on_signal(&runtime, host.cancel.clone());
    let outcome = runtime.block_on(perform(assignment, host.clone(), Arc::new(tools)));
    let mut state = host.state.lock().expect("no holder panics");
    // A lead that has nothing to add to a plan which was only doubted stands by it.
    let stands = state.doubted.take().filter(|_| outcome.end != End::Parked);
    match (state.yaml.take().or(stands), outcome.end) {
        (Some(yaml), _) => {
            let planning = state.book.planning.clone();
            let talk = LeadTalk {
                model: request.model.map(str::to_owned),
                messages: up_to_its_words(std::mem::take(&mut state.messages)),
                read: outcome.evidence.read,
            };
            let (usage, sent_back) = (std::mem::take(&mut state.usage), std::mem::take(&mut state.sent_back));
            Ok(LeadPlan { yaml, usage, planning, talk, sent_back })
        }
        (None, End::Parked) => Err(match state.refused.take() {
            Some(message) => RunError::Lead { cause: Cause::ModelRefused, message },
            None => RunError::Interrupted,
        }),
        (None, End::Failed { cause, message }) => Err(RunError::Lead { cause, message }),
        (None, End::Done | End::Committed | End::Unchanged | End::NeedsInput { .. }) => {
            Err(RunError::Lead { cause: Cause::Turns, message: "the lead ended without a plan".to_owned() })
        }
    }
}

/// A conversation up to what the lead has said last: whoever goes on from it says the next word.
fn up_to_its_words(messages: BTreeMap<u32, String>) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct RoleForm<'a> {
        role: &'a str,
    }
    let by_lead = |json: &String| serde_json::from_str::<RoleForm<'_>>(json).is_ok_and(|form| form.role == "assistant");
    let mut messages: Vec<String> = messages.into_values().collect();
    while messages.last().is_some_and(|last| !by_lead(last)) {
        messages.pop();
    }
    messages
}

/// From here on a signal ends the lead, and nothing else.
fn end_on_signal(runtime: &tokio::runtime::Runtime, cancel: CancellationToken) {
    let signals = runtime.block_on(async { (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) });
    if let (Ok(mut interrupt), Ok(mut terminate)) = signals {
        runtime.spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            cancel.cancel();
        });
    }
}
