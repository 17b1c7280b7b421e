//! What a planning agent's plan must make sense of beyond being valid: a person may write steps that overlap or a plan
//! without a check and mean it, a model that does has mostly not looked.
//!
//! *Errors* are what one more word in the plan would settle: two steps that may write the same file run one after the
//! other whatever the model believed, so it has to say which comes first. *Doubts* are what only knowledge of the task
//! settles: a repository may have nothing to check with, and a report that no step needs may be what was asked for. A
//! doubt is worth one more turn of the lead and not a plan that never comes, so whoever asks sends doubts back once.

use std::collections::BTreeMap;

use crate::id::StepId;
use crate::plan::Plan;
use crate::step::{Mode, Step};
use crate::validate::overlaps;

/// Other steps that are named for one step: whoever mends these sees the rest by itself.
const NAMED_MAX: usize = 3;
/// Pairs of patterns that are shown of two steps.
const PATTERNS_MAX: usize = 2;

/// What is odd about a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sense {
    /// Has to be mended.
    pub(crate) errors: Vec<String>,
    /// Is worth a second look.
    pub(crate) doubts: Vec<String>,
}

/// Judges a plan of a planning agent. `checked`: something besides the plan decides about its checks, be it that there
/// are none.
pub(crate) fn judge(plan: &Plan, checked: bool) -> Sense {
    let mut sense = Sense { errors: unordered(plan, 0), doubts: Vec::new() };
    let writes = plan.steps().iter().any(|step| step.mode == Mode::Write);
    let own = plan.steps().iter().any(|step| step.check.is_some());
    if writes && !checked && !own && plan.checks().unwrap_or_default().is_empty() {
        sense.doubts.push(
            "nothing checks what these steps make: propose a command in `proposed_checks` that is red when they break \
             something, or give steps a `check`; if the repository has none, submit the plan as it is"
                .to_owned(),
        );
    }
    let unheard = plan.steps().iter().filter(|step| writes && unheard(plan, step));
    sense.doubts.extend(unheard.map(|step| {
        format!(
            "{}: no step needs what it reports; name it in the `needs` of a step that uses it, or leave it out, unless \
             the report itself was asked for",
            name(plan, step)
        )
    }));
    sense
}

/// "step 3 (`api`)".
fn name(plan: &Plan, step: &Step) -> String {
    let place = plan.position(&step.id).map_or(0, |place| place + 1);
    format!("step {place} (`{}`)", step.id)
}

/// A step that only looks, before anything was changed, and whose report reaches no other step. One that looks at what
/// others have made is there to find something wrong.
fn unheard(plan: &Plan, step: &Step) -> bool {
    step.mode == Mode::Read && step.needs.is_empty() && plan.successors(&step.id).is_empty()
}

/// Pairs of steps that may write a common path, with no `needs` between them that says who comes first; of those steps
/// that stand in the plan from place `from` on.
pub(crate) fn unordered(plan: &Plan, from: usize) -> Vec<String> {
    let reach = Reach::new(plan);
    let mut open: BTreeMap<usize, Vec<&Step>> = BTreeMap::new();
    let pairs = overlaps(plan);
    let place = |id: &StepId| plan.position(id).expect("overlaps are between steps of the plan");
    for (earlier, later) in pairs.iter().map(|(a, b)| (place(a), place(b))) {
        if earlier >= from && !reach.needs(later, earlier) && !reach.needs(earlier, later) {
            open.entry(later).or_default().push(&plan.steps()[earlier]);
        }
    }
    open.into_iter()
        .map(|(later, others)| {
            let later = &plan.steps()[later];
            let named = others.iter().take(NAMED_MAX).map(|other| format!("`{}` ({})", other.id, common(other, later)));
            let mut list = named.collect::<Vec<_>>().join(", ");
            if others.len() > NAMED_MAX {
                list.push_str(&format!(" and {} more", others.len() - NAMED_MAX));
            }
            format!(
                "{}: may change the same files as {list}, so they cannot run at once; narrow the `touches`, put the \
                 work into one step, or say the order with `needs`",
                name(plan, later)
            )
        })
        .collect()
}

