//! YAML as a tree whose every node knows its place. Comments and styles are dropped; what a plan has no use for
//! (tags of one's own, several documents, keys that are no scalars) is a problem.

use std::collections::BTreeMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span, options};

use crate::problem::{Found, Pos};

/// Largest plan file: 5,000 steps of 800 bytes. What is larger was not made for people to read.
pub(crate) const PLAN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Deepest nesting. A plan needs 6 levels, an inline rule about 20.
const DEPTH_MAX: usize = 64;

/// Most nodes, aliases expanded: a node takes at least two bytes of a file of the largest size, and a bomb of nested
/// aliases ends here.
const NODES_MAX: usize = 1_000_000;

/// A YAML value at its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text; `plain` if written without quotes, so that `5`, `true` and `null` are what they look like.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// "a list" and the like, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "empty",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same value as JSON, which is YAML, too.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => serde_json::Value::Null,
            Value::Scalar { text, plain } => {
                let number = |text: &str| text.parse::<i64>().ok().map(serde_json::Value::from);
                match text.as_str() {
                    "true" | "True" | "TRUE" if *plain => true.into(),
                    "false" | "False" | "FALSE" if *plain => false.into(),
                    text if *plain => number(text).unwrap_or_else(|| text.into()),
                    text => text.into(),
                }
            }
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let key = |node: &Self| match &node.value {
                    Value::Scalar { text, .. } => text.clone(),
                    Value::List(_) | Value::Map(_) => node.to_json().to_string(),
                };
                let entries = entries.iter().map(|(k, v)| (key(k), v.to_json()));
                serde_json::Value::Object(entries.collect())
            }
        }
    }
}

/// A list or mapping that is not closed yet.
struct Open {
    pos: Pos,
    anchor: usize,
    items: Vec<Node>,
    map: bool,
}

/// Builds the tree from the parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    documents: usize,
}

/// What ends reading before the end of the file.
struct Stop;

/// Reads `text`. `None` where there is no tree to look at: empty, or broken beyond reading, which is a problem then.
pub(crate) fn read(text: &str, found: &mut Found) -> Option<Node> {
    let start = Pos { line: 1, column: 1 };
    if text.len() > PLAN_BYTES_MAX {
        found.add(start, format!("the file is larger than {PLAN_BYTES_MAX} bytes"));
        return None;
    }
    let options: Options = options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
    };
    let mut builder = Builder::default();
    for next in Parser::new_from_str_with_options(text, options) {
        let step = match next {
            Ok((event, span)) => builder.take(event, &span, found),
            Err(error) => {
                let mark = error.marker();
                found.add(place(mark.line(), mark.col()), format!("not YAML: {}", error.info()));
                Err(Stop)
            }
        };
        if step.is_err() {
            return None;
        }
    }
    if builder.root.is_none() {
        found.add_hint(start, "the file is empty", "a plan needs at least `version: 1`, `task` and `steps`");
    }
    builder.root
}

/// The parser counts columns from 0.
fn place(line: usize, column: usize) -> Pos {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Pos { line: number(line.max(1)), column: number(column.saturating_add(1)) }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span, found: &mut Found) -> Result<(), Stop> {
        let pos = place(span.start.line(), span.start.col());
        if let Some(tag) = event.tag()
            && tag.is_custom()
        {
            let pos = span.tag_start().map_or(pos, |mark| place(mark.line(), mark.col()));
            found.add(pos, format!("the tag `{tag}` means nothing in a plan"));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let text = text.into_owned();
                let value = Value::Scalar { text, plain };
                self.put(Node { pos, value }, anchor, 1, found)
            }
            Event::SequenceStart(_, anchor, _) => self.start(pos, anchor, false, found),
            Event::MappingStart(_, anchor, _) => self.start(pos, anchor, true, found),
            Event::SequenceEnd | Event::MappingEnd => self.end(found),
            Event::Alias(id) => {
                // An alias within its own anchor has no value yet.
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    found.add(pos, "this alias contains itself");
                    return Err(Stop);
                };
                self.put(Node { pos, ..node }, 0, size, found)
            }
            Event::UnresolvedAlias(name) => {
                found.add(pos, format!("there is no anchor `&{name}` before this alias"));
                let text = format!("*{name}");
                let value = Value::Scalar { text, plain: false };
                self.put(Node { pos, value }, 0, 1, found)
            }
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    found.add(pos, "a plan is one document; this is a second one");
                    return Err(Stop);
                }
                Ok(())
            }
            // Comments, stream marks and anchor names: nothing of a plan. (Which of them exist depends on features.)
            _ => Ok(()),
        }
    }

    fn start(&mut self, pos: Pos, anchor: usize, map: bool, found: &mut Found) -> Result<(), Stop> {
        if self.open.len() >= DEPTH_MAX {
            found.add(pos, format!("nested more than {DEPTH_MAX} deep"));
            return Err(Stop);
        }
        self.open.push(Open { pos, anchor, items: Vec::new(), map });
        Ok(())
    }

    fn end(&mut self, found: &mut Found) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = if open.map {
            let mut items = open.items.into_iter();
            let mut entries = Vec::new();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
            Value::Map(entries)
        } else {
            Value::List(open.items)
        };
        let pos = open.pos;
        let node = Node { pos, value };
        self.put(node, open.anchor, 1, found)
    }

    fn put(&mut self, node: Node, anchor: usize, size: usize, found: &mut Found) -> Result<(), Stop> {
        self.nodes += size;
        if self.nodes > NODES_MAX {
            found.add(node.pos, format!("more than {NODES_MAX} values, aliases expanded"));
            return Err(Stop);
        }
        if anchor > 0 {
            let size = count(&node);
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar { .. } => 0,
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|(k, v)| count(k) + count(v)).sum(),
    }
}

/// The lines on which the items of the list `key` of a mapping begin.
pub(crate) fn item_lines(root: &Node, key: &str) -> Vec<u32> {
    let Value::Map(entries) = &root.value else {
        return Vec::new();
    };
    let is_key = |node: &Node| matches!(&node.value, Value::Scalar { text, .. } if text == key);
    match entries.iter().find(|(k, _)| is_key(k)).map(|(_, v)| &v.value) {
        Some(Value::List(items)) => items.iter().map(|item| item.pos.line).collect(),
        Some(Value::Scalar { .. } | Value::Map(_)) | None => Vec::new(),
    }
}
