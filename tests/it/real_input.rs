//! A refactor of code that nobody here wrote: the unpacked sources of one of our own dependencies.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wattle_worker::assignment::Rewrite;
use wattle_worker::rewrite;

use crate::env::{TestEnv, TestRepo, sources};

/// The dependency: 63 Rust files in 10 folders, and it builds with no dependency of its own.
const DEPENDENCY: &str = "winnow";
/// A manifest without the features that need other packages.
const MANIFEST: &str = "[package]\nname = \"winnow\"\nversion = \"1.0.0\"\nedition = \"2021\"\nautoexamples = false\n\
    [features]\ndefault = [\"std\", \"ascii\", \"binary\", \"parser\"]\nstd = [\"alloc\"]\nalloc = []\nascii = []\n\
    binary = []\nparser = []\n";
/// What has to pass before anything lands.
const CHECK: &str = "cargo check --offline --quiet";

/// Where cargo has unpacked the dependency.
fn unpacked() -> PathBuf {
    let run = |program: &Path, args: &[&str]| {
        #[expect(clippy::disallowed_methods, reason = "cargo says where its registry is")]
        let output = std::process::Command::new(program).args(args).current_dir(sources()).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("cargo prints text")
    };
    let cargo = Path::new(env!("CARGO"));
    let version = run(&cargo.with_file_name("rustc"), &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let metadata = run(cargo, &["metadata", "--offline", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    let package = metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == DEPENDENCY);
    let manifest = package.and_then(|package| package["manifest_path"].as_str()).expect("it is in our lock file");
    Path::new(manifest).parent().expect("a manifest lies in a folder").to_owned()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder is ours");
    for entry in std::fs::read_dir(from).expect("cargo has unpacked it").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::write(target, std::fs::read(path).expect("cargo has unpacked it")).expect("the folder is ours");
        }
    }
}

/// The dependency as a repository, and the toolchain that builds it on the search path.
fn dependency(env: &mut TestEnv) -> TestRepo<'_> {
    #[expect(clippy::disallowed_methods, reason = "programs are found where the machine has them")]
    let path = std::env::var("PATH").unwrap_or_default();
    let bin = Path::new(env!("CARGO")).parent().expect("cargo lies in a folder");
    env.set("PATH", &format!("{}:{path}", bin.display()));
    let from = unpacked();
    for folder in ["src", "examples"] {
        copy(&from.join(folder), &env.root().join("r").join(folder));
    }
    env.repo("r", &[("Cargo.toml", MANIFEST), (".gitignore", "target\nCargo.lock\n")])
}

/// The tree of the base with the rule applied in one go.
fn in_one_go(env: &TestEnv, repo: &TestRepo<'_>, rewrite: &Rewrite) -> String {
    env.git(env.root(), &["clone", "--quiet", "r", "whole"]);
    let whole = env.root().join("whole");
    let applied =
        rewrite::apply(&whole, rewrite, &[], &tokio_util::sync::CancellationToken::new()).expect("it applies");
    assert!(applied.files.len() > 20, "{} files", applied.files.len());
    env.git(&whole, &["add", "--all"]);
    let tree = env.git(&whole, &["write-tree"]);
    assert_ne!(tree, repo.git(&["rev-parse", "HEAD^{tree}"]));
    tree
}

