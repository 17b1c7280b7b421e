//! `wattle revert`: undoes landed steps through the same queue, as a run of its own with one step.
//!
//! The human who names the step has asked for exactly this change, and no model has a say in it: so it is
//! approved in their name, and the checks of the run that landed it decide. `--approve manual` stops at review.

use wattle_planner::StepId;
use wattle_workspace::lock_holder;

use super::Done;
use super::error::{CliError, Exit};
use super::pick;
use super::progress::Progress;
use super::session::Session;
use crate::config::choice::Approve;
use crate::journal::RunView;
use crate::options::{self, RunOptions};
use crate::queue::land::branch_ref;
use crate::run::begin::{RunError, RunRequest, start};
use crate::run::context::Context;
use crate::run::overlay;
use crate::run::undo::{Revert, revert};
use crate::state::Machine;

/// Undo landed steps through the same queue.
///
/// Makes a run of one step whose change is the inverse of what has landed, moved onto the target as it is now,
/// with the checks, setup and form of the commits of the run that landed it, and the own checks of what is undone. A
/// group is undone whole. What does not merge with later work fails and leaves the target as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct RevertArgs {
    /// The landed steps.
    #[arg(value_name = "STEP", required = true)]
    steps: Vec<String>,
    /// Who lets the undo into the queue; auto: asking for it approves it.
    #[arg(long, default_value = "auto")]
    approve: Approve,
    /// Leave out the own checks of the steps: for one that asks for the very change that is undone.
    #[arg(long)]
    no_step_check: bool,
    /// Only say what would be undone.
    #[arg(long)]
    dry_run: bool,
}

/// Undoes.
pub(crate) fn run(session: &Session, args: &RevertArgs) -> Done {
    let ctx = session.context(session.repo()?)?;
    let (view, steps) = find(session, &ctx, &args.steps)?;
    if let Some(holder) = lock_holder(&ctx.repo)
        && !args.dry_run
    {
        return Err(RunError::Busy { holder: Some(holder) }.into());
    }
    let planned = revert(&ctx.repo, &view, &steps, !args.no_step_check)?;
    tell(session, &ctx, &view, &planned)?;
    if args.dry_run {
        show(session, &view, &planned);
        return Ok(Exit::Reached);
    }
    let request = RunRequest {
        plan_name: format!("revert of {}", view.run),
        plan_text: planned.plan,
        files: Default::default(),
        options: frozen(&view, &steps, args.approve),
        lead_usage: Vec::new(),
        planning: None,
        talk: None,
        stop_at_plan: false,
        folder: session.start()?,
    };
    overlay::enter(&ctx.repo, request.options.slots);
    let mut progress = Progress::new(&session.ui, 1);
    let end = start(&ctx, request, &mut |event| progress.show(event));
    drop(progress);
    super::run::ended(session, &ctx, &end?)
}

/// The run and its steps that are meant: without `--run`, the newest run in which all of them have landed.
fn find(session: &Session, ctx: &Context, typed: &[String]) -> Result<(RunView, Vec<StepId>), CliError> {
    let newest = pick::run(session, ctx.repo.state_dir(), false)?;
    let has = |view: &RunView| typed.iter().all(|id| view.plan.steps().iter().any(|step| step.id.as_str() == id));
    let landed = |view: &RunView| {
        has(view)
            && view.steps.iter().all(|(id, step)| step.landed.is_some() || !typed.iter().any(|t| t == id.as_str()))
    };
    let mut view = newest.reader.replay(&newest.run)?;
    if session.global.run.is_none() && !landed(&view) {
        for run in newest.reader.runs()?.into_iter().filter(|run| run.run != newest.run) {
            let other = newest.reader.replay(&run.run)?;
            if landed(&other) {
                view = other;
                break;
            }
            if !has(&view) && has(&other) {
                view = other;
            }
        }
    }
    let steps = typed.iter().map(|id| pick::step(&view, id)).collect::<Result<Vec<_>, _>>()?;
    let open = steps.iter().find(|id| view.step(id).landed.is_none());
    if let Some(id) = open {
        let state = view.step(id).state;
        let message = format!("{id} is {state} and has not landed: there is nothing to undo");
        let hint = match state.terminal() {
            true => format!("wattle log {id} shows what it did"),
            false => format!("wattle reject {id} keeps it from landing"),
        };
        return Err(CliError::new(Exit::Usage, "refused", message).hint(hint));
    }
    Ok((view, steps))
}

/// What one should know before it is done.
fn tell(session: &Session, ctx: &Context, view: &RunView, planned: &Revert) -> Result<(), CliError> {
    let target = &view.started.target;
    let Some(tip) = ctx.repo.read_ref(&branch_ref(target))? else {
        let message = format!("undo anything on {target}: the branch is gone");
        return Err(CliError::new(Exit::Environment, "no_target", message).hint(format!("git branch {target} COMMIT")));
    };
    let list = |steps: &[StepId]| steps.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ");
    if !planned.with.is_empty() {
        session.ui.talk(&format!("a group is undone whole: {} too", list(&planned.with)));
    }
    if !planned.built_on.is_empty() {
        session.ui.talk(&format!(
            "warning: {} came later and built on it, and stays landed (the checks decide whether that holds)",
            list(&planned.built_on)
        ));
    }
    for id in &planned.steps {
        if let Some(landed) = &view.step(id).landed
            && !ctx.repo.is_ancestor(landed, &tip)?
        {
            session.ui.talk(&format!("warning: {target} has been rewritten since {id} landed as {}", landed.short()));
        }
    }
    if !planned.checked_by.is_empty() {
        session.ui.talk(&format!(
            "the own check of {} runs too (--no-step-check leaves it out, if it asks for the change itself)",
            list(&planned.checked_by)
        ));
    }
    if planned.unchecked {
        session.ui.talk("no checks: the run that landed it had none, so the undo lands unverified, too");
    }
    Ok(())
}

fn show(session: &Session, view: &RunView, planned: &Revert) {
    if session.ui.json {
        let (steps, with, built_on) = (&planned.steps, &planned.with, &planned.built_on);
        let checked_by = &planned.checked_by;
        let plan: serde_json::Value = serde_json::from_str(&planned.plan).expect("the plan was written as JSON");
        return session.ui.object(&serde_json::json!({
            "v": 1, "run": view.run, "steps": steps, "with": with, "built_on": built_on, "checked_by": checked_by,
            "plan": plan,
        }));
    }
    for id in planned.steps.iter().rev() {
        let commit = view.step(id).landed.as_ref().map_or("", |commit| commit.short());
        session.ui.data(&format!("would undo {id} ({commit}) on {}\n", view.started.target));
    }
}

/// The options of the run that landed it, for its undo.
fn frozen(view: &RunView, steps: &[StepId], approve: Approve) -> RunOptions {
    let names: Vec<&str> = steps.iter().map(StepId::as_str).collect();
    let (approve, until) = match approve {
        Approve::Auto => (options::Approve::Auto, options::Until::Landed),
        Approve::Manual => (options::Approve::Manual, options::Until::Review),
    };
    RunOptions {
        name: Some(format!("revert {}", names.join(" "))),
        target: Some(view.started.target.clone()),
        base: None,
        approve,
        until,
        until_explicit: false,
        ..view.started.options.clone()
    }
}
