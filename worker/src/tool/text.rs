//! Text as editing sees it: bytes in lines, whose ends, byte order mark and look-alikes belong to the file and not
//! to whoever edits it. Bytes that are no UTF-8 pass through unchanged.

use std::borrow::Cow;

/// The UTF-8 byte order mark.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Takes the byte order mark off: (mark or nothing, the rest).
pub(super) fn split_bom(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(if bytes.starts_with(BOM) { BOM.len() } else { 0 })
}

/// A text in lines. After the last line end there is one more line, which may be empty.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    /// Where each line starts. Files are bounded to 16 MiB, so that 32 bits are enough and spare half the memory.
    starts: Vec<u32>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Lines<'a> {
        let offset = |at: usize| u32::try_from(at).expect("files and inputs of tools are far below 4 GiB");
        let starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', bytes).map(|at| offset(at + 1))).collect();
        Lines { bytes, starts }
    }

    /// Number of lines, the one after the last line end included.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Number of lines as people and editors count them.
    pub(super) fn count(&self) -> usize {
        if self.text(self.len() - 1).is_empty() { self.len() - 1 } else { self.len() }
    }

    pub(super) fn start(&self, line: usize) -> usize {
        self.starts[line] as usize
    }

    /// Where the next line starts.
    pub(super) fn end(&self, line: usize) -> usize {
        self.starts.get(line + 1).map_or(self.bytes.len(), |start| *start as usize)
    }

    /// A line without its end.
    pub(super) fn text(&self, line: usize) -> &'a [u8] {
        let whole = &self.bytes[self.start(line)..self.end(line)];
        &whole[..whole.len() - line_end(whole).len()]
    }

    /// The end of a line: LF, CRLF or, for the last one, nothing.
    pub(super) fn ending(&self, line: usize) -> &'a [u8] {
        line_end(&self.bytes[self.start(line)..self.end(line)])
    }

    /// Index of the line that a byte belongs to.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= offset) - 1
    }
}

fn line_end(whole: &[u8]) -> &[u8] {
    let length = if whole.ends_with(b"\r\n") { 2 } else { usize::from(whole.ends_with(b"\n")) };
    &whole[whole.len() - length..]
}

/// The line end that a text uses throughout; `None` = it has none, or both.
pub(super) fn uniform_end(bytes: &[u8]) -> Option<&'static [u8]> {
    let mut found: Option<&'static [u8]> = None;
    for at in memchr::memchr_iter(b'\n', bytes) {
        let end: &'static [u8] = if at > 0 && bytes[at - 1] == b'\r' { b"\r\n" } else { b"\n" };
        if found.is_some_and(|other| other != end) {
            return None;
        }
        found = Some(end);
    }
    found
}

/// The text with all of its line ends written as `end`.
pub(super) fn with_ends<'a>(bytes: &'a [u8], end: &[u8]) -> Cow<'a, [u8]> {
    if !bytes.contains(&b'\n') || uniform_end(bytes).is_some_and(|found| found == end) {
        return Cow::Borrowed(bytes);
    }
    let lines = Lines::new(bytes);
    let mut out = Vec::with_capacity(bytes.len() + lines.len());
    for line in 0..lines.len() {
        out.extend_from_slice(lines.text(line));
        if line + 1 < lines.len() {
            out.extend_from_slice(end);
        }
    }
    Cow::Owned(out)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

/// A line without the space at its end.
pub(super) fn trim_end(line: &[u8]) -> &[u8] {
    let kept = line.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
    &line[..kept]
}

/// The space that a line starts with.
pub(super) fn indent(line: &[u8]) -> &[u8] {
    &line[..line.iter().take_while(|byte| is_space(**byte)).count()]
}

/// A line without the space around it.
pub(super) fn trim(line: &[u8]) -> &[u8] {
    trim_end(&line[indent(line).len()..])
}

/// How the indentation of a text differs from that of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shift {
    /// The file has this more in front.
    Add(Vec<u8>),
    /// The file has this less in front.
    Remove(Vec<u8>),
}

impl Shift {
    /// From the indentation of a given line to that of the file; `None` = neither is the end of the other.
    pub(super) fn between(given: &[u8], file: &[u8]) -> Option<Shift> {
        match (file.strip_suffix(given), given.strip_suffix(file)) {
            (Some(more), _) => Some(Shift::Add(more.to_vec())),
            (None, Some(less)) => Some(Shift::Remove(less.to_vec())),
            (None, None) => None,
        }
    }

    /// A line, moved; `None` = it does not have what would have to go.
    pub(super) fn apply(&self, line: &[u8]) -> Option<Vec<u8>> {
        match self {
            _ if trim(line).is_empty() => Some(line.to_vec()),
            Shift::Add(more) => Some([more, line].concat()),
            Shift::Remove(less) => line.strip_prefix(less.as_slice()).map(<[u8]>::to_vec),
        }
    }

    /// What it does, for a message.
    pub(super) fn told(&self) -> String {
        let (space, more) = match self {
            Shift::Add(space) => (space, "more"),
            Shift::Remove(space) => (space, "less"),
        };
        let tabs = space.iter().filter(|byte| **byte == b'\t').count();
        let name = |count: usize, what: &str| match count {
            0 => String::new(),
            1 => format!("1 {what}"),
            many => format!("{many} {what}s"),
        };
        let parts = [name(tabs, "tab"), name(space.len() - tabs, "space")];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{} {more}", parts.join(" and "))
    }
}

/// The plain character that a typographic one looks like.
pub(super) const fn plain(char: char) -> char {
    match char {
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => '-',
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{02bc}' | '\u{ff07}' => '\'',
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ff02}' => '"',
        '\u{00a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        other => other,
    }
}

/// The characters of a text; a byte that belongs to none stands for itself.
pub(super) fn characters(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid();
        let of_char = move |(at, char): (usize, char)| &valid.as_bytes()[at..at + char.len_utf8()];
        valid.char_indices().map(of_char).chain(chunk.invalid().chunks(1))
    })
}

/// The text with plain characters for typographic ones: as many characters, each in its place.
pub(super) fn folded(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.is_ascii() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut buffer = [0; 4];
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            out.extend_from_slice(plain(char).encode_utf8(&mut buffer).as_bytes());
        }
        out.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(out)
}

/// Text for a message: at most `max` characters of it.
pub(super) fn shown(line: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(line);
    let mut cut: String = text.chars().take(max).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
