//! The scripted model: a loopback server that speaks the real streaming wire and answers from a file.
//!
//! It is what `--model script:FILE` starts, and the peer that the model wire is tested against. So it shares
//! no code with the client: it reads requests with its own eyes and refuses what the real service refuses
//! (`request`), counts tokens and cache hits by the service's rules (`account`), and answers
//! with the service's error objects. What it says comes from the script alone (`script`):
//!
//! ```yaml
//! version: 1
//! replies:
//!   - match:                    # all that are given have to hold; none = every request
//!       text: rename the parser # occurs in a text of the user (the shared brief is not searched)
//!       not_text: "# Feedback"  # occurs in none
//!       turn: 0                 # assistant messages so far
//!       tool_result: exit code  # occurs in a tool result of the newest message
//!       role: worker            # lead | worker, from the line `Role: …` of the first message
//!       model: claude-sonnet-5  # the model that is asked for
//!     times: 1                  # how often it may be used; absent = always
//!     delay_ms: 50              # before the first byte
//!     blocks:
//!       - text: I will edit.
//!       - { tool: Edit, input: { file_path: src/a.rs, old_string: a, new_string: b } }
//!     stop: tool_use            # default: tool_use where a tool is called, else end_turn
//!     fault:                    # what goes wrong, instead of or in the reply
//!       status: 529             # with retry_after: SECONDS
//!       cut_after_bytes: 100
//!       error_event: overloaded_error
//! ```

mod account;
mod request;
mod script;
mod wire;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::account::Accounts;
use self::request::{Parsed, Refusal};
pub use self::script::{Script, ScriptError};
use self::wire::Body;

/// Bound on a request, the real service's own.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

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
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Server {
    /// Address for a client, without `/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The bodies of all requests for a message so far, as they came, in the order of their arrival.
    pub fn requests(&self) -> Vec<Bytes> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the server and waits until nothing of it is left.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // The task ends by itself; it does not panic, and nobody aborts it.
            let _ = task.await;
        }
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
    let fault = |source| ServeError::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(fault)?;
    let addr = listener.local_addr().map_err(fault)?;
    let state = Arc::new(State {
        script: Mutex::new(script),
        accounts: Mutex::new(Accounts::default()),
        requests: Mutex::new(Vec::new()),
    });
    let stop = CancellationToken::new();
    let task = tokio::spawn(accept(listener, Arc::clone(&state), stop.clone()));
    Ok(Server { addr, state, stop, task: Some(task) })
}

/// What connections share.
#[derive(Debug)]
struct State {
    script: Mutex<Script>,
    accounts: Mutex<Accounts>,
    requests: Mutex<Vec<Bytes>>,
}

async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&state)));
                }
                // Out of descriptors, most likely: the next one may fare better.
                Err(error) => tracing::debug!(%error, "scripted model: accept failed"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(request, &state).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        // A client that went away, or a reply that the script cut off.
        tracing::debug!(%error, "scripted model: connection ended early");
    }
}

async fn answer(request: Request<Incoming>, state: &State) -> Response<Body> {
    let (head, body) = request.into_parts();
    let counting = match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/messages") => false,
        (&Method::POST, "/v1/messages/count_tokens") => true,
        (method, path) => {
            let message = format!("{method} {path} is not served");
            return wire::error(&Refusal::new(404, "not_found_error", message));
        }
    };
    let body = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => {
            return wire::error(&Refusal::new(413, "request_too_large", error.to_string()));
        }
    };
    if !counting {
        state.requests.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
    }
    let parsed = match request::check(&head.headers, &body, counting) {
        Ok(parsed) => parsed,
        Err(refusal) => return wire::error(&refusal),
    };
    if counting {
        return wire::count(account::tokens(&parsed));
    }
    reply(&parsed, &body, state).await
}

async fn reply(parsed: &Parsed, body: &Bytes, state: &State) -> Response<Body> {
    let chosen = state.script.lock().unwrap_or_else(PoisonError::into_inner).choose(parsed);
    let chosen = match chosen {
        Some(chosen) => chosen,
        None => {
            let message = format!("no reply of the script matches: {}", script::describe(parsed));
            return wire::error(&Refusal::new(400, "invalid_request_error", message));
        }
    };
    if chosen.delay_ms > 0 {
        // What the script asks for, so that several workers can be seen at once.
        tokio::time::sleep(Duration::from_millis(chosen.delay_ms)).await;
    }
    if let Some(status) = chosen.fault.status {
        let kind = wire::error_kind(status);
        let mut refusal = Refusal::new(status, kind, format!("the script answers {status}"));
        refusal.retry_after = chosen.fault.retry_after;
        return wire::error(&refusal);
    }
    let bill = state.accounts.lock().unwrap_or_else(PoisonError::into_inner).bill(parsed);
    wire::message(parsed, body, &chosen, bill)
}
