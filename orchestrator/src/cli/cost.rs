//! `wattle cost`: money and tokens.

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use super::verb::scene;
use crate::report::cost::{By, Cost};

/// Show money and tokens, and what came from a cache.
#[derive(Debug, clap::Args)]
pub(crate) struct CostArgs {
    /// A row for each of these.
    #[arg(long, default_value = "step")]
    by: By,
    /// Of all runs of the repository.
    #[arg(long)]
    all_runs: bool,
}

/// Sums and prints.
pub(crate) fn run(session: &Session, args: &CostArgs) -> Done {
    let scene = scene(session, false)?;
    let reader = &scene.found.reader;
    let runs = if args.all_runs {
        reader.runs()?.into_iter().map(|run| run.run).collect()
    } else {
        vec![scene.found.run.clone()]
    };
    let mut events = Vec::new();
    for run in &runs {
        events.extend(reader.events(run, 0).map_err(CliError::from)?);
    }
    let cost = Cost::of(events.iter(), args.by);
    if session.ui.json {
        session.ui.object(&cost);
    } else {
        session.ui.data(&cost.table());
    }
    Ok(Exit::Reached)
}
