//! One call to the model, as money sees it: reserved before each attempt, a row of the ledger for each.
//!
//! The row of the attempt that gave the reply is handed to the loop, which journals it together with the turn. Those of
//! failed attempts are journaled as soon as they have failed, before another one is made: a crash loses none of them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wattle_cache::ledger::{self, money};
use wattle_cache::prefix::{Rendered, Target};
use wattle_cache::warm::kind::cache_key;

use super::{Halt, Task, record, send};
use crate::host::{Host, Message, Reply as HostReply, StepResult, Usage};
use crate::model::{Asking, Attempt, Model, ModelErrorKind, ModelRequest, Reason, Reply, Watch};
use crate::outcome::Cause;

/// Asks the model for one conversation.
pub(super) struct Caller {
    account: Arc<Account>,
    target: Target,
    /// Has it asked before?
    asked: bool,
}

/// What a conversation has to spend and has spent.
struct Account {
    host: Arc<dyn Host>,
    model: Arc<dyn Model>,
    model_name: String,
    max_nano_usd: Option<u64>,
    /// Nano-dollars spent, earlier tries of the attempt included.
    spent: AtomicU64,
}

/// One call, followed.
struct Following {
    account: Arc<Account>,
    prefix_sha: String,
    turn: u32,
    /// Upper guess of its prompt, and all the output it may give.
    bound: (u64, u64),
    /// Attempts that are journaled.
    journaled: AtomicU32,
    /// Why no further attempt may be made.
    halt: Mutex<Option<Halt>>,
}

impl Watch for Following {
    fn started(&self) {}

    fn again<'a>(&'a self, failed: &'a Attempt) -> Asking<'a> {
        Box::pin(async move {
            let row = self.row(failed);
            let ready = match record(&self.account.host, Message::Usage(Box::new(row))).await {
                Ok(_) => self.account.reserve(self.bound).await,
                Err(halt) => Err(halt),
            };
            match ready {
                Ok(()) => true,
                Err(halt) => {
                    *self.halt.lock().unwrap_or_else(PoisonError::into_inner) = Some(halt);
                    false
                }
            }
        })
    }
}

impl Following {
    /// The row of the next attempt, and counts what it has cost.
    fn row(&self, attempt: &Attempt) -> Usage {
        let number = self.journaled.fetch_add(1, Ordering::SeqCst) + 1;
        let account = &self.account;
        let price = account.model.price(&account.model_name);
        let nano_usd = price.as_ref().and_then(|price| attempt.usage.nano_usd(&price.rates));
        account.spent.fetch_add(nano_usd.unwrap_or(0), Ordering::SeqCst);
        Usage {
            provider: account.model.name().to_owned(),
            model: account.model_name.clone(),
            prefix_sha: self.prefix_sha.clone(),
            uncached_in: attempt.usage.uncached_in,
            cache_read: attempt.usage.cache_read,
            cache_write: attempt.usage.cache_write(),
            cache_write_long: attempt.usage.cache_write_long,
            out: attempt.usage.out,
            reasoning_out: attempt.reasoning_out,
            nano_usd,
            price: price.map(|price| price.snapshot(attempt.usage.prompt())),
            exact: attempt.exact,
            status: attempt.status,
            turn: self.turn,
            http_attempt: number,
            served: attempt.served.clone(),
            request_id: attempt.request_id.clone(),
            ttft_ms: attempt.ttft_ms,
            total_ms: attempt.total_ms,
            miss: attempt.miss.clone(),
        }
    }

    /// Attempts that are not journaled yet.
    fn open<'a>(&self, attempts: &'a [Attempt]) -> &'a [Attempt] {
        let done = self.journaled.load(Ordering::SeqCst) as usize;
        attempts.get(done..).unwrap_or_default()
    }
}

impl Caller {
    /// For a conversation.
    pub(super) fn new(task: &Task<'_>, model: Arc<dyn Model>, host: Arc<dyn Host>) -> Caller {
        let mut target = model.target().clone();
        if let Some(run) = target.dialect.cache_key.take() {
            // A key of the provider's cache serves a few workers; their prompts begin the same under each.
            target.dialect.cache_key = Some(cache_key(&run, model.join()));
        }
        let account = Account {
            host,
            model,
            model_name: task.model_name.to_owned(),
            max_nano_usd: task.max_nano_usd,
            spent: AtomicU64::new(task.spent_nano_usd),
        };
        Caller { account: Arc::new(account), target, asked: false }
    }

    /// Whom requests are rendered for.
    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// What is left of the conversation's own bound on money, in nano-dollars.
    pub(super) fn left_nano_usd(&self) -> Option<u64> {
        let spent = self.account.spent.load(Ordering::SeqCst);
        self.account.max_nano_usd.map(|max| max.saturating_sub(spent))
    }

    /// Tokens below which the model's provider caches nothing; 0 = unknown.
    pub(super) fn min_cache_tokens(&self) -> u64 {
        let price = self.account.model.price(&self.account.model_name);
        price.and_then(|price| price.min_cache_tokens).unwrap_or(0)
    }

