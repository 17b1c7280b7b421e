//! Where a text stands in a file: exactly, or else by the first of four narrow tiers that finds it.
//!
//! A tier forgives one thing that a reader of a file cannot see or tends to retype, and nothing else. The place has
//! as many lines as the text, always: no tier matches by first and last line, by likeness, or over what lies
//! between. Places that overlap count as several.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use super::super::text::{Lines, Shift, characters, folded, indent, trim, trim_end};

/// Work of one tier, in bytes compared: less than half a second of one core. Only a text that repeats itself over
/// and over gets there; it then has to be given exactly.
const WORK_MAX: usize = 60_000_000;
/// What it costs to look at a line at all, in the same measure.
const LINE_WORK: usize = 16;

/// What a match forgives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Tier {
    /// Nothing.
    Exact,
    /// LF for CRLF, or the other way round.
    LineEnds,
    /// Space at the ends of lines.
    TrailingSpace,
    /// One indentation, the same for all lines.
    Indent,
    /// Typographic dashes, quotes and spaces for plain ones.
    Unicode,
}

impl Tier {
    /// Its words in a message: "matched …".
    pub(in super::super) const fn told(self) -> &'static str {
        match self {
            Tier::Exact => "exactly",
            Tier::LineEnds => "but for line ends (CRLF, LF)",
            Tier::TrailingSpace => "but for space at line ends",
            Tier::Indent => "but for the indentation",
            Tier::Unicode => "but for typographic dashes, quotes or spaces",
        }
    }
}

/// One place in a file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    /// How the file is indented otherwise; for [`Tier::Indent`].
    pub(super) shift: Option<Shift>,
    /// The text ends with a line end that the file, at its very end, does not have.
    pub(super) at_end: bool,
}

/// The places that the first successful tier gives.
pub(super) struct Places {
    pub(super) tier: Tier,
    /// In the order of the file; never empty.
    pub(super) spans: Vec<Span>,
    /// Two of them share bytes.
    pub(super) overlap: bool,
}

/// Why there are none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is not there.
    Absent,
    /// The search was given up.
    TooMuch,
}

/// Finds a text, by at most `max` places.
pub(super) fn find(bytes: &[u8], old: &[u8], max: usize) -> Result<Places, Missing> {
    let spans = exact(bytes, old, max);
    if !spans.is_empty() {
        return Ok(places(Tier::Exact, spans));
    }
    let (file, wanted) = (Lines::new(bytes), Lines::new(old));
    let has_text = !trim(&old.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect::<Vec<_>>()).is_empty();
    for tier in [Tier::LineEnds, Tier::TrailingSpace, Tier::Indent, Tier::Unicode] {
        let spans = match tier {
            Tier::Exact => continue,
            Tier::LineEnds => by_lines(&file, &wanted, max, at_line_ends)?,
            // Blank lines look like all other blank lines.
            Tier::TrailingSpace | Tier::Indent | Tier::Unicode if !has_text => continue,
            Tier::TrailingSpace => by_lines(&file, &wanted, max, at_trailing_space)?,
            Tier::Indent => by_lines(&file, &wanted, max, at_indent)?,
            Tier::Unicode if bytes.is_ascii() && old.is_ascii() => continue,
            Tier::Unicode => by_unicode(bytes, old, max)?,
        };
        if !spans.is_empty() {
            return Ok(places(tier, spans));
        }
    }
    Err(Missing::Absent)
}

fn places(tier: Tier, spans: Vec<Span>) -> Places {
    let overlap = spans.windows(2).any(|pair| pair[1].start < pair[0].end);
    Places { tier, spans, overlap }
}

const fn span(start: usize, end: usize) -> Span {
    Span { start, end, shift: None, at_end: false }
}

/// Exact places, those that overlap included. Every search starts one byte after the place before, so that no byte
/// is looked at more than twice between two places that do not overlap.
fn exact(bytes: &[u8], old: &[u8], max: usize) -> Vec<Span> {
    let finder = memmem::Finder::new(old);
    let mut spans: Vec<Span> = Vec::new();
    let mut from = 0;
    while spans.len() < max
        && let Some(at) = bytes.get(from..).and_then(|rest| finder.find(rest))
    {
        let overlaps = spans.last().is_some_and(|last| from + at < last.end);
        spans.push(span(from + at, from + at + old.len()));
        if overlaps && spans.len() > super::LINES_NAMED_MAX {
            // Nobody wants more of these, and each costs a search of the whole text.
            break;
        }
        from += at + 1;
    }
    spans
}

/// The wanted lines at one line of the file; adds to the work done.
type At = fn(&Lines<'_>, &Lines<'_>, usize, &mut usize) -> Option<Span>;

fn by_lines(file: &Lines<'_>, wanted: &Lines<'_>, max: usize, at: At) -> Result<Vec<Span>, Missing> {
    let mut spans = Vec::new();
    let mut work = 0;
    // One line more than there are: the text may end with a line end where the file has none.
    for line in 0..(file.len() + 2).saturating_sub(wanted.len()) {
        work += LINE_WORK;
        spans.extend(at(file, wanted, line, &mut work));
        if spans.len() >= max {
            break;
        }
        if work > WORK_MAX {
            return Err(Missing::TooMuch);
        }
    }
    Ok(spans)
}

