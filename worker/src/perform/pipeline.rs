//! The one way of a step: executor → commit object → its check on that commit → repair → check.
//!
//! Work is never thrown away: whatever fails after files changed, what is there becomes a commit under the
//! attempt's own ref. The commit's id is told before it is made, so that whoever resumes knows what to look for.

use std::sync::Arc;

use regex::RegexSet;
use wattle_workspace::{
    CaptureError, CaptureOptions, Change, CommitId, CommitSpec, Expect, RefChange, RefError, Repo,
    TreeId,
};

use super::deadline::Deadline;
use super::verify::{self, some, word};
use super::{Halt, Tools, blocking, failed, outcome, restore, say};
use crate::assignment::{Command, CommitForm, Mode, Resume, StepAssignment, Work};
use crate::exec::command::Scene;
use crate::exec::{self, ExecEnd, Executed};
use crate::host::{Host, Intent, Message, StepResult};
use crate::outcome::{Cause, CheckResult, Committed, End, Evidence, Outcome, Verdict};

/// Written files that the evidence lists one by one; the commit itself has all of them.
const WROTE_MAX: usize = 2000;

/// Does a step.
pub(super) async fn step(step: StepAssignment, host: Arc<dyn Host>, tools: Arc<Tools>) -> Outcome {
    let deadline = Deadline::new(host, step.timeout_ms);
    let mut pipeline = Pipeline {
        host: deadline.host(),
        step,
        tools,
        deadline,
    };
    let mut outcome = match (pipeline.step.mode, pipeline.step.commit.clone()) {
        (Mode::Write, Some(form)) => pipeline.write(&form).await,
        (Mode::Write, None) => failed(
            Cause::Environment,
            "do a write step: its assignment has no commit form",
        ),
        (Mode::Read, _) => pipeline.read().await,
        (Mode::Scratch, _) => pipeline.scratch().await,
    };
    if outcome.end == End::Parked && pipeline.deadline.passed() {
        let message = pipeline.deadline.message();
        outcome.end = End::Failed {
            cause: Cause::Timeout,
            message,
        };
    }
    pipeline.deadline.close().await;
    outcome
}

struct Pipeline {
    step: StepAssignment,
    host: Arc<dyn Host>,
    tools: Arc<Tools>,
    deadline: Deadline,
}

/// What a commit was made of.
struct Made {
    committed: Committed,
    /// Words of the executor.
    executed: Executed,
}

impl Pipeline {
    async fn scratch(&mut self) -> Outcome {
        match self.execute_first().await {
            Ok(executed) => plain(executed),
            Err(halt) => halted(halt),
        }
    }

    /// A step that reads, and has to leave the snapshot as it was.
    async fn read(&mut self) -> Outcome {
        let executed = match self.execute_first().await {
            Ok(executed) => executed,
            Err(halt) => return halted(halt),
        };
        if matches!(executed.end, ExecEnd::Parked | ExecEnd::NeedsInput { .. }) {
            return plain(executed);
        }
        let (tools, place) = (Arc::clone(&self.tools), self.step.place.clone());
        let changed = blocking(move || {
            let tree = tools.repo.tree_of(&place.base).map_err(Halt::environment)?;
            let changes = restore::differences(&tools.repo, &place.path, &place.base, &tree);
            changes.map_err(Halt::environment)
        })
        .await;
        match changed {
            Ok(changes) if changes.is_empty() => plain(executed),
            Ok(changes) => {
                let message = format!(
                    "a read step changed files: {}",
                    some(&restore::paths(&changes))
                );
                let end = End::Failed {
                    cause: Cause::WroteInReadMode,
                    message,
                };
                Outcome {
                    end,
                    ..plain(executed)
                }
            }
            Err(halt) => Outcome {
                evidence: executed.evidence,
                ..halted(halt)
            },
        }
    }

    async fn write(&mut self, form: &CommitForm) -> Outcome {
        let made = match self.resumed(form).await {
            Ok(Some(made)) => Ok(made),
            Ok(None) => match self.execute_first().await {
                Ok(executed) => self.commit(form, executed).await,
                Err(halt) => return halted(halt),
            },
            Err(halt) => return halted(halt),
        };
        match made {
            Ok(made) => self.verified(form, made).await,
            Err(outcome) => *outcome,
        }
    }

