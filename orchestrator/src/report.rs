//! What people and programs read: previews, status, reviews, costs. Views of a plan or of the journal; they
//! decide nothing.

pub(crate) mod cost;
pub(crate) mod events;
pub(crate) mod preview;
pub(crate) mod reason;
pub(crate) mod review;
pub(crate) mod status;
pub(crate) mod stream;
