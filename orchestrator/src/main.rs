//! The `wattle` binary.

mod cli;
mod clock;
mod config;
mod ids;
mod journal;
mod options;
mod queue;
mod report;
mod run;
mod state;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
