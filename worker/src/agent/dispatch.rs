//! What happens with the calls of one reply.
//!
//! Whether a call may run is decided here and nowhere earlier: the list of definitions is the same for all. Calls
//! that only read and stand next to each other run at once; all others run one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wattle_cache::view::View;
use wattle_workspace::BlobId;

use super::shape;
use super::touch::Touch;
use super::transcript::{Call, Transcript};
use super::{Halt, Task, record, send};
use crate::host::{Asked, Host, Intent, Message, Proposal, Reply, StepResult};
use crate::outcome::{Cause, Evidence};
use crate::tool::host::InProcess;
use crate::tool::out::Outputs;
use crate::tool::{self, ToolCall, ToolHost as _, ToolResult};

/// Reading calls that run at once: disks and two cores gain nothing from more.
const AT_ONCE: usize = 10;
/// Files that the evidence of a conversation names; single results name all of theirs.
const READ_MAX: usize = 2000;

/// A question in bytes: a page; what is longer is a report. Whoever answers reads it in one go.
const QUESTION_BYTES_MAX: usize = 4 * 1024;
/// Answers on offer, each a line at most: a list that a human can choose from.
const OPTIONS_MAX: usize = 10;
/// Bytes of one of them.
const OPTION_BYTES_MAX: usize = 200;
/// Parts that a step is split into: what would be more is a plan of its own, and a task for its user.
const PARTS_MAX: usize = 8;
/// Bytes of all parts together; the lead reads them in one message.
const PARTS_BYTES_MAX: usize = 32 * 1024;

/// A call under way.
type Calling<'a> = Pin<Box<dyn Future<Output = Result<ToolResult, Halt>> + Send + 'a>>;

/// Runs calls and remembers what the conversation has seen.
pub(super) struct Dispatch {
    host: Arc<dyn Host>,
    tools: InProcess,
    allowed: BTreeSet<String>,
    seen: BTreeMap<String, BlobId>,
    /// Instructions that are given when their place is touched.
    touch: Touch,
    proposals_max: Option<u32>,
    /// Proposals that were sent back.
    refused: u32,
    /// Will the rest of the work be done by others?
    pub(super) split: bool,
    /// JSON of the plan that was accepted.
    pub(super) accepted: Option<String>,
    /// Files that were read, and the last process.
    pub(super) evidence: Evidence,
    /// What the tools have done, for the working ledger: outputs are left out.
    pub(super) done: Vec<(String, Evidence)>,
    /// Bytes that the results of one reply may have together.
    pub(super) room: usize,
}

/// The calls of one reply, answered.
pub(super) struct Answered {
    /// The message with all results.
    pub(super) message: String,
    pub(super) submitted: Submitted,
}

/// Has a plan been accepted?
pub(super) enum Submitted {
    No,
    Accepted,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskInput {
    question: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    to: Asked,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportInput {
    markdown: String,
    #[serde(default)]
    split: Vec<Part>,
}

/// A piece of the work that somebody else should do.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Part {
    title: String,
    prompt: String,
    #[serde(default)]
    touches: Vec<String>,
}

impl Dispatch {
    pub(super) fn new(task: &Task<'_>, host: Arc<dyn Host>, tools: InProcess, transcript: &Transcript) -> Dispatch {
        // The worktree is ours alone, so what an earlier try has read is what is there now.
        let calls = transcript.answered_calls().into_iter();
        let files = calls.flat_map(|call| tool::named::files_of(&call.name, &call.input));
        let seen = files.filter_map(|path| tools.blob_now(&path));
        // What was read elsewhere is known only where it is the same here.
        let read = task.fork.into_iter().flat_map(|fork| &fork.read);
        let here = |(path, blob): &(String, BlobId)| tools.blob_now(path).filter(|(_, now)| now == blob);
        let inherited: Vec<(String, BlobId)> = read.filter_map(here).collect();
        Dispatch {
            host,
            seen: inherited.into_iter().chain(seen).collect(),
            tools,
            allowed: task.allowed.clone(),
            touch: Touch::new(task.instructions, &task.worktree, transcript),
            proposals_max: task.proposals_max,
            refused: 0,
            split: false,
            accepted: None,
            evidence: Evidence::default(),
            done: task.evidence.to_vec(),
            room: usize::MAX,
        }
    }

