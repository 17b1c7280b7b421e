//! `wattle demo`: the whole product, offline: a small repository, a scripted model on loopback, a plan, workers
//! in parallel, a conflict that the checks catch and its worker mends, landings, and what to try next.

use std::path::{Path, PathBuf};

use wattle_worker::assignment::Bounds;
use wattle_worker::process::{self, Job};

use super::error::{CliError, Exit};
use super::progress::Progress;
use super::session::Session;
use super::{Done, plan, run as run_verb};
use crate::config::environment::Environment;
use crate::config::trust::Trust;
use crate::config::{Flags, PROJECT_FILE, choice, frame};
use crate::options::{Approve, OnInput, RunOptions, Until};
use crate::run::begin::{RunRequest, start};
use crate::ui::Style;

/// What the lead is asked.
const TASK: &str = "Rename total to sum_first_column everywhere, and add an invoice command with its documentation";
/// Workers at once: one for each step.
const JOBS: u32 = 4;
/// Bound on making the repository; it takes some 20 ms.
const MAKE_TIMEOUT_MS: u64 = 30_000;
/// The files of the repository.
const FILES: [(&str, &str); 9] = [
    ("README.md", include_str!("../../../fixtures/demo/repo/README.md")),
    ("lib/sums.sh", include_str!("../../../fixtures/demo/repo/lib/sums.sh")),
    ("bin/report.sh", include_str!("../../../fixtures/demo/repo/bin/report.sh")),
    ("bin/daily.sh", include_str!("../../../fixtures/demo/repo/bin/daily.sh")),
    ("data/orders.txt", include_str!("../../../fixtures/demo/repo/data/orders.txt")),
    ("tests/report.sh", include_str!("../../../fixtures/demo/repo/tests/report.sh")),
    ("tests/daily.sh", include_str!("../../../fixtures/demo/repo/tests/daily.sh")),
    ("check.sh", include_str!("../../../fixtures/demo/repo/check.sh")),
    (PROJECT_FILE, include_str!("../../../fixtures/demo/repo/.wattle/config.yaml")),
];
/// What the scripted model says.
const SCRIPT: &str = include_str!("../../../fixtures/demo/script.yaml");

/// Show the whole product offline, in a repository made for it.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Keep the repository, to look around in it.
    #[arg(long)]
    keep: bool,
}

/// Plays it.
pub(crate) fn run(session: &Session, args: &DemoArgs) -> Done {
    let failed = |error: std::io::Error| CliError::file("make", Path::new("a temporary directory"), &error);
    let folder = tempfile::Builder::new().prefix("wattle-demo-").tempdir().map_err(failed)?;
    let done = play(&stage(session, folder.path())?, folder.path());
    if args.keep {
        let kept = folder.keep();
        session.ui.talk(&next(&kept));
    } else {
        session.ui.talk("next: wattle demo --keep, and look around in it; then in a repository of yours: wattle init");
    }
    done
}

/// The session of the demo: a home, a state directory and a repository of its own.
fn stage(session: &Session, folder: &Path) -> Result<Session, CliError> {
    let repo = folder.join("orders");
    for (path, text) in
        FILES.iter().map(|(path, text)| (repo.join(path), text)).chain([(folder.join("script.yaml"), &SCRIPT)])
    {
        let parent = path.parent().expect("every file lies in the folder");
        std::fs::create_dir_all(parent).map_err(|error| CliError::file("make", parent, &error))?;
        std::fs::write(&path, text).map_err(|error| CliError::file("write", &path, &error))?;
    }
    let env = Environment::with_home(session.env.path(), folder);
    make_repository(&repo, &env)?;
    let mut global = session.global.clone();
    global.repo = Some(repo.clone());
    global.state_dir = Some(folder.join("state"));
    global.run = None;
    Trust::of(&folder.join("state")).add(FILES[8].1, &repo.join(PROJECT_FILE))?;
    Ok(Session { ui: session.ui.clone(), env, clock: session.clock.clone(), global })
}

