//! `wattle cost`: money and tokens.

use super::Done;
use super::error::Exit;
use super::pick;
use super::session::Session;
use crate::journal::event::Body;
use crate::journal::{Event, JournalError, Reader};
use crate::report::cost::{By, Cost};

/// Show money and tokens, and what came from a cache.
#[derive(Debug, clap::Args)]
pub(crate) struct CostArgs {
    /// A row for each of these.
    #[arg(long, default_value = "step")]
    by: By,
    /// Of all runs of the repository, and of planning that no run came of.
    #[arg(long)]
    all_runs: bool,
}

/// Sums and prints.
pub(crate) fn run(session: &Session, args: &CostArgs) -> Done {
    let repo = session.repo()?;
    let events = match Reader::open(repo.state_dir())?.filter(|_| args.all_runs) {
        Some(reader) => all(&reader)?,
        None => {
            let found = pick::run(session, repo.state_dir(), false)?;
            found.reader.events(&found.run, 0)?
        }
    };
    let cost = Cost::of(events.iter(), args.by);
    if session.ui.json {
        session.ui.object(&cost);
    } else {
        session.ui.data(&cost.table());
    }
    Ok(Exit::Reached)
}

/// The events of all runs, and those of plannings whose rows no run has taken over.
fn all(reader: &Reader) -> Result<Vec<Event>, JournalError> {
    let (mut events, mut taken) = (Vec::new(), Vec::new());
    for run in reader.runs()? {
        events.extend(reader.events(&run.run, 0)?);
    }
    for event in &events {
        if let Body::RunStarted(started) = &event.body {
            taken.extend(started.planning.clone());
        }
    }
    for planning in reader.plannings()?.iter().filter(|planning| !taken.contains(planning)) {
        events.extend(reader.events(planning, 0)?);
    }
    Ok(events)
}
