//! Places in a text, as a model counts them and as a server does.
//!
//! A model counts lines as Read numbers them and characters from 1. A server counts lines from 0, ends them at `\n`,
//! `\r\n` and at a lone `\r`, too, and counts a column in units of the encoding it was asked for: UTF-16 for most.

use serde::{Deserialize, Serialize};

/// Units of a column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    /// What a server counts in that says nothing.
    #[default]
    Utf16,
    Utf32,
}

impl Encoding {
    /// What we offer, best first: bytes are what a text is made of.
    pub(super) const OFFERED: [&'static str; 3] = ["utf-8", "utf-16", "utf-32"];

    /// The encoding of this name.
    pub(super) fn named(name: &str) -> Option<Encoding> {
        match name {
            "utf-8" => Some(Encoding::Utf8),
            "utf-16" => Some(Encoding::Utf16),
            "utf-32" => Some(Encoding::Utf32),
            _ => None,
        }
    }

    fn units(self, c: char) -> usize {
        match self {
            Encoding::Utf8 => c.len_utf8(),
            Encoding::Utf16 => c.len_utf16(),
            Encoding::Utf32 => 1,
        }
    }
}

/// A place as a server writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) character: u32,
}

/// A place as a model writes it: line and character from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The place of a server for a byte of a text.
pub(super) fn position(text: &str, offset: usize, encoding: Encoding) -> Position {
    let (mut line, mut start) = (0, 0);
    for end in line_ends(text) {
        if end > offset {
            break;
        }
        (line, start) = (line + 1, end);
    }
    let units: usize = text[start..offset].chars().map(|c| encoding.units(c)).sum();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(line), character: number(units) }
}

/// The byte of a text at a server's place. A place behind the end of its line is the end, as the protocol has it; one
/// inside of a character is its start.
pub(super) fn offset(text: &str, at: Position, encoding: Encoding) -> usize {
    let (line, character) = (at.line as usize, at.character as usize);
    let start = if line == 0 { 0 } else { line_ends(text).nth(line - 1).unwrap_or(text.len()) };
    let mut units = 0;
    for (at, c) in text[start..].char_indices() {
        units += encoding.units(c);
        if units > character || matches!(c, '\n' | '\r') {
            return start + at;
        }
    }
    text.len()
}

/// The byte of a text at a model's place; the message is for the model.
pub(super) fn byte_of(text: &str, at: Spot) -> Result<usize, String> {
    let (start, line) = line_of(text, at.line)?;
    let mut columns = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    let found = at.column.checked_sub(1).and_then(|column| columns.nth(column));
    found.map(|column| start + column).ok_or_else(|| {
        format!("line {} has {} characters; there is no character {}", at.line, line.chars().count(), at.column)
    })
}

/// The model's place for a byte of a text.
pub(super) fn spot(text: &str, offset: usize) -> Spot {
    let before = &text[..offset];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    Spot { line, column: text[start..offset].chars().count() + 1 }
}

/// A line by its number from 1, without its end, and where it starts.
pub(super) fn line_of(text: &str, number: usize) -> Result<(usize, &str), String> {
    let lines = text.split('\n').count() - usize::from(text.ends_with('\n'));
    let wanted = number.checked_sub(1).and_then(|index| text.split('\n').nth(index));
    let line = wanted.ok_or_else(|| format!("the file has {lines} lines; there is no line {number}"))?;
    let start = line.as_ptr() as usize - text.as_ptr() as usize;
    Ok((start, line.strip_suffix('\r').unwrap_or(line)))
}

/// Where `name` stands in a line as a whole word, else anywhere; in bytes.
pub(super) fn find(line: &str, name: &str) -> Option<usize> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = line.match_indices(name).map(|(at, _)| at);
    let whole = found.clone().find(|at| {
        let before = line[..*at].chars().next_back().is_some_and(word);
        let after = line[at + name.len()..].chars().next().is_some_and(word);
        !before && !after
    });
    whole.or_else(|| found.next())
}

/// Where each line but the first starts.
fn line_ends(text: &str) -> impl Iterator<Item = usize> + '_ {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter_map(move |at| match bytes[at] {
        b'\n' => Some(at + 1),
        b'\r' if bytes.get(at + 1) != Some(&b'\n') => Some(at + 1),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "let a = 1;\r\n/* 🦀 */ crab(é);\r\n\r\nend";

    fn check(spot_at: (usize, usize), encoding: Encoding, expected: (u32, u32)) {
        let at = Spot { line: spot_at.0, column: spot_at.1 };
        let byte = byte_of(TEXT, at).unwrap();
        let found = position(TEXT, byte, encoding);
        assert_eq!((found.line, found.character), expected, "{spot_at:?} {encoding:?}");
        assert_eq!(offset(TEXT, found, encoding), byte);
        assert_eq!(spot(TEXT, byte), at);
    }

    #[test]
    fn columns_are_counted_in_the_units_of_the_server() {
        // `crab` stands behind a crab: one character, two units of UTF-16, four bytes.
        check((2, 9), Encoding::Utf32, (1, 8));
        check((2, 9), Encoding::Utf16, (1, 9));
        check((2, 9), Encoding::Utf8, (1, 11));
        check((2, 15), Encoding::Utf16, (1, 15));
        check((2, 15), Encoding::Utf8, (1, 18));
        check((1, 11), Encoding::Utf16, (0, 10));
        check((3, 1), Encoding::Utf8, (2, 0));
        check((4, 4), Encoding::Utf16, (3, 3));
    }

    #[test]
    fn places_that_are_not_there() {
        let byte = |line, column| byte_of(TEXT, Spot { line, column });
        assert_eq!(byte(5, 1).unwrap_err(), "the file has 4 lines; there is no line 5");
        assert_eq!(byte(0, 1).unwrap_err(), "the file has 4 lines; there is no line 0");
        assert_eq!(byte(1, 12).unwrap_err(), "line 1 has 10 characters; there is no character 12");
        assert_eq!(byte(1, 0).unwrap_err(), "line 1 has 10 characters; there is no character 0");
        // A server's place is never an error: behind a line it is the line's end, in a character its start.
        assert_eq!(offset(TEXT, Position { line: 0, character: 99 }, Encoding::Utf16), 10);
        assert_eq!(offset(TEXT, Position { line: 99, character: 0 }, Encoding::Utf16), TEXT.len());
        assert_eq!(offset(TEXT, Position { line: 1, character: 4 }, Encoding::Utf16), 15);
    }

    #[test]
    fn a_name_is_found_as_a_word_before_it_is_found_in_one() {
        assert_eq!(find("crabs(crab)", "crab"), Some(6));
        assert_eq!(find("crabs()", "crab"), Some(0));
        assert_eq!(find("é_crab crab", "crab"), Some(8));
        assert_eq!(find("", "crab"), None);
    }

    proptest! {
        #[test]
        fn every_place_of_a_text_comes_back(text in "[ab é🦀\r\n]{0,40}") {
            for encoding in [Encoding::Utf8, Encoding::Utf16, Encoding::Utf32] {
                for (byte, _) in text.char_indices() {
                    // Between `\r` and `\n` there is no place.
                    if byte > 0 && text.as_bytes()[byte - 1] == b'\r' && text.as_bytes()[byte] == b'\n' {
                        continue;
                    }
                    prop_assert_eq!(offset(&text, position(&text, byte, encoding), encoding), byte);
                    prop_assert_eq!(byte_of(&text, spot(&text, byte)), Ok(byte));
                }
            }
        }
    }
}
