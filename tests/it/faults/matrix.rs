//! Every point in turn: what is done there, how the run goes on, and what it is held against.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::{audit, kept, written};
use super::plans::{FINAL, Plan, QUEUE, RUN};
use super::{each, say};
use crate::crash::world::{Expected, Rng, kill_processes};
use crate::env::{Output, TestEnv, TestRepo};

/// Points tried unless more are asked for: each name once, in one of the plans; three minutes on two cores.
const SAMPLE: usize = 80;
/// Where a run that is not killed ends; far more than one that was killed often needs.
const RESUMES_MAX: usize = 5;
/// So many points are passed by nearly every resume.
const AGAIN_MAX: usize = 40;
/// Cases under way at once: a case mostly waits for the disk.
pub(super) const AT_ONCE: usize = 3;

/// A point, and which pass of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) name: String,
    pub(super) pass: usize,
}

/// The points that a run passes.
pub(super) struct Passed {
    /// How often each.
    pub(super) points: BTreeMap<String, usize>,
    /// Those at which an effect can be refused.
    pub(super) fallible: BTreeSet<String>,
}

impl At {
    fn armed(&self, what: &str) -> String {
        format!("{what}={}:{}", self.name, self.pass)
    }
}

/// What has to hold while a run lies dead.
type Wreck = fn(&TestRepo<'_>);

/// What is done to one run. Its words are what `WATTLE_FAULTS` takes to try it alone.
#[derive(Clone)]
struct Case {
    plan: Plan,
    at: At,
    /// Everything that the run had started dies with it.
    with_children: bool,
    /// The user collects garbage while it lies dead.
    collect: bool,
    /// The resume is killed as well.
    again: Option<At>,
}

/// An undisturbed run: how it ends, and the points that it passes.
pub(super) fn undisturbed(plan: Plan, wreck: Wreck) -> (Expected, Passed) {
    let env = TestEnv::new();
    let repo = plan.world(&env);
    let list = env.root().join("list");
    let armed = format!("list={}", list.display());
    let end = env.wattle_with(&repo.path, &[("WATTLE_FAULT", &armed)], &RUN).ok();
    let expected = Expected::of(&repo, end.events().len(), wreck);
    assert_eq!(expected.landed.values().sum::<usize>(), plan.lands, "{:?}", expected.landed);
    let (mut points, mut fallible) = (BTreeMap::new(), BTreeSet::new());
    for line in std::fs::read_to_string(list).expect("a build with debug assertions has fault points").lines() {
        let name = line.trim_end_matches('!');
        *points.entry(name.to_owned()).or_default() += 1;
        if name != line {
            fallible.insert(name.to_owned());
        }
    }
    expected.hold(&env, &repo);
    (expected, Passed { points, fallible })
}

/// Which cases are tried: each name once, in one of the plans, then others, as many as asked for.
fn chosen(passed: &[(Plan, Passed)], count: usize, rng: &mut Rng) -> Vec<Case> {
    let mut left: Vec<(Plan, At)> = Vec::new();
    let mut names: BTreeMap<&String, Vec<(Plan, usize)>> = BTreeMap::new();
    for (plan, points) in passed {
        for (name, passes) in &points.points {
            left.extend((1..=*passes).map(|pass| (*plan, At { name: name.clone(), pass })));
            names.entry(name).or_default().push((*plan, *passes));
        }
    }
    let mut picked = Vec::new();
    for (name, plans) in &names {
        let (plan, passes) = plans[rng.below(plans.len())];
        let at = At { name: (*name).clone(), pass: 1 + rng.below(passes) };
        left.retain(|(other, there)| other.name != plan.name || *there != at);
        picked.push((plan, at));
    }
    while picked.len() < count && !left.is_empty() {
        picked.push(left.swap_remove(rng.below(left.len())));
    }
    let names: Vec<&String> = names.into_keys().collect();
    let case = |(n, (plan, at))| {
        let again = match n % 2 {
            0 => At { name: names[rng.below(names.len())].clone(), pass: 1 + rng.below(2) },
            _ => At { name: "*".to_owned(), pass: 1 + rng.below(AGAIN_MAX) },
        };
        Case { plan, at, with_children: n % 2 == 0, collect: n % 4 < 2, again: (n % 3 == 0).then_some(again) }
    };
    picked.into_iter().enumerate().map(case).collect()
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}:{}", self.plan.name, self.at.name, self.at.pass)?;
        if self.with_children {
            write!(f, " children")?;
        }
        if self.collect {
            write!(f, " collect")?;
        }
        self.again.iter().try_for_each(|at| write!(f, " again={}:{}", at.name, at.pass))
    }
}

impl At {
    fn parse(text: &str) -> Option<Self> {
        let (name, pass) = text.rsplit_once(':')?;
        Some(Self { name: name.to_owned(), pass: pass.parse().ok()? })
    }
}

