//! The journal: every state change of every run of one repository, in one SQLite file.
//!
//! What is not here did not happen. Events are written before their effects start; replaying them
//! rebuilds the state ([`replay`]). Views (progress, `status`, `review`, JSON) read nothing else.

pub(crate) mod blob;
mod change;
pub(crate) mod command;
pub(crate) mod event;
pub(crate) mod fold;
pub(crate) mod glance;
pub(crate) mod observed;
pub(crate) mod record;
pub(crate) mod recorder;
mod records;
pub(crate) mod replay;
pub(crate) mod store;
pub(crate) mod verdicts;

pub(crate) use event::{Body, Event};
pub(crate) use glance::Glance;
pub(crate) use record::RunView;
pub(crate) use recorder::Recorder;
pub(crate) use store::{JournalError, Reader, Writer};
