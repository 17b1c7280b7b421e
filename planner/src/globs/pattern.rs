//! From the text of a glob to rows of tokens: first the braces are multiplied out, then each alternative is read.

use super::automaton::{Ranges, Token};

/// Longest pattern. Repository paths end at 4,096 bytes on every system git runs on.
pub(crate) const PATTERN_BYTES_MAX: usize = 4096;

/// Most tokens of all alternatives together. A class compiles to about half a kilobyte of automaton, so 8,192 stay
/// below the 10 MB at which the crate `regex` refuses.
pub(crate) const TOKENS_MAX: usize = 8192;

/// Deepest nesting of braces; people write one level, two at most.
const BRACE_DEPTH_MAX: usize = 8;

/// Why a text is no glob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing is written, or an alternative is empty as a whole.
    #[error("read the glob `{0}`: it is empty or has an empty alternative")]
    Empty(String),
    /// It begins with `/`.
    #[error("read the glob `{0}`: it begins with `/`; globs are relative to the root of the repository")]
    Absolute(String),
    /// It ends with `/`.
    #[error("read the glob `{0}`: it ends with `/`; write `{0}**` for all that is below")]
    TrailingSlash(String),
    /// It has a segment that no repository path has: empty, `.` or `..`.
    #[error("read the glob `{0}`: it has an empty, `.` or `..` segment, which no path in a repository has")]
    Segment(String),
    /// It begins with `!`.
    #[error("read the glob `{0}`: it begins with `!`; there is no negation (write `\\!` for the character)")]
    Negation(String),
    /// A `[` or `{` that is not closed, or a `}` that was not opened.
    #[error("read the glob `{pattern}`: it has an unbalanced `{bracket}`")]
    Unbalanced {
        /// The pattern.
        pattern: String,
        /// The bracket.
        bracket: char,
    },
    /// A character class that is empty or runs backwards.
    #[error("read the glob `{0}`: it has a character class that is empty or runs backwards")]
    Class(String),
    /// It ends with a backslash.
    #[error("read the glob `{0}`: it ends with a backslash")]
    TrailingEscape(String),
    /// It has a control character.
    #[error("read the glob `{0}`: it has a control character")]
    Control(String),
    /// It is too long, too deep, or its braces multiply to too much.
    #[error("read the glob `{start}…`: it is too large, {what}")]
    TooLarge {
        /// How it begins.
        start: String,
        /// Which bound it passes.
        what: String,
    },
}

/// One character of a pattern: as written, or taken literally by a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Symbol {
    Plain(char),
    Escaped(char),
}

impl Symbol {
    fn char(self) -> char {
        match self {
            Self::Plain(c) | Self::Escaped(c) => c,
        }
    }
}

/// The alternatives of `text`, each a row of tokens.
pub(super) fn flats(text: &str) -> Result<Vec<Vec<Token>>, GlobError> {
    if text.is_empty() {
        return Err(GlobError::Empty(String::new()));
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err(too_large(text, format!("over {PATTERN_BYTES_MAX} bytes")));
    }
    if text.chars().any(|c| c == '\0') {
        return Err(GlobError::Control(text.escape_debug().to_string()));
    }
    if text.starts_with('!') {
        return Err(GlobError::Negation(text.to_owned()));
    }
    let symbols = symbols(text)?;
    let mut flats = Vec::new();
    let mut total = 0;
    for alternative in expand(text, &symbols)? {
        let tokens = tokens(text, &alternative)?;
        total += tokens.len();
        if total > TOKENS_MAX {
            return Err(too_large(text, format!("over {TOKENS_MAX} tokens")));
        }
        flats.push(tokens);
    }
    Ok(flats)
}

fn too_large(text: &str, what: String) -> GlobError {
    GlobError::TooLarge { start: text.chars().take(32).collect(), what }
}

fn symbols(text: &str) -> Result<Vec<Symbol>, GlobError> {
    let mut symbols = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        symbols.push(if c == '\\' {
            let next = chars.next();
            Symbol::Escaped(next.ok_or_else(|| GlobError::TrailingEscape(text.to_owned()))?)
        } else {
            Symbol::Plain(c)
        });
    }
    Ok(symbols)
}

/// Multiplies the braces out. Brackets hide braces and commas.
fn expand(text: &str, symbols: &[Symbol]) -> Result<Vec<Vec<Symbol>>, GlobError> {
    let (rows, rest) = sequence(text, symbols, 0)?;
    match rest {
        [] => Ok(rows),
        _ => Err(GlobError::Unbalanced { pattern: text.to_owned(), bracket: '}' }),
    }
}

type Rows = Vec<Vec<Symbol>>;

