//! Whether a worker should go on from the lead's conversation or begin afresh: what either costs.
//!
//! *Going on* carries the whole conversation through every turn, at the price of a cache read: it is in the provider's
//! cache already, and stays there. *Beginning afresh* finds out again what the worker needs of it: each file it has to
//! read costs part of a turn (the shared prompt read, a call written), is written to the cache once and read with every
//! turn after that. So a fork pays where the step is about much of what the lead has read, and its conversation held little
//! else. Where a rate is not known nothing says that it pays, and the worker begins afresh: that is also what keeps it from
//! being led by what was said of other steps.

use crate::price::Rates;

/// Turns that a worker usually takes: a few to look, a few to change, one to report.
const TURNS_USUAL: u64 = 12;
/// Files that are read in one turn; models call several readers at once.
const FILES_A_TURN: u64 = 4;
/// Output of a turn that only reads: the calls and a sentence.
const READING_OUT: u64 = 200;
/// Pico-dollars do not overflow this: prompts are below 2^32 tokens and rates below 2^40.
type Pico = u128;

/// What is weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Tokens of the lead's conversation behind the shared part.
    pub lead_tokens: u64,
    /// Tokens of the part that all workers share.
    pub shared_tokens: u64,
    /// Tokens of files in that conversation that the worker's step is about.
    pub known_tokens: u64,
    /// The number of these files.
    pub known_files: u64,
    /// Bound on the worker's turns.
    pub max_turns: u64,
}

/// How a worker begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// From the lead's conversation.
    Fork,
    /// With the brief and its task.
    Fresh,
}

/// The cheaper way.
pub fn choose(ground: &Ground, rates: Option<&Rates>) -> Choice {
    match rates.and_then(|rates| costs(ground, rates)) {
        Some((fork, fresh)) if fork < fresh => Choice::Fork,
        Some(_) | None => Choice::Fresh,
    }
}

/// What going on and beginning afresh cost, in pico-dollars, without what is the same in both.
fn costs(ground: &Ground, rates: &Rates) -> Option<(Pico, Pico)> {
    let rates = rates.at(ground.shared_tokens.saturating_add(ground.lead_tokens));
    let (read, write) = (Pico::from(rates.cache_read?), Pico::from(rates.cache_write_short?));
    let turns = Pico::from(ground.max_turns.clamp(1, TURNS_USUAL));
    let fork = Pico::from(ground.lead_tokens) * read * turns;
    let known = Pico::from(ground.known_tokens);
    let looking = Pico::from(ground.known_files.div_ceil(FILES_A_TURN));
    let turn = Pico::from(ground.shared_tokens) * read + Pico::from(READING_OUT) * Pico::from(rates.output);
    Some((fork, known * write + known * read * (turns - 1) + looking * turn))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Table;

    fn check(ground: Ground, expected: Choice) {
        let rates = Table::builtin().newest("anthropic", "claude-sonnet-5-5").expect("a model of the table").rates;
        assert_eq!(choose(&ground, Some(&rates)), expected, "{ground:?}");
        assert_eq!(choose(&ground, None), Choice::Fresh, "nothing says that it pays");
    }

    #[test]
    fn a_fork_pays_where_the_step_is_about_much_of_what_was_read() {
        let ground =
            Ground { lead_tokens: 20_000, shared_tokens: 5_000, known_tokens: 0, known_files: 0, max_turns: 40 };
        check(ground, Choice::Fresh);
        check(Ground { known_tokens: 15_000, known_files: 6, ..ground }, Choice::Fork);
        check(Ground { known_tokens: 2_000, known_files: 1, ..ground }, Choice::Fresh);
        // A long conversation that was mostly about other things is dear to carry.
        check(Ground { lead_tokens: 120_000, known_tokens: 15_000, known_files: 6, ..ground }, Choice::Fresh);
        // Nobody carries it far.
        let short = Ground { lead_tokens: 120_000, known_tokens: 15_000, known_files: 6, max_turns: 2, ..ground };
        check(short, Choice::Fork);
    }
}
