//! Integration tests: the rules of the house, and the program as its users run it.

mod bad;
mod env;
mod tidy;
mod verbs;
