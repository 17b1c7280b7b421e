//! What is true of one kind of repository only.

use super::Kind;
use super::world::World;
use crate::env::TestEnv;

/// Appends a line to `left.txt`, with nothing to check.
const ONE: &str = "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: one, touches: [left.txt], retries: 0, run: 'echo A >>left.txt' }\n";
const AUTO: &[&str] = &["run", "-f", "-", "--approve", "auto"];

#[test]
fn a_promisor_that_is_gone_is_named_and_nothing_moves() {
    let kind = Kind::of("up; git clone -q --no-checkout --filter=blob:none file://$PWD/../up .; mv ../up ../gone");
    let world = World::new(&kind);
    let before = world.within("theirs", "git for-each-ref refs/heads/main");
    let said = world.fed(&[AUTO, &["--target", "side"]].concat(), ONE);
    assert_ne!(said.code, 0);
    let told = said.out + &said.err + &world.wattle(&["log"]).out;
    assert!(told.contains("this partial clone lacks"), "{told}");
    assert_eq!(world.within("theirs", "git for-each-ref refs/heads/main"), before);
    // With the remote back, the same work is done.
    world.within("theirs", "mv ../gone ../up");
    drop(world.fed(&[AUTO, &["--target", "side"]].concat(), ONE).ok());
    assert!(world.within("theirs", "git show side:left.txt").ends_with('A'));
}

/// Repository and state on a disk of their own each, where the folder of objects that is ours has the inode number of the
/// repository's: on a small file system in memory each new file has the next number.
const ONE_NUMBER: &str = r#"
set -eu
for disk in repo state; do
  mkdir -p "disk/$disk"
  mount -t tmpfs -o size=24m none "disk/$disk" || exit 77
