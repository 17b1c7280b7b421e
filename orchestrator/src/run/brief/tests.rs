//! Tests of the forms of a brief; the whole is shown in the tests of the program.

use super::*;

#[test]
fn a_fence_is_longer_than_any_in_it() {
    let check = |lines: &str, fence: &str| assert_eq!(fenced(lines), format!("{fence}text\n{lines}{fence}\n"));
    check("a\n", "```");
    check("a `b` ``c``\n", "```");
    check("```\n# x\n", "````");
    check("x `````` ```\n", "```````");
    assert_eq!(fenced(""), "");
}

fn listed(paths: &[&str]) -> Vec<Listed> {
    let file = |path: &&str| Listed {
        path: (*path).to_owned(),
        blob: "0".repeat(40).parse().unwrap(),
        bytes: Some(1),
        regular: true,
    };
    paths.iter().map(file).collect()
}

#[test]
fn a_layout_counts_files_by_folder_and_kind() {
    let mut left_out = Vec::new();
    let paths = [".gitignore", "Cargo.toml", "a/b/c/d/e.rs", "a/b/c/x.rs", "a/b/c/y.md", "a/z\n# q.rs", "run"];
    insta::assert_snapshot!(layout::layout(&listed(&paths), &mut left_out), @r"
    # Layout of the repository

    ```text
    ./ (3 files: 1 .toml)
    a/ (1 file: 1 .rs)
    a/b/c/ (3 files: 2 .rs, 1 .md)
    ```
    ");
    assert!(left_out.is_empty());
    assert_eq!(layout::layout(&[], &mut left_out), "");

    let deep: Vec<String> = (0..100).map(|n| format!("top{}/f{n}/g/x.c", n % 3)).collect();
    let deep: Vec<&str> = deep.iter().map(String::as_str).collect();
    let text = layout::layout(&listed(&deep), &mut left_out);
    assert!(
        text.contains("top1/ (33 files: 33 .c)") && left_out.is_empty(),
        "fewer levels where they do not fit: {text}"
    );
    let flat: Vec<String> = (0..100).map(|n| format!("f{n:02}/x.c")).collect();
    let flat: Vec<&str> = flat.iter().map(String::as_str).collect();
    let text = layout::layout(&listed(&flat), &mut left_out);
    assert_eq!(left_out, ["20 of 100 folders, the smallest ones"]);
    assert!(text.ends_with("Left out: 20 of 100 folders, the smallest ones.\n"), "{text}");
}
