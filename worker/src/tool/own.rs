//! The tools that the loop itself answers: they need the host or the conversation, not the worktree.

use super::Definition;

/// Asks a human.
pub(super) const ASK: Definition = Definition {
    name: super::ASK,
    description: "Asks a human a question and waits for the answer. Use it only when the task cannot be decided from the repository.",
    schema: r#"{"type":"object","properties":{"question":{"type":"string"},"options":{"type":"array","items":{"type":"string"},"description":"Answers on offer; leave out for free text"}},"required":["question"],"additionalProperties":false}"#,
};

/// Sets the report.
pub(super) const REPORT: Definition = Definition {
    name: super::REPORT,
    description: "Sets the report of your work, in Markdown: what you did or found, for reviewers and for the steps that depend on yours. Without it your last words are the report.",
    schema: r#"{"type":"object","properties":{"markdown":{"type":"string"}},"required":["markdown"],"additionalProperties":false}"#,
};

/// Proposes a plan; for the lead.
pub(super) const SUBMIT_PLAN: Definition = Definition {
    name: super::SUBMIT_PLAN,
    description: "Proposes the steps of a plan; only for the lead planner. The plan is validated, and its problems come back to you.",
    schema: r#"{"type":"object","properties":{"steps":{"type":"array","items":{"type":"object"}}},"required":["steps"]}"#,
};
