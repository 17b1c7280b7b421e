//! Tests of [`super`]: what is read, written and charged, by hand-computed rows.

use super::{Entries, MINUTE_MS};
use crate::scripted::bill::Tokens;
use crate::scripted::prompt::{Life, Position, Prompt, Section, Wire};
use crate::scripted::traits::{Traits, traits};

/// A position of so many tokens.
fn position(name: &str, tokens: usize, mark: Option<Life>) -> Position {
    let text = format!("{name:-<width$}", width = tokens * 4);
    Position { section: Section::Messages, role: "user", text, mark, markable: true, message_end: false }
}

fn prompt(positions: Vec<Position>) -> Prompt {
    Prompt { model: "claude-opus-5-5".to_owned(), positions, ..Prompt::default() }
}

const SHORT: Option<Life> = Some(Life::Short);
const LONG: Option<Life> = Some(Life::Long);

fn of(model: &str, wire: Wire) -> Traits {
    traits(&Default::default(), wire, model)
}

/// A request that starts and is answered at once.
fn ask(entries: &mut Entries, prompt: &Prompt, at_ms: u64) -> Tokens {
    let charge = entries.look_up(prompt, &of(&prompt.model, prompt.wire), at_ms);
    entries.renew(&charge);
    entries.commit(&charge);
    charge.tokens
}

/// `[uncached, read, written for short, written for long]`
fn row(tokens: Tokens) -> [u64; 4] {
    [tokens.uncached, tokens.read, tokens.written_short, tokens.written_long]
}

#[test]
fn a_shared_start_is_written_once_and_read_after_that() {
    let mut entries = Entries::default();
    let one = prompt(vec![position("brief", 1000, SHORT), position("one", 10, SHORT)]);
    let two = prompt(vec![position("brief", 1000, SHORT), position("two", 10, SHORT)]);
    assert_eq!(row(ask(&mut entries, &one, 0)), [0, 0, 1010, 0]);
    assert_eq!(row(ask(&mut entries, &two, 1)), [0, 1000, 10, 0]);
    assert_eq!(row(ask(&mut entries, &two, 2)), [0, 1010, 0, 0]);
}

#[test]
fn what_is_too_short_is_not_cached() {
    for (model, min) in [("claude-opus-5-5", 512), ("claude-sonnet-5", 1024), ("claude-opus-4-6", 4096)] {
        for (tokens, cached) in [(min - 1, false), (min, true)] {
            let mut entries = Entries::default();
            let mut short = prompt(vec![position("brief", tokens, SHORT)]);
            short.model = model.to_owned();
            let tokens = tokens as u64;
            let rows = if cached { [[0, 0, tokens, 0], [0, tokens, 0, 0]] } else { [[tokens, 0, 0, 0]; 2] };
            assert_eq!([0, 1].map(|at_ms| row(ask(&mut entries, &short, at_ms))), rows, "{model}");
        }
    }
}

#[test]
fn a_mark_sees_twenty_positions_back() {
    for (added, read) in [(19, 600), (20, 0)] {
        let mut entries = Entries::default();
        ask(&mut entries, &prompt(vec![position("brief", 600, SHORT)]), 0);
        let mut positions = vec![position("brief", 600, None)];
        positions.extend((1..added).map(|index| position(&format!("{index}"), 1, None)));
        positions.push(position("tail", 1, SHORT));
        assert_eq!(ask(&mut entries, &prompt(positions.clone()), 1).read, read, "{added}");
        // A mark on what is known starts the window anew.
        let mut entries = Entries::default();
        ask(&mut entries, &prompt(vec![position("brief", 600, SHORT)]), 0);
        positions[0].mark = SHORT;
        assert_eq!(ask(&mut entries, &prompt(positions), 1).read, 600, "{added}");
    }
}

#[test]
fn entries_end_only_at_marks() {
    let mut entries = Entries::default();
    ask(&mut entries, &prompt(vec![position("brief", 600, None), position("a", 10, SHORT)]), 0);
    let fork = prompt(vec![position("brief", 600, SHORT), position("b", 10, SHORT)]);
    assert_eq!(row(ask(&mut entries, &fork, 1)), [0, 0, 610, 0]);
}

