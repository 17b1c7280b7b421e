//! The one way of a step: executor → commit object → its check on that commit → repair → check.
//!
//! Work is never thrown away: whatever fails after files changed, what is there becomes a commit under the
//! attempt's own ref. The commit's id is told before it is made, so that whoever resumes knows what to look for.
//!
//! What a command or a rewrite has left half done is not looked at: whoever starts one again gives it a worktree
//! that holds its base (a rewrite applied twice is not the rewrite). Only a conversation goes on where it was.

mod commit;

use std::sync::Arc;

use self::commit::Made;
use super::deadline::Deadline;
use super::verify::{self, some, word};
use super::{Halt, Tools, blocking, failed, outcome, restore, say};
use crate::assignment::{Command, CommitForm, Mode, StepAssignment, Work};
use crate::exec::command::Scene;
use crate::exec::{self, ExecEnd, Executed};
use crate::host::{Host, Intent, Message, StepResult};
use crate::outcome::{Cause, CheckResult, End, Evidence, Outcome, Verdict};

/// Does a step.
pub(super) async fn step(step: StepAssignment, host: Arc<dyn Host>, tools: Arc<Tools>) -> Outcome {
    let deadline = Deadline::new(host, step.timeout_ms);
    let mut pipeline = Pipeline { host: deadline.host(), step, tools, deadline };
    let mut outcome = match (pipeline.step.mode, pipeline.step.commit.clone()) {
        (Mode::Write, Some(form)) => pipeline.write(&form).await,
        (Mode::Write, None) => failed(Cause::Environment, "do a write step: its assignment has no commit form"),
        (Mode::Read, _) => pipeline.read().await,
        (Mode::Scratch, _) => pipeline.scratch().await,
    };
    if outcome.end == End::Parked && pipeline.deadline.passed() {
        let message = pipeline.deadline.message();
        outcome.end = End::Failed { cause: Cause::Timeout, message };
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
        if executed.end == ExecEnd::Parked {
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
                let message = format!("a read step changed files: {}", some(&restore::paths(&changes)));
                let end = End::Failed { cause: Cause::WroteInReadMode, message };
                Outcome { end, ..plain(executed) }
            }
            Err(halt) => Outcome { evidence: executed.evidence, ..halted(halt) },
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
            ExecEnd::Parked => {}
            ExecEnd::Done | ExecEnd::Failed { .. } => {
                let evidence = executed.evidence.clone();
                say(&self.host, Message::Result(StepResult::Executed { evidence })).await?;
            }
        }
        Ok(executed)
    }

    /// Checks the commit, repairs it if that helps, and writes the attempt's ref.
    async fn verified(&mut self, form: &CommitForm, mut made: Made) -> Outcome {
        let mut check = None;
        let mut end = ended(&made.executed);
        if let (End::Committed, Some(command), false) = (&end, self.step.check.clone(), made.executed.partial) {
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
        let repairs = self.step.repair.as_ref().map_or(0, |repair| repair.attempts);
        let mut number = 0;
        loop {
            let (result, report) = match self.check_once(command, made).await {
                Ok(checked) => checked,
                Err(halt) => return halted(halt).end,
            };
            let verdict = result.verdict;
            made.executed.report.push_str(&format!("\nThe step's check: {}.\n\n{report}", word(verdict)));
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
            return End::Failed { cause, message: red(verdict, number) };
        }
    }

    async fn check_once(&self, command: &Command, made: &Made) -> Result<(CheckResult, String), Halt> {
        let committed = &made.committed;
        let (commit, tree) = (committed.commit.clone(), committed.tree.clone());
        say(&self.host, Message::Intent(Intent::Check { commit, tree: tree.clone() })).await?;
        if !made.in_place {
            verify::put_back(&self.step.place, &committed.tree, &self.tools).await?;
        }
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
        let (result, report) = verify::run(&scene, command, &committed.tree, &self.host, &self.tools).await?;
        let journaled = StepResult::Checked { tree, result: result.clone() };
        say(&self.host, Message::Result(journaled)).await?;
        Ok((result, report))
    }

    /// One repair and its commit; `None` = there is a commit to check again.
    async fn repair(&mut self, form: &CommitForm, number: u32, red: &str, made: &mut Made) -> Option<End> {
        let work = self.step.repair.as_ref().map(|repair| repair.work.clone())?;
        if let Err(halt) = say(&self.host, Message::Intent(Intent::Repair { number })).await {
            return Some(halted(halt).end);
        }
        // A repair is work of its own: it starts with the red check, not with an earlier conversation.
        let feedback = vec![format!("The step's check is red.\n\n{red}")];
        let before = std::mem::replace(&mut self.step.feedback, feedback);
        let resume = std::mem::take(&mut self.step.resume);
        let executed = self.execute(&work).await;
        self.step.feedback = before;
        self.step.resume = resume;
        let executed = match executed {
            Ok(executed) => executed,
            Err(halt) => return Some(halted(halt).end),
        };
        let failure = match &executed.end {
            ExecEnd::Failed { message, .. } => Some(message.clone()),
            ExecEnd::Done | ExecEnd::Parked => None,
        };
        let report = format!("{}\nRepair {number}:\n\n{}", made.executed.report, executed.report);
        let end = match self.commit(form, executed).await {
            Ok(repaired) => {
                *made = repaired;
                failure.map(|why| repair_failed(number, &why))
            }
            Err(outcome) => match outcome.end {
                // The repair took everything back: there is nothing to land, and the check is red no more or less.
                End::Unchanged => Some(repair_failed(number, "it took the whole change back")),
                end @ (End::Failed { .. } | End::Parked | End::NeedsInput { .. } | End::Done | End::Committed) => {
                    Some(end)
                }
            },
        };
        made.executed.report = report;
        end
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
    End::Failed { cause: Cause::CheckRed, message }
}

/// An executor's end as the end of the assignment, given that there is a commit.
fn ended(executed: &Executed) -> End {
    match plain(executed.clone()).end {
        End::Done => End::Committed,
        end @ (End::Failed { .. } | End::Parked | End::NeedsInput { .. } | End::Committed | End::Unchanged) => end,
    }
}

/// An executor's result as the outcome of a step with no commit.
fn plain(executed: Executed) -> Outcome {
    let end = match executed.end {
        ExecEnd::Done => End::Done,
        ExecEnd::Failed { cause, message } => End::Failed { cause, message },
        ExecEnd::Parked => End::Parked,
    };
    outcome(end, executed.report, executed.evidence)
}

fn halted(halt: Halt) -> Outcome {
    match halt {
        Halt::Parked => outcome(End::Parked, String::new(), Evidence::default()),
        Halt::Failed(cause, message) => failed(cause, message),
    }
}
