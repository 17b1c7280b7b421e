//! Real servers on small real projects, each named by a variable of the environment (`.ci/run` installs them); one that
//! is not named is not tried. `WATTLE_LSP_TIMES` names a file that is told how long they took.

use super::*;

/// Comes to an answer as a model does: it asks again.
struct Project {
    bench: Bench,
    name: &'static str,
}

/// `None` = there is no such server here.
fn project(variable: &'static str, args: &[&str], languages: &Value, files: &[(&str, &str)]) -> Option<Project> {
    #[expect(clippy::disallowed_methods, reason = "a program that only some machines have")]
    let (named, path) = (std::env::var(variable).ok(), std::env::var("PATH").unwrap_or_default());
    let command = named.filter(|command| Path::new(command).exists())?;
    let settings = json!({variable: {
        "command": command, "args": args, "extensionToLanguage": languages, "env": {"PATH": path},
        // Of the TypeScript server: it would look for types in a registry.
        "initializationOptions": {"disableAutomaticTypingAcquisition": true},
    }});
    let bench = Bench::with(tempfile::tempdir().unwrap(), &settings, Limits::default(), files);
    Some(Project { bench, name: variable })
}

impl Project {
    async fn ask(&self, what: &str, input: Value) -> String {
        let start = Instant::now();
        let mut asked = 1;
        loop {
            let answer = self.bench.lsp(input.clone()).await;
            if !answer.starts_with("not ready") {
                self.time(what, start.elapsed(), asked);
                return answer;
            }
            assert!(start.elapsed() < LONG, "{input}: {answer}");
            asked += 1;
        }
    }

    async fn problems(&self, what: &str, file: &str) -> String {
        self.ask(what, json!({"operation": "diagnostics", "file_path": file})).await
    }

    async fn at(&self, operation: &str, file: &str, line: usize, symbol: &str) -> String {
        let input = json!({"operation": operation, "file_path": file, "line": line, "symbol": symbol});
        self.ask(operation, input).await
    }

    fn time(&self, what: &str, took: Duration, asked: u32) {
        use std::io::Write as _;
        #[expect(clippy::disallowed_methods, reason = "where to write is said by who runs the test")]
        let Ok(path) = std::env::var("WATTLE_LSP_TIMES") else { return };
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{} {what}: {} ms, asked {asked} times", self.name, took.as_millis()).unwrap();
    }
}

#[tokio::test]
async fn pyright() {
    let files = [
        ("lib.py", "def crab(n: int) -> int:\n    return n\n"),
        ("main.py", "from lib import crab\n\nname = \"🦀\"; print(crab(1))\nprint(len([1]))\n"),
    ];
    let Some(it) = project("WATTLE_PYRIGHT", &["--stdio"], &json!({".py": "python"}), &files) else { return };
    let none = "No problems in main.py as it is now.";
    assert_eq!(it.problems("first diagnostics", "main.py").await, none);
    let definition = "1 definition:\nlib.py:1:5\tdef crab(n: int) -> int:\n";
    assert_eq!(it.at("definition", "main.py", 3, "crab").await, definition);
    let references = it.at("references", "lib.py", 1, "crab").await;
    assert!(references.contains("main.py:3:19\tname = \"🦀\"; print(crab(1))"), "{references}");
    assert!(it.at("hover", "main.py", 3, "crab").await.contains("def crab(n: int) -> int"));
    let outside = it.at("definition", "main.py", 4, "len").await;
    assert!(outside.contains("(outside the worktree)") && !outside.contains("def len"), "{outside}");
    it.bench.write("main.py", "from lib import crab\n\nname = \"🦀\"; print(crab(\"x\"))\n");
    let wrong = it.problems("diagnostics of the edited file", "main.py").await;
    assert!(wrong.starts_with("1 problem:\nmain.py:3:24 error: ") && wrong.contains("reportArgumentType"), "{wrong}");
    // What another file defines decides.
    it.bench.write("lib.py", "def crab(n: str) -> str:\n    return n\n");
    assert_eq!(it.problems("diagnostics after another file's edit", "main.py").await, none);
    it.bench.write("lib.py", "def cod(n: str) -> str:\n    return n\n");
    let wrong = it.problems("diagnostics after another file's edit", "main.py").await;
    assert!(wrong.contains("main.py:1:17 error: \"crab\" is unknown import symbol"), "{wrong}");
    it.bench.lease.close().await;
    assert_eq!(it.bench.pool.free_places(), SERVERS_MAX);
}

#[tokio::test]
async fn clangd() {
    let files = [
        ("lib.h", "int crab(int n);\n"),
        ("main.c", "#include \"lib.h\"\n/* 🦀 */ int main(void) { return crab(1); }\n"),
    ];
    let Some(it) = project("WATTLE_CLANGD", &[], &json!({".c": "c", ".h": "c"}), &files) else { return };
    let none = "No problems in main.c as it is now.";
    assert_eq!(it.problems("first diagnostics", "main.c").await, none);
    assert_eq!(it.at("definition", "main.c", 2, "crab").await, "1 definition:\nlib.h:1:5\tint crab(int n);\n");
    let references = it.at("references", "main.c", 2, "crab").await;
    assert!(references.contains("main.c:2:33\t/* 🦀 */ int main(void) { return crab(1); }"), "{references}");
    assert!(it.at("hover", "main.c", 2, "crab").await.contains("crab"));
    it.bench.write("main.c", "#include \"lib.h\"\n/* 🦀 */ int main(void) { return crab(1, 2); }\n");
    let wrong = it.problems("diagnostics of the edited file", "main.c").await;
    assert!(wrong.contains("main.c:2:41 error: ") && wrong.contains("oo many arguments"), "{wrong}");
    it.bench.write("lib.h", "int crab(int n, int m);\n");
    assert_eq!(it.problems("diagnostics after another file's edit", "main.c").await, none);
    it.bench.lease.close().await;
    assert_eq!(it.bench.pool.free_places(), SERVERS_MAX);
}

#[tokio::test]
async fn typescript() {
    let files = [
        ("tsconfig.json", "{\"compilerOptions\": {\"strict\": true, \"noEmit\": true}}\n"),
        ("lib.ts", "export function crab(n: number): number {\n  return n;\n}\n"),
        ("main.ts", "import { crab } from \"./lib\";\n/* 🦀 */ console.log(crab(1));\n"),
    ];
    let languages = json!({".ts": "typescript"});
    let Some(it) = project("WATTLE_TYPESCRIPT", &["--stdio"], &languages, &files) else { return };
    let none = "No problems in main.ts as it is now.";
    assert_eq!(it.problems("first diagnostics", "main.ts").await, none);
    let definition = it.at("definition", "main.ts", 2, "crab").await;
    assert!(definition.contains("lib.ts:1:17\texport function crab(n: number): number {"), "{definition}");
    let references = it.at("references", "lib.ts", 1, "crab").await;
    assert!(references.contains("main.ts:2:21\t/* 🦀 */ console.log(crab(1));"), "{references}");
    it.bench.write("main.ts", "import { crab } from \"./lib\";\n/* 🦀 */ console.log(crab(\"x\"));\n");
    let wrong = it.problems("diagnostics of the edited file", "main.ts").await;
    assert!(wrong.contains("main.ts:2:26 error: ") && wrong.contains("2345"), "{wrong}");
    it.bench.write("lib.ts", "export function crab(n: string): string {\n  return n;\n}\n");
    assert_eq!(it.problems("diagnostics after another file's edit", "main.ts").await, none);
    it.bench.lease.close().await;
    assert_eq!(it.bench.pool.free_places(), SERVERS_MAX);
}
