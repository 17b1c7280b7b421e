//! The state of one run, for `status` and `status --json`.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use wattle_workspace::{LockInfo, is_elsewhere};

use super::reason::{counted, held, reason};
use crate::journal::glance::{Foreseen, LandingGlance, StepFrame, StepGlance};
use crate::journal::record::{Spent, StepRecord};
use crate::journal::{Glance, RunView};
use crate::risk::Risk;
use crate::state::Machine;
use crate::state::landing::Landing;
use crate::state::run::Run;
use crate::state::step::Step;
use crate::ui::Style;
use crate::ui::clean::one_line;

/// Characters of step names that fit on a line.
const NAMES_MAX: usize = 120;

/// `status --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Status {
    /// Version of this JSON.
    pub(crate) v: u32,
    /// Id of the run.
    pub(crate) run: String,
    /// Its name.
    pub(crate) name: String,
    /// Its state.
    pub(crate) state: String,
    /// What was asked.
    pub(crate) task: String,
    /// Branch that it lands on.
    pub(crate) target: String,
    /// Commit that it started from.
    pub(crate) base: String,
    /// Tip of the target, as far as the run knows.
    pub(crate) tip: String,
    /// How well workers are kept apart from the machine.
    pub(crate) isolation: String,
    /// The process that drives it; `null` = nobody.
    pub(crate) live: Option<Live>,
    /// Its steps, in plan order.
    pub(crate) steps: Vec<StepStatus>,
    /// Its landings that are not over.
    pub(crate) queue: Vec<Queued>,
    /// Tokens.
    pub(crate) usage: Usage,
    /// Money in dollars; `null` = not known.
    pub(crate) usd: Option<f64>,
}

/// The process that drives a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Live {
    /// Its id.
    pub(crate) pid: u32,
    /// Its machine.
    pub(crate) host: String,
    /// Since when, RFC 3339.
    pub(crate) since: String,
}

/// One step of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StepStatus {
    /// Its id.
    pub(crate) id: String,
    /// Its name for people.
    pub(crate) title: String,
    /// Its group.
    pub(crate) group: Option<String>,
    /// `read`, `write` or `scratch`.
    pub(crate) mode: &'static str,
    /// Its state.
    pub(crate) state: String,
    /// Is that an end?
    pub(crate) terminal: bool,
    /// Steps that it needs.
    pub(crate) needs: Vec<String>,
    /// What it may change.
    pub(crate) touches: Vec<String>,
    /// Number of its attempts.
    pub(crate) attempts: usize,
    /// Its branch, once it has one.
    pub(crate) branch: Option<String>,
    /// Its newest commit.
    pub(crate) commit: Option<String>,
    /// The worktree that holds its work now.
    pub(crate) worktree: Option<String>,
    /// How carefully it wants to be read.
    pub(crate) risk: Option<Risk>,
    /// Verdict of its own check.
    pub(crate) check: Option<String>,
    /// The approval that holds.
    pub(crate) approved: Option<Approved>,
    /// Tokens.
    pub(crate) usage: Usage,
    /// Money in dollars; `null` = not known.
    pub(crate) usd: Option<f64>,
    /// Code of the reason of its state.
    pub(crate) why: Option<String>,
    /// The reason in words.
    pub(crate) message: Option<String>,
    /// Changes that its own will not merge with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) predicted: Vec<Predicted>,
}

/// A conflict that the queue has not met yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Predicted {
    /// The step that lands first, or the target.
    pub(crate) with: String,
    /// Where they conflict.
    pub(crate) paths: Vec<String>,
}

/// The predictions for a step that still hold.
pub(crate) fn predicted(record: &StepRecord, view: &RunView) -> Vec<Predicted> {
    let found = record.predicted.values().filter(|found| view.holds(found));
    found.map(|found| Predicted { with: found.a.clone(), paths: found.paths.clone() }).collect()
}

/// For people: with whom a step's change conflicts.
pub(crate) fn warning(predicted: &[Predicted]) -> Option<String> {
    let one = |found: &Predicted| format!("{} in {}", found.with, found.paths.join(", "));
    let all: Vec<String> = predicted.iter().map(one).collect();
    (!all.is_empty()).then(|| format!("will conflict with {}", all.join("; ")))
}

/// Who approved which commit.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Approved {
    /// The commit.
    pub(crate) commit: String,
    /// Who.
    pub(crate) by: String,
    /// When, RFC 3339.
    pub(crate) at: String,
}

/// One landing that is not over.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Queued {
    /// Its steps, in landing order.
    pub(crate) entries: Vec<String>,
    /// Its state.
    pub(crate) state: String,
}

/// Tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Usage {
    /// Input outside any cache.
    pub(crate) uncached_in: u64,
    /// Input read from a cache.
    pub(crate) cache_read: u64,
    /// Input written to a cache.
    pub(crate) cache_write: u64,
    /// Output.
    pub(crate) out: u64,
}

impl Usage {
    /// The tokens of a sum.
    pub(crate) fn of(spent: &Spent) -> Self {
        let Spent { uncached_in, cache_read, cache_write, out, .. } = *spent;
        Self { uncached_in, cache_read, cache_write, out }
    }
}

