//! `wattle run`: executes a plan, or plans a task and executes that.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wattle_planner::{Frame, Plan, parse_plan};

use super::Done;
use super::agents;
use super::error::{CliError, Exit};
use super::later::not_built;
use super::plan;
use super::progress::Progress;
use super::session::Session;
use super::stream::{self, OutputFormat, StreamOut};
use crate::config::amount::{parse_count, parse_parallel};
use crate::config::choice::{Approve, OnInput, Until};
use crate::config::file::Clean;
use crate::config::money::{format_usd, parse_usd};
use crate::config::{self, Effective, Flags, Keep, frame};
use crate::ids::RunId;
use crate::journal::{Event, Glance, Reader};
use crate::options::RunOptions;
use crate::report::preview;
use crate::report::reason::counted;
use crate::report::status::{money, waiting};
use crate::run::begin::{RunEnd, RunRequest, agents_of, start};
use crate::run::clean::retain;
use crate::run::context::Context;
use crate::run::lead::{LeadPlan, LeadRequest, LeadTalk, lead};
use crate::run::limits::Caps;
use crate::run::overlay;
use crate::state::run::Run;
use crate::ui::Style;

/// Execute a plan, or plan a task and execute that.
#[derive(Debug, clap::Args)]
#[command(override_usage = "wattle run [OPTIONS] <TASK>\n       wattle run [OPTIONS] --file <PLAN>")]
pub(crate) struct RunArgs {
    /// What is to be done; the lead planner makes a plan of it.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    task: Option<String>,
    /// The plan file.
    #[arg(short, long, value_name = "PLAN")]
    file: Option<PathBuf>,
    /// The end to reach [default: landed with --approve auto, else review].
    #[arg(long)]
    until: Option<Until>,
    /// Who lets a commit into the merge queue.
    #[arg(long)]
    approve: Option<Approve>,
    /// Branch to land on; made from the base if absent.
    #[arg(long, value_name = "BRANCH")]
    target: Option<String>,
    /// Revision to start from.
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Workers at once.
    #[arg(long, value_name = "N", value_parser = parse_parallel)]
    jobs: Option<u32>,
    /// Model of the steps that name none.
    #[arg(long, value_name = "PROVIDER/NAME")]
    model: Option<String>,
    /// Money cap of the run, in dollars.
    #[arg(long, value_name = "X", value_parser = parse_usd)]
    max_usd: Option<u64>,
    /// Token cap of the run, input and output together, like 250k or 2M.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max_tokens: Option<u64>,
    /// Name of the run, for people.
    #[arg(long)]
    name: Option<String>,
    /// Show what would be done; never asks a model.
    #[arg(long)]
    dry_run: bool,
    /// What a worker's question does.
    #[arg(long)]
    on_input: Option<OnInput>,
    /// Form of the output; `stream-json` has a line for every message of every worker.
    #[arg(long, value_name = "FORMAT")]
    output_format: Option<OutputFormat>,
    /// Run without walls (not built yet).
    #[arg(long, hide = true)]
    dangerously_no_sandbox: bool,
}

/// A plan and where it comes from.
struct Source {
    name: String,
    text: String,
    folder: PathBuf,
    lead_usage: Vec<wattle_worker::host::Usage>,
    planning: Option<RunId>,
    talk: Option<LeadTalk>,
}

/// Executes.
pub(crate) fn run(session: &Session, args: &RunArgs) -> Done {
    match args.output_format {
        None | Some(OutputFormat::Text) => execute(session, args),
        Some(OutputFormat::Json) => execute(&session.in_json(), args),
        Some(OutputFormat::StreamJson) => {
            let session = session.in_json();
            stream::or_failed(&session, execute(&session, args))
        }
    }
}