/// Reads up to the end, or to a `,` or `}` of the brace around it; gives the rows and what is left.
fn sequence<'s>(text: &str, mut symbols: &'s [Symbol], depth: usize) -> Result<(Rows, &'s [Symbol]), GlobError> {
    if depth > BRACE_DEPTH_MAX {
        return Err(too_large(text, format!("braces over {BRACE_DEPTH_MAX} deep")));
    }
    let mut rows: Rows = vec![Vec::new()];
    while let Some((&first, rest)) = symbols.split_first() {
        match first {
            Symbol::Plain('}') => break,
            Symbol::Plain(',') if depth > 0 => break,
            Symbol::Plain('{') => {
                let (choices, after) = braces(text, rest, depth)?;
                let product =
                    rows.iter().flat_map(|row| choices.iter().map(|choice| [row.as_slice(), choice].concat()));
                // Bounded before it is built: the product cannot have more rows than tokens are allowed.
                if rows.len() * choices.len() > TOKENS_MAX / 8 {
                    return Err(too_large(text, "braces with too many alternatives".to_owned()));
                }
                rows = product.collect();
                symbols = after;
            }
            Symbol::Plain('[') => {
                let length = class_length(text, symbols)?;
                rows.iter_mut().for_each(|row| row.extend(&symbols[..length]));
                symbols = &symbols[length..];
            }
            Symbol::Plain(_) | Symbol::Escaped(_) => {
                rows.iter_mut().for_each(|row| row.push(first));
                symbols = rest;
            }
        }
        if rows.iter().map(Vec::len).sum::<usize>() > 2 * TOKENS_MAX {
            return Err(too_large(text, "braces with too many alternatives".to_owned()));
        }
    }
    Ok((rows, symbols))
}

/// Reads the alternatives after a `{`, and the `}`.
fn braces<'s>(text: &str, mut symbols: &'s [Symbol], depth: usize) -> Result<(Rows, &'s [Symbol]), GlobError> {
    let mut choices = Vec::new();
    loop {
        let (rows, rest) = sequence(text, symbols, depth + 1)?;
        choices.extend(rows);
        match rest.split_first() {
            Some((Symbol::Plain(','), rest)) => symbols = rest,
            Some((_, rest)) => return Ok((choices, rest)),
            None => {
                return Err(GlobError::Unbalanced { pattern: text.to_owned(), bracket: '{' });
            }
        }
    }
}

/// How many symbols the class at the start of `symbols` has, brackets included.
fn class_length(text: &str, symbols: &[Symbol]) -> Result<usize, GlobError> {
    let negated = matches!(symbols.get(1), Some(Symbol::Plain('!' | '^')));
    // A `]` right at the start is a member, as in every shell.
    let first = if negated { 2 } else { 1 };
    let close = symbols.iter().skip(first + 1).position(|s| *s == Symbol::Plain(']'));
    match close {
        Some(i) => Ok(first + 1 + i + 1),
        None if symbols.get(first) == Some(&Symbol::Plain(']')) => Err(GlobError::Class(text.to_owned())),
        None => Err(GlobError::Unbalanced { pattern: text.to_owned(), bracket: '[' }),
    }
}

/// Reads one alternative.
fn tokens(text: &str, symbols: &[Symbol]) -> Result<Vec<Token>, GlobError> {
    check_segments(text, symbols)?;
    let mut tokens = Vec::with_capacity(symbols.len());
    let mut at = 0;
    while let Some(&symbol) = symbols.get(at) {
        let segment_start = at == 0 || symbols[at - 1].char() == '/';
        at += 1;
        tokens.push(match symbol {
            Symbol::Plain('*') => {
                let more = symbols[at..].iter().take_while(|s| **s == Symbol::Plain('*')).count();
                at += more;
                if more == 0 {
                    Token::Star
                } else if segment_start && symbols.get(at).map(|s| s.char()) == Some('/') {
                    at += 1;
                    Token::Dirs
                } else {
                    Token::Cross
                }
            }
            Symbol::Plain('?') => Token::Any,
            Symbol::Plain('[') => {
                let length = class_length(text, &symbols[at - 1..])?;
                let class = class(text, &symbols[at..at + length - 2])?;
                at += length - 1;
                Token::Class(class)
            }
            Symbol::Plain(c) | Symbol::Escaped(c) => Token::Char(c),
        });
    }
    Ok(tokens)
}

/// Refuses alternatives that can match no path, as they are always a slip.
fn check_segments(text: &str, symbols: &[Symbol]) -> Result<(), GlobError> {
    if symbols.is_empty() {
        return Err(GlobError::Empty(text.to_owned()));
    }
    let slash = |s: &Symbol| s.char() == '/';
    if slash(&symbols[0]) {
        return Err(GlobError::Absolute(text.to_owned()));
    }
    if symbols.last().is_some_and(slash) {
        return Err(GlobError::TrailingSlash(text.to_owned()));
    }
    let bad = symbols.split(|s| slash(s)).any(|segment| {
        let segment: String = segment.iter().map(|s| s.char()).collect();
        matches!(segment.as_str(), "" | "." | "..")
    });
    if bad {
        return Err(GlobError::Segment(text.to_owned()));
    }
    Ok(())
}

/// Reads what is between the brackets of a class.
fn class(text: &str, mut symbols: &[Symbol]) -> Result<Ranges, GlobError> {
    let negated = matches!(symbols.first(), Some(Symbol::Plain('!' | '^')));
    if negated {
        symbols = &symbols[1..];
    }
    let mut pairs = Vec::new();
    while let Some((first, rest)) = symbols.split_first() {
        let first = first.char();
        match rest {
            [Symbol::Plain('-'), last, after @ ..] => {
                let last = last.char();
                if last < first {
                    return Err(GlobError::Class(text.to_owned()));
                }
                pairs.push((first, last));
                symbols = after;
            }
            _ => {
                pairs.push((first, first));
                symbols = rest;
            }
        }
    }
    let ranges = Ranges::new(pairs);
    let ranges = if negated { ranges.complement() } else { ranges };
    let ranges = ranges.without('/');
    if ranges.is_empty() {
        return Err(GlobError::Class(text.to_owned()));
    }
    Ok(ranges)
}