    /// The commit that an interrupted try had made, if it is still there.
    async fn resumed(&self, form: &CommitForm) -> Result<Option<Made>, Halt> {
        let Some(commit) = self.step.resume.committed.clone() else {
            return Ok(None);
        };
        let (tools, base, form) = (
            Arc::clone(&self.tools),
            self.step.place.base.clone(),
            form.clone(),
        );
        blocking(move || {
            if !tools.repo.has_commit(&commit).map_err(Halt::environment)? {
                return Ok(None);
            }
            let tree = tools.repo.tree_of(&commit).map_err(Halt::environment)?;
            let from = tools.repo.tree_of(&base).map_err(Halt::environment)?;
            let changes = tools
                .repo
                .changes(&from, &tree)
                .map_err(Halt::environment)?;
            let evidence = Evidence {
                tree: Some(tree.clone()),
                ..Evidence::default()
            };
            let report = format!(
                "Continued with the commit {} that was made before.\n",
                commit.short()
            );
            let outside = outside(&changes, &form.touches)?;
            let committed = Committed {
                commit,
                tree,
                changes,
                outside,
            };
            Ok(Some(Made {
                committed,
                executed: Executed {
                    end: ExecEnd::Done,
                    report,
                    evidence,
                },
            }))
        })
        .await
    }

    async fn execute_first(&mut self) -> Result<Executed, Halt> {
        say(&self.host, Message::Intent(Intent::Execute)).await?;
        let work = self.step.work.clone();
        self.execute(&work).await
    }

    async fn execute(&mut self, work: &Work) -> Result<Executed, Halt> {
        self.step.timeout_ms = self.step.timeout_ms.min(self.deadline.left_ms());
        let mut executed = exec::execute(&self.step, work, &self.host, &self.tools).await;
        if executed.end == ExecEnd::Parked && self.deadline.passed() {
            let (cause, message) = (Cause::Timeout, self.deadline.message());
            executed.end = ExecEnd::Failed { cause, message };
        }
        match &executed.end {
            // What was stopped has no result: it is done again.
            ExecEnd::Parked | ExecEnd::NeedsInput { .. } => {}
            ExecEnd::Done | ExecEnd::Failed { .. } => {
                let evidence = executed.evidence.clone();
                say(
                    &self.host,
                    Message::Result(StepResult::Executed { evidence }),
                )
                .await?;
            }
        }
        Ok(executed)
    }

    /// Makes a commit of the files of the worktree; no commit is an outcome of its own.
    async fn commit(
        &self,
        form: &CommitForm,
        mut executed: Executed,
    ) -> Result<Made, Box<Outcome>> {
        if matches!(executed.end, ExecEnd::Parked | ExecEnd::NeedsInput { .. }) {
            return Err(Box::new(plain(executed)));
        }
        let (tools, step, owned) = (
            Arc::clone(&self.tools),
            self.step.place.clone(),
            form.clone(),
        );
        let captured = blocking(move || {
            let base_tree = tools.repo.tree_of(&step.base).map_err(Halt::environment)?;
            let discard = CaptureOptions {
                discard: owned.discard.clone(),
            };
            let captured = tools
                .repo
                .capture(&step.path, &step.base, &discard)
                .map_err(uncommittable)?;
            let wrote = wrote(&tools.repo, &base_tree, &captured.tree, &captured.changes)?;
            let outside = outside(&captured.changes, &owned.touches)?;
            Ok((captured, outside, wrote))
        })
        .await;
        let (captured, outside, wrote) = match captured {
            Ok(captured) => captured,
            Err(halt) => return Err(Box::new(instead(executed, halt))),
        };
        executed.evidence.tree = Some(captured.tree.clone());
        if executed.evidence.wrote.is_empty() {
            executed.evidence.wrote = wrote;
        }
        if captured.changes.is_empty() {
            let outcome = plain(executed);
            let end = if outcome.end == End::Done {
                End::Unchanged
            } else {
                outcome.end.clone()
            };
            return Err(Box::new(Outcome { end, ..outcome }));
        }
        let spec = CommitSpec {
            tree: captured.tree.clone(),
            parents: vec![self.step.place.base.clone()],
            message: form.message.clone(),
            author: form.author.clone(),
            committer: form.committer.clone(),
            time_s: form.time_s,
        };
        match self.make(spec).await {
            Ok(commit) => {
                let committed = Committed {
                    commit,
                    tree: captured.tree,
                    changes: captured.changes,
                    outside,
                };
                Ok(Made {
                    committed,
                    executed,
                })
            }
            Err(halt) => Err(Box::new(instead(executed, halt))),
        }
    }

    async fn make(&self, spec: CommitSpec) -> Result<CommitId, Halt> {
        let (tools, owned) = (Arc::clone(&self.tools), spec.clone());
        let commit =
            blocking(move || tools.repo.commit_id(&owned).map_err(Halt::environment)).await?;
        let intent = Intent::Commit {
            commit,
            tree: spec.tree.clone(),
        };
        say(&self.host, Message::Intent(intent)).await?;
        let tools = Arc::clone(&self.tools);
        blocking(move || tools.repo.commit(&spec).map_err(Halt::environment)).await
    }

