//! Conversations that begin as another one did: a worker that goes on from the lead's knows all that the lead has read,
//! and the provider reads it from its cache, because the bytes are the same.
//!
//! The inherited messages are sent as they are. The first message of its own answers what the other conversation has left
//! open (a provider refuses calls that nobody answers) and says what the worker is now. Only what is its own is journaled,
//! numbered from 0; whoever goes on with it puts the inherited messages before it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wattle_cache::prefix;
use wattle_workspace::BlobId;

/// How the first message of one's own begins; it tells it from the first message of a conversation that inherits nothing.
const BEGINS: &str = "The conversation up to here was the lead's; it ends here, and its plan is being carried out. From here \
on this is yours:";

/// The tool that hands in a plan: an assignment knows tools by their names alone.
const SUBMIT_PLAN: &str = "SubmitPlan";

/// A conversation to go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Its messages, verbatim JSON, oldest first; never empty.
    pub messages: Vec<String>,
    /// Files it has read, each with the blob that it saw.
    pub read: Vec<(String, BlobId)>,
}

/// What a conversation has read of some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Files.
    pub files: usize,
    /// Bytes of them that it was shown.
    pub bytes: usize,
}

impl Fork {
    /// The brief that it begins with; `None` = its first message is none that we make.
    pub fn brief(&self) -> Option<String> {
        prefix::split_first(self.messages.first()?).ok().map(|(brief, _)| brief)
    }

    /// Bytes of its messages.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(String::len).sum()
    }

    /// What it was shown of the files for which `wanted` says so.
    pub fn known(&self, wanted: impl Fn(&str) -> bool) -> Known {
        let mut calls: BTreeMap<String, String> = BTreeMap::new();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for block in self.messages.iter().flat_map(|message| blocks(message)) {
            let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
            match block["type"].as_str() {
                Some("tool_use") if block["name"] == "Read" => {
                    let path = block["input"]["file_path"].as_str().unwrap_or_default();
                    calls.insert(text("id"), path.to_owned());
                }
                Some("tool_result") if block["is_error"] != true => {
                    if let Some(path) = calls.remove(&text("tool_use_id")).filter(|path| wanted(path)) {
                        *known.entry(path).or_default() += block["content"].as_str().map_or(0, str::len);
                    }
                }
                Some(_) | None => {}
            }
        }
        Known { files: known.len(), bytes: known.values().sum() }
    }

    /// The first message of one's own, JSON: what was left open is answered, then come the words.
    pub(crate) fn own_first(&self, words: &str) -> String {
        let open = self.messages.last().map(|message| blocks(message)).unwrap_or_default();
        let results = open.iter().filter(|block| block["type"] == "tool_use").map(|block| {
            let said = if block["name"] == SUBMIT_PLAN { "The plan was accepted." } else { "Not run." };
            json!({"type": "tool_result", "tool_use_id": block["id"], "content": said})
        });
        let text = json!({"type": "text", "text": format!("{BEGINS}\n\n{words}")});
        let content: Vec<Value> = results.chain([text]).collect();
        json!({"role": "user", "content": content}).to_string()
    }
}

/// Does a conversation of its own whose first message this is go on from another one?
pub fn is_forked(first: &str) -> bool {
    blocks(first).iter().any(|block| block["text"].as_str().is_some_and(|text| text.starts_with(BEGINS)))
}

fn blocks(message: &str) -> Vec<Value> {
    let message: Value = serde_json::from_str(message).unwrap_or_default();
    message["content"].as_array().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork() -> Fork {
        let messages = [
            r#"{"role":"user","content":[{"type":"text","text":"the brief"},{"type":"text","text":"Role: lead"}]}"#,
            r#"{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"Read","input":{"file_path":"src/a"}},{"type":"tool_use","id":"2","name":"Read","input":{"file_path":"lib/b"}}]}"#,
            r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"12345"},{"type":"tool_result","tool_use_id":"2","content":"123"}]}"#,
            r#"{"role":"assistant","content":[{"type":"tool_use","id":"3","name":"SubmitPlan","input":{}},{"type":"tool_use","id":"4","name":"Read","input":{}}]}"#,
        ];
        Fork { messages: messages.map(str::to_owned).to_vec(), read: Vec::new() }
    }

    #[test]
    fn it_knows_what_it_was_shown() {
        let fork = fork();
        assert_eq!(fork.known(|path| path.starts_with("src/")), Known { files: 1, bytes: 5 });
        assert_eq!(fork.known(|_| true), Known { files: 2, bytes: 8 });
        assert_eq!(fork.brief().as_deref(), Some("the brief"));
    }

    #[test]
    fn its_first_own_message_answers_what_was_left_open() {
        let fork = fork();
        let first = fork.own_first("Role: worker");
        assert!(is_forked(&first) && !is_forked(&fork.messages[0]));
        let answered: Vec<_> = blocks(&first).iter().map(|block| block["tool_use_id"].clone()).collect();
        assert_eq!(answered, [json!("3"), json!("4"), Value::Null]);
    }
}
