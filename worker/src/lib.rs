//! One assignment of Wattle, behind the Host boundary: executors, the agent loop, the model wire and the tools.
//!
//! A worker knows its assignment and its worktree. It knows no plan, no other step and no target branch.

pub mod assignment;
pub mod host;
pub mod model;
pub mod outcome;
