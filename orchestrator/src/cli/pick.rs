//! Which run and which steps are meant: ids, prefixes, names, globs, `--risk` and `--except`.

use wattle_planner::{Glob, StepId};

use super::error::{CliError, Exit};
use super::session::Session;
use crate::ids::RunId;
use crate::journal::{Reader, RunView};
use crate::risk::{Risk, risk};

/// Steps, as they can be typed.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StepsArg {
    /// Steps: ids or globs like 'pkg-*'.
    #[arg(value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    /// Only steps of this risk or a lower one.
    #[arg(long)]
    pub(crate) risk: Option<Risk>,
    /// But not these.
    #[arg(long, value_name = "STEP")]
    pub(crate) except: Vec<String>,
}

/// The journal of a repository and one run in it.
pub(crate) struct Found {
    /// The journal.
    pub(crate) reader: Reader,
    /// The run.
    pub(crate) run: RunId,
}

/// The run that is meant: `--run`, else the newest. A verb that changes something insists where two are live.
pub(crate) fn run(session: &Session, state_dir: &std::path::Path, changes: bool) -> Result<Found, CliError> {
    let none = || {
        CliError::new(Exit::Environment, "no_run", "find a run: this repository has none").hint("wattle run -f PLAN")
    };
    let reader = Reader::open(state_dir)?.ok_or_else(none)?;
    let runs = reader.runs()?;
    if let Some(wanted) = &session.global.run {
        let fits: Vec<_> = match runs.iter().find(|run| run.run.as_str() == wanted) {
            Some(run) => vec![run],
            None => {
                let named: Vec<_> = runs.iter().filter(|run| run.name == *wanted).take(1).collect();
                if named.is_empty() {
                    runs.iter().filter(|run| run.run.as_str().starts_with(wanted)).collect()
                } else {
                    named
                }
            }
        };
        return match fits[..] {
            [one] => Ok(Found { run: one.run.clone(), reader }),
            [] => {
                Err(CliError::new(Exit::Environment, "no_run", format!("find the run `{wanted}`")).hint("wattle runs"))
            }
            _ => {
                let ids: Vec<_> = fits.iter().map(|run| format!("{} ({})", run.run, run.name)).collect();
                let message = format!("more than one run begins with `{wanted}`: {}", ids.join(", "));
                Err(CliError::usage(message).hint("type more of the id, or the name"))
            }
        };
    }
    let live: Vec<_> = runs.iter().filter(|run| !["completed", "failed"].contains(&run.state.as_str())).collect();
    if changes && live.len() > 1 {
        let ids: Vec<_> = live.iter().map(|run| format!("{} ({})", run.run, run.name)).collect();
        return Err(
            CliError::usage(format!("more than one run is live: {}", ids.join(", "))).hint("say which with --run")
        );
    }
    let run = if changes { live.first().copied().or(runs.first()) } else { runs.first() }.ok_or_else(none)?.run.clone();
    Ok(Found { reader, run })
}

/// One step by its id.
pub(crate) fn step(view: &RunView, typed: &str) -> Result<StepId, CliError> {
    let found = view.plan.steps().iter().find(|step| step.id.as_str() == typed);
    found.map(|step| step.id.clone()).ok_or_else(|| no_step(view, typed))
}

fn no_step(view: &RunView, typed: &str) -> CliError {
    let ids: Vec<_> = view.plan.steps().iter().map(|step| step.id.as_str()).collect();
    let glob = typed.contains(['*', '?', '[', '{']);
    let message = if glob { format!("no step matches `{typed}`") } else { format!("no step is called `{typed}`") };
    CliError::usage(message).hint(format!("steps: {}", ids.join(", ")))
}

/// A step's id and, after `@`, the commit that was seen.
fn parts(typed: &str) -> (&str, Option<&str>) {
    typed.split_once('@').map_or((typed, None), |(step, commit)| (step, Some(commit)))
}

/// The steps that are meant, in plan order, each with the commit that was typed with it. `default` decides
/// where none is named.
pub(crate) fn steps(
    view: &RunView,
    typed: &StepsArg,
    default: impl Fn(&StepId) -> bool,
) -> Result<Vec<(StepId, Option<String>)>, CliError> {
    let globs = |typed: &[String]| -> Result<Vec<(Glob, Option<String>)>, CliError> {
        let parse = |text: &String| {
            let (id, commit) = parts(text);
            let glob =
                Glob::parse(id).map_err(|error| CliError::usage(format!("`{id}` is no step and no glob: {error}")))?;
            if !view.plan.steps().iter().any(|step| glob.matches(step.id.as_str())) {
                return Err(no_step(view, id));
            }
            Ok((glob, commit.map(str::to_owned)))
        };
        typed.iter().map(parse).collect()
    };
    let (wanted, except) = (globs(&typed.steps)?, globs(&typed.except)?);
    let mut picked = Vec::new();
    for step in view.plan.steps() {
        let fits = wanted.iter().find(|(glob, _)| glob.matches(step.id.as_str()));
        let named = if wanted.is_empty() { default(&step.id) } else { fits.is_some() };
        let low = typed.risk.is_none_or(|most| {
            let work = view.steps[&step.id].work.as_ref();
            work.is_some_and(|work| risk(step, &work.paths, &work.outside) <= most)
        });
        if named && low && !except.iter().any(|(glob, _)| glob.matches(step.id.as_str())) {
            picked.push((step.id.clone(), fits.and_then(|(_, commit)| commit.clone())));
        }
    }
    Ok(picked)
}
