//! `wattle clean`: frees slots, branches and blobs of finished runs whose work landed or was rejected; lists
//! what it keeps and why. Never the journal.

use super::Done;
use super::error::Exit;
use super::session::Session;
use crate::config::{self, Keep};
use crate::options::Slots;
use crate::report::reason::counted;
use crate::run::clean::{Cleaned, Item, clean};
use crate::run::overlay;

/// Free slots, branches and blobs of finished runs.
///
/// A branch goes only when its work is in the target (by history, tree or patch, so what was squashed or rebased
/// counts) or was rejected; what the target does not hold is put under refs/wattle/salvage/ first, where `wattle
/// restore` finds it. That is kept for keep.days and keep.count of the configuration, counted from the clean that first
/// listed it. Ignored files are build output and go with their slot. What cannot be told is kept.
#[derive(Debug, clap::Args)]
pub(crate) struct CleanArgs {
    /// Only list what would be freed.
    #[arg(long)]
    dry_run: bool,
}

/// Frees what can be freed.
pub(crate) fn run(session: &Session, args: &CleanArgs) -> Done {
    let ctx = session.context(session.repo()?)?;
    let keep = config::keep(&session.env, &session.places(&ctx.repo)?)?;
    overlay::enter(&ctx.repo, Slots::Checkout);
    let cleaned = clean(&ctx, keep, args.dry_run)?;
    show(session, args, &cleaned);
    Ok(Exit::Reached)
}

fn show(session: &Session, args: &CleanArgs, cleaned: &Cleaned) {
    if session.ui.json {
        let mut json = serde_json::to_value(cleaned).expect("a list of names is plain data");
        json["v"] = 1.into();
        json["dry_run"] = args.dry_run.into();
        return session.ui.object(&json);
    }
    let verb = if args.dry_run { "would free" } else { "freed" };
    let line = |verb: &str, item: &Item| {
        let size = item.bytes.map_or(String::new(), |bytes| format!(", {bytes} bytes"));
        format!("{verb} {} {}: {}{size}\n", item.kind, item.name, item.why)
    };
    for item in &cleaned.freed {
        session.ui.data(&line(verb, item));
    }
    for item in &cleaned.kept {
        session.ui.data(&line("kept", item));
    }
    let words = match (cleaned.freed.len(), cleaned.kept.len()) {
        (0, 0) => "nothing to free".to_owned(),
        (freed, kept) => format!("{verb} {}, kept {kept}", counted(freed, "thing")),
    };
    session.ui.talk(&words);
    if cleaned.freed.iter().any(|item| item.kind == "slot") {
        session.ui.talk("ignored files are build output: they go with their slot and are not put aside");
    }
    if cleaned.freed.iter().chain(&cleaned.kept).any(|item| item.kind == "salvage" || item.why.contains("put aside")) {
        let Keep { days, count } = cleaned.keep;
        session
            .ui
            .talk(&format!("what is put aside is kept for {days} days, {count} at most (keys keep.days, keep.count)"));
    }
}
