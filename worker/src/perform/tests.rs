//! The pipeline on real repositories and slots, with a host that records what it is told.

mod bench;
mod checks;
mod steps;