    /// Answers all calls of a reply. `again`: they may have run before, and their results were lost.
    pub(super) async fn run(&mut self, calls: &[Call], again: bool, view: &View) -> Result<Answered, Halt> {
        let mut results = Vec::new();
        let mut rest = calls;
        while let Some(first) = rest.first() {
            let reading = rest.iter().take_while(|call| self.reads(call)).count();
            let taken = reading.max(1);
            if reading > 1 {
                results.extend(self.read_all(&rest[..reading], again).await?);
            } else {
                let result = self.one(first, again).await?;
                results.push(result);
            }
            if self.accepted.is_some() {
                return Ok(Answered { message: String::new(), submitted: Submitted::Accepted });
            }
            rest = &rest[taken..];
        }
        let results = shape::turn(calls, results, view, self.room);
        let blocks = calls.iter().zip(results).map(|(call, result)| {
            self.touch.note(call, &result);
            let mut block = json!({"type": "tool_result", "tool_use_id": call.id, "content": result.content});
            if result.is_error {
                block["is_error"] = json!(true);
            }
            block
        });
        let mut blocks: Vec<_> = blocks.collect();
        // Results come first, the provider wants it so.
        blocks.extend(self.touch.take().into_iter().map(|text| json!({"type": "text", "text": text})));
        let message = json!({"role": "user", "content": blocks}).to_string();
        Ok(Answered { message, submitted: Submitted::No })
    }

    fn reads(&self, call: &Call) -> bool {
        tool::READ_ONLY.contains(&call.name.as_str()) && self.allowed.contains(&call.name)
    }

    async fn read_all(&mut self, calls: &[Call], again: bool) -> Result<Vec<ToolResult>, Halt> {
        // Boxed: without that the compiler cannot see that the whole conversation may move between threads.
        let mut running: Vec<Calling<'_>> = Vec::new();
        for call in calls {
            running.push(Box::pin(self.tool(call, again)));
        }
        let done: Vec<Result<ToolResult, Halt>> = stream::iter(running).buffered(AT_ONCE).collect().await;
        let mut results = Vec::new();
        for (call, result) in calls.iter().zip(done) {
            let result = result?;
            self.remember(&call.id, &result);
            results.push(result);
        }
        Ok(results)
    }

    async fn one(&mut self, call: &Call, again: bool) -> Result<ToolResult, Halt> {
        if !self.allowed.contains(&call.name) {
            let may: Vec<&str> = self.allowed.iter().map(String::as_str).collect();
            let result =
                ToolResult::failed(format!("{} is not allowed here; allowed are {}", call.name, may.join(", ")));
            self.told(call, &result).await?;
            return Ok(result);
        }
        let result = match call.name.as_str() {
            tool::ASK => self.ask(call).await?,
            tool::REPORT => self.report(call).await?,
            tool::SUBMIT_PLAN => self.submit(call).await?,
            tool::BASH if again => ToolResult::failed(
                "the work was interrupted while this command ran, and its result is unknown; look at the files before you go on",
            ),
            _ => {
                let result = self.tool(call, again).await?;
                self.remember(&call.id, &result);
                return Ok(result);
            }
        };
        self.told(call, &result).await?;
        Ok(result)
    }

    /// Runs a tool between its intent and its result.
    async fn tool(&self, call: &Call, again: bool) -> Result<ToolResult, Halt> {
        let (id, name, input) = (call.id.clone(), call.name.clone(), call.input.clone());
        let intent = Intent::Tool { id: id.clone(), name: name.clone(), input: input.clone() };
        let result = match send(&self.host, Message::Intent(intent)).await {
            Reply::Ack { .. } | Reply::Told { .. } | Reply::Granted | Reply::Answer { .. } => {
                let seen =
                    if tool::FILE_WRITERS.contains(&name.as_str()) { self.seen.clone() } else { BTreeMap::new() };
                let result = self.tools.call(ToolCall { id, name, input, seen, again }).await;
                shape::offloaded(&call.name, result, self.tools.outputs())
            }
            Reply::Refused { reason } => ToolResult::failed(reason),
            Reply::Cancel => return Err(Halt::Parked),
        };
        if self.host.cancelled().is_cancelled() {
            // The tool may have been stopped half way: its result is not the conversation's.
            return Err(Halt::Parked);
        }
        self.told(call, &result).await?;
        Ok(result)
    }

    async fn told(&self, call: &Call, result: &ToolResult) -> Result<(), Halt> {
        let told =
            StepResult::Tool { id: call.id.clone(), is_error: result.is_error, evidence: result.evidence.clone() };
        record(&self.host, Message::Result(told)).await.map(drop)
    }

    /// Outputs that were too long to be shown.
    pub(super) fn outputs(&self) -> &Outputs {
        self.tools.outputs()
    }

    /// Instructions that were given on the way, verbatim: they come back when the messages that hold them go.
    pub(super) fn given(&self) -> Vec<String> {
        self.touch.given()
    }

    /// What the worktree looks like.
    pub(super) fn stamp(&self) -> String {
        self.tools.stamp()
    }

    /// May files of the worktree be changed here?
    pub(super) fn writes(&self) -> bool {
        tool::FILE_WRITERS.iter().any(|name| self.allowed.contains(*name))
    }

