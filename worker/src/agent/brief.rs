//! The words that a conversation starts with.
//!
//! The system text is a constant: no date, no path, no role, nothing of a run. What belongs to one worker stands
//! in its own part of the first message.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::assignment::{AgentWork, LeadAssignment, LeadTask, Mode, StepAssignment};
use crate::tool;

/// Reports of needed steps that a first message holds, in bytes for each: a few pages.
const NEED_BYTES_MAX: usize = 16 * 1024;

/// The system text of every conversation.
pub(crate) const SYSTEM: &str = "\
You work on a source repository, as one of several workers on a larger change. You see one worktree of your own; \
others work in theirs at the same time. The first message says what your part is.

- Do your part and nothing else. Do not touch files outside the paths you are given.
- Look before you change: search with Grep, Glob and Symbols, read with Read. A file has to be read before it is edited.
- Change files with Edit, ApplyPatch (several at once) and Write. Keep the style of the code around your change.
- Do not commit, branch or push: what is in your worktree when you are done becomes the commit.
- All tools are always listed; those that your part may not use are refused when you call them.
- Paths are relative to the root of the worktree.
- Never claim what you have not seen: checks run after you, and their output comes back to you.
- When you are done, say briefly what you did and what is left, without calling a tool. That is your report.";

/// The tools that a step may call: what it lists, else the default of its mode. A step that may not change files
/// never gets the tools that do.
pub(crate) fn allowed(work: &AgentWork, mode: Mode) -> BTreeSet<String> {
    let mut allowed: BTreeSet<String> = if work.tools.is_empty() {
        tool::usual(mode).into_iter().map(str::to_owned).collect()
    } else {
        work.tools.iter().cloned().collect()
    };
    allowed.remove(tool::SUBMIT_PLAN);
    if allowed.contains(tool::BASH) {
        // Who may start a command may look at it and end it.
        allowed.extend([tool::BASH_OUTPUT, tool::KILL_SHELL].map(str::to_owned));
    }
    if mode == Mode::Read {
        allowed.retain(|name| !tool::FILE_WRITERS.contains(&name.as_str()));
    }
    allowed.extend(tool::ALWAYS.map(str::to_owned));
    allowed
}

/// The tools of a lead: it reads and proposes.
pub(crate) fn lead_allowed() -> BTreeSet<String> {
    let names = tool::READ_ONLY.into_iter().chain(tool::ALWAYS).chain([tool::SUBMIT_PLAN]);
    names.map(str::to_owned).collect()
}

/// A worker's own part of the first message.
pub(crate) fn worker_message(step: &StepAssignment, work: &AgentWork, allowed: &BTreeSet<String>) -> String {
    let mut out = "Role: worker\n".to_owned();
    writeln!(out, "{}", worktree_line(&step.place.path.display().to_string()))
        .expect("writing to a string cannot fail");
    let mut line = |name: &str, value: &str| {
        writeln!(out, "{name}: {value}").expect("writing to a string cannot fail");
    };
    line("Step", &step.owner.step);
    line("Title", &step.title);
    line(
        "Mode",
        match step.mode {
            Mode::Read => "read (nothing may be changed)",
            Mode::Write => "write (your changes become one commit)",
            Mode::Scratch => "scratch (your changes are thrown away; the report is the result)",
        },
    );
    let names: Vec<&str> = allowed.iter().map(String::as_str).collect();
    line("Tools you may use", &names.join(", "));
    if let Some(form) = &step.commit {
        line("Paths you may change (regular expressions)", &form.touches.join("  "));
    }
    for need in &step.needs {
        let report = cut(&need.markdown);
        write!(out, "\n# Report of step {}\n\n{report}\n", need.step).expect("writing to a string cannot fail");
    }
    if let Some(definition) = &work.definition {
        let (name, body) = (&definition.name, definition.body.trim());
        write!(out, "\n# You are the agent {name}\n\n{body}\n").expect("writing to a string cannot fail");
    }
    write!(out, "\n# Your task\n\n{}\n", work.prompt).expect("writing to a string cannot fail");
    for part in feedback_parts(&step.feedback) {
        write!(out, "\n{part}\n").expect("writing to a string cannot fail");
    }
    out
}

/// A lead's own part of the first message.
pub(crate) fn lead_message(lead: &LeadAssignment) -> String {
    if lead.task == LeadTask::Answer {
        return format!("Role: lead\nTools you may use: none; answer in words, in one turn\n\n{}\n", lead.request);
    }
    format!(
        "Role: lead\nWorktree: {}\nTools you may use: {}\n\n{}\n\n# Input of SubmitPlan (JSON Schema)\n\n```json\n{}\n```\n",
        lead.place.path.display(),
        lead_allowed().into_iter().collect::<Vec<_>>().join(", "),
        lead.request,
        lead.plan_schema,
    )
}

/// Where a worker is; a conversation that goes on elsewhere is told so by the same line.
pub(crate) fn worktree_line(path: &str) -> String {
    format!("Worktree: {path}")
}

/// Feedback as it is shown; numbered, so that the same words twice are two pieces of feedback.
pub(crate) fn feedback_parts(feedback: &[String]) -> Vec<String> {
    (1..).zip(feedback).map(|(number, text): (usize, &String)| format!("# Feedback {number}\n\n{text}")).collect()
}

fn cut(text: &str) -> &str {
    let end = text.len().min(NEED_BYTES_MAX);
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}
