//! The dispatcher: one thread that alone owns the state and sees everything in one order.
//!
//! It takes what has arrived, folds it into events, asks the scheduler until there is nothing more to
//! decide, writes the batch, and only then lets effects start and workers go on. A batch is one
//! transaction, so a burst of events costs one write to the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod consult;
mod hear;
pub(crate) mod lands;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wattle_planner::StepId;
use wattle_worker::host::Reply;
use wattle_workspace::TreeId;

use super::agenda::Agenda;
use super::begins;
use super::executor::{Effect, Executor};
use super::input::{AttemptEnd, Input};
use super::jobs::{attempt_job, candidate_job};
use super::limits::{Budget, Caps, Claim};
use super::notify::word;
use super::outcome::Ended;
use super::predict::Predictor;
use super::recover::{RecoverError, free_slots, settle_held};
use super::scheduler::{Decision, Halt};
use super::theirs::{TheirsError, take_in};
use crate::ids::LandingId;
use crate::journal::Recorder;
use crate::journal::command::{self, Live, Refusal, Verb, VerbError};
use crate::journal::event::{AttemptChange, Body, Event};
use crate::journal::recorder::{RecordError, StepNote};
use crate::options::{OnInput, Until};
use crate::state::Machine;
use crate::state::attempt::{Attempt, AttemptEvent};
use crate::state::run::Run;
use crate::state::step::{Step, StepEvent};

/// How long the dispatcher sleeps when nothing arrives. A verb whose wake-up was lost is seen after this:
/// well below the second that verbs are promised.
const TICK: Duration = Duration::from_millis(400);

/// Exit codes in the order in which they win.
const PRECEDENCE: [u8; 8] = [130, 5, 3, 7, 6, 1, 4, 0];

/// Owns the state of a live run.
pub(crate) struct Dispatcher<'a> {
    /// The state and the journal.
    pub(crate) rec: Recorder,
    /// Who performs effects.
    pub(crate) executor: Executor,
    inputs: Receiver<Input>,
    sink: &'a mut dyn FnMut(&Event),
    effects: Vec<Effect>,
    replies: Vec<(oneshot::Sender<Reply>, Reply)>,
    /// Workers that wait for a human.
    pub(crate) asking: BTreeMap<StepId, oneshot::Sender<Reply>>,
    /// Steps for which the lead is asked.
    consulting: BTreeMap<StepId, consult::Consulting>,
    /// Workers that wait for money.
    pub(crate) reserving: Vec<(StepId, Claim, oneshot::Sender<Reply>)>,
    /// What stops each worker.
    pub(crate) stops: BTreeMap<StepId, CancellationToken>,
    /// What stops each check of the queue, from its start until it has left its slot.
    pub(crate) checks: BTreeMap<(LandingId, String, TreeId), CancellationToken>,
    /// Landings whose candidate is being made, those among them that were given up meanwhile.
    building: BTreeSet<LandingId>,
    /// Slots that are just being given back.
    freeing: usize,
    /// Landings that are just being looked at once more.
    pub(crate) auditing: BTreeSet<LandingId>,
    /// Does it only land what is there?
    pub(crate) lands_only: bool,
    /// Steps that a human has stopped while they asked.
    pub(crate) stopping: Vec<StepId>,
    /// Steps whose question fails them.
    pub(crate) failing: Vec<StepId>,
    /// Steps that the machine has refused something.
    refused: BTreeSet<StepId>,
    /// The budget.
    pub(crate) budget: Budget<StepId>,
    /// Why nothing new may start.
    pub(crate) halt: Option<Halt>,
    agenda: Agenda,
    predictor: Predictor,
    finished: bool,
}

