//! A run as the lines that `claude -p --output-format stream-json` prints, so that existing wrappers read it
//! (`spec/runtime.md` 2.7): one `system/init`, the turns of all workers as `assistant` and `user` messages, one
//! `result` at the end.
//!
//! A step is what a sub-agent is there: its messages carry the `parent_tool_use_id` that its `task_started` names, and
//! every other event that is worth a line is a `system` message with the subtype `node_…`, which readers that do not
//! know it ignore. The first message of a conversation (brief and task) is not repeated for every worker.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wattle_planner::StepId;
use wattle_worker::host::Usage;

use crate::config::money::json_usd;
use crate::ids::{Blob, RunId};
use crate::journal::Event;
use crate::journal::event::{Body, RunStarted, StepChange};
use crate::state::run::Run;
use crate::state::step::Step;

/// Model that is named where a run asks none.
const NO_MODEL: &str = "none";

/// What the lines of one run are made with, and what its last line sums up.
pub(crate) struct Stream {
    /// Names of the tools, the same for every worker.
    tools: Vec<&'static str>,
    /// The directory that the run was started for.
    cwd: String,
    session: String,
    model: String,
    began: Option<jiff::Timestamp>,
    ended: Option<jiff::Timestamp>,
    /// The newest ledger row of each step: of the turn that comes next.
    row: BTreeMap<StepId, Usage>,
    totals: BTreeMap<String, Total>,
    turns: u64,
    api_ms: u64,
    bound: Option<String>,
}

/// Tokens and money of one model.
#[derive(Default)]
struct Total {
    uncached_in: u64,
    cache_read: u64,
    cache_write: u64,
    out: u64,
    /// `None` = a price is not known.
    nano_usd: Option<u64>,
}

impl Total {
    fn add(&mut self, usage: &Usage) {
        self.uncached_in += usage.uncached_in;
        self.cache_read += usage.cache_read;
        self.cache_write += usage.cache_write;
        self.out += usage.out;
        self.nano_usd = self.nano_usd.zip(usage.nano_usd).map(|(sum, next)| sum + next);
    }
}

