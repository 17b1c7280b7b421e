//! One execution of a plan: what is decided, by whom, and how it is carried out.
//!
//! [`scheduler`] decides purely; [`dispatcher`] alone owns the state and sees everything in one order;
//! [`executor`] performs effects and sends what came of them back. [`begin`] freezes the inputs,
//! [`recover`] asks the world what happened before a crash.

pub(crate) mod agenda;
pub(crate) mod attempt;
pub(crate) mod begin;
pub(crate) mod begins;
pub(crate) mod brief;
pub(crate) mod check;
pub(crate) mod clean;
pub(crate) mod consult;
pub(crate) mod context;
pub(crate) mod conversation;
pub(crate) mod definitions;
pub(crate) mod dispatcher;
pub(crate) mod drive;
pub(crate) mod executor;
pub(crate) mod generate;
pub(crate) mod host;
pub(crate) mod input;
pub(crate) mod jobs;
pub(crate) mod lead;
pub(crate) mod limits;
pub(crate) mod models;
pub(crate) mod notify;
pub(crate) mod outcome;
pub(crate) mod overlay;
pub(crate) mod predict;
pub(crate) mod ranks;
pub(crate) mod recover;
pub(crate) mod request;
pub(crate) mod rules;
pub(crate) mod salvage;
pub(crate) mod scheduler;
pub(crate) mod shape;
pub(crate) mod shared;
pub(crate) mod theirs;
pub(crate) mod undo;
pub(crate) mod verbs;
pub(crate) mod wake;

#[cfg(test)]
mod tests;
