//! Choices that flags, environment and configuration share.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Who lets a step's commit into the merge queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Approve {
    /// A human, with `wattle approve`.
    Manual,
    /// The step's own check, as soon as it passes.
    Auto,
}

/// What a question to a human does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnInput {
    /// The step waits for `wattle answer`; everything else goes on.
    Wait,
    /// Every question is answered with a no.
    Deny,
    /// The step fails.
    Fail,
}

/// The end that a run is asked to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    /// A plan exists.
    Plan,
    /// Every step has ended or waits for review.
    Review,
    /// Everything has landed.
    Landed,
}
