//! The fault matrix: a run is killed, stopped or refused its disk at every fault point that it passes (see the module
//! `fault` of the workspace), goes on by `wattle resume`, and ends as the undisturbed run does.
//!
//! Which points there are is not kept anywhere: an undisturbed run lists what it passes. By default a sample of them is
//! tried, every point by name at least once; `WATTLE_FAULTS=all` tries each pass of each, `WATTLE_FAULTS=N` as many.

mod audit;
mod disk;
mod matrix;
mod meanwhile;
pub(crate) mod plans;
mod power;

use std::io::Write;

/// Tells whoever runs the tests something that is no failure: a count, or what was left out and why.
pub(crate) fn say(text: &str) {
    // Around the capture of the test harness: a number that nobody sees is no evidence.
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
