//! Nothing may pass as clean that git would find changed; and what is clean is found so without git.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;
use rustix::fs::{CWD, mkfifoat};

use super::*;
use crate::fixture::Fixture;

fn repository() -> Fixture {
    let f = Fixture::with(&[("a", "a\n"), ("d/b", "b\n"), ("d/c/x", "x\n"), ("d.e", "between\n"), ("z/y", "y\n")]);
    symlink("a", f.main().join("link")).unwrap();
    f.commit(&[("tool", "#!/bin/sh\n")]);
    fs::set_permissions(f.main().join("tool"), Permissions::from_mode(0o755)).unwrap();
    f.commit(&[]);
    f
}

fn scanned(f: &Fixture) -> Option<Scan> {
    scan(&f.main(), &f.main().join(".git/index"), 20).unwrap()
}

fn names(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

#[test]
fn what_is_as_the_index_says_is_vouched_for() {
    let f = repository();
    assert_eq!(scanned(&f), Some(Scan::default()));
    // Written in the very moment of the index, it is read.
    let file = File::options().write(true).open(f.main().join(".git/index")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(scanned(&f), Some(Scan::default()));
}

#[test]
fn a_change_within_the_time_of_the_index_is_seen_by_its_content() {
    let f = repository();
    let index = f.main().join(".git/index");
    let noted = fs::metadata(f.main().join("a")).unwrap();
    fs::write(f.main().join("a"), "b\n").unwrap();
    // As if the clock had not moved on: git notes of the new content what it would have noted of the old one.
    f.git(&["update-index", "--index-info"]);
    let old = f.git(&["rev-parse", "HEAD:a"]);
    f.git(&["add", "a"]);
    let index_bytes = fs::read(&index).unwrap();
    let new = f.git(&["rev-parse", ":a"]);
    let raw = |hex: &str| (0..20).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect::<Vec<u8>>();
    let at = index_bytes.windows(20).position(|w| w == raw(&new)).unwrap();
    let mut forged = index_bytes;
    forged.splice(at..at + 20, raw(&old));
    fs::write(&index, forged).unwrap();
    File::options().write(true).open(&index).unwrap().set_modified(noted.modified().unwrap()).unwrap();
    assert_eq!(scanned(&f).unwrap().doubtful, names(&["a"]));
}

/// One thing that is done to the files, by its name here; gives what has to be found.
fn disturb(f: &Fixture, what: &str) -> Scan {
    let at = |path: &str| f.main().join(path);
    let mut found = Scan::default();
    match what {
        "content" => {
            fs::write(at("d/c/x"), "y\n").unwrap();
            found.doubtful = names(&["d/c/x"]);
        }
        "mode" => {
            fs::set_permissions(at("a"), Permissions::from_mode(0o755)).unwrap();
            found.doubtful = names(&["a"]);
        }
        "old time" => {
            fs::write(at("a"), "b\n").unwrap();
            File::options().write(true).open(at("a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            found.doubtful = names(&["a"]);
        }
        "missing" => {
            fs::remove_file(at("z/y")).unwrap();
            found.doubtful = names(&["z/y"]);
            found.walked.hollow = true;
        }
        "folder missing" => {
            fs::remove_dir_all(at("d")).unwrap();
            found.doubtful = names(&["d/b", "d/c/x"]);
        }
        "another link" => {
            fs::remove_file(at("link")).unwrap();
            symlink("z", at("link")).unwrap();
            found.doubtful = names(&["link"]);
        }
        "link for file" => {
            fs::rename(at("a"), at("z/moved")).unwrap();
            symlink("z/moved", at("a")).unwrap();
            found.doubtful = names(&["a"]);
            found.untracked = names(&["z/moved"]);
        }
        "link for folder" => {
            fs::rename(at("d"), at("e")).unwrap();
            symlink("e", at("d")).unwrap();
            found.doubtful = names(&["d/b"]);
            found.untracked = names(&["d", "e"]);
        }
        "folder for file" => {
            fs::remove_file(at("a")).unwrap();
            fs::create_dir(at("a")).unwrap();
            fs::write(at("a/inside"), "").unwrap();
            found.doubtful = names(&["a"]);
            found.untracked = names(&["a"]);
        }
        "file for folder" => {
            fs::remove_dir_all(at("d/c")).unwrap();
            fs::write(at("d/c"), "").unwrap();
            found.doubtful = names(&["d/c/x"]);
            found.untracked = names(&["d/c"]);
        }
        "new file" => {
            fs::write(at("d/new"), "").unwrap();
            found.untracked = names(&["d/new"]);
        }
        "new for missing" => {
            fs::rename(at("d/b"), at("d/new")).unwrap();
            found.doubtful = names(&["d/b"]);
            found.untracked = names(&["d/new"]);
        }
        "hollow folder" => {
            fs::create_dir_all(at("new/er")).unwrap();
            found.untracked = names(&["new"]);
            found.walked.hollow = true;
        }
        "repository" => {
            fs::create_dir_all(at("z/.GIT/refs")).unwrap();
            found.walked.suspects = vec!["z".into()];
        }
        "repository beside" => {
            fs::create_dir_all(at("n/m/.git/refs")).unwrap();
            found.untracked = names(&["n"]);
            found.walked.suspects = vec!["n/m".into()];
        }
        "pipe" => {
            mkfifoat(CWD, at("d/pipe"), 0o600.into()).unwrap();
            found.walked.suspects = vec!["d/pipe".into()];
        }
        other => panic!("{other}"),
    }
    found
}

#[test]
fn whatever_differs_is_found() {
    let all = [
        "content",
        "mode",
        "old time",
        "missing",
        "folder missing",
        "another link",
        "link for file",
        "link for folder",
        "folder for file",
        "file for folder",
        "new file",
        "new for missing",
        "hollow folder",
        "repository",
        "repository beside",
        "pipe",
    ];
    for what in all {
        let f = repository();
        let expected = disturb(&f, what);
        let mut found = scanned(&f).unwrap();
        // Through the link the files are there, and as they were; the link itself is what is told.
        if what == "link for folder" {
            assert!(found.doubtful.iter().all(|path| path.starts_with(b"d/")));
            found.doubtful.clone_from(&expected.doubtful);
        }
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn an_index_of_another_kind_is_left_to_git() {
    let commands: [&[&str]; 5] = [
        &["update-index", "--index-version", "4"],
        &["update-index", "--assume-unchanged", "a"],
        &["update-index", "--skip-worktree", "a"],
        &["update-index", "--split-index"],
        &["update-index", "--add", "--cacheinfo", "160000,1111111111111111111111111111111111111111,sub"],
    ];
    for command in commands {
        let f = repository();
        f.git(command);
        assert_eq!(scanned(&f), None, "{command:?}");
    }
    let f = repository();
    assert_eq!(scan(&f.main(), &f.main().join("no such index"), 20).unwrap(), None);
    let index = f.main().join(".git/index");
    let whole = fs::read(&index).unwrap();
    for length in 0..whole.len() - 1 {
        fs::write(&index, &whole[..length]).unwrap();
        // Cut off, it may still be an index of fewer extensions, but never one of fewer files.
        if let Some(scan) = scan(&f.main(), &index, 20).unwrap() {
            assert_eq!(scan.untracked, names(&[]), "cut to {length}");
        }
    }
}

#[test]
fn ignored_names_are_told_apart_and_tracked_ones_do_not_matter() {
    let f = repository();
    f.commit(&[(".gitignore", "*.log\n/target/\n!keep.log\n")]);
    let git = f.open();
    let run = || git.git().at(crate::git::At::Files { work_tree: &f.main(), index: &f.main().join("none") });
    fs::create_dir(f.main().join("target")).unwrap();
    let asked = names(&["x.log", "target", "keep.log", "d/y.log", "d/target", " odd\n:(top)name"]);
    let told = ignored(run(), &asked).unwrap();
    assert_eq!(told, names(&["x.log", "target", "d/y.log"]).into_iter().collect());
    assert_eq!(ignored(run(), &[]).unwrap(), BTreeSet::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn folders_hold_all_entries_and_each_other(paths in prop::collection::btree_set("[ab.-]{1,2}(/[ab.-]{1,2}){0,3}", 1..40)) {
        let clash = |path: &String| paths.iter().any(|other| other.starts_with(&format!("{path}/")));
        let sorted: Vec<&String> = paths.iter().filter(|path| !clash(path)).collect();
        let noted = Noted { changed: (0, 0), modified: (0, 0), inode: 0, mode: FILE, user: 0, group: 0, size: 0 };
        let entries: Vec<Entry<'_>> = sorted.iter().map(|p| Entry { noted, id: &[], path: p.as_bytes() }).collect();
        let found = folders(&entries);
        let mut all: Vec<usize> = found.iter().flat_map(|folder| folder.files.clone()).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..entries.len()).collect::<Vec<_>>());
        let paths: BTreeSet<&[u8]> = found.iter().map(|folder| folder.path).collect();
        prop_assert_eq!(paths.len(), found.len(), "each once");
        for folder in &found {
            for n in &folder.files {
                prop_assert_eq!(parted(entries[*n].path).0, folder.path);
            }
            let below: BTreeSet<&[u8]> =
                paths.iter().filter(|p| !p.is_empty() && parted(p).0 == folder.path).map(|p| parted(p).1).collect();
            prop_assert_eq!(&below, &folder.folders);
        }
    }
}
