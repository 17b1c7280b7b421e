//! Beginning a run and going on with one: the lock, the frozen inputs, the dispatcher, the end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wattle_planner::{Plan, Problems, StepId, parse_plan};
use wattle_worker::host::Usage;
use wattle_worker::outcome::Cause;
use wattle_workspace::{
    CommitId, Expect, Facts, GitError, Head, LockError, LockInfo, OwnerLock, Pool, PoolError, PoolOptions, RefChange,
    RefError, StaleError,
};

use super::brief::of_run;
use super::context::Context;
use super::definitions::{self, Named};
use super::dispatcher::exit_code;
use super::drive::Drive;
use super::lead::LeadTalk;
use super::limits::prefix_ttl;
use super::models;
use super::overlay;
use super::recover::{RecoverError, died, kept_slots, recover};
use super::rules;
use super::shape::configure;
use crate::ids::{Blob, RunId};
use crate::journal::event::{Base, Body, Event, RunStarted};
use crate::journal::recorder::RecordError;
use crate::journal::store::event;
use crate::journal::{JournalError, Recorder, RunView, Writer};
use crate::options::{Approve, RunOptions};
use crate::queue::land::branch_ref;
use crate::state::Machine;
use crate::state::run::{Run, RunEvent};
use crate::state::step::Step as State;

/// What a run is asked to do.
pub(crate) struct RunRequest {
    /// Name of the plan file.
    pub(crate) plan_name: String,
    /// Its text.
    pub(crate) plan_text: String,
    /// Every file that the plan names, by path.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The options.
    pub(crate) options: RunOptions,
    /// What the lead has spent on the plan.
    pub(crate) lead_usage: Vec<Usage>,
    /// Under which id the lead's rows are in the journal already.
    pub(crate) planning: Option<RunId>,
    /// The lead's conversation.
    pub(crate) talk: Option<LeadTalk>,
    /// Does the run stop at the plan?
    pub(crate) stop_at_plan: bool,
    /// Folder from which scripts of the scripted model are found.
    pub(crate) folder: PathBuf,
}

/// Options that a resume changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// Workers at once.
    pub(crate) jobs: Option<u32>,
    /// Money cap, in nano-dollars.
    pub(crate) nano_usd_max: Option<u64>,
    /// Token cap.
    pub(crate) tokens_max: Option<u64>,
    /// The model.
    pub(crate) model: Option<String>,
    /// Does the run go on until everything is landed?
    pub(crate) merge: Option<Vec<wattle_planner::StepId>>,
    /// Folder from which scripts of the scripted model are found.
    pub(crate) folder: PathBuf,
}

/// How a run was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunEnd {
    /// Its id.
    pub(crate) run: RunId,
    /// Its state.
    pub(crate) state: Run,
    /// Exit code.
    pub(crate) exit: u8,
}

