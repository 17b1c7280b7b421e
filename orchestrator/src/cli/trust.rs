//! `wattle trust`: allows what the project's configuration would run, by content.

use serde_json::json;

use super::Done;
use super::error::{CliError, Exit};
use super::session::Session;
use crate::config::{self, file, trust::Trust};

/// Allow what the project's configuration would run, by content.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArgs {
    /// Only show what it would run, and whether it is trusted.
    #[arg(long)]
    show: bool,
}

/// Shows what would run, and trusts it.
pub(crate) fn run(session: &Session, args: &TrustArgs) -> Done {
    let repo = session.repo()?;
    let places = session.places(&repo)?;
    let path = places.project_file().filter(|path| path.exists()).ok_or_else(|| {
        let message = format!("find {}: this project has no configuration", config::PROJECT_FILE);
        CliError::new(Exit::Environment, "no_config", message).hint("`wattle init` writes one")
    })?;
    let text = std::fs::read_to_string(&path).map_err(|error| CliError::file("read", &path, &error))?;
    let (parsed, mistakes) = file::read(&text);
    if !mistakes.is_empty() {
        return Err(config::ConfigError::Mistakes { path, mistakes }.into());
    }
    let keys = config::running_keys(&parsed);
    let trust = Trust::of(&places.state_dir);
    if !args.show {
        trust.add(&text, &path)?;
    }
    let trusted = trust.holds(&text)?;
    if session.ui.json {
        let runs: serde_json::Map<_, _> = keys.iter().map(|key| (key.clone(), parsed.frame[key].clone())).collect();
        session.ui.object(&json!({ "v": 1, "file": path, "runs": runs, "trusted": trusted }));
        return Ok(Exit::Reached);
    }
    if keys.is_empty() {
        session.ui.data(&format!("{} runs nothing: it needs no trust\n", config::PROJECT_FILE));
    }
    for key in &keys {
        session.ui.data(&format!("{key}: {}\n", parsed.frame[key]));
    }
    session.ui.talk(if trusted { "trusted, until it changes" } else { "not trusted: `wattle trust` allows it" });
    Ok(Exit::Reached)
}