impl Status {
    /// The view of a run; `owner` is who holds the repository now.
    pub(crate) fn of(glance: &Glance, state_dir: &Path, owner: Option<&LockInfo>) -> Self {
        let live = owner.filter(|info| info.run.as_deref() == Some(glance.run.as_str()));
        let (frame, head) = (&glance.frame, &glance.head);
        let steps = Steps { glance, state_dir, predictions: glance.predictions() };
        Self {
            v: 1,
            run: glance.run.to_string(),
            name: frame.name.clone(),
            state: head.state.to_string(),
            task: frame.task.clone(),
            target: frame.target.clone(),
            base: frame.base.to_string(),
            tip: head.tip.to_string(),
            isolation: frame.isolation.clone(),
            live: live.map(|info| Live { pid: info.pid, host: info.host.clone(), since: info.since.clone() }),
            steps: glance.all().enumerate().map(|(place, (frame, step))| steps.status(place, frame, step)).collect(),
            queue: head
                .landings
                .iter()
                .map(|landing| Queued {
                    entries: landing.entries.iter().map(ToString::to_string).collect(),
                    state: landing.state.to_string(),
                })
                .collect(),
            usage: Usage::of(&head.spent),
            usd: head.spent.usd(),
        }
    }
}

/// What the status of one step takes from those of the others.
struct Steps<'a> {
    glance: &'a Glance,
    state_dir: &'a Path,
    predictions: BTreeMap<usize, Vec<&'a Foreseen>>,
}

impl Steps<'_> {
    fn status(&self, place: usize, frame: &StepFrame, step: &StepGlance) -> StepStatus {
        let all = &self.glance.frame.steps;
        let nothing = Spent::default();
        let spent = step.spent.as_ref().unwrap_or(&nothing);
        let predicted = self.predictions.get(&place).into_iter().flatten();
        // Where the files are a mount that only the run sees, `wattle path` is the way to them.
        let worktree = |slot: u32| {
            let path = self.state_dir.join("slots").join(slot.to_string());
            (!is_elsewhere(&path)).then(|| path.display().to_string())
        };
        StepStatus {
            id: frame.id.to_string(),
            title: frame.title.clone().unwrap_or_else(|| frame.id.to_string()),
            group: frame.group.as_ref().map(ToString::to_string),
            mode: frame.mode.as_str(),
            state: step.state.to_string(),
            terminal: step.state.terminal(),
            needs: frame.needs.iter().filter_map(|need| Some(all.get(*need as usize)?.id.to_string())).collect(),
            touches: frame.touches.clone(),
            attempts: step.attempts,
            branch: step.branch.then(|| format!("wattle/{}/{}", self.glance.run, frame.id)),
            commit: step.work.as_ref().map(|work| work.commit.to_string()),
            worktree: step.slot.and_then(worktree),
            risk: step.work.as_ref().map(|work| work.risk),
            check: step.check.map(|verdict| format!("{verdict:?}").to_lowercase()),
            approved: step.approved.as_ref().map(|approval| Approved {
                commit: approval.commit.to_string(),
                by: approval.by.clone(),
                at: approval.at.clone(),
            }),
            usage: Usage::of(spent),
            usd: spent.usd(),
            why: step.why.clone(),
            message: step.message.clone(),
            predicted: predicted.map(|f| Predicted { with: f.with.clone(), paths: f.paths.clone() }).collect(),
        }
    }
}

/// A line for people: styled parts.
pub(crate) type Line = Vec<(Style, String)>;

/// The screen of `status`.
pub(crate) fn screen(glance: &Glance, status: &Status) -> Vec<Line> {
    let plain = |text: String| vec![(Style::Plain, text)];
    let task = if status.task.trim() == status.name { "" } else { &status.task };
    let head = format!("{} ({})  {}", status.name, status.run, one_line(task, 80));
    let mut lines = vec![plain(head.trim_end().to_owned())];
    let who = match &status.live {
        Some(live) => format!("driven by process {} on {} since {}", live.pid, live.host, live.since),
        None => "nobody drives it".to_owned(),
    };
    lines.push(vec![(style_of_run(&status.state), status.state.clone()), (Style::Dim, format!(", {who}"))]);
    let target = format!("{} at {}, isolation {}", status.target, glance.head.tip.short(), status.isolation);
    lines.push(plain(format!("target {target}")));
    lines.push(plain(counts(status)));
    for step in &status.steps {
        let why = step.message.as_deref().or(step.why.as_deref().map(reason)).unwrap_or_default();
        let warning = warning(&step.predicted);
        let why = warning.as_deref().unwrap_or(why);
        let risk = step.risk.map_or("", Risk::as_str);
        lines.push(vec![
            (Style::Plain, format!("  {:<28} ", one_line(&step.id, 28))),
            (style_of_step(&step.state), format!("{:<12}", step.state)),
            (Style::Plain, format!(" {risk:<7}")),
            (Style::Dim, one_line(why, 70)),
        ]);
    }
    for landing in &status.queue {
        lines.push(plain(format!("queue: {} {}", landing.state, landing.entries.join(", "))));
    }
    for landing in glance.head.landings.iter().filter(|landing| landing.state == Landing::Held) {
        let why = landing.why.as_deref().unwrap_or_default();
        lines.push(vec![(Style::Wait, held(why, &landing.held_by, &landing.held))]);
    }
    lines.push(plain(money(&glance.head.spent)));
    if status.live.is_none() && matches!(glance.head.state, Run::Running | Run::Planning) {
        lines.push(vec![(Style::Wait, "it was cut off: wattle resume".to_owned())]);
    }
    lines.extend(waiting(glance).into_iter().map(|text| vec![(Style::Wait, text)]));
    lines
}

