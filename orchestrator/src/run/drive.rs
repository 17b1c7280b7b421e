//! Driving a run: the runtime, the dispatcher on this thread, signals, and the end of every task.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wattle_workspace::{OwnerLock, Pool};

use super::begin::{RunEnd, RunError};
use super::context::Context;
use super::dispatcher::Dispatcher;
use super::executor::Executor;
use super::input::Input;
use super::models::Models;
use super::shared::Shared;
use super::wake::Listener;
use crate::journal::{Event, Recorder};

/// Beginning of the names of an owner's scratch folders.
pub(crate) const SCRATCH: &str = "wattle-";

/// How a run is driven.
pub(crate) struct Drive<'a> {
    /// Folder from which scripts of the scripted model are found.
    pub(crate) folder: &'a Path,
    /// Does it only land what is there, and start no worker?
    pub(crate) lands_only: bool,
}

impl Drive<'_> {
    /// Runs the dispatcher on this thread until the run has nothing left to do.
    pub(crate) fn run(
        &self,
        ctx: &Context,
        rec: Recorder,
        pool: Arc<Pool>,
        lock: OwnerLock,
        sink: &mut dyn FnMut(&Event),
    ) -> Result<RunEnd, RunError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|source| RunError::Io { action: "start the runtime", source })?;
        sweep_scratch(&ctx.temp);
        let temp = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(&ctx.temp);
        let temp = temp.map_err(|source| RunError::Io { action: "make a scratch folder", source })?;
        // Bounded by what workers can have under way: each waits for the reply to its message.
        let (inputs, arrived) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared {
            ctx: ctx.clone(),
            pool,
            room: Arc::default(),
            models: Models::new(ctx, self.folder, rec.view.started.prefix_ttl),
            identity: ctx.repo.identity(),
            inputs: inputs.clone(),
            stop: CancellationToken::new(),
            temp: temp.path().to_owned(),
        });
        let listener = Listener::start(ctx.repo.state_dir(), inputs.clone());
        runtime.spawn(signals(inputs));
        let tasks = TaskTracker::new();
        let executor = Executor { shared, runtime: runtime.handle().clone(), tasks: tasks.clone() };
        let mut dispatcher = Dispatcher::new(rec, executor, arrived, sink);
        dispatcher.lands_only = self.lands_only;
        let result = dispatcher.run();
        if result.is_err() {
            dispatcher.executor.shared.stop.cancel();
        }
        let (run, state) = (dispatcher.rec.view.run.clone(), dispatcher.rec.view.state);
        // Its end of the channel goes first: a worker whose message nobody answers any more must not wait for it.
        drop(dispatcher);
        tasks.close();
        runtime.block_on(tasks.wait());
        drop(listener);
        drop(lock);
        Ok(RunEnd { run, state, exit: result? })
    }
}

/// Removes the scratch folders of owners that were killed: who owns the repository is the only one to have any.
fn sweep_scratch(temp: &Path) {
    for entry in std::fs::read_dir(temp).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(SCRATCH)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "a scratch folder of a killed run stays");
        }
    }
}

/// The first SIGINT or SIGTERM parks the run, the second ends the process.
async fn signals(inputs: crossbeam_channel::Sender<Input>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let mut seen = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if seen {
            std::process::exit(130);
        }
        seen = true;
        let _ = inputs.send(Input::Signal);
    }
}
