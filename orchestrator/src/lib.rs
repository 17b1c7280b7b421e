//! Everything behind the `wattle` binary. It is a library only so that benchmarks reach the pure cores; nothing in it
//! is a promise to other crates.

#[doc(hidden)]
pub mod bench;
mod cli;
mod clock;
mod config;
mod ids;
mod journal;
mod options;
mod queue;
mod report;
mod risk;
mod run;
mod state;
mod ui;

pub use cli::main;
