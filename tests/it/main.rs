//! Integration tests: the rules of the house, and the program as its users run it.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod agent;
mod demo;
mod env;
mod hostile;
mod live;
mod run;
mod tidy;
mod verbs;