    fn remember(&mut self, id: &str, result: &ToolResult) {
        let evidence = &result.evidence;
        self.done.push((id.to_owned(), Evidence { output: String::new(), ..evidence.clone() }));
        for (path, blob) in &evidence.read {
            self.seen.insert(path.clone(), blob.clone());
            let entry = (path.clone(), blob.clone());
            if self.evidence.read.len() < READ_MAX && !self.evidence.read.contains(&entry) {
                self.evidence.read.push(entry);
            }
        }
        for (path, _, after) in &evidence.wrote {
            match after {
                Some(blob) => self.seen.insert(path.clone(), blob.clone()),
                None => self.seen.remove(path),
            };
        }
        if !evidence.argv.is_empty() {
            let read = std::mem::take(&mut self.evidence.read);
            self.evidence = Evidence { read, ..evidence.clone() };
        }
    }

    async fn ask(&self, call: &Call) -> Result<ToolResult, Halt> {
        let input: AskInput = match tool::parse(tool::ASK, &call.input) {
            Ok(input) => input,
            Err(message) => return Ok(ToolResult::failed(message)),
        };
        if let Some(message) = too_long(&input) {
            return Ok(ToolResult::failed(message));
        }
        let message = Message::Ask { to: input.to, question: input.question, options: input.options };
        match send(&self.host, message).await {
            Reply::Answer { text } => Ok(ToolResult::done(text)),
            Reply::Refused { reason } => Ok(ToolResult::failed(format!("nobody will answer: {reason}"))),
            Reply::Ack { .. } | Reply::Told { .. } | Reply::Granted => Ok(ToolResult::failed("nobody has answered")),
            Reply::Cancel => Err(Halt::Parked),
        }
    }

    async fn report(&mut self, call: &Call) -> Result<ToolResult, Halt> {
        let input = match tool::parse::<ReportInput>(tool::REPORT, &call.input) {
            Ok(input) if input.markdown.trim().is_empty() => return Ok(ToolResult::failed("the report is empty")),
            Ok(input) if input.split.is_empty() => return Ok(ToolResult::done("The report is set.")),
            Ok(input) => input,
            Err(message) => return Ok(ToolResult::failed(message)),
        };
        let json = serde_json::to_string(&input.split).expect("parts are plain data");
        if input.split.len() > PARTS_MAX || json.len() > PARTS_BYTES_MAX {
            let message = format!("a step is split into at most {PARTS_MAX} parts of {PARTS_BYTES_MAX} bytes together");
            return Ok(ToolResult::failed(message));
        }
        match send(&self.host, Message::Propose(Proposal::Split { json })).await {
            Reply::Ack { .. } | Reply::Told { .. } | Reply::Granted | Reply::Answer { .. } => {
                self.split = true;
                Ok(ToolResult::done(
                    "The report is set. Others will do the parts that you named: end here, with no call.",
                ))
            }
            Reply::Refused { reason } => {
                let message =
                    format!("the step is not split: {reason}. Do the work, or say in your report what is left");
                Ok(ToolResult::failed(message))
            }
            Reply::Cancel => Err(Halt::Parked),
        }
    }

    async fn submit(&mut self, call: &Call) -> Result<ToolResult, Halt> {
        let Some(max) = self.proposals_max else {
            return Ok(ToolResult::failed("there is no plan to be made here"));
        };
        if let Err(message) = tool::parse::<serde_json::Map<String, serde_json::Value>>(tool::SUBMIT_PLAN, &call.input)
        {
            return Ok(ToolResult::failed(message));
        }
        let proposal = Proposal::Plan { json: call.input.clone() };
        match send(&self.host, Message::Propose(proposal)).await {
            Reply::Ack { .. } | Reply::Told { .. } | Reply::Granted | Reply::Answer { .. } => {
                self.accepted = Some(call.input.clone());
                Ok(ToolResult::done("The plan was accepted."))
            }
            Reply::Refused { reason } => {
                self.refused += 1;
                if self.refused > max {
                    let message = format!("the plan was sent back {} times, the last time: {reason}", self.refused);
                    return Err(Halt::Failed(Cause::Turns, message));
                }
                Ok(ToolResult::failed(format!("The plan was not accepted:\n{reason}\nMend it and submit it again.")))
            }
            Reply::Cancel => Err(Halt::Parked),
        }
    }
}

/// What is too long about a question.
fn too_long(input: &AskInput) -> Option<String> {
    if input.question.len() > QUESTION_BYTES_MAX {
        return Some(format!("the question is longer than {QUESTION_BYTES_MAX} bytes: ask for one thing"));
    }
    let long = input.options.iter().any(|option| option.len() > OPTION_BYTES_MAX);
    let many = input.options.len() > OPTIONS_MAX;
    (long || many).then(|| format!("at most {OPTIONS_MAX} options of {OPTION_BYTES_MAX} bytes each are offered"))
}
