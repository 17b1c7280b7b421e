//! The pipes of one language server: what is asked goes out, what comes back is heard, and in the end nothing is left.
//!
//! One task owns the process. It reads, writes and drains the errors at once, so that neither side can block the other,
//! and it ends the server when it is told to, when nobody has asked for long, and when the server goes wrong.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::heard::{Facts, Gone, Heard, Refusal};
use super::wire;
use crate::process::server::{Leader, Leash, Program, serve};

/// Messages on their way to a server: one that does not read for so long is not answering either.
const OUTGOING_MAX: usize = 256;
/// What is kept of the errors that a server writes, in bytes: its last words, for the message that it has crashed.
const ERRORS_BYTES_MAX: usize = 2048;
/// Between `shutdown` and the killing of the process group. A healthy server needs some 10 ms; parking a run has 5 s.
const FAREWELL: Duration = Duration::from_secs(1);
/// Wait for the status of a process whose output has ended, and for the last of its errors.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// Wait for a killed process to be gone. Longer only when the kernel holds it.
const KILLED_WAIT: Duration = Duration::from_secs(2);
/// The id of `shutdown`, which no other request has.
const SHUTDOWN_ID: i64 = 0;

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server is gone.
    Gone(Gone),
    /// It did not answer in time.
    Late,
    /// It answered with an error.
    Refused(Refusal),
}

/// A server that is talked to; ended when dropped.
pub(super) struct Connection {
    outgoing: mpsc::Sender<Vec<u8>>,
    pub(super) heard: Arc<Heard>,
    next_id: AtomicI64,
    leash: Leash,
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Connection {
    /// Starts a server. `idle`: how long it lives with nobody asking. The permit is given back when it is gone.
    pub(super) fn open(
        program: &Program<'_>,
        facts: Facts,
        idle: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Result<Connection, String> {
        let (leader, input, output, errors, leash) = serve(program)?.parts();
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let heard = Arc::new(Heard::new(facts));
        let end = CancellationToken::new();
        let life = Life {
            leader,
            leash: leash.clone(),
            heard: Arc::clone(&heard),
            outgoing: outgoing.clone(),
            end: end.clone(),
            idle,
        };
        let task = tokio::spawn(async move {
            life.run(input, output, errors, queue).await;
            drop(permit);
        });
        Ok(Connection { outgoing, heard, next_id: AtomicI64::new(SHUTDOWN_ID + 1), leash, end, task })
    }

    /// Room for one message. What follows it happens at once, so that a caller who is dropped has sent all or nothing.
    async fn room(&self, deadline: Instant) -> Result<mpsc::Permit<'_, Vec<u8>>, Fault> {
        match timeout_at(deadline, self.outgoing.reserve()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(Fault::Gone(self.gone())),
            Err(_) => Err(Fault::Late),
        }
    }

    /// Why it is gone; to be asked when it is.
    fn gone(&self) -> Gone {
        self.heard.state().gone.clone().unwrap_or_else(|| Gone::Crashed("it is gone".to_owned()))
    }

    /// Is it gone, and why?
    pub(super) fn is_gone(&self) -> Option<Gone> {
        let gone = self.heard.state().gone.clone();
        gone.or_else(|| self.task.is_finished().then(|| Gone::Crashed("it is gone".to_owned())))
    }

    /// Asks something and waits for the answer.
    pub(super) async fn request(&self, method: &str, params: Value, deadline: Instant) -> Result<Value, Fault> {
        self.ask(method, params, deadline, None).await
    }

    /// The same; with the answer the server is known to have read the document `arms` as it is now.
    pub(super) async fn ask(
        &self,
        method: &str,
        params: Value,
        deadline: Instant,
        arms: Option<PathBuf>,
    ) -> Result<Value, Fault> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let room = self.room(deadline).await?;
        let (waiting, answer) = oneshot::channel();
        {
            let mut state = self.heard.state();
            state.used = Instant::now();
            state.wait_for(id, waiting, arms);
        }
        room.send(wire::encode(&message));
        let asked = Asked { connection: self, id };
        let answered = timeout_at(deadline, answer).await;
        drop(asked);
        match answered {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(refusal))) => Err(Fault::Refused(refusal)),
            Ok(Err(_)) => {
                // Why, is said after it has been put away.
                let why = self.heard.until(Instant::now() + FAREWELL + KILLED_WAIT, |state| state.gone.clone()).await;
                Err(Fault::Gone(why.unwrap_or_else(|| self.gone())))
            }
            Err(_) => Err(Fault::Late),
        }
    }

    /// Tells something. `with` runs at the moment of sending.
    pub(super) async fn notify(
        &self,
        method: &str,
        params: Value,
        deadline: Instant,
        with: impl FnOnce(&mut super::heard::State),
    ) -> Result<(), Fault> {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        let room = self.room(deadline).await?;
        with(&mut self.heard.state());
        room.send(wire::encode(&message));
        Ok(())
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn close(mut self) {
        self.end.cancel();
        // The only error is that the task has panicked; dropping ends the server all the same.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leash.end();
        self.task.abort();
    }
}

/// A request under way: an answer that nobody waits for any more is called off.
struct Asked<'a> {
    connection: &'a Connection,
    id: i64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.connection.heard.state().give_up(self.id) {
            let message = json!({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": self.id}});
            // A server whose queue is full is not helped by one message more.
            let _ = self.connection.outgoing.try_send(wire::encode(&message));
        }
    }
}

