//! The table: a line for each number, with its goal and git's own figure.

use std::io::{self, Write};

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// What was measured, and on what.
    pub(crate) what: String,
    /// Our figure.
    pub(crate) ours: String,
    /// git's own, and how it was got.
    pub(crate) git: String,
    /// Ours against git's, or against the goal.
    pub(crate) result: String,
    /// What is to be reached.
    pub(crate) goal: &'static str,
    /// Whether it is; none where the line only tells something.
    pub(crate) reached: Option<bool>,
}

/// All lines so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// Prints a line of text at once.
    pub(crate) fn say(&self, text: &str) {
        // A closed pipe ends the reading of the table, not the measuring.
        writeln!(io::stdout().lock(), "{text}").ok();
    }

    /// Adds a line, and prints it at once: the whole takes minutes.
    pub(crate) fn add(&mut self, line: Line) {
        self.say(&format!("  {}: {} | {} | {}", line.what, line.ours, line.git, line.result));
        self.lines.push(line);
    }

    /// Prints the table as Markdown.
    pub(crate) fn print(&self) {
        self.say("\n| what | Wattle | git | result | goal | |\n|---|---|---|---|---|---|");
        for line in &self.lines {
            let mark = match line.reached {
                Some(true) => "reached",
                Some(false) => "MISSED",
                None => "",
            };
            let Line { what, ours, git, result, goal, .. } = line;
            self.say(&format!("| {what} | {ours} | {git} | {result} | {goal} | {mark} |"));
        }
    }
}
