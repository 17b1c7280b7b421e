//! `wattle scripted`: the scripted model alone, for other clients and for looking at what ours sends.

use std::path::PathBuf;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use wattle_worker::scripted::{self, Script, ScriptError, ServeError, ServeOptions};

use super::Done;
use super::error::{At, CliError, Exit};
use super::session::Session;

/// Serve the scripted model on loopback, until a signal ends it.
///
/// It speaks /v1/messages, /v1/chat/completions and /v1/responses, answers from a script, and counts and bills
/// as the real services do. `wattle schema script` prints the format of a script.
#[derive(Debug, clap::Args)]
pub(crate) struct ScriptedArgs {
    /// What it says.
    #[arg(long, value_name = "FILE")]
    script: PathBuf,
    /// Where it listens on 127.0.0.1; the default is any free port.
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Gets a line of JSON for every request: its raw body, and what was billed for it.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// Serves it.
pub(crate) fn run(session: &Session, args: &ScriptedArgs) -> Done {
    let script = Script::load(&args.script).map_err(wrong_script)?;
    let options = ServeOptions {
        port: args.port,
        journal: args.journal.clone(),
        epoch_ms: u64::try_from(session.clock.now_ms()).unwrap_or(0),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| cannot(&error.to_string()))?;
    runtime.block_on(async {
        // Before anybody learns the address: a signal that comes early must not kill what has begun.
        let ends = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let [Ok(mut interrupt), Ok(mut terminate)] = ends else { return Err(cannot("listen to signals")) };
        let server = scripted::serve_with(script, options).await.map_err(cannot_serve)?;
        let url = server.base_url();
        if session.ui.json {
            session.ui.object(&json!({ "v": 1, "url": url, "port": server.addr.port() }));
        } else {
            session.ui.data(&format!("{url}\n"));
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        server.finish().await.map_err(cannot_serve)?;
        Ok(Exit::Reached)
    })
}

fn wrong_script(error: ScriptError) -> CliError {
    match error {
        ScriptError::Read { path, source } => CliError::file("read", &path, &source),
        ScriptError::Invalid { path, line, column, message } => {
            let file = path.map_or_else(|| "the script".to_owned(), |path| path.display().to_string());
            let number = |n: u64| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
            CliError::new(Exit::Invalid, "invalid_script", message)
                .hint("`wattle schema script` prints the format")
                .at(At { file, line: number(line), column: number(column) })
        }
    }
}

fn cannot(why: &str) -> CliError {
    CliError::new(Exit::Environment, "scripted", format!("serve the scripted model: {why}"))
}

fn cannot_serve(error: ServeError) -> CliError {
    match error {
        ServeError::Script(error) => wrong_script(error),
        ServeError::Listen { port, source } => {
            cannot(&format!("listen on 127.0.0.1:{port}: {source}")).hint("--port takes another one; 0 = any free one")
        }
        ServeError::Journal { path, source } => CliError::file("write", &path, &source),
    }
}
