//! Integration tests: the rules of the house, and the program as its users run it.

mod agent;
mod bad;
mod brief;
mod crash;
mod demo;
mod env;
mod faults;
mod hostile;
mod live;
mod overlay;
mod real;
mod repos;
mod run;
mod safety;
mod scale;
mod scripted;
mod second;
mod slots;
mod tidy;
mod trackers;
mod undo;
mod verbs;
