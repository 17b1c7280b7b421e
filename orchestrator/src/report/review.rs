//! What waits for review, riskiest first, and the evidence behind one step.

use schemars::JsonSchema;
use serde::Serialize;
use wattle_planner::StepId;
use wattle_worker::outcome::Evidence;
use wattle_workspace::{GitError, Repo};

use super::reason::{counted, reason};
use super::status::{Predicted, Usage, predicted, warning};
use crate::ids::Blob;
use crate::journal::RunView;
use crate::journal::blob::Blobs;
use crate::journal::event::Work;
use crate::risk::{Risk, risk};
use crate::state::step::Step;
use crate::ui::clean::one_line;

/// Lines of a command's output that a review shows; `wattle log STEP` has all that was kept.
const OUTPUT_LINES_MAX: usize = 20;

/// `review --json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Review {
    /// Version of this JSON.
    pub(crate) v: u32,
    /// Id of the run.
    pub(crate) run: String,
    /// What waits, riskiest first; with a step, that step.
    pub(crate) steps: Vec<Reviewed>,
}

/// One step under review.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Reviewed {
    /// Its id.
    pub(crate) id: String,
    /// Its name for people.
    pub(crate) title: String,
    /// Its state.
    pub(crate) state: String,
    /// Why it is there.
    pub(crate) why: Option<String>,
    /// How carefully to read it.
    pub(crate) risk: Risk,
    /// Its commit: what an approval binds to.
    pub(crate) commit: String,
    /// The commit it stands on.
    pub(crate) base: String,
    /// Paths that it changes.
    pub(crate) paths: Vec<String>,
    /// Those that its plan does not let it touch.
    pub(crate) outside: Vec<String>,
    /// Changes that its own will not merge with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) predicted: Vec<Predicted>,
    /// Verdict of its own check.
    pub(crate) check: Option<String>,
    /// Comments that no worker has seen.
    pub(crate) drafts: Vec<String>,
    /// Tokens.
    pub(crate) usage: Usage,
    /// Money in dollars; `null` = not known.
    pub(crate) usd: Option<f64>,
    /// Its report (with a step).
    pub(crate) report: Option<String>,
    /// Its diff (with a step).
    pub(crate) diff: Option<String>,
    /// Commands, checks and tools of its newest attempt (with a step).
    pub(crate) evidence: Option<Vec<Proof>>,
}

/// One piece of evidence.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Proof {
    /// `execute`, `check`, or the id of a tool call.
    pub(crate) of: String,
    /// What was executed.
    pub(crate) argv: Vec<String>,
    /// Its exit code.
    pub(crate) exit: Option<i32>,
    /// Its wall time, in milliseconds.
    pub(crate) elapsed_ms: u64,
    /// What it printed, as far as it was kept.
    pub(crate) output: String,
}

/// Everything that waits for review, riskiest first.
pub(crate) fn waiting(view: &RunView) -> Vec<StepId> {
    let of = |id: &StepId| {
        view.steps[id].work.as_ref().and_then(|work| Some(risk(view.plan.step(id)?, &work.paths, &work.outside)))
    };
    let mut ids: Vec<StepId> = view
        .plan
        .steps()
        .iter()
        .map(|step| step.id.clone())
        .filter(|id| view.steps[id].state == Step::Review && view.steps[id].work.is_some())
        .collect();
    ids.sort_by_key(|id| std::cmp::Reverse(of(id)));
    ids
}

/// One step under review; `None` when it has no commit.
pub(crate) fn summary(view: &RunView, id: &StepId) -> Option<Reviewed> {
    let (step, record) = (view.plan.step(id)?, view.steps.get(id)?);
    let work = record.work.as_ref()?;
    Some(Reviewed {
        id: id.to_string(),
        title: step.title.clone(),
        state: record.state.to_string(),
        why: record.why.clone(),
        risk: risk(step, &work.paths, &work.outside),
        commit: work.commit.to_string(),
        base: work.base.to_string(),
        paths: work.paths.clone(),
        outside: work.outside.clone(),
        predicted: predicted(record, view),
        check: record.check.map(|verdict| format!("{verdict:?}").to_lowercase()),
        drafts: record.drafts.iter().map(|draft| draft.text.clone()).collect(),
        usage: Usage::of(&record.spent),
        usd: record.spent.usd(),
        report: None,
        diff: None,
        evidence: None,
    })
}

