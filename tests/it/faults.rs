//! The fault matrix: a run is killed, stopped or refused its disk at every fault point that it passes (see the module
//! `fault` of the workspace), goes on by `wattle resume`, and ends as the undisturbed run does.
//!
//! Which points there are is not kept anywhere: an undisturbed run lists what it passes. By default a sample of them is
//! tried, every point by name at least once; `WATTLE_FAULTS=all` tries each pass of each, `WATTLE_FAULTS=N` as many.

mod audit;
mod disk;
mod machine;
mod matrix;
mod meanwhile;
pub(crate) mod plans;
mod power;
mod refusal;
mod theirs;

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tells whoever runs the tests something that is no failure: a count, or what was left out and why.
pub(crate) fn say(text: &str) {
    // Around the capture of the test harness: a number that nobody sees is no evidence.
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Tries each case, several at once; gives the sum of what they give, and those that failed.
pub(crate) fn each<C: Sync + std::fmt::Display>(
    cases: &[C],
    at_once: usize,
    run: impl Fn(&C) -> usize + Sync,
) -> (usize, Vec<String>) {
    let (next, sum, failures) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(case))) {
                        Ok(count) => _ = sum.fetch_add(count, Ordering::Relaxed),
                        Err(_) => failures.lock().expect("nothing panics under it").push(case.to_string()),
                    }
                }
            });
        }
    });
    (sum.into_inner(), failures.into_inner().expect("nothing panics under it"))
}
