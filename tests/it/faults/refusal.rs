//! Every effect in turn is refused, once or from there on: a full disk, no permission, a broken disk, too many files open.
//! The run goes past it, or it ends with what is wrong in so many words; no step has failed of it, and with the machine in
//! order again `resume` alone reaches the same end.

use std::collections::BTreeMap;

use super::matrix::{AT_ONCE, At, Passed, go_on, told, undisturbed};
use super::plans::{FINAL, Plan, QUEUE, RUN};
use super::{each, say};
use crate::crash::world::{Expected, Rng};
use crate::env::TestEnv;

use super::audit::audit;

/// How an effect is refused, and what has to be said of it. The journal knows of a full disk only.
const WHYS: [(&str, &str); 4] = [
    ("fail", "No space left on device"),
    ("fail-access", "Permission denied"),
    ("fail-io", "Input/output error"),
    ("fail-files", "Too many open files"),
];
const JOURNAL_SAYS: &str = "disk is full";
/// Resumes that a run may need whose machine is in order again.
const RESUMES_MAX: usize = 3;
/// Passes of each point that are tried unless all are asked for.
const PASSES: usize = 2;

/// One refusal.
struct Case {
    plan: Plan,
    at: At,
    /// Every later pass is refused, too.
    on: bool,
    why: (&'static str, &'static str),
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}={}:{}{}",
            self.plan.name,
            self.why.0,
            self.at.name,
            self.at.pass,
            if self.on { "+" } else { "" }
        )
    }
}

impl Case {
    /// Refuses, resumes, and holds the end against the undisturbed one. `true` = the run had to stop for it.
    fn run(&self, expected: &Expected) -> bool {
        let env = TestEnv::new();
        let repo = self.plan.world(&env);
        let on = if self.on { "+" } else { "" };
        let armed = format!("{}={}:{}{on}", self.why.0, self.at.name, self.at.pass);
        let mut end = env.wattle_with(&repo.path, &[("WATTLE_FAULT", &armed)], &RUN);
        audit(&repo, self.plan.checks);
        let stopped = end.code != 0;
        if stopped {
            assert!([4, 5].contains(&end.code), "{self}: exit {}\n{}\n{}\n{}", end.code, end.out, end.err, told(&repo));
            let said = [self.why.1, JOURNAL_SAYS].iter().any(|words| end.whole().contains(words));
            assert!(said, "{self}: it does not say what is wrong\n{}", end.whole());
        }
        for _ in 0..RESUMES_MAX {
            if end.code != 0 {
                end = go_on(&env, &repo, None);
            }
        }
        assert_eq!(end.code, 0, "{self}\n{}\n{}\n{}", end.out, end.err, told(&repo));
        expected.hold(&env, &repo);
        stopped
    }
}

/// Which cases are tried: some passes of each point that can be refused, once and from there on.
fn chosen(passed: &[(Plan, Passed)], all: bool, rng: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for (plan, passed) in passed {
        for name in &passed.fallible {
            let passes = passed.points[name];
            let some: Vec<usize> = match all || passes <= PASSES {
                true => (1..=passes).collect(),
                false => (0..PASSES).map(|_| 1 + rng.below(passes)).collect(),
            };
            for pass in some {
                let at = At { name: name.clone(), pass };
                let (why, on) = (WHYS[rng.below(WHYS.len())], cases.len() % 2 == 0);
                cases.push(Case { plan: *plan, at, on, why });
            }
        }
    }
    cases
}

/// What is held of a run's end.
type Wreck = fn(&crate::env::TestRepo<'_>);

#[test]
fn refused_at_any_effect_a_run_says_so_and_goes_on_to_the_same_end() {
    let mut rng = Rng(0x0dd0_ba11);
    let plans: [(Plan, Wreck); 2] =
        [(QUEUE, |repo| _ = audit(repo, QUEUE.checks)), (FINAL, |repo| _ = audit(repo, FINAL.checks))];
    let (mut passed, mut ends) = (Vec::new(), BTreeMap::new());
    for (plan, wreck) in plans {
        let (expected, points) = undisturbed(plan, wreck);
        passed.push((plan, points));
        ends.insert(plan.name, expected);
    }
    #[expect(clippy::disallowed_methods, reason = "chosen by whoever runs the tests")]
    let all = std::env::var("WATTLE_FAULTS").is_ok_and(|asked| asked == "all");
    let cases = chosen(&passed, all, &mut rng);
    let (stopped, failures) = each(&cases, AT_ONCE, |case| usize::from(case.run(&ends[case.plan.name])));
    say(&format!(
        "faults: refused an effect in {} runs, {stopped} of them had to stop for it; {} ended otherwise",
        cases.len(),
        failures.len()
    ));
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(stopped > 0, "no run had to stop");
}
