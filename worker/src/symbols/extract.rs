//! Tags of one file: its bytes in, definitions and references out.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, Parser, Query, QueryCursor, QueryCursorOptions, StreamingIterator as _, Tree};

use super::text::one_line;
use super::{Definition, Kind, Language, Reference, Tags, Untagged};

/// Files beyond this are generated or data; a source of this size has some 30,000 lines.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;
/// Steps of the parser (it reports each hundredth) that a sound file may take for each of its bytes: measured at most
/// 1.4 for what people write in any language, at 2 for what is minified. A count, unlike a time, is the same on every machine.
const PARSE_STEPS_PER_BYTE: usize = 8;
/// The same for a file of no size at all.
const PARSE_STEPS_MIN: usize = 200_000;
/// The parser reports after so many steps.
const STEPS_PER_REPORT: usize = 100;
/// Time for one file: a net for text that is hostile in a way that steps do not count. Sound files of the largest size
/// take a tenth of it.
const FILE_WALL: Duration = Duration::from_secs(2);
/// Matches that a query may keep open at once; beyond it the oldest are dropped. Nested calls need a few dozen.
const OPEN_MATCHES_MAX: u32 = 4096;
/// Depth of the tree to which symbols are looked for: what people write stays below a hundred, but for long chains of one
/// operator. A query is quadratic in it.
const DEPTH_MAX: u32 = 400;
/// Children of one node that the parser could make nothing of. To a query each costs as many steps as there are others:
/// 60,000 open brackets took a minute.
const WIDTH_MAX: u32 = 2_000;
/// Definitions of one file that are kept: a file of more is a table.
const DEFINITIONS_MAX: usize = 4_000;
/// References of one file that are kept.
const REFERENCES_MAX: usize = 40_000;
/// Characters of a name: longer ones are mangled.
const NAME_CHARS_MAX: usize = 120;
/// Characters of a signature.
const SIGNATURE_CHARS_MAX: usize = 160;
/// Bytes of the source from which a signature is made, whatever its length.
const SIGNATURE_BYTES_MAX: usize = 1024;

/// What a file defines and refers to. The same bytes give the same tags, but for a `deadline`, which gives none.
pub fn tags(language: Language, bytes: &[u8], deadline: Option<Instant>) -> Result<Tags, Untagged> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Untagged::TooLarge);
    }
    if bytes.contains(&0) {
        return Err(Untagged::Binary);
    }
    let clock = Clock { file: Instant::now() + FILE_WALL, all: deadline };
    let tree = parse(language, bytes, clock)?;
    if width(&tree) > WIDTH_MAX {
        return Err(Untagged::TooHard);
    }
    let found = find(language.query(), &tree, bytes, clock)?;
    Ok(arrange(found, bytes))
}

/// Until when a file may be worked at.
#[derive(Clone, Copy)]
struct Clock {
    file: Instant,
    all: Option<Instant>,
}

impl Clock {
    /// Why it is time to stop, if it is.
    fn late(self) -> Option<Untagged> {
        let now = Instant::now();
        if self.all.is_some_and(|all| now >= all) {
            return Some(Untagged::Late);
        }
        (now >= self.file).then_some(Untagged::TooHard)
    }
}

fn parse(language: Language, bytes: &[u8], clock: Clock) -> Result<Tree, Untagged> {
    let mut parser = Parser::new();
    parser.set_language(&language.grammar()).expect("the grammars are of a version that tree-sitter takes");
    let mut left = (PARSE_STEPS_MIN + bytes.len() * PARSE_STEPS_PER_BYTE) / STEPS_PER_REPORT;
    let mut why = Untagged::TooHard;
    let mut progress = |_: &tree_sitter::ParseState| {
        left = left.saturating_sub(1);
        match clock.late() {
            Some(late) => why = late,
            None if left > 0 => return ControlFlow::Continue(()),
            None => {}
        }
        ControlFlow::Break(())
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    let mut chunk = |at: usize, _| bytes.get(at..).unwrap_or_default();
    let tree = parser.parse_with_options(&mut chunk, None, Some(options));
    tree.ok_or(why)
}

/// The most children of a node that holds what fits no rule.
fn width(tree: &Tree) -> u32 {
    if !tree.root_node().has_error() {
        return 0;
    }
    let (mut cursor, mut widest) = (tree.walk(), 0);
    loop {
        if cursor.node().is_error() {
            widest = widest.max(cursor.node().child_count());
        }
        if cursor.node().has_error() && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return widest;
            }
        }
    }
}

/// What the query has found.
#[derive(Default)]
struct Found<'t> {
    /// The name and the whole of each definition.
    definitions: Vec<(Node<'t>, Node<'t>, Kind)>,
    references: Vec<Node<'t>>,
}

fn find<'t>(query: &Query, tree: &'t Tree, bytes: &[u8], clock: Clock) -> Result<Found<'t>, Untagged> {
    let mut cursor = QueryCursor::new();
    cursor.set_match_limit(OPEN_MATCHES_MAX);
    cursor.set_max_start_depth(Some(DEPTH_MAX));
    let mut stopped = None;
    let mut progress = |_: &tree_sitter::QueryCursorState| {
        stopped = stopped.or_else(|| clock.late());
        if stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let names = query.capture_names();
    let options = QueryCursorOptions::new().progress_callback(&mut progress);
    let mut found = Found::default();
    let mut matches = cursor.matches_with_options(query, tree.root_node(), bytes, options);
    while let Some(matched) = matches.next() {
        let (mut name, mut whole) = (None, None);
        for capture in matched.captures() {
            match names[capture.index as usize] {
                "name" => name = Some(capture.node),
                "reference" if found.references.len() < REFERENCES_MAX => found.references.push(capture.node),
                other => whole = kind(other).map(|kind| (capture.node, kind)).or(whole),
            }
        }
        if let (Some(name), Some((whole, kind))) = (name, whole)
            && found.definitions.len() < DEFINITIONS_MAX
        {
            found.definitions.push((name, whole, kind));
        }
    }
    drop(matches);
    stopped.map_or(Ok(found), Err)
}

