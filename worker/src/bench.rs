//! The door for benchmarks: what they drive of this crate, in a form that promises nothing.

use std::path::Path;

use crate::tool::host::InProcess;
use crate::tool::{ToolCall, ToolHost as _};

/// The searching tools of a worker on one folder, called as its conversation calls them.
pub struct Searching(InProcess);

impl Searching {
    /// Tools for a folder; `None` = it cannot be opened.
    pub fn new(root: &Path) -> Option<Searching> {
        InProcess::new(root, None, &std::env::temp_dir()).ok().map(Searching)
    }

    /// The answer of a tool to an input in JSON, or its refusal.
    ///
    /// # Errors
    /// Fails with the words that a model would read.
    pub async fn call(&self, tool: &str, input: &str) -> Result<String, String> {
        let call = ToolCall {
            id: String::new(),
            name: tool.to_owned(),
            input: input.to_owned(),
            seen: Default::default(),
            again: false,
        };
        let result = self.0.call(call).await;
        if result.is_error { Err(result.content) } else { Ok(result.content) }
    }
}
