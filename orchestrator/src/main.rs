//! The `wattle` binary.

mod clock;
mod ids;
mod journal;
mod options;
mod queue;
mod run;
mod state;

fn main() {}
