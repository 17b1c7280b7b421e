//! How many servers live, and how they end: always with everything that they started.

use super::*;

/// anomalyco/opencode#17287: one server for a worktree however often it is asked, and none after its last step.
#[tokio::test]
async fn opencode_17287_servers_end_with_the_steps_on_their_worktree() {
    let bench = Bench::new(json!({"child": true, "stubborn": true}), patient(), &[("a.toy", "def crab\n")]);
    // A snapshot: a second step reads it, too.
    let (second, others) = leased(&bench.pool, &bench.root(), &bench.cancel);
    let ask = json!({"operation": "hover", "file_path": "a.toy", "line": 1, "symbol": "crab"});
    for tools in [&bench.tools, &others, &bench.tools] {
        assert_eq!(call(tools, "Lsp", ask.clone()).await.content, "the name crab");
    }
    let pids = bench.pids();
    let child = bench.log().iter().find_map(|line| line["child"].as_u64()).unwrap();
    assert_eq!(pids.len(), 1);
    bench.lease.close().await;
    assert!(alive(pids[0]) && alive(child), "another step still uses it");
    assert!(bench.lsp(ask.clone()).await.contains("the name crab"), "the worktree is still leased");
    second.close().await;
    assert!(!alive(pids[0]) && !alive(child), "nothing is left, though it did not go by itself");
    assert_eq!(bench.count("shutdown"), 1);
    assert_eq!(bench.pool.free_places(), SERVERS_MAX);
    assert_eq!(bench.lsp(ask).await, "stopped");
}

#[tokio::test]
async fn a_server_that_goes_when_asked_to_is_not_killed() {
    let bench = Bench::new(json!({}), patient(), &[("a.toy", "")]);
    bench.problems("a.toy").await;
    bench.lease.close().await;
    assert_eq!((bench.count("shutdown"), bench.count("exit")), (1, 1));
    assert!(!alive(bench.pids()[0]));
}

#[tokio::test]
async fn a_step_that_is_dropped_takes_its_servers_with_it() {
    let bench = Bench::new(json!({"child": true, "stubborn": true}), patient(), &[("a.toy", "")]);
    bench.problems("a.toy").await;
    let (pid, child) = (bench.pids()[0], bench.log().iter().find_map(|line| line["child"].as_u64()).unwrap());
    let Bench { dir, pool, lease, tools, .. } = bench;
    assert!(alive(pid) && alive(child));
    drop((lease, tools));
    assert!(comes(|| !alive(pid) && !alive(child)).await);
    assert!(comes(|| pool.free_places() == SERVERS_MAX).await);
    drop(dir);
}

#[tokio::test]
async fn at_most_two_live_and_the_one_unused_for_longest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let settings: serde_json::Map<String, Value> = ["a", "b", "c"]
        .into_iter()
        .map(|name| (name.to_owned(), scripted(dir.path(), &json!({}), &format!(".{name}"))))
        .collect();
    let files = [("x.a", "def crab\n"), ("x.b", "def crab\n"), ("x.c", "def crab\n")];
    let bench = Bench::with(dir, &settings.into(), patient(), &files);
    let live = || bench.pids().iter().map(|pid| alive(*pid)).collect::<Vec<_>>();
    for (file, expected) in [
        ("x.a", vec![true]),
        ("x.b", vec![true, true]),
        ("x.a", vec![true, true]),
        ("x.c", vec![true, false, true]),
        ("x.b", vec![false, false, true, true]),
    ] {
        assert_eq!(bench.problems(file).await, format!("No problems in {file} as it is now."));
        assert_eq!(live(), expected, "{file}");
    }
    // All at once: nobody starves and no third one lives.
    let asked = futures_util::future::join_all(["x.a", "x.b", "x.c", "x.a"].map(|file| bench.problems(file))).await;
    assert!(asked.iter().all(|answer| answer.starts_with("No problems")), "{asked:?}");
    assert!(live().iter().filter(|live| **live).count() <= SERVERS_MAX);
}

#[tokio::test]
async fn a_server_that_nobody_asks_ends_and_comes_back_when_asked() {
    let limits = Limits { idle: Duration::from_millis(50), ..patient() };
    let bench = Bench::new(json!({}), limits, &[("a.toy", "bad\n")]);
    assert!(bench.problems("a.toy").await.contains("bad thing"));
    let first = bench.pids()[0];
    assert!(comes(|| !alive(first) && bench.pool.free_places() == SERVERS_MAX).await);
    assert_eq!(bench.count("exit"), 1);
    assert!(bench.problems("a.toy").await.contains("bad thing"));
}

