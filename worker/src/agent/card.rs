//! The card: the few lines at the end of every request, where a model looks last.
//!
//! A long conversation buries the rules it began with. So each request ends with them, with the step, the questions
//! that nobody has answered, and what is left to spend. It is made anew for each request and kept nowhere, except where
//! a provider needs what stood before a reply (`wattle_cache::prefix`, "The tail"): there a new one comes only every
//! few replies.

use wattle_cache::ledger::{estimate_tokens, money};

/// Bound on a card in tokens: it is never read from the cache, so every turn pays for it at the full rate.
const TOKENS_MAX: u64 = 300;
/// The same in bytes, by the estimate of the ledger (3 bytes a token).
const BYTES_MAX: usize = 900;
/// Bound on a line about the step or a question: about two lines of a terminal.
const LINE_BYTES_MAX: usize = 120;
/// Questions that are named: of more the first ones matter.
const OPEN_MAX: usize = 2;
/// Said where rules were cut.
const CUT: &str = "\n(more in the instructions above)";

/// What stands on a card.
pub(super) struct Card<'a> {
    /// The hard rules.
    pub(super) rules: &'a str,
    /// Id of the step; empty = a lead.
    pub(super) step: &'a str,
    /// Its title.
    pub(super) title: &'a str,
    /// Questions without an answer.
    pub(super) open: Vec<String>,
    /// Replies that are left, and of how many.
    pub(super) turns: (u32, u32),
    /// Money that is left for the step, in nano-dollars; `None` = it has no bound of its own.
    pub(super) nano_usd: Option<u64>,
}

impl Card<'_> {
    /// Its words.
    pub(super) fn render(&self) -> String {
        let mut end = String::new();
        if !self.step.is_empty() {
            let title = if self.title == self.step { String::new() } else { format!(" ({})", line(self.title)) };
            end.push_str(&format!("\nCurrent step: {}{title}", line(self.step)));
        }
        for question in self.open.iter().take(OPEN_MAX) {
            end.push_str(&format!("\nOpen question, nobody has answered: {}", line(question)));
        }
        if let Some(more) = self.open.len().checked_sub(OPEN_MAX).filter(|more| *more > 0) {
            end.push_str(&format!("\n(and {more} more open questions)"));
        }
        let (left, of) = self.turns;
        end.push_str(&format!("\nLeft: {left} of {of} replies"));
        if let Some(nano_usd) = self.nano_usd {
            end.push_str(&format!(", {} of money", money::usd(nano_usd)));
        }
        let mut out = "(A reminder that ends every request; it is not a new task.)".to_owned();
        let rules = self.rules.trim();
        if !rules.is_empty() {
            const HEAD: &str = "\nAlways:\n";
            let room = BYTES_MAX.saturating_sub(out.len() + HEAD.len() + end.len());
            out.push_str(HEAD);
            out.push_str(&within(rules, room));
        }
        out.push_str(&end);
        debug_assert!(estimate_tokens(out.len()) <= TOKENS_MAX, "a card of {} bytes", out.len());
        out
    }
}

/// One line of bounded length.
fn line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.len() > LINE_BYTES_MAX {
        true => format!("{}…", start(&words, LINE_BYTES_MAX)),
        false => words,
    }
}

/// The start of a text: whole lines of it, where there are any that fit.
fn within(text: &str, room: usize) -> String {
    if text.len() <= room {
        return text.to_owned();
    }
    let head = start(text, room.saturating_sub(CUT.len()));
    let head = head.rfind('\n').map_or(head, |at| &head[..at]);
    format!("{}{CUT}", head.trim_end())
}

fn start(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use wattle_cache::ledger::estimate_tokens;

    use super::{Card, TOKENS_MAX};

    fn card(rules: &str) -> Card<'_> {
        Card { rules, step: "one", title: "Do it", open: Vec::new(), turns: (7, 40), nano_usd: Some(420_000_000) }
    }

    #[test]
    fn it_says_what_holds_and_what_is_left() {
        let open = vec!["Which\n colour?".to_owned()];
        insta::assert_snapshot!(Card { open, ..card("- never push\n- tests first") }.render(), @r"
        (A reminder that ends every request; it is not a new task.)
        Always:
        - never push
        - tests first
        Current step: one (Do it)
        Open question, nobody has answered: Which colour?
        Left: 7 of 40 replies, $0.42 of money
        ");
    }

    #[test]
    fn nothing_makes_it_longer_than_it_may_be() {
        let long = "x ".repeat(50_000);
        let lines = "- ñandú rule\n".repeat(8_000);
        let one = "ñ".repeat(100_000);
        for text in [&long, &lines, &one, &"\n".repeat(100_000)] {
            let open = vec![text.clone(); 100];
            let card = Card { step: text, title: text, open, turns: (u32::MAX, u32::MAX), ..card(text) };
            let card = Card { nano_usd: Some(u64::MAX), ..card }.render();
            assert!(estimate_tokens(card.len()) <= TOKENS_MAX, "{}", card.len());
            assert!(card.contains("Left: ") && card.contains("Current step"), "{card}");
        }
        let whole = card(&lines).render();
        assert!(whole.contains("- ñandú rule\n(more in the instructions above)\nCurrent step"), "{whole}");
    }
}
