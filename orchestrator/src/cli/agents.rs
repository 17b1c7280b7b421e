//! What the agents of a plan need before anything starts: prices that are known where money is bounded.

use wattle_cache::price::Table;
use wattle_planner::{AgentSpec, Plan, Step, Work};

use super::error::{CliError, Exit};

/// Every model that steps of a plan would ask; `None` = one that nobody has named.
pub(super) fn asked<'a>(
    plan: &'a Plan,
    default: Option<&'a str>,
    wanted: impl Fn(&Step) -> bool + 'a,
) -> impl Iterator<Item = Option<&'a str>> {
    let works = |step: &'a Step| [Some(&step.work), step.repair.as_ref().map(|repair| &repair.work)];
    let agent = |work: &'a Work| -> Option<&'a AgentSpec> {
        match work {
            Work::Agent(agent) => Some(agent),
            Work::Run { .. } | Work::Rewrite(_) | Work::Revert(_) => None,
        }
    };
    let steps = plan.steps().iter().filter(move |step| wanted(step));
    steps.flat_map(works).flatten().filter_map(agent).map(move |agent| agent.model.as_deref().or(default))
}

/// A cap in money says nothing about a model of unknown price.
pub(super) fn priced<'a>(
    nano_usd_max: Option<u64>,
    tokens_max: Option<u64>,
    prices: &Table,
    asked: impl Iterator<Item = Option<&'a str>>,
) -> Result<(), CliError> {
    if nano_usd_max.is_none() || tokens_max.is_some() {
        return Ok(());
    }
    for model in asked.flatten() {
        // The scripted model costs nobody anything.
        let Some((provider, name)) = model.split_once('/').filter(|_| !model.starts_with("script:")) else { continue };
        if prices.newest(provider, name).is_none() {
            let message = format!("bound the money of {model}: its price is not known");
            return Err(CliError::new(Exit::Invalid, "unknown_price", message)
                .hint("set `limits: { tokens: … }`, or its price under `prices:` in the user's configuration"));
        }
    }
    Ok(())
}
