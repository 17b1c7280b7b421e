//! Cache entries, by the rules of the services: who finds what, for how long, and what is charged for it.
//!
//! A request is looked up when it starts and leaves its entries when its first byte is written, so of several
//! that start together each pays the write. The life of an entry counts from the start of the request that
//! wrote or read it; a reading renews it.

use std::collections::HashMap;

use blake3::Hash;

use super::bill::Tokens;
use super::prompt::{Life, Prompt};
use super::traits::{Rule, Traits};

/// Positions that a mark looks back over, itself included.
const LOOKBACK: usize = 20;
/// Breakpoints of a conversation that are looked at, newest first.
const BREAKPOINTS_LOOKED_AT: usize = 80;
/// Breakpoints that one request may write.
const BREAKPOINTS_WRITTEN: usize = 4;
/// Life of an entry: of marks, of breakpoints, and of what is cached without being asked to, in milliseconds.
const MARK_MS: (u64, u64) = (5 * MINUTE_MS, 60 * MINUTE_MS);
const BREAKPOINT_MS: (u64, u64) = (30 * MINUTE_MS, 12 * 60 * MINUTE_MS);
const AUTOMATIC_MS: (u64, u64) = (10 * MINUTE_MS, 24 * 60 * MINUTE_MS);
const MINUTE_MS: u64 = 60_000;
/// Tokens whose hash, with the sender's key, chooses the machine.
const ROUTED_TOKENS: u64 = 256;
/// Requests of a minute that one machine takes before the next one gets some.
const ROUTED_PER_MINUTE: usize = 15;
/// Bound on the number of entries: a million hashes are 60 MB, more than any run of tests leaves. Beyond it
/// nothing new is remembered until old entries expire.
const ENTRIES_MAX: usize = 1_000_000;

/// What a request is charged for its prompt, and what it leaves behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Charge {
    pub(super) tokens: Tokens,
    /// Start of the request.
    start_ms: u64,
    /// Entries that were read, with all below them.
    read: Vec<Hash>,
    /// Entries to be written, each with its life.
    written: Vec<(Hash, u64)>,
    /// Stretches of a prompt that were seen, for the rule that remembers them.
    seen: Vec<(Hash, u64)>,
    route: Option<Hash>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    expires_ms: u64,
    life_ms: u64,
}

/// All entries that requests have written.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: HashMap<Hash, Entry>,
    /// Stretches that no entry was made of yet.
    seen: HashMap<Hash, u64>,
    /// When requests of a route came, within the last minute.
    routes: HashMap<Hash, Vec<u64>>,
}

impl Entries {
    /// What a request that starts now is charged; nothing is changed.
    pub(super) fn look_up(&self, prompt: &Prompt, traits: &Traits, start_ms: u64) -> Charge {
        let charge = match traits.rule {
            Rule::Marks => self.by_marks(prompt, traits, start_ms),
            Rule::Breakpoints => self.by_breakpoints(prompt, traits, start_ms),
            Rule::Steps => self.by_steps(prompt, traits, start_ms, true),
            Rule::Pages => self.by_steps(prompt, traits, start_ms, false),
            Rule::Units => self.by_units(prompt, traits, start_ms),
            Rule::None => Charge { tokens: plain(prompt.tokens(), 0), ..Charge::default() },
        };
        Charge { start_ms, ..charge }
    }

    /// The request is taken: what it read lives on.
    pub(super) fn renew(&mut self, charge: &Charge) {
        for hash in &charge.read {
            if let Some(entry) = self.entries.get_mut(hash) {
                entry.expires_ms = entry.expires_ms.max(charge.start_ms + entry.life_ms);
            }
        }
        if let Some(route) = charge.route {
            let times = self.routes.entry(route).or_default();
            times.retain(|time| time + MINUTE_MS > charge.start_ms);
            times.push(charge.start_ms);
        }
    }

