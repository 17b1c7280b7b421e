//! Hunks on the lines of a file: where each belongs, and what the file is afterwards.
//!
//! The lines that a hunk shows are searched after the hunk before it, exactly and then by three narrow tiers. They
//! have to be in one place. If they are in several, the anchor decides: the place in the block that the anchor line
//! opens, by indentation. A context line is never written: it stays as the file has it.

use std::fmt::Write as _;
use std::ops::Range;

use super::super::edit::{TELLING_BYTES_MIN, closest};
use super::super::text::{Lines, Shift, folded, indent, split_bom, trim, trim_end};
use super::parse::{Hunk, Line};

/// Lines that a message names.
const LINES_NAMED_MAX: usize = 10;
/// Blocks of anchors that are looked at.
const BLOCKS_MAX: usize = 100;
/// Work of placing the hunks of one file, in lines compared: half a second of one core.
const WORK_MAX: usize = 5_000_000;

/// What a line comparison forgives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    /// Nothing but line ends.
    Exact,
    /// Space at the end.
    TrailingSpace,
    /// Space at both ends.
    Space,
    /// Typographic characters, too.
    Unicode,
}

impl Tier {
    const ALL: [Tier; 4] = [Tier::Exact, Tier::TrailingSpace, Tier::Space, Tier::Unicode];

    /// Its words in a message: "matched …".
    pub(super) const fn told(self) -> &'static str {
        match self {
            Tier::Exact => "exactly",
            Tier::TrailingSpace => "but for space at line ends",
            Tier::Space => "but for indentation",
            Tier::Unicode => "but for typographic dashes, quotes or spaces",
        }
    }

    fn same(self, file: &[u8], given: &[u8]) -> bool {
        match self {
            Tier::Exact => file == given,
            Tier::TrailingSpace => trim_end(file) == trim_end(given),
            Tier::Space => trim(file) == trim(given),
            Tier::Unicode => trim(&folded(file)) == trim(&folded(given)),
        }
    }
}

/// A file with all hunks in it.
pub(super) struct Patched {
    pub(super) bytes: Vec<u8>,
    /// The loosest tier that was needed.
    pub(super) tier: Tier,
    /// Line of the first change, from 1.
    pub(super) line: usize,
}

/// Puts hunks into a file; the message of an error is for the model.
pub(super) fn apply(whole: &[u8], hunks: &[Hunk]) -> Result<Patched, String> {
    let (mark, bytes) = split_bom(whole);
    let mut file = File { lines: Lines::new(bytes), work: 0 };
    let mut out = mark.to_vec();
    let (mut cursor, mut loosest, mut line) = (0, Tier::Exact, None);
    for hunk in hunks {
        let (at, tier) =
            file.place(hunk, cursor).map_err(|message| format!("hunk at line {}: {message}", hunk.number))?;
        file.copy(&mut out, cursor, at);
        cursor =
            file.put(&mut out, hunk, at, tier).map_err(|message| format!("hunk at line {}: {message}", hunk.number))?;
        loosest = loosest.max(tier);
        line.get_or_insert(at + 1);
    }
    file.copy(&mut out, cursor, file.lines.len());
    // A file keeps what it has at its very end, a line end or none.
    let last_end = bytes.ends_with(b"\n") || bytes.is_empty();
    if !last_end && out.ends_with(b"\n") && out.len() > mark.len() {
        out.pop();
        if out.ends_with(b"\r") {
            out.pop();
        }
    }
    if out == whole {
        return Err("the patch changes nothing in it".to_owned());
    }
    Ok(Patched { bytes: out, tier: loosest, line: line.unwrap_or(1) })
}

/// Are the changes of all hunks there already? What each makes is there, and what it looks for is not, or only
/// inside of that.
pub(super) fn holds_already(whole: &[u8], hunks: &[Hunk]) -> bool {
    let (_, bytes) = split_bom(whole);
    let mut file = File { lines: Lines::new(bytes), work: 0 };
    let mut cursor = 0;
    hunks.iter().all(|hunk| {
        let made = file.made(hunk, cursor);
        cursor = made.as_ref().map_or(cursor, |made| made.end);
        made.is_some()
    })
}

/// What a hunk leaves behind, as a hunk that only shows it.
fn after(hunk: &Hunk) -> Hunk {
    let lines = hunk.lines.iter().filter_map(|line| match line {
        Line::Context(text) | Line::New(text) => Some(Line::Context(text.clone())),
        Line::Old(_) => None,
    });
    Hunk { lines: lines.collect(), ..hunk.clone() }
}

struct File<'a> {
    lines: Lines<'a>,
    work: usize,
}

