//! The tools of this process: the first [`ToolHost`], with no wall around it but the confined paths.

use std::path::Path;

use wattle_workspace::BlobId;

use super::confine::{PathError, Worktree};
use super::shell::Shell;
use super::{Calling, ToolCall, ToolHost, ToolResult, edit, evidence, glob, grep, patch, read, shell, write};

/// Why tools cannot be set up for a worktree.
#[derive(Debug, thiserror::Error)]
#[error("open the worktree for tools: {0}")]
pub(crate) struct OpenError(#[source] PathError);

/// Runs tools in this process.
pub(crate) struct InProcess {
    worktree: Worktree,
    /// `None` = there is no shell.
    shell: Option<Box<dyn Shell>>,
}

impl InProcess {
    /// Tools for a worktree.
    pub(crate) fn new(root: &Path, shell: Option<Box<dyn Shell>>) -> Result<InProcess, OpenError> {
        let worktree = Worktree::new(root).map_err(OpenError)?;
        Ok(InProcess { worktree, shell })
    }

    /// The blob that a path holds now, under the name that evidence gives it; for a conversation that goes on
    /// after an interruption.
    pub(crate) fn blob_now(&self, path: &str) -> Option<(String, BlobId)> {
        let at = self.worktree.locate(path).ok()?;
        let contents = self.worktree.read(&at).ok()?;
        Some((at.name(), evidence::blob_id(&contents.bytes)))
    }

    async fn dispatch(&self, call: ToolCall) -> ToolResult {
        let worktree = self.worktree.clone();
        let work: Box<dyn FnOnce() -> ToolResult + Send> = match call.name.as_str() {
            "Read" => Box::new(move || read::call(&worktree, &call.input)),
            "Glob" => Box::new(move || glob::call(&worktree, &call.input)),
            "Grep" => Box::new(move || grep::call(&worktree, &call.input)),
            "Edit" => Box::new(move || edit::call(&worktree, &call)),
            "ApplyPatch" => Box::new(move || patch::call(&worktree, &call)),
            "Write" => Box::new(move || write::call(&worktree, &call)),
            super::BASH => {
                return match &self.shell {
                    Some(shell) => shell::call(&**shell, &call.input).await,
                    None => ToolResult::failed("there is no shell here"),
                };
            }
            other => return ToolResult::failed(format!("there is no tool {other}")),
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => ToolResult::failed(format!("run a tool: {error}")),
            },
        }
    }
}

impl ToolHost for InProcess {
    fn call(&self, call: ToolCall) -> Calling<'_> {
        Box::pin(self.dispatch(call))
    }
}