done
cp -a repo disk/repo/repo
export WATTLE_STATE_DIR="$PWD/disk/state"
plan="$PWD/plan.yml"
cd disk/repo/repo
number() { stat -c %i "$1"; }
# Makes a folder that has a number, if that is still to come on its disk.
numbered() {
  mkdir "$1"; now=$(number "$1"); rmdir "$1"
  [ "$now" -lt "$2" ] || return 1
  mkdir "$1.pad"; now=$(number "$1.pad")
  seq $(( $2 - now - 1 )) | (cd "$1.pad" && xargs -r touch)
  mkdir "$1"; rm -r "$1.pad"
  [ "$(number "$1")" = "$2" ]
}
"$WATTLE" run -f "$plan" --until review >/dev/null 2>&1 || true
ours=$(echo "$WATTLE_STATE_DIR"/repos/*/git/objects)
numbered "$PWD/.git/objects.new" $(( $(number .git/objects) + $(number "$ours") + 2000 ))
mv .git/objects/* .git/objects.new/
rmdir .git/objects
mv .git/objects.new .git/objects
numbered "$ours.new" "$(number .git/objects)"
mv "$ours"/* "$ours.new"/
rmdir "$ours"
mv "$ours.new" "$ours"
echo "numbers $(number .git/objects) $(number "$ours")"
"$WATTLE" run -f "$plan" --approve auto || echo "failed $?"
git log --format=%s -1 main
"#;

#[test]
fn objects_are_found_where_a_folder_of_ours_has_the_number_of_theirs_on_another_disk() {
    let env = TestEnv::new();
    drop(env.repo("repo", &[("left.txt", "left\n")]));
    std::fs::write(env.root().join("plan.yml"), ONE).unwrap();
    let script = format!("WATTLE={}\n{ONE_NUMBER}", crate::env::program().display());
    let out = env.program("unshare", env.root(), &["-rm", "sh", "-c", &script]);
    if out.code == 77 || out.err.contains("unshare") {
        return crate::faults::say(&format!("skipped: no mount namespace for this user: {}", out.err.trim()));
    }
    let numbers =
        out.out.lines().find_map(|line| line.strip_prefix("numbers ")).unwrap_or_else(|| panic!("{}", out.whole()));
    let (theirs, ours) = numbers.split_once(' ').unwrap();
    assert_eq!(theirs, ours);
    assert_eq!(out.out.lines().last(), Some("Land one"), "{}", out.whole());
}

#[test]
fn an_unborn_branch_is_no_base_and_another_one_can_be() {
    let kind = Kind::of("git init -q; first; git checkout -q --orphan fresh; git rm -rfq .");
    let world = World::new(&kind);
    let said = world.fed(AUTO, ONE).code(5);
    assert!(said.err.contains("find a base commit"), "{}", said.err);
    drop(world.fed(&[AUTO, &["--base", "main", "--target", "main"]].concat(), ONE).ok());
    assert_eq!(world.within("theirs", "git show main:left.txt"), "left\nA");
    assert_eq!(world.within("theirs", "git symbolic-ref HEAD"), "refs/heads/fresh");
}

#[test]
fn a_commit_without_files_is_a_base() {
    let kind = Kind::of("git init -q; git commit -q --allow-empty -m empty");
    let world = World::new(&kind);
    drop(world.fed(AUTO, ONE).ok());
    assert_eq!(world.within("theirs", "cat left.txt; git status --porcelain"), "A");
}

#[test]
fn a_merge_driver_merges_what_lands() {
    let kind = Kind::of(
        "git init -q; git config merge.sorted.driver 'cat %A %B | sort -u >%A.new && mv %A.new %A'; \
         echo '*.list merge=sorted' >.gitattributes; echo a >names.list; first",
    );
    let world = World::new(&kind);
    let plan =
        "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: one, touches: [names.list], run: 'echo b >>names.list' }\n";
    drop(world.fed(&["run", "-f", "-"], plan).code(4));
    // Meanwhile the user adds a line in the same place.
    world.within("theirs", "echo c >>names.list; git commit -qam c");
    let pair = world.wattle(&["conflicts", "--json"]).ok().json();
    assert_eq!(pair["pairs"].as_array().unwrap().iter().filter(|pair| pair["clean"] == false).count(), 0, "{pair}");
    drop(world.wattle(&["approve", "one"]).ok());
    drop(world.wattle(&["merge"]).ok());
    assert_eq!(world.within("theirs", "git show main:names.list; cat names.list"), "a\nb\nc\na\nb\nc");
}

#[test]
fn an_extension_that_git_does_not_know_is_said_by_git() {
    let kind = Kind::of(
        "git init -q; first; git config core.repositoryformatversion 1; git config extensions.fromTheFuture true",
    );
    let world = World::new(&kind);
    let said = world.fed(AUTO, ONE).code(5);
    assert!(said.err.to_lowercase().contains("fromthefuture"), "{}", said.err);
}

#[test]
fn paths_that_are_not_utf8_are_shown_escaped_and_reach_checks_as_bytes() {
    let kind = Kind::of("git init -q; echo x >\"$(printf 'caf\\351.txt')\"; first");
    let world = World::new(&kind);
    let plan = "version: 1\ntask: t\nchecks: [{ name: bytes, run: \"tr '\\\\0' '\\\\n' <$WATTLE_CHANGED | xargs cat | grep -q more\" }]\n\
                steps:\n  - { id: one, touches: ['caf\\\\xe9.txt'], run: 'for f in caf*; do echo more >>\"$f\"; done' }\n";
    drop(world.fed(AUTO, plan).ok());
    let review = world.wattle(&["review", "one", "--json"]).ok().json();
    assert_eq!(review["steps"][0]["paths"], serde_json::json!(["caf\\xe9.txt"]));
    // The user changes the same place: the conflict names the file in the same way.
    world.within("theirs", "git checkout -q -b a main~1; for f in caf*; do echo mine >>\"$f\"; done; git commit -qam a; git checkout -q main");
    let pair = world.wattle(&["conflicts", "--json", "main", "a"]).json();
    assert_eq!(pair["pairs"][0]["paths"], serde_json::json!(["caf\\xe9.txt"]));
}