#[tokio::test]
async fn a_crash_is_mended_twice_and_then_reported() {
    let script = json!({"on": {"textDocument/hover": "crash"}, "versions": true});
    let bench = Bench::new(script, patient(), &[("a.toy", "def crab\n")]);
    let hover = json!({"operation": "hover", "file_path": "a.toy", "line": 1, "symbol": "crab"});
    let gone = bench.lsp(hover.clone()).await;
    assert!(gone.starts_with("the language server is gone: ") && gone.contains("something is broken inside"), "{gone}");
    assert_eq!(bench.pids().len(), 2, "one call starts it once more");
    let second = bench.lsp(hover.clone()).await;
    assert!(second.starts_with("the language server toy crashed 3 times and is not started again here"), "{second}");
    assert!(second.contains("something is broken inside"), "{second}");
    assert_eq!(bench.lsp(hover).await, second);
    assert_eq!(bench.pids().len(), 3);
    assert!(bench.pids().iter().all(|pid| !alive(*pid)));
    assert_eq!(bench.pool.free_places(), SERVERS_MAX);
}

/// What a server does wrong, and what is said of it.
#[tokio::test]
async fn a_server_that_goes_wrong_is_ended_and_named() {
    let check = async |script: Value, expected: &str| {
        let mut settings = Value::Null;
        let dir = tempfile::tempdir().unwrap();
        settings["toy"] = scripted(dir.path(), &script, ".toy");
        if script["start"] == "hang" {
            settings["toy"]["startupTimeout"] = json!(200);
        }
        let bench = Bench::with(dir, &settings, patient(), &[("a.toy", "def crab\n")]);
        let said = bench.lsp(json!({"operation": "documentSymbol", "file_path": "a.toy"})).await;
        assert!(said.contains(expected), "{script}: {said}");
        assert!(comes(|| bench.pids().iter().all(|pid| !alive(*pid))).await, "{script}");
        assert!(comes(|| bench.pool.free_places() == SERVERS_MAX).await, "{script}");
    };
    check(json!({"start": "crash"}), "the language server toy does not start: ").await;
    check(json!({"start": "garbage"}), "it wrote what is no message of the protocol: \"debug: entering\"").await;
    check(json!({"start": "hang"}), "toy was not ready after 200 ms and was ended").await;
    check(json!({"on": {"textDocument/documentSymbol": "garbage"}}), "no message of the protocol").await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let settings = json!({"none": {"command": "no-such-server", "extensionToLanguage": {".toy": "toy"}}});
    let bench = Bench::with(tempfile::tempdir().unwrap(), &settings, patient(), &[("a.toy", "")]);
    let said = bench.problems("a.toy").await;
    assert!(said.starts_with("the language server none does not start: start `no-such-server`: "), "{said}");
}

#[tokio::test]
async fn a_server_that_hangs_is_left_after_two_questions() {
    let script = json!({"on": {"textDocument/documentSymbol": "hang"}});
    let limits = Limits { request: Duration::from_millis(200), ..hasty() };
    let bench = Bench::new(script, limits, &[("a.toy", "def crab\n")]);
    let symbols = json!({"operation": "documentSymbol", "file_path": "a.toy"});
    for _ in 0..2 {
        assert_eq!(bench.lsp(symbols.clone()).await, "the language server did not answer within 200 ms");
    }
    assert_eq!(bench.pids().len(), 1);
    assert!(comes(|| !alive(bench.pids()[0])).await);
    bench.lsp(symbols).await;
    assert_eq!(bench.pids().len(), 2, "the next question starts it anew");
}

#[tokio::test]
async fn a_run_that_stops_does_not_wait_for_a_server() {
    let script = json!({"on": {"textDocument/documentSymbol": "hang"}});
    let bench = Bench::new(script, patient(), &[("a.toy", "def crab\n")]);
    let asked = bench.lsp(json!({"operation": "documentSymbol", "file_path": "a.toy"}));
    let stop = async {
        assert!(comes(|| bench.count("textDocument/documentSymbol") == 1).await);
        bench.cancel.cancel();
    };
    let (said, ()) = tokio::join!(asked, stop);
    assert_eq!(said, "stopped");
    let start = Instant::now();
    bench.lease.close().await;
    assert!(start.elapsed() < Duration::from_secs(5), "a run parks within five seconds");
    assert!(!alive(bench.pids()[0]));
}