impl File<'_> {
    /// Lines as they are, their ends included.
    fn copy(&self, out: &mut Vec<u8>, from: usize, to: usize) {
        for line in from..to {
            out.extend_from_slice(self.lines.text(line));
            out.extend_from_slice(self.lines.ending(line));
        }
    }

    /// The line where a hunk belongs.
    fn place(&mut self, hunk: &Hunk, cursor: usize) -> Result<(usize, Tier), String> {
        let shown = shown(hunk);
        let anchors = self.anchors(hunk, cursor)?;
        if shown.is_empty() {
            return self.insertion(hunk, &anchors);
        }
        let (mut found, tier) = self.search(&shown, cursor)?;
        if hunk.at_end {
            let blank = |line: usize| trim(self.lines.text(line)).is_empty();
            found.retain(|at| (at + shown.len()..self.lines.count()).all(blank));
        }
        if found.is_empty() {
            return Err(self.absent(hunk, &shown, cursor)?);
        }
        let Some(first) = anchors.first() else {
            return if found.len() == 1 {
                Ok((found[0], tier))
            } else {
                Err(ambiguous("the lines of this hunk", &found))
            };
        };
        // The anchor line may be shown as the first line of the hunk, too.
        found.retain(|at| at >= first);
        if anchors.len() == 1 && found.len() == 1 {
            return Ok((found[0], tier));
        }
        let blocks = self.blocks(&anchors);
        let inside: Vec<usize> = found.iter().copied().filter(|at| within(&blocks, *at)).collect();
        match (inside.as_slice(), found.as_slice()) {
            ([at], _) => Ok((*at, tier)),
            (_, []) => Err("the lines of this hunk are in the file, but not after its anchor".to_owned()),
            ([], _) if anchors.len() > 1 => Err(ambiguous("the anchor", &anchors)),
            ([], many) | (many, _) => Err(ambiguous("the lines of this hunk", many)),
        }
    }

    /// The lines that the last anchor of a hunk may name: inside the blocks of the anchor before it, where there
    /// are such, else after it.
    fn anchors(&mut self, hunk: &Hunk, cursor: usize) -> Result<Vec<usize>, String> {
        let mut outer: Vec<usize> = Vec::new();
        for anchor in &hunk.anchors {
            let mut found = self.search(&[anchor.as_bytes()], outer.first().map_or(cursor, |first| first + 1))?.0;
            let blocks = self.blocks(&outer);
            if found.iter().any(|at| within(&blocks, *at)) {
                found.retain(|at| within(&blocks, *at));
            }
            if found.is_empty() {
                let near = closest(&self.lines, anchor.as_bytes());
                return Err(format!("its anchor {anchor:?} is no line of the file after what is before it{near}"));
            }
            outer = found;
        }
        Ok(outer)
    }

    /// Where the result of a hunk stands.
    fn made(&mut self, hunk: &Hunk, cursor: usize) -> Option<Range<usize>> {
        let after = after(hunk);
        let (old, new) = (shown(hunk), shown(&after));
        let at = if old.is_empty() {
            // Lines that were only added stand right where they would go.
            let anchors = self.anchors(hunk, cursor).ok()?;
            let (at, _) = self.insertion(hunk, &anchors).ok()?;
            let at = if hunk.at_end { at.checked_sub(new.len())? } else { at };
            let fits = at + new.len() <= self.lines.count();
            let there = fits && new.iter().enumerate().all(|(index, text)| self.lines.text(at + index) == *text);
            return there.then(|| at..at + new.len());
        } else if new.is_empty() {
            cursor
        } else {
            self.place(&after, cursor).ok()?.0
        };
        let made = at..at + new.len();
        let found = self.search(&old, cursor).ok()?.0;
        let inside = |start: &usize| made.start <= *start && start + old.len() <= made.end;
        found.iter().all(inside).then_some(made)
    }

    /// Where lines go that have no others beside them.
    fn insertion(&self, hunk: &Hunk, anchors: &[usize]) -> Result<(usize, Tier), String> {
        match anchors {
            [] if hunk.at_end || self.lines.count() == 0 => Ok((self.lines.count(), Tier::Exact)),
            [] => {
                Err("it only adds lines, so nothing says where; show a line beside them, or name an anchor".to_owned())
            }
            [anchor] => Ok((anchor + 1, Tier::Exact)),
            many => Err(ambiguous("the anchor", many)),
        }
    }

    /// All places of some lines from a line on, by the first tier that gives any.
    fn search(&mut self, wanted: &[&[u8]], from: usize) -> Result<(Vec<usize>, Tier), String> {
        let lines = self.lines.count();
        for tier in Tier::ALL {
            let mut found = Vec::new();
            for at in from..(lines + 1).saturating_sub(wanted.len()) {
                let same = |(index, text): (usize, &&[u8])| {
                    self.work += 1;
                    tier.same(self.lines.text(at + index), text)
                };
                if wanted.iter().enumerate().all(same) {
                    found.push(at);
                }
                if self.work > WORK_MAX {
                    return Err("the file repeats itself too much to look for its lines; use Edit".to_owned());
                }
            }
            if !found.is_empty() {
                return Ok((found, tier));
            }
        }
        Ok((Vec::new(), Tier::Exact))
    }

    /// From each of some lines to the next that is indented no deeper.
    fn blocks(&self, lines: &[usize]) -> Vec<Range<usize>> {
        let end = |opening: usize| {
            let depth = indent(self.lines.text(opening)).len();
            let outside = |line: &usize| {
                let text = self.lines.text(*line);
                !trim(text).is_empty() && indent(text).len() <= depth
            };
            (opening + 1..self.lines.count()).find(outside).unwrap_or(self.lines.count())
        };
        // A file in which many lines look like an anchor needs a better one, not all of their blocks.
        lines.iter().take(BLOCKS_MAX).map(|line| *line..end(*line)).collect()
    }

    fn absent(&mut self, hunk: &Hunk, shown: &[&[u8]], cursor: usize) -> Result<String, String> {
        let before = self.search(shown, 0)?.0;
        if let Some(at) = before.iter().find(|at| **at < cursor) {
            return Ok(format!(
                "its lines are in the file only before the hunk ahead of it (line {}); hunks follow the order of the file",
                at + 1
            ));
        }
        if hunk.at_end && !before.is_empty() {
            return Ok(format!("its lines are in line {}, which is not the end of the file", before[0] + 1));
        }
        let made = after(hunk);
        let made: Vec<&[u8]> = made.lines.iter().map(text_of).collect();
        let mut message = "its lines are not in the file".to_owned();
        let telling = made.iter().map(|line| trim(line).len()).sum::<usize>() >= TELLING_BYTES_MIN;
        if let Some(at) = self.search(&made, 0)?.0.first().filter(|_| telling) {
            write!(message, "; what it would make of them is there already, in line {}", at + 1)
                .expect("writing to a string cannot fail");
        }
        message.push_str(&closest(&self.lines, &shown.join(&b'\n')));
        Ok(message)
    }

    /// Writes a hunk at its place; gives the line of the file that comes next.
    fn put(&self, out: &mut Vec<u8>, hunk: &Hunk, at: usize, tier: Tier) -> Result<usize, String> {
        let usual: &[u8] = match (self.lines.ending(at.saturating_sub(1)), self.lines.ending(0)) {
            ([], []) => b"\n",
            ([], end) | (end, _) => end,
        };
        let shown = shown(hunk);
        let mut next = at;
        for line in &hunk.lines {
            match line {
                Line::Context(_) => {
                    self.copy(out, next, next + 1);
                    next += 1;
                }
                Line::Old(_) => next += 1,
                Line::New(text) => {
                    // The last line of the file may have no end.
                    if !split_bom(out).1.is_empty() && !out.ends_with(b"\n") {
                        out.extend_from_slice(usual);
                    }
                    let given = (next - at).saturating_sub(1);
                    let text = text.as_bytes();
                    match tier {
                        Tier::Exact | Tier::TrailingSpace => out.extend_from_slice(text),
                        Tier::Space | Tier::Unicode => out.extend(self.moved(text, at, &shown, given)?),
                    }
                    out.extend_from_slice(usual);
                }
            }
        }
        Ok(next)
    }

    /// A new line, indented as the file is where the hunk is not: by the nearest shown line that is not blank.
    fn moved(&self, text: &[u8], at: usize, shown: &[&[u8]], given: usize) -> Result<Vec<u8>, String> {
        let told = (0..shown.len()).filter(|index| !trim(shown[*index]).is_empty());
        let Some(index) = told.min_by_key(|index| index.abs_diff(given)) else {
            return Ok(text.to_vec());
        };
        let shift = Shift::between(indent(shown[index]), indent(self.lines.text(at + index)));
        shift.and_then(|shift| shift.apply(text)).ok_or_else(|| {
            format!(
                "its lines are in line {} with another indentation, to which {:?} cannot be moved; give them as the file is indented",
                at + 1,
                String::from_utf8_lossy(text)
            )
        })
    }
}

fn within(blocks: &[Range<usize>], line: usize) -> bool {
    blocks.iter().any(|block| block.contains(&line))
}

/// The lines that a hunk shows of the file.
fn shown(hunk: &Hunk) -> Vec<&[u8]> {
    let lines = hunk.lines.iter().filter(|line| !matches!(line, Line::New(_)));
    lines.map(text_of).collect()
}

fn text_of(line: &Line) -> &[u8] {
    match line {
        Line::Context(text) | Line::Old(text) | Line::New(text) => text.as_bytes(),
    }
}

fn ambiguous(what: &str, found: &[usize]) -> String {
    let named: Vec<String> = found.iter().take(LINES_NAMED_MAX).map(|at| (at + 1).to_string()).collect();
    let more = if found.len() > LINES_NAMED_MAX { " and more" } else { "" };
    format!(
        "{what} would fit in lines {}{more}; show more lines around the change, or name an anchor",
        named.join(", ")
    )
}
