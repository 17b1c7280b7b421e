//! A ledger in words, for a worker whose messages no longer fit.

use std::fmt::Write as _;

use wattle_cache::offload::cut;

use super::{Ledger, Note};

/// Bound on all of it: 2,000 tokens of four bytes.
const BYTES_MAX: usize = 8_000;
/// Lines of each list, newest first; all of them together stay below the bound in an ordinary conversation.
const CHANGED_MAX: usize = 30;
const READ_MAX: usize = 24;
const COMMANDS_MAX: usize = 10;
const ERRORS_MAX: usize = 8;
const NOTES_MAX: usize = 6;
/// Bytes of one line.
const LINE_BYTES_MAX: usize = 160;
/// Bytes of a task that is repeated; all of it stands in the first message.
const TASK_BYTES_MAX: usize = 500;
/// Bytes of a plan.
const PLAN_BYTES_MAX: usize = 900;
/// Digits of a blob id.
const DIGITS: usize = 10;

/// The sections come by what would hurt most if it were lost: what is cut is at the end.
pub(super) fn markdown(ledger: &Ledger) -> String {
    let mut out = String::new();
    section(&mut out, "Task (all of it is in the first message)", [cut(&ledger.task, TASK_BYTES_MAX).to_owned()]);
    frontier(&mut out, ledger);
    if let Some(plan) = &ledger.plan {
        section(&mut out, &format!("Plan (message {})", plan.message), [cut(&plan.text, PLAN_BYTES_MAX).to_owned()]);
    }
    notes(&mut out, "Corrections", &ledger.corrections);
    let unresolved = ledger.errors.iter().rev().filter(|error| error.resolved.is_none());
    let lines = unresolved.map(|error| item(&format!("{}: {} (message {})", error.call, error.line, error.message)));
    section(&mut out, "Failed and not yet resolved", lines.take(ERRORS_MAX));
    let mut changed: Vec<_> = ledger.changed.iter().collect();
    changed.sort_by_key(|(_, file)| std::cmp::Reverse(file.message));
    let lines = changed.iter().map(|(path, file)| item(&format!("{path} {}", digits(file.blob.as_deref()))));
    section(&mut out, "Files changed", lines.take(CHANGED_MAX));
    let commands = ledger.commands.iter().rev().map(|run| {
        let exit = run.exit.map_or("no exit code".to_owned(), |exit| format!("exit {exit}"));
        let output = run.output.as_deref().map(|name| format!(", {name}")).unwrap_or_default();
        item(&format!("`{}`: {exit}{output}", cut(&run.command, LINE_BYTES_MAX / 2)))
    });
    section(&mut out, "Commands run (newest first)", commands.take(COMMANDS_MAX));
    let resolved = ledger.errors.iter().rev().filter_map(|error| {
        let resolved = error.resolved.as_ref()?;
        let by = if resolved.by.is_empty() { "itself".to_owned() } else { resolved.by.join(", ") };
        Some(item(&format!("{}: {} → by {by}", error.call, error.line)))
    });
    section(&mut out, "Failed and resolved", resolved.take(ERRORS_MAX));
    notes(&mut out, "Decisions", &ledger.decisions);
    notes(&mut out, "Open points", &ledger.open);
    let mut read: Vec<_> = ledger.read.iter().collect();
    read.sort_by_key(|(_, file)| std::cmp::Reverse(file.message));
    let lines = read.iter().map(|(path, file)| item(&format!("{path} {}", digits(file.blob.as_deref()))));
    section(&mut out, "Files read (their contents are gone from here)", lines.take(READ_MAX));
    bounded(out)
}

fn frontier(out: &mut String, ledger: &Ledger) {
    let frontier = &ledger.frontier;
    let mut lines = Vec::new();
    if !frontier.said.is_empty() {
        lines.push(frontier.said.clone());
    }
    lines.extend(frontier.calls.iter().map(|step| match &step.result {
        Some(result) => item(&format!("{}: done → {result}", step.call)),
        None => item(&format!("{}: not answered", step.call)),
    }));
    section(out, &format!("Where the work stands (message {})", frontier.message), lines);
}

fn notes(out: &mut String, name: &str, notes: &[Note]) {
    let lines = notes.iter().rev().map(|note| item(&note.text.replace('\n', " ")));
    section(out, name, lines.take(NOTES_MAX));
}

fn section(out: &mut String, name: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().filter(|line| !line.trim().is_empty()).peekable();
    if lines.peek().is_none() {
        return;
    }
    write!(out, "## {name}\n\n").expect("writing to a string cannot fail");
    for line in lines {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
}

fn item(text: &str) -> String {
    format!("- {}", cut(text, LINE_BYTES_MAX))
}

fn digits(blob: Option<&str>) -> &str {
    blob.map_or("", |blob| cut(blob, DIGITS))
}

fn bounded(text: String) -> String {
    const LEFT_OUT: &str = "(There is more: it was left out here.)\n";
    if text.len() <= BYTES_MAX {
        return text;
    }
    let kept = cut(&text, BYTES_MAX - LEFT_OUT.len());
    let end = kept.rfind('\n').map_or(kept.len(), |at| at + 1);
    format!("{}{LEFT_OUT}", &kept[..end])
}
