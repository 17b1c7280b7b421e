//! What people and programs read: previews, status, reviews, costs. Views of a plan or of the journal; they
//! decide nothing.

pub(crate) mod preview;
