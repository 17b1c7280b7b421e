//! The `wattle` binary.

mod cli;
mod clock;
mod config;
mod report;
mod ui;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
