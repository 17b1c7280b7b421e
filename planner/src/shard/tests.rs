//! Sharded plans: by example, and that every matched file is in exactly one step.

use super::*;
use crate::plan::Plan;
use crate::step::{Mode, Work};
use proptest::prelude::*;

fn pattern() -> RuleSource {
    RuleSource::Pattern { pattern: "log!($X)".to_owned(), fix: "info!($X)".to_owned(), lang: "rust".to_owned() }
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|&path| path.to_owned()).collect()
}

fn input<'a>(matched: &'a [String], manifests: &'a [String], by: By) -> ShardInput<'a> {
    ShardInput {
        task: "Replace log! by info!",
        rule: pattern(),
        matched,
        manifests,
        codeowners: None,
        by,
        checks: Vec::new(),
    }
}

/// The write steps as `id: globs`.
fn outline(text: &str) -> Vec<String> {
    let plan = parse_plan("p", text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let writes = plan.steps().iter().filter(|step| step.mode == Mode::Write);
    let globs = |step: &crate::Step| {
        let globs: Vec<&str> = step.touches.iter().map(crate::Glob::as_str).collect();
        format!("{}: {}", step.id, globs.join(" "))
    };
    writes.map(globs).collect()
}

#[test]
fn reads_how_to_put_files_together() {
    let check = |text: &str, expected: Option<By>| assert_eq!(text.parse().ok(), expected, "{text}");
    check("dir", Some(By::Dir { depth: None }));
    check("dir:2", Some(By::Dir { depth: Some(2) }));
    check("package", Some(By::Package));
    check("owner", Some(By::Owner));
    check("files:50", Some(By::Files(50)));
    for bad in ["", "dir:0", "dir:x", "files", "files:0", "package:1", "files:-1", "dir:"] {
        check(bad, None);
    }
}

#[test]
fn writes_a_plan_that_people_can_edit() {
    let matched = owned(&["src/net/a.rs", "src/net/b.rs", "src/lib.rs", "tests/[x].rs"]);
    let mut input = input(&matched, &[], By::Dir { depth: None });
    input.checks = vec![("build".to_owned(), "cargo check --workspace".to_owned())];
    insta::assert_snapshot!(shard(&input).unwrap(), @r#"
    # 4 files where the rule matches, in 3 steps that share no path.
    # Edit what you like, then: wattle run -f FILE
    version: 1
    task: "Replace log! by info!"
    checks:
      - { name: build, run: "cargo check --workspace" }
    steps:
      - id: src
        title: "src (1 file)"
        touches:
          - "src/*"
        rewrite: &rule
          pattern: "log!($X)"
          fix: "info!($X)"
          lang: rust
      - id: src-net
        title: "src/net (2 files)"
        touches:
          - "src/net/**"
        rewrite: *rule
      - id: tests
        title: "tests (1 file)"
        touches:
          - "tests/**"
        rewrite: *rule
      # Changes nothing; fails if the rule still matches somewhere.
      - id: verify-rewrite
        title: "Nothing is left of: Replace log! by info!"
        mode: read
        needs: ["*"]
        rewrite: *rule
        expect: none
    "#);
}

#[test]
fn the_last_step_needs_all_and_changes_nothing() {
    let matched = owned(&["a/x.rs", "b/x.rs"]);
    let plan = parse_plan("p", &shard(&input(&matched, &[], By::Package)).unwrap()).unwrap();
    let last = plan.steps().last().unwrap();
    assert_eq!(last.needs.len(), plan.steps().len() - 1);
    assert!(last.expect_none && last.mode == Mode::Read && last.touches.is_empty());
    assert_eq!(last.work, Work::Rewrite(pattern()));
}

#[test]
fn rules_survive_as_they_are() {
    let matched = owned(&["a.rs"]);
    let text = "id: x\nlanguage: Rust\nrule:\n  pattern: |\n    a: b # c\nfix: \"\"\n---\nid: y\n";
    for rule in [
        RuleSource::File("rules/a b.yml".to_owned()),
        RuleSource::Inline(text.to_owned()),
        RuleSource::Inline("\t- odd".to_owned()),
        RuleSource::Pattern { pattern: "a\nb".to_owned(), fix: String::new(), lang: "rust".to_owned() },
    ] {
        let mut input = input(&matched, &[], By::Files(1));
        input.rule = rule.clone();
        let plan = parse_plan("p", &shard(&input).unwrap()).unwrap();
        for step in plan.steps() {
            assert_eq!(step.work, Work::Rewrite(rule.clone()));
        }
    }
}

#[test]
fn shards_by_each_way() {
    let matched = owned(&[
        "Cargo_build.rs",
        "crates/a/src/x.rs",
        "crates/a/src/y.rs",
        "crates/a/sub/src/z.rs",
        "crates/b/src/x.rs",
        "web/app/i.ts",
        "web/j.ts",
    ]);
    let manifests = owned(&[
        "Cargo.toml",
        "crates/a/Cargo.toml",
        "crates/a/sub/Cargo.toml",
        "crates/b/Cargo.toml",
        "web/package.json",
    ]);
    let check = |by: By, expected: &[&str]| {
        let mut input = input(&matched, &manifests, by);
        input.codeowners = Some("* @all\n/crates/ @rust # all of it\n*.ts @web @ui\ncrates/b/\n[Section]\n");
        assert_eq!(outline(&shard(&input).unwrap()), expected, "{by:?}");
    };
    check(By::Dir { depth: Some(1) }, &["top: *", "crates: crates/**", "web: web/**"]);
    check(
        By::Dir { depth: Some(2) },
        &["top: *", "crates-a: crates/a/**", "crates-b: crates/b/**", "web: web/*", "web-app: web/app/**"],
    );
    check(
        By::Package,
        &[
            "top: *",
            "crates-a: crates/a/src/**",
            "crates-a-sub: crates/a/sub/**",
            "crates-b: crates/b/**",
            "web: web/**",
        ],
    );
    check(By::Owner, &["all: *", "rust: crates/a/**", "web-ui: web/**", "unowned: crates/b/**"]);
    check(
        By::Files(3),
        &[
            "files-1: Cargo_build.rs crates/a/src/x.rs crates/a/src/y.rs",
            "files-2: crates/a/sub/src/z.rs crates/b/src/x.rs web/app/i.ts",
            "files-3: web/j.ts",
        ],
    );
}

#[test]
fn owners_are_found_as_documented() {
    let owners = Owners::parse(
        "# comment\n*  @default\n*.js @js\n/build/logs/ @logs\ndocs/* @docs\napps/ @apps\n**/deep @deep\na\\ b/ @space\n/apps/free\n[Section][2] @x\n^[Optional]\n",
    )
    .unwrap();
    let check = |path: &str, expected: Option<&str>| assert_eq!(owners.of(path), expected, "{path}");
    check("x.py", Some("@default"));
    check("x/y/z.js", Some("@js"));
    check("build/logs/a/b", Some("@logs"));
    check("x/build/logs/a", Some("@default"));
    check("docs/a.md", Some("@docs"));
    check("docs/a/b.md", Some("@default"));
    check("x/apps/a", Some("@apps"));
    check("x/deep/a", Some("@deep"));
    check("a b/c", Some("@space"));
    check("apps/free/x", None);
}

#[test]
fn refuses_what_makes_no_plan() {
    let none: Vec<String> = Vec::new();
    let matched = owned(&["a.rs"]);
    let many: Vec<String> = (0..6000).map(|i| format!("f{i}")).collect();
    let dir = By::Dir { depth: None };
    assert_eq!(shard(&input(&none, &[], dir)), Err(ShardError::NothingMatches));
    assert_eq!(shard(&input(&matched, &[], By::Owner)), Err(ShardError::NoCodeowners));
    assert_eq!(shard(&input(&many, &[], By::Files(1))), Err(ShardError::TooManySteps { steps: 6001 }));
    let mut bad = input(&matched, &[], dir);
    bad.task = " ";
    assert!(matches!(shard(&bad), Err(ShardError::Invalid(_))));
    bad.task = "t";
    bad.codeowners = Some("a\n./x @y\n");
    bad.by = By::Owner;
    assert!(matches!(shard(&bad), Err(ShardError::Codeowners { line: 2, .. })));
}

#[test]
fn ids_are_legal_unique_and_keep_their_end() {
    let deep = format!("{}/last.part", "folder/".repeat(20));
    let names = ["a/b", "a-b", "A b", "é", "", "verify/rewrite", &deep];
    let matched: Vec<String> =
        names.iter().map(|n| format!("{n}/x.rs").trim_start_matches('/').replace("//", "/")).collect();
    let text = shard(&input(&matched, &[], By::Dir { depth: None })).unwrap();
    let plan = parse_plan("p", &text).unwrap();
    let ids: Vec<&str> = plan.steps().iter().map(|step| step.id.as_str()).collect();
    assert_eq!(plan.steps().len(), names.len() + 1);
    assert!(ids.iter().any(|id| id.ends_with("last-part")), "{ids:?}");
    assert!(ids.contains(&"verify-rewrite-2") && ids.contains(&"a-b-2"), "{ids:?}");
}

/// How often each file is in the `touches` of a write step.
fn holders(plan: &Plan, file: &str) -> usize {
    plan.steps().iter().filter(|step| step.touches.iter().any(|glob| glob.matches(file))).count()
}

proptest! {
    #[test]
    fn every_file_is_in_exactly_one_step_and_none_waits(
        matched in prop::collection::btree_set("([ab{*]/){0,3}[xy][.!]?", 1..20),
        manifests in prop::collection::vec("([ab]/){0,2}Cargo\\.toml", 0..4),
        owners in prop::collection::vec("(/?[ab]/|\\*|[ab]/\\*|x|/a/b/y)( @[pqr])?", 0..5),
        by in prop::sample::select(vec![
            By::Dir { depth: None }, By::Dir { depth: Some(1) }, By::Dir { depth: Some(2) }, By::Package, By::Owner, By::Files(3),
        ]),
    ) {
        let matched: Vec<String> = matched.into_iter().collect();
        let owners = owners.join("\n");
        let mut input = input(&matched, &manifests, by);
        input.codeowners = Some(&owners);
        let text = shard(&input).unwrap();
        prop_assert_eq!(&shard(&input).unwrap(), &text);
        let plan = parse_plan("p", &text).unwrap();
        for file in &matched {
            prop_assert_eq!(holders(&plan, file), 1, "{} in\n{}", file, text);
        }
        prop_assert!(crate::overlaps(&plan).is_empty(), "{}", text);
        for step in plan.steps().iter().filter(|step| step.mode == Mode::Write) {
            prop_assert!(plan.predecessors(&step.id).is_empty());
        }
    }
}

#[test]
fn a_large_repository_is_sharded_and_read_back() {
    let matched: Vec<String> = (0..20_000).map(|i| format!("drivers/d{}/m{}/file_{i}.c", i % 97, i % 31)).collect();
    let by_folder = shard(&input(&matched, &[], By::Dir { depth: None })).unwrap();
    assert_eq!(outline(&by_folder).len(), 97 * 31);
    let by_count = shard(&input(&matched, &[], By::Files(10))).unwrap();
    assert_eq!(outline(&by_count).len(), 2000);
}