impl<'a> Dispatcher<'a> {
    /// A dispatcher for a run whose state is `running`.
    pub(crate) fn new(
        mut rec: Recorder,
        executor: Executor,
        inputs: Receiver<Input>,
        sink: &'a mut dyn FnMut(&Event),
    ) -> Self {
        let options = &rec.view.started.options;
        let budget = Budget::new(Caps { tokens: options.tokens_max, nano_usd: options.nano_usd_max });
        let agenda = Agenda::new(&mut rec.view);
        Self {
            rec,
            executor,
            inputs,
            sink,
            effects: Vec::new(),
            replies: Vec::new(),
            asking: BTreeMap::new(),
            consulting: BTreeMap::new(),
            reserving: Vec::new(),
            stops: BTreeMap::new(),
            checks: BTreeMap::new(),
            building: BTreeSet::new(),
            freeing: 0,
            auditing: BTreeSet::new(),
            lands_only: false,
            stopping: Vec::new(),
            failing: Vec::new(),
            refused: BTreeSet::new(),
            budget,
            halt: None,
            agenda,
            predictor: Predictor::default(),
            finished: false,
        }
    }

    /// Runs until nothing is left to do; returns the exit code.
    pub(crate) fn run(&mut self) -> Result<u8, RecordError> {
        self.take_commands()?;
        loop {
            self.turn()?;
            if self.finished {
                return Ok(exit_code(&self.rec));
            }
            match self.inputs.recv_timeout(TICK) {
                Ok(input) => self.take(input)?,
                Err(RecvTimeoutError::Timeout) => self.take_commands()?,
                Err(RecvTimeoutError::Disconnected) => self.stop_all(Halt::Interrupt),
            }
            while let Ok(input) = self.inputs.try_recv() {
                self.take(input)?;
            }
        }
    }

    /// Decides until there is nothing to decide, writes the batch, then acts.
    fn turn(&mut self) -> Result<(), RecordError> {
        while !self.finished {
            let Some(decision) = self.agenda.decide(&mut self.rec.view, self.halt, self.lands_only) else { break };
            if matches!(decision, Decision::Finish { .. }) && (self.wind_down() || self.is_busy() || self.predicts()?) {
                break;
            }
            self.carry_out(decision)?;
        }
        self.publish()?;
        // What nobody waits for any more makes room first.
        let checking = &self.rec.view.checking;
        for (_, cancel) in self.checks.iter().filter(|(check, _)| !checking.contains(check)) {
            cancel.cancel();
        }
        for effect in self.effects.drain(..) {
            self.executor.perform(effect);
        }
        for (reply, answer) in self.replies.drain(..) {
            // A worker that has gone meanwhile needs no answer.
            let _ = reply.send(answer);
        }
        Ok(())
    }

    /// Writes the batch and says it.
    fn publish(&mut self) -> Result<(), RecordError> {
        for event in self.rec.commit()? {
            (self.sink)(&event);
            self.notify(&event);
            self.predictor.note(&event);
        }
        if !self.finished && self.halt.is_none() {
            self.effects.extend(self.predictor.job(&self.rec.view).map(|job| Effect::Predict(Box::new(job))));
        }
        Ok(())
    }

    /// Does a run that could end still wait to hear which of its commits conflict? Who reviews them wants to know.
    fn predicts(&mut self) -> Result<bool, RecordError> {
        self.publish()?;
        Ok(self.halt.is_none() && self.predictor.is_busy())
    }

    fn notify(&mut self, event: &Event) {
        let plan = self.rec.view.plan.clone();
        let (Some(notify), Some(word)) = (plan.notify(), word(event)) else { return };
        if notify.on.iter().any(|on| on == word) {
            let json = serde_json::to_string(event).expect("an event is plain data");
            self.effects.push(Effect::Notify { run: notify.run.clone(), seq: event.seq, json });
        }
    }

    /// Is anything under way for which nobody waits any more, in a slot or on the target?
    fn is_busy(&self) -> bool {
        !self.checks.is_empty() || !self.building.is_empty() || self.freeing > 0 || !self.auditing.is_empty()
    }

    /// Before a run ends, workers that only wait (for a human) are parked. Are there any?
    fn wind_down(&mut self) -> bool {
        for token in self.stops.values() {
            token.cancel();
        }
        self.asking.clear();
        self.reserving.clear();
        !self.stops.is_empty()
    }

