//! The merge queue: which change lands next, on what it is checked, and when the target may move.
//!
//! [`train`] decides what is worth a check, on numbers alone; [`standing`] keeps what stands in the queue, [`places`] and
//! [`known`] say in which order and what is known of it; [`plan`] turns its answers into landings; [`land`] acts with git and [`audit`] looks
//! afterwards whether what was to land is there.

pub(crate) mod audit;
pub(crate) mod checks;
pub(crate) mod known;
pub(crate) mod land;
pub(crate) mod places;
pub(crate) mod plan;
pub(crate) mod standing;
pub mod train;
