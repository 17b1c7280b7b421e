//! `wattle schema`: JSON Schema of what Wattle reads and writes.

use schemars::schema_for;

use super::Done;
use super::error::Exit;
use super::session::Session;
use crate::journal::Event;
use crate::report::cost::Cost;
use crate::report::review::Review;
use crate::report::status::Status;

/// Print the JSON Schema of a format.
#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    /// The format.
    name: Name,
}

/// The formats that have a schema.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    /// The plan file.
    Plan,
    /// One line of `run --json` and `log --json`.
    Event,
    /// `status --json`.
    Status,
    /// `review --json`.
    Review,
    /// `log --json`: the same as event.
    Log,
    /// `cost --json`.
    Cost,
}

/// Prints it.
pub(crate) fn run(session: &Session, args: &SchemaArgs) -> Done {
    let schema = match args.name {
        Name::Plan => wattle_planner::plan_schema(),
        Name::Event | Name::Log => schema_for!(Event).to_value(),
        Name::Status => schema_for!(Status).to_value(),
        Name::Review => schema_for!(Review).to_value(),
        Name::Cost => schema_for!(Cost).to_value(),
    };
    let text = serde_json::to_string_pretty(&schema).expect("a schema has string keys");
    session.ui.raw(format!("{text}\n").as_bytes());
    Ok(Exit::Reached)
}