fn make_repository(repo: &Path, env: &Environment) -> Result<(), CliError> {
    let identity = "-c user.name=Wattle -c user.email=demo@wattle.invalid -c commit.gpgsign=false";
    let script = format!("git init -q -b main && git add -A && git {identity} commit -qm 'Orders: report and daily'");
    let job = Job {
        run: script,
        dir: repo.to_owned(),
        env: env.for_children(),
        bounds: Bounds { timeout_ms: MAKE_TIMEOUT_MS, idle_ms: None, output_bytes_max: 4096 },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::file("start", repo, &error))?;
    let ended = runtime.block_on(process::run(&job, &tokio_util::sync::CancellationToken::new()));
    match ended.failure(&[0], &job.bounds) {
        None => Ok(()),
        Some((_, why)) => Err(CliError::new(Exit::Environment, "git", format!("make the demo's repository: {why}"))),
    }
}

fn play(session: &Session, folder: &Path) -> Done {
    let ui = &session.ui;
    let repo = session.repo()?;
    let script = format!("script:{}", folder.join("script.yaml").display());
    let flags =
        Flags { jobs: Some(JOBS), model: Some(script), approve: Some(choice::Approve::Auto), ..Flags::default() };
    let config = session.config(&repo, &flags)?;
    let ctx = session.context(repo)?;
    ui.talk(&format!("1. A small repository and a task: {TASK}"));
    let made = run_verb::lead_plan(session, &ctx, &config, TASK, None)?;
    ui.talk("2. The lead planner's plan:");
    plan::show(session, &ctx.repo, &made.yaml, &config, &made.usage)?;
    ui.talk("3. Workers in parallel, each in a worktree of its own; what passes its checks lands:");
    let text = frame::complete(&made.yaml, &config.frame);
    let steps = wattle_planner::parse_plan("plan.yaml", &text)?.steps().len();
    let request = RunRequest {
        plan_name: "plan.yaml".to_owned(),
        plan_text: text,
        files: Default::default(),
        options: options(&config),
        lead_usage: made.usage,
        planning: Some(made.planning),
        talk: Some(made.talk),
        stop_at_plan: false,
        folder: PathBuf::from(folder),
    };
    let mut progress = Progress::new(ui, steps);
    let end = start(&ctx, request, &mut |event| progress.show(event));
    drop(progress);
    let end = end?;
    if !ui.json {
        report(session, &ctx)?;
    }
    run_verb::ended(session, &ctx, &end)
}

fn options(config: &crate::config::Effective) -> RunOptions {
    RunOptions {
        name: Some("demo".to_owned()),
        target: None,
        base: None,
        jobs: JOBS,
        checks: 1,
        approve: Approve::Auto,
        until: Until::Landed,
        until_explicit: false,
        model: config.model.clone(),
        nano_usd_max: config.nano_usd.with(None),
        tokens_max: None,
        disk_bytes_max: None,
        clean_ignored: false,
        slots: Default::default(),
        on_input: OnInput::Fail,
    }
}

/// What has landed, as git sees it.
fn report(session: &Session, ctx: &crate::run::context::Context) -> Result<(), CliError> {
    session.ui.talk("4. What is on main now:");
    let mut tip = ctx.repo.resolve("main")?;
    let first = tip.clone();
    while let Some(commit) = tip {
        let subject = ctx.repo.message(&commit)?.lines().next().unwrap_or_default().to_owned();
        session.ui.line(&[(Style::Dim, commit.short()), (Style::Plain, &format!(" {subject}"))]);
        tip = ctx.repo.parents(&commit)?.into_iter().next();
        if tip.is_none()
            && let Some(first) = &first
        {
            let stat = ctx.repo.diff(&ctx.repo.tree_of(&commit)?, &ctx.repo.tree_of(first)?, true)?;
            session.ui.data(&stat);
        }
    }
    Ok(())
}

/// What to try in a demo that was kept.
fn next(folder: &Path) -> String {
    let repo = folder.join("orders");
    let state = folder.join("state");
    let wattle = format!("wattle -C {} --state-dir {}", repo.display(), state.display());
    [
        "what to try next:".to_owned(),
        format!("  {wattle} status"),
        format!("  {wattle} log invoice          # its conversation, the red check, the mend"),
        format!("  {wattle} cost --by model"),
        format!("  {wattle} clean --dry-run"),
        format!("  git -C {} log --graph --oneline", repo.display()),
    ]
    .join("\n")
}
