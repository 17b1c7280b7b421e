//! The hard rules of a repository: what its people have put under the heading "Always", else their first points.

use super::imports::step_fence;
use super::{RULES_BYTES_MAX, cut};

/// The heading, in any case and at any level.
const ALWAYS: &str = "always";
/// Points that stand for the rules where nobody has named any.
const POINTS_MAX: usize = 8;

/// The hard rules of some texts, verbatim.
pub(super) fn hard<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> String {
    let named: Vec<String> = texts.clone().map(always).filter(|section| !section.is_empty()).collect();
    let rules = if named.is_empty() { texts.flat_map(points).take(POINTS_MAX).collect() } else { named };
    let rules = rules.join("\n");
    if rules.len() > RULES_BYTES_MAX { cut(&rules, RULES_BYTES_MAX) } else { rules }
}

/// Level and words of a heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    let words = &line[level..];
    ((1..=6).contains(&level) && words.starts_with([' ', '\t']))
        .then(|| (level, words.trim().trim_end_matches('#').trim()))
}

/// What stands under the heading.
fn always(text: &str) -> String {
    let mut fence = None;
    let mut under: Option<usize> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        let code = step_fence(&mut fence, line) || fence.is_some();
        match heading(line).filter(|_| !code) {
            Some((level, words)) if words.eq_ignore_ascii_case(ALWAYS) => under = Some(level),
            Some((level, _)) if under.is_some_and(|above| level <= above) => under = None,
            Some(_) | None if under.is_some() => lines.push(line),
            Some(_) | None => {}
        }
    }
    lines.join("\n").trim().to_owned()
}

/// Its points: items of lists that are not inside others, each with its first line.
fn points(text: &str) -> Vec<String> {
    let mut fence = None;
    let lines = text.lines().filter(move |line| !(step_fence(&mut fence, line) || fence.is_some()));
    let numbered = |line: &str| {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && line[digits..].starts_with(". ")
    };
    let points = lines.filter(|line| ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark)) || numbered(line));
    points.map(|line| line.trim_end().to_owned()).collect()
}
