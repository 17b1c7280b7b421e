//! Integration tests: the rules of the house, and the program as its users run it.

mod agent;
mod demo;
mod env;
mod hostile;
mod live;
mod real_input;
mod run;
mod tidy;
mod verbs;