/// All lines between the first and the last are the same, by a measure.
fn inner(
    file: &Lines<'_>,
    wanted: &Lines<'_>,
    line: usize,
    work: &mut usize,
    same: impl Fn(&[u8], &[u8]) -> bool,
) -> bool {
    (1..wanted.len().saturating_sub(1)).all(|index| {
        let text = wanted.text(index);
        *work += text.len() + LINE_WORK;
        same(file.text(line + index), text)
    })
}

fn at_line_ends(file: &Lines<'_>, wanted: &Lines<'_>, line: usize, work: &mut usize) -> Option<Span> {
    let last = wanted.len() - 1;
    if last == 0 || line + last >= file.len() {
        return None;
    }
    let (first, tail) = (wanted.text(0), wanted.text(last));
    let fits = file.text(line).ends_with(first)
        && inner(file, wanted, line, work, |a, b| a == b)
        && file.text(line + last).starts_with(tail);
    fits.then(|| {
        let start = file.start(line) + file.text(line).len() - first.len();
        span(start, file.start(line + last) + tail.len())
    })
}

fn at_trailing_space(file: &Lines<'_>, wanted: &Lines<'_>, line: usize, work: &mut usize) -> Option<Span> {
    if line >= file.len() {
        return None;
    }
    let last = wanted.len() - 1;
    let (first, here) = (wanted.text(0), trim_end(file.text(line)));
    let kept = trim_end(first);
    // A blank line that is wanted is a whole one.
    let whole = kept.is_empty() && !first.is_empty();
    if !here.ends_with(kept) || (whole && !here.is_empty()) {
        return None;
    }
    let start = match kept.len() {
        0 if whole => file.start(line),
        0 => file.start(line) + file.text(line).len(),
        length => file.start(line) + here.len() - length,
    };
    if last == 0 {
        return (kept.len() < first.len()).then(|| span(start, file.start(line) + file.text(line).len()));
    }
    if !inner(file, wanted, line, work, |a, b| trim_end(a) == trim_end(b)) {
        return None;
    }
    let tail = wanted.text(last);
    let end = end_of(file, line + last, tail, |text| {
        // Where the space at its end was given, the line ends there; else it may go on.
        if trim_end(tail).len() < tail.len() {
            (trim_end(text) == trim_end(tail)).then_some(text.len())
        } else {
            text.starts_with(tail).then_some(tail.len())
        }
    })?;
    Some(Span { start, ..end })
}

fn at_indent(file: &Lines<'_>, wanted: &Lines<'_>, line: usize, work: &mut usize) -> Option<Span> {
    let last = wanted.len() - 1;
    let whole = if last > 0 && wanted.text(last).is_empty() { last } else { last + 1 };
    if line + whole > file.len() {
        return None;
    }
    let mut shift: Option<Shift> = None;
    for index in 0..whole {
        let (here, given) = (file.text(line + index), wanted.text(index));
        *work += given.len() + LINE_WORK;
        if trim(here) != trim(given) {
            return None;
        }
        if trim(given).is_empty() {
            continue;
        }
        let found = Shift::between(indent(given), indent(here))?;
        if shift.get_or_insert_with(|| found.clone()) != &found {
            return None;
        }
    }
    let end = if whole == last {
        end_of(file, line + last, b"", |_| Some(0))?
    } else {
        span(0, file.start(line + last) + file.text(line + last).len())
    };
    Some(Span { start: file.start(line), shift, ..end })
}

/// The end of a place in its last line, which may be the one that a file without a last line end does not have.
fn end_of(file: &Lines<'_>, line: usize, tail: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> Option<Span> {
    if line < file.len() {
        return length(file.text(line)).map(|length| span(0, file.start(line) + length));
    }
    let unfinished = !file.text(file.len() - 1).is_empty();
    (tail.is_empty() && unfinished).then(|| Span { at_end: true, ..span(0, file.end(file.len() - 1)) })
}

/// Searches the text with plain characters; as many characters lead back to the bytes of the file.
fn by_unicode(bytes: &[u8], old: &[u8], max: usize) -> Result<Vec<Span>, Missing> {
    let (plain_file, plain_old) = (folded(bytes), folded(old));
    let lines = Lines::new(&plain_file);
    let wanted = Lines::new(&plain_old);
    let mut spans = exact(&plain_file, &plain_old, max);
    if spans.is_empty() {
        spans = by_lines(&lines, &wanted, max, at_line_ends)?;
    }
    let ends = spans.iter().flat_map(|found| [found.start, found.end]);
    let back = offsets(bytes, &plain_file, ends.collect());
    Ok(spans.into_iter().map(|found| span(back[&found.start], back[&found.end])).collect())
}

/// Where offsets of the plain text are in the file.
fn offsets(bytes: &[u8], plain: &[u8], wanted: BTreeSet<usize>) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    let mut wanted = wanted.into_iter().peekable();
    let (mut here, mut there) = (0, 0);
    let mut pairs = characters(plain).zip(characters(bytes));
    while let Some(offset) = wanted.peek().copied() {
        if offset == there {
            found.insert(offset, here);
            wanted.next();
        } else if let Some((folded, own)) = pairs.next() {
            there += folded.len();
            here += own.len();
        } else {
            break;
        }
    }
    found
}
