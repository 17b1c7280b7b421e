//! What an effect needs, taken out of the run's state: plain data for the executor.

use wattle_planner::{Plan, RuleSource, Step, StepId, Undo};
use wattle_worker::assignment::{
    AgentWork, Bounds, Command, CommitForm, Mode, NeedReport, Owner, Repair, Rewrite, Work,
};
use wattle_worker::outcome::{Cause, Evidence};
use wattle_worker::tool;
use wattle_workspace::{CommitId, Signature};

use crate::ids::LandingId;
use crate::journal::RunView;
use crate::journal::blob::{BlobError, Blobs};
use crate::journal::event::{self, Entry};
use crate::journal::record::{AttemptRecord, LandingRecord};
use crate::queue::checks::of_step;
use crate::queue::land::{CandidateJob, Part, attempt_ref, message, reverts, step_ref};
use crate::queue::plan::gathered_in_order;
use crate::run::conversation::Conversation;
use crate::run::definitions::{self, Guidance};
use crate::run::scheduler::below;

/// Output of one process that is kept, head and tail together. 256 KiB holds the errors of a large
/// build and keeps a run of a thousand steps below 300 MB.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 256 << 10;
/// A needed step's report is passed on whole up to this; more is a file's work.
const REPORT_BYTES_MAX: usize = 64 << 10;

/// Landings whose commits are looked at for another to begin with, newest first. Those on the present tip are among
/// the newest: a queue has a few dozen.
const REUSE_MAX: usize = 64;

/// One attempt of one step.
pub(crate) struct AttemptJob {
    /// The step.
    pub(crate) step: Step,
    /// Id of the run.
    pub(crate) run: String,
    /// Number of the attempt.
    pub(crate) attempt: u32,
    /// The tip that its base holds.
    pub(crate) tip: CommitId,
    /// Unlanded commits that its base holds.
    pub(crate) on: Vec<Entry>,
    /// The base of an interrupted try that goes on, with the unlanded commits in it.
    pub(crate) resumed: Option<(CommitId, Vec<Entry>)>,
    /// The change that only has to move to the new base.
    pub(crate) restack: Option<event::Work>,
    /// Changes whose inverse is all that it has to do, newest first.
    pub(crate) undo: Vec<Undo>,
    /// An earlier change that this worker goes on from.
    pub(crate) earlier: Option<(CommitId, CommitId)>,
    /// What an interrupted try has left.
    pub(crate) committed: Option<CommitId>,
    /// Why the executor that left that commit had failed.
    pub(crate) failed: Option<(Cause, String)>,
    /// What it has spent, in nano-dollars.
    pub(crate) spent_nano_usd: u64,
    /// Messages of its conversation.
    pub(crate) messages: Vec<String>,
    /// Edits of what is shown of them.
    pub(crate) views: Vec<String>,
    /// What its tools did.
    pub(crate) evidence: Vec<(String, Evidence)>,
    /// Words for its worker.
    pub(crate) feedback: Vec<String>,
    /// Reports of the steps it needs.
    pub(crate) needs: Vec<NeedReport>,
    /// Where the step's branch is, as far as the run knows.
    pub(crate) branch_at: Option<CommitId>,
    /// Its own check.
    pub(crate) check: Option<Command>,
    /// Its work, without a model's name on the wire.
    pub(crate) work: Work,
    /// Its repair.
    pub(crate) repair: Option<Repair>,
    /// Name of its model; `None` = it asks none, or none is set.
    pub(crate) model: Option<String>,
    /// Name of the model of its repair.
    pub(crate) repair_model: Option<String>,
    /// How its commit is made.
    pub(crate) commit: Option<CommitForm>,
    /// Command and key files of the setup.
    pub(crate) setup: Option<(Command, Vec<String>)>,
    /// Did its patch have an approval?
    pub(crate) approved: bool,
}

/// Seconds since the epoch of a journal's time.
fn seconds(ts: &str) -> i64 {
    ts.parse::<jiff::Timestamp>().map_or(0, |time| time.as_second())
}