/// The same, with report, diff and evidence.
pub(crate) fn whole(view: &RunView, id: &StepId, repo: &Repo, blobs: &Blobs) -> Result<Option<Reviewed>, GitError> {
    let Some(mut reviewed) = summary(view, id) else { return Ok(None) };
    let record = &view.steps[id];
    let work = record.work.as_ref().expect("a summary has work");
    reviewed.report = record.report.as_ref().and_then(|blob| blobs.text(blob).ok());
    reviewed.diff = Some(diff(repo, work)?);
    let attempt = record.attempts.iter().find(|attempt| attempt.number == work.attempt);
    let evidence =
        attempt.map(|attempt| attempt.evidence.iter().filter_map(|(of, blob)| proof(blobs, of, blob)).collect());
    reviewed.evidence = Some(evidence.unwrap_or_default());
    Ok(Some(reviewed))
}

fn diff(repo: &Repo, work: &Work) -> Result<String, GitError> {
    let base = repo.tree_of(&work.base)?;
    repo.diff(&base, &work.tree, false)
}

/// A piece of evidence out of its blob; `None` for what neither started a process nor said anything.
pub(crate) fn proof(blobs: &Blobs, of: &str, blob: &Blob) -> Option<Proof> {
    let evidence: Evidence = serde_json::from_str(&blobs.text(blob).ok()?).ok()?;
    (!evidence.argv.is_empty() || !evidence.output.is_empty()).then(|| Proof {
        of: of.to_owned(),
        argv: evidence.argv,
        exit: evidence.exit,
        elapsed_ms: evidence.elapsed_ms,
        output: evidence.output,
    })
}

impl Reviewed {
    /// One line of the list.
    pub(crate) fn line(&self) -> String {
        let check = self.check.as_deref().map_or(String::new(), |check| format!(", check {check}"));
        let why = self.why.as_deref().map_or(String::new(), |why| format!(" ({})", reason(why)));
        let commit = self.commit.get(..12).unwrap_or(&self.commit);
        format!(
            "{:<6} {:<28} {commit} {}{check}{why}",
            self.risk.as_str(),
            one_line(&self.id, 28),
            counted(self.paths.len(), "file")
        )
    }

    /// Everything but the diff, for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n", self.line());
        if self.title != self.id {
            text.push_str(&format!("{}\n", self.title));
        }
        if !self.outside.is_empty() {
            text.push_str(&format!("outside its touches: {}\n", self.outside.join(", ")));
        }
        if let Some(warning) = warning(&self.predicted) {
            text.push_str(&format!("{warning}\n"));
        }
        for draft in &self.drafts {
            text.push_str(&format!("draft: {draft}\n"));
        }
        // The report of a command is its own output again.
        let command = self.evidence.iter().flatten().any(|proof| proof.of == "execute");
        if let Some(report) = self.report.as_deref().filter(|report| !command && !report.trim().is_empty()) {
            text.push_str(&format!("\n{}\n", report.trim_end()));
        }
        for proof in self.evidence.iter().flatten() {
            text.push_str(&proof.text(OUTPUT_LINES_MAX));
        }
        text
    }
}

impl Proof {
    /// For people, with at most so many lines of output.
    pub(crate) fn text(&self, lines_max: usize) -> String {
        let argv =
            if self.argv.is_empty() { String::new() } else { format!(" {}", one_line(&self.argv.join(" "), 120)) };
        let exit = self.exit.map_or(String::new(), |exit| format!(" → {exit}"));
        let mut text = format!("\n[{}]{argv}{exit} ({} ms)\n", self.of, self.elapsed_ms);
        let lines: Vec<&str> = self.output.lines().collect();
        let skipped = lines.len().saturating_sub(lines_max);
        if skipped > 0 {
            text.push_str(&format!("  … {skipped} lines before\n"));
        }
        for line in &lines[skipped..] {
            text.push_str(&format!("  {line}\n"));
        }
        text
    }
}
