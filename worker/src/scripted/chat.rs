//! The wire `/v1/chat/completions`: what it reads and refuses, what it answers, and the habits of those who
//! speak it their own way.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub(super) use self::read::read;
pub(super) use self::write::reply;
