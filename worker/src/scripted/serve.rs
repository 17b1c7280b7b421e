//! The server: connections, paths, and the way of a request from its bytes to its reply.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entries::{Charge, Entries};
use super::exchange::{self, Exchange};
use super::fault::Fault;
use super::journal::{Journal, Receipt};
use super::limits::{Buckets, Headers};
use super::prompt::{Prompt, Wire};
use super::refusal::{Refusal, invalid};
use super::script::{self, Chosen, Script, Settings};
use super::seal::Seal;
use super::stream::{Body, whole};
use super::traits::{Traits, served, traits};
use super::{chat, messages, responses};

/// Bound on a request, the real service's own.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bound on connections: more than a run of 500 workers has.
const CONNECTIONS_MAX: usize = 4096;
/// Bound on the number of different bodies that are told apart where chance strikes.
const BODIES_MAX: usize = 1_000_000;

/// What connections share.
#[derive(Debug)]
pub(super) struct State {
    settings: Arc<Settings>,
    script: Mutex<Script>,
    cache: Mutex<Cache>,
    pub(super) journal: Arc<Journal>,
    start: Instant,
    /// Time of day at the start, in milliseconds since 1970.
    epoch_ms: u64,
    /// How far the clock has been moved ahead.
    ahead_ms: AtomicU64,
}

/// What requests leave behind.
#[derive(Debug, Default)]
struct Cache {
    entries: Entries,
    buckets: Buckets,
    /// How often each body came.
    bodies: HashMap<blake3::Hash, u64>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Reply(Wire),
    Count,
    Models,
    Slots,
}

impl State {
    pub(super) fn new(script: Script, journal: Journal, epoch_ms: u64) -> State {
        State {
            settings: Arc::clone(&script.settings),
            script: Mutex::new(script),
            cache: Mutex::default(),
            journal: Arc::new(journal),
            start: Instant::now(),
            epoch_ms,
            ahead_ms: AtomicU64::new(0),
        }
    }

    /// Moves the clock ahead: cache entries age, buckets fill.
    pub(super) fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(millis(by), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        millis(self.start.elapsed()).saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Accepts connections until it is told to stop; then none is left.
pub(super) async fn accept(listener: TcpListener, state: Arc<State>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
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
    // Small pieces go out as they are.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { answer(request, &state).await }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        // A client that went away, or a reply that the script cut off.
        tracing::debug!(%error, "scripted model: connection ended early");
    }
}

fn asked(method: &Method, path: &str) -> Option<Asked> {
    match (method, path) {
        (&Method::POST, "/v1/messages") => Some(Asked::Reply(Wire::Messages)),
        (&Method::POST, "/v1/messages/count_tokens") => Some(Asked::Count),
        (&Method::POST, "/v1/chat/completions" | "/chat/completions") => Some(Asked::Reply(Wire::Chat)),
        (&Method::POST, "/v1/responses" | "/responses") => Some(Asked::Reply(Wire::Responses)),
        (&Method::GET, "/v1/models") => Some(Asked::Models),
        (&Method::GET, "/props") => Some(Asked::Slots),
        _ => None,
    }
}

/// One request; an error closes the connection without an answer.
async fn answer(request: Request<Incoming>, state: &State) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let Some(asked) = asked(&head.method, path) else {
        let refusal = Refusal::new(404, format!("{} {path} is not served", head.method));
        let wire = if path.contains("/messages") { Wire::Messages } else { Wire::Chat };
        return Ok(refusal.response(wire, &exchange::request_id("unknown")));
    };
    let wire = match asked {
        Asked::Reply(wire) => wire,
        Asked::Count => Wire::Messages,
        Asked::Models => return Ok(model_list(&state.settings)),
        Asked::Slots => return Ok(slots(&state.settings)),
    };
    let body = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => {
            let refusal = Refusal::new(413, error.to_string());
            return Ok(refusal.response(wire, &exchange::request_id("unread")));
        }
    };
    let hash = blake3::hash(&body);
    let id = exchange::id(state.settings.seed, &hash);
    let mut receipt = state.journal.open(path, &head.headers, &body, state.now_ms());
    let answered = match asked {
        Asked::Count => count(&head.headers, &body, state),
        _ => reply(wire, &head.headers, &body, hash, state, &mut receipt).await,
    };
    let mut response = match answered {
        Ok(Answer::Reset) => {
            receipt.note(|record| record.fault = "reset".to_owned());
            return Err(io::Error::other("the script closes the connection"));
        }
        Ok(Answer::Count(tokens)) => {
            receipt.note(|record| record.status = 200);
            whole(&json!({"input_tokens": tokens}), Some(receipt), 0, &Fault::default())
        }
        Ok(Answer::Reply(reply)) => reply.send(receipt, &id, state),
        Err(refusal) => {
            receipt.note(|record| record.status = refusal.status);
            drop(receipt);
            refusal.response(wire, &exchange::request_id(&id))
        }
    };
    let name = if wire == Wire::Messages { "request-id" } else { "x-request-id" };
    let value = HeaderValue::from_str(&exchange::request_id(&id)).expect("digits are a header value");
    response.headers_mut().insert(HeaderName::from_static(name), value);
    Ok(response)
}

