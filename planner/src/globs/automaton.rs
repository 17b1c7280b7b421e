//! Rows of tokens as automata: their regular expression, and whether two of them accept a common path.

use std::fmt::Write as _;

/// One piece of a flat pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Token {
    /// Exactly this character.
    Char(char),
    /// `?`: one character but `/`.
    Any,
    /// `[…]`: one of these characters, never `/`.
    Class(Ranges),
    /// `*`: any run without `/`.
    Star,
    /// `**`: any run.
    Cross,
    /// `**/` at the start of a segment: any number of whole folders, none included.
    Dirs,
}

/// A set of characters as sorted ranges that do not touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ranges(Vec<(char, char)>);

impl Ranges {
    pub(super) fn new(mut pairs: Vec<(char, char)>) -> Self {
        pairs.sort_unstable();
        let mut merged: Vec<(char, char)> = Vec::with_capacity(pairs.len());
        for (low, high) in pairs {
            match merged.last_mut() {
                Some(last) if next(last.1).is_none_or(|n| low <= n) => last.1 = last.1.max(high),
                Some(_) | None => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    pub(super) fn complement(&self) -> Self {
        let mut rest = Vec::new();
        let mut low = Some('\0');
        for &(from, to) in &self.0 {
            if let (Some(low), Some(high)) = (low, previous(from))
                && low <= high
            {
                rest.push((low, high));
            }
            low = next(to);
        }
        if let Some(low) = low {
            rest.push((low, char::MAX));
        }
        Self(rest)
    }

    pub(super) fn without(&self, c: char) -> Self {
        let mut pairs = Vec::new();
        for &(low, high) in &self.0 {
            if low <= c && c <= high {
                pairs.extend(previous(c).filter(|p| low <= *p).map(|p| (low, p)));
                pairs.extend(next(c).filter(|n| *n <= high).map(|n| (n, high)));
            } else {
                pairs.push((low, high));
            }
        }
        Self(pairs)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Characters that stand for every kind of character which these ranges tell apart: both ends of each, and what lies
    /// beside them.
    pub(super) fn edges(&self) -> impl Iterator<Item = char> {
        let around = |(low, high): &(char, char)| [previous(*low), Some(*low), Some(*high), next(*high)];
        self.0.iter().flat_map(around).flatten()
    }

    fn contains(&self, c: char) -> bool {
        self.0.iter().any(|(low, high)| *low <= c && c <= *high)
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.0 <= b.1 && b.0 <= a.1))
    }
}

fn next(c: char) -> Option<char> {
    match c {
        '\u{d7ff}' => Some('\u{e000}'),
        char::MAX => None,
        _ => char::from_u32(u32::from(c) + 1),
    }
}

fn previous(c: char) -> Option<char> {
    match c {
        '\u{e000}' => Some('\u{d7ff}'),
        '\0' => None,
        _ => char::from_u32(u32::from(c) - 1),
    }
}

/// The anchored regular expression of some rows.
pub(super) fn regex(flats: &[Vec<Token>]) -> String {
    let mut out = String::from("^(?:");
    for (i, tokens) in flats.iter().enumerate() {
        if i > 0 {
            out.push('|');
        }
        for (at, token) in tokens.iter().enumerate() {
            match token {
                Token::Char(c) => push_char(&mut out, *c),
                Token::Any => out.push_str("[^/]"),
                Token::Star => out.push_str("[^/]*"),
                Token::Dirs => out.push_str("(?:[^/]+/)*"),
                // After a slash or alone, `**` is "something below": no path is empty or ends with a slash.
                Token::Cross if at + 1 == tokens.len() && segment_start(tokens, at) => {
                    out.push_str("(?s:.+)");
                }
                Token::Cross => out.push_str("(?s:.*)"),
                Token::Class(ranges) => {
                    out.push('[');
                    for (low, high) in &ranges.0 {
                        push_char(&mut out, *low);
                        out.push('-');
                        push_char(&mut out, *high);
                    }
                    out.push(']');
                }
            }
        }
    }
    out.push_str(")$");
    out
}

fn segment_start(tokens: &[Token], at: usize) -> bool {
    match at.checked_sub(1).map(|before| &tokens[before]) {
        None | Some(Token::Char('/') | Token::Dirs) => true,
        Some(Token::Char(_) | Token::Any | Token::Class(_) | Token::Star | Token::Cross) => false,
    }
}

/// A character that is itself in a regex, in and out of brackets.
fn push_char(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || matches!(c, '/' | '_') {
        out.push(c);
    } else {
        write!(out, "\\x{{{:x}}}", u32::from(c)).expect("writing to a string does not fail");
    }
}

/// What one step of an automaton consumes.
#[derive(Clone, Copy)]
enum Step<'t> {
    Char(char),
    NotSlash,
    Class(&'t Ranges),
    All,
}

impl Step<'_> {
    fn takes_slash(self) -> bool {
        match self {
            Self::Char(c) => c == '/',
            Self::NotSlash | Self::Class(_) => false,
            Self::All => true,
        }
    }

    fn takes(self, c: char) -> bool {
        match self {
            Self::Char(own) => own == c,
            Self::NotSlash => c != '/',
            Self::Class(ranges) => c != '/' && ranges.contains(c),
            Self::All => true,
        }
    }

    /// Whether both take a common character other than `/`.
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Char('/'), _) | (_, Self::Char('/')) => false,
            (Self::All | Self::NotSlash, _) | (_, Self::All | Self::NotSlash) => true,
            (Self::Char(a), Self::Char(b)) => a == b,
            (Self::Char(c), Self::Class(r)) | (Self::Class(r), Self::Char(c)) => r.contains(c),
            (Self::Class(a), Self::Class(b)) => a.meets(b),
        }
    }
}

