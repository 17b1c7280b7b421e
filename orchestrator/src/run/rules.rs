//! The rules that a plan names, tried before anything starts: one that cannot be used would fail its step with the
//! same words only later.

use std::collections::BTreeMap;

use wattle_planner::{Plan, RuleSource, StepId, Work};
use wattle_worker::assignment::Rewrite;
use wattle_worker::rewrite::{RuleError, validate};

/// A rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("start step {step}: {problem}")]
pub(crate) struct RuleProblem {
    /// The step that names it.
    pub(crate) step: StepId,
    /// Why.
    pub(crate) problem: RuleError,
}

/// Can the rules of all steps be used?
pub(crate) fn require(plan: &Plan, files: &BTreeMap<String, Vec<u8>>) -> Result<(), RuleProblem> {
    for step in plan.steps() {
        let repair = step.repair.as_ref().map(|repair| &repair.work);
        for work in [Some(&step.work), repair].into_iter().flatten() {
            let Work::Rewrite(source) = work else { continue };
            let text = |path: &str| files.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let rule = rewrite(&step.id, source, text);
            validate(&rule).map_err(|problem| RuleProblem { step: step.id.clone(), problem })?;
        }
    }
    Ok(())
}

/// A rule as a worker gets it; `file` gives the text of a rule file.
pub(crate) fn rewrite(step: &StepId, source: &RuleSource, file: impl Fn(&str) -> Option<String>) -> Rewrite {
    match source {
        RuleSource::File(path) => Rewrite::Rules { name: path.clone(), yaml: file(path).unwrap_or_default() },
        RuleSource::Inline(yaml) => Rewrite::Rules { name: format!("{step} (inline)"), yaml: yaml.clone() },
        RuleSource::Pattern { pattern, fix, lang } => {
            Rewrite::Pattern { pattern: pattern.clone(), fix: fix.clone(), lang: lang.clone() }
        }
    }
}