/// An answer that is no refusal.
enum Answer {
    Count(u64),
    Reset,
    Reply(Box<Reply>),
}

/// A reply that can be sent.
struct Reply {
    prompt: Prompt,
    seal: Seal,
    chosen: Arc<Chosen>,
    charge: Charge,
    headers: Headers,
}

impl Reply {
    fn send(self, mut receipt: Receipt, id: &str, state: &State) -> Response<Body> {
        let exchange = Exchange {
            prompt: &self.prompt,
            chosen: &self.chosen,
            tokens: self.charge.tokens,
            seed: state.settings.seed,
            id: id.to_owned(),
        };
        receipt.note(|record| record.status = 200);
        let mut response = match self.prompt.wire {
            Wire::Messages => messages::reply(&exchange, self.seal, receipt),
            Wire::Chat => chat::reply(&exchange, &state.settings, receipt),
            Wire::Responses => responses::reply(&exchange, receipt),
        };
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(&value).expect("numbers and dates are header values");
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        response
    }
}

fn read(wire: Wire, headers: &HeaderMap, body: &[u8], settings: &Settings) -> Result<(Prompt, Seal), Refusal> {
    match wire {
        Wire::Messages => messages::read(headers, body, settings, false),
        Wire::Chat => chat::read(headers, body, settings).map(|prompt| (prompt, Seal::default())),
        Wire::Responses => responses::read(headers, body, settings).map(|prompt| (prompt, Seal::default())),
    }
}

fn count(headers: &HeaderMap, body: &[u8], state: &State) -> Result<Answer, Refusal> {
    let (prompt, _) = messages::read(headers, body, &state.settings, true)?;
    known_model(&prompt, &state.settings)?;
    Ok(Answer::Count(prompt.tokens()))
}

fn known_model(prompt: &Prompt, settings: &Settings) -> Result<(), Refusal> {
    if served(&settings.models, &prompt.model) {
        return Ok(());
    }
    Err(match prompt.wire {
        Wire::Messages => Refusal::new(404, format!("model: {}", prompt.model)),
        Wire::Chat | Wire::Responses => {
            let message = format!("The model `{}` does not exist or you do not have access to it.", prompt.model);
            Refusal::new(404, message).code("model_not_found").param("model")
        }
    })
}

fn check_length(prompt: &Prompt, traits: &Traits) -> Result<(), Refusal> {
    let tokens = prompt.tokens();
    match traits.context_tokens {
        Some(max) if tokens > max => Err(match prompt.wire {
            Wire::Messages => invalid(format!("prompt is too long: {tokens} tokens > {max} maximum")),
            Wire::Chat | Wire::Responses => {
                let message = format!(
                    "This model's maximum context length is {max} tokens. However, your messages resulted in {tokens} tokens."
                );
                invalid(message).code("context_length_exceeded").param("messages")
            }
        }),
        Some(_) | None => Ok(()),
    }
}

