//! A disk that is full, or may not be written to: the run ends with a message that says so, nothing is broken, and with
//! room again it goes on to the same end.
//!
//! The disk is a small tmpfs in a mount namespace of the test's own, so no root is needed where the kernel lets users have
//! one; elsewhere the test says that it was skipped. Repository and state lie on one disk or on one each, and a disk is full
//! from the start or from a chosen moment on.

use super::matrix::AT_ONCE;
use super::plans::{QUEUE, RUN};
use super::{each, say};
use crate::env::{Output, TestEnv};

/// What happens on the small disk: `$1` is its size, `$2` how many KiB are left when the run starts (or `ro`).
const SCRIPT: &str = r#"
set -u
disk="$PWD/disk"
mount -t tmpfs -o "size=$1" none "$disk" || exit 77
cp -a repo "$disk/repo"
mkdir "$disk/state"
cd "$disk/repo"
export WATTLE_STATE_DIR="$disk/state"
case "$2" in
  ro) mount -o remount,ro "$disk" || exit 77 ;;
  *)
    dd if=/dev/zero of="$disk/fill" bs=1k 2>/dev/null
    left=$(( $2 * 1024 ))
    size=$(stat -c %s "$disk/fill")
    truncate -s $(( size > left ? size - left : 0 )) "$disk/fill" ;;
esac
"$WATTLE" run -f ../../plan.yml --approve auto >"$OLDPWD/first" 2>&1
echo "first $?"
git fsck --strict --no-dangling >"$OLDPWD/fsck" 2>&1; echo "fsck $?"
mount -o remount,rw "$disk"
rm -f "$disk/fill"
"#;

/// Two disks; `$1` says which of them (`repo` or `state`) is full from the point `$2` on.
const AT_A_POINT: &str = r#"
set -u
for disk in repo state; do
  mkdir "$PWD/disk/$disk"
  mount -t tmpfs -o size=24m none "$PWD/disk/$disk" || exit 77
done
cp -a repo disk/repo/repo
full="$PWD/disk/$1"
export WATTLE_STATE_DIR="$PWD/disk/state"
cd disk/repo/repo
OLDPWD="$PWD/../../.."
WATTLE_FAULT="stop=$2" "$WATTLE" run -f ../../../plan.yml --approve auto >"$OLDPWD/first" 2>&1 &
pid=$!
state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' /proc/$pid/status 2>/dev/null; }
until case "$(state)" in T|Z|"") true ;; *) false ;; esac; do sleep 0.02; done
echo "stopped $(state)"
dd if=/dev/zero of="$full/fill" bs=1k 2>/dev/null
kill -CONT $pid
wait $pid
echo "first $?"
git fsck --strict --no-dangling >"$OLDPWD/fsck" 2>&1; echo "fsck $?"
rm -f "$full/fill"
"#;

/// With room again: the run goes on by `resume` alone, and what there is then is said.
const GO_ON: &str = r#"
for turn in 1 2 3; do
  "$WATTLE" resume >"$OLDPWD/again" 2>&1
  code=$?
  case "$code" in
    0) break ;;
    5) grep -q 'find a run' "$OLDPWD/again" && "$WATTLE" run -f "$OLDPWD/plan.yml" --approve auto >"$OLDPWD/again" 2>&1 && code=0 && break ;;
  esac
done
echo "last $code"
git fsck --strict --no-dangling >"$OLDPWD/fsck" 2>&1; echo "fsck $?"
echo "tree $(git rev-parse 'main^{tree}')"
echo "status $(git status --porcelain)"
echo "locks $(find .git -name '*.lock' | grep -v wattle/lock)"
echo "merges $(git log --first-parent --format='%(trailers:key=Wattle-Step,valueonly,separator=%x2C)' main | grep -c .)"
"#;

fn on_small_disk(env: &TestEnv, script: &str, args: [&str; 2]) -> Output {
    std::fs::create_dir_all(env.root().join("disk")).expect("the folder is ours");
    let program = crate::env::program();
    let wattle = program.to_str().expect("a plain path");
    let script = format!("WATTLE={wattle}\n{script}{GO_ON}");
    env.program("unshare", env.root(), &["-rm", "sh", "-c", &script, "disk", args[0], args[1]])
}

