//! `wattle review`: what waits for review, riskiest first; with a step its summary, diff and evidence. On a
//! terminal a loop over what waits, with a key and Enter for each verdict.

use wattle_planner::StepId;

use super::error::{CliError, Exit};
use super::session::Session;
use super::verb::{Scene, consequence, give, scene};
use super::{Done, pick};
use crate::journal::command::{Pinned, Verb};
use crate::report::review::{Review, summary, waiting, whole};

/// Show what waits for review, riskiest first.
#[derive(Debug, clap::Args)]
pub(crate) struct ReviewArgs {
    /// The step: its summary, diff and evidence.
    step: Option<String>,
}

/// Shows it, and asks on a terminal.
pub(crate) fn run(session: &Session, args: &ReviewArgs) -> Done {
    let scene = scene(session, false)?;
    match &args.step {
        Some(typed) => {
            let step = pick::step(&scene.view, typed)?;
            one(session, &scene, &step)?;
            if session.ui.interactive() {
                ask(session, &scene, &step)?;
            }
        }
        None => list(session, &scene)?,
    }
    Ok(Exit::Reached)
}

fn list(session: &Session, scene: &Scene) -> Result<(), CliError> {
    let waiting = waiting(&scene.view);
    let steps = waiting.iter().filter_map(|id| summary(&scene.view, id));
    if session.ui.json {
        session.ui.object(&Review { v: 1, run: scene.view.run.to_string(), steps: steps.collect() });
        return Ok(());
    }
    for step in steps {
        session.ui.data(&format!("{}\n", step.line()));
    }
    if waiting.is_empty() {
        session.ui.talk("nothing waits for review");
    } else if session.ui.interactive() {
        for step in &waiting {
            one(session, scene, step)?;
            if !ask(session, scene, step)? {
                break;
            }
        }
    } else {
        session.ui.talk("wattle review STEP shows one; wattle approve STEP lets it land");
    }
    Ok(())
}

fn one(session: &Session, scene: &Scene, step: &StepId) -> Result<(), CliError> {
    let found = whole(&scene.view, step, &scene.ctx.repo, &scene.found.reader.blobs)?;
    let reviewed = found.ok_or_else(|| {
        let state = scene.view.steps[step].state;
        CliError::new(Exit::Waits, "no_work", format!("review {step}: it is {state} and has no commit"))
            .hint(format!("wattle log {step}"))
    })?;
    if session.ui.json {
        session.ui.object(&Review { v: 1, run: scene.view.run.to_string(), steps: vec![reviewed] });
        return Ok(());
    }
    session.ui.data(&reviewed.text());
    session.ui.data("\n");
    session.ui.diff(reviewed.diff.as_deref().unwrap_or_default());
    Ok(())
}

/// Asks for a verdict until there is one; `false` = the reviewer quits.
fn ask(session: &Session, scene: &Scene, step: &StepId) -> Result<bool, CliError> {
    let work = scene.view.steps[step].work.as_ref();
    let commit = work.map(|work| work.commit.to_string());
    loop {
        let question = format!("{step}: [a]pprove [c]omment [r]edo re[x]ject [n]ext [q]uit? ");
        let Some(key) = session.ui.prompt(&question) else { return Ok(false) };
        let verb = match key.as_str() {
            "a" => {
                Verb::Approve { steps: vec![Pinned { step: step.clone(), commit: commit.clone() }], widen: Vec::new() }
            }
            "c" => match session.ui.prompt("comment: ").filter(|text| !text.is_empty()) {
                Some(text) => Verb::Comment { step: step.clone(), text, at: None },
                None => continue,
            },
            "r" | "x" => {
                if let Some(words) = consequence(&scene.view, std::slice::from_ref(step)) {
                    session.ui.talk(&words);
                }
                let text = session.ui.prompt("words (may be empty): ").filter(|text| !text.is_empty());
                let steps = vec![step.clone()];
                if key == "r" { Verb::Redo { steps, text } } else { Verb::Reject { steps, text } }
            }
            "n" => return Ok(true),
            "q" => return Ok(false),
            _ => continue,
        };
        let drafted = matches!(verb, Verb::Comment { .. });
        match give(session, scene, &verb) {
            Ok(_) if !drafted => return Ok(true),
            Ok(_) => {}
            Err(error) => drop(error.report(&session.ui)),
        }
    }
}
