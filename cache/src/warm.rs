//! Warm once, then fan out: who may ask a model that many workers share, and when.
//!
//! A provider's cache entry can be read only once the reply that wrote it has begun. N workers that ask at the same
//! moment would each pay for writing the prefix; so the first one leads and the others wait until its reply begins.
//! The gate is a state machine without a clock: it is told the time (milliseconds since any fixed moment), it answers
//! who may go and until when the others wait, and waiting is its caller's.
//!
//! ```text
//!            ask                    started                 idle longer than the entry lives
//!   cold ──────────► leading ──────────────────► warm ──────────────────────────────────────► cold
//!    ▲                 │  │ nothing begins for 30 s          (the next to ask leads again)
//!    └── the lead ends ┘  └───────────► everybody goes, each on its own account
//!        before its reply begins: who asks next leads
//! ```
//!
//! Followers do not leave all at once: after a release they go in a ramp, so that a burst does not trip the limits of
//! an account. Each follower's first usage is checked against the size of the prefix: a miss has a reason.

mod choice;
pub mod differ;
pub mod kind;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ledger::Tokens;
pub use choice::choose_ttl;

/// Longest wait for a lead's reply to begin: a long prompt is read in seconds, and a queue at the provider that is
/// longer than this costs more time than a second writing of the prefix costs money.
pub const LEAD_MS_MAX: u64 = 30_000;
/// Followers that go at once after a release: as many as small accounts may send in a second.
pub const RAMP_BURST: u32 = 4;
/// Pause between two followers after those, in milliseconds: four a second.
pub const RAMP_MS: u64 = 250;
/// How long an entry with the short time to live is counted on: five minutes from the start of the request that
/// wrote or read it, less what clocks and networks may differ by.
pub const SHORT_MS: u64 = 5 * 60_000 - 10_000;
/// The same for the long time to live, of one hour.
pub const LONG_MS: u64 = 60 * 60_000 - 10_000;
/// Part of the prefix that a follower's first request has to read, in percent: the size of the prefix is known by its
/// share of the lead's bytes, not to the token.
const READ_PERCENT_MIN: u64 = 90;

/// How a gate behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Is there a gate at all? Without one every worker goes at once.
    pub enabled: bool,
    /// Longest wait for a lead.
    pub lead_ms_max: u64,
    /// Followers that go at once.
    pub burst: u32,
    /// Pause between two followers after those; 0 = no ramp.
    pub ramp_ms: u64,
    /// How long an unused entry is counted on.
    pub ttl_ms: u64,
    /// Requests to a local server at once, by the number of its slots: with more, prefixes push each other out of its
    /// memory. `None` = no bound.
    pub at_once: Option<u32>,
}

impl Default for Policy {
    fn default() -> Self {
        let (burst, ramp_ms) = (RAMP_BURST, RAMP_MS);
        Self { enabled: true, lead_ms_max: LEAD_MS_MAX, burst, ramp_ms, ttl_ms: SHORT_MS, at_once: None }
    }
}

/// One request at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// How a request goes through the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It writes the prefix; others wait for it.
    Lead,
    /// The prefix is there: it is to read it.
    Follower,
    /// Nobody knows whether the prefix is there: the lead has not begun in time, or there is no gate.
    Alone,
}

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send.
    Go(Role),
    /// Ask again when something has changed, or at this time at the latest.
    Wait {
        /// That time.
        until_ms: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Cold,
    Leading { lead: Ticket, since_ms: u64 },
    Warm { used_ms: u64 },
}

/// The gate of one prefix at one provider.
#[derive(Debug, Clone)]
pub struct Gate {
    policy: Policy,
    phase: Phase,
    tickets: u64,
    /// Requests that are under way, with how they went through.
    under_way: BTreeMap<Ticket, Role>,
    /// When the next worker may go, by the ramp.
    ramp_at_ms: u64,
    /// Those who have a time of their own to go at, by the ramp.
    planned: BTreeMap<Ticket, u64>,
    /// Tokens of the prefix, once a reply has told.
    prefix_tokens: Option<u64>,
}

impl Gate {
    /// A gate before which nobody has been yet.
    pub fn new(policy: Policy) -> Self {
        let (under_way, planned) = (BTreeMap::new(), BTreeMap::new());
        Self { policy, phase: Phase::Cold, tickets: 0, under_way, ramp_at_ms: 0, planned, prefix_tokens: None }
    }

    /// Somebody wants to send a request.
    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// May it go? Who is told to go is under way until [`Gate::ended`]. The `first` request of a worker keeps to the
    /// ramp; the others come one by one anyway.
    pub fn ask(&mut self, ticket: Ticket, first: bool, now_ms: u64) -> Verdict {
        if !self.policy.enabled {
            return self.go(ticket, Role::Alone);
        }
        if let Some(most) = self.policy.at_once
            && self.under_way.len() >= most as usize
        {
            return Verdict::Wait { until_ms: u64::MAX };
        }
        let role = match self.phase {
            Phase::Warm { used_ms } if now_ms.saturating_sub(used_ms) < self.policy.ttl_ms => Role::Follower,
            Phase::Cold | Phase::Warm { .. } => {
                self.phase = Phase::Leading { lead: ticket, since_ms: now_ms };
                self.ramp_at_ms = 0;
                self.planned.clear();
                return self.go(ticket, Role::Lead);
            }
            Phase::Leading { since_ms, .. } => {
                let until_ms = since_ms.saturating_add(self.policy.lead_ms_max);
                if now_ms < until_ms {
                    return Verdict::Wait { until_ms };
                }
                Role::Alone
            }
        };
        let at_ms = if first { self.ramp(ticket, now_ms) } else { now_ms };
        if at_ms > now_ms {
            return Verdict::Wait { until_ms: at_ms };
        }
        self.planned.remove(&ticket);
        if let Phase::Warm { used_ms } = &mut self.phase {
            // The request that reads an entry keeps it alive, from its start on.
            *used_ms = (*used_ms).max(now_ms);
        }
        self.go(ticket, role)
    }

