//! `wattle doctor`: is everything there that a run needs? Each line is ok, a warning or a failure with its mend.

mod model;

use std::path::Path;

use serde::Serialize;
use wattle_workspace::{Head, Pool, PoolOptions, Repo, free_bytes, lock_holder};

use super::Done;
use super::error::Exit;
use super::session::Session;
use crate::config::model::Endpoint;
use crate::config::{Effective, Flags};
use crate::options::Slots;
use crate::run::overlay;
use crate::ui::Style;

/// Free disk below which slots and builds soon fail.
const DISK_BYTES_MIN: u64 = 2_000_000_000;

/// Look at git, the state directory, the disk, the sandbox and the models.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Also send one cheap request to the configured model, and say what came back.
    #[arg(long, num_args = 0..=1, value_name = "PROVIDER/NAME")]
    model: Option<Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    message: String,
    mend: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: &'static str, message: impl Into<String>) {
        self.0.push(Finding { what, verdict: Verdict::Ok, message: message.into(), mend: None });
    }
    fn warn(&mut self, what: &'static str, message: impl Into<String>, mend: &str) {
        self.0.push(Finding { what, verdict: Verdict::Warn, message: message.into(), mend: Some(mend.to_owned()) });
    }
    fn fail(&mut self, what: &'static str, message: impl Into<String>, mend: &str) {
        self.0.push(Finding { what, verdict: Verdict::Fail, message: message.into(), mend: Some(mend.to_owned()) });
    }
}

/// Looks, prints, and ends with 5 when something fails.
pub(crate) fn run(session: &Session, args: &DoctorArgs) -> Done {
    let mut found = Findings::default();
    match session.repo() {
        Err(error) => {
            let (message, mend) = error.words();
            found.fail("repository", message, mend.unwrap_or("go into a git repository, or give -C PATH"));
        }
        Ok(repo) => {
            found.ok("git", repo.git_version());
            repository(&mut found, &repo);
            let asked = session.config(&repo, &Flags::default()).map(|config| config.slots).unwrap_or_default();
            slots(&mut found, &repo, asked);
            disk(&mut found, repo.state_dir());
            found.warn(
                "sandbox",
                "isolation: none",
                "run plans whose commands you would run yourself; the sandbox is not built yet",
            );
            let named = args.model.clone().flatten();
            match session.config(&repo, &Flags { model: named, ..Flags::default() }) {
                Ok(config) if args.model.is_some() => {
                    let ctx = session.context(repo)?;
                    model::ask(&mut found, &ctx, &session.start()?, config.model.as_deref());
                }
                Ok(config) => models(&mut found, &config),
                Err(error) => {
                    let (message, mend) = error.words();
                    found.fail("configuration", message, mend.unwrap_or("mend the file"));
                }
            }
        }
    }
    show(session, &found.0);
    let failed = found.0.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if failed { Exit::Environment } else { Exit::Reached })
}

fn repository(found: &mut Findings, repo: &Repo) {
    found.ok("state", repo.state_dir().display().to_string());
    found.ok("objects", repo.objects_backend());
    match repo.facts() {
        Err(error) => found.fail("repository", error.to_string(), "see what git says of it"),
        Ok(facts) => match facts.head {
            Head::Branch { commit: None, .. } => {
                found.fail("repository", "no commit yet", "make a first commit");
            }
            Head::Branch { name, commit: Some(_) } => {
                found.ok("repository", format!("on {name}, {} dirty files", facts.dirty.len()))
            }
            Head::Detached { .. } => {
                found.warn("repository", "detached HEAD", "name the branch to land on with --target")
            }
        },
    }
    if let Ok(Some(_)) = repo.read_ref("refs/heads/wattle") {
        found.fail(
            "branches",
            "a branch is named `wattle`, so that no branch can be below it",
            "git branch -m wattle some-other-name",
        );
    }
    match lock_holder(repo) {
        None => found.ok("owner", "no run is live"),
        Some(info) => found.ok("owner", format!("process {} on {} since {}", info.pid, info.host, info.since)),
    }
}

/// Slots that hold what no commit can hold stay as they are until a human has looked.
fn slots(found: &mut Findings, repo: &Repo, asked: Slots) {
    match (asked, overlay::probe(repo.state_dir())) {
        (Slots::Overlay, Ok(())) => found.ok("slots", "overlay mounts"),
        (Slots::Overlay, Err(refused)) => found.warn(
            "slots",
            format!("checkouts, since overlay mounts are refused: {refused}"),
            "let the kernel allow it, or set slots: checkout",
        ),
        (Slots::Checkout, Ok(())) => found.ok("slots", "checkouts; overlay mounts would work, too (key slots)"),
        (Slots::Checkout, Err(refused)) => found.ok("slots", format!("checkouts; no overlay mounts: {refused}")),
    }
    let Ok(pool) = Pool::open(repo, PoolOptions::default()) else { return };
    for slot in pool.list() {
        if let Some(why) = slot.retired {
            let path = slot.stored.display();
            found.warn(
                "slots",
                format!("{path}: {why}"),
                "take out what you want to keep, delete it, then wattle clean",
            );
        }
    }
}

fn disk(found: &mut Findings, path: &Path) {
    match free_bytes(path) {
        Err(error) => {
            found.warn("disk", format!("cannot be measured: {error}"), "see that the state directory is on a disk")
        }
        Ok(free) => {
            let message = format!("{}.{} GB free", free / 1_000_000_000, free / 100_000_000 % 10);
            if free < DISK_BYTES_MIN {
                found.warn("disk", message, "free some, or put the state elsewhere with WATTLE_STATE_DIR");
            } else {
                found.ok("disk", message);
            }
        }
    }
}

fn models(found: &mut Findings, config: &Effective) {
    found.ok(
        "configuration",
        format!("jobs {}, approve {:?}", config.jobs.with(None).unwrap_or(1), config.approve).to_lowercase(),
    );
    match config.models.endpoint(config.model.as_deref()) {
        Err(problem) => found.warn("model", problem.to_string(), "plans of `run` and `rewrite` steps work without one"),
        Ok(Endpoint::Script { file }) if file.is_file() => found.ok("model", format!("script {}", file.display())),
        Ok(Endpoint::Script { file }) => {
            found.fail("model", format!("no script {}", file.display()), "give the path of a script")
        }
        Ok(Endpoint::Server { base_url, name, .. }) => {
            found.ok("model", format!("{name} at {base_url} (not tried: --model)"))
        }
    }
}

fn show(session: &Session, findings: &[Finding]) {
    if session.ui.json {
        session.ui.object(&serde_json::json!({ "v": 1, "findings": findings }));
        return;
    }
    for finding in findings {
        let (style, word) = match finding.verdict {
            Verdict::Ok => (Style::Good, "ok  "),
            Verdict::Warn => (Style::Wait, "warn"),
            Verdict::Fail => (Style::Bad, "fail"),
        };
        let text = format!("  {:<14} {}", finding.what, finding.message);
        session.ui.line(&[(style, word), (Style::Plain, &text)]);
        if let Some(mend) = &finding.mend {
            session.ui.line(&[(Style::Dim, &format!("                      {mend}"))]);
        }
    }
}
