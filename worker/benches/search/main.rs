//! Grep and Glob of a worker against `rg` and `fd`, on a tree of 50,000 files.
//!
//! `cargo bench -p wattle-worker --bench search -- [FILTER]`. Both sides look for the same in the same files, in turn,
//! with the files in the system's memory; each has its best threads. What is compared is the time until the whole
//! answer is there: of ours from the call of the tool to its result, sorted, counted and cut to a window; of theirs
//! from the start of the process to its end, with the output read, unsorted. So their process start counts, some
//! milliseconds, and so does our sorting. Both have to find the same number of files, or nothing is told.

mod tree;

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wattle_worker::bench::Searching;

/// Times each side runs; the median counts.
const ROUNDS: usize = 5;
/// What is to be reached: ours over theirs.
const GOAL: f64 = 1.2;

/// Whatever stops a measurement; the bench names it and goes on with the next.
type Res<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One question, put to both.
struct Case {
    name: &'static str,
    tool: &'static str,
    input: &'static str,
    theirs: &'static [&'static str],
}

/// What both see: hidden files, but nothing that .gitignore excludes. The tree has a `.git`, so both read it.
const RG: &[&str] = &["rg", "--no-config", "--hidden", "--glob=!.git", "--color=never"];
const FD: &[&str] = &["fdfind", "--hidden", "--exclude=.git", "--color=never", "--type=f"];

const CASES: &[Case] = &[
    Case {
        name: "literal",
        tool: "Grep",
        input: r#"{"pattern":"resolve_checkpoint"}"#,
        theirs: &["-l", "resolve_checkpoint", "."],
    },
    Case {
        name: "regex",
        tool: "Grep",
        input: r#"{"pattern":"fn \\w+_(alpha|gamma)\\d+\\("}"#,
        theirs: &["-l", r"fn \w+_(alpha|gamma)\d+\(", "."],
    },
    Case {
        name: "ignore case",
        tool: "Grep",
        input: r#"{"pattern":"RESOLVE_checkpoint","-i":true}"#,
        theirs: &["-l", "-i", "RESOLVE_checkpoint", "."],
    },
    Case {
        name: "content with context",
        tool: "Grep",
        input: r#"{"pattern":"resolve_checkpoint","output_mode":"content","-C":2}"#,
        theirs: &["-n", "-C2", "--no-heading", "--no-context-separator", "resolve_checkpoint", "."],
    },
    Case {
        name: "count",
        tool: "Grep",
        input: r#"{"pattern":"let value","output_mode":"count"}"#,
        theirs: &["-c", "let value", "."],
    },
    Case {
        name: "only python",
        tool: "Grep",
        input: r#"{"pattern":"resolve_checkpoint","glob":"*.py"}"#,
        theirs: &["-l", "-tpy", "resolve_checkpoint", "."],
    },
    Case {
        name: "no match",
        tool: "Grep",
        input: r#"{"pattern":"nobody_wrote_this"}"#,
        theirs: &["-l", "nobody_wrote_this", "."],
    },
    Case { name: "glob **/*.rs", tool: "Glob", input: r#"{"pattern":"**/*.rs"}"#, theirs: &["--glob", "*.rs", "."] },
    Case {
        name: "glob src/**/mod_*.py",
        tool: "Glob",
        input: r#"{"pattern":"src/**/mod_*.py"}"#,
        theirs: &["--glob", "mod_*.py", "src"],
    },
];

fn say(text: &str) {
    // A closed pipe ends the reading of the table, not the measuring.
    writeln!(io::stdout().lock(), "{text}").ok();
}

fn main() -> ExitCode {
    // Cargo hands every bench `--bench`; what it hands on of the user's comes after.
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match all(&filters) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("not measured: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn all(filters: &[String]) -> Res<()> {
    let dir = tempfile::tempdir()?;
    let made = tree::make(dir.path())?;
    say(&format!("{} files, {} MiB", made.files, made.bytes >> 20));
    let searching = Searching::new(dir.path()).ok_or("the tree cannot be opened")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    say("| what | found | ours ms | theirs ms | ratio | goal | |\n|---|---|---|---|---|---|---|");
    for case in CASES.iter().filter(|case| filters.is_empty() || filters.iter().any(|part| case.name.contains(part))) {
        let measured = measure(&runtime, &searching, dir.path(), case);
        match measured {
            Ok(row) => say(&row),
            Err(error) => say(&format!("| {} | not measured: {error} | | | | | |", case.name)),
        }
    }
    Ok(())
}

fn measure(runtime: &tokio::runtime::Runtime, searching: &Searching, root: &Path, case: &Case) -> Res<String> {
    let ours = || -> Res<(Duration, String)> {
        let start = Instant::now();
        let answer = runtime.block_on(searching.call(case.tool, case.input))?;
        Ok((start.elapsed(), answer))
    };
    let (program, flags) = if case.tool == "Grep" { ("rg", RG) } else { ("fdfind", FD) };
    let theirs = || -> Res<(Duration, String)> {
        let start = Instant::now();
        let output = run(program, &flags[1..], case.theirs, root)?;
        Ok((start.elapsed(), output))
    };
    // The first of each warms the caches, and tells whether both have found the same.
    let (answer, output) = (ours()?.1, theirs()?.1);
    let (found, expected) = (found(&answer), output.lines().count());
    if found != expected {
        return Err(format!("{found} found by ours, {expected} by theirs").into());
    }
    let (mut mine, mut other) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            mine.push(ours()?.0);
            other.push(theirs()?.0);
        } else {
            other.push(theirs()?.0);
            mine.push(ours()?.0);
        }
    }
    let (mine, other) = (median(mine), median(other));
    let ratio = mine / other;
    let mark = if ratio <= GOAL { "reached" } else { "MISSED" };
    Ok(format!("| {} | {found} | {mine:.1} | {other:.1} | {ratio:.2} | {GOAL} | {mark} |", case.name))
}

/// The number in "N to M of TOTAL", else the lines of the answer.
fn found(answer: &str) -> usize {
    let last = answer.lines().last().unwrap_or_default();
    let total = last.starts_with('(').then(|| last.split(" of ").nth(1)?.split(' ').next()?.parse().ok());
    let none = answer.starts_with("No ");
    total.flatten().unwrap_or(if none { 0 } else { answer.lines().count() })
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

#[expect(clippy::disallowed_methods, reason = "a bench starts what it compares with")]
fn run(program: &str, flags: &[&str], arguments: &[&str], root: &Path) -> Res<String> {
    let mut command = std::process::Command::new(program);
    let output = command.args(flags).args(arguments).current_dir(root).output();
    let output = output.map_err(|error| format!("{program}: {error} (Debian: ripgrep, fd-find)"))?;
    let text = String::from_utf8(output.stdout)?;
    // Exit code 1 is "no match".
    if output.status.code().is_none_or(|code| code > 1) {
        return Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(text)
}