/// Takes an attempt out of the state. The attempt is already in it.
pub(crate) fn attempt_job(
    view: &RunView,
    blobs: &Blobs,
    id: &StepId,
    identity: &Signature,
) -> Result<AttemptJob, BlobError> {
    let step = view.plan.step(id).expect("the scheduler starts steps of the plan").clone();
    let record = view.step(id);
    let attempt = record.attempts.last().expect("an attempt was begun");
    let restack = attempt.restack.then(|| record.work.clone()).flatten();
    let text = |blob| blobs.text(blob);
    let conversation = Conversation::of(if record.fresh { &[] } else { &record.attempts });
    let messages = conversation.messages.iter().map(text).collect::<Result<_, _>>()?;
    let views = conversation.views.iter().map(text).collect::<Result<_, _>>()?;
    let evidence = conversation.evidence(blobs);
    let brief = text(&view.started.brief)?;
    let named = |work: &wattle_planner::Work| model_of(view, work);
    let (model, repair_model) = (named(&step.work), step.repair.as_ref().and_then(|repair| named(&repair.work)));
    let earlier = earlier(&record.attempts).filter(|_| !record.fresh);
    let mut files = std::collections::BTreeMap::new();
    for (path, blob) in &view.started.files {
        files.insert(path.clone(), text(blob)?);
    }
    let guidance = Guidance::of(&view.started, blobs)?;
    let prefix_ttl = view.started.prefix_ttl;
    let source = Source { step: &step, brief: &brief, prefix_ttl, guidance: &guidance, files: &files };
    Ok(AttemptJob {
        run: view.run.to_string(),
        attempt: attempt.number,
        // An undo is always of what is there now.
        tip: start_of(view, record.sent_back || !undo(&step).is_empty()),
        on: below(view, id),
        resumed: attempt.base.clone().map(|base| (base, attempt.on.clone())),
        restack,
        undo: undo(&step),
        earlier,
        committed: attempt.committed.clone(),
        failed: attempt.failed.clone(),
        spent_nano_usd: attempt.nano_usd,
        messages,
        views,
        evidence,
        feedback: record.feedback.clone(),
        needs: needs(view, blobs, &step)?,
        branch_at: branch_at(view, id),
        check: own_check(view, &step),
        work: source.work(&step.work),
        repair: step.repair.as_ref().map(|r| Repair { work: source.work(&r.work), attempts: r.attempts }),
        model,
        repair_model,
        commit: commit_form(view, &step, attempt, identity),
        setup: setup(&view.plan),
        approved: record.approved.is_some(),
        step,
    })
}

/// What a step undoes; nothing, for most.
fn undo(step: &Step) -> Vec<Undo> {
    match &step.work {
        wattle_planner::Work::Revert(changes) => changes.clone(),
        wattle_planner::Work::Run { .. } | wattle_planner::Work::Rewrite(_) => Vec::new(),
        wattle_planner::Work::Agent(_) => Vec::new(),
    }
}

/// Name of the model that a work asks for; `None` = it asks none, or nobody has named one.
pub(crate) fn model_of(view: &RunView, work: &wattle_planner::Work) -> Option<String> {
    match work {
        wattle_planner::Work::Agent(agent) => {
            let named = definitions::model_of(agent, &view.started.agents);
            named.or(view.started.options.model.as_deref()).map(str::to_owned)
        }
        wattle_planner::Work::Run { .. } | wattle_planner::Work::Rewrite(_) | wattle_planner::Work::Revert(_) => None,
    }
}

/// Base and commit of the newest earlier attempt that made one.
fn earlier(attempts: &[AttemptRecord]) -> Option<(CommitId, CommitId)> {
    let (_, before) = attempts.split_last()?;
    before.iter().rev().find_map(|attempt| Some((attempt.base.clone()?, attempt.committed.clone()?)))
}

/// Where the step's branch was left: at the newest attempt that ended with a commit on it.
fn branch_at(view: &RunView, id: &StepId) -> Option<CommitId> {
    view.step(id).branch.clone()
}

