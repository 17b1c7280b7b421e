//! What a plan would do, before anything is done: steps, write sets, overlaps, checks, money.

use std::fmt::Write;

use wattle_planner::{AgentSpec, EdgeKind, Mode, Plan, Step, Work, overlaps};
use wattle_worker::host::Usage;
use wattle_workspace::size_text;

use crate::config::{Effective, money};
use crate::options::Slots;
use crate::report::reason::counted;
use crate::ui::clean::one_line;

/// Steps listed one by one; more are summed up, because a screen holds no more.
const LISTED_MAX: usize = 40;
/// Tokens of the least that an agent step needs: three turns on a prompt of 10,000 tokens, 500 tokens each out.
const LOW: (u64, u64) = (30_000, 1_500);
/// Tokens of one turn of a long agent step: a prompt that has grown to 60,000 tokens, 1,500 tokens out.
const HIGH_TURN: (u64, u64) = (60_000, 1_500);

/// The disk that slots lie on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// What one slot takes, build output not counted; `None` = it cannot be told.
    pub(crate) checkout_bytes: Option<u64>,
    /// What is free.
    pub(crate) free_bytes: Option<u64>,
}

/// What is said before the lead is asked: what that may cost at most.
pub(crate) fn before_lead(nano_usd_max: Option<u64>, tokens_max: Option<u64>) -> String {
    let money =
        nano_usd_max.map_or("no cap in money".to_owned(), |most| format!("at most {}", money::format_usd(most)));
    let tokens = tokens_max.map_or(String::new(), |most| format!(", {most} tokens"));
    format!("the lead planner reads the repository ({money}{tokens}) …")
}

/// The preview, for people. `asked`: what the lead has asked its model.
pub(crate) fn preview(plan: &Plan, config: &Effective, room: Room, asked: &[Usage]) -> String {
    let mut text = String::new();
    let steps = plan.steps();
    let count = |mode| steps.iter().filter(|step| step.mode == mode).count();
    let (write, read, scratch) = (count(Mode::Write), count(Mode::Read), count(Mode::Scratch));
    line(&mut text, format_args!("{}", one_line(plan.task(), 100)));
    line(&mut text, format_args!("{} steps: {write} write, {read} read, {scratch} scratch", steps.len()));
    for step in steps.iter().take(LISTED_MAX) {
        line(&mut text, format_args!("  {:<24} {:<8} {}", step.id.as_str(), executor(&step.work), write_set(step)));
    }
    if steps.len() > LISTED_MAX {
        line(&mut text, format_args!("  … and {} more", steps.len() - LISTED_MAX));
    }
    let pairs = overlaps(plan);
    for (a, b) in pairs.iter().take(LISTED_MAX) {
        let implied = plan.predecessors(b).iter().any(|edge| edge.step == *a && edge.kind == EdgeKind::After);
        let why = if implied { "because their write sets overlap" } else { "as the plan says" };
        line(&mut text, format_args!("order: {} before {}, {why}", a.as_str(), b.as_str()));
    }
    checks(&mut text, plan);
    slots(&mut text, plan, config, room);
    cost(&mut text, plan, config);
    if !asked.is_empty() {
        let spent = asked.iter().map(|usage| usage.nano_usd).sum::<Option<u64>>();
        let spent = spent.map_or("unknown".to_owned(), money::format_usd);
        line(&mut text, format_args!("cost of the plan itself: {spent} in {}", counted(asked.len(), "request")));
    }
    text
}

/// The most slots that the run can need at a time, and what they take.
fn slots(text: &mut String, plan: &Plan, config: &Effective, room: Room) {
    let limits = plan.limits();
    let count = |write: bool| plan.steps().iter().filter(|step| (step.mode != Mode::Read) == write).count() as u64;
    let jobs = u64::from(config.jobs.with(limits.jobs).unwrap_or(1));
    let checked = plan.checks().is_some_and(|checks| !checks.is_empty());
    let checks = if checked { u64::from(config.checks.with(limits.checks).unwrap_or(1)) } else { 0 };
    let kinds = [("to work in", count(true).min(jobs)), ("to check in", checks), ("to read", count(false).min(1))];
    let total: u64 = kinds.iter().map(|(_, most)| most).sum();
    let named = kinds.iter().filter(|(_, most)| *most > 0).map(|(what, most)| format!("{most} {what}"));
    let named = named.collect::<Vec<_>>().join(", ");
    let free = room.free_bytes.map_or(String::new(), |free| format!("; {} free", size_text(free)));
    let allowed = config.disk_bytes.with(limits.disk_bytes);
    let bound = allowed.map_or(String::new(), |most| format!("; limits.disk {}", size_text(most)));
    if config.slots == Slots::Overlay
        && let Some(each) = room.checkout_bytes
    {
        let each = size_text(each);
        let share = format!("mounted over one checkout of {each} where the kernel allows (else {each} each)");
        return line(
            text,
            format_args!("slots: up to {total} ({named}), {share}, each with what it changes{free}{bound}"),
        );
    }
    let Some(each) = room.checkout_bytes else {
        return line(text, format_args!("slots: up to {total} ({named}), size unknown{free}{bound}"));
    };
    let all = each.saturating_mul(total);
    let (each, sum) = (size_text(each), size_text(all));
    line(text, format_args!("slots: up to {total} ({named}) × {each} = {sum}, build output not counted{free}{bound}"));
    if [room.free_bytes, allowed].into_iter().flatten().any(|most| all > most) {
        line(text, format_args!("       that is more than there is room for: fewer will work at a time"));
    }
}

