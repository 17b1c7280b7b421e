//! Undoing and reworking: `wattle revert`, a user's own commits on step branches, and dependents that only move.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::Value;

use crate::env::{TestEnv, TestRepo};

mod by_hand;
mod restack;
mod revert;

/// A repository with a file in each of `a`, `b` and `c`, and a plan beside it.
fn world<'e>(env: &'e TestEnv, plan: &str) -> TestRepo<'e> {
    let repo = env.repo("r", &[("a/f", "old\n"), ("b/f", "old\n"), ("c/f", "old\n")]);
    std::fs::write(env.root().join("plan.yaml"), plan).unwrap();
    repo
}

/// The states of all steps of the newest run, or of a named one.
fn states(repo: &TestRepo<'_>, run: &[&str]) -> String {
    let status = repo.wattle(&[&["status", "--json"][..], run].concat()).ok().json();
    let steps = status["steps"].as_array().unwrap().iter();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    steps.map(|step| format!("{} {}", word(&step["id"]), word(&step["state"]))).collect::<Vec<_>>().join(", ")
}
