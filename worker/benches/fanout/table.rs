//! The table: a line for each number, with its goal.

use std::io::{self, Write};

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    /// What was measured, and on what.
    pub(crate) what: String,
    /// The figure.
    pub(crate) measured: String,
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

    /// Adds a line, and prints it at once.
    pub(crate) fn add(&mut self, line: Line) {
        self.say(&format!("  {}: {}", line.what, line.measured));
        self.lines.push(line);
    }

    /// Prints the table as Markdown.
    pub(crate) fn print(&self) {
        self.say("\n| what | measured | goal | |\n|---|---|---|---|");
        for Line { what, measured, goal, reached } in &self.lines {
            let mark = match reached {
                Some(true) => "reached",
                Some(false) => "MISSED",
                None => "",
            };
            self.say(&format!("| {what} | {measured} | {goal} | {mark} |"));
        }
    }
}