fn execute(session: &Session, args: &RunArgs) -> Done {
    if args.dangerously_no_sandbox {
        return Err(not_built("--dangerously-no-sandbox"));
    }
    let task = args.task.as_deref().map(not_a_file).transpose()?;
    let repo = session.repo()?;
    let config = session.config(&repo, &flags(args))?;
    let ctx = session.context(repo)?;
    let source = match (&args.file, task) {
        (Some(path), _) => read_plan(path, &config)?,
        (None, Some(task)) if args.dry_run => {
            session.ui.talk(&format!("the lead planner would be asked: {task}"));
            return Ok(Exit::Reached);
        }
        (None, task) => ask_lead(session, &ctx, &config, args, task.unwrap_or_default())?,
    };
    let (source, agreed) = settle(session, &ctx.repo, args, source, &config)?;
    let plan = parse_plan(&source.name, &source.text)?;
    let options = options(args, &config, &plan);
    let asked = || agents::asked(&plan, options.model.as_deref(), |_| true);
    agents::priced(options.nano_usd_max, options.tokens_max, &config.prices, asked())?;
    if args.dry_run {
        agents_of(&ctx, &source.name, &plan, &options)?;
        plan::show(session, &ctx.repo, &source.text, &config, &source.lead_usage)?;
        return Ok(Exit::Reached);
    }
    let files = rule_files(&plan, &source, ctx.repo.worktree())?;
    let stop_at_plan = options.until == crate::options::Until::Plan || !agreed;
    let asks = asked().next().is_some();
    let mut cap = options.nano_usd_max.filter(|_| asks).map(|most| format!("money cap {}", format_usd(most)));
    let request = RunRequest {
        plan_name: source.name,
        plan_text: source.text.clone(),
        files,
        options,
        lead_usage: source.lead_usage,
        planning: source.planning,
        talk: source.talk,
        stop_at_plan,
        folder: session.start()?,
    };
    if !stop_at_plan {
        overlay::enter(&ctx.repo, request.options.slots);
    }
    let mut screen = Screen::new(session, &ctx, args, plan.steps().len())?;
    let end = start(&ctx, request, &mut |event| {
        if let Some(cap) = cap.take() {
            session.ui.talk(&cap);
        }
        screen.show(event);
    });
    let lines = screen.lines();
    let end = end?;
    if let Some(lines) = lines {
        return lines.ended(&ctx, &end);
    }
    if stop_at_plan && !session.ui.json {
        session.ui.raw(source.text.as_bytes());
        session.ui.talk(&format!("the plan is ready: wattle resume --run {} executes it", end.run));
    }
    ended(session, &ctx, &end)
}

fn flags(args: &RunArgs) -> Flags {
    Flags {
        jobs: args.jobs,
        max_nano_usd: args.max_usd,
        max_tokens: args.max_tokens,
        model: args.model.clone(),
        approve: args.approve,
        on_input: args.on_input,
        ..Flags::default()
    }
}

/// Where the events of a run are shown.
enum Screen<'u> {
    Progress(Progress<'u>),
    Lines(Box<StreamOut<'u>>),
}

impl<'u> Screen<'u> {
    fn new(session: &'u Session, ctx: &Context, args: &RunArgs, steps: usize) -> Result<Self, CliError> {
        match args.output_format {
            Some(OutputFormat::StreamJson) => Ok(Self::Lines(Box::new(StreamOut::new(session, ctx)?))),
            Some(OutputFormat::Text | OutputFormat::Json) | None => {
                Ok(Self::Progress(Progress::new(&session.ui, steps)))
            }
        }
    }

    fn show(&mut self, event: &Event) {
        match self {
            Self::Progress(progress) => progress.show(event),
            Self::Lines(lines) => lines.show(event),
        }
    }

    /// What has a last line to print; progress in place is over.
    fn lines(self) -> Option<Box<StreamOut<'u>>> {
        match self {
            Self::Progress(_) => None,
            Self::Lines(lines) => Some(lines),
        }
    }
}

/// A task that names a file is a mistake.
fn not_a_file(task: &str) -> Result<&str, CliError> {
    if Path::new(task).is_file() {
        return Err(CliError::usage(format!("`{task}` is a file, not a task")).hint(format!("use -f {task}")));
    }
    Ok(task)
}

fn read_plan(path: &Path, config: &Effective) -> Result<Source, CliError> {
    let read =
        if path.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = read.map_err(|error| CliError::file("read", path, &error))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let text = frame::complete(&text, &config.frame);
    let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
    Ok(Source { name, text, folder, lead_usage: Vec::new(), planning: None, talk: None })
}