#[test]
fn a_life_counts_from_the_start_of_a_request_and_a_reading_renews_it() {
    let brief = prompt(vec![position("brief", 600, SHORT)]);
    for (at_ms, read) in [(5 * MINUTE_MS - 1, 600), (5 * MINUTE_MS, 0)] {
        let mut entries = Entries::default();
        ask(&mut entries, &brief, 0);
        assert_eq!(ask(&mut entries, &brief, at_ms).read, read);
    }
    let mut entries = Entries::default();
    // The reply began four minutes after the start: one is left.
    let charge = entries.look_up(&brief, &of("claude-opus-5-5", Wire::Messages), 0);
    entries.commit(&charge);
    for minute in [4, 8, 12] {
        assert_eq!(ask(&mut entries, &brief, minute * MINUTE_MS).read, 600, "minute {minute}");
    }
    assert_eq!(ask(&mut entries, &brief, 17 * MINUTE_MS).read, 0);
}

#[test]
fn what_is_not_answered_yet_cannot_be_read() {
    let mut entries = Entries::default();
    let brief = prompt(vec![position("brief", 600, SHORT)]);
    let marks = of("claude-opus-5-5", Wire::Messages);
    let charges: Vec<_> = (0..3).map(|at_ms| entries.look_up(&brief, &marks, at_ms)).collect();
    assert!(charges.iter().all(|charge| charge.tokens.written_short == 600), "each pays the write");
    entries.commit(&charges[0]);
    assert_eq!(entries.look_up(&brief, &marks, 3).tokens.read, 600);
}

#[test]
fn long_and_short_lives_are_charged_apart() {
    let mut entries = Entries::default();
    let positions = vec![
        position("system", 600, LONG),
        position("brief", 1000, LONG),
        position("old", 30, SHORT),
        position("new", 7, SHORT),
        position("rest", 3, None),
    ];
    assert_eq!(row(ask(&mut entries, &prompt(positions.clone()), 0)), [3, 0, 37, 1600]);
    assert_eq!(row(ask(&mut entries, &prompt(positions.clone()), 1)), [3, 1637, 0, 0]);
    // After ten minutes what lived short is gone.
    assert_eq!(row(ask(&mut entries, &prompt(positions.clone()), 10 * MINUTE_MS)), [3, 1600, 37, 0]);
    // Another brief: what lived long under it still holds.
    let mut other = positions;
    other[1] = position("other", 1000, LONG);
    assert_eq!(row(ask(&mut entries, &prompt(other), 50 * MINUTE_MS)), [3, 600, 37, 1000]);
}

#[test]
fn what_is_folded_in_changes_what_follows() {
    let base = |fold: usize, value: &str| {
        let mut system = position("system", 600, SHORT);
        system.section = Section::System;
        let mut prompt = prompt(vec![system, position("brief", 600, SHORT)]);
        prompt.folds[fold] = value.to_owned();
        prompt
    };
    for (fold, read) in [(Section::Messages, 600), (Section::System, 0), (Section::Tools, 0)] {
        let mut entries = Entries::default();
        ask(&mut entries, &base(fold as usize, "low"), 0);
        assert_eq!(ask(&mut entries, &base(fold as usize, "high"), 1).read, read, "{fold:?}");
        assert_eq!(ask(&mut entries, &base(fold as usize, "low"), 2).read, 1200, "{fold:?}");
    }
}

/// A conversation of messages of 100 tokens each, by their names.
fn chat(model: &str, names: &[&str], marked: &[usize]) -> Prompt {
    let mark = |index: usize| marked.contains(&index).then_some(Life::Short);
    let positions = names.iter().enumerate().map(|(index, name)| Position {
        message_end: true,
        ..position(name, if index == 0 { 1100 } else { 100 }, mark(index))
    });
    Prompt { wire: Wire::Chat, model: model.to_owned(), positions: positions.collect(), ..Prompt::default() }
}

