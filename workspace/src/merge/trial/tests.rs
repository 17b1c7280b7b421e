//! Trials answer as merges do, remember what they answered, and leave nothing behind.

use super::*;
use crate::fixture::Fixture;
use crate::merge::MergeSpec;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn answers_equal_single_merges_and_leave_nothing_in_the_repository() {
    let lines = |n: usize, text: &str| {
        let line = |l| if l == n { format!("{text}\n") } else { format!("line {l}\n") };
        (0..40).map(line).collect::<String>()
    };
    let f = Fixture::with(&[("a", &lines(99, "")), ("dir/b", "b\n")]);
    let base = f.head();
    let sides: Vec<CommitId> =
        (0..9).map(|n| f.side(&base, &[("a", Some(&lines(n % 5 * 8, &format!("side {n}"))))])).collect();
    let repo = f.open();
    let pairs: Vec<_> =
        sides.iter().flat_map(|a| sides.iter().map(|b| (a.clone(), b.clone())).collect::<Vec<_>>()).collect();
    let before = (f.git(&["count-objects", "-v"]), names(repo.state_dir()));
    let answers = repo.trial(Rules::Checkout).unwrap().merge_all(&pairs).unwrap();
    let after = f.git(&["count-objects", "-v"]);
    assert_eq!(after, before.0);
    assert_eq!(names(repo.state_dir()), [before.1, vec![KNOWN.to_owned(), RULES.to_owned()]].concat());
    for ((ours, theirs), answer) in pairs.iter().zip(&answers) {
        let spec = MergeSpec { base: None, ours: ours.clone(), theirs: theirs.clone() };
        assert_eq!(repo.merge(&spec).unwrap(), *answer);
    }
    assert!(answers.iter().any(|m| matches!(m, Merged::Clean { .. })));
    assert!(answers.iter().any(|m| matches!(m, Merged::Conflicts { .. })));
}

#[test]
fn what_is_known_is_not_merged_again_until_the_rules_change() {
    let f = Fixture::with(&[("a", "a\n"), (".gitattributes", "a merge=pick\n")]);
    let base = f.head();
    let one = f.side(&base, &[("a", Some("one\n"))]);
    let two = f.side(&base, &[("a", Some("two\n"))]);
    let pairs = [(one, two)];
    let answer = |config: &[&str]| {
        f.git(config);
        let repo = f.open();
        let mut trial = repo.trial(Rules::Checkout).unwrap();
        let known = trial.known.get(&pairs[0]).is_some();
        (known, matches!(trial.merge_all(&pairs).unwrap()[0], Merged::Clean { .. }))
    };
    assert_eq!(answer(&["config", "core.eol", "lf"]), (false, false));
    assert_eq!(answer(&["config", "core.eol", "lf"]), (true, false));
    // A driver that takes what it is given as merged.
    assert_eq!(answer(&["config", "merge.pick.driver", "true"]), (false, true));
    assert_eq!(answer(&["config", "merge.pick.driver", "true"]), (true, true));
}

#[test]
fn each_pair_merges_under_the_attributes_of_its_first_commit() {
    let f = Fixture::with(&[("dir/CHANGES", "first\n")]);
    let base = f.head();
    let union = ("dir/.gitattributes", Some("CHANGES merge=union\n"));
    let plain = f.side(&base, &[("dir/CHANGES", Some("first\none\n"))]);
    let with = f.side(&base, &[("dir/CHANGES", Some("first\ntwo\n")), union]);
    let repo = f.open();
    // Compared with a tree that is known from before, and with nothing.
    let other = f.side(&base, &[("other", Some("other\n"))]);
    repo.merge_pairs(&[(other, base)]).unwrap();
    assert!(repo.trial(Rules::Checkout).unwrap().known.roots.len() == 1);
    let pairs = [(plain.clone(), with.clone()), (with.clone(), plain.clone())];
    let answers = repo.trial(Rules::Checkout).unwrap().merge_all(&pairs).unwrap();
    let clean: Vec<bool> = answers.iter().map(|m| matches!(m, Merged::Clean { .. })).collect();
    assert_eq!(clean, [false, true]);
    for ((ours, theirs), clean) in pairs.iter().zip(clean) {
        f.git(&["checkout", "-q", "-f", "--detach", ours.as_str()]);
        assert_eq!(f.succeeds(&f.main(), &["merge", "-q", "--no-ff", "-m", "merge", theirs.as_str()]), clean);
        f.git(&["reset", "-q", "--hard"]);
    }
}