fn line(text: &mut String, part: std::fmt::Arguments<'_>) {
    writeln!(text, "{part}").expect("a string takes every text");
}

fn executor(work: &Work) -> &'static str {
    match work {
        Work::Run { .. } => "run",
        Work::Rewrite(_) => "rewrite",
        Work::Agent(_) => "agent",
        Work::Revert(_) => "revert",
    }
}

fn write_set(step: &Step) -> String {
    match step.mode {
        Mode::Read => "reads".to_owned(),
        Mode::Scratch => "changes nothing that is kept".to_owned(),
        Mode::Write if !step.touches_given => "touches anything: it runs alone".to_owned(),
        Mode::Write => {
            let globs: Vec<&str> = step.touches.iter().map(wattle_planner::Glob::as_str).collect();
            one_line(&globs.join(" "), 70)
        }
    }
}

fn checks(text: &mut String, plan: &Plan) {
    match plan.checks() {
        None | Some([]) => line(text, format_args!("checks: none: what lands is not verified")),
        Some(checks) => {
            let each = checks
                .iter()
                .map(|check| format!("{} (at {}): {}", check.name, check.at.as_str(), one_line(&check.run, 60)));
            line(text, format_args!("checks: {}", each.collect::<Vec<_>>().join(" · ")));
        }
    }
}

fn cost(text: &mut String, plan: &Plan, config: &Effective) {
    let agents: Vec<(&Step, &AgentSpec)> =
        plan.steps().iter().filter_map(|step| Some((step, agent(&step.work)?))).collect();
    let most = config.nano_usd.with(plan.limits().nano_usd);
    let cap = |most: Option<u64>| most.map_or("none".to_owned(), money::format_usd);
    if agents.is_empty() {
        return line(text, format_args!("cost: nothing, no step asks a model"));
    }
    let known = |price: Option<u64>| price.map_or("unknown".to_owned(), money::format_usd);
    let bounds: Vec<[Option<u64>; 2]> = agents.iter().map(|(_, agent)| bounds(agent, config)).collect();
    for ((step, agent), [low, high]) in agents.iter().zip(&bounds).take(LISTED_MAX).filter(|_| agents.len() > 1) {
        // The run's cap is one for all: what a step alone may take is its own, or all of that.
        let own = agent.max_nano_usd.into_iter().chain(most).min();
        let (low, high, own) = (known(*low), known(*high), cap(own));
        line(text, format_args!("  {:<24} low {low}, high {high}, cap {own}", step.id.as_str()));
    }
    let sum = |which: usize| known(bounds.iter().map(|bounds| bounds[which]).sum::<Option<u64>>());
    let (low, high, cap) = (sum(0), sum(1), cap(most));
    line(
        text,
        format_args!(
            "cost of {}: low {low}, high {high} (nothing cached), cap {cap}",
            counted(agents.len(), "agent step")
        ),
    );
}

/// The least and the most that an agent is expected to cost, in nano-dollars.
fn bounds(agent: &AgentSpec, config: &Effective) -> [Option<u64>; 2] {
    let turns = u64::from(agent.max_turns);
    [LOW, (HIGH_TURN.0 * turns, HIGH_TURN.1 * turns)].map(|tokens| {
        let price = estimate(agent, config, tokens)?;
        Some(agent.max_nano_usd.map_or(price, |most| price.min(most)))
    })
}

fn agent(work: &Work) -> Option<&AgentSpec> {
    match work {
        Work::Agent(agent) => Some(agent),
        Work::Run { .. } | Work::Rewrite(_) | Work::Revert(_) => None,
    }
}

/// Price of so many tokens in and out, in nano-dollars; `None` = the model has no known price.
fn estimate(agent: &AgentSpec, config: &Effective, (tokens_in, tokens_out): (u64, u64)) -> Option<u64> {
    let model = agent.model.as_deref().or(config.model.as_deref())?;
    let (provider, name) = model.split_once('/')?;
    let rates = config.prices.newest(provider, name)?.rates;
    Some((rates.input * tokens_in + rates.output * tokens_out) / 1000)
}