/// Asks the lead planner for the steps; everything else of the plan comes from flags and configuration.
fn ask_lead(
    session: &Session,
    ctx: &Context,
    config: &Effective,
    args: &RunArgs,
    task: &str,
) -> Result<Source, CliError> {
    let made = lead_plan(session, ctx, config, task, args.base.as_deref())?;
    let text = frame::complete(&made.yaml, &config.frame);
    let (name, folder) = ("the lead's plan".to_owned(), session.start()?);
    let LeadPlan { usage, planning, talk, .. } = made;
    Ok(Source { name, text, folder, lead_usage: usage, planning: Some(planning), talk: Some(talk) })
}

/// The lead's plan and what it cost.
pub(super) fn lead_plan(
    session: &Session,
    ctx: &Context,
    config: &Effective,
    task: &str,
    base: Option<&str>,
) -> Result<LeadPlan, CliError> {
    let caps = Caps { tokens: config.tokens.with(None), nano_usd: config.nano_usd.with(None) };
    let model = config.model.as_deref();
    config.models.endpoint(model)?;
    agents::priced(caps.nano_usd, caps.tokens, &config.prices, std::iter::once(model))?;
    let base = match base {
        Some(rev) => ctx.repo.resolve(rev)?.ok_or_else(|| CliError::usage(format!("`{rev}` is no revision")))?,
        None => plan::head(&ctx.repo)?,
    };
    // What the configuration adds to the plan later; a check that the lead proposes comes on top of it.
    let later_checks = config.frame.get("checks").filter(|checks| !checks.is_null()).map(ToString::to_string);
    let frame = Frame { later_checks, ..Frame::default() };
    let request = LeadRequest { task, frame, base, model, caps, folder: &session.start()? };
    session.ui.talk(&preview::before_lead(caps.nano_usd, caps.tokens));
    let made = lead(ctx, request)?;
    for (number, reason) in (1..).zip(&made.sent_back) {
        let number: usize = number;
        session.ui.talk(&format!("draft {number} was sent back to the lead:"));
        reason.lines().for_each(|line| session.ui.talk(&format!("  {line}")));
    }
    Ok(made)
}

fn options(args: &RunArgs, config: &Effective, plan: &Plan) -> RunOptions {
    use crate::options as o;
    let limits = plan.limits();
    let until = args.until.unwrap_or(match config.approve {
        Approve::Auto => Until::Landed,
        Approve::Manual => Until::Review,
    });
    RunOptions {
        name: args.name.clone(),
        target: args.target.clone(),
        base: args.base.clone(),
        jobs: config.jobs.with(limits.jobs).unwrap_or(1),
        checks: config.checks.with(limits.checks).unwrap_or(1),
        approve: match config.approve {
            Approve::Manual => o::Approve::Manual,
            Approve::Auto => o::Approve::Auto,
        },
        until: match until {
            Until::Plan => o::Until::Plan,
            Until::Review => o::Until::Review,
            Until::Landed => o::Until::Landed,
        },
        until_explicit: args.until.is_some(),
        model: config.model.clone(),
        nano_usd_max: config.nano_usd.with(limits.nano_usd),
        tokens_max: config.tokens.with(limits.tokens),
        disk_bytes_max: config.disk_bytes.with(limits.disk_bytes),
        clean_ignored: config.clean == Clean::Ignored,
        slots: config.slots,
        on_input: match config.on_input {
            OnInput::Wait => o::OnInput::Wait,
            OnInput::Deny => o::OnInput::Deny,
            OnInput::Fail => o::OnInput::Fail,
        },
    }
}

/// The rule files that a plan names: beside the plan, else here, else in the checkout.
fn rule_files(plan: &Plan, source: &Source, root: Option<&Path>) -> Result<BTreeMap<String, Vec<u8>>, CliError> {
    let mut files = BTreeMap::new();
    for name in plan.files() {
        let places = [Some(source.folder.as_path()), Some(Path::new(".")), root];
        let path = places.into_iter().flatten().map(|folder| folder.join(name)).find(|path| path.is_file());
        let path = path.ok_or_else(|| {
            CliError::new(Exit::Invalid, "plan", format!("find the rule file {name} that {} names", source.name))
                .hint("a path is relative to the plan file")
        })?;
        let bytes = std::fs::read(&path).map_err(|error| CliError::file("read", &path, &error))?;
        files.insert(name.to_owned(), bytes);
    }
    Ok(files)
}

