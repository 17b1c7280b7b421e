//! One assignment of Wattle, behind the Host boundary: executors, the agent loop, the model wire and the tools.
//!
//! A worker knows its assignment and its worktree. It knows no plan, no other step and no target branch.

mod agent;
pub mod assignment;
pub mod bench;
mod equipment;
mod exec;
pub mod fork;
mod grammar;
pub mod host;
pub mod instructions;
pub mod lsp;
pub mod model;
pub mod outcome;
pub mod perform;
pub mod process;
pub mod scripted;
pub mod symbols;
pub mod tool;

pub use crate::agent::ledger;
pub use crate::exec::rewrite;