/// The line of the script's output with this first word.
#[track_caller]
fn line<'o>(out: &'o Output, word: &str) -> &'o str {
    let found = out.out.lines().rev().find_map(|line| line.strip_prefix(word));
    found.unwrap_or_else(|| panic!("no line `{word}`: {}\n{}", out.out, out.err)).trim()
}

fn read(env: &TestEnv, name: &str) -> String {
    std::fs::read_to_string(env.root().join(name)).unwrap_or_default()
}

/// The tree that the plan ends with, on a disk with room.
pub(super) fn expected() -> String {
    let env = TestEnv::new();
    let repo = QUEUE.world(&env);
    drop(env.wattle(&repo.path, &RUN).ok());
    repo.git(&["rev-parse", "main^{tree}"])
}

/// Runs the plan on a small disk; `says` is what the first run has to say if it has not come to its end. How often has it
/// not? `None` = there is no such disk here.
#[track_caller]
fn survives(case: &str, script: &str, args: [&str; 2], tree: &str, says: &[&str]) -> Option<usize> {
    let env = TestEnv::new();
    drop(QUEUE.world(&env));
    let out = on_small_disk(&env, script, args);
    if out.code == 77 || out.err.contains("unshare") {
        say(&format!("skipped: no mount namespace for this user: {}", out.err.trim()));
        return None;
    }
    let (first, again) = (read(&env, "first"), read(&env, "again"));
    let code: i32 = line(&out, "first").parse().expect("a number");
    if code != 0 {
        assert!([4, 5].contains(&code), "{case}: exit {code}: {first}");
        assert!(says.iter().any(|says| first.contains(says)), "{case}: it does not say what is wrong: {first}");
    }
    assert_eq!(line(&out, "last"), "0", "{case}: {first}\n{again}");
    assert!(!out.out.contains("fsck 1"), "{case}: {}\n{}", out.out, read(&env, "fsck"));
    assert_eq!(line(&out, "tree"), tree, "{case}: {first}\n{again}");
    assert_eq!(
        (line(&out, "status"), line(&out, "locks"), line(&out, "merges")),
        ("", "", "7"),
        "{case}: {first}\n{again}"
    );
    Some(usize::from(code != 0))
}

/// Disks of 24 MB with so many KiB left when the run starts (or `ro`).
#[track_caller]
fn on_disks(left: &[&str], says: &[&str]) {
    let tree = expected();
    let mut stopped = 0;
    for left in left {
        let Some(more) = survives(left, SCRIPT, ["24m", left], &tree, says) else { return };
        stopped += more;
    }
    say(&format!("faults: {stopped} of {} runs met the end of the disk and went on later", left.len()));
    assert!(stopped > 0, "no run met the end of the disk");
}

#[test]
fn a_full_disk_stops_a_run_and_with_room_again_it_goes_on() {
    on_disks(&["0", "120", "300", "500", "700", "900", "1200", "1800"], &["No space", "disk is full"]);
}

#[test]
fn a_disk_that_may_not_be_written_to_is_named_and_nothing_is_changed() {
    on_disks(&["ro"], &["ead-only"]);
}

/// Around the effects of a step and of a landing.
const MOMENTS: &[&str] = &[
    "slot.make:2",
    "capture.after:1",
    "ref.attempt.before:1",
    "git.merge-tree.before:1",
    "ref.candidate.before:1",
    "land.asked:1",
    "land.between:1",
    "journal.after:12",
];

/// One disk, full from a moment on.
struct Full {
    disk: &'static str,
    at: &'static str,
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the disk of the {} full from {} on", self.disk, self.at)
    }
}

#[test]
fn one_of_two_disks_full_from_a_moment_on_holds_a_run_until_there_is_room() {
    let tree = expected();
    let disks = ["repo", "state"].into_iter();
    let cases: Vec<Full> = disks.flat_map(|disk| MOMENTS.iter().map(move |at| Full { disk, at })).collect();
    let says = ["No space", "disk is full", "unable to write", "unable to create"];
    let (stopped, failures) = each(&cases, AT_ONCE, |case| {
        survives(&case.to_string(), AT_A_POINT, [case.disk, case.at], &tree, &says).unwrap_or(0)
    });
    say(&format!(
        "faults: filled one of two disks at {} moments, {stopped} runs stopped for it; {} ended otherwise",
        cases.len(),
        failures.len()
    ));
    assert!(failures.is_empty(), "{failures:#?}");
}