/// Why a run did not begin or could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// Another process owns the repository.
    #[error("own this repository: another wattle is live here{}", holder.as_ref().map(|h| format!(" (pid {} on {}, since {})", h.pid, h.host, h.since)).unwrap_or_default())]
    Busy {
        /// Who.
        holder: Option<LockInfo>,
    },
    /// The repository has no commit.
    #[error("find a base commit: the repository has no commit yet")]
    Empty,
    /// Nothing says which branch to land on.
    #[error("choose a target branch: HEAD is detached")]
    Detached,
    /// The base is no commit.
    #[error("find the base `{0}`: there is no such commit")]
    NoBase(String),
    /// The target is no branch name.
    #[error("land on `{0}`: no branch can have this name here")]
    BadTarget(String),
    /// Our branches have no room.
    #[error("make branches below wattle/: {by} is in the way")]
    Occupied {
        /// The ref in the way.
        by: String,
    },
    /// The plan is not valid.
    #[error("{0}")]
    Plan(#[from] Problems),
    /// A rule of the plan cannot be used.
    #[error(transparent)]
    Rule(#[from] rules::RuleProblem),
    /// Landing without checks was not asked for.
    #[error("land without checks: --approve auto needs checks, or a literal `checks: []`")]
    NoChecks,
    /// The verb that the run was to begin with was refused.
    #[error(transparent)]
    Refused(crate::journal::command::Refusal),
    /// A step has left no work.
    #[error("find work of {0}: it has left none")]
    NoWork(String),
    /// A branch of the asked name is at something else.
    #[error("restore to {0}: there is such a branch, at another commit")]
    BranchTaken(String),
    /// The lead proposed no valid plan.
    #[error("plan the task: {message}")]
    Lead {
        /// Why.
        cause: Cause,
        /// In words.
        message: String,
    },
    /// A signal, before there was a run to park.
    #[error("plan the task: interrupted; nothing was started")]
    Interrupted,
    /// A model is missing.
    #[error(transparent)]
    Model(#[from] super::models::ModelError),
    /// The lock cannot be taken.
    #[error("{0}")]
    Lock(String),
    /// The journal failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The slots failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A ref could not be moved.
    #[error(transparent)]
    Ref(#[from] RefError),
    /// What a user committed by hand could not be taken in.
    #[error(transparent)]
    Theirs(#[from] super::theirs::TheirsError),
    /// The world could not be brought in line.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// An owner that died has left its git at work, or a lock that cannot be removed.
    #[error(transparent)]
    Stale(#[from] StaleError),
    /// The machine refused.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl From<JournalError> for RunError {
    fn from(error: JournalError) -> Self {
        Self::Record(RecordError::Journal(error))
    }
}

impl From<crate::journal::blob::BlobError> for RunError {
    fn from(error: crate::journal::blob::BlobError) -> Self {
        Self::Record(RecordError::Blob(error))
    }
}

/// Takes the owner's lock.
pub(crate) fn own(ctx: &Context, run: Option<&RunId>) -> Result<OwnerLock, RunError> {
    let info = LockInfo {
        pid: std::process::id(),
        host: ctx.host.clone(),
        since: crate::clock::rfc3339(ctx.clock.now_ms()),
        run: run.map(ToString::to_string),
    };
    let mut lock = OwnerLock::acquire(&ctx.repo, &info).map_err(|error| match error {
        LockError::Held(holder) => RunError::Busy { holder },
        error @ LockError::Io { .. } => RunError::Lock(error.to_string()),
    })?;
    for id in ctx.repo.mend_after_cut(lock.died())? {
        tracing::warn!(%id, "removed an object that had lost its content");
    }
    if lock.died().is_some() || ctx.repo.is_to_bury() {
        ctx.repo.bury()?;
        lock.settle();
    }
    Ok(lock)
}

/// Something that no other id has.
pub(crate) fn random() -> u128 {
    let state = std::collections::hash_map::RandomState::new();
    u128::from(std::hash::BuildHasher::hash_one(&state, std::process::id()))
}

/// Begins a run and drives it to its end.
pub(crate) fn start(ctx: &Context, request: RunRequest, sink: &mut dyn FnMut(&Event)) -> Result<RunEnd, RunError> {
    let plan = parse_plan(&request.plan_name, &request.plan_text)?;
    if request.options.approve == Approve::Auto && plan.checks().is_none() {
        return Err(RunError::NoChecks);
    }
    let run = RunId::new(ctx.clock.now_ms(), random());
    let agents = agents_of(ctx, &request.plan_name, &plan, &request.options)?;
    models::require(&ctx.models, &request.folder, &plan, &agents.used, request.options.model.as_deref(), |_| true)?;
    rules::require(&plan, &request.files)?;
    let lock = own(ctx, Some(&run))?;
    let (base, target, facts) = base_and_target(ctx, &plan, &request.options)?;
    // Somebody may have moved the branch since the definitions were looked at.
    let agents = definitions::named(ctx, &request.plan_name, &plan, &base.commit)?;
    room_for_branches(ctx, &run, &base.commit)?;
    make_target(ctx, &target, &base.commit)?;
    configure(&ctx.repo, &base.commit, &plan)?;
    let writer = Writer::open(ctx.repo.state_dir())?;
    let (started, warnings) = freeze(ctx, &writer, &request, &plan, agents, (base, facts, target))?;
    let mut rec = first(ctx, writer, &run, started, plan)?;
    for (bound, message) in warnings {
        rec.emit(Body::BoundHit { step: None, bound: bound.to_owned(), message })?;
    }
    for usage in request.lead_usage {
        rec.emit(Body::Usage { step: None, attempt: 0, usage: Box::new(usage) })?;
    }
    if request.stop_at_plan {
        let plan = rec.view.started.plan.clone();
        rec.emit(Body::PlanReady { plan })?;
        rec.run(RunEvent::PlanReady, None)?;
        let exit = if rec.view.started.options.until_explicit { 0 } else { exit_code(&rec) };
        let finished = rec.finished(exit);
        rec.emit(finished)?;
        rec.commit()?.iter().for_each(&mut *sink);
        return Ok(RunEnd { run, state: rec.view.state, exit });
    }
    rec.run(RunEvent::Start, None)?;
    tell_slots(&mut rec)?;
    let pool = open_pool(ctx, &rec.view)?;
    let kept = kept_slots(&rec.writer.reader, &pool)?;
    for salvaged in pool.recover(&kept)? {
        rec.emit(Body::Salvaged { slot: salvaged.slot.0, name: salvaged.name, commit: salvaged.commit })?;
    }
    let drive = Drive { folder: &request.folder, lands_only: false };
    drive.run(ctx, rec, pool, lock, sink)
}

/// Goes on with a run.
pub(crate) fn resume(
    ctx: &Context,
    run: &RunId,
    overrides: &Overrides,
    sink: &mut dyn FnMut(&Event),
) -> Result<RunEnd, RunError> {
    let lock = own(ctx, Some(run))?;
    let writer = Writer::open(ctx.repo.state_dir())?;
    let view = writer.reader.replay(run)?;
    let model = overrides.model.as_deref().or(view.started.options.model.as_deref());
    let open = |step: &StepId| overrides.merge.is_none() && may_start(&view, step);
    models::require(&ctx.models, &overrides.folder, &view.plan, &view.started.agents, model, open)?;
    configure(&ctx.repo, &view.started.base.commit, &view.plan)?;
    let pool = open_pool(ctx, &view)?;
    let mut rec = Recorder::new(view, writer, ctx.clock.clone())?;
    if died(&rec) {
        rec.run(RunEvent::Interrupt, Some("died"))?;
    }
    tell_slots(&mut rec)?;
    wattle_worker::process::end_leftovers(run.as_str());
    let lands_only = overrides.merge.is_some();
    let tip = recover(&mut rec, &ctx.repo, &pool, lands_only)?;
    super::theirs::take_in(&mut rec, &ctx.repo, |_| true)?;
    match rec.view.state {
        Run::PlanReady | Run::Planning => rec.run(RunEvent::Start, None)?,
        Run::Review | Run::NeedsInput | Run::Parked | Run::Budget | Run::BaseRed | Run::Interrupted => {
            rec.run(RunEvent::Resume, None)?;
        }
        Run::Completed | Run::Failed => rec.run(RunEvent::Resume, None)?,
        Run::Running => {}
    }
    let mut options = rec.view.started.options.clone();
    options.jobs = overrides.jobs.unwrap_or(options.jobs);
    options.nano_usd_max = overrides.nano_usd_max.or(options.nano_usd_max);
    options.tokens_max = overrides.tokens_max.or(options.tokens_max);
    options.model = overrides.model.clone().or(options.model);
    rec.emit(Body::Resumed { options, tip })?;
    if let Some(steps) = &overrides.merge {
        let verb = crate::journal::command::Verb::Merge { steps: steps.clone() };
        crate::journal::command::apply(&mut rec, &verb, &ctx.who, true).map_err(|error| match error {
            crate::journal::command::VerbError::Refused(refusal) => RunError::Refused(refusal),
            crate::journal::command::VerbError::Record(error) => RunError::Record(error),
        })?;
    }
    let drive = Drive { folder: &overrides.folder, lands_only };
    drive.run(ctx, rec, pool, lock, sink)
}

/// May a worker of this step still be started, as far as can be seen now?
pub(crate) fn may_start(view: &RunView, step: &StepId) -> bool {
    match view.step(step).state {
        State::Review | State::Approved | State::Queued | State::Landing => false,
        state => !state.terminal(),
    }
}

fn open_pool(ctx: &Context, view: &RunView) -> Result<Arc<Pool>, RunError> {
    let disk_bytes_max = view.started.options.disk_bytes_max;
    let clean_ignored = view.started.options.clean_ignored;
    let back_end = overlay::back_end(view.started.options.slots);
    Ok(Arc::new(Pool::open(&ctx.repo, PoolOptions { disk_bytes_max, clean_ignored, back_end })?))
}

/// Says so when the slots are not what was asked for.
fn tell_slots(rec: &mut Recorder) -> Result<(), RecordError> {
    match overlay::refusal(rec.view.started.options.slots) {
        None => Ok(()),
        Some(message) => rec.emit(Body::BoundHit { step: None, bound: "slots".to_owned(), message }),
    }
}

/// The agent definitions that a plan names, at the base that a run would have now. Nothing is asked of a repository
/// for a plan that names none.
pub(crate) fn agents_of(ctx: &Context, plan_name: &str, plan: &Plan, options: &RunOptions) -> Result<Named, RunError> {
    if !definitions::asked(plan) {
        return Ok(Named::default());
    }
    let (base, _, _) = base_and_target(ctx, plan, options)?;
    definitions::named(ctx, plan_name, plan, &base.commit)
}

fn base_and_target(ctx: &Context, plan: &Plan, options: &RunOptions) -> Result<(Base, String, Facts), RunError> {
    let facts = ctx.repo.facts()?;
    let (branch, head) = match &facts.head {
        Head::Branch { name, commit } => (Some(name.clone()), commit.clone()),
        Head::Detached { commit } => (None, Some(commit.clone())),
    };
    let named = options.target.clone().or_else(|| plan.target().map(str::to_owned));
    let target = named.or(branch).ok_or(RunError::Detached)?;
    if !is_branch_name(&target) {
        return Err(RunError::BadTarget(target));
    }
    let at = ctx.repo.read_ref(&branch_ref(&target)).map_err(|_| RunError::BadTarget(target.clone()))?;
    let commit = match (&options.base, &at, &head) {
        (Some(rev), _, _) => ctx.repo.resolve(rev)?.ok_or_else(|| RunError::NoBase(rev.clone()))?,
        (None, Some(commit), _) => commit.clone(),
        (None, None, Some(head)) => head.clone(),
        (None, None, None) => return Err(RunError::Empty),
    };
    let upstream = facts.upstream.clone();
    let base = Base {
        commit,
        ahead: upstream.as_ref().map_or(0, |u| u.ahead as usize),
        behind: upstream.as_ref().map_or(0, |u| u.behind as usize),
        upstream: upstream.map(|u| u.name),
        dirty: facts.dirty.clone(),
    };
    Ok((base, target, facts))
}

/// Can a branch have this name, by git's rules for refs?
pub(crate) fn is_branch_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let whole = !name.starts_with('-') && !name.ends_with('.') && !["@", "HEAD"].contains(&name);
    whole && !name.contains(forbidden) && !name.contains("..") && !name.contains("@{") && name.split('/').all(part)
}

/// A target that is not there begins at the base.
fn make_target(ctx: &Context, target: &str, base: &CommitId) -> Result<(), RunError> {
    if ctx.repo.read_ref(&branch_ref(target))?.is_some() {
        return Ok(());
    }
    let made = RefChange { name: branch_ref(target), new: Some(base.clone()), old: Expect::Absent };
    ctx.repo.update_refs(&[made], "wattle: target").map_err(|error| match error {
        RefError::Git(_) | RefError::Occupied { .. } => RunError::BadTarget(target.to_owned()),
        error @ RefError::Moved { .. } => RunError::Ref(error),
    })
}

/// A user's branch named `wattle` (or below it) leaves no room for ours: found out before anything runs.
fn room_for_branches(ctx: &Context, run: &RunId, base: &CommitId) -> Result<(), RunError> {
    let name = format!("refs/heads/wattle/{run}/probe");
    let make = RefChange { name, new: Some(base.clone()), old: Expect::Absent };
    match ctx.repo.try_refs(&[make]) {
        Ok(()) => Ok(()),
        Err(RefError::Occupied { by, .. }) => Err(RunError::Occupied { by }),
        Err(error @ (RefError::Moved { .. } | RefError::Git(_))) => Err(error.into()),
    }
}

/// What could not be taken as it is written: what it is about, and the words.
type Warning = (&'static str, String);

fn freeze(
    ctx: &Context,
    writer: &Writer,
    request: &RunRequest,
    plan: &Plan,
    agents: Named,
    (base, facts, target): (Base, Facts, String),
) -> Result<(RunStarted, Vec<Warning>), RunError> {
    let blobs = &writer.reader.blobs;
    let mut files: BTreeMap<String, Blob> = BTreeMap::new();
    for (path, bytes) in &request.files {
        files.insert(path.clone(), blobs.put(bytes)?);
    }
    let brief = of_run(&ctx.repo, &base.commit, &facts, plan)?;
    let instructions = serde_json::to_vec(&brief.instructions).expect("instructions are plain data");
    for text in &agents.texts {
        blobs.put(text.as_bytes())?;
    }
    let warnings = brief.warnings.iter().cloned().map(|message| ("instructions", message));
    let warnings = warnings.chain(agents.warnings.into_iter().map(|message| ("agents", message))).collect();
    let started = RunStarted {
        name: request.options.name.clone().unwrap_or_else(|| wattle_planner::headline(plan.task())),
        task: plan.task().to_owned(),
        target,
        plan_name: request.plan_name.clone(),
        plan: blobs.put(request.plan_text.as_bytes())?,
        files,
        brief: blobs.put(brief.text().as_bytes())?,
        options: request.options.clone(),
        isolation: "none".to_owned(),
        pid: std::process::id(),
        by: ctx.who.clone(),
        planning: request.planning.clone(),
        lead: request.talk.as_ref().map(|talk| blobs.put(&to_json(talk))).transpose()?,
        prefix_ttl: prefix_ttl(&writer.reader)?,
        instructions: Some(blobs.put(&instructions)?),
        agents: agents.used,
        base,
    };
    Ok((started, warnings))
}

fn to_json(talk: &LeadTalk) -> Vec<u8> {
    serde_json::to_vec(talk).expect("a conversation is plain data")
}

fn first(ctx: &Context, writer: Writer, run: &RunId, started: RunStarted, plan: Plan) -> Result<Recorder, RunError> {
    let seq = writer.last_seq()? + 1;
    let body = Body::RunStarted(Box::new(started.clone()));
    let first = event(seq, ctx.clock.now_ms(), run, body.clone());
    let view = RunView::begin(&first, &started, Arc::new(plan));
    let tip = ctx.repo.read_ref(&branch_ref(&started.target))?.unwrap_or(started.base.commit.clone());
    let mut rec = Recorder::new(view, writer, ctx.clock.clone())?;
    rec.emit(body)?;
    if tip != started.base.commit {
        rec.emit(Body::TargetMoved { tip })?;
    }
    Ok(rec)
}
