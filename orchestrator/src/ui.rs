//! What goes to the terminal: data on stdout, talk on stderr, JSON alone on stdout with `--json`.
//!
//! Everything that is printed passes through [`clean()`], so that a file name, a branch, a message of a model
//! or the output of a command cannot move the cursor, change the title or hide text.

pub(crate) mod clean;

use std::io::{IsTerminal, Write};

use serde::Serialize;

pub(crate) use clean::clean;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A colour with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As it is.
    Plain,
    /// It went well; an added line.
    Good,
    /// It went badly; a removed line.
    Bad,
    /// It waits for somebody.
    Wait,
    /// Of less interest.
    Dim,
}

/// The two streams and how to write to them.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    /// Only JSON on stdout.
    pub(crate) json: bool,
    /// Number of `-v` less number of `-q`.
    pub(crate) loudness: i8,
    /// Questions are answered with yes.
    pub(crate) yes: bool,
    color: bool,
}

impl Ui {
    /// A terminal as the flags and the environment want it.
    pub(crate) fn new(json: bool, loudness: i8, yes: bool, color: Color, no_color: bool) -> Self {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !no_color && std::io::stdout().is_terminal(),
        };
        Self { json, loudness, yes, color }
    }

    /// Can a human be asked?
    pub(crate) fn interactive(&self) -> bool {
        !self.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Does stderr show progress in place?
    pub(crate) fn live(&self) -> bool {
        !self.json && self.loudness >= 0 && std::io::stderr().is_terminal()
    }

    /// Writes text to stdout as it is but for control characters; a reader that has gone is no error.
    pub(crate) fn data(&self, text: &str) {
        write(&mut std::io::stdout().lock(), &clean(text));
    }

    /// Writes bytes to stdout unchanged: for what a program asked for (a plan, a schema, a man page).
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).ok();
    }

    /// Writes one JSON value on a line of its own.
    pub(crate) fn object(&self, value: &impl Serialize) {
        let text = serde_json::to_string(value).expect("views have string keys");
        self.raw(format!("{text}\n").as_bytes());
    }

    /// Writes a line of spans to stdout.
    pub(crate) fn line(&self, spans: &[(Style, &str)]) {
        write(&mut std::io::stdout().lock(), &self.painted(spans.iter().copied()));
    }

    /// Writes many lines of spans to stdout, in one go.
    pub(crate) fn lines(&self, lines: &[Vec<(Style, String)>]) {
        let painted =
            |line: &Vec<(Style, String)>| self.painted(line.iter().map(|(style, span)| (*style, span.as_str())));
        write(&mut std::io::stdout().lock(), &lines.iter().map(painted).collect::<String>());
    }

    fn painted<'a>(&self, spans: impl Iterator<Item = (Style, &'a str)>) -> String {
        let mut text: String = spans.map(|(style, span)| self.paint(style, span)).collect();
        text.push('\n');
        text
    }

    /// Writes a diff to stdout, with added and removed lines in their colours.
    pub(crate) fn diff(&self, text: &str) {
        for line in text.lines() {
            let style = match line.as_bytes().first() {
                Some(b'+') => Style::Good,
                Some(b'-') => Style::Bad,
                Some(b'@') => Style::Dim,
                Some(_) | None => Style::Plain,
            };
            self.line(&[(style, line)]);
        }
    }

    /// Says a line on stderr, unless quiet.
    pub(crate) fn talk(&self, text: &str) {
        if self.loudness >= 0 {
            self.warn(text);
        }
    }

    /// Says a line on stderr, quiet or not.
    pub(crate) fn warn(&self, text: &str) {
        write(&mut std::io::stderr().lock(), &format!("{}\n", clean(text.trim_end_matches('\n'))));
    }

    /// Asks for a line of text on the terminal; `None` at the end of input.
    pub(crate) fn prompt(&self, question: &str) -> Option<String> {
        write(&mut std::io::stderr().lock(), &clean(question));
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim().to_owned()),
        }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        let text = clean(text);
        let code = match style {
            Style::Plain => return text.into_owned(),
            Style::Good => "32",
            Style::Bad => "31",
            Style::Wait => "33",
            Style::Dim => "2",
        };
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.into_owned() }
    }
}

/// Writes and flushes; a closed pipe or a full terminal must not end a run.
fn write(to: &mut impl Write, text: &str) {
    to.write_all(text.as_bytes()).and_then(|()| to.flush()).ok();
}