async fn reply(
    wire: Wire,
    headers: &HeaderMap,
    body: &Bytes,
    hash: blake3::Hash,
    state: &State,
    receipt: &mut Receipt,
) -> Result<Answer, Refusal> {
    let settings = &state.settings;
    let (prompt, seal) = read(wire, headers, body, settings)?;
    receipt.note(|record| record.model.clone_from(&prompt.model));
    known_model(&prompt, settings)?;
    let traits = traits(&settings.models, wire, &prompt.model);
    check_length(&prompt, &traits)?;
    let chosen = choose(&prompt, hash, state)?;
    receipt.note(|record| {
        record.reply = (chosen.number > 0).then_some(chosen.number);
        record.fault = chosen.fault.describe();
    });
    state.advance(Duration::from_millis(chosen.advance_ms));
    let start_ms = state.now_ms();
    if chosen.fault.reset || chosen.fault.status.is_some() {
        sleep(chosen.delay_ms).await;
        return chosen.fault.refusal(wire).map_or(Ok(Answer::Reset), Err);
    }
    let (charge, headers) = {
        let mut cache = state.cache();
        let mut charge = cache.entries.look_up(&prompt, &traits, start_ms);
        charge.tokens.out = exchange::out(&prompt, &chosen);
        let headers = match &settings.limits {
            None => Headers::new(),
            Some(limits) => {
                let times = (state.epoch_ms, start_ms);
                cache.buckets.take(limits, wire, &prompt.model, &charge.tokens, times)?
            }
        };
        cache.entries.renew(&charge);
        (charge, headers)
    };
    let cold = charge.tokens.prompt() - charge.tokens.read;
    let prefill_ms = settings.prefill_tokens_per_second.map_or(0, |rate| cold * 1000 / rate);
    sleep(chosen.delay_ms + prefill_ms).await;
    // The reply begins: what it has written can be read from now on, and its prompt is paid for.
    state.cache().entries.commit(&charge);
    let mut tokens = charge.tokens;
    tokens.out = 0;
    receipt.charge(tokens, traits.rates, &traits.tiers);
    Ok(Answer::Reply(Box::new(Reply { prompt, seal, chosen, charge, headers })))
}

/// The reply of the script, with the fault that strikes by chance.
fn choose(prompt: &Prompt, hash: blake3::Hash, state: &State) -> Result<Arc<Chosen>, Refusal> {
    let nth = {
        let mut cache = state.cache();
        let full = cache.bodies.len() >= BODIES_MAX;
        if full { 0 } else { *cache.bodies.entry(hash).and_modify(|nth| *nth += 1).or_insert(0) }
    };
    let struck = state.settings.strike(&hash, nth);
    if let Some(fault) = struck.filter(|fault| fault.reset || fault.status.is_some()) {
        // No reply of the script is used up by it.
        return Ok(Arc::new(Chosen { fault: fault.clone(), ..Chosen::default() }));
    }
    let chosen = state.script.lock().unwrap_or_else(PoisonError::into_inner).choose(prompt);
    let chosen =
        chosen.ok_or_else(|| invalid(format!("no reply of the script matches: {}", script::describe(prompt))))?;
    Ok(match struck {
        Some(fault) => Arc::new(Chosen { fault: fault.clone(), ..(*chosen).clone() }),
        None => chosen,
    })
}

async fn sleep(ms: u64) {
    if ms > 0 {
        // What the script asks for, so that several workers can be seen at once.
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn model_list(settings: &Settings) -> Response<Body> {
    let models = settings.models.keys().filter(|name| *name != "*");
    let models = models.map(|name| json!({"id": name, "object": "model", "created": 0, "owned_by": "script"}));
    whole(&json!({"object": "list", "data": models.collect::<Vec<_>>()}), None, 0, &Fault::default())
}

fn slots(settings: &Settings) -> Response<Body> {
    match settings.slots {
        Some(slots) => whole(&json!({"total_slots": slots}), None, 0, &Fault::default()),
        None => Refusal::new(404, "no slots in the script").response(Wire::Chat, &exchange::request_id("props")),
    }
}
