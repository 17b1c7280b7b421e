//! What decides the content of files: line ends, filters, drivers, modes, names.

use super::{Kind, kinds};

kinds! {
    autocrlf: Kind {
        more_check: "test $(printf '1\\r\\n' | od -An -c | tr -d ' ') = $(head -1 work/edit.txt | od -An -c | tr -d ' ')",
        ..Kind::of("git init -q; first; git config core.autocrlf true; rm -r src work *.*; git reset -q --hard")
    };
    line_ends_by_attributes: Kind::of(
        "git init -q; printf '*.txt text eol=crlf\\n*.rs text\\n' >.gitattributes; first; rm -r src work *.*; \
         git reset -q --hard",
    );
    encoding_and_ident: Kind::of(
        "git init -q; printf '*.txt ident\\n*.wide working-tree-encoding=UTF-16LE-BOM\\n' >.gitattributes; files; \
         echo '$Id$' >>left.txt; git add -A; git commit -qm first; rm left.txt; git checkout -q left.txt",
    );
    clean_and_smudge_filter: Kind {
        more_check: "grep -q keep src/a.rs && ! grep -q LEFT left.txt",
        ..Kind::of(
            "git init -q; git config filter.up.clean 'tr a-z A-Z'; git config filter.up.smudge 'tr A-Z a-z'; \
             git config filter.up.required true; echo '*.txt filter=up' >.gitattributes; first",
        )
    };
    filter_that_is_not_configured: Kind::of("git init -q; echo '*.txt filter=nobody' >.gitattributes; first");
    modes_that_are_ignored: Kind {
        proof: "test \"$(git ls-tree main tool.sh | cut -c1-6)\" = 100755",
        ..Kind::of("git init -q; first; git config core.fileMode false; chmod -x tool.sh")
    };
    links_that_are_files: Kind::of("git init -q; git config core.symlinks false; first; rm link; git checkout -q link");
    names_that_differ_in_case: Kind {
        more_steps: "  - { id: upper, touches: [README, Dir/f], run: 'echo more >>README; echo more >>Dir/f' }\n",
        more_hand: "echo more >>README; echo more >>Dir/f",
        ..Kind::of("git init -q; echo lower >readme; echo UPPER >README; mkdir Dir dir; echo 1 >Dir/f; echo 2 >dir/f; first")
    };
    a_case_rename: Kind {
        more_steps: "  - { id: upper, touches: [readme, README], run: 'mv readme README' }\n",
        more_hand: "mv readme README",
        ..Kind::of("git init -q; echo lower >readme; first; git config core.ignoreCase false")
    };
    names_that_are_not_utf8: Kind {
        more_steps: "  - { id: bytes, touches: ['caf*.txt', 'd*/**', 'new*', 'tab*'], run: \
                     'for f in caf* d*/f* new* tab*; do echo more >>\"$f\"; done; cp caf* \"$(printf \"caf\\377.txt\")\"' }\n",
        more_hand: "for f in caf* d*/f* new* tab*; do echo more >>\"$f\"; done; cp caf* \"$(printf 'caf\\377.txt')\"",
        ..Kind::of(
            "git init -q; printf x >\"$(printf 'caf\\351.txt')\"; mkdir \"$(printf 'd\\377')\"; \
             echo 1 >\"$(printf 'd\\377/f\\376.txt')\"; printf x >'new\nline'; printf x >'tab\tquote\"back\\slash'; first",
        )
    };
    a_file_above_the_big_file_threshold: Kind {
        more_steps: "  - { id: big, touches: [data/**], run: 'printf 1 >>data/big' }\n",
        more_hand: "printf 1 >>data/big",
        ..Kind::of(
            "git init -q; git config core.bigFileThreshold 1m; files; \
             yes | head -c 20000000 >data/big; git add -A; git commit -qm first",
        )
    };
    signing_that_fails: Kind::of(
        "git init -q; first; git config commit.gpgSign true; git config gpg.program false; git config user.signingKey X",
    );
    signing_that_hangs: Kind::of(
        "git init -q; first; printf '#!/bin/sh\\nexec tail -f /dev/null\\n' >../hang; chmod +x ../hang; \
         git config commit.gpgSign true; git config tag.gpgSign true; git config gpg.program $PWD/../hang; \
         git config user.signingKey X",
    );
    a_tree_that_says_it_ignores_case: Kind::of(
        "git init -q; git config core.ignoreCase true; git config core.precomposeUnicode true; \
         git config core.protectNTFS true; first",
    );
}
