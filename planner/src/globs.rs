//! Globs over repository paths, and whether two of them can ever name the same path.
//!
//! A pattern is relative to the root of the repository. `*` and `?` stop at `/`, `**` crosses it (`**/` is also "in
//! no folder at all"), `[a-z]` and `[!a-z]` are one character that is never `/`, `{a,b}` are alternatives, and a
//! backslash takes the next character literally. There is no negation and no meaning of a trailing slash.
//!
//! A pattern is first rid of its braces, which leaves flat alternatives; each is a row of [`Token`]s. The same rows
//! give the regex that others compile ([`Glob::regex`]), decide a match, and decide overlap: two rows overlap when
//! their product automaton, restricted to strings that are paths, reaches its end. So overlap never depends on the
//! files that happen to exist.

mod automaton;
mod cover;
mod pattern;

use std::fmt;

use automaton::{Token, meet};

pub use pattern::GlobError;

/// A checked pattern over repository paths.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    regex: String,
    flats: Vec<Flat>,
}

/// One alternative of a pattern, with what allows a quick "no".
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flat {
    tokens: Vec<Token>,
    /// The literal characters it begins with.
    prefix: String,
    /// Whether `prefix` is all of it.
    literal: bool,
}

impl Flat {
    fn new(tokens: Vec<Token>) -> Self {
        let prefix: String = tokens
            .iter()
            .map_while(|t| match t {
                Token::Char(c) => Some(*c),
                Token::Any | Token::Class(_) | Token::Star | Token::Cross | Token::Dirs => None,
            })
            .collect();
        let literal = prefix.chars().count() == tokens.len();
        Self { tokens, prefix, literal }
    }

    /// Every path there is.
    fn is_everything(&self) -> bool {
        matches!(self.tokens.as_slice(), [Token::Cross])
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn is_literal(&self) -> bool {
        self.literal
    }

    /// Whether some path matches both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        if self.is_everything() || other.is_everything() {
            return true;
        }
        match (self.literal, other.literal) {
            (true, true) => self.prefix == other.prefix,
            (true, false) => self.prefix.starts_with(&other.prefix) && self.meets(other),
            (false, true) => other.prefix.starts_with(&self.prefix) && self.meets(other),
            (false, false) => {
                (self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix)) && self.meets(other)
            }
        }
    }

    fn meets(&self, other: &Self) -> bool {
        meet(&self.tokens, &other.tokens)
    }
}

impl Glob {
    /// The glob for `text`.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let flats = pattern::flats(text)?;
        Ok(Self {
            text: text.to_owned(),
            regex: automaton::regex(&flats),
            flats: flats.into_iter().map(Flat::new).collect(),
        })
    }

    /// The glob that matches exactly `path`.
    pub fn literal(path: &str) -> Result<Self, GlobError> {
        Self::parse(&escape(path))
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// An anchored regular expression (syntax of the crate `regex`) that matches the same paths.
    pub fn regex(&self) -> &str {
        &self.regex
    }

    /// Whether the root-relative `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        let tokens: Vec<Token> = path.chars().map(Token::Char).collect();
        self.flats.iter().any(|flat| {
            path.starts_with(&flat.prefix)
                && if flat.literal { path == flat.prefix } else { meet(&flat.tokens, &tokens) }
        })
    }

    /// Whether some path, existing or not, matches both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.flats.iter().any(|a| other.flats.iter().any(|b| a.overlaps(b)))
    }

    pub(crate) fn flats(&self) -> &[Flat] {
        &self.flats
    }

    /// `**`, what a write step touches when it does not say.
    pub(crate) fn everything() -> Self {
        Self::parse("**").expect("`**` is a pattern")
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Glob {}

impl serde::Serialize for Glob {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Glob {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Whether some path matches a glob of `a` and a glob of `b`.
pub fn globs_overlap(a: &[Glob], b: &[Glob]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.overlaps(y)))
}

/// Whether every path that `inner` matches is matched by one of `outer`. "No" where the patterns are too many-sided for
/// that to be found out.
pub fn globs_cover(outer: &[Glob], inner: &Glob) -> bool {
    let rows: Vec<&[Token]> = outer.iter().flat_map(Glob::flats).map(|flat| flat.tokens.as_slice()).collect();
    inner.flats.iter().all(|flat| cover::covered(&flat.tokens, &rows))
}

/// The pattern that matches exactly `path`.
pub fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for (i, c) in path.char_indices() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | ',' | '\\') || (i == 0 && c == '!') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