/// The patterns by which two steps meet.
fn common(a: &Step, b: &Step) -> String {
    if !a.touches_given || !b.touches_given {
        return "no `touches` is every file".to_owned();
    }
    let pairs = a.touches.iter().flat_map(|x| b.touches.iter().filter(|y| x.overlaps(y)).map(move |y| (x, y)));
    let shown = pairs.take(PATTERNS_MAX).map(|(x, y)| match x == y {
        true => format!("`{x}`"),
        false => format!("`{x}` and `{y}`"),
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// Which steps a step needs, directly or not: a row of bits each.
struct Reach {
    rows: Vec<Vec<u64>>,
}

impl Reach {
    fn new(plan: &Plan) -> Self {
        let words = plan.steps().len().div_ceil(64);
        let mut rows = vec![vec![0_u64; words]; plan.steps().len()];
        for &place in plan.places_in_order() {
            let mut row = vec![0_u64; words];
            for need in plan.steps()[place].needs.iter().filter_map(|need| plan.position(need)) {
                row[need / 64] |= 1 << (need % 64);
                row.iter_mut().zip(&rows[need]).for_each(|(word, before)| *word |= before);
            }
            rows[place] = row;
        }
        Self { rows }
    }

    fn needs(&self, step: usize, other: usize) -> bool {
        self.rows[step][other / 64] >> (other % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::parse_plan;

    /// Parts of errors and of doubts, in order.
    fn check(steps: &str, checked: bool, errors: &[&str], doubts: &[&str]) {
        let plan = parse_plan("p", &format!("version: 1\ntask: t\nsteps:\n{steps}")).unwrap();
        let found = judge(&plan, checked);
        for (found, expected) in [(&found.errors, errors), (&found.doubts, doubts)] {
            assert_eq!(found.len(), expected.len(), "{steps}{found:?}");
            found.iter().zip(expected).for_each(|(found, part)| assert!(found.contains(part), "{found}"));
        }
    }

    #[test]
    fn steps_that_may_write_the_same_file_say_who_comes_first() {
        let agent = |id: &str, touches: &str, needs: &str| {
            format!("  - {{ id: {id}, touches: {touches}, needs: [{needs}], agent: {{ prompt: p }} }}\n")
        };
        let (a, b) = (agent("a", "[\"src/**\"]", ""), agent("b", "[src/x.rs]", ""));
        let told = "step 2 (`b`): may change the same files as `a` (`src/**` and `src/x.rs`)";
        check(&format!("{a}{b}"), true, &[told], &[]);
        check(&format!("{a}{}", agent("b", "[src/x.rs]", "a")), true, &[], &[]);
        let between = agent("m", "[docs/m.md]", "a");
        check(&format!("{a}{between}{}", agent("b", "[src/x.rs]", "m")), true, &[], &[]);
        check(&format!("{a}{}", agent("b", "[lib/x.rs]", "")), true, &[], &[]);
        let all = "  - { id: all, mode: write, run: make }\n";
        check(&format!("{a}{all}"), true, &["no `touches` is every file"], &[]);
        let many: String = (0..5).map(|n| agent(&format!("s{n}"), "[x]", "")).collect();
        let told = ["`s0`", "`s1`", "`s2`", "and 1 more"];
        check(&many, true, &told, &[]);
    }

    #[test]
    fn a_plan_without_any_check_and_a_report_for_nobody_are_doubts() {
        let write = "  - { id: w, touches: [x], run: make }\n";
        let own = "  - { id: w, touches: [x], run: make, check: { run: test -s x } }\n";
        let read = "  - { id: look, mode: read, run: ls }\n";
        check(write, false, &[], &["nothing checks"]);
        check(write, true, &[], &[]);
        check(own, false, &[], &[]);
        check(read, false, &[], &[]);
        check(&format!("{own}{read}"), false, &[], &["step 2 (`look`): no step needs"]);
        let after = "  - { id: look, mode: read, needs: [w], run: ls }\n";
        check(&format!("{own}{after}"), false, &[], &[]);
    }
}