    /// When it may go by the ramp: a burst, then one each pause. Everybody has a time of its own, so that those who
    /// wait are not all woken for one to go.
    fn ramp(&mut self, ticket: Ticket, now_ms: u64) -> u64 {
        if let Some(at_ms) = self.planned.get(&ticket) {
            return *at_ms;
        }
        let credit = self.policy.ramp_ms.saturating_mul(u64::from(self.policy.burst.saturating_sub(1)));
        let at_ms = self.ramp_at_ms.saturating_sub(credit).max(now_ms);
        self.ramp_at_ms = self.ramp_at_ms.max(now_ms).saturating_add(self.policy.ramp_ms);
        self.planned.insert(ticket, at_ms);
        at_ms
    }

    fn go(&mut self, ticket: Ticket, role: Role) -> Verdict {
        self.under_way.insert(ticket, role);
        Verdict::Go(role)
    }

    /// Its reply has begun. Does that let others go?
    pub fn started(&mut self, ticket: Ticket) -> bool {
        match self.phase {
            Phase::Leading { lead, since_ms } if lead == ticket => {
                self.phase = Phase::Warm { used_ms: since_ms };
                true
            }
            // Whoever went alone and began before the lead has written the prefix just as well.
            Phase::Leading { since_ms, .. } if self.under_way.contains_key(&ticket) => {
                self.phase = Phase::Warm { used_ms: since_ms };
                true
            }
            Phase::Leading { .. } | Phase::Cold | Phase::Warm { .. } => false,
        }
    }

    /// It is over, well or not, or whoever asked has gone. Does that let others go? The next to ask leads where this
    /// one led and its reply never began.
    pub fn ended(&mut self, ticket: Ticket) -> bool {
        let was = self.under_way.remove(&ticket).is_some();
        self.planned.remove(&ticket);
        match self.phase {
            Phase::Leading { lead, .. } if lead == ticket => {
                self.phase = Phase::Cold;
                true
            }
            Phase::Leading { .. } | Phase::Cold | Phase::Warm { .. } => was && self.policy.at_once.is_some(),
        }
    }

    /// Looks at the first usage of a worker. `prefix_len` of its `body_len` bytes are the shared part; `min_tokens` is
    /// what the provider caches at least. A worker that followed and has not read the prefix has missed it.
    pub fn first_usage(&mut self, role: Role, sizes: Sizes, tokens: &Tokens) -> Option<Miss> {
        let total = tokens.prompt();
        if total == 0 || !self.policy.enabled {
            return None;
        }
        let known = *self.prefix_tokens.get_or_insert_with(|| sizes.share_of(total));
        if role == Role::Lead || tokens.cache_read.saturating_mul(100) >= known.saturating_mul(READ_PERCENT_MIN) {
            return None;
        }
        let cause = if known < sizes.min_tokens {
            Cause::BelowMinimum
        } else if role == Role::Alone {
            Cause::NotWarm
        } else {
            Cause::Unavailable
        };
        Some(Miss { expected: known, read: tokens.cache_read, cause, at: None })
    }
}

/// Sizes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the shared part.
    pub prefix_len: usize,
    /// Bytes of the whole body.
    pub body_len: usize,
    /// Tokens below which the provider caches nothing.
    pub min_tokens: u64,
}

/// Bytes of a token, in halves: 3.5 of them. An offline guess of how long a prefix is.
const HALF_BYTES_PER_TOKEN: u64 = 7;

impl Sizes {
    /// Is the shared part so short that nothing of it is cached? Then there is nothing to wait for.
    pub fn too_short(&self) -> bool {
        (self.prefix_len as u64).saturating_mul(2) / HALF_BYTES_PER_TOKEN < self.min_tokens
    }

    fn share_of(&self, tokens: u64) -> u64 {
        let share = u128::from(tokens) * self.prefix_len as u128 / (self.body_len.max(1) as u128);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// A worker's first request did not find the shared prefix in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// Tokens of the prefix, about.
    pub expected: u64,
    /// Tokens that it has read.
    pub read: u64,
    /// Why.
    pub cause: Cause,
    /// The first byte that differs from what other workers have sent, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// Why a prefix was not found; the first four and the last are the providers' own words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Another model, or another effort.
    ModelChanged,
    /// The tools differ.
    ToolsChanged,
    /// The system text differs.
    SystemChanged,
    /// The shared brief, or a message, differs.
    MessagesChanged,
    /// The prefix is shorter than what the provider caches.
    BelowMinimum,
    /// Nobody's reply had begun when the request was sent.
    NotWarm,
    /// The bytes are the same, and yet it was not there.
    Unavailable,
}

impl Cause {
    /// Its code.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::ModelChanged => "model_changed",
            Cause::ToolsChanged => "tools_changed",
            Cause::SystemChanged => "system_changed",
            Cause::MessagesChanged => "messages_changed",
            Cause::BelowMinimum => "below_minimum",
            Cause::NotWarm => "not_warm",
            Cause::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
