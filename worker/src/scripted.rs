//! The scripted model: a loopback server that speaks the real wires and answers from a file.
//!
//! It is what `--model script:FILE` and `wattle scripted` start, and the peer that the model wire is tested
//! against. So it shares no code with the client: it reads requests with its own eyes and refuses what the
//! real services refuse (`messages`, `chat`, `responses`), counts tokens and cache hits by their rules
//! (`entries`), bills by rates of its own (`bill`), limits (`limits`) and fails (`fault`) as they do,
//! and writes down every byte that came in (`journal`). What it says comes from the script alone
//! (`script`); `wattle schema script` prints the whole format:
//!
//! ```yaml
//! version: 1
//! seed: 7                       # ids, signatures and chaos come from it
//! keys: [secret]                # keys that are accepted; none = every one
//! prefill_tokens_per_second: 300000   # what is not in the cache takes time; absent = none
//! limits: { requests_per_minute: 50, input_tokens_per_minute: 400000, output_tokens_per_minute: 80000 }
//! models:                       # by name, `*` for all others; absent = every name is served
//!   claude-sonnet-5-5:
//!     cache: marks              # marks | breakpoints | steps | units | pages | none; default: by the name
//!     min_tokens: 512           # below it nothing is cached
//!     context_tokens: 200000    # above it a prompt is refused
//!     bound: true               # thinking blocks are bound to what stands before them
//!     fold_all: false           # thinking and effort count from the tools on
//!     rates: { input: 2000, output: 10000, cache_read: 100, write_short: 2500, write_long: 4000 }
//!     tiers: []                 # [{ above_tokens: N, rates: {…} }]; rates are nano-dollars per token
//! chaos: { percent: 5, faults: [{ status: 529 }, { cut_after_bytes: 400 }] }
//! quirks: []                    # habits of lesser servers on /v1/chat/completions; also on a reply
//! replies:
//!   - match:                    # all that are given have to hold; none = every request
//!       text: rename the parser # occurs in a text of the user (the shared brief is not searched)
//!       not_text: "# Feedback"  # occurs in none
//!       turn: 0                 # assistant messages so far
//!       tool_result: exit code  # occurs in a tool result of the newest message
//!       role: worker            # lead | worker, from the line `Role: …` of the first message
//!       model: claude-sonnet-5  # the model that is asked for
//!       wire: chat              # messages | chat | responses
//!     times: 1                  # how often it may be used; absent = always
//!     delay_ms: 50              # before the first byte
//!     advance_ms: 300000        # the server's clock jumps first: cache entries age
//!     blocks:
//!       - thinking: I look first.
//!       - text: I will edit.
//!       - { tool: Edit, input: { file_path: src/a.rs, old_string: a, new_string: b } }
//!       - { tool: Edit, arguments: "{not JSON" }
//!       - redacted: data
//!       - raw: { type: of_tomorrow, x: 1 }
//!     stop: tool_use            # default: tool_use where a tool is called, else end_turn
//!     fault:                    # what goes wrong, instead of or in the reply
//!       status: 529             # with retry_after (s), retry_after_ms, should_retry, kind, code, message,
//!                               # page: true (a proxy's page)
//!       reset: true             # no answer at all
//!       cut_after_bytes: 100
//!       stall_after_bytes: 100  # with stall_ms
//!       error_event: overloaded_error
//!       chunk_bytes: 1
//!       event_ms: 20            # before every event that carries output
//!       crlf: true
//!       pings: 2                # after every event
//!       whole: true             # JSON, though a stream was asked for
//!       duplicate: [message_start]
//!       unknown: true           # an event that nobody knows
//! ```
//!
//! What it does not do: images and files count as the text of their JSON; server tools, batches, message threads
//! and cache diagnostics are not served; a reply is as long as the script says, whatever `max_tokens` is (a cut one
//! is `stop: max_tokens`); and the unit that DeepSeek ends at the end of an output is left out, because no two
//! clients send a reply back in the same words.

