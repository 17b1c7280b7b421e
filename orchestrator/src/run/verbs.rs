//! A human's verb, from any process: to the owner of a live run, or applied here when there is none.

use std::time::{Duration, Instant};

use super::begin::{RunError, own};
use super::context::Context;
use super::theirs::take_in;
use super::wake::wake;
use crate::ids::RunId;
use crate::journal::command::{Refusal, Verb, VerbError, apply};
use crate::journal::{Event, Reader, Recorder, Writer};

/// How often the result of a verb is looked for. The owner takes a few milliseconds.
const POLL: Duration = Duration::from_millis(15);
/// How long a verb waits for its owner: ten times the second that is promised, so that a machine under
/// load does not lose a verb.
const WAIT: Duration = Duration::from_secs(10);

/// A verb that was done.
#[derive(Debug)]
pub(crate) struct Submitted {
    /// What it caused.
    pub(crate) events: Vec<Event>,
    /// Did a live run pick it up? Otherwise nothing runs.
    pub(crate) live: bool,
}

/// Why a verb came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    /// It was refused; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The owner did not answer.
    #[error("reach the owner of this repository: it did not answer within {} s", WAIT.as_secs())]
    Silent,
    /// Something failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<crate::journal::JournalError> for SubmitError {
    fn from(error: crate::journal::JournalError) -> Self {
        Self::Run(error.into())
    }
}

/// Gives a verb to the run.
pub(crate) fn submit(ctx: &Context, run: &RunId, verb: &Verb) -> Result<Submitted, SubmitError> {
    let until = Instant::now() + WAIT;
    loop {
        match own(ctx, Some(run)) {
            Ok(lock) => {
                let result = apply_here(ctx, run, verb);
                drop(lock);
                return result;
            }
            Err(RunError::Busy { .. }) => {
                if let Some(done) = hand_over(ctx, run, verb, until)? {
                    return Ok(done);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn apply_here(ctx: &Context, run: &RunId, verb: &Verb) -> Result<Submitted, SubmitError> {
    let writer = Writer::open(ctx.repo.state_dir())?;
    let view = writer.reader.replay(run)?;
    let mut rec = Recorder::new(view, writer, ctx.clock.clone())?;
    take_in(&mut rec, &ctx.repo, |step| verb.names(step)).map_err(RunError::from)?;
    match apply(&mut rec, verb, &ctx.who, false) {
        Ok(_) => {}
        Err(VerbError::Refused(refusal)) => return Err(refusal.into()),
        Err(VerbError::Record(error)) => return Err(RunError::Record(error).into()),
    }
    let events = rec.commit().map_err(RunError::Record)?;
    Ok(Submitted { events, live: false })
}

/// Hands a verb to the owner. `None` = the owner is gone and has not taken it up.
fn hand_over(ctx: &Context, run: &RunId, verb: &Verb, until: Instant) -> Result<Option<Submitted>, SubmitError> {
    let state_dir = ctx.repo.state_dir();
    // An owner that has just taken the lock may not have made its journal yet.
    let Some(reader) = Reader::open(state_dir)? else {
        std::thread::sleep(POLL);
        return if Instant::now() > until { Err(SubmitError::Silent) } else { Ok(None) };
    };
    let json = serde_json::to_string(verb).expect("a verb is plain data");
    let id = reader.add_command(run, &json, &ctx.who)?;
    wake(state_dir);
    loop {
        if let Some(result) = reader.command_result(id)? {
            let result: Result<Vec<Event>, Refusal> = serde_json::from_str(&result).map_err(|_| {
                let message = "the owner is of another version".to_owned();
                Refusal { code: "version".to_owned(), message, hint: "use the same wattle in both places".to_owned() }
            })?;
            return Ok(Some(Submitted { events: result?, live: true }));
        }
        let gone = wattle_workspace::lock_holder(&ctx.repo).is_none();
        if (gone || Instant::now() > until) && reader.withdraw_command(id)? {
            return if gone { Ok(None) } else { Err(SubmitError::Silent) };
        }
        std::thread::sleep(POLL);
    }
}