    /// Checks the commit, repairs it if that helps, and writes the attempt's ref.
    async fn verified(&mut self, form: &CommitForm, mut made: Made) -> Outcome {
        let mut check = None;
        let mut end = ended(&made.executed);
        if let (End::Committed, Some(command)) = (&end, self.step.check.clone()) {
            end = self.checked(form, &command, &mut made, &mut check).await;
        }
        let mut outcome = Outcome {
            end,
            report: made.executed.report,
            commit: Some(made.committed),
            check,
            evidence: made.executed.evidence,
        };
        if matches!(outcome.end, End::Parked | End::NeedsInput { .. }) {
            return outcome;
        }
        if let Some(committed) = &outcome.commit
            && let Err(Halt::Failed(cause, message)) = self.keep(form, &committed.commit).await
        {
            outcome.end = End::Failed { cause, message };
        }
        outcome
    }

    /// The loop of check and repair.
    async fn checked(
        &mut self,
        form: &CommitForm,
        command: &Command,
        made: &mut Made,
        last: &mut Option<CheckResult>,
    ) -> End {
        let repairs = self
            .step
            .repair
            .as_ref()
            .map_or(0, |repair| repair.attempts);
        let mut number = 0;
        loop {
            let (result, report) = match self.check_once(command, &made.committed).await {
                Ok(checked) => checked,
                Err(halt) => return halted(halt).end,
            };
            let verdict = result.verdict;
            made.executed.report.push_str(&format!(
                "\nThe step's check: {}.\n\n{report}",
                word(verdict)
            ));
            *last = Some(result);
            let cause = match verdict {
                Verdict::Green => return End::Committed,
                Verdict::Red if number < repairs => {
                    number += 1;
                    match self.repair(form, number, &report, made).await {
                        None => continue,
                        Some(end) => return end,
                    }
                }
                Verdict::Red => Cause::CheckRed,
                Verdict::Timeout => Cause::Timeout,
                Verdict::Error => Cause::Environment,
            };
            return End::Failed {
                cause,
                message: red(verdict, number),
            };
        }
    }

    async fn check_once(
        &self,
        command: &Command,
        committed: &Committed,
    ) -> Result<(CheckResult, String), Halt> {
        let commit = committed.commit.clone();
        say(&self.host, Message::Intent(Intent::Check { commit })).await?;
        verify::put_back(&self.step.place, &committed.tree, &self.tools).await?;
        let changed = restore::paths(&committed.changes);
        let scene = Scene {
            owner: &self.step.owner,
            place: &self.step.place,
            env: &self.step.env,
            needs: &self.step.needs,
            tree: Some(committed.tree.as_str()),
            changed: Some(&changed),
            timeout_ms_max: Some(self.deadline.left_ms()),
        };
        let (result, report) =
            verify::run(&scene, command, &committed.tree, &self.host, &self.tools).await?;
        let journaled = StepResult::Checked {
            result: result.clone(),
        };
        say(&self.host, Message::Result(journaled)).await?;
        Ok((result, report))
    }

    /// One repair and its commit; `None` = there is a commit to check again.
    async fn repair(
        &mut self,
        form: &CommitForm,
        number: u32,
        red: &str,
        made: &mut Made,
    ) -> Option<End> {
        let work = self
            .step
            .repair
            .as_ref()
            .map(|repair| repair.work.clone())?;
        if let Err(halt) = say(&self.host, Message::Intent(Intent::Repair { number })).await {
            return Some(halted(halt).end);
        }
        // A repair is work of its own: it starts with the red check, not with an earlier conversation.
        let feedback = vec![format!("The step's check is red.\n\n{red}")];
        let before = std::mem::replace(&mut self.step.feedback, feedback);
        let resume = std::mem::replace(&mut self.step.resume, Resume::default());
        let executed = self.execute(&work).await;
        self.step.feedback = before;
        self.step.resume = resume;
        let executed = match executed {
            Ok(executed) => executed,
            Err(halt) => return Some(halted(halt).end),
        };
        let failure = match &executed.end {
            ExecEnd::Failed { message, .. } => Some(message.clone()),
            ExecEnd::Done | ExecEnd::Parked | ExecEnd::NeedsInput { .. } => None,
        };
        let report = format!(
            "{}\nRepair {number}:\n\n{}",
            made.executed.report, executed.report
        );
        let end = match self.commit(form, executed).await {
            Ok(repaired) => {
                *made = repaired;
                failure.map(|why| repair_failed(number, &why))
            }
            Err(outcome) => match outcome.end {
                // The repair took everything back: there is nothing to land, and the check is red no more or less.
                End::Unchanged => Some(repair_failed(number, "it took the whole change back")),
                end @ (End::Failed { .. }
                | End::Parked
                | End::NeedsInput { .. }
                | End::Done
                | End::Committed) => Some(end),
            },
        };
        made.executed.report = report;
        end
    }