    /// The first byte of its reply is written: what it wrote can be read.
    pub(super) fn commit(&mut self, charge: &Charge) {
        let new = charge.written.len() + charge.seen.len();
        if self.entries.len() + self.seen.len() + new > ENTRIES_MAX {
            self.entries.retain(|_, entry| entry.expires_ms > charge.start_ms);
            self.seen.retain(|_, expires_ms| *expires_ms > charge.start_ms);
            if self.entries.len() + self.seen.len() + new > ENTRIES_MAX {
                return;
            }
        }
        for (hash, life_ms) in &charge.written {
            let fresh = Entry { expires_ms: charge.start_ms + life_ms, life_ms: *life_ms };
            let entry = self.entries.entry(*hash).or_insert(fresh);
            if entry.expires_ms < fresh.expires_ms {
                *entry = fresh;
            }
        }
        self.seen.extend(charge.seen.iter().map(|(hash, life_ms)| (*hash, charge.start_ms + life_ms)));
    }

    fn live(&self, hash: &Hash, now_ms: u64) -> bool {
        self.entries.get(hash).is_some_and(|entry| entry.expires_ms > now_ms)
    }

    fn by_marks(&self, prompt: &Prompt, traits: &Traits, now_ms: u64) -> Charge {
        let ends = prompt.ends();
        let marks: Vec<(usize, Life)> = (0..)
            .zip(&prompt.positions)
            .filter_map(|(index, position)| Some((index, position.mark?)))
            .filter(|(index, _)| ends[*index].1 >= traits.tokens_min)
            .collect();
        let found = marks.iter().filter_map(|(mark, _)| {
            let window = (mark.saturating_sub(LOOKBACK - 1)..=*mark).rev();
            window.into_iter().find(|index| self.live(&ends[*index].0, now_ms))
        });
        let hit = found.max();
        self.between(&ends, &marks, hit, MARK_MS, now_ms)
    }

    fn by_breakpoints(&self, prompt: &Prompt, traits: &Traits, now_ms: u64) -> Charge {
        let ends = prompt.ends();
        let last = prompt.positions.len().saturating_sub(1);
        let mut written = Vec::new();
        let mut looked_at = Vec::new();
        for (index, position) in prompt.positions.iter().enumerate().rev() {
            let implicit = !prompt.explicit_only && position.message_end;
            if ends[index].1 < traits.tokens_min || !(implicit || position.mark.is_some()) {
                continue;
            }
            if looked_at.len() < BREAKPOINTS_LOOKED_AT {
                looked_at.push(index);
            }
            let newest = implicit && index == last;
            if (newest || position.mark.is_some()) && written.len() < BREAKPOINTS_WRITTEN {
                written.push((index, position.mark.or(prompt.implicit_life).unwrap_or(Life::Short)));
            }
        }
        written.reverse();
        let hit = looked_at.into_iter().find(|index| self.live(&ends[*index].0, now_ms));
        self.between(&ends, &written, hit, BREAKPOINT_MS, now_ms)
    }

    /// The hit is read; up to the last long mark after it is written for long, up to the last mark for short.
    fn between(
        &self,
        ends: &[(Hash, u64)],
        marks: &[(usize, Life)],
        hit: Option<usize>,
        (short_ms, long_ms): (u64, u64),
        now_ms: u64,
    ) -> Charge {
        let read = hit.map_or(0, |index| ends[index].1);
        let end = |life: Option<Life>| {
            let fits = marks.iter().filter(|(_, mark)| life.is_none_or(|life| life == *mark));
            fits.map(|(index, _)| ends[*index].1).max().unwrap_or(0).max(read)
        };
        let (long, last) = (end(Some(Life::Long)), end(None));
        let total = ends.last().map_or(0, |(_, total)| *total);
        let below = |index: usize| hit.is_some_and(|hit| index <= hit);
        let mut renewed: Vec<Hash> =
            marks.iter().filter(|(index, _)| below(*index)).map(|(index, _)| ends[*index].0).collect();
        renewed.extend(hit.map(|index| ends[index].0));
        let life_ms = |life: Life| match life {
            Life::Short => short_ms,
            Life::Long => long_ms,
        };
        let new = marks.iter().filter(|(index, _)| !below(*index) || !self.live(&ends[*index].0, now_ms));
        Charge {
            tokens: Tokens {
                uncached: total - last,
                read,
                written_short: last - long,
                written_long: long - read,
                out: 0,
            },
            read: renewed,
            written: new.map(|(index, life)| (ends[*index].0, life_ms(*life))).collect(),
            ..Charge::default()
        }
    }