impl Case {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let plan = [QUEUE, FINAL].into_iter().find(|plan| text.starts_with(plan.name))?;
        let at = At::parse(words.nth(1)?)?;
        let mut case = Self { plan, at, with_children: false, collect: false, again: None };
        for word in words {
            match word.strip_prefix("again=") {
                Some(again) => case.again = Some(At::parse(again)?),
                None if word == "children" => case.with_children = true,
                None => case.collect = word == "collect",
            }
        }
        Some(case)
    }

    /// Kills, resumes, and holds the end against the undisturbed one. How many kills have hit?
    fn run(&self, expected: &Expected) -> usize {
        let env = TestEnv::new();
        let repo = self.plan.world(&env);
        let mut end = env.wattle_with(&repo.path, &[("WATTLE_FAULT", &self.at.armed("kill"))], &RUN);
        let mut hits = 0;
        let mut bytes = Vec::new();
        for armed in [self.again.as_ref().map(|at| at.armed("kill")), None] {
            if end.code != 137 {
                break;
            }
            hits += 1;
            bytes.extend(self.while_dead(&env, &repo));
            end = go_on(&env, &repo, armed.as_deref());
        }
        for _ in 0..RESUMES_MAX {
            if end.code != 0 {
                end = go_on(&env, &repo, None);
            }
        }
        assert_eq!(end.code, 0, "{self}\n{}\n{}\n{}", end.out, end.err, told(&repo));
        kept(&repo, &bytes);
        expected.hold(&env, &repo);
        kept(&repo, &bytes);
        hits
    }

    /// What happens between a kill and the resume; gives the blobs that are in the slots.
    fn while_dead(&self, env: &TestEnv, repo: &TestRepo<'_>) -> Vec<String> {
        let mut bytes = Vec::new();
        if self.with_children {
            kill_processes(env.root());
            bytes = written(env);
        }
        audit(repo, self.plan.checks);
        if self.collect {
            // It refuses where a killed git has left a lock, which is no fault of ours.
            drop(env.program("git", &repo.path, &["gc", "--quiet", "--prune=now"]));
        }
        bytes
    }
}

/// Where the run stands, and every word of why steps are not where they should be.
pub(super) fn told(repo: &TestRepo<'_>) -> String {
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let rows = status["steps"].as_array().expect("a list").iter();
    rows.map(|step| format!("{} {} {}\n", step["id"], step["state"], step["why"])).collect()
}

/// The run goes on; it begins when it was killed before there was one.
pub(super) fn go_on(env: &TestEnv, repo: &TestRepo<'_>, armed: Option<&str>) -> Output {
    let vars: Vec<(&str, &str)> = armed.map(|armed| ("WATTLE_FAULT", armed)).into_iter().collect();
    let end = env.wattle_with(&repo.path, &vars, &["resume", "--json"]);
    match end.code {
        5 if end.out.contains("no_run") => env.wattle_with(&repo.path, &vars, &RUN),
        _ => end,
    }
}

/// How many cases are asked for, or which one.
fn asked() -> (usize, Option<Case>) {
    #[expect(clippy::disallowed_methods, reason = "chosen by whoever runs the tests")]
    let asked = std::env::var("WATTLE_FAULTS").unwrap_or_default();
    match asked.as_str() {
        "all" => (usize::MAX, None),
        text => (text.parse().unwrap_or(SAMPLE), Case::parse(text)),
    }
}

#[test]
fn killed_at_any_point_a_run_goes_on_to_the_same_end() {
    let mut rng = Rng(0x77a7_71e3);
    let whole: [(Plan, Wreck); 2] =
        [(QUEUE, |repo| _ = audit(repo, QUEUE.checks)), (FINAL, |repo| _ = audit(repo, FINAL.checks))];
    let (mut passed, mut ends) = (Vec::new(), BTreeMap::new());
    let (count, only) = asked();
    for (plan, wreck) in whole {
        let (expected, points) = undisturbed(plan, wreck);
        passed.push((plan, points));
        ends.insert(plan.name, expected);
    }
    let passes: usize = passed.iter().flat_map(|(_, passed)| passed.points.values()).sum();
    let cases = only.map_or_else(|| chosen(&passed, count, &mut rng), |only| vec![only]);
    let (hits, failures) = each(&cases, AT_ONCE, |case| case.run(&ends[case.plan.name]));
    let tried = cases.len();
    let twice = cases.iter().filter(|case| case.again.is_some()).count();
    say(&format!(
        "faults: killed {hits} times in {tried} runs, {twice} of them in the resume as well, at {tried} of the {passes} \
         passes of {} points; {} ended otherwise",
        passed.iter().flat_map(|(_, passed)| passed.points.keys()).collect::<BTreeSet<_>>().len(),
        failures.len()
    ));
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(hits * 10 >= tried * 9, "most kills hit: {hits} of {tried}");
}
