//! What the planning agent is asked.

/// The instructions for an agent that reads the repository and answers with a plan, in Markdown. `facts` is what is
/// already known of the repository (languages, packages, checks), in Markdown, too; it may be empty.
pub fn lead_request(task: &str, facts: &str) -> String {
    let mut request = String::from(INTRODUCTION);
    for (heading, text) in [("Task", task), ("What is known of the repository", facts)] {
        let text = text.trim();
        if !text.is_empty() {
            request.push_str(&format!("\n## {heading}\n\n{text}\n"));
        }
    }
    request.push_str(RULES);
    request
}

const INTRODUCTION: &str = "\
# Plan a change of this repository

You are the lead. Read the repository with the tools you have, then hand in a plan with the tool `SubmitPlan`. You
change nothing yourself: workers carry the plan out, each in a worktree of its own, and see only their own step.
";

const RULES: &str = "
## How to plan

1. Look before you cut. Search for what the task concerns and count the places; read a few of them. Do not guess paths.
2. Split along files, so that steps run at the same time. Two steps whose `touches` can name a common path never run
   at once, and a plan is sent back unless `needs` says which comes first. Give every step that writes the narrowest
   `touches` that hold its work.
3. Choose the cheapest executor that does the work:
   - `rewrite` where a structural rule says it all (`pattern`, `fix`, `lang`, or a whole rule as `inline`);
   - `run` where a command does it (a formatter, a code generator, a report);
   - `agent` for what needs judgement. Its `prompt` must stand alone: what to change, where, how, and how to tell that
     it is done. The worker knows neither this conversation nor the other steps.
4. Say `needs` only where a step truly depends on the result of another. Steps that only look have `mode: read` and no
   `touches`; what they report reaches the steps that need them. Steps that build or test and keep nothing have
   `mode: scratch`.
5. Where every part alone would break the build (a renamed function and its callers), give those steps the same
   `group`: they land together. A group must not need a step that itself needs a step of the group.
6. Give a step a `check` where a quick command shows that its own part is right, and a `repair` with an `agent` where
   a mechanical change may leave something behind.
7. Prefer a handful of steps that are each worth a review over many that are not.

You decide the steps, nothing else: target, limits, models, setup and the checks of a landing are not yours. If a
check is missing, propose it in `proposed_checks`; it can only be added to the others.

Ids consist of a-z, 0-9 and `-`. Paths are relative to the root of the repository. If `SubmitPlan` answers with
problems, mend every one of them and submit the whole plan again.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_task_and_facts_once_each() {
        let request = lead_request("rename `foo`\n", "- Rust, 3 packages\n");
        assert!(request.contains("\n## Task\n\nrename `foo`\n"), "{request}");
        assert!(request.contains("\n## What is known of the repository\n\n- Rust, 3 packages\n"), "{request}");
        assert!(!lead_request("rename", " \n").contains("What is known"));
    }
}