/// Nothing is left of a run that landed, and the repository is whole.
fn leaves_nothing(repo: &TestRepo<'_>) {
    drop(repo.wattle(&["clean"]).ok());
    assert_eq!(repo.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(repo.git(&["status", "--porcelain"]), "");
    repo.git(&["fsck", "--strict"]);
}

#[test]
fn a_rule_sharded_by_directory_equals_the_rule_applied_in_one_go() {
    let mut env = TestEnv::new();
    drop(dependency(&mut env));
    let env = env;
    let repo = env.existing("r");
    let (pattern, fix) = ("Ok($A)", "core::result::Result::Ok($A)");
    let rule = Rewrite::Pattern { pattern: pattern.into(), fix: fix.into(), lang: "rust".into() };
    let expected = in_one_go(&env, &repo, &rule);

    let made = repo.wattle(&["plan", "-p", pattern, "--rewrite", fix, "-l", "rust", "--by", "dir"]).ok();
    let plan = format!("{}\nchecks: [{{ name: build, run: {CHECK} }}]\n", made.out);
    std::fs::write(env.root().join("plan.yaml"), plan).unwrap();
    let run = repo.wattle(&["run", "-f", "../plan.yaml", "--jobs", "4", "--approve", "auto", "--json"]).ok();
    let events = run.events();
    let landed = events.iter().filter(|event| event["type"] == "landed").count();
    assert!(landed >= 8, "{landed} write steps");
    assert!(events.iter().filter(|event| event["type"] == "landed").all(|event| event["verified"] == true));
    assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), expected);
    let merges = repo.git(&["rev-list", "--count", "--first-parent", "--merges", "main"]);
    assert_eq!(merges, landed.to_string(), "one merge for each landing");
    leaves_nothing(&repo);
}

#[test]
fn a_function_renamed_in_parts_lands_as_a_whole() {
    let mut env = TestEnv::new();
    drop(dependency(&mut env));
    let env = env;
    let repo = env.existing("r");
    let kinds = "[{ kind: identifier, regex: ^trace$ }, { kind: field_identifier, regex: ^trace$ }]";
    let yaml = &format!("id: r\nlanguage: rust\nrule: {{ any: {kinds} }}\nfix: traced\n");
    let rule = Rewrite::Rules { name: "r.yml".into(), yaml: yaml.clone() };
    let expected = in_one_go(&env, &repo, &rule);

    std::fs::write(env.root().join("r.yml"), yaml).unwrap();
    let step = |id: &str, touches: &[&str]| json!({ "id": id, "group": "rename", "touches": touches, "rewrite": { "rule": "r.yml" } });
    let plan = json!({
        "version": 1,
        "task": "Rename trace to traced",
        "checks": [{ "name": "build", "run": CHECK }],
        "groups": { "rename": { "land": "together" } },
        "steps": [
            step("definition", &["src/combinator/debug/**"]),
            step("combinators", &["src/combinator/*.rs"]),
            step("parsers", &["src/ascii/**", "src/binary/**", "src/token/**"]),
            step("rest", &["src/*.rs", "src/stream/**", "src/macros/**", "src/_topic/**", "src/_tutorial/**", "examples/**"]),
        ],
    });
    std::fs::write(env.root().join("plan.yaml"), plan.to_string()).unwrap();
    let run = repo.wattle(&["run", "-f", "../plan.yaml", "--approve", "auto", "--json"]).ok();
    let events = run.events();
    let landed: Vec<_> = events.iter().filter(|event| event["type"] == "landed").collect();
    assert!(landed.len() >= 3, "{landed:#?}");
    assert!(landed.iter().all(|event| event["group"] == "rename"));
    assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), expected);
    let moves = repo.git(&["reflog", "show", "--format=%gs", "main"]);
    assert_eq!(moves.lines().count(), 2, "one move of the target: {moves}");
    let whole = env.root().join("whole");
    env.git(&whole, &["checkout", "--quiet", "--force", "main"]);
    assert!(env.succeeds(&whole, CHECK), "the base is green");
    env.git(&whole, &["fetch", "--quiet", "origin", "refs/heads/wattle/*:refs/parts/*"]);
    let status = repo.wattle(&["status", "--json"]).ok().json();
    let commits: Vec<_> =
        status["steps"].as_array().unwrap().iter().filter_map(|step| step["commit"].as_str()).collect();
    for part in
        commits.iter().filter(|commit| env.git(&whole, &["rev-parse", &format!("{commit}^{{tree}}")]) != expected)
    {
        env.git(&whole, &["checkout", "--quiet", "--force", "--detach", part]);
        assert!(!env.succeeds(&whole, CHECK), "a proper part is green: {part}");
    }
    leaves_nothing(&repo);
}