/// May a plan be executed at once? A plan file may; a lead's plan only after a human has seen it (and
/// perhaps edited it), or with `--yes`.
fn settle(
    session: &Session,
    repo: &wattle_workspace::Repo,
    args: &RunArgs,
    mut source: Source,
    config: &Effective,
) -> Result<(Source, bool), CliError> {
    if args.file.is_some() || session.ui.yes {
        return Ok((source, true));
    }
    if !session.ui.interactive() || args.until == Some(Until::Plan) {
        return Ok((source, false));
    }
    loop {
        match plan::show(session, repo, &source.text, config, &source.lead_usage) {
            Ok(()) => {}
            // A mistake of the edit: it is shown, and edited again.
            Err(error) => drop(error.report(&session.ui)),
        }
        let answer = session.ui.prompt("[r]un, [e]dit, or keep the plan and [q]uit? ");
        match answer.as_deref() {
            Some("r") => return Ok((source, true)),
            Some("e") => source.text = edited(session, &source.text)?,
            Some(_) | None => return Ok((source, false)),
        }
    }
}

/// The plan after its user has edited it.
fn edited(session: &Session, text: &str) -> Result<String, CliError> {
    let editor = session.env.get("VISUAL").or_else(|| session.env.get("EDITOR")).unwrap_or("vi");
    let failed = |error: &std::io::Error| CliError::file("edit", Path::new("plan.yaml"), error);
    let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
    let file = folder.path().join("plan.yaml");
    std::fs::write(&file, text).map_err(|error| failed(&error))?;
    if !wattle_worker::process::edit(editor, &file).map_err(|error| failed(&error))? {
        session.ui.talk(&format!("{editor} failed: the plan is as it was"));
        return Ok(text.to_owned());
    }
    std::fs::read_to_string(&file).map_err(|error| failed(&error))
}

/// Says what a run was left in, and what to do next.
pub(super) fn ended(session: &Session, ctx: &Context, end: &RunEnd) -> Done {
    if !session.ui.json
        && let Some(reader) = Reader::open(ctx.repo.state_dir())?
    {
        let view = reader.replay(&end.run)?;
        let state = format!("{} ", view.state);
        let style = crate::report::status::style_of_run(view.state.as_str());
        let landed = view.steps.values().filter(|step| step.landed.is_some()).count();
        let rest = format!(
            "{}: {landed} of {} landed on {}, {}",
            view.started.name,
            counted(view.steps.len(), "step"),
            view.started.target,
            money(&view.spent)
        );
        session.ui.line(&[(style, &state), (Style::Plain, &rest)]);
        for line in waiting(&Glance::of(&view)) {
            session.ui.line(&[(Style::Wait, &line)]);
        }
    }
    if end.state == Run::Completed {
        retention(session, ctx);
    }
    Ok(Exit::Run(end.exit))
}

/// Frees what is kept no longer, and says so. The run is over and stays what it is, whatever comes of this.
fn retention(session: &Session, ctx: &Context) {
    let cleaned = session.places(&ctx.repo).and_then(|places| {
        let keep = config::keep(&session.env, &places)?;
        Ok(retain(ctx, keep)?)
    });
    let cleaned = match cleaned {
        Ok(cleaned) => cleaned,
        Err(error) => {
            tracing::warn!(?error, "what is kept no longer was not freed");
            return;
        }
    };
    let freed = |kind: &str| cleaned.freed.iter().filter(|item| item.kind == kind).count();
    let (steps, aside) = (freed("branch"), freed("salvage"));
    if steps + aside > 0 {
        let Keep { days, count } = cleaned.keep;
        session.ui.talk(&format!(
            "freed the refs of {} and {} of completed runs: kept for {days} days, {count} at most (keys keep.days, \
             keep.count)",
            counted(steps, "step"),
            counted(aside, "salvaged commit"),
        ));
    }
}