/// Steps by state, in the order people read them.
fn counts(status: &Status) -> String {
    let states = Step::STATES.iter().map(|state| state.as_str());
    let count = |state: &str| status.steps.iter().filter(|step| step.state == state).count();
    let parts: Vec<String> = states
        .map(|state| (state, count(state)))
        .filter(|(_, n)| *n > 0)
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    format!("{}: {}", counted(status.steps.len(), "step"), parts.join(", "))
}

/// Tokens and money in words.
pub(crate) fn money(spent: &Spent) -> String {
    if spent.requests == 0 {
        return "cost: nothing".to_owned();
    }
    let known = crate::config::money::format_usd(spent.nano_usd);
    let usd =
        if spent.unpriced == 0 { known } else { format!("{known} and {} requests of unknown price", spent.unpriced) };
    format!("cost: {usd}, {} tokens in {} requests", spent.tokens(), spent.requests)
}

/// What waits for a human, with the verb that answers it.
pub(crate) fn waiting(glance: &Glance) -> Vec<String> {
    let head = &glance.head;
    if head.state == Run::PlanReady {
        return vec!["waits: wattle resume (the plan is ready)".to_owned()];
    }
    let in_state = |state: Step| {
        let steps = glance.all().filter(|(_, step)| step.state == state);
        steps.map(|(frame, _)| frame.id.as_str()).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    let mut wait = |ids: Vec<&str>, verb: &str, rest: &str| match ids[..] {
        [] => {}
        [one] => lines.push(format!("waits: wattle {verb} {one}{rest}")),
        _ => lines.push(format!("waits: wattle {verb} STEP{rest}: {}", one_line(&ids.join(", "), NAMES_MAX))),
    };
    wait(in_state(Step::Review), "review", "");
    wait(in_state(Step::Approved), "merge", "");
    for (step, asks) in glance.all().filter(|(_, step)| step.state == Step::NeedsInput) {
        let (step, question) = (&step.id, asks.question.as_deref().unwrap_or_default());
        lines.push(format!("waits: wattle answer {step} (\"{}\")", one_line(question, 60)));
    }
    let failed = in_state(Step::Failed);
    if let Some(first) = failed.first() {
        let names = one_line(&failed.join(", "), NAMES_MAX);
        lines.push(format!("failed: {names}: wattle log {first} shows why, wattle retry {first} tries again"));
    }
    let parked = in_state(Step::Parked);
    if !parked.is_empty() {
        lines.push(format!("waits: wattle resume (parked: {})", one_line(&parked.join(", "), NAMES_MAX)));
    }
    for landing in head.landings.iter().filter(|landing| landing.state == Landing::Held) {
        lines.push(format!("waits: {}, then wattle merge", mend(landing)));
    }
    if head.state == Run::BaseRed {
        let step =
            in_state(Step::Queued).first().map_or(String::new(), |step| format!(" (wattle log {step} shows how)"));
        let target = &glance.frame.target;
        lines.push(format!("waits: a check is red on {target} itself{step}; mend it there, then wattle resume"));
    }
    lines
}

/// What lets a held landing go on.
fn mend(landing: &LandingGlance) -> String {
    let at = &landing.held_by;
    match landing.why.as_deref().unwrap_or_default() {
        "dirty" => format!("commit or put aside {} in {at}", one_line(&landing.held.join(", "), NAMES_MAX)),
        why @ ("rebase" | "merge" | "cherry_pick" | "revert" | "bisect") => {
            format!("finish or abort the {} in {at}", why.replace('_', "-"))
        }
        "index_locked" => format!("close what has locked the index of {at}"),
        "target_gone" => "make the target branch again".to_owned(),
        _ => "see wattle log, mend it".to_owned(),
    }
}

/// Colour of a step's state.
pub(crate) fn style_of_step(state: &str) -> Style {
    match state {
        "landed" | "done" | "unchanged" | "approved" => Style::Good,
        "failed" | "blocked" | "cancelled" | "rejected" => Style::Bad,
        "review" | "needs_input" | "parked" | "stale" => Style::Wait,
        _ => Style::Plain,
    }
}

/// Colour of a run's state.
pub(crate) fn style_of_run(state: &str) -> Style {
    match state {
        "completed" => Style::Good,
        "failed" | "base_red" => Style::Bad,
        "running" | "planning" => Style::Plain,
        _ => Style::Wait,
    }
}
