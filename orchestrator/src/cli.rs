//! The command line: what can be typed, and what is done with it.
//!
//! Two stages: clap reads what was typed into `…Args`; a subcommand's `run` asks the [`session::Session`] what
//! it means here (repository, configuration, run). One file per subcommand.

mod error;
mod later;
mod pick;
mod progress;
mod session;
mod verb;

mod agents;
mod answer;
mod approve;
mod brief;
mod clean;
mod comment;
mod completions;
mod conflicts;
mod cost;
mod demo;
mod doctor;
mod init;
mod log;
mod man;
mod merge;
mod path;
mod plan;
mod probe;
mod redo;
mod reject;
mod restore;
mod resume;
mod retry;
mod revert;
mod review;
mod run;
mod runs;
mod schema;
mod scripted;
mod status;
mod stop;
mod stream;
mod trust;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use crate::ui::{Color, Ui};
use error::{CliError, Exit};
use session::Session;

/// Runs a large change to a git repository as parallel jobs.
///
/// A plan's steps are done by workers (a command, a rewrite rule or a model with tools), each in a worktree of
/// its own; their commits are reviewed, checked and landed on one branch, one after the other.
#[derive(Debug, Parser)]
#[command(name = "wattle", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The repository; the default is the one around the current directory.
    #[arg(short = 'C', long, global = true, value_name = "PATH")]
    pub(crate) repo: Option<PathBuf>,
    /// The run: an id, the beginning of one, or a name; the default is the newest.
    #[arg(short, long, global = true, value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Print JSON on stdout, and nothing else there.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say less.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) quiet: u8,
    /// Say more; twice for diagnostics.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Where Wattle keeps its state.
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Answer every question with yes.
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Trust(trust::TrustArgs),
    Plan(plan::PlanArgs),
    Run(run::RunArgs),
    Runs(runs::RunsArgs),
    Brief(brief::BriefArgs),
    Status(status::StatusArgs),
    Log(log::LogArgs),
    Review(review::ReviewArgs),
    Approve(approve::ApproveArgs),
    Comment(comment::CommentArgs),
    Redo(redo::RedoArgs),
    Reject(reject::RejectArgs),
    Answer(answer::AnswerArgs),
    Retry(retry::RetryArgs),
    Stop(stop::StopArgs),
    Resume(resume::ResumeArgs),
    Merge(merge::MergeArgs),
    Revert(revert::RevertArgs),
    Conflicts(conflicts::ConflictsArgs),
    Path(path::PathArgs),
    Restore(restore::RestoreArgs),
    Cost(cost::CostArgs),
    Clean(clean::CleanArgs),
    Doctor(doctor::DoctorArgs),
    Schema(schema::SchemaArgs),
    Scripted(scripted::ScriptedArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    #[command(hide = true, name = crate::run::overlay::PROBE)]
    ProbeSlots(probe::ProbeArgs),
    #[command(flatten)]
    Later(later::Later),
}

/// What a command ends with.
type Done = Result<Exit, CliError>;

/// Reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let json = typed.iter().any(|word| word == "--json");
    let exit = match Cli::try_parse_from(&typed) {
        Ok(cli) => run(cli),
        Err(error) => refuse(&error, json),
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> Exit {
    diagnostics(cli.global.verbose);
    let session = Session::new(cli.global);
    let done = match cli.command {
        Command::Demo(args) => demo::run(&session, &args),
        Command::Init(args) => init::run(&session, &args),
        Command::Trust(args) => trust::run(&session, &args),
        Command::Plan(args) => plan::run(&session, &args),
        Command::Run(args) => run::run(&session, &args),
        Command::Runs(args) => runs::run(&session, &args),
        Command::Brief(args) => brief::run(&session, &args),
        Command::Status(args) => status::run(&session, &args),
        Command::Log(args) => log::run(&session, &args),
        Command::Review(args) => review::run(&session, &args),
        Command::Approve(args) => approve::run(&session, &args),
        Command::Comment(args) => comment::run(&session, &args),
        Command::Redo(args) => redo::run(&session, &args),
        Command::Reject(args) => reject::run(&session, &args),
        Command::Answer(args) => answer::run(&session, &args),
        Command::Retry(args) => retry::run(&session, &args),
        Command::Stop(args) => stop::run(&session, &args),
        Command::Resume(args) => resume::run(&session, &args),
        Command::Merge(args) => merge::run(&session, &args),
        Command::Revert(args) => revert::run(&session, &args),
        Command::Conflicts(args) => conflicts::run(&session, &args),
        Command::Path(args) => path::run(&session, &args),
        Command::Restore(args) => restore::run(&session, &args),
        Command::Cost(args) => cost::run(&session, &args),
        Command::Clean(args) => clean::run(&session, &args),
        Command::Doctor(args) => doctor::run(&session, &args),
        Command::Schema(args) => schema::run(&session, &args),
        Command::Scripted(args) => scripted::run(&session, &args),
        Command::Completions(args) => completions::run(&session, &args),
        Command::Man(args) => man::run(&session, &args),
        Command::ProbeSlots(args) => probe::run(&session, &args),
        Command::Later(later) => Err(later.error()),
    };
    done.unwrap_or_else(|error| error.report(&session.ui))
}

/// Diagnostics on stderr, with `-v`: warnings and notes of ours; with `-vv` everything.
fn diagnostics(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => "info",
        _ => "wattle=trace,wattle_worker=trace,wattle_workspace=trace,debug",
    };
    let written = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(level).try_init();
    written.expect("this is the only subscriber");
}

/// What clap has to say: help and version are data, everything else is a mistake of the user.
fn refuse(error: &clap::Error, json: bool) -> Exit {
    if !error.use_stderr() {
        error.print().ok();
        return Exit::Reached;
    }
    if !json {
        error.print().ok();
        return Exit::Usage;
    }
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    CliError::usage(message).report(&Ui::new(true, 0, false, Color::Never, true))
}

/// The whole command line, for completions and the man page.
fn grammar() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }
}