    fn carry_out(&mut self, decision: Decision) -> Result<(), RecordError> {
        match decision {
            Decision::Step { step, event, why, message } => {
                let note = StepNote { why: why.map(str::to_owned), message, ..StepNote::default() };
                self.rec.step(&step, event, note)
            }
            Decision::Start { step, restack } => self.start(&step, restack),
            Decision::Queue(wish) => self.grant(wish),
            Decision::Finish { event, why } => self.finish(event, why),
        }
    }

    /// Starts an attempt, or goes on with one that was parked or interrupted.
    fn start(&mut self, step: &StepId, restack: bool) -> Result<(), RecordError> {
        let record = self.rec.view.step(step);
        let last = record.attempts.last();
        let resumable = last.is_some_and(|a| matches!(a.state, Attempt::Parked | Attempt::Interrupted));
        if resumable && !restack && !record.fresh {
            self.rec.attempt(step, AttemptEvent::Resume)?;
        } else {
            let change = AttemptChange {
                step: step.clone(),
                attempt: record.attempt() + 1,
                event: None,
                state: Attempt::Leased,
                restack,
                slot: None,
                base: None,
                on: Vec::new(),
                cause: None,
            };
            self.rec.emit(Body::AttemptState(Box::new(change)))?;
        }
        let identity = self.executor.shared.identity.clone();
        let mut job = attempt_job(&self.rec.view, self.rec.blobs(), step, &identity)?;
        let prices = &self.executor.shared.ctx.prices;
        if let Some(message) = begins::begin(&self.rec.view, self.rec.blobs(), prices, &mut job)? {
            self.rec.emit(Body::BoundHit { step: Some(step.clone()), bound: "fork".to_owned(), message })?;
        }
        let why = if restack { StepNote::why("restack") } else { StepNote::default() };
        self.rec.step(step, StepEvent::Start, why)?;
        let token = self.executor.shared.stop.child_token();
        self.stops.insert(step.clone(), token.clone());
        self.effects.push(Effect::Attempt(Box::new(job), token));
        Ok(())
    }

    fn finish(&mut self, event: crate::state::run::RunEvent, why: Option<&str>) -> Result<(), RecordError> {
        self.predictor.end();
        self.park_what_waits()?;
        let pool = self.executor.shared.pool.clone();
        match free_slots(&mut self.rec, &pool) {
            Err(RecoverError::Record(error)) => return Err(error),
            // Of no consequence for the run: the next one, or `wattle clean`, tries again.
            Err(error) => tracing::warn!(%error, "slots were not given back"),
            Ok(()) => {}
        }
        self.rec.run(event, why)?;
        let body = self.rec.finished(exit_code(&self.rec));
        self.rec.emit(body)?;
        self.finished = true;
        Ok(())
    }

    /// Landings that were under way when everything stopped go back to the queue.
    fn park_what_waits(&mut self) -> Result<(), RecordError> {
        use crate::state::landing::Landing;
        let open = self.rec.view.landings.iter().filter(|(_, record)| match record.state {
            Landing::Queued | Landing::Candidate | Landing::Checking | Landing::Red => true,
            Landing::Green | Landing::Held | Landing::Landed | Landing::Ejected => false,
        });
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        for id in open {
            command::withdraw(&mut self.rec, id, "interrupted")?;
        }
        Ok(())
    }