/// The life of a server, from its start to its end.
struct Life {
    leader: Leader,
    leash: Leash,
    heard: Arc<Heard>,
    outgoing: mpsc::Sender<Vec<u8>>,
    end: CancellationToken,
    idle: Duration,
}

impl Life {
    async fn run(
        mut self,
        input: ChildStdin,
        output: ChildStdout,
        errors: ChildStderr,
        queue: mpsc::Receiver<Vec<u8>>,
    ) {
        let words = Mutex::new(VecDeque::new());
        let drained = CancellationToken::new();
        let drain = drain(errors, &words, &drained);
        let talk = async {
            tokio::select! {
                why = hear(output, &self.heard, &self.outgoing) => why,
                why = tell(input, queue) => why,
            }
        };
        tokio::pin!(drain, talk);
        let why = tokio::select! {
            biased;
            () = self.end.cancelled() => None,
            () = unused(&self.heard, self.idle) => None,
            why = &mut talk => Some(why),
            how = self.leader.ended() => Some(how),
            () = &mut drain => None,
        };
        let gone = match why {
            None => {
                let farewell = farewell(&self.heard, &self.outgoing, &mut self.leader);
                let on = async {
                    tokio::join!(&mut talk, &mut drain);
                    std::future::pending::<()>().await
                };
                let _ = timeout(FAREWELL, async {
                    tokio::select! { () = farewell => {}, () = on => {} }
                })
                .await;
                Gone::Ended
            }
            Some(why) => {
                // Those who wait need not wait for the rest.
                self.heard.state().close();
                let how = timeout(LAST_WORDS, self.leader.ended()).await.ok();
                self.leash.end();
                let rest = async {
                    tokio::select! { () = &mut drain => {}, () = drained.cancelled() => {} }
                };
                let _ = timeout(LAST_WORDS, rest).await;
                let words = words.lock().unwrap_or_else(PoisonError::into_inner);
                Gone::Crashed(crashed(&why, how.as_deref(), words.iter().copied().collect()))
            }
        };
        self.leash.end();
        let _ = timeout(KILLED_WAIT, self.leader.ended()).await;
        {
            let mut state = self.heard.state();
            state.close();
            state.gone = Some(gone);
        }
        self.heard.changed();
    }
}

/// Why a server is gone, in words.
fn crashed(why: &str, how: Option<&str>, words: Vec<u8>) -> String {
    let mut text = why.to_owned();
    if let Some(how) = how.filter(|how| *how != why) {
        text.push_str(&format!("; {how}"));
    }
    let words = String::from_utf8_lossy(&words);
    if !words.trim().is_empty() {
        text.push_str(&format!("; its last words: {}", words.trim()));
    }
    text
}

/// Hears everything until there is no more; why not.
async fn hear(output: ChildStdout, heard: &Heard, outgoing: &mpsc::Sender<Vec<u8>>) -> String {
    let mut output = BufReader::new(output);
    loop {
        let message = match wire::read(&mut output).await {
            Ok(Some(message)) => message,
            Ok(None) => return "it closed its output".to_owned(),
            Err(error) => return error.to_string(),
        };
        if let Some(reply) = heard.hear(&message)
            && outgoing.try_send(wire::encode(&reply)).is_err()
        {
            return "it does not read what it is sent".to_owned();
        }
    }
}

/// Tells everything that is in the queue; why that is over.
async fn tell(mut input: ChildStdin, mut queue: mpsc::Receiver<Vec<u8>>) -> String {
    while let Some(bytes) = queue.recv().await {
        if let Err(error) = input.write_all(&bytes).await {
            return format!("it does not listen: {error}");
        }
    }
    "nobody talks to it".to_owned()
}

/// Reads the errors for ever, and keeps the last of them. `drained` is told when there are no more: a server may close
/// them and go on.
async fn drain(mut errors: ChildStderr, words: &Mutex<VecDeque<u8>>, drained: &CancellationToken) {
    let mut buffer = [0; 4096];
    loop {
        match errors.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                drained.cancel();
                return std::future::pending().await;
            }
            Ok(count) => {
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.extend(&buffer[..count]);
                let over = words.len().saturating_sub(ERRORS_BYTES_MAX);
                words.drain(..over);
            }
        }
    }
}

/// Waits until nobody has asked for so long.
async fn unused(heard: &Heard, idle: Duration) {
    loop {
        let until = {
            let state = heard.state();
            let until = state.used + idle;
            if Instant::now() >= until && state.nobody_waits() {
                return;
            }
            until.max(Instant::now() + idle / 8)
        };
        sleep_until(until).await;
    }
}

/// Says good-bye as the protocol has it, and waits for the process to go.
async fn farewell(heard: &Heard, outgoing: &mpsc::Sender<Vec<u8>>, leader: &mut Leader) {
    let (waiting, answer) = oneshot::channel();
    heard.state().wait_for(SHUTDOWN_ID, waiting, None);
    let shutdown = json!({"jsonrpc": "2.0", "id": SHUTDOWN_ID, "method": "shutdown"});
    let exit = json!({"jsonrpc": "2.0", "method": "exit"});
    if outgoing.send(wire::encode(&shutdown)).await.is_ok() && answer.await.is_ok() {
        let _ = outgoing.send(wire::encode(&exit)).await;
    }
    leader.ended().await;
}