    /// Points the attempt's ref at the commit, once and for ever.
    async fn keep(&self, form: &CommitForm, commit: &CommitId) -> Result<(), Halt> {
        let (tools, commit, name) = (
            Arc::clone(&self.tools),
            commit.clone(),
            form.attempt_ref.clone(),
        );
        blocking(move || {
            let change = RefChange {
                name,
                new: Some(commit.clone()),
                old: Expect::Absent,
            };
            match tools.repo.update_refs(&[change], "wattle: attempt") {
                Ok(()) => Ok(()),
                Err(RefError::Moved {
                    found: Some(found), ..
                }) if found == commit => Ok(()),
                Err(error) => Err(Halt::environment(error)),
            }
        })
        .await
    }
}

fn red(verdict: Verdict, repairs: u32) -> String {
    let check = format!("the step's check is {}", word(verdict));
    match (verdict, repairs) {
        (Verdict::Red, 0) => check,
        (Verdict::Red, 1) => format!("{check} after a repair"),
        (Verdict::Red, _) => format!("{check} after {repairs} repairs"),
        (Verdict::Green, _) => check,
        (Verdict::Timeout | Verdict::Error, _) => format!("the step's check {}", word(verdict)),
    }
}

fn repair_failed(number: u32, why: &str) -> End {
    let message = format!("the step's check is red and repair {number} failed: {why}");
    End::Failed {
        cause: Cause::CheckRed,
        message,
    }
}

/// An executor's end as the end of the assignment, given that there is a commit.
fn ended(executed: &Executed) -> End {
    match plain(executed.clone()).end {
        End::Done => End::Committed,
        end @ (End::Failed { .. }
        | End::Parked
        | End::NeedsInput { .. }
        | End::Committed
        | End::Unchanged) => end,
    }
}

/// An executor's result as the outcome of a step with no commit.
fn plain(executed: Executed) -> Outcome {
    let end = match executed.end {
        ExecEnd::Done => End::Done,
        ExecEnd::Failed { cause, message } => End::Failed { cause, message },
        ExecEnd::Parked => End::Parked,
        ExecEnd::NeedsInput { question, options } => End::NeedsInput { question, options },
    };
    outcome(end, executed.report, executed.evidence)
}

fn halted(halt: Halt) -> Outcome {
    match halt {
        Halt::Parked => outcome(End::Parked, String::new(), Evidence::default()),
        Halt::Failed(cause, message) => failed(cause, message),
    }
}

/// The outcome when no commit could be made; an executor's own failure is the first cause and stays.
fn instead(executed: Executed, halt: Halt) -> Outcome {
    let own = plain(executed);
    match (&own.end, halt) {
        (_, Halt::Parked) => Outcome {
            end: End::Parked,
            ..own
        },
        (End::Failed { .. }, Halt::Failed(_, message)) => {
            let report = format!(
                "{}\nIts files could not be kept as a commit: {message}.\n",
                own.report
            );
            Outcome { report, ..own }
        }
        (_, Halt::Failed(cause, message)) => {
            let report = format!("{}\nFailed: {message}.\n", own.report);
            Outcome {
                end: End::Failed { cause, message },
                report,
                ..own
            }
        }
    }
}

fn uncommittable(error: CaptureError) -> Halt {
    let cause = match &error {
        CaptureError::Unexpressible { .. } => Cause::Uncommittable,
        CaptureError::Pattern { .. } | CaptureError::Git(_) => Cause::Environment,
    };
    Halt::Failed(cause, error.to_string())
}

/// Changed paths that the step may not change; both sides of a rename count.
fn outside(changes: &[Change], touches: &[String]) -> Result<Vec<String>, Halt> {
    let anchored = touches.iter().map(|pattern| format!(r"\A(?:{pattern})\z"));
    let covered = RegexSet::new(anchored).map_err(Halt::environment)?;
    Ok(restore::paths(changes)
        .into_iter()
        .filter(|path| !covered.is_match(path))
        .collect())
}

type Wrote = (
    String,
    Option<wattle_workspace::BlobId>,
    Option<wattle_workspace::BlobId>,
);

fn wrote(
    repo: &Repo,
    before: &TreeId,
    after: &TreeId,
    changes: &[Change],
) -> Result<Vec<Wrote>, Halt> {
    let paths = restore::paths(changes);
    let row = |path: String| {
        let old = repo.blob_of(before, &path).map_err(Halt::environment)?;
        let new = repo.blob_of(after, &path).map_err(Halt::environment)?;
        Ok((path, old, new))
    };
    paths.into_iter().take(WROTE_MAX).map(row).collect()
}
