//! What slots hold of a commit: `checkout: { submodules, lfs, sparse }`.

use super::world::World;
use super::{Kind, check, kinds};

/// A submodule `vendor/sub` with two commits, at the first, as a clone with submodules has it.
const SUBMODULE: &str = "\
mkdir ../sub; (cd ../sub; git init -q; echo one >s.txt; git add -A; git commit -qm s1; echo two >>s.txt; git commit -qam s2); \
git init -q; git -c protocol.file.allow=always submodule --quiet add ../sub vendor/sub; \
git -C vendor/sub checkout -q HEAD~1; first";

kinds! {
    a_cone: Kind {
        keys: "checkout: { sparse: [src, work/] }",
        more_check: "test ! -e deep",
        // What is outside the cone can still be written, and what is there is not lost.
        more_steps: "  - { id: outside, touches: [deep/**], run: 'test ! -e deep; mkdir -p deep/er; echo new >deep/er/x; echo new >deep/y' }\n",
        more_hand: "echo new >deep/er/x; echo new >deep/y",
        ..Kind::of("git init -q; mkdir -p deep/er; echo x >deep/er/x; echo z >deep/z; first")
    };
    a_cone_of_a_partial_clone_fetches_nothing_else: Kind {
        keys: "checkout: { sparse: [src, work] }",
        more_check: "test ! -e data",
        proof: "git rev-list --objects --all --missing=print | grep -q '^?'",
        before_hand: "git sparse-checkout disable",
        checked_out: false,
        ..Kind::of(
            "mkdir ../up; (cd ../up; git init -q; git config uploadpack.allowFilter true; \
             git config uploadpack.allowAnySHA1InWant true; files; echo far >data/far; git add -A; git commit -qm first); \
             git clone -q --filter=blob:none --sparse file://$PWD/../up .; git sparse-checkout set src",
        )
    };
    submodules_are_filled_and_moved: Kind {
        more_check: "grep -q one vendor/sub/s.txt",
        more_steps: "  - { id: bump, touches: [vendor/sub], run: 'git -C vendor/sub checkout -q main && grep -q two vendor/sub/s.txt' }\n",
        more_hand: "git -C vendor/sub checkout -q main",
        checked_out: false,
        ..Kind::of(SUBMODULE)
    };
    commits_in_submodules_are_kept: Kind {
        more_check: "grep -q one vendor/sub/s.txt",
        more_steps: "  - { id: inside, touches: [vendor/sub], run: 'cd vendor/sub; echo w >w.txt; git add w.txt; \
                     GIT_AUTHOR_DATE=2026-01-02T03:04:05Z GIT_COMMITTER_DATE=2026-01-02T03:04:05Z git commit -qm w' }\n",
        more_hand: "cd vendor/sub; echo w >w.txt; git add w.txt; git commit -qm w; cd ../..",
        checked_out: false,
        proof: "git -C .git/modules/vendor/sub cat-file -e $(git rev-parse main:vendor/sub); \
                git -C vendor/sub status --porcelain | (! grep .)",
        ..Kind::of(SUBMODULE)
    };
    submodules_can_be_left_empty: Kind {
        keys: "checkout: { submodules: false }",
        more_check: "test ! -e vendor/sub/s.txt",
        ..Kind::of(SUBMODULE)
    };
    submodules_that_the_user_does_not_have_stay_empty: Kind {
        more_check: "test ! -e vendor/sub/s.txt",
        ..Kind::of(
            "mkdir ../up ../sub; (cd ../sub; git init -q; echo one >s.txt; git add -A; git commit -qm s1); \
             (cd ../up; git init -q; git -c protocol.file.allow=always submodule --quiet add ../sub vendor/sub; first); \
             git clone -q ../up .",
        )
    };
    inside_a_submodule: Kind {
        work: "sub",
        start: "sub",
        ..Kind::of(
            "up; git init -q; git -c protocol.file.allow=always submodule --quiet add ../up sub; git commit -qm super",
        )
    };
}

/// The real git-lfs, where the machine has it; `.ci/run` names it as a peer.
#[test]
fn lfs_content() {
    lfs("", "test $(wc -c <data/big.bin) -gt 50000");
}

#[test]
fn lfs_pointers() {
    lfs("checkout: { lfs: false }", "head -1 data/big.bin | grep -q ^version");
}

fn lfs(keys: &'static str, more_check: &'static str) {
    if crate::env::TestEnv::new().find("git-lfs").is_none() {
        return;
    }
    check(&Kind {
        keys,
        more_check,
        more_steps: "  - { id: large, touches: [data/**], run: 'seq 1 20000 >data/other.bin' }\n",
        more_hand: "seq 1 20000 >data/other.bin",
        ..Kind::of(
            "git init -q; git lfs install --local >/dev/null; git lfs track '*.bin' >/dev/null; files; \
             seq 1 30000 >data/big.bin; git add -A; git commit -qm first",
        )
    });
}

#[test]
fn what_is_not_committed_in_a_submodule_is_refused_and_named() {
    let kind = Kind::of(SUBMODULE);
    let world = World::new(&kind);
    let plan = "version: 1\ntask: t\nchecks: []\nsteps:\n  - { id: edit, touches: [vendor/**], retries: 0, run: 'echo lost >>vendor/sub/s.txt' }\n";
    drop(world.fed(&["run", "-f", "-", "--approve", "auto"], plan).code(1));
    let status = world.wattle(&["status", "--json"]).ok().json();
    let said = status["steps"][0].to_string() + &world.wattle(&["log", "edit"]).ok().out;
    assert!(status["steps"][0]["state"] == "failed" && said.contains("commit vendor/sub"), "{status:#}\n{said}");
    let found = world.within("theirs", "cat \"$WATTLE_STATE_DIR\"/repos/*/slots/*/vendor/sub/s.txt");
    assert!(found.contains("lost"), "the slot is kept as it was left: {found}");
}
