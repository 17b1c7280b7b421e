//! The merge queue: which change lands next, on what it is checked, and when the target may move.
//!
//! [`plan`] decides, as a function of the journal; [`land`] acts with git. One landing is under way at a
//! time, over one entry or over a group. [`train`] is the planner of many checks at a time.

pub(crate) mod checks;
pub(crate) mod land;
pub(crate) mod plan;
pub mod train;
