//! The wire `/v1/messages`: what it reads and refuses, and what it answers.

mod body;
mod conversation;
mod write;

#[cfg(test)]
mod tests;

pub(super) use self::body::read;
pub(super) use self::write::reply;
