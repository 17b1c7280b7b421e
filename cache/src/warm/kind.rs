//! How each kind of cache wants to be warmed and kept: data about providers, as functions.
//!
//! The facts are those of the specification's sections 3 to 5. What cannot be told from outside (a server behind a
//! gateway) is taken to be the least capable: then only the lead's own request warms it.

use crate::prefix::{BriefPlace, Codec, Target};

/// How a provider caches prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheKind {
    /// Entries are written at marks in the request (Anthropic Messages).
    Marks,
    /// Entries are written at marks, and at the newest message by itself; hits only there (GPT-5.6 and later).
    Breakpoints,
    /// Any common start is found, in steps (OpenAI up to 5.5, vLLM, Gemini).
    Automatic,
    /// Whole units only: an entry ends where a request's input ended (DeepSeek).
    Units,
    /// The memory of one slot each (llama.cpp).
    Slots {
        /// How many slots the server has.
        total: u32,
    },
}

/// A request that only fills the cache, before any worker is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prewarm {
    /// The shared part with no output asked for; nothing else is different.
    NoOutput,
    /// The shared part, which has to be the end of the request, with one token of output.
    OneToken,
    /// There is none: the first worker's own request does it.
    Lead,
}

impl CacheKind {
    /// How the cache of a receiver works, as far as it can be told from how requests are rendered for it.
    pub fn of(target: &Target) -> Self {
        match (target.codec, target.dialect.brief) {
            (Codec::AnthropicMessages, _) => CacheKind::Marks,
            _ if target.dialect.breakpoint => CacheKind::Breakpoints,
            (Codec::OpenaiChat, BriefPlace::Message) => CacheKind::Units,
            (Codec::OpenaiChat | Codec::OpenaiResponses, _) => CacheKind::Automatic,
        }
    }

    /// How it is warmed without a worker.
    pub fn prewarm(self) -> Prewarm {
        match self {
            CacheKind::Marks => Prewarm::NoOutput,
            // Two requests that differ behind the shared part share nothing with it: one has to end there.
            CacheKind::Units => Prewarm::OneToken,
            CacheKind::Automatic | CacheKind::Slots { .. } => Prewarm::OneToken,
            CacheKind::Breakpoints => Prewarm::Lead,
        }
    }

    /// Does a lead's own request leave an entry that others can read, although their requests go on differently?
    pub fn lead_warms(self) -> bool {
        match self {
            CacheKind::Marks | CacheKind::Breakpoints | CacheKind::Automatic | CacheKind::Slots { .. } => true,
            CacheKind::Units => false,
        }
    }

    /// Requests at once: with fewer slots than workers each would push another's prefix out.
    pub fn at_once(self) -> Option<u32> {
        match self {
            CacheKind::Slots { total } => Some(total.max(1)),
            CacheKind::Marks | CacheKind::Breakpoints | CacheKind::Automatic | CacheKind::Units => None,
        }
    }
}

/// Requests a minute that one cache key of OpenAI's takes before it is spread over machines.
const KEY_PER_MINUTE_MAX: u32 = 15;
/// Requests a minute that a worker sends at most, on average: a turn of a few seconds and a tool.
const WORKER_PER_MINUTE: u32 = 6;

/// Workers that may share one cache key, so that it stays below the rate that one machine serves.
pub const WORKERS_PER_KEY: u32 = KEY_PER_MINUTE_MAX / WORKER_PER_MINUTE;

/// The cache key of a worker: the run, and the shard that the worker is in. Workers are numbered in the order in which
/// they first ask.
pub fn cache_key(run: &str, worker: u32) -> String {
    format!("{run}-{}", worker / WORKERS_PER_KEY)
}

#[cfg(test)]
mod tests {
    use super::{CacheKind, Prewarm, cache_key};

    #[test]
    fn a_boundary_that_is_no_end_is_warmed_by_a_request_that_ends_there() {
        assert!(!CacheKind::Units.lead_warms());
        assert_eq!(CacheKind::Units.prewarm(), Prewarm::OneToken);
        assert_eq!(CacheKind::Marks.prewarm(), Prewarm::NoOutput);
        assert_eq!(CacheKind::Slots { total: 3 }.at_once(), Some(3));
        assert_eq!(CacheKind::Slots { total: 0 }.at_once(), Some(1));
        assert_eq!(CacheKind::Marks.at_once(), None);
    }

    #[test]
    fn a_key_stays_below_its_rate() {
        let keys: Vec<String> = (0..6).map(|worker| cache_key("r", worker)).collect();
        assert_eq!(keys, ["r-0", "r-0", "r-1", "r-1", "r-2", "r-2"]);
    }
}
