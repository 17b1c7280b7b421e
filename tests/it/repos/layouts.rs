//! Where the parts of a repository lie, and what its path looks like.

use super::{Kind, kinds};

kinds! {
    git_directory_elsewhere: Kind::of("git init -q --separate-git-dir ../elsewhere.git; first");
    work_tree_elsewhere: Kind {
        work: "../files",
        start: ".git",
        prelude: "export GIT_DIR=../r/.git",
        ..Kind::of(
            "mkdir ../files; git init -q; git config core.worktree ../../files; cd ../files; \
             export GIT_DIR=../r/.git; first",
        )
    };
    linked_worktree: Kind {
        work: "../linked",
        start: "../linked",
        ..Kind::of("git init -q; first; git checkout -q --detach; git worktree add -q ../linked main")
    };
    linked_worktree_seen_from_its_git_directory: Kind {
        work: "../linked",
        start: ".git/worktrees/linked",
        ..Kind::of("git init -q; first; git checkout -q --detach; git worktree add -q ../linked main")
    };
    bare_with_worktrees: Kind {
        work: "main",
        start: "main",
        ..Kind::of(
            "mkdir ../made; (cd ../made; git init -q; first); git clone -q --bare ../made .git; \
             git worktree add -q main main",
        )
    };
    bare_with_worktrees_from_the_bare_one: Kind {
        work: "main",
        ..Kind::of(
            "mkdir ../made; (cd ../made; git init -q; first); git clone -q --bare ../made .git; \
             git worktree add -q main main",
        )
    };
    settings_per_worktree: Kind::of(
        "git init -q; git config extensions.worktreeConfig true; git config --worktree core.autocrlf false; \
         git config --worktree user.name Own; first",
    );
    a_space_and_a_line_end_in_the_path: Kind { folder: b"one two/three\nfour", ..Kind::of("git init -q; first") };
    a_line_end_in_the_path_of_a_partial_clone: Kind {
        folder: b"one two/three\nfour",
        ..Kind::of("up; git clone -q --filter=blob:none \"file://$(cd ..; pwd)/up\" .")
    };
    a_path_that_is_not_utf8: Kind { folder: b"caf\xe9", ..Kind::of("git init -q; first") };
    a_linked_worktree_in_a_path_that_is_not_utf8: Kind {
        folder: b"caf\xe9",
        work: "../linked",
        start: "../linked",
        ..Kind::of("git init -q; first; git checkout -q --detach; git worktree add -q ../linked main")
    };
    nested_in_another_repository: Kind::of(
        "git init -q ..; git -C .. commit -q --allow-empty -m outer; git init -q; first",
    );
    with_another_repository_in_it: Kind::of(
        "git init -q; echo /nested >.git/info/exclude; first; mkdir nested; cd nested; git init -q; echo n >n; \
         git add n; git commit -qm nested",
    );
    hooks_that_refuse_everything: Kind {
        before_hand: "rm .git/hooks/*",
        ..Kind::of(
            "git init -q; first; for hook in pre-commit post-checkout post-commit reference-transaction \
             prepare-commit-msg post-merge post-index-change; do \
             printf '#!/bin/sh\\ntouch %s/.git/hook-ran\\nexit 1\\n' \"$PWD\" >.git/hooks/$hook; chmod +x .git/hooks/$hook; done",
        )
    };
}
