//! What to say of a text that is not there: the places that look like it, and what differs.
//!
//! Never used to choose a place. A line is reduced to the pairs of bytes in it, a set of 256 bits, so that every
//! line of a long file can be compared with many wanted ones in a few milliseconds; only the best places are then
//! looked at closely.

use super::super::text::{Lines, shown, trim};

/// How many places are shown.
const CLOSEST: usize = 3;
/// Lines of a file up to which they are looked for: beyond it the search costs more than it helps.
const LINES_MAX: usize = 20_000;
/// Wanted lines that are compared, spread over the text: 20,000 x 24 comparisons take a few milliseconds.
const WANTED_MAX: usize = 24;
/// Places that are looked at closely.
const CANDIDATES: usize = 24;
/// Bytes of a line that are compared; what follows rarely decides.
const LINE_BYTES_MAX: usize = 128;
/// Likeness, of 100, below which a place is not worth showing.
const LIKENESS_MIN: usize = 50;
/// The same for the sets of pairs, which say less.
const PAIRS_MIN: usize = 30;
/// Lines of a place that are shown.
const WINDOW_LINES_MAX: usize = 12;
/// Characters of a line that are shown.
const LINE_CHARS_MAX: usize = 200;

/// The places of a file that look most like a text, ready to show; empty if none does.
pub(in super::super) fn report(file: &Lines<'_>, old: &[u8]) -> String {
    let lines = file.count();
    if lines > LINES_MAX {
        return format!("\nThe file has {lines} lines, too many to look for similar ones; read the part you mean.");
    }
    let old = Lines::new(old);
    let wanted: Vec<&[u8]> = (0..old.count()).map(|line| old.text(line)).collect();
    let mut out = String::new();
    for (place, start) in windows(file, lines, &wanted).into_iter().enumerate() {
        let end = (start + wanted.len().min(WINDOW_LINES_MAX)).min(lines);
        let mut put = |text: String| {
            out.push('\n');
            out.push_str(&text);
        };
        put(format!("this looks like it (lines {} to {end}):", start + 1));
        for line in start..end {
            put(format!("{:>6}\t{}", line + 1, shown(file.text(line), LINE_CHARS_MAX)));
        }
        let there = |index: usize| if start + index < lines { file.text(start + index) } else { b"" };
        let differs = (0..wanted.len()).find(|index| start + index >= lines || there(*index) != wanted[*index]);
        if let Some(index) = differs.filter(|_| place == 0) {
            let (file, given) = (shown(there(index), LINE_CHARS_MAX), shown(wanted[index], LINE_CHARS_MAX));
            put(format!("first difference, in line {}: the file has {file:?}, you gave {given:?}", start + index + 1));
        }
    }
    out
}

/// Lines where the best places start; none shares a line with a better one.
fn windows(file: &Lines<'_>, lines: usize, wanted: &[&[u8]]) -> Vec<usize> {
    let mut picked: Vec<(usize, Pairs)> = wanted
        .iter()
        .enumerate()
        .filter(|(_, text)| !trim(text).is_empty())
        .map(|(index, text)| (index, Pairs::of(text)))
        .collect();
    if picked.is_empty() || lines == 0 {
        return Vec::new();
    }
    let step = picked.len().div_ceil(WANTED_MAX);
    picked = picked.into_iter().step_by(step).collect();
    let there: Vec<Pairs> = (0..lines).map(|line| Pairs::of(file.text(line))).collect();
    let mut scored: Vec<(usize, usize)> = (0..lines)
        .map(|start| {
            let alike = picked.iter().filter_map(|(index, pairs)| Some(there.get(start + index)?.likeness(pairs)));
            (alike.sum::<usize>() / picked.len(), start)
        })
        .filter(|(score, _)| *score >= PAIRS_MIN)
        .collect();
    scored.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut close: Vec<(usize, usize)> = scored
        .into_iter()
        .take(CANDIDATES)
        .map(|(_, start)| {
            let alike = picked.iter().filter(|(index, _)| start + index < lines).map(|(index, pairs)| {
                let line = file.text(start + index);
                likeness(line, wanted[*index]).max(there[start + index].likeness(pairs))
            });
            (alike.sum::<usize>() / picked.len(), start)
        })
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .collect();
    close.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut best: Vec<usize> = Vec::new();
    for (_, start) in close {
        if best.len() < CLOSEST && best.iter().all(|other| start.abs_diff(*other) >= wanted.len()) {
            best.push(start);
        }
    }
    best
}

/// The pairs of neighbouring bytes of a line, space around it aside, as a set of 256 bits.
#[derive(Clone, Copy)]
struct Pairs {
    bits: [u64; 4],
    count: u32,
}

impl Pairs {
    fn of(line: &[u8]) -> Pairs {
        let line = trim(line);
        let mut bits = [0; 4];
        let mut before = 0;
        for byte in &line[..line.len().min(LINE_BYTES_MAX)] {
            // Any odd factor spreads pairs well enough.
            let hash = ((before << 8) | u32::from(*byte)).wrapping_mul(0x9e37_79b1) >> 24;
            bits[(hash >> 6) as usize] |= 1 << (hash & 63);
            before = u32::from(*byte);
        }
        Pairs { bits, count: bits.iter().map(|part: &u64| part.count_ones()).sum() }
    }

    /// What both have of what either has, of 100.
    fn likeness(&self, other: &Pairs) -> usize {
        let both: u32 = self.bits.iter().zip(&other.bits).map(|(a, b)| (a & b).count_ones()).sum();
        (both * 100).checked_div(self.count + other.count - both).unwrap_or(0) as usize
    }
}

/// How alike two lines are, of 100: what they share at both ends, indentation aside.
fn likeness(a: &[u8], b: &[u8]) -> usize {
    let (a, b) = (trim(a), trim(b));
    let longest = a.len().max(b.len());
    if longest == 0 {
        return 100;
    }
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (&a[head..], &b[head..]);
    let tail = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(x, y)| x == y).count();
    (head + tail) * 100 / longest
}