    fn take(&mut self, input: Input) -> Result<(), RecordError> {
        match input {
            Input::Worker { step, attempt, message, reply } => self.hear(&step, attempt, message, reply),
            Input::Leased { step, slot, base, on, reply } => {
                self.leased(&step, slot, base, on)?;
                self.reply(reply, Reply::Ack { seq: self.rec.seq() });
                Ok(())
            }
            Input::Attempt { step, end } => {
                self.stops.remove(&step);
                self.predictor.hear(&step);
                self.asking.remove(&step);
                self.reserving.retain(|(other, _, _)| *other != step);
                self.settle_claim(&step)?;
                match self.waits_for_parts(&step, end)? {
                    Some(end) => self.concluded(&step, end),
                    None => Ok(()),
                }
            }
            Input::Lead { step, message, reply } => self.hear_lead(&step, message, reply),
            Input::Consulted { step, outcome } => self.consulted(&step, *outcome),
            Input::Candidate { landing, end } => {
                self.building.remove(&landing);
                self.candidate(landing, end)
            }
            Input::Check { landing, check, tree, told } => self.checked(landing, check, tree, *told),
            Input::Audit { landing, missing } => self.audited(landing, missing),
            Input::Move { landing, end } => self.moved(landing, end),
            Input::Freed => {
                self.freeing -= 1;
                Ok(())
            }
            Input::Salvaged(salvaged) => {
                self.rec.emit(Body::Salvaged { slot: salvaged.slot.0, name: salvaged.name, commit: salvaged.commit })
            }
            Input::Retired { path, why } => {
                let message = format!("{path} is kept as it is and not used again: {why}");
                self.rec.emit(Body::BoundHit { step: None, bound: "slot_retired".to_owned(), message })
            }
            Input::NoRoom(message) => self.rec.emit(Body::BoundHit { step: None, bound: "disk".to_owned(), message }),
            Input::Predicted(end) => self.predicted(end),
            Input::Wake => self.take_commands(),
            Input::Signal => {
                self.stop_all(Halt::Interrupt);
                Ok(())
            }
        }
    }

    /// The end of an attempt is journaled.
    fn concluded(&mut self, step: &StepId, end: AttemptEnd) -> Result<(), RecordError> {
        let stopped = self.stopping.contains(step);
        self.stopping.retain(|other| other != step);
        let denied = self.failing.contains(step);
        self.failing.retain(|other| other != step);
        let halt = self.halt;
        let holder = self.holder(step);
        let refused = &mut self.refused;
        Ended { rec: &mut self.rec, step: step.clone(), stopped, denied, halt, refused }.take(end)?;
        if matches!(self.rec.view.step(step).state, Step::Cancelled | Step::Failed) {
            self.freeing += 1;
            self.effects.push(Effect::Free(holder));
        }
        Ok(())
    }

    fn leased(
        &mut self,
        step: &StepId,
        slot: Option<u32>,
        base: wattle_workspace::CommitId,
        on: Vec<crate::journal::event::Entry>,
    ) -> Result<(), RecordError> {
        let Some(attempt) = self.rec.view.step(step).attempts.last() else { return Ok(()) };
        let change = AttemptChange {
            step: step.clone(),
            attempt: attempt.number,
            event: Some(AttemptEvent::Execute),
            state: crate::state::next(attempt.state, AttemptEvent::Execute)?,
            restack: attempt.restack,
            slot,
            base: Some(base),
            on,
            cause: None,
        };
        self.rec.emit(Body::AttemptState(Box::new(change)))
    }

    /// Answers a worker after the batch is on the disk.
    pub(crate) fn reply(&mut self, to: oneshot::Sender<Reply>, answer: Reply) {
        self.replies.push((to, answer));
    }

    /// Starts an effect after the batch is on the disk.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Makes the candidate of a landing.
    pub(crate) fn build(&mut self, landing: LandingId) {
        let job = candidate_job(&self.rec.view, landing, &self.executor.shared.identity);
        self.building.insert(landing);
        self.effects.push(Effect::Candidate(landing, Box::new(job)));
    }

    /// Nothing new starts any more.
    pub(crate) fn stop_all(&mut self, halt: Halt) {
        if self.halt.is_none_or(|before| !before.cancels()) {
            self.halt = Some(halt);
        }
        if halt.cancels() {
            self.executor.shared.stop.cancel();
        }
    }

