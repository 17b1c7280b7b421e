//! Facts of a repository in each state it can start in.

use super::*;
use crate::fixture::Fixture;

#[test]
fn facts_of_every_kind_of_head() {
    let f = Fixture::empty(&[]);
    let unborn = f.open().facts().unwrap();
    assert_eq!(unborn.head, Head::Branch { name: "main".into(), commit: None });
    let one = f.commit(&[("a", "1\n"), ("b", "1\n")]);
    f.git(&["branch", "up"]);
    f.git(&["branch", "-q", "--set-upstream-to=up"]);
    let two = f.commit(&[("a", "2\n")]);
    f.write("b", "dirty\n");
    f.write("new file", "untracked\n");
    let facts = f.open().facts().unwrap();
    assert_eq!(facts.head, Head::Branch { name: "main".into(), commit: Some(two) });
    assert_eq!(facts.upstream, Some(Upstream { name: "up".into(), ahead: 1, behind: 0 }));
    assert_eq!((facts.dirty, facts.bare), (vec!["b".to_owned(), "new file".to_owned()], false));
    f.git(&["checkout", "-q", "-f", "--detach", one.as_str()]);
    assert_eq!(f.open().facts().unwrap().head, Head::Detached { commit: one });
}