/// The kind that a capture of a query stands for.
fn kind(capture: &str) -> Option<Kind> {
    match capture {
        "constant" => Some(Kind::Constant),
        "function" => Some(Kind::Function),
        "implementation" => Some(Kind::Implementation),
        "interface" => Some(Kind::Interface),
        "macro" => Some(Kind::Macro),
        "module" => Some(Kind::Module),
        "type" => Some(Kind::Type),
        _ => None,
    }
}

/// Puts what was found in the order of the file, each definition within those around it.
fn arrange(mut found: Found<'_>, bytes: &[u8]) -> Tags {
    // A stable sort: of two patterns that match one name, the first of the query holds.
    found
        .definitions
        .sort_by_key(|(name, whole, _)| (whole.start_byte(), std::cmp::Reverse(whole.end_byte()), name.start_byte()));
    found.references.sort_by_key(Node::start_byte);
    let mut named = BTreeSet::new();
    let mut tags = Tags::default();
    let mut around: Vec<(usize, Kind, String)> = Vec::new();
    for (name, whole, kind) in found.definitions {
        if kind != Kind::Implementation && !named.insert(name.start_byte()) {
            continue;
        }
        around.retain(|(end, ..)| *end >= whole.end_byte());
        let text = one_line(&String::from_utf8_lossy(&bytes[name.byte_range()]), NAME_CHARS_MAX);
        let outer = around.last();
        // What an implementation says of a type (`type Item = …`) defines none.
        if kind == Kind::Type && matches!(outer, Some((_, Kind::Implementation, _))) {
            continue;
        }
        let kind = match (kind, outer) {
            (Kind::Function, Some((_, Kind::Type | Kind::Interface | Kind::Implementation, _))) => Kind::Method,
            _ => kind,
        };
        tags.definitions.push(Definition {
            name: text.clone(),
            kind,
            line: line(whole.start_position()),
            end_line: line(last(&whole)),
            depth: u32::try_from(around.len()).unwrap_or(u32::MAX),
            container: outer.map(|(.., name)| name.clone()),
            signature: signature(&text, whole, bytes),
        });
        around.push((whole.end_byte(), kind, text));
    }
    let mut last = None;
    for node in found.references {
        let at = node.start_byte();
        if named.contains(&at) || last.replace(at) == Some(at) {
            continue;
        }
        let name = one_line(&String::from_utf8_lossy(&bytes[node.byte_range()]), NAME_CHARS_MAX);
        // `$1` and `:` of a shell are no names.
        if !name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$' | '#')) {
            continue;
        }
        tags.references.push(Reference { name, line: line(node.start_position()) });
    }
    tags
}

/// A node that ends with a line ends on that line, not at the beginning of the next.
fn last(node: &Node<'_>) -> tree_sitter::Point {
    let mut end = node.end_position();
    if end.column == 0 && end.row > node.start_position().row {
        end.row -= 1;
    }
    end
}

fn line(point: tree_sitter::Point) -> u32 {
    u32::try_from(point.row + 1).unwrap_or(u32::MAX)
}

/// What stands before the body of a definition; of one without a body, its first line up to a value.
fn signature<'t>(name: &str, whole: Node<'t>, bytes: &[u8]) -> String {
    let part = |name: &str| whole.child_by_field_name(name);
    let within = |part: Node<'t>| part.child_by_field_name("body");
    let value = || part("value").map(|value| within(value).unwrap_or(value));
    let body = part("body").or_else(value).or_else(|| part("right").and_then(within)).map(|body| body.start_byte());
    let start = whole.start_byte();
    let end = body.filter(|body| *body > start).unwrap_or(whole.end_byte());
    let text = String::from_utf8_lossy(&bytes[start..end.min(start + SIGNATURE_BYTES_MAX)]);
    let text = match body {
        Some(_) => &*text,
        None => text.lines().next().unwrap_or_default(),
    };
    let word = keyword(whole, bytes);
    let text = one_line(&format!("{word}{text}"), SIGNATURE_CHARS_MAX);
    let ends = |c: char| matches!(c, '{' | ':' | '=' | ';' | ',') || c.is_whitespace();
    let mut shorn = text.trim_end_matches("=>").trim_end_matches(ends).to_owned();
    // A typedef has its name behind its body.
    if !shorn.contains(name) && !shorn.ends_with('…') {
        shorn.push_str(&format!(" … {name}"));
    }
    shorn
}

/// The word that says what a definition is, where it stands outside of it: `type (a struct {…}; b …)` in Go.
fn keyword(whole: Node<'_>, bytes: &[u8]) -> String {
    let apart = ["type_spec", "type_alias", "const_spec", "var_spec", "variable_declarator"];
    let Some(parent) = whole.parent().filter(|_| apart.contains(&whole.kind())) else {
        return String::new();
    };
    let parent = if parent.kind() == "var_spec_list" { parent.parent().unwrap_or(parent) } else { parent };
    let word = parent.child(0).map(|word| String::from_utf8_lossy(&bytes[word.byte_range()]).into_owned());
    word.map_or(String::new(), |word| format!("{word} "))
}

#[cfg(test)]
mod tests;