fn needs(view: &RunView, blobs: &Blobs, step: &Step) -> Result<Vec<NeedReport>, BlobError> {
    let mut reports = Vec::new();
    for need in &step.needs {
        let Some(blob) = &view.step(need).report else { continue };
        let mut markdown = blobs.text(blob)?;
        if markdown.len() > REPORT_BYTES_MAX {
            let end = (0..=REPORT_BYTES_MAX).rev().find(|at| markdown.is_char_boundary(*at)).unwrap_or(0);
            markdown.truncate(end);
            markdown.push_str("\n\n(cut)\n");
        }
        reports.push(NeedReport { step: need.to_string(), markdown });
    }
    Ok(reports)
}

fn own_check(view: &RunView, step: &Step) -> Option<Command> {
    // What others do the rest of says nothing alone.
    if view.step(&step.id).split.is_some() || view.splits.contains_key(&step.id) {
        return None;
    }
    let (run, timeout_ms) = of_step(&view.plan, step)?;
    Some(command(&run, timeout_ms, step))
}

fn command(run: &str, timeout_ms: u64, step: &Step) -> Command {
    Command {
        run: run.to_owned(),
        ok_exit: vec![0],
        env: step.env.clone(),
        bounds: Bounds { timeout_ms, idle_ms: None, output_bytes_max: OUTPUT_BYTES_MAX },
    }
}

/// The setup command with its key files.
pub(crate) fn setup(plan: &Plan) -> Option<(Command, Vec<String>)> {
    let setup = plan.setup()?;
    let bounds = Bounds { timeout_ms: setup.timeout_ms, idle_ms: None, output_bytes_max: OUTPUT_BYTES_MAX };
    let command = Command { run: setup.run.clone(), ok_exit: vec![0], env: setup.env.clone(), bounds };
    Some((command, setup.key.clone()))
}

fn commit_form(view: &RunView, step: &Step, attempt: &AttemptRecord, identity: &Signature) -> Option<CommitForm> {
    if mode(step) != Mode::Write {
        return None;
    }
    let run = view.run.as_str();
    let mut text = format!("{}\n\nWattle-Run: {run}\nWattle-Step: {}\n", step.title, step.id);
    if let Some(model) = model_of(view, &step.work) {
        text.push_str(&format!("Wattle-Model: {model}\n"));
    }
    text.push_str(&reverts(step));
    if view.plan.commit().sign_off {
        text.push_str(&format!("Signed-off-by: {} <{}>\n", identity.name, identity.email));
    }
    let regexes = |globs: &[wattle_planner::Glob]| globs.iter().map(|glob| glob.regex().to_owned()).collect();
    Some(CommitForm {
        message: text,
        author: identity.clone(),
        committer: identity.clone(),
        time_s: seconds(&attempt.since),
        attempt_ref: attempt_ref(run, &step.id, attempt.number),
        discard: regexes(view.plan.discard()),
        touches: regexes(&step.touches),
    })
}

/// The mode of a step in the worker's words.
pub(crate) fn mode(step: &Step) -> Mode {
    match step.mode {
        wattle_planner::Mode::Read => Mode::Read,
        wattle_planner::Mode::Write => Mode::Write,
        wattle_planner::Mode::Scratch => Mode::Scratch,
    }
}

/// Who a process belongs to.
pub(crate) fn owner(run: &str, step: &str, attempt: u32) -> Owner {
    Owner { run: run.to_owned(), step: step.to_owned(), attempt }
}

struct Source<'a> {
    step: &'a Step,
    brief: &'a str,
    prefix_ttl: wattle_cache::prefix::PrefixTtl,
    guidance: &'a Guidance,
    files: &'a std::collections::BTreeMap<String, String>,
}

