//! Which checks apply to what.

use wattle_planner::{At, Check, Plan, Step, globs_overlap};

/// Does a check apply to a change of these paths?
pub(crate) fn applies(check: &Check, changed: &[String]) -> bool {
    check.paths.is_empty() || changed.iter().any(|path| check.paths.iter().any(|glob| glob.matches(path)))
}

/// The check that a write step runs on its own commit: the plan's checks `at: step` that could apply to
/// what it may touch, then its own. `None` when there is none.
pub(crate) fn of_step(plan: &Plan, step: &Step) -> Option<(String, u64)> {
    let of_plan =
        plan.checks().unwrap_or_default().iter().filter(|check| {
            check.at == At::Step && (check.paths.is_empty() || globs_overlap(&check.paths, &step.touches))
        });
    let mut parts: Vec<(String, u64)> = of_plan.map(|check| (check.run.clone(), check.timeout_ms)).collect();
    if let Some(check) = &step.check {
        parts.push((check.run.clone(), check.timeout_ms));
    }
    let timeout_ms = parts.iter().map(|(_, timeout)| timeout).sum();
    match parts.len() {
        0 => None,
        1 => Some((parts.remove(0).0, timeout_ms)),
        _ => {
            let run: Vec<String> = parts.into_iter().map(|(run, _)| format!("( {run}\n)")).collect();
            Some((run.join(" && "), timeout_ms))
        }
    }
}