/// How a run ended, for its last line.
pub(crate) enum Ending<'a> {
    /// It was driven to this state, with this exit code and a summary for people.
    Left { state: Run, exit: u8, summary: &'a str },
    /// It did not come about.
    Failed { message: &'a str, exit: u8 },
}

impl Stream {
    /// For a run in `cwd` whose workers have these tools.
    pub(crate) fn new(cwd: String, tools: Vec<&'static str>) -> Self {
        Self {
            tools,
            cwd,
            session: String::new(),
            model: NO_MODEL.to_owned(),
            began: None,
            ended: None,
            row: BTreeMap::new(),
            totals: BTreeMap::new(),
            turns: 0,
            api_ms: 0,
            bound: None,
        }
    }

    /// The lines that an event gives; `text` reads what the journal keeps beside itself.
    pub(crate) fn lines(&mut self, event: &Event, text: &dyn Fn(&Blob) -> Option<String>) -> Vec<Value> {
        let time: Option<jiff::Timestamp> = event.ts.parse().ok();
        self.began = self.began.or(time);
        self.ended = time.or(self.ended);
        match &event.body {
            Body::RunStarted(started) => vec![self.init(event, started)],
            Body::Usage { step, usage, .. } => {
                self.used(step.as_ref(), usage);
                Vec::new()
            }
            Body::Turn { step, attempt, index, message } => {
                text(message).and_then(|json| self.turn(event, step, *attempt, *index, &json)).into_iter().collect()
            }
            Body::StepState(change) => self.step(event, change, text),
            Body::BoundHit { bound, .. } => {
                self.bound = Some(bound.clone());
                vec![self.node(event)]
            }
            Body::PlanReady { .. }
            | Body::PlanAmended { .. }
            | Body::SplitAsked { .. }
            | Body::LeadAsked { .. }
            | Body::RunState { .. }
            | Body::TargetMoved { .. }
            | Body::RepairStarted { .. }
            | Body::CheckStarted(_)
            | Body::CheckFinished { .. }
            | Body::Landed { .. }
            | Body::LandingHeld { .. }
            | Body::Ejected { .. }
            | Body::Salvaged { .. }
            | Body::ConflictPredicted(_)
            | Body::NeedsInput { .. }
            | Body::Answered { .. }
            | Body::Approved { .. }
            | Body::Comment { .. }
            | Body::Command { .. } => vec![self.node(event)],
            Body::Resumed { .. }
            | Body::AttemptState(_)
            | Body::ViewEdit { .. }
            | Body::Intent { .. }
            | Body::Evidence { .. }
            | Body::LandingState(_)
            | Body::CacheMiss { .. }
            | Body::Audited { .. }
            | Body::CancelAsked { .. }
            | Body::MergeAsked { .. }
            | Body::RunFinished { .. } => Vec::new(),
        }
    }

    fn init(&mut self, event: &Event, started: &RunStarted) -> Value {
        self.session = event.run.to_string();
        self.model = started.options.model.clone().unwrap_or_else(|| NO_MODEL.to_owned());
        json!({
            "type": "system", "subtype": "init", "uuid": uuid(&event.run, event.seq, 0), "session_id": self.session,
            "cwd": self.cwd, "model": self.model, "tools": self.tools, "mcp_servers": [],
            "permissionMode": "default", "slash_commands": [], "agents": [], "skills": [], "plugins": [],
            "apiKeySource": "none", "run": event.run, "name": started.name, "target": started.target,
            "base": started.base.commit,
        })
    }

    fn used(&mut self, step: Option<&StepId>, usage: &Usage) {
        let name = format!("{}/{}", usage.provider, usage.model);
        self.totals.entry(name).or_insert_with(|| Total { nano_usd: Some(0), ..Total::default() }).add(usage);
        self.api_ms += usage.total_ms;
        if let Some(step) = step {
            self.row.insert(step.clone(), usage.clone());
        }
    }

    fn turn(&mut self, event: &Event, step: &StepId, attempt: u32, index: u32, json: &str) -> Option<Value> {
        if index == 0 {
            return None;
        }
        let mut message: Value = serde_json::from_str(json).ok()?;
        let content: Vec<Value> = message["content"].as_array_mut()?.drain(..).filter_map(readable).collect();
        let assistant = message["role"] == "assistant";
        let message = if assistant {
            self.turns += 1;
            let row = self.row.remove(step);
            let stop = if content.iter().any(|b| b["type"] == "tool_use") { "tool_use" } else { "end_turn" };
            json!({
                "id": row.as_ref().and_then(|row| row.request_id.clone()).unwrap_or_else(|| format!("{step}-{attempt}-{index}")),
                "type": "message", "role": "assistant",
                "model": row.as_ref().map_or(&self.model, |row| row.served.as_ref().unwrap_or(&row.model)),
                "content": content, "stop_reason": stop, "stop_sequence": null,
                "usage": row.as_ref().map(|row| tokens(row.uncached_in, row.cache_write, row.cache_read, row.out)),
            })
        } else {
            json!({ "role": "user", "content": content })
        };
        Some(json!({
            "type": if assistant { "assistant" } else { "user" }, "message": message,
            "parent_tool_use_id": spawned(step, attempt), "session_id": self.session,
            "uuid": uuid(&event.run, event.seq, 0), "step": step, "attempt": attempt,
        }))
    }

    /// A step's change, and before it what a wrapper knows of its worker: that it begins, or how it ended.
    fn step(&self, event: &Event, change: &StepChange, text: &dyn Fn(&Blob) -> Option<String>) -> Vec<Value> {
        let mut lines = vec![self.node(event)];
        let status = match change.state {
            Step::Running => None,
            Step::Landed | Step::Done | Step::Unchanged => Some("completed"),
            Step::Failed | Step::Blocked => Some("failed"),
            Step::Skipped | Step::Cancelled | Step::Rejected => Some("stopped"),
            Step::Waiting
            | Step::Ready
            | Step::NeedsInput
            | Step::Checking
            | Step::Review
            | Step::Approved
            | Step::Queued
            | Step::Landing
            | Step::Parked
            | Step::Stale => return lines,
        };
        let (step, attempt) = (&change.step, change.attempt);
        let mut line = json!({
            "type": "system", "session_id": self.session, "uuid": uuid(&event.run, event.seq, 1),
            "task_id": format!("{step}-{attempt}"), "tool_use_id": spawned(step, attempt), "task_type": "step",
        });
        match status {
            None => {
                line["subtype"] = json!("task_started");
                line["description"] = json!(step);
            }
            Some(status) => {
                let report = change.report.as_ref().and_then(text).or_else(|| change.message.clone());
                line["subtype"] = json!("task_notification");
                line["status"] = json!(status);
                line["output_file"] = json!("");
                line["summary"] = json!(report.unwrap_or_default());
            }
        }
        lines.push(line);
        lines
    }

    /// An event of ours: its public JSON under a subtype of its own.
    fn node(&self, event: &Event) -> Value {
        let kind = match &event.body {
            Body::StepState(_) => "state",
            body => body.kind(),
        };
        let mut line = json!({
            "type": "system", "subtype": format!("node_{kind}"), "session_id": self.session,
            "uuid": uuid(&event.run, event.seq, 0),
        });
        if let Ok(Value::Object(public)) = serde_json::to_value(event) {
            let line = line.as_object_mut().expect("it was made as one");
            line.extend(public.into_iter().filter(|(key, _)| key != "type" && key != "subtype"));
        }
        line
    }

    /// The last line.
    pub(crate) fn result(&self, ending: &Ending<'_>) -> Value {
        let (subtype, is_error, terminal, text, exit) = match ending {
            // To wait for a human is an end that was asked for, and no error.
            Ending::Left { state, exit: exit @ (0 | 4), summary } => ("success", false, state.as_str(), summary, exit),
            Ending::Left { state: Run::Budget, exit, summary } => {
                ("error_max_budget_usd", true, Run::Budget.as_str(), summary, exit)
            }
            Ending::Left { state, exit, summary } if self.bound.as_deref() == Some("max_turns") => {
                ("error_max_turns", true, state.as_str(), summary, exit)
            }
            Ending::Left { state, exit, summary } => ("error_during_execution", true, state.as_str(), summary, exit),
            Ending::Failed { message, exit } => ("error_during_execution", true, "not_started", message, exit),
        };
        let sum = |of: fn(&Total) -> u64| self.totals.values().map(of).sum::<u64>();
        let money = self.totals.values().map(|total| total.nano_usd).sum::<Option<u64>>();
        let span = self.began.zip(self.ended).map_or(0, |(began, ended)| ended.duration_since(began).as_millis());
        let mut line = json!({
            "type": "result", "subtype": subtype, "is_error": is_error, "terminal_reason": terminal,
            "result": text, "stop_reason": null, "num_turns": self.turns, "session_id": self.session,
            "duration_ms": span, "duration_api_ms": self.api_ms, "total_cost_usd": json_usd(money),
            "usage": tokens(sum(|t| t.uncached_in), sum(|t| t.cache_write), sum(|t| t.cache_read), sum(|t| t.out)),
            "modelUsage": self.by_model(), "permission_denials": [], "exit": exit,
            "uuid": uuid(&RunId::from_text(self.session.clone()), 0, 2),
        });
        if is_error {
            line["errors"] = json!([text]);
        }
        line
    }

    fn by_model(&self) -> Map<String, Value> {
        let rows = self.totals.iter().map(|(name, total)| {
            let row = json!({
                "inputTokens": total.uncached_in, "outputTokens": total.out, "cacheReadInputTokens": total.cache_read,
                "cacheCreationInputTokens": total.cache_write, "costUSD": json_usd(total.nano_usd),
            });
            (name.clone(), row)
        });
        rows.collect()
    }
}

/// What a wrapper takes for the call that spawned a worker.
fn spawned(step: &StepId, attempt: u32) -> String {
    format!("node_{step}_{attempt}")
}

fn tokens(uncached_in: u64, cache_write: u64, cache_read: u64, out: u64) -> Value {
    json!({
        "input_tokens": uncached_in, "cache_creation_input_tokens": cache_write,
        "cache_read_input_tokens": cache_read, "output_tokens": out,
    })
}

/// A block, if every reader of this format knows it: what only its provider understands (encrypted reasoning, the
/// object that another wire sent) is left out.
fn readable(mut block: Value) -> Option<Value> {
    let known = match block["type"].as_str() {
        Some("text" | "tool_use" | "tool_result") => true,
        Some("thinking") => block["thinking"].is_string() && block["signature"].is_string(),
        Some(_) | None => false,
    };
    if let Some(fields) = block.as_object_mut() {
        fields.shift_remove("raw");
    }
    known.then_some(block)
}

/// An id in the form of a UUID, the same each time the same line is made.
fn uuid(run: &RunId, seq: u64, part: u8) -> String {
    let hash = blake3::hash(format!("{run} {seq} {part}").as_bytes()).to_hex();
    // Version 8 is the one for ids of an own making (RFC 9562).
    format!("{}-{}-8{}-a{}-{}", &hash[..8], &hash[8..12], &hash[13..16], &hash[17..20], &hash[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_a_uuid_and_are_told_apart() {
        let run = RunId::from_text("r1");
        let ids: std::collections::BTreeSet<_> =
            (0..50).flat_map(|seq| (0..2).map(move |part| (seq, part))).map(|(s, p)| uuid(&run, s, p)).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        }
    }

    #[test]
    fn money_of_which_a_part_is_unknown_is_unknown() {
        let usage = |nano_usd| -> Usage {
            let row = json!({
                "provider": "p", "model": "m", "prefix_sha": "", "uncached_in": 1, "cache_read": 2, "cache_write": 3,
                "out": 4, "nano_usd": nano_usd, "exact": true, "status": 200,
            });
            serde_json::from_value(row).unwrap()
        };
        let mut stream = Stream::new(String::new(), Vec::new());
        let left = Ending::Left { state: Run::Completed, exit: 0, summary: "" };
        assert_eq!(stream.result(&left)["total_cost_usd"], json!(0.0), "nothing was asked");
        stream.used(None, &usage(json!(2_000_000_000u64)));
        assert_eq!(stream.result(&left)["total_cost_usd"], json!(2.0));
        assert_eq!(stream.result(&left)["usage"]["output_tokens"], json!(4));
        stream.used(None, &usage(Value::Null));
        assert_eq!(stream.result(&left)["total_cost_usd"], Value::Null);
    }
}
