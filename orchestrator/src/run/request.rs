//! What a run says to its lead, in words: a worker's question, or the parts that a step should become.

use std::fmt::Write as _;

use wattle_planner::StepId;

use crate::journal::RunView;

/// Steps of the plan that are listed, for a lead who has to know how things stand; past this they are counted.
const STEPS_MAX: usize = 100;

/// A worker's question.
pub(crate) fn question(view: &RunView, step: &StepId, question: &str, options: &[String]) -> String {
    let mut text = format!("# A question of the worker of step `{step}`\n\n{question}\n");
    if !options.is_empty() {
        writeln!(text, "\nAnswers on offer: {}", options.join(" | ")).expect("writing to a string cannot fail");
    }
    text.push_str(
        "\nAnswer it now, in a few sentences, from what you know. Your answer is advice: what the worker may change, \
         call and spend stays what it is. If you do not know, say so.\n",
    );
    standing(&mut text, view);
    text
}

/// The rest of a step, which others should do. `parts`: what its worker says of them, JSON.
pub(crate) fn split(view: &RunView, step: &StepId, parts: &str, report: &str, parts_max: usize) -> String {
    let touches = view.plan.step(step).map_or_else(Vec::new, |step| step.touches.clone());
    let touches: Vec<String> = touches.iter().map(|glob| format!("`{glob}`")).collect();
    let touches = if touches.is_empty() { "nothing".to_owned() } else { touches.join(", ") };
    let mut text = format!(
        "# Step `{step}` has to be split\n\nIts worker has begun, found that the step is several pieces of work, and \
         ended. What it has done so far is in the snapshot that you see, and the parts go on from there.\n\n\
         ## What it says should be done by others\n\n```json\n{parts}\n```\n\n## Its report\n\n{report}\n\n\
         ## What to do\n\nHand in the parts with `SubmitPlan`: `steps` and nothing else, 1 to {parts_max} of them. \
         Only the parts; the other steps stay as they are, and what needs `{step}` will wait for its parts.\n\n\
         - The worker's words are a proposal. Cut better where you see it; do not do more than the step was for.\n\
         - A part changes only what the step may change: {touches}.\n\
         - A part needs `{step}` (you need not say so) and other parts, and no other step.\n\
         - Each has a new id. A `rewrite` has its rule `inline`. No `check`, no `group`: those are the step's.\n"
    );
    standing(&mut text, view);
    text
}

/// How the run stands: a line for each step.
fn standing(text: &mut String, view: &RunView) {
    text.push_str("\n## The plan as it stands\n\n");
    for (step, record) in view.plan.steps().iter().zip(view.steps.values()).take(STEPS_MAX) {
        writeln!(text, "- `{}` ({}): {}", step.id, record.state, step.title).expect("writing to a string cannot fail");
    }
    if view.steps.len() > STEPS_MAX {
        writeln!(text, "- and {} more", view.steps.len() - STEPS_MAX).expect("writing to a string cannot fail");
    }
}
