//! Conflicts that are told before the queue meets them.

use super::*;

/// Two steps that change the same file, each outside what it may touch, and one beside them.
const CLASH: &str = "
version: 1
task: clash
checks: []
defaults: { retries: 0 }
steps:
  - { id: x, touches: ['x/**'], run: 'mkdir -p x && echo x > x/f && echo x > shared' }
  - { id: y, touches: ['y/**'], run: 'mkdir -p y && echo y > y/f && echo y > shared' }
  - { id: z, touches: ['z/**'], run: 'mkdir -p z && echo z > z/f' }
";

/// The one prediction of the clash: who is first, and who is told.
fn the_pair(events: &[Event]) -> (String, String) {
    let [(a, b, paths)] = &predicted(events)[..] else { panic!("{:?}", predicted(events)) };
    assert_eq!(paths, &["shared".to_owned()]);
    assert_eq!([a.as_str().min(b), a.as_str().max(b)], ["x", "y"]);
    (a.clone(), b.clone())
}

fn predicted(events: &[Event]) -> Vec<(String, String, Vec<String>)> {
    let mut all = Vec::new();
    for event in events {
        if let Body::ConflictPredicted(found) = &event.body {
            all.push((found.a.clone(), found.b.to_string(), found.paths.clone()));
        }
    }
    all
}

#[test]
fn a_finished_step_in_review_says_with_whom_it_will_conflict() {
    let env = Env::new(&[("shared", "base\n")]);
    let (end, events) = env.run(CLASH, |options| options.approve = Approve::Manual);
    // Whoever is done first lands first, as far as anybody knows.
    let (a, b) = the_pair(&events);
    let view = env.view(&end.run);
    let record = view.step(&id(&b));
    let words = &record.feedback[0];
    assert!(words.contains(&format!("the change of step {a}")) && words.contains("CONFLICT (content)"), "{words}");
    assert!(view.step(&id(&a)).feedback.is_empty());
    let found = &record.predicted[&a];
    assert!(view.holds(found));
    let reader = Reader::open(env.ctx.repo.state_dir()).unwrap().unwrap();
    let detail: wattle_workspace::Merged = serde_json::from_str(&reader.blobs.text(&found.detail).unwrap()).unwrap();
    let wattle_workspace::Merged::Conflicts { stages, .. } = detail else { panic!("it conflicts") };
    assert_eq!(stages.len(), 3);
    let review = crate::report::review::summary(&view, &id(&b)).unwrap();
    assert!(review.text().contains(&format!("will conflict with {a} in shared")), "{}", review.text());
    assert_eq!(view.state, Run::Review);
    env.is_sound();
}

#[test]
fn a_prediction_ends_with_the_other_commit_and_nothing_runs_again_for_it() {
    let env = Env::new(&[("shared", "base\n")]);
    let (end, events) = env.run(CLASH, |options| options.approve = Approve::Manual);
    let (a, b) = the_pair(&events);
    env.verb(&end.run, Verb::Reject { steps: vec![id(&a)], text: None });
    let view = env.view(&end.run);
    assert!(!view.holds(&view.step(&id(&b)).predicted[&a]));
    assert!(view.steps.values().all(|record| record.attempts.len() == 1));
    assert!(crate::report::review::summary(&view, &id(&b)).unwrap().predicted.is_empty());
}

#[test]
fn steps_that_keep_to_their_paths_are_not_even_merged() {
    let env = Env::new(&[("a", "a\n")]);
    let plan = CLASH.replace(" && echo x > shared", "").replace(" && echo y > shared", "");
    let (end, events) = env.run(&plan, |_| {});
    assert!(predicted(&events).is_empty());
    assert_eq!(end.state, Run::Completed);
    assert!(!env.ctx.repo.state_dir().join("merges").exists());
}
