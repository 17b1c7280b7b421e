//! The door for benchmarks: what they drive of this crate, in a form that promises nothing.

mod history;
mod scene;
mod world;

pub use crate::queue::train;
pub use history::{History, history};
pub use world::{Scheduled, scheduled};
