//! `wattle schema`: JSON Schema of what Wattle reads and writes, and the tables of its states.

use schemars::schema_for;
use serde_json::{Value, json};

use super::Done;
use super::error::Exit;
use super::session::Session;
use crate::journal::event::KINDS;
use crate::report::{cost::Cost, review::Review, status::Status};
use crate::state;

/// Print the JSON Schema of a format, or the tables of the states.
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
    /// One line of `run --json`.
    Event,
    /// `status --json`.
    Status,
    /// `review --json`.
    Review,
    /// One line of `log --json`.
    Log,
    /// `cost --json`.
    Cost,
    /// `brief --json`.
    Brief,
    /// A file of the scripted model.
    Script,
    /// The states of steps, attempts, landings and runs, as Markdown.
    States,
}

/// Prints it.
pub(crate) fn run(session: &Session, args: &SchemaArgs) -> Done {
    let schema = match args.name {
        Name::Plan => wattle_planner::plan_schema(),
        Name::Event | Name::Log => event_schema(),
        Name::Status => schema_for!(Status).to_value(),
        Name::Review => schema_for!(Review).to_value(),
        Name::Cost => schema_for!(Cost).to_value(),
        Name::Brief => schema_for!(super::brief::Shown).to_value(),
        Name::Script => wattle_worker::scripted::schema(),
        Name::States => {
            session.ui.raw(state::all_tables().trim_start().as_bytes());
            return Ok(Exit::Reached);
        }
    };
    let text = serde_json::to_string_pretty(&schema).expect("a schema has string keys");
    session.ui.raw(format!("{text}\n").as_bytes());
    Ok(Exit::Reached)
}

/// What every event has, and what each type adds. Readers ignore what they do not know.
fn event_schema() -> Value {
    let types: Vec<Value> = KINDS
        .iter()
        .map(|(kind, keys)| {
            let keys: Vec<&str> = keys.split_whitespace().collect();
            let mut required = vec!["type"];
            required.extend(&keys);
            let mut properties = json!({ "type": { "const": kind } });
            for key in keys {
                properties[key] = json!(true);
            }
            json!({ "properties": properties, "required": required })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event",
        "type": "object",
        "properties": {
            "v": { "const": 1 },
            "seq": { "type": "integer", "minimum": 1 },
            "ts": { "type": "string", "format": "date-time" },
            "run": { "type": "string" },
            "type": { "type": "string" },
        },
        "required": ["v", "seq", "ts", "run", "type"],
        "anyOf": types,
    })
}
