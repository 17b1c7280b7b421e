//! The tools of this process: the first [`ToolHost`], with no wall around it but the confined paths.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wattle_workspace::BlobId;

use super::confine::{PathError, Worktree};
use super::out::{self, Outputs};
use super::shell::jobs::Jobs;
use super::walk::Stop;
use super::{
    Calling, ToolCall, ToolHost, ToolResult, ast, edit, evidence, glob, grep, lsp, patch, read, shell, symbols, write,
};
use crate::lsp::Lease;
use crate::symbols::Memory;

/// Why tools cannot be set up for a worktree.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct OpenError(#[from] Opening);

#[derive(Debug, thiserror::Error)]
enum Opening {
    /// It is no worktree.
    #[error("open the worktree for tools: {0}")]
    Worktree(#[source] PathError),
    /// There is no room for long outputs.
    #[error("make a folder for long outputs: {0}")]
    Outputs(#[source] std::io::Error),
}

/// Runs tools in this process.
pub(crate) struct InProcess {
    worktree: Worktree,
    /// Symbols of files that it has looked at.
    memory: Memory,
    /// `None` = there is no shell.
    jobs: Option<Arc<Jobs>>,
    /// `None` = there is no structural search.
    structure: Option<ast::Compile>,
    /// Ends searches; commands are told by their shell.
    stop: CancellationToken,
    /// `None` = there are no language servers.
    servers: Option<Arc<Lease>>,
    /// Outputs that were too long to be shown.
    outputs: Arc<Outputs>,
}

impl InProcess {
    /// Tools for a worktree; long outputs are kept below `temp` until they are dropped.
    pub(crate) fn new(root: &Path, jobs: Option<Arc<Jobs>>, temp: &Path) -> Result<InProcess, OpenError> {
        let worktree = Worktree::new(root).map_err(Opening::Worktree)?;
        let outputs = Arc::new(Outputs::new(temp).map_err(Opening::Outputs)?);
        Ok(InProcess {
            worktree,
            memory: Memory::default(),
            jobs,
            structure: None,
            stop: CancellationToken::new(),
            servers: None,
            outputs,
        })
    }

    /// With a structural search.
    pub(crate) fn finding(self, compile: ast::Compile) -> InProcess {
        InProcess { structure: Some(compile), ..self }
    }

    /// With searches that end when the work does.
    pub(crate) fn stopping(self, stop: CancellationToken) -> InProcess {
        InProcess { stop, ..self }
    }

    /// With language servers.
    pub(crate) fn with_servers(self, servers: Arc<Lease>) -> InProcess {
        InProcess { servers: Some(servers), ..self }
    }

    /// Where outputs are kept that are too long to be shown.
    pub(crate) fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// A hash of what the worktree looks like: it differs after every change of a file that git would see.
    pub(crate) fn stamp(&self) -> String {
        out::stamp(&self.worktree)
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
        let stop = Stop::new(self.stop.clone());
        let outputs = Arc::clone(&self.outputs);
        let work: Box<dyn FnOnce() -> ToolResult + Send> = match call.name.as_str() {
            "Read" | "Grep" if out::concerns(&call) => Box::new(move || out::call(&outputs, &call)),
            "Read" => Box::new(move || read::call(&worktree, &call.input)),
            "Glob" => Box::new(move || glob::call(&worktree, &call.input, &stop)),
            "Grep" => Box::new(move || grep::call(&worktree, &call.input, &stop)),
            "AstGrep" => match self.structure {
                Some(compile) => Box::new(move || ast::call(&worktree, compile, &call.input, &stop)),
                None => return ToolResult::failed("there is no structural search here"),
            },
            "Symbols" => {
                let memory = self.memory.clone();
                Box::new(move || symbols::call(&worktree, &memory, &call.input, &stop))
            }
            "Edit" => Box::new(move || edit::call(&worktree, &call)),
            "ApplyPatch" => Box::new(move || patch::call(&worktree, &call)),
            "Write" => Box::new(move || write::call(&worktree, &call)),
            super::BASH | super::BASH_OUTPUT | super::KILL_SHELL => return self.shell(&call).await,
            super::LSP => return lsp::call(&worktree, self.servers.as_deref(), &call.input).await,
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

impl InProcess {
    async fn shell(&self, call: &ToolCall) -> ToolResult {
        let Some(jobs) = &self.jobs else {
            return ToolResult::failed("there is no shell here");
        };
        match call.name.as_str() {
            super::BASH_OUTPUT => shell::output(jobs, &call.input).await,
            super::KILL_SHELL => shell::kill(jobs, &call.input).await,
            _ => shell::call(jobs, &call.input).await,
        }
    }
}

impl ToolHost for InProcess {
    fn call(&self, call: ToolCall) -> Calling<'_> {
        Box::pin(self.dispatch(call))
    }
}
