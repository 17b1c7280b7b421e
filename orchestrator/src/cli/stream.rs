//! `run --output-format stream-json`: the lines of [`crate::report::stream`] on stdout, as they come about.

use wattle_worker::tool;

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::journal::blob::Blobs;
use crate::journal::{Event, Reader};
use crate::report::reason::counted;
use crate::report::stream::{Ending, Stream};
use crate::run::begin::RunEnd;
use crate::run::context::Context;
use crate::ui::Ui;

/// Form of what `wattle run` prints on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Text,
    /// Events, the same as --json.
    Json,
    /// The lines that wrappers of `claude -p` read.
    StreamJson,
}

/// Prints a run as it goes on.
pub(super) struct StreamOut<'u> {
    ui: &'u Ui,
    stream: Stream,
    blobs: Blobs,
}

impl<'u> StreamOut<'u> {
    /// For a run of this repository.
    pub(super) fn new(session: &'u Session, ctx: &Context) -> Result<Self, CliError> {
        let blobs = Blobs::open(ctx.repo.state_dir()).map_err(crate::journal::JournalError::from)?;
        Ok(Self { ui: &session.ui, stream: stream(session)?, blobs })
    }

    /// Prints the lines of one event.
    pub(super) fn show(&mut self, event: &Event) {
        for line in self.stream.lines(event, &|blob| self.blobs.text(blob).ok()) {
            self.ui.object(&line);
        }
    }

    /// Prints the last line.
    pub(super) fn ended(&self, ctx: &Context, end: &RunEnd) -> Done {
        let summary = match Reader::open(ctx.repo.state_dir())? {
            Some(reader) => {
                let view = reader.replay(&end.run)?;
                let landed = view.steps.values().filter(|step| step.landed.is_some()).count();
                let steps = counted(view.steps.len(), "step");
                format!("{}: {} · {landed} of {steps} landed on {}", view.started.name, end.state, view.started.target)
            }
            None => String::new(),
        };
        self.ui.object(&self.stream.result(&Ending::Left { state: end.state, exit: end.exit, summary: &summary }));
        Ok(Exit::Run(end.exit))
    }
}

/// Says an error the way this format says it: with a last line of its own.
pub(super) fn or_failed(session: &Session, done: Done) -> Done {
    done.or_else(|error| {
        let (message, hint) = error.words();
        let message = hint.map_or(message.clone(), |hint| format!("{message} ({hint})"));
        let failed = Ending::Failed { message: &message, exit: error.exit().code() };
        session.ui.object(&stream(session)?.result(&failed));
        Ok(error.exit())
    })
}

fn stream(session: &Session) -> Result<Stream, CliError> {
    Ok(Stream::new(session.start()?.display().to_string(), tool::names()))
}
