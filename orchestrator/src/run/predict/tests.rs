//! Which changes can conflict at all, by their paths.

use super::*;

#[test]
fn paths_meet_when_they_are_equal_or_one_is_a_folder_of_the_other() {
    let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<_>>();
    let check = |one: &[&str], other: &[&str]| meet(&set(one), &set(other)) || meet(&set(other), &set(one));
    assert!(check(&["a", "b/c"], &["b/c"]));
    assert!(check(&["b"], &["a", "b/c/d"]));
    assert!(check(&["b/c/d"], &["b"]));
    assert!(!check(&["b/c"], &["b/cd", "b-c", "bb/c"]));
    assert!(!check(&["b"], &["b.x", "b0"]));
    assert!(!check(&[], &["b"]));
}
