//! `wattle schema`: JSON Schema of what Wattle reads and writes.

use super::Done;
use super::error::Exit;
use super::session::Session;

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
}

/// Prints it.
pub(crate) fn run(session: &Session, args: &SchemaArgs) -> Done {
    let schema = match args.name {
        Name::Plan => wattle_planner::plan_schema(),
    };
    let text = serde_json::to_string_pretty(&schema).expect("a schema has string keys");
    session.ui.raw(format!("{text}\n").as_bytes());
    Ok(Exit::Reached)
}