mod bill;
mod chat;
mod entries;
mod exchange;
mod fault;
mod fields;
mod journal;
mod limits;
mod messages;
mod openai;
mod prompt;
mod refusal;
mod responses;
mod script;
mod seal;
mod serve;
mod stream;
mod traits;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::bill::Tokens;
use self::journal::Journal;
pub use self::journal::Record;
pub use self::prompt::Wire;
pub use self::script::{Script, ScriptError, schema};
use self::serve::{State, accept};

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The script cannot be used.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The port cannot be listened on.
    #[error("listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The journal cannot be written.
    #[error("write the journal {path}: {source}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// Port; 0 = any free one.
    pub port: u16,
    /// File that gets a line for every request as soon as its reply has ended.
    pub journal: Option<PathBuf>,
    /// Time of day at the start, in milliseconds since 1970: headers of rate limits tell times of day.
    pub epoch_ms: u64,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
    journal: Option<PathBuf>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Address for a client, without `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The bodies of all requests for a reply so far, as they came, in the order of their arrival.
    pub fn requests(&self) -> Vec<Bytes> {
        let records = self.journal().into_iter().filter(|record| !record.path.ends_with("/count_tokens"));
        records.map(|record| record.body).collect()
    }

    /// Everything that came in so far, in the order of arrival, with what was billed for it.
    pub fn journal(&self) -> Vec<Record> {
        self.state.journal.records()
    }

    /// Writes the journal so far to a file, one JSON object a line.
    ///
    /// # Errors
    /// Fails where the file cannot be written.
    pub fn write_journal(&self, path: &Path) -> io::Result<()> {
        journal::write(&self.journal(), path)
    }

    /// Moves the server's clock ahead: cache entries age, rate limits recover.
    pub fn advance(&self, by: Duration) {
        self.state.advance(by);
    }

    /// Ends the server and waits until nothing of it is left.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // The task ends by itself; it does not panic, and nobody aborts it.
            let _ = task.await;
        }
    }

    /// Ends the server, and says whether its journal is whole.
    ///
    /// # Errors
    /// Fails where the file of the journal could not be written.
    pub async fn finish(self) -> Result<(), ServeError> {
        let (state, path) = (Arc::clone(&self.state), self.journal.clone());
        self.shutdown().await;
        let path = path.unwrap_or_default();
        state.journal.flush().map_err(|source| ServeError::Journal { path, source })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a server that answers from a script file; port 0 = any free one.
///
/// # Errors
/// Fails where the script cannot be read or understood, or the port is taken.
pub async fn serve(script: &Path, port: u16) -> Result<Server, ServeError> {
    serve_script(Script::load(script)?, port).await
}

/// Starts a server that answers from the text of a script; port 0 = any free one.
///
/// # Errors
/// Fails where the script cannot be understood, or the port is taken.
pub async fn serve_text(script: &str, port: u16) -> Result<Server, ServeError> {
    serve_script(Script::parse(script)?, port).await
}

/// Starts a server that answers from a parsed script; port 0 = any free one.
///
/// # Errors
/// Fails where the port is taken.
pub async fn serve_script(script: Script, port: u16) -> Result<Server, ServeError> {
    serve_with(script, ServeOptions { port, ..ServeOptions::default() }).await
}

/// Starts a server.
///
/// # Errors
/// Fails where the port is taken, or the file of the journal cannot be made.
pub async fn serve_with(script: Script, options: ServeOptions) -> Result<Server, ServeError> {
    let port = options.port;
    let fault = |source| ServeError::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(fault)?;
    let addr = listener.local_addr().map_err(fault)?;
    let journal = match &options.journal {
        None => Journal::default(),
        Some(path) => Journal::to_file(path).map_err(|source| ServeError::Journal { path: path.clone(), source })?,
    };
    let state = Arc::new(State::new(script, journal, options.epoch_ms));
    let stop = CancellationToken::new();
    let task = tokio::spawn(accept(listener, Arc::clone(&state), stop.clone()));
    Ok(Server { addr, state, journal: options.journal, stop, task: Some(task) })
}

#[cfg(test)]
mod tests;