/// Where an automaton stands: before token `at`, or (`mid`) inside the folders of a [`Token::Dirs`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) at: usize,
    mid: bool,
}

impl Place {
    pub(super) const fn before(at: usize) -> Self {
        Self { at, mid: false }
    }

    /// The place reached without consuming anything, where there is one.
    pub(super) fn skip(self, tokens: &[Token]) -> Option<Self> {
        match tokens.get(self.at)? {
            Token::Star | Token::Cross => Some(Self::before(self.at + 1)),
            Token::Dirs if !self.mid => Some(Self::before(self.at + 1)),
            Token::Dirs | Token::Char(_) | Token::Any | Token::Class(_) => None,
        }
    }

    /// The places reached by consuming `c`.
    pub(super) fn take(self, tokens: &[Token], c: char) -> impl Iterator<Item = Self> {
        self.steps(tokens).into_iter().flatten().filter(move |(step, _)| step.takes(c)).map(|(_, to)| to)
    }

    /// The places reached by consuming one character.
    fn steps(self, tokens: &[Token]) -> [Option<(Step<'_>, Self)>; 2] {
        let on = Self::before(self.at + 1);
        match tokens.get(self.at) {
            None => [None, None],
            Some(Token::Char(c)) => [Some((Step::Char(*c), on)), None],
            Some(Token::Any) => [Some((Step::NotSlash, on)), None],
            Some(Token::Class(ranges)) => [Some((Step::Class(ranges), on)), None],
            Some(Token::Star) => [Some((Step::NotSlash, self)), None],
            Some(Token::Cross) => [Some((Step::All, self)), None],
            Some(Token::Dirs) => {
                let mid = Self { at: self.at, mid: true };
                let end = self.mid.then_some((Step::Char('/'), on));
                [Some((Step::All, mid)), end]
            }
        }
    }
}

/// Whether some path is accepted by both rows. A path is not empty, and has no empty segment.
pub(super) fn meet(a: &[Token], b: &[Token]) -> bool {
    let width = 2 * (b.len() + 1);
    let index = |x: Place, y: Place, inside: bool| {
        let row = 2 * x.at + usize::from(x.mid);
        let column = 2 * y.at + usize::from(y.mid);
        2 * (row * width + column) + usize::from(inside)
    };
    let mut seen = vec![false; 2 * width * 2 * (a.len() + 1)];
    // `inside`: the last character was not a slash, so a slash or the end may follow.
    let mut open = vec![(Place::before(0), Place::before(0), false)];
    while let Some((x, y, inside)) = open.pop() {
        if std::mem::replace(&mut seen[index(x, y, inside)], true) {
            continue;
        }
        if inside && x.at == a.len() && y.at == b.len() {
            return true;
        }
        open.extend(x.skip(a).map(|x| (x, y, inside)));
        open.extend(y.skip(b).map(|y| (x, y, inside)));
        for (take_x, to_x) in x.steps(a).into_iter().flatten() {
            for (take_y, to_y) in y.steps(b).into_iter().flatten() {
                if take_x.meets(take_y) {
                    open.push((to_x, to_y, true));
                }
                if inside && take_x.takes_slash() && take_y.takes_slash() {
                    open.push((to_x, to_y, false));
                }
            }
        }
    }
    false
}
