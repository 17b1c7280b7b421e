//! How a repository stores what it stores: object and ref formats, indexes, histories that are not whole.

use super::{Kind, kinds};

kinds! {
    plain: Kind::of("git init -q; first");
    sha256: Kind::of("git init -q --object-format=sha256; first");
    reftable: Kind::of("git init -q --ref-format=reftable; first");
    sha256_in_reftables: Kind::of("git init -q --object-format=sha256 --ref-format=reftable; first");
    shallow_clone: Kind::of("up; git clone -q --depth=1 file://$PWD/../up .");
    clone_without_blobs: Kind::of("up; git clone -q --filter=blob:none file://$PWD/../up .");
    clone_without_blobs_or_checkout: Kind {
        before_hand: "git checkout -q main",
        keys: "target: main",
        checked_out: false,
        ..Kind::of("up; git clone -q --no-checkout --filter=blob:none file://$PWD/../up .; git checkout -q --detach")
    };
    clone_without_trees: Kind::of("up; git clone -q --filter=tree:0 file://$PWD/../up .");
    shared_clone: Kind::of("up; git clone -q --shared ../up .");
    alternates_relative_to_the_objects: Kind::of(
        "up; git clone -q --shared ../up .; echo ../../../up/.git/objects >.git/objects/info/alternates",
    );
    replaced_blob: Kind {
        // What is replaced is how history looks to a reader; what is committed and checked out is what was committed.
        before_hand: "git config core.useReplaceRefs false",
        ..Kind::of(
            "git init -q; first; \
             git replace $(git rev-parse HEAD:tool.sh) $(echo replaced | git hash-object -w --stdin)",
        )
    };
    replaced_parents: Kind::of("git init -q; first; echo more >>left.txt; git commit -qam two; git replace --graft HEAD");
    grafts: Kind::of(
        "git init -q; git config advice.graftFileDeprecated false; first; echo more >>left.txt; git commit -qam two; \
         git rev-parse HEAD >.git/info/grafts",
    );
    split_index: Kind::of("git init -q; git config core.splitIndex true; first; git update-index --split-index");
    index_v4_with_untracked_cache_and_fsmonitor: Kind::of(
        "git init -q; git config index.version 4; git config core.untrackedCache true; first; \
         git update-index --index-version 4 --untracked-cache; \
         git config core.fsmonitor \"touch $PWD/.git/fsmonitor-ran; false\"",
    );
    commit_graph_and_multi_pack_index: Kind::of(
        "git init -q; first; echo more >>left.txt; git commit -qam two; git repack -qad; \
         git commit-graph write --reachable; git multi-pack-index write --bitmap",
    );
    sparse_cone: Kind {
        before_hand: "git sparse-checkout disable",
        checked_out: false,
        proof: "test -f src/a.rs; test ! -e work; git sparse-checkout disable; grep -q next work/to.txt",
        ..Kind::of("git init -q; first; git sparse-checkout set src")
    };
    sparse_patterns: Kind {
        before_hand: "git sparse-checkout disable",
        checked_out: false,
        proof: "test ! -e work; git sparse-checkout disable; grep -q next work/to.txt",
        ..Kind::of("git init -q; first; git sparse-checkout set --no-cone '/*' '!work/'")
    };
    sparse_index: Kind {
        before_hand: "git sparse-checkout disable",
        checked_out: false,
        proof: "test ! -e work; git sparse-checkout disable; grep -q next work/to.txt",
        ..Kind::of("git init -q; first; git sparse-checkout set --sparse-index src; git config advice.sparseIndexExpanded false")
    };
    sparse_clone_without_blobs: Kind {
        before_hand: "git sparse-checkout disable",
        checked_out: false,
        proof: "test -f src/a.rs; test ! -e work",
        ..Kind::of("up; git clone -q --filter=blob:none --sparse file://$PWD/../up .; git sparse-checkout set src")
    };
}
