//! A commit written in process is one that git writes: same id, readable, as durable and as private.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::fixture::Fixture;

fn spec(tree: TreeId, parents: Vec<CommitId>, message: String) -> CommitSpec {
    let who = Signature { name: "Ada".to_owned(), email: "ada@example.org".to_owned() };
    CommitSpec { tree, parents, message, author: who.clone(), committer: who, time_s: 1_767_323_045 }
}

#[test]
fn git_reads_what_we_wrote_whatever_its_length() {
    let f = Fixture::with(&[("a", "a\n")]);
    let repo = f.open();
    assert_eq!(repo.objects_backend(), "git2");
    let tree = repo.tree_of(&f.head()).unwrap();
    // Around the length of one block, and several of them.
    let lengths = [0, 1, 300, 65_000, 65_281, 65_536, 70_000, 200_000];
    for length in lengths {
        let message = "x".repeat(length);
        let spec = spec(tree.clone(), vec![f.head()], message.clone());
        let id = repo.commit(&spec).unwrap();
        assert_eq!(
            id,
            hash(repo.store().args(["hash-object", "-t", "commit", "--stdin"]), object(&spec).as_bytes()).unwrap()
        );
        assert_eq!(f.git(&["log", "-1", "--format=%B", id.as_str()]).trim_end(), message);
        assert_eq!(repo.message(&id).unwrap().trim_end(), message);
    }
    f.git(&["fsck", "--strict"]);
    f.git(&["repack", "-adq"]);
}

#[test]
fn a_repeat_changes_nothing_but_its_age_and_permissions_are_gits() {
    let f = Fixture::with(&[("a", "a\n")]);
    let repo = f.open();
    let spec = spec(repo.tree_of(&f.head()).unwrap(), Vec::new(), "one".to_owned());
    let id = repo.commit(&spec).unwrap();
    let path = f.main().join(".git/objects").join(&id.as_str()[..2]).join(&id.as_str()[2..]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o444);
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    fs::File::open(&path).unwrap().set_modified(old).unwrap();
    assert_eq!(repo.commit(&spec).unwrap(), id);
    assert!(path.metadata().unwrap().modified().unwrap() > old, "else a collection could take it");
    let folder: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(folder.iter().all(|name| !name.to_string_lossy().starts_with("tmp_obj")), "{folder:?}");
}

#[test]
fn a_shared_repository_is_left_to_git() {
    let f = Fixture::with(&[("a", "a\n")]);
    f.git(&["config", "core.sharedRepository", "0660"]);
    let repo = f.open();
    let spec = spec(repo.tree_of(&f.head()).unwrap(), Vec::new(), "shared".to_owned());
    let id = repo.commit(&spec).unwrap();
    let path = f.main().join(".git/objects").join(&id.as_str()[..2]).join(&id.as_str()[2..]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o440);
}

#[test]
fn a_moved_commit_keeps_its_author_date_encoding_and_message_byte_for_byte() {
    let f = Fixture::with(&[("a", "a\n")]);
    let (base, repo) = (f.head(), f.open());
    let tree = repo.tree_of(&base).unwrap();
    let odd = b"Subject \xe9\n\nBody,\n\n\nwith a gap and no end".to_vec();
    let mut old = format!("tree {tree}\nparent {base}\nauthor B\u{e4}r <b@x> 1700000000 -0730\n").into_bytes();
    old.extend_from_slice(
        b"committer C <c@x> 1700000001 +0200\nencoding ISO-8859-1\ngpgsig -----BEGIN\n body\n -----END\n\n",
    );
    old.extend_from_slice(&odd);
    let old = hash(repo.store().args(["hash-object", "-t", "commit", "-w", "--stdin"]), &old).unwrap();
    let other = f.side(&base, &[("b", Some("b\n"))]);
    let who = Signature { name: "Ada".to_owned(), email: "ada@example.org".to_owned() };
    let new = repo.recommit(&old, &repo.tree_of(&other).unwrap(), &other, &who, 1_767_323_045).unwrap();
    let text = repo.commit_bytes(&new).unwrap();
    let mut expected = format!("tree {}\nparent {other}\n", repo.tree_of(&other).unwrap()).into_bytes();
    expected.extend_from_slice("author B\u{e4}r <b@x> 1700000000 -0730\n".as_bytes());
    expected.extend_from_slice(b"committer Ada <ada@example.org> 1767323045 +0000\nencoding ISO-8859-1\n\n");
    expected.extend_from_slice(&odd);
    assert_eq!(text, expected);
    assert_eq!(repo.line(&base, &new, 9).unwrap(), Some(vec![other.clone(), new.clone()]));
    assert_eq!(repo.line(&base, &new, 1).unwrap(), None, "more than was asked for");
    assert_eq!(repo.line(&new, &new, 1).unwrap(), Some(Vec::new()));
    assert_eq!(repo.line(&new, &base, 9).unwrap(), None, "it is not on the way");
    f.git(&["fsck", "--strict"]);
}