    /// Tokens of the model's window, where they are known.
    pub(super) fn context_tokens(&self) -> Option<u64> {
        self.account.model.price(&self.account.model_name)?.context_tokens
    }

    /// Sends a request for the message with this index; gives the reply, and its row for the journal.
    pub(super) async fn call(
        &mut self,
        rendered: Rendered,
        max_tokens: u32,
        turn: u32,
    ) -> Result<(Reply, Usage), Halt> {
        let account = &self.account;
        let bound = (ledger::estimate_tokens(rendered.bytes.len()), u64::from(max_tokens));
        account.reserve(bound).await?;
        let following = Arc::new(Following {
            account: Arc::clone(account),
            prefix_sha: rendered.prefix_sha.clone(),
            turn,
            bound,
            journaled: AtomicU32::new(0),
            halt: Mutex::new(None),
        });
        let request = ModelRequest {
            bytes: rendered.bytes.into(),
            prefix_len: rendered.prefix_len,
            prefix_sha: rendered.prefix_sha,
            model: account.model_name.clone(),
            first: !std::mem::replace(&mut self.asked, true),
            watch: Some(Arc::clone(&following) as Arc<dyn Watch>),
        };
        let answered = account.model.stream(request, account.host.cancelled()).await;
        let attempts = match &answered {
            Ok(reply) => &reply.attempts,
            Err(error) => &error.attempts,
        };
        let open = following.open(attempts);
        let (last, earlier) = match (&answered, open.split_last()) {
            (Ok(_), Some((last, earlier))) => (Some(last), earlier),
            (Ok(_), None) | (Err(_), _) => (None, open),
        };
        let mut stopped = None;
        for attempt in earlier {
            // All are sent even when the work is being stopped: the money is spent.
            let row = following.row(attempt);
            stopped = record(&account.host, Message::Usage(Box::new(row))).await.err().or(stopped);
        }
        if let Some(halt) = stopped {
            return Err(halt);
        }
        let last = last.cloned().unwrap_or_default();
        let reply = match answered {
            Ok(reply) => reply,
            Err(error) => return Err(self.failed(&error.kind, &following).await),
        };
        Ok((reply, following.row(&last)))
    }

    /// What a call that gave no reply means for the conversation.
    async fn failed(&self, kind: &ModelErrorKind, following: &Following) -> Halt {
        if let Some(halt) = following.halt.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return halt;
        }
        let message = kind.to_string();
        if let Some(wall) = kind.stops_all() {
            let refused = Message::Result(StepResult::Refused { wall, message });
            return record(&self.account.host, refused).await.err().unwrap_or(Halt::Parked);
        }
        match kind {
            ModelErrorKind::Cancelled => Halt::Parked,
            ModelErrorKind::Fatal { reason, .. } => Halt::Failed(cause(*reason), message),
            ModelErrorKind::Exhausted { .. } | ModelErrorKind::RetriesSpent { .. } => {
                Halt::Failed(Cause::Model, message)
            }
        }
    }
}

/// What a provider's refusal means for the step.
fn cause(reason: Reason) -> Cause {
    match reason {
        Reason::Money => Cause::Budget,
        Reason::Key | Reason::UnknownModel | Reason::Address => Cause::ModelRefused,
        Reason::Context | Reason::TooLarge | Reason::Policy | Reason::Request => Cause::RequestRefused,
    }
}

impl Account {
    /// Asks for the money of one attempt.
    async fn reserve(&self, (prompt, out): (u64, u64)) -> Result<(), Halt> {
        let price = self.model.price(&self.model_name);
        let nano_usd = price.and_then(|price| ledger::reserve_nano_usd(prompt, out, &price.rates));
        if let Some(max) = self.max_nano_usd {
            let spent = self.spent.load(Ordering::SeqCst);
            let message = match nano_usd {
                None => Some(format!("max_usd is set, but the price of {} is not known", self.model_name)),
                Some(next) if spent.saturating_add(next) > max => {
                    let (next, spent, max) = (money::usd(next), money::usd(spent), money::usd(max));
                    Some(format!(
                        "the step's cap of {max} is reached: {spent} is spent, the next request may cost {next}"
                    ))
                }
                Some(_) => None,
            };
            if let Some(message) = message {
                let hit = StepResult::BoundHit { bound: "max_usd".to_owned(), message: message.clone() };
                record(&self.host, Message::Result(hit)).await?;
                return Err(Halt::Failed(Cause::Budget, message));
            }
        }
        match send(&self.host, Message::Reserve { tokens: prompt.saturating_add(out), nano_usd }).await {
            HostReply::Granted | HostReply::Ack { .. } | HostReply::Told { .. } | HostReply::Answer { .. } => Ok(()),
            HostReply::Refused { reason } => Err(Halt::Failed(Cause::Budget, reason)),
            HostReply::Cancel => Err(Halt::Parked),
        }
    }
}
