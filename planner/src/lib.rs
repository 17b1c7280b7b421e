//! Plans: the plan file and its validation, the order of steps, recipes that shard a rewrite, and what the planning
//! agent is asked and may answer.
//!
//! Everything here is a pure function of its arguments: no file is read, no clock, no randomness.

mod amend;
mod file;
mod globs;
mod graph;
mod id;
mod plan;
mod problem;
mod reply;
mod request;
mod schema;
mod sense;
mod shard;
mod step;
mod task;
mod validate;
mod yaml;

pub use amend::{Amendment, amend};
pub use globs::{Glob, GlobError, escape as escape_glob, globs_cover, globs_overlap};
pub use graph::{Edge, EdgeKind};
pub use id::{GroupId, ID_BYTES_MAX, IdError, StepId};
pub use plan::{At, Check, Checkout, CommitStyle, Generated, Group, Land, Limits, Notify, Plan, Setup, Style};
pub use problem::{Problem, Problems};
pub use reply::{Frame, Submitted, plan_from_reply};
pub use request::lead_request;
pub use schema::{plan_schema, submit_plan_schema};
pub use shard::{By, ByError, ShardError, ShardInput, shard};
pub use step::{AgentSpec, Context, Mode, Repair, RuleSource, Step, StepCheck, Undo, Use, Work};
pub use task::{TASK_BYTES_MAX, TaskError, check as check_task, headline};
pub use validate::{overlaps, parse_plan, plan_of_steps};
