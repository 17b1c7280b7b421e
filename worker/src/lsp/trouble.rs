//! Why a question has no answer. The messages are for the model: they say what to do instead.

use std::time::Duration;

use thiserror::Error;

use super::heard::Gone;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Trouble {
    /// There is no server at all.
    #[error(
        "no language server is set up; a user sets one up as `lsp:` in .wattle/config.yaml or in .lsp.json, like \
         {{\"python\": {{\"command\": \"pyright-langserver\", \"args\": [\"--stdio\"], \"extensionToLanguage\": {{\".py\": \"python\"}}}}}}. \
         Use Grep and Read instead"
    )]
    NoneSet,
    /// There is none for such a file.
    #[error("no language server is set up for {file}; there are some for {known}. Use Grep and Read instead")]
    NotForFile {
        /// The file.
        file: String,
        /// The extensions that have one.
        known: String,
    },
    /// It cannot be started.
    #[error("the language server {server} does not start: {why}")]
    NoStart {
        /// Its name.
        server: String,
        /// Why.
        why: String,
    },
    /// It did not start in time.
    #[error("the language server {server} was not ready after {} ms and was ended; `startupTimeout` sets that bound", .after.as_millis())]
    SlowStart {
        /// Its name.
        server: String,
        /// The bound.
        after: Duration,
    },
    /// It crashed too often.
    #[error(
        "the language server {server} crashed {times} times and is not started again here, the last time: {why}. Use Grep and Read instead"
    )]
    GivenUp {
        /// Its name.
        server: String,
        /// How often.
        times: u32,
        /// Its last words.
        why: String,
    },
    /// All that may run are in use.
    #[error("not ready: all language servers are in use; ask again")]
    Full,
    /// It is still at work, and what it would say now may be wrong.
    #[error("not ready: the language server is still at work on the files as they are now; ask again")]
    NotReady,
    /// It did not answer in time.
    #[error("the language server did not answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// It is gone.
    #[error("the language server is gone{}", match .0 { Gone::Ended => String::new(), Gone::Crashed(why) => format!(": {why}") })]
    Gone(Gone),
    /// It answered with an error.
    #[error("the language server says: {0}")]
    Refused(String),
    /// It answered that it should be asked again.
    #[error("not ready: the language server says: {0}; ask again")]
    Transient(String),
    /// It cannot do that.
    #[error("this language server has no {0}")]
    Unsupported(&'static str),
    /// The question cannot be asked.
    #[error("{0}")]
    Input(String),
    /// The work was stopped.
    #[error("stopped")]
    Stopped,
}
