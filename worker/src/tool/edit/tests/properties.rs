//! What holds for all texts.

use proptest::prelude::*;

use crate::tool::edit::locate::{self, Tier};
use crate::tool::edit::{Edited, Input, PLACES_MAX, edited};
use crate::tool::text::Lines;

/// Text in which every tier finds something: lines, indentation, look-alikes.
fn text(max: usize) -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["a", "b", " ", "  ", "\t", "\n", "\n", "-", "\u{2013}", "\"", "\u{201c}", "é"]);
    prop::collection::vec(piece, 0..max).prop_map(|pieces| pieces.concat())
}

fn input(old: &str, new: &str) -> Input {
    Input { file_path: String::new(), old_string: old.to_owned(), new_string: new.to_owned(), replace_all: false }
}

/// A part of a text, by two positions that are brought to where characters start.
fn part(text: &str, a: usize, b: usize) -> (usize, usize) {
    let at = |position: usize| {
        let mut position = position % (text.len() + 1);
        while !text.is_char_boundary(position) {
            position -= 1;
        }
        position
    };
    (at(a).min(at(b)), at(a).max(at(b)))
}

/// A text as a model might give it: with other line ends, space, indentation or signs.
fn retyped(text: &str, how: usize) -> String {
    let each = |change: &dyn Fn(&str) -> String| text.split('\n').map(change).collect::<Vec<_>>().join("\n");
    match how {
        0 => text.replace('\n', "\r\n"),
        1 => each(&|line| format!("{line} ")),
        2 => each(&|line| line.trim_end().to_owned()),
        3 => each(&|line| format!("  {line}")),
        4 => each(&|line| line.strip_prefix(' ').unwrap_or(line).to_owned()),
        _ => text.replace('\u{2013}', "-").replace('\u{201c}', "\""),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn an_exact_edit_is_a_plain_replacement(text in text(40), a in 0..200usize, b in 0..200usize, new in text(8)) {
        let (from, to) = part(&text, a, b);
        let old = &text[from..to];
        let places = (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(old.as_bytes())).count();
        prop_assume!(!old.is_empty() && places == 1 && old != new);
        let Ok(Edited::Bytes { bytes, tier, .. }) = edited(text.as_bytes(), &input(old, &new), false) else {
            return Err(TestCaseError::fail("it was refused"));
        };
        prop_assert_eq!(tier, Tier::Exact);
        prop_assert_eq!(bytes, [&text[..from], &new, &text[to..]].concat().into_bytes());
    }

    #[test]
    fn no_tier_changes_a_byte_outside_its_place(
        text in text(40), a in 0..200usize, b in 0..200usize, how in 0..6usize, new in text(8), crlf: bool,
    ) {
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let (from, to) = part(&text, a, b);
        let old = retyped(&text[from..to], how);
        prop_assume!(!old.is_empty() && old != new);
        let found = locate::find(text.as_bytes(), old.as_bytes(), PLACES_MAX);
        match (edited(text.as_bytes(), &input(&old, &new), false), found) {
            (Ok(Edited::Bytes { bytes, places, .. }), Ok(found)) => {
                prop_assert_eq!((places, found.spans.len()), (1, 1));
                let place = &found.spans[0];
                prop_assert!(bytes.starts_with(&text.as_bytes()[..place.start]));
                prop_assert!(bytes.ends_with(&text.as_bytes()[place.end..]));
                prop_assert!(bytes.len() >= place.start + text.len() - place.end);
                let there = Lines::new(&text.as_bytes()[place.start..place.end]).len();
                let given = Lines::new(old.as_bytes()).len() - usize::from(place.at_end);
                prop_assert_eq!(there, given);
            }
            (Ok(_), _) => return Err(TestCaseError::fail("an edit without a place")),
            (Err(_), _) => {}
        }
    }

    #[test]
    fn what_is_retyped_and_unique_is_put_back_by_the_same_edit_reversed(text in text(30), a in 0..200usize, b in 0..200usize) {
        let (from, to) = part(&text, a, b);
        let old = &text[from..to];
        prop_assume!(!old.is_empty());
        // A text that is nowhere else makes the way back unique, too.
        let there = edited(text.as_bytes(), &input(old, "<<new>>"), false);
        if let Ok(Edited::Bytes { bytes, .. }) = there {
            let Ok(Edited::Bytes { bytes: back, .. }) = edited(&bytes, &input("<<new>>", old), false) else {
                return Err(TestCaseError::fail("there is no way back"));
            };
            prop_assert_eq!(back, text.into_bytes());
        }
    }
}
