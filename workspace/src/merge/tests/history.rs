//! A history of a few hundred commits that no person would write: edits, renames of files and folders, deletions, modes,
//! links, submodules, files that become folders, attributes that come and go, merges that cross. Pairs of its commits are
//! merged as `git merge` merges them in a checkout.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;

/// Commits of a history, and pairs of them that are merged.
const COMMITS: usize = 160;
const PAIRS: usize = 240;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

#[derive(Clone)]
struct Node {
    mode: &'static str,
    text: String,
}

type Files = BTreeMap<String, Node>;

fn lines(file: usize) -> String {
    (0..12).map(|line| format!("file {file} has a line {line}\n")).collect()
}

fn start() -> Files {
    let file = |n: usize| (format!("d{}/f{n}", n % 4), Node { mode: "100644", text: lines(n) });
    (0..16).map(file).collect()
}

/// What stands in the way of a path: a file where it needs a folder, or the reverse.
fn make_room(files: &mut Files, path: &str) {
    let below = format!("{path}/");
    files.retain(|other, _| !other.starts_with(&below) && !path.starts_with(&format!("{other}/")));
}

fn put(files: &mut Files, path: String, node: Node) {
    make_room(files, &path);
    files.insert(path, node);
}

fn change(files: &mut Files, dice: &mut Dice) {
    let paths: Vec<String> = files.keys().cloned().collect();
    let Some(path) = paths.get(dice.below(paths.len().max(1))).cloned() else { return };
    let node = files[&path].clone();
    match dice.below(20) {
        0..8 if node.mode.starts_with("100") => {
            let (line, to) = (dice.below(12), dice.below(3));
            let changed =
                |(n, text): (usize, &str)| if n == line { format!("changed {to}\n") } else { format!("{text}\n") };
            let text = node.text.lines().enumerate().map(changed).collect();
            files.insert(path, Node { text, ..node });
        }
        8 | 9 => _ = files.remove(&path),
        10 | 11 => {
            files.remove(&path);
            put(files, format!("d{}/moved{}", dice.below(5), dice.below(6)), node);
        }
        12 => {
            let (from, to) = (format!("d{}/", dice.below(4)), format!("new{}/", dice.below(3)));
            for path in paths.iter().filter(|path| path.starts_with(&from)) {
                let node = files.remove(path).unwrap();
                put(files, path.replacen(&from, &to, 1), node);
            }
        }
        13 | 14 => {
            let name = format!("d{}/added{}", dice.below(5), dice.below(4));
            put(files, name, Node { mode: "100644", text: lines(100 + dice.below(3)) });
        }
        15 => {
            let mode = if node.mode == "100644" { "100755" } else { "100644" };
            if node.mode.starts_with("100") {
                files.insert(path, Node { mode, ..node });
            }
        }
        16 => put(files, path, Node { mode: "120000", text: format!("target{}", dice.below(3)) }),
        17 => put(files, "sub".to_owned(), Node { mode: "160000", text: format!("{:040x}", 1 + dice.below(3)) }),
        18 => put(files, format!("{path}/inside"), Node { mode: "100644", text: lines(200) }),
        _ => match dice.below(2) {
            0 => _ = files.remove(".gitattributes"),
            _ => {
                let text = ["d1/* merge=union\n", "d2/* binary\n"][dice.below(2)].to_owned();
                put(files, ".gitattributes".to_owned(), Node { mode: "100644", text });
            }
        },
    }
}

/// The history, for `git fast-import`. A merge takes the files of one side as they are: whatever it means, git has to
/// find its way through it.
fn stream(dice: &mut Dice) -> String {
    let mut out = String::new();
    let mut made: Vec<Files> = Vec::new();
    for n in 0..COMMITS {
        let near = |dice: &mut Dice| made.len() - 1 - dice.below(made.len().min(24));
        let (mut files, parents) = match made.len() {
            0 => (start(), Vec::new()),
            _ => {
                let (one, other) = (near(dice), near(dice));
                let merges = dice.below(4) == 0 && one != other;
                (made[one].clone(), if merges { vec![one, other] } else { vec![one] })
            }
        };
        for _ in 0..dice.below(4) + usize::from(parents.len() == 1) {
            change(&mut files, dice);
        }
        let time = 1_767_323_045 + n;
        _ = write!(out, "commit refs/heads/history\nmark :{}\n", n + 1);
        _ = write!(out, "committer Ada <ada@example.org> {time} +0000\ndata 1\nx\n");
        for (at, parent) in parents.iter().enumerate() {
            _ = writeln!(out, "{} :{}", if at == 0 { "from" } else { "merge" }, parent + 1);
        }
        out.push_str("deleteall\n");
        for (path, Node { mode, text }) in &files {
            match *mode {
                "160000" => _ = writeln!(out, "M 160000 {text} {path}"),
                mode => _ = write!(out, "M {mode} inline {path}\ndata {}\n{text}\n", text.len()),
            }
        }
        made.push(files);
    }
    out
}

