//! `wattle runs`: the runs of the repository, newest first.

use serde_json::json;

use super::Done;
use super::error::Exit;
use super::session::Session;
use crate::journal::Reader;
use crate::report::status::style_of_run;
use crate::ui::Style;
use crate::ui::clean::one_line;

/// List the runs of the repository.
#[derive(Debug, clap::Args)]
pub(crate) struct RunsArgs {}

/// Lists them.
pub(crate) fn run(session: &Session, _: &RunsArgs) -> Done {
    let state_dir = match session.site()? {
        Some(site) => site.state_dir().to_owned(),
        None => session.repo()?.state_dir().to_owned(),
    };
    let runs = match Reader::open(&state_dir)? {
        Some(reader) => reader.runs()?,
        None => Vec::new(),
    };
    if session.ui.json {
        session.ui.object(&json!({ "v": 1, "runs": runs }));
        return Ok(Exit::Reached);
    }
    for run in &runs {
        let state = format!("{:<12}", run.state);
        let rest = format!("  {}  {}  {}", run.run, run.since, one_line(&run.name, 60));
        session.ui.line(&[(style_of_run(&run.state), &state), (Style::Plain, &rest)]);
    }
    if runs.is_empty() {
        session.ui.talk("no run yet: wattle run -f PLAN");
    }
    Ok(Exit::Reached)
}
