//! `wattle resume`: goes on with a run.

use wattle_planner::Work;

use super::Done;
use super::agents;
use super::error::Exit;
use super::progress::Progress;
use super::session::Session;
use super::verb::{Scene, scene};
use crate::config::amount::{parse_count, parse_parallel};
use crate::config::money::{format_usd, parse_usd};
use crate::journal::Glance;
use crate::report::status::{money, waiting};
use crate::run::begin::{Overrides, may_start, resume};
use crate::run::overlay;
use crate::state::Machine;
use crate::state::run::Run;
use crate::ui::Style;

/// Go on with a run.
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// Money cap of the whole run, in dollars.
    #[arg(long, value_name = "X", value_parser = parse_usd)]
    max_usd: Option<u64>,
    /// Token cap of the whole run, input and output together, like 250k or 2M.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max_tokens: Option<u64>,
    /// Workers at once.
    #[arg(long, value_name = "N", value_parser = parse_parallel)]
    jobs: Option<u32>,
    /// Model of the steps that name none.
    #[arg(long, value_name = "PROVIDER/NAME")]
    model: Option<String>,
    /// List what would run, the turns that are kept, and the price so far.
    #[arg(long)]
    dry_run: bool,
}

/// Goes on, or says what there is to do.
pub(crate) fn run(session: &Session, args: &ResumeArgs) -> Done {
    let scene = scene(session, true)?;
    if args.dry_run {
        list(session, &scene);
        return Ok(Exit::Reached);
    }
    if scene.view.state == Run::Completed && scene.view.steps.values().all(|record| record.state.terminal()) {
        session.ui.talk("nothing is left to do");
        return Ok(Exit::Reached);
    }
    let overrides = Overrides {
        jobs: args.jobs,
        nano_usd_max: args.max_usd,
        tokens_max: args.max_tokens,
        model: args.model.clone(),
        merge: None,
        folder: session.start()?,
    };
    affordable(&scene, &overrides)?;
    drive(session, &scene, &overrides)
}

/// A cap in money needs the prices of the models that the steps which are left would ask.
fn affordable(scene: &Scene, overrides: &Overrides) -> Result<(), super::error::CliError> {
    let options = &scene.view.started.options;
    let model = overrides.model.as_deref().or(options.model.as_deref());
    let asked = agents::asked(&scene.view.plan, model, |step| may_start(&scene.view, &step.id));
    let tokens_max = overrides.tokens_max.or(options.tokens_max);
    agents::priced(overrides.nano_usd_max.or(options.nano_usd_max), tokens_max, &scene.ctx.prices, asked)
}

/// Drives a run that exists, with progress, and says what it was left in.
pub(super) fn drive(session: &Session, scene: &Scene, overrides: &Overrides) -> Done {
    overlay::enter(&scene.ctx.repo, scene.view.started.options.slots);
    let mut progress = Progress::new(&session.ui, scene.view.plan.steps().len());
    let end = resume(&scene.ctx, &scene.found.run, overrides, &mut |event| progress.show(event));
    drop(progress);
    super::run::ended(session, &scene.ctx, &end?)
}

fn list(session: &Session, scene: &Scene) {
    let mut rows = Vec::new();
    for id in scene.view.plan.order() {
        let record = &scene.view.steps[id];
        if record.state.terminal() {
            continue;
        }
        let turns = record.attempts.last().map_or(0, |attempt| attempt.messages.len());
        let agent = scene.view.plan.step(id).is_some_and(|step| matches!(step.work, Work::Agent(_)));
        rows.push((id, record.state, turns, agent, record.spent.nano_usd));
    }
    if session.ui.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(id, state, turns, _, nano)| {
                serde_json::json!({ "step": id, "state": state, "turns_kept": turns, "usd": crate::config::money::json_usd(Some(*nano)) })
            })
            .collect();
        session.ui.object(&serde_json::json!({ "v": 1, "run": scene.view.run, "steps": rows }));
        return;
    }
    for (id, state, turns, agent, nano) in rows {
        let kept = if agent { format!("{turns} messages kept, {} spent", format_usd(nano)) } else { String::new() };
        session.ui.line(&[(Style::Plain, &format!("{id:<28} {state:<12} ")), (Style::Dim, &kept)]);
    }
    for line in waiting(&Glance::of(&scene.view)) {
        session.ui.line(&[(Style::Wait, &line)]);
    }
    session.ui.talk(&money(&scene.view.spent));
}
