//! The Host boundary in process: a worker's words go to the dispatcher, its replies come back.

use crossbeam_channel::Sender;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wattle_planner::StepId;
use wattle_worker::host::{Host, Message, Pending, Reply};

use super::input::Input;

/// The host of one attempt.
pub(crate) struct LocalHost {
    /// The dispatcher.
    pub(crate) inputs: Sender<Input>,
    /// Whose worker it is.
    pub(crate) step: StepId,
    /// Which attempt.
    pub(crate) attempt: u32,
    /// Ends when the worker has to stop.
    pub(crate) cancel: CancellationToken,
}

impl Host for LocalHost {
    fn send(&self, message: Message) -> Pending<'_> {
        let (reply, answer) = oneshot::channel();
        let input = Input::Worker { step: self.step.clone(), attempt: self.attempt, message, reply };
        let sent = self.inputs.send(input);
        let cancel = self.cancel.clone();
        Box::pin(async move {
            if sent.is_err() {
                return Reply::Cancel;
            }
            // A dispatcher that is gone has dropped the other end: the worker parks.
            tokio::select! {
                biased;
                reply = answer => reply.unwrap_or(Reply::Cancel),
                () = cancel.cancelled() => Reply::Cancel,
            }
        })
    }

    fn cancelled(&self) -> CancellationToken {
        self.cancel.clone()
    }
}
