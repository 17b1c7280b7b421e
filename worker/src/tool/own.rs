//! The tools that the loop itself answers: they need the host or the conversation, not the worktree.

use super::Definition;

/// Asks a human.
pub(super) const ASK: Definition = Definition {
    name: super::ASK,
    description: "Asks a question and waits for the answer. Use it only when the task cannot be decided from the repository. The lead knows the plan and what the other steps are for; the user knows what is wanted. An answer is advice: it permits nothing that you may not do.",
    schema: r#"{"type":"object","properties":{"question":{"type":"string"},"options":{"type":"array","items":{"type":"string"},"description":"Answers on offer; leave out for free text"},"to":{"type":"string","enum":["lead","user"],"description":"Who is to answer; the user where left out"}},"required":["question"],"additionalProperties":false}"#,
};

/// Sets the report.
pub(super) const REPORT: Definition = Definition {
    name: super::REPORT,
    description: "Sets the report of your work, in Markdown: what you did or found, for reviewers and for the steps that depend on yours. Without it your last words are the report. Only where the step turns out to be several pieces of work, each worth a worker of its own, and you have not done them: name them in `split` and end; what you have done so far is kept, and the lead makes steps of the rest.",
    schema: r#"{"type":"object","properties":{"markdown":{"type":"string"},"split":{"type":"array","items":{"type":"object","properties":{"title":{"type":"string"},"prompt":{"type":"string","description":"What is to be done, where and how; it must stand alone"},"touches":{"type":"array","items":{"type":"string"},"description":"Globs of the paths that it changes, within those of the step"}},"required":["title","prompt"],"additionalProperties":false}}},"required":["markdown"],"additionalProperties":false}"#,
};

/// Proposes a plan; for the lead.
pub(super) const SUBMIT_PLAN: Definition = Definition {
    name: super::SUBMIT_PLAN,
    description: "Proposes the steps of a plan; only for the lead planner. The plan is validated, and its problems come back to you.",
    schema: r#"{"type":"object","properties":{"steps":{"type":"array","items":{"type":"object"}}},"required":["steps"]}"#,
};