    fn take_commands(&mut self) -> Result<(), RecordError> {
        let rows = self.rec.writer.reader.commands()?;
        for row in rows {
            let result = if row.run == self.rec.view.run {
                self.obey(&row.verb, &row.by)?
            } else {
                let live = &self.rec.view.run;
                Err(Refusal {
                    code: "busy".to_owned(),
                    message: format!("run {live} is live in this repository; {} is not", row.run),
                    hint: format!("try again when {live} has ended, or: wattle stop -r {live}"),
                })
            };
            let json = serde_json::to_string(&result).expect("a result is plain data");
            self.rec.answer_command(row.id, json);
        }
        Ok(())
    }

    /// Takes up the verb of another process: the events it caused, or why it was refused.
    fn obey(&mut self, verb: &str, by: &str) -> Result<Result<Vec<Event>, Refusal>, RecordError> {
        let before = self.rec.seq();
        let Ok(verb) = serde_json::from_str::<Verb>(verb) else {
            let message = "the verb is of a newer version".to_owned();
            return Ok(Err(Refusal { code: "version".to_owned(), message, hint: "update wattle".to_owned() }));
        };
        let repo = self.executor.shared.ctx.repo.clone();
        if let Err(error) = take_in(&mut self.rec, &repo, |step| verb.names(step)) {
            match error {
                TheirsError::Record(error) => return Err(error),
                error @ (TheirsError::Git(_) | TheirsError::Pool(_) | TheirsError::Ref(_)) => {
                    let hint = "wattle doctor looks at git and the repository".to_owned();
                    return Ok(Err(Refusal { code: "by_hand".to_owned(), message: error.to_string(), hint }));
                }
            }
        }
        if matches!(verb, Verb::Merge { .. })
            && let Err(error) = settle_held(&mut self.rec, &repo)
        {
            let RecoverError::Record(error) = error else {
                let hint = "wattle doctor looks at git and the repository".to_owned();
                return Ok(Err(Refusal { code: "held".to_owned(), message: error.to_string(), hint }));
            };
            return Err(error);
        }
        match command::apply(&mut self.rec, &verb, by, true) {
            Ok(live) => {
                for live in live {
                    self.live(live);
                }
            }
            Err(VerbError::Refused(refusal)) => return Ok(Err(refusal)),
            Err(VerbError::Record(error)) => return Err(error),
        }
        Ok(Ok(self.rec.batch_after(before)))
    }

    fn live(&mut self, live: Live) {
        match live {
            Live::Halt => self.stop_all(Halt::Stop),
            Live::Park(step) => {
                self.cancel(&step);
                self.stopping.push(step);
            }
            Live::Cancel(step) => self.cancel(&step),
            Live::Answer(step, text) => {
                if let Some(reply) = self.asking.remove(&step) {
                    self.reply(reply, Reply::Answer { text });
                }
            }
        }
    }

    /// Who holds the slot of a step's newest attempt.
    fn holder(&self, step: &StepId) -> String {
        format!("{}/{step}/{}", self.rec.view.run, self.rec.view.step(step).attempt())
    }

    fn cancel(&mut self, step: &StepId) {
        self.asking.remove(step);
        if let Some(token) = self.stops.get(step) {
            token.cancel();
        }
    }

    /// What the run says to a question, when it need not wait for a human.
    pub(crate) fn on_input(&self) -> OnInput {
        self.rec.view.started.options.on_input
    }
}

/// The exit code of the state that a run is in.
pub(crate) fn exit_code(rec: &Recorder) -> u8 {
    let view = &rec.view;
    let reached = view.started.options.until_explicit
        && view.started.options.until == Until::Review
        && view.state == Run::Review
        && view.why.as_deref() == Some("review");
    // A key, a model or an address that is not right is not for a reviewer to mend.
    let no_model = view.state == Run::Parked && view.why.as_deref() == Some("model");
    let mut codes: Vec<u8> = vec![if reached {
        0
    } else if no_model {
        5
    } else {
        view.state.exit()
    }];
    if !matches!(view.state, Run::Interrupted | Run::Parked) {
        codes.extend(view.steps.values().map(|record| record.state.exit()).filter(|code| !(reached && *code == 4)));
    }
    codes.sort_by_key(|code| PRECEDENCE.iter().position(|other| other == code));
    codes[0]
}
