//! Language servers: what is defined where, used where, and wrong with a file as it is now.
//!
//! Servers are opt-in: only what the user or a trusted project has set up is ever started. They are expensive and
//! forgetful guests, and the room is built around the ways in which that has hurt others:
//! - A server lives for the worktree that it was started for, at most `SERVERS_MAX` at once, and ends when nobody has
//!   asked for five minutes, when its place is needed, and with the last step on its worktree (`Lease`); its whole
//!   process group goes with it (anomalyco/opencode#17287: eleven servers started, none ended).
//! - Diagnostics are those of the files as they are, or there are none: `heard` drops what is published for another
//!   version, `session` has made anew what something else may have changed, and who asks too early is told so
//!   (anomalyco/opencode#2694 and #5899, zeenix/rust-analyzer-mcp#12).
//! - A server that crashes is started again, a bounded number of times.
//!
//! The protocol is spoken with plain JSON: of each of its some ten requests two or three fields are used, and servers
//! differ in the forms of them, so generated types of the whole protocol would be more code to argue with than this.
//!
//! A server sees the worktree and the environment that the commands of a step see, and it may do what they may do. It
//! gets no edits applied and no command of its own executed.

mod answer;
mod connection;
mod heard;
mod pool;
mod position;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod trouble;
mod uri;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::answer::{Answer, At, Place, Question, Target};
pub(crate) use self::pool::Lease;
pub use self::pool::Pool;
pub(crate) use self::position::{Encoding, Position, Spot};
pub use self::settings::{ServerSettings, servers};
pub(crate) use self::trouble::Trouble;

/// Servers that live at once in one process: each is easily a gigabyte.
const SERVERS_MAX: usize = 2;
/// Starts after a crash, for one server on one worktree: a crash may be bad luck, three are not.
const RESTARTS_MAX: u32 = 2;
/// Questions in a row without an answer after which a server counts as hanging.
const UNANSWERED_MAX: u32 = 2;

/// The bounds of waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For a server to be done with what it does before its answer counts, and for fresh diagnostics. More would stall
    /// a conversation; it is told to ask again.
    pub(crate) quiet: Duration,
    /// For an answer: references in a large project take seconds.
    pub(crate) request: Duration,
    /// For a place among the servers that may live at once.
    pub(crate) room: Duration,
    /// How long a server lives that nobody asks.
    pub(crate) idle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            quiet: Duration::from_secs(2),
            request: Duration::from_secs(20),
            room: Duration::from_secs(10),
            idle: Duration::from_secs(5 * 60),
        }
    }
}

/// What a file of the worktree holds for a server.
pub(crate) enum Content {
    /// Its text.
    Text(String),
    /// None that a server could be given; the message is for the model.
    Not(String),
}

/// Reads a file of the worktree by its name. Whoever knows how a worktree is confined gives this.
pub(crate) type Reader = Arc<dyn Fn(&str) -> Content + Send + Sync>;

/// What a server calls the language of a file; `None` = the file is not its own. The longest extension counts.
fn language<'a>(settings: &'a ServerSettings, file: &str) -> Option<&'a str> {
    let fitting = settings.extension_to_language.iter().filter(|(extension, _)| file.ends_with(extension.as_str()));
    fitting.max_by_key(|(extension, _)| extension.len()).map(|(_, language)| language.as_str())
}

/// The model's place for a server's place in a text.
pub(crate) fn spot(text: &str, at: Position, encoding: Encoding) -> Spot {
    position::spot(text, position::offset(text, at, encoding))
}

/// A line of a text by its number from 1.
pub(crate) fn line(text: &str, number: usize) -> &str {
    position::line_of(text, number).map(|(_, line)| line).unwrap_or_default()
}