    fn by_steps(&self, prompt: &Prompt, traits: &Traits, now_ms: u64, routed: bool) -> Charge {
        let life_ms = automatic_ms(prompt);
        let total = prompt.tokens();
        if total < traits.tokens_min {
            return Charge { tokens: plain(total, 0), ..Charge::default() };
        }
        let mut steps = prompt.steps(traits.step_tokens);
        let route = routed.then(|| {
            let start = prompt.steps(ROUTED_TOKENS).first().copied();
            keyed(start.unwrap_or_else(|| blake3::hash(b"")), &prompt.routing_key)
        });
        if let Some(route) = route {
            // A key that is asked for too often spreads over machines, and the next one knows nothing yet.
            let times = self.routes.get(&route).map_or(&[][..], Vec::as_slice);
            let lately = times.iter().filter(|time| *time + MINUTE_MS > now_ms).count();
            let machine = format!("{} {}", prompt.routing_key, lately / ROUTED_PER_MINUTE);
            steps = steps.into_iter().map(|step| keyed(step, &machine)).collect();
        }
        let found = steps.iter().take_while(|hash| self.live(hash, now_ms)).count();
        let read = found as u64 * traits.step_tokens;
        let read = if read < traits.tokens_min { 0 } else { read };
        Charge {
            tokens: plain(total, read),
            read: steps[..found].to_vec(),
            written: steps[found..].iter().map(|hash| (*hash, life_ms)).collect(),
            route,
            ..Charge::default()
        }
    }

    fn by_units(&self, prompt: &Prompt, traits: &Traits, now_ms: u64) -> Charge {
        let life_ms = automatic_ms(prompt);
        let total = prompt.tokens();
        let steps = prompt.steps(traits.step_tokens);
        let ends = prompt.ends();
        let unit = |index: usize, hash: &Hash| {
            let tokens = (index as u64 + 1) * traits.step_tokens;
            self.live(hash, now_ms).then_some((tokens, *hash))
        };
        let common = steps.iter().enumerate().filter_map(|(index, hash)| unit(index, hash)).next_back();
        // The end of an input or of an output is a unit of its own, wherever it falls.
        let ended = ends.iter().rev().find(|(hash, _)| self.live(hash, now_ms)).map(|(hash, tokens)| (*tokens, *hash));
        let hit = common.into_iter().chain(ended).max_by_key(|(tokens, _)| *tokens);
        let read = hit.map_or(0, |(tokens, _)| tokens);
        let shared =
            steps.iter().take_while(|hash| self.seen.get(hash).is_some_and(|expires| *expires > now_ms)).count();
        let mut written: Vec<(Hash, u64)> = ends.last().map(|(hash, _)| (*hash, life_ms)).into_iter().collect();
        if shared as u64 * traits.step_tokens > read {
            // It was seen before and is seen again: from now on it is a unit.
            written.push((steps[shared - 1], life_ms));
        }
        Charge {
            tokens: plain(total, if read < traits.tokens_min { 0 } else { read }),
            read: hit.map(|(_, hash)| hash).into_iter().collect(),
            written,
            seen: steps.into_iter().map(|hash| (hash, life_ms)).collect(),
            ..Charge::default()
        }
    }
}

/// What is read costs little, the rest is plain input: writing is free.
fn plain(total: u64, read: u64) -> Tokens {
    Tokens { uncached: total - read, read, ..Tokens::default() }
}

fn automatic_ms(prompt: &Prompt) -> u64 {
    match prompt.implicit_life {
        Some(Life::Long) => AUTOMATIC_MS.1,
        Some(Life::Short) | None => AUTOMATIC_MS.0,
    }
}

fn keyed(hash: Hash, key: &str) -> Hash {
    blake3::Hasher::new().update(hash.as_bytes()).update(key.as_bytes()).finalize()
}

#[cfg(test)]
mod tests;
