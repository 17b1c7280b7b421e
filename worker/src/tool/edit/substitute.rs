//! What stands at a place afterwards.
//!
//! Lines and, among look-alikes, characters that the edit does not change keep the bytes of the file; what it adds
//! is written as the file is: with its line ends and its indentation.

use std::collections::BTreeMap;
use std::time::Instant;

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

use super::super::text::{Lines, characters, plain, shown, trim, uniform_end, with_ends};
use super::locate::{Span, Tier};

/// Characters of a line that a message shows.
const SHOWN_MAX: usize = 120;

/// The bytes that replace a place. `end` is the line end of the whole file, where there is one kind; at the
/// deadline the comparison of the texts gets coarser.
pub(super) fn replacement(
    tier: Tier,
    place: &Span,
    bytes: &[u8],
    (old, new): (&[u8], &[u8]),
    (end, deadline): (Option<&[u8]>, Instant),
) -> Result<Vec<u8>, String> {
    let there = &bytes[place.start..place.end];
    let end = end.or_else(|| uniform_end(there));
    match tier {
        Tier::Exact => Ok(match end {
            // An edit of nothing but line ends means them as they are given.
            Some(end) if with_ends(old, b"\n") != with_ends(new, b"\n") => with_ends(new, end).into_owned(),
            Some(_) | None => new.to_vec(),
        }),
        Tier::LineEnds | Tier::TrailingSpace | Tier::Indent | Tier::Unicode => {
            let old = if place.at_end { without_last_end(old) } else { old };
            let new = if place.at_end { without_last_end(new) } else { new };
            by_lines(tier, place, there, (&Lines::new(old), &Lines::new(new)), (end.unwrap_or(b"\n"), deadline))
        }
    }
}

fn without_last_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn by_lines(
    tier: Tier,
    place: &Span,
    there: &[u8],
    (old, new): (&Lines<'_>, &Lines<'_>),
    (end, deadline): (&[u8], Instant),
) -> Result<Vec<u8>, String> {
    let file = Lines::new(there);
    assert_eq!(file.len(), old.len(), "a place has as many lines as the text that was looked for");
    let texts = |lines: &Lines<'_>| (0..lines.len()).map(|line| lines.text(line).to_vec()).collect::<Vec<_>>();
    let (old_texts, new_texts) = (texts(old), texts(new));
    let deadline = Some(deadline);
    let plainer = Plainer::new(tier, there, old);
    let mut out = Vec::with_capacity(there.len() + new_texts.len());
    // Line `index` of the new text, whose own end in the file is `own`.
    let mut put = |index: usize, text: &[u8], own: &[u8]| {
        out.extend_from_slice(text);
        if index + 1 < new_texts.len() {
            out.extend_from_slice(if own.is_empty() { end } else { own });
        }
    };
    for op in capture_diff_slices_deadline(Algorithm::Myers, &old_texts, &new_texts, deadline) {
        match op {
            DiffOp::Equal { old_index, new_index, len } => {
                for step in 0..len {
                    put(new_index + step, file.text(old_index + step), file.ending(old_index + step));
                }
            }
            DiffOp::Delete { .. } => {}
            DiffOp::Insert { new_index, new_len, .. } => {
                for (index, text) in (new_index..).zip(&new_texts[new_index..new_index + new_len]) {
                    put(index, &plainer.apply(&shifted(place, text)?), b"");
                }
            }
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                for (step, text) in new_texts[new_index..new_index + new_len].iter().enumerate() {
                    // Line by line where that is what it is, so that look-alikes beside a change stay.
                    let pair = tier == Tier::Unicode && old_len == new_len;
                    let line = if pair {
                        let (old, here) = (&old_texts[old_index + step], file.text(old_index + step));
                        mixed_line(old, text, here, &plainer, deadline)
                    } else {
                        plainer.apply(&shifted(place, text)?)
                    };
                    let own: &[u8] = if old_len == new_len { file.ending(old_index + step) } else { b"" };
                    put(new_index + step, &line, own);
                }
            }
        }
    }
    Ok(out)
}

fn shifted(place: &Span, text: &[u8]) -> Result<Vec<u8>, String> {
    let Some(shift) = &place.shift else {
        return Ok(text.to_vec());
    };
    shift.apply(text).ok_or_else(|| {
        format!(
            "old_string is there with another indentation ({}), but this line of new_string cannot be moved so: {:?}; give both as the file is indented",
            shift.told(),
            shown(text, SHOWN_MAX)
        )
    })
}

/// One changed line: the characters it shares with the old one are those of the file.
fn mixed_line(old: &[u8], new: &[u8], here: &[u8], plainer: &Plainer, deadline: Option<Instant>) -> Vec<u8> {
    let [old, new, here] = [old, new, here].map(|text| characters(text).collect::<Vec<_>>());
    let mut out = Vec::new();
    for op in capture_diff_slices_deadline(Algorithm::Myers, &old, &new, deadline) {
        match op {
            DiffOp::Equal { old_index, len, .. } => out.extend(here[old_index..old_index + len].concat()),
            DiffOp::Delete { .. } => {}
            DiffOp::Insert { new_index, new_len, .. } | DiffOp::Replace { new_index, new_len, .. } => {
                out.extend(plainer.apply(&new[new_index..new_index + new_len].concat()));
            }
        }
    }
    out
}

/// Typographic characters of the text that are always the same plain one in the file: whoever wrote `“` for `"`
/// means `"` in the new text, too. Never the other way round: a plain character can be code.
struct Plainer(BTreeMap<char, char>);

impl Plainer {
    fn new(tier: Tier, there: &[u8], old: &Lines<'_>) -> Plainer {
        let mut plainer = BTreeMap::new();
        let mut kept = Vec::new();
        let file = Lines::new(there);
        let lines = if tier == Tier::Unicode { old.len() } else { 0 };
        for line in 0..lines {
            for (given, found) in characters(old.text(line)).zip(characters(file.text(line))) {
                let Some(char) = first_char(given).filter(|char| plain(*char) != *char) else {
                    continue;
                };
                if given == found {
                    kept.push(char);
                } else if found.is_ascii() {
                    plainer.insert(char, plain(char));
                } else {
                    kept.push(char);
                }
            }
        }
        plainer.retain(|char, _| !kept.contains(char));
        Plainer(plainer)
    }

    fn apply(&self, text: &[u8]) -> Vec<u8> {
        if self.0.is_empty() || trim(text).is_ascii() {
            return text.to_vec();
        }
        let mut out = Vec::with_capacity(text.len());
        for given in characters(text) {
            match first_char(given).and_then(|char| self.0.get(&char)) {
                Some(plain) => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
                None => out.extend_from_slice(given),
            }
        }
        out
    }
}

fn first_char(bytes: &[u8]) -> Option<char> {
    std::str::from_utf8(bytes).ok()?.chars().next()
}
