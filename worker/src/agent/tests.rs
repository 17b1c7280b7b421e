//! Whole conversations: the loop, the wire and the scripted model over loopback, on real repositories and slots.

mod bench;
mod context;
mod faults;
mod fork;
mod instructions;
mod jobs;
mod lead;
mod long;
mod patch;
mod regressions;
mod resume;
mod servers;
mod wires;
mod work;
