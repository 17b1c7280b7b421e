//! The options of a run: what was asked on the command line, after configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who lets work into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Approve {
    /// A human approves each commit.
    Manual,
    /// A step whose own check passes is queued.
    Auto,
}

/// How far a run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    /// To a plan.
    Plan,
    /// To commits that wait for review.
    Review,
    /// To commits on the target branch.
    Landed,
}

/// What happens when a worker asks and nobody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnInput {
    /// The step waits.
    Wait,
    /// The worker is told that nobody will answer.
    Deny,
    /// The step fails.
    Fail,
}

/// What the slots of a run are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Slots {
    /// A checkout each.
    #[default]
    Checkout,
    /// Overlay mounts over a checkout that they share, where the kernel allows.
    Overlay,
}

/// The options of a run, frozen in its first event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RunOptions {
    /// Name for people; the default is made of the task.
    pub(crate) name: Option<String>,
    /// Short name of the target branch.
    pub(crate) target: Option<String>,
    /// Revision to start from.
    pub(crate) base: Option<String>,
    /// Workers at once.
    pub(crate) jobs: u32,
    /// Checks at once.
    pub(crate) checks: u32,
    /// Who lets work into the queue.
    pub(crate) approve: Approve,
    /// How far it goes.
    pub(crate) until: Until,
    /// Was `until` asked for in so many words?
    pub(crate) until_explicit: bool,
    /// `PROVIDER/NAME` of the model.
    pub(crate) model: Option<String>,
    /// Money cap, in nano-dollars.
    pub(crate) nano_usd_max: Option<u64>,
    /// Token cap.
    pub(crate) tokens_max: Option<u64>,
    /// Disk cap of the pool, in bytes.
    pub(crate) disk_bytes_max: Option<u64>,
    /// Ignored files go when a slot changes hands.
    #[serde(default)]
    pub(crate) clean_ignored: bool,
    /// What slots are made of.
    #[serde(default)]
    pub(crate) slots: Slots,
    /// What happens when a worker asks.
    pub(crate) on_input: OnInput,
}
