//! Completes a plan with what the configuration says about checks, setup and the like.
//!
//! The frame is appended to the plan's text, so that the frozen plan of a run holds everything that
//! applied to it, lines and columns of the user's part stay what they are, and one parser reads it all.

use std::collections::BTreeMap;

use super::node::{self, Value};

/// The plan's text with every key of `frame` that it lacks; a text that is no block mapping is given back as
/// it is, for the planner to judge.
pub(crate) fn complete(plan: &str, frame: &BTreeMap<String, serde_json::Value>) -> String {
    let Ok(root) = node::parse(plan) else {
        return plan.to_owned();
    };
    let Value::Map(pairs) = &root.value else {
        return plan.to_owned();
    };
    let has = |key: &str| pairs.iter().any(|(name, _, _)| name == key);
    let missing: Vec<_> = frame.iter().filter(|(key, value)| !has(key) && !value.is_null()).collect();
    if missing.is_empty() || plan.trim_start().starts_with('{') {
        return plan.to_owned();
    }
    let mut text = plan.trim_end().trim_end_matches("...").to_owned();
    text.push_str("\n# From the configuration:\n");
    for (key, value) in missing {
        text.push_str(&format!("{key}: {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_gets_what_it_lacks_and_keeps_what_it_says() {
        let frame = BTreeMap::from([
            ("checks".to_owned(), serde_json::json!([{"name": "b", "run": "make \"x\": # y"}])),
            ("setup".to_owned(), serde_json::json!({"run": "npm ci"})),
        ]);
        let plan = "version: 1\ntask: t\nsetup: { run: own }\nsteps:\n  - { id: a, run: 'true' }\n";
        let text = complete(plan, &frame);
        assert!(text.starts_with(plan.trim_end()));
        let plan = wattle_planner::parse_plan("plan.yaml", &text).unwrap();
        assert_eq!(plan.checks().unwrap()[0].run, "make \"x\": # y");
        assert_eq!(plan.setup().unwrap().run, "own");
        let silent = "version: 1\ntask: t\nchecks: []\nsetup: null\nsteps: []\n";
        assert_eq!(complete(silent, &frame), silent);
    }
}