impl Source<'_> {
    fn work(&self, work: &wattle_planner::Work) -> Work {
        match work {
            wattle_planner::Work::Run { command } => Work::Run(Command {
                run: command.clone(),
                ok_exit: self.step.ok_exit.clone(),
                env: self.step.env.clone(),
                bounds: Bounds {
                    timeout_ms: self.step.timeout_ms,
                    idle_ms: self.step.idle_ms,
                    output_bytes_max: OUTPUT_BYTES_MAX,
                },
            }),
            wattle_planner::Work::Rewrite(rule) => Work::Rewrite(self.rewrite(rule)),
            // Its commit is made by merges, before a worker comes; what is left for one is the step's own check.
            wattle_planner::Work::Revert(_) => Work::Run(Command {
                run: "true".to_owned(),
                ok_exit: vec![0],
                env: Default::default(),
                bounds: Bounds { timeout_ms: self.step.timeout_ms, idle_ms: None, output_bytes_max: OUTPUT_BYTES_MAX },
            }),
            wattle_planner::Work::Agent(agent) => Work::Agent(AgentWork {
                prompt: agent.prompt.clone(),
                model: String::new(),
                max_turns: self.guidance.max_turns(agent),
                max_nano_usd: agent.max_nano_usd,
                tools: self.guidance.tools(agent, tools_of(self.step)),
                brief: self.brief.to_owned(),
                prefix_ttl: self.prefix_ttl,
                fork: None,
                instructions: self.guidance.instructions.clone(),
                definition: self.guidance.definition(agent),
            }),
        }
    }

    fn rewrite(&self, rule: &RuleSource) -> Rewrite {
        super::rules::rewrite(&self.step.id, rule, |path| self.files.get(path).cloned())
    }
}

/// May the agent of a step run commands of its own choice?
pub(crate) fn may_run_commands(step: &Step) -> bool {
    tools_of(step).iter().any(|tool| tool == "Bash")
}

/// The tools that the agent of a step may call: those that it lists, else the usual ones.
fn tools_of(step: &Step) -> Vec<String> {
    let usual = || tool::usual(mode(step)).into_iter().map(str::to_owned).collect();
    step.tools.clone().unwrap_or_else(usual)
}

/// Until something has landed, steps start from the base that the run was given; but what did not fit on the tip is
/// done again on the tip.
fn start_of(view: &RunView, sent_back: bool) -> CommitId {
    if view.landed_seq == 0 && !sent_back { view.started.base.commit.clone() } else { view.tip.clone() }
}

/// Takes a candidate out of the state.
pub(crate) fn candidate_job(view: &RunView, id: LandingId, identity: &Signature) -> CandidateJob {
    let record = &view.landings[&id];
    let run = view.run.as_str();
    let parts = record.entries.iter().filter_map(|entry| {
        let step = view.step(&entry.step);
        let by = step.approved.as_ref().map(|approval| approval.by.as_str());
        Some(Part {
            entry: entry.clone(),
            base: step.work.as_ref()?.base.clone(),
            message: message(&view.plan, run, &entry.step, by, identity),
            branch: step_ref(run, &entry.step),
            time_s: seconds(&step.queued_at),
        })
    });
    let tip = view.gathered.clone().unwrap_or_else(|| view.tip.clone());
    CandidateJob {
        run: run.to_owned(),
        landing: id,
        target: view.started.target.clone(),
        target_tip: view.tip.clone(),
        tip: if record.last { view.tip.clone() } else { tip },
        parts: parts.collect(),
        style: view.plan.commit().style,
        identity: identity.clone(),
        time_s: seconds(&record.since),
        made: made(view, record),
        candidate_ref: format!("refs/wattle/candidate/{run}/{}", id.0),
        generated: if record.last { Vec::new() } else { view.plan.generated().to_vec() },
        gathered: view.gathered.clone().filter(|_| record.last).map(|tip| {
            let below = gathered_in_order(view).into_iter().map(|(_, record)| record);
            let commits = below.filter_map(|record| record.candidate.as_ref()).flat_map(|made| made.commits.clone());
            (tip, commits.collect())
        }),
    }
}

/// Commits that other landings have made of the first entries of this one, on the same tip.
fn made(view: &RunView, record: &LandingRecord) -> Vec<CommitId> {
    // With generated files the last commit of a candidate is not what a longer one holds in its place.
    if record.last || !view.plan.generated().is_empty() {
        return Vec::new();
    }
    let others = view.landings.values().rev().take(REUSE_MAX).filter_map(|other| {
        let candidate = other.candidate.as_ref().filter(|made| made.old == *view.front() && !other.last)?;
        let common = record.entries.iter().zip(&other.entries).take_while(|(a, b)| a == b).count();
        Some(&candidate.commits[..common.min(candidate.commits.len())])
    });
    others.max_by_key(|commits| commits.len()).map(<[CommitId]>::to_vec).unwrap_or_default()
}
