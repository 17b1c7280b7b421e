//! Tests of [`super`].

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::{Contents, PathError, Worktree};

struct Bench {
    _dir: tempfile::TempDir,
    worktree: Worktree,
}

/// A worktree with files, links of every kind, and something worth stealing beside it.
fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    for folder in ["tree/src", "tree/.git", "outside"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    std::fs::write(root.join("src/a.rs"), "a\n").unwrap();
    std::fs::write(root.join(".git/config"), "[core]\n").unwrap();
    std::fs::write(dir.path().join("outside/secret"), "secret\n").unwrap();
    symlink("src/a.rs", root.join("inside")).unwrap();
    symlink("../src/a.rs", root.join("src/up_and_in")).unwrap();
    symlink(root.join("src"), root.join("absolute_inside")).unwrap();
    symlink("../outside/secret", root.join("out")).unwrap();
    symlink("../outside", root.join("out_folder")).unwrap();
    symlink(dir.path().join("outside/secret"), root.join("absolute_out")).unwrap();
    symlink(".git", root.join("git_folder")).unwrap();
    symlink("loop_b", root.join("loop_a")).unwrap();
    symlink("loop_a", root.join("loop_b")).unwrap();
    symlink("../outside/not_there", root.join("dangling_out")).unwrap();
    let worktree = Worktree::new(&root).unwrap();
    Bench { _dir: dir, worktree }
}

#[test]
fn paths_inside_are_found_by_their_real_name() {
    let bench = bench();
    let absolute = bench.worktree.root().join("src/a.rs");
    for given in
        ["src/a.rs", "./src/a.rs", "inside", "src/up_and_in", "absolute_inside/a.rs", absolute.to_str().unwrap()]
    {
        let at = bench.worktree.locate(given).unwrap();
        assert_eq!(at.name(), "src/a.rs", "{given}");
        assert_eq!(bench.worktree.read(&at).unwrap().bytes, b"a\n", "{given}");
    }
    assert_eq!(bench.worktree.locate("new/deep/file").unwrap().name(), "new/deep/file");
}

#[test]
fn no_path_leads_out() {
    let bench = bench();
    let outside = |given: &str| matches!(bench.worktree.locate(given), Err(PathError::Outside { .. }));
    let sibling = bench.worktree.root().with_file_name("outside").join("secret");
    let lookalike = format!("{}-other/x", bench.worktree.root().display());
    for given in [
        "../outside/secret",
        "src/../../outside/secret",
        "src/../a.rs",
        "out",
        "out_folder/secret",
        "absolute_out",
        "dangling_out",
        "/etc/passwd",
        sibling.to_str().unwrap(),
        &lookalike,
    ] {
        assert!(outside(given), "{given}: {:?}", bench.worktree.locate(given));
    }
    let git = |given: &str| matches!(bench.worktree.locate(given), Err(PathError::Git { .. }));
    for given in [".git", ".git/config", ".GIT/config", "src/.git/x", "git_folder/config", "git_folder"] {
        assert!(git(given), "{given}: {:?}", bench.worktree.locate(given));
    }
    assert!(matches!(bench.worktree.locate("loop_a"), Err(PathError::Io { .. })));
    for given in ["", "a\0b"] {
        assert!(matches!(bench.worktree.locate(given), Err(PathError::Malformed { .. })));
    }
}

#[test]
fn a_link_that_appears_after_the_check_is_an_error_and_no_way_out() {
    let bench = bench();
    let root = bench.worktree.root().to_owned();
    let file = bench.worktree.locate("src/b.rs").unwrap();
    symlink("../../outside/secret", root.join("src/b.rs")).unwrap();
    assert!(bench.worktree.read(&file).is_err());
    assert!(bench.worktree.replace(&file, None, b"overwritten").is_err());
    let below = bench.worktree.locate("later/secret").unwrap();
    symlink("../outside", root.join("later")).unwrap();
    assert!(bench.worktree.read(&below).is_err());
    assert!(bench.worktree.replace(&below, None, b"overwritten").is_err());
    let secret = root.with_file_name("outside").join("secret");
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret\n");
}

#[test]
fn only_regular_files_are_read() {
    let bench = bench();
    let root = bench.worktree.root();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for (given, part) in
        [("pipe", "named pipe"), ("src", "folder"), ("none", "does not exist"), (".", "worktree itself")]
    {
        let at = bench.worktree.locate(given).unwrap();
        let error = bench.worktree.read(&at).unwrap_err().to_string();
        assert!(error.contains(part), "{given}: {error}");
    }
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_file_is_replaced_whole_and_keeps_its_mode() {
    let bench = bench();
    let path = bench.worktree.root().join("src/a.rs");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let at = bench.worktree.locate("inside").unwrap();
    let before = bench.worktree.read(&at).unwrap();
    bench.worktree.replace(&at, Some(&before), b"b\n").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"b\n");
    assert_eq!(mode_of(&path), 0o755);
    assert!(bench.worktree.root().join("inside").is_symlink());
    let again = bench.worktree.replace(&at, Some(&before), b"c\n");
    assert!(matches!(again, Err(PathError::Changed { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"b\n");
    let new = bench.worktree.locate("x/y/z").unwrap();
    bench.worktree.replace(&new, None, b"new").unwrap();
    assert_eq!(bench.worktree.read_if_there(&new).unwrap().map(|Contents { bytes, .. }| bytes), Some(b"new".to_vec()));
    let left: Vec<_> =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}
