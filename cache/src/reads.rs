//! What of the files a conversation has read still stands in front of the model.
//!
//! A second reading of the same range with the same content is answered with a stub, but only while the first one
//! is in the view: an edit of the view that takes it away makes the registry forget it, or the model would be sent
//! from stub to stub (openai/codex#36665).

use std::collections::BTreeMap;

use serde::Deserialize;

/// What every stub begins with; a reading never does, its lines are numbered.
pub const STUB_START: &str = "(Unchanged: message ";
/// Bytes below which a reading is simply given again: a stub would be as long.
const BYTES_MIN: usize = 400;

/// A range of a file, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    path: String,
    offset: Option<u64>,
    limit: Option<u64>,
}

impl Range {
    /// The range that the input of a call of Read asks for.
    pub fn of_input(input: &str) -> Option<Range> {
        #[derive(Deserialize)]
        struct Input {
            file_path: String,
            offset: Option<u64>,
            limit: Option<u64>,
        }
        let input: Input = serde_json::from_str(input).ok()?;
        let path = input.file_path.trim_start_matches("./").to_owned();
        Some(Range { path, offset: input.offset, limit: input.limit })
    }
}

/// Readings that are in the view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads(BTreeMap<Range, (blake3::Hash, u32)>);

impl Reads {
    /// A reading stands in the message with this index.
    pub fn put(&mut self, range: Range, content: &str, message: u32) {
        let hash = blake3::hash(content.as_bytes());
        // The oldest copy is the one that is named: it is what later stubs stand behind.
        match self.0.get(&range) {
            Some((known, _)) if *known == hash => {}
            Some(_) | None => drop(self.0.insert(range, (hash, message))),
        }
    }

    /// The stub for a reading that is in the view already.
    pub fn stub(&self, range: &Range, content: &str) -> Option<String> {
        if content.len() < BYTES_MIN {
            return None;
        }
        let (hash, message) = self.0.get(range)?;
        (*hash == blake3::hash(content.as_bytes())).then(|| {
            format!(
                "{STUB_START}{message} of this conversation holds these lines of {} as they are now. Look there.)",
                range.path
            )
        })
    }

    /// The messages that it counts on.
    pub fn messages(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.values().map(|(_, message)| *message)
    }
}

/// The message that a stub names.
pub fn stub_names(content: &str) -> Option<u32> {
    let rest = content.strip_prefix(STUB_START)?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Range, Reads, stub_names};

    #[test]
    fn only_the_same_content_of_the_same_range_is_a_stub() {
        let range = |input: &str| Range::of_input(input).unwrap();
        let content = "     1\tfn alpha() {}\n".repeat(40);
        let mut reads = Reads::default();
        reads.put(range(r#"{"file_path":"a.rs"}"#), &content, 4);
        let check = |input: &str, content: &str, expected: Option<u32>| {
            let stub = reads.stub(&range(input), content);
            assert_eq!(stub.as_deref().and_then(stub_names), expected, "{input}");
        };
        check(r#"{"file_path":"a.rs"}"#, &content, Some(4));
        check(r#"{"file_path":"./a.rs"}"#, &content, Some(4));
        check(r#"{"file_path":"a.rs","offset":1}"#, &content, None);
        check(r#"{"file_path":"b.rs"}"#, &content, None);
        check(r#"{"file_path":"a.rs"}"#, &content.replace("alpha", "gamma"), None);
        check(r#"{"file_path":"a.rs"}"#, "     1\tx\n", None);
        reads.put(range(r#"{"file_path":"a.rs"}"#), &content, 9);
        assert_eq!(reads.messages().collect::<Vec<_>>(), [4]);
    }
}
