//! A disk that is full, or may not be written to: the run ends with a message that says so, nothing is broken, and with
//! room again it goes on to the same end.
//!
//! The disk is a small tmpfs in a mount namespace of the test's own, so no root is needed where the kernel lets users have
//! one; elsewhere the test says that it was skipped.

use super::plans::{QUEUE, RUN};
use super::say;
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
for turn in 1 2 3; do
  "$WATTLE" resume >"$OLDPWD/again" 2>&1
  code=$?
  case "$code" in
    0) break ;;
    1) "$WATTLE" retry '*' >/dev/null 2>&1 ;;
    5) grep -q 'find a run' "$OLDPWD/again" && "$WATTLE" run -f ../../plan.yml --approve auto >"$OLDPWD/again" 2>&1 && code=0 && break ;;
  esac
done
echo "last $code"
git fsck --strict --no-dangling >"$OLDPWD/fsck" 2>&1; echo "fsck $?"
echo "tree $(git rev-parse 'main^{tree}')"
echo "status $(git status --porcelain)"
echo "locks $(find .git -name '*.lock' | grep -v wattle/lock)"
echo "merges $(git log --first-parent --format='%(trailers:key=Wattle-Step,valueonly,separator=%x2C)' main | grep -c .)"
"#;

fn on_small_disk(env: &TestEnv, size: &str, left: &str) -> Output {
    std::fs::create_dir_all(env.root().join("disk")).expect("the folder is ours");
    let program = crate::env::program();
    let wattle = program.to_str().expect("a plain path");
    let script = format!("WATTLE={wattle}\n{SCRIPT}");
    env.program("unshare", env.root(), &["-rm", "sh", "-c", &script, "disk", size, left])
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
fn expected() -> String {
    let env = TestEnv::new();
    let repo = QUEUE.world(&env);
    drop(env.wattle(&repo.path, &RUN).ok());
    repo.git(&["rev-parse", "main^{tree}"])
}

/// Runs the plan on small disks; `says` is what the first run has to say if it has not come to its end.
#[track_caller]
fn survives(sizes: &[&str], says: &[&str]) {
    let (tree, mut stopped) = (expected(), 0);
    for left in sizes {
        let env = TestEnv::new();
        drop(QUEUE.world(&env));
        let out = on_small_disk(&env, "24m", left);
        if out.code == 77 || out.err.contains("unshare") {
            say(&format!("skipped: no mount namespace for this user: {}", out.err.trim()));
            return;
        }
        let (first, again) = (read(&env, "first"), read(&env, "again"));
        let code: i32 = line(&out, "first").parse().expect("a number");
        if code != 0 {
            stopped += 1;
            assert!([1, 4, 5].contains(&code), "{left}: exit {code}: {first}");
            assert!(says.iter().any(|says| first.contains(says)), "{left}: it does not say what is wrong: {first}");
        }
        assert_eq!(line(&out, "last"), "0", "{left}: {first}\n{again}");
        assert!(!out.out.contains("fsck 1"), "{left}: {}\n{}", out.out, read(&env, "fsck"));
        assert_eq!(line(&out, "tree"), tree, "{left}: {first}\n{again}");
        assert_eq!((line(&out, "status"), line(&out, "locks"), line(&out, "merges")), ("", "", "7"), "{left}");
    }
    say(&format!("faults: {stopped} of {} runs met the end of the disk and went on later", sizes.len()));
    assert!(stopped > 0, "no run met the end of the disk");
}

#[test]
fn a_full_disk_stops_a_run_and_with_room_again_it_goes_on() {
    survives(&["0", "120", "300", "500", "700", "900", "1200", "1800"], &["No space", "disk is full"]);
}

#[test]
fn a_disk_that_may_not_be_written_to_is_named_and_nothing_is_changed() {
    survives(&["ro"], &["ead-only"]);
}