/// What `git merge` says, in the main checkout: the tree, or the paths in conflict; none when it cannot write the result
/// there, as with a submodule where a file of the same name has to be, and fails.
pub(super) fn git_merge(f: &Fixture, ours: &CommitId, theirs: &CommitId) -> Option<Result<String, Vec<String>>> {
    f.git(&["checkout", "-q", "-f", "--detach", ours.as_str()]);
    f.git(&["clean", "-q", "-ffdx"]);
    if f.succeeds(&f.main(), &["merge", "-q", "--no-ff", "-m", "merge", theirs.as_str()]) {
        return Some(Ok(f.git(&["rev-parse", "HEAD^{tree}"])));
    }
    let lock = f.main().join(".git/index.lock");
    if lock.exists() {
        std::fs::remove_file(lock).unwrap();
        f.git(&["reset", "-q", "--hard"]);
        return None;
    }
    let unmerged = f.git(&["ls-files", "-u", "-z"]);
    let path = |entry: &str| entry.split_once('\t').map(|(_, path)| path.to_owned());
    let mut paths: Vec<String> = unmerged.split('\0').filter_map(path).collect();
    paths.dedup();
    f.git(&["reset", "-q", "--hard"]);
    // It fails without a conflict when the files cannot be written.
    (!paths.is_empty()).then_some(Err(paths))
}

#[test]
fn a_history_that_crosses_merges_as_git_merge_merges_it() {
    let f = Fixture::empty(&[]);
    let mut dice = Dice(0x5eed_0003);
    let marks = f.root().join("marks");
    f.fed(&["fast-import", "--quiet", "--force", &format!("--export-marks={}", marks.display())], &stream(&mut dice));
    let marks = std::fs::read_to_string(marks).unwrap();
    let mut commits: Vec<(usize, CommitId)> = Vec::new();
    for (mark, id) in marks.lines().filter_map(|line| line.strip_prefix(':')?.split_once(' ')) {
        commits.push((mark.parse().unwrap(), id.parse().unwrap()));
    }
    commits.sort();
    assert_eq!(commits.len(), COMMITS);
    let mut pair = || {
        let at = dice.below(COMMITS);
        let other = (at + 1 + dice.below(24)) % COMMITS;
        (commits[at].1.clone(), commits[other].1.clone())
    };
    let pairs: Vec<(CommitId, CommitId)> = (0..PAIRS).map(|_| pair()).collect();
    let answers = f.open().trial(Rules::Checkout).unwrap().merge_all(&pairs).unwrap();
    let (mut clean, mut crossed, mut died, mut kinds) = (0, 0, 0, std::collections::BTreeSet::new());
    for ((ours, theirs), answer) in pairs.iter().zip(&answers) {
        let Some(expected) = git_merge(&f, ours, theirs) else {
            died += 1;
            continue;
        };
        let bases = f.git(&["rev-list", "--max-count=2", "--merges", &format!("{ours}...{theirs}")]);
        crossed += usize::from(bases.lines().count() == 2);
        let found = match answer {
            Merged::Clean { tree } => {
                clean += 1;
                Ok(tree.to_string())
            }
            Merged::Conflicts { paths, notes, .. } => {
                kinds.extend(notes.iter().map(|note| note.kind.clone()));
                Err(paths.clone())
            }
        };
        assert_eq!(found, expected, "{ours} {theirs}");
    }
    assert!(died < PAIRS / 8, "git died over {died} of {PAIRS}");
    // Else the history has become too tame to show anything.
    assert!(clean > PAIRS / 20 && PAIRS - clean > PAIRS / 20, "{clean} of {PAIRS} are clean");
    assert!(crossed > PAIRS / 10, "{crossed} of {PAIRS} have merges on the way");
    assert!(kinds.len() >= 8, "{kinds:?}");
}
