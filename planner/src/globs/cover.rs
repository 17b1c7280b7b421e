//! Whether every path of one row of tokens is a path of one of some others: the automaton of the first is walked
//! together with all places where the others may stand.

use std::collections::{BTreeSet, HashSet};

use super::automaton::{Place, Token};

/// Pairs of places that are looked at. Patterns of people need a few hundred; past this the answer is "no", which asks
/// for a plainer pattern and grants nothing.
const PAIRS_MAX: usize = 20_000;

/// Where the row and the others may stand after some characters, and whether the last of these was no slash.
type Standing = (BTreeSet<Place>, BTreeSet<(usize, Place)>, bool);

/// Whether every path that `inner` accepts is accepted by one of `outer`. "No" where that is not found out.
pub(super) fn covered(inner: &[Token], outer: &[&[Token]]) -> bool {
    let alphabet = alphabet(inner, outer);
    let all = outer.iter().enumerate().map(|(row, _)| (row, Place::before(0)));
    let first = (closed(inner, [Place::before(0)]), closed_all(outer, all), false);
    let mut seen: HashSet<Standing> = HashSet::new();
    let mut open = vec![first];
    while let Some(pair) = open.pop() {
        if seen.len() >= PAIRS_MAX {
            return false;
        }
        if !seen.insert(pair.clone()) {
            continue;
        }
        let (own, others, inside) = pair;
        let ends = own.iter().any(|place| place.at == inner.len());
        if inside && ends && !others.iter().any(|(row, place)| place.at == outer[*row].len()) {
            return false;
        }
        // A path begins with no slash and has no empty segment.
        for &c in alphabet.iter().filter(|c| inside || **c != '/') {
            let own = closed(inner, own.iter().flat_map(|place| place.take(inner, c)).collect::<Vec<_>>());
            if own.is_empty() {
                continue;
            }
            let next = others.iter().flat_map(|(row, place)| place.take(outer[*row], c).map(move |to| (*row, to)));
            let others = closed_all(outer, next.collect::<Vec<_>>());
            open.push((own, others, c != '/'));
        }
    }
    true
}

/// One character of each kind that the patterns tell apart.
fn alphabet(inner: &[Token], outer: &[&[Token]]) -> BTreeSet<char> {
    let mut found = BTreeSet::from(['/']);
    for token in outer.iter().copied().chain([inner]).flatten() {
        match token {
            Token::Char(c) => {
                found.insert(*c);
            }
            Token::Class(ranges) => found.extend(ranges.edges()),
            Token::Any | Token::Star | Token::Cross | Token::Dirs => {}
        }
    }
    // One that none of them names.
    let other = ('\u{e000}'..).find(|c| !found.contains(c));
    found.extend(other);
    found
}

fn closed(tokens: &[Token], places: impl IntoIterator<Item = Place>) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Place> = places.into_iter().collect();
    while let Some(place) = open.pop() {
        if found.insert(place) {
            open.extend(place.skip(tokens));
        }
    }
    found
}

fn closed_all(rows: &[&[Token]], places: impl IntoIterator<Item = (usize, Place)>) -> BTreeSet<(usize, Place)> {
    let mut found = BTreeSet::new();
    let mut open: Vec<(usize, Place)> = places.into_iter().collect();
    while let Some((row, place)) = open.pop() {
        if found.insert((row, place)) {
            open.extend(place.skip(rows[row]).map(|place| (row, place)));
        }
    }
    found
}
