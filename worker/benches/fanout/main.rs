//! What workers that share a prefix cost, against the scripted model, which keeps a cache and a bill of its own.
//!
//! `cargo bench -p wattle-worker --bench fanout -- [FILTER]`. Tokens, money and cache hits are the same on every machine;
//! only times depend on it.

mod bill;
mod client;
mod fan;
mod session;
mod table;
mod turns;
mod waiting;
mod wire;

use std::error::Error;
use std::process::ExitCode;

use table::Table;

/// Whatever stops a measurement; the bench names it and goes on with the next.
type Res<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One group of lines: its name for the filter, and what measures it.
type Group = (&'static str, fn(&mut Table) -> Res<()>);

/// In the order of the table.
const GROUPS: &[Group] = &[
    ("fan", fan::run),
    ("turns", turns::run),
    ("session", session::run),
    ("bill", bill::run),
    ("wire", wire::run),
    ("waiting", waiting::run),
];

fn main() -> ExitCode {
    // Cargo hands every bench `--bench`; what it hands on of the user's comes after.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let mut table = Table::default();
    if arguments.first().is_some_and(|first| first == waiting::SERVE) {
        return match waiting::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                table.say(&format!("serve: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let mut good = true;
    for (name, measure) in GROUPS {
        if !filters.is_empty() && !filters.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        if let Err(error) = measure(&mut table) {
            table.say(&format!("{name}: not measured: {error}"));
            good = false;
        }
    }
    table.print();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