#[test]
fn breakpoints_are_hit_exactly_or_not_at_all() {
    let model = "gpt-6-sol";
    let mut entries = Entries::default();
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "a"], &[]), 0)), [0, 0, 1200, 0]);
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "b"], &[]), 1)), [0, 0, 1200, 0], "no end, no hit");
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "a", "x", "y"], &[]), 2)), [0, 1200, 200, 0]);
    let mut entries = Entries::default();
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "a"], &[0]), 0)), [0, 0, 1200, 0]);
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "b"], &[0]), 1)), [0, 1100, 100, 0], "the end is marked");
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "b"], &[]), 31 * MINUTE_MS)), [0, 0, 1200, 0]);
    let mut explicit = chat(model, &["s", "b"], &[]);
    explicit.explicit_only = true;
    assert_eq!(row(ask(&mut entries, &explicit, 31 * MINUTE_MS)), [1200, 0, 0, 0]);
}

#[test]
fn the_newest_eighty_breakpoints_are_looked_at_and_four_are_written() {
    let names: Vec<String> = (0..200).map(|n| format!("{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (length, read) in [(81, 1200), (82, 0)] {
        let mut entries = Entries::default();
        ask(&mut entries, &chat("gpt-6-sol", &names[..2], &[]), 0);
        assert_eq!(ask(&mut entries, &chat("gpt-6-sol", &names[..length], &[]), 1).read, read, "{length}");
    }
    let mut entries = Entries::default();
    ask(&mut entries, &chat("gpt-6-sol", &names[..6], &[0, 1, 2, 3, 4]), 0);
    for (length, read) in [(1, 0), (2, 0), (3, 1300), (4, 1400), (5, 1500), (6, 1600)] {
        let fork = [&names[..length], &["fork"]].concat();
        let marks: Vec<usize> = (0..length).collect();
        let charge = entries.look_up(&chat("gpt-6-sol", &fork, &marks), &of("gpt-6-sol", Wire::Chat), 1);
        assert_eq!(charge.tokens.read, read, "{length}");
    }
}

#[test]
fn the_older_cache_goes_in_steps_and_is_routed() {
    let model = "gpt-5.5";
    let mut entries = Entries::default();
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "a"], &[]), 0)), [1200, 0, 0, 0]);
    // 1100 tokens are common: 8 steps of 128.
    assert_eq!(row(ask(&mut entries, &chat(model, &["s", "b"], &[]), 1)), [176, 1024, 0, 0]);
    let mut keyed = chat(model, &["s", "b"], &[]);
    keyed.routing_key = "other".to_owned();
    assert_eq!(ask(&mut entries, &keyed, 2).read, 0, "another key is another machine");
    for at_ms in 3..16 {
        assert_eq!(ask(&mut entries, &chat(model, &["s", "b"], &[]), at_ms).read, 1152, "{at_ms}");
    }
    assert_eq!(ask(&mut entries, &chat(model, &["s", "b"], &[]), 16).read, 0, "the sixteenth of a minute overflows");
    assert_eq!(ask(&mut entries, &chat(model, &["s", "b"], &[]), MINUTE_MS + 20).read, 1152);
    let mut short = chat(model, &["s"], &[]);
    short.positions[0] = position("s", 1023, None);
    let mut entries = Entries::default();
    assert_eq!([0, 1].map(|at_ms| ask(&mut entries, &short, at_ms).read), [0, 0]);
}

#[test]
fn units_are_whole_and_a_common_start_is_one_from_its_third_use_on() {
    let model = "deepseek-v4-flash";
    let mut entries = Entries::default();
    let rows = ["a", "b", "c"].map(|last| row(ask(&mut entries, &chat(model, &["s", last], &[]), 0)));
    // 1100 tokens are common: 17 units of 64.
    assert_eq!(rows, [[1200, 0, 0, 0], [1200, 0, 0, 0], [112, 1088, 0, 0]]);
    assert_eq!(
        row(ask(&mut entries, &chat(model, &["s", "a", "x"], &[]), 1)),
        [100, 1200, 0, 0],
        "the end of an input"
    );
}

#[test]
fn pages_need_nobody_to_ask_for_them() {
    let mut entries = Entries::default();
    let ask = |entries: &mut Entries, last: &str| row(ask(entries, &chat("qwen", &["s", last], &[]), 0));
    assert_eq!(ask(&mut entries, "a"), [1200, 0, 0, 0]);
    assert_eq!(ask(&mut entries, "b"), [1200 - 1088, 1088, 0, 0]);
    assert_eq!(ask(&mut entries, "b"), [0, 1200, 0, 0]);
}
