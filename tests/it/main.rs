//! Integration tests: the rules of the house, and the program as its users run it.

mod crash;
mod env;
mod tidy;
mod verbs;
