//! A machine that refuses without a full disk: folders without permission, too few open files, and processes that the
//! system kills at any system call, Wattle's own or a git of it.

use super::audit::audit;
use super::disk::expected;
use super::matrix::{AT_ONCE, go_on, told};
use super::plans::{QUEUE, RUN};
use super::{each, say};
use crate::crash::world::{Expected, kill_processes};
use crate::env::TestEnv;

/// What may not be written to, from the start on.
const FORBIDDEN: &[&str] = &["repo/.git/objects", "repo/.git/refs/heads", "repo/src", "repo", "state"];

#[test]
fn a_folder_without_permission_is_named_and_with_it_the_run_goes_on() {
    let root = rustix::process::geteuid().is_root();
    let tree = expected();
    for folder in FORBIDDEN {
        let env = TestEnv::new();
        let repo = QUEUE.world(&env);
        if root && env.find("setpriv").is_none() {
            return say("skipped: nothing forbids root anything, and there is no setpriv to become somebody else");
        }
        // Somebody else's program must be where somebody else may look.
        let program = env.root().join("wattle");
        std::fs::copy(crate::env::program(), &program).expect("the program was built with the tests");
        std::fs::create_dir_all(env.root().join("state")).expect("the folder is ours");
        if root {
            drop(env.program("chown", env.root(), &["-R", "65534:65534", "."]).ok());
        }
        let program = program.to_str().expect("a plain path");
        let run = |args: &[&str]| match root {
            true => {
                let become_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", program];
                env.program("setpriv", &repo.path, &[&become_nobody[..], args].concat())
            }
            false => env.program(program, &repo.path, args),
        };
        drop(env.program("chmod", env.root(), &["a-w", folder]).ok());
        let first = run(&RUN);
        assert!([4, 5].contains(&first.code), "{folder}: {}", first.whole());
        // Of a folder that it cannot make git itself says no more.
        let says = ["ermission denied", "insufficient permission", "unable to create directory for"];
        assert!(says.iter().any(|words| first.whole().contains(words)), "{folder}: {}", first.whole());
        drop(env.program("chmod", env.root(), &["u+w", folder]).ok());
        let mut end = run(&["resume", "--json"]);
        if end.code == 5 && end.out.contains("no_run") {
            end = run(&RUN);
        }
        assert_eq!(end.code, 0, "{folder}: {}\n{}", first.whole(), end.whole());
        if root {
            drop(env.program("chown", env.root(), &["-R", "0:0", "."]).ok());
        }
        assert_eq!(repo.git(&["rev-parse", "main^{tree}"]), tree, "{folder}");
        assert_eq!(repo.git(&["status", "--porcelain"]), "", "{folder}");
        repo.git(&["fsck", "--strict", "--no-dangling"]);
    }
    say(&format!("faults: {} folders without permission", FORBIDDEN.len()));
}

/// The run that nothing disturbs.
fn undisturbed() -> Expected {
    let env = TestEnv::new();
    let repo = QUEUE.world(&env);
    let events = env.wattle(&repo.path, &RUN).ok().events().len();
    Expected::of(&repo, events, |repo| _ = audit(repo, QUEUE.checks))
}

#[test]
fn too_few_open_files_stop_a_run_that_goes_on_with_more() {
    let expected = undisturbed();
    let mut stopped = 0;
    for files in ["16", "24", "32", "48"] {
        let env = TestEnv::new();
        let repo = QUEUE.world(&env);
        let program = crate::env::program();
        let line = format!("ulimit -n {files}; exec {} \"$@\"", program.display());
        let mut end = env.program("sh", &repo.path, &[&["-c", &line, "wattle"][..], &RUN].concat());
        if end.code != 0 {
            stopped += 1;
            assert!([4, 5].contains(&end.code), "{files}: {}", end.whole());
            let says = ["Too many open files", "unable to open database file"];
            assert!(says.iter().any(|words| end.whole().contains(words)), "{files}: {}", end.whole());
            end = go_on(&env, &repo, None);
        }
        assert_eq!(end.code, 0, "{files}: {}\n{}", end.whole(), told(&repo));
        expected.hold(&env, &repo);
    }
    say(&format!("faults: {stopped} of 4 runs had too few open files and went on later"));
}

/// System calls at whose N-th one a process of the run is killed, whichever comes to it: Wattle, or a git of it.
const CALLS: &[(&str, &[u32])] = &[
    ("rename,renameat,renameat2", &[1, 2, 7, 19]),
    ("unlink,unlinkat", &[1, 3, 11]),
    ("link,linkat,mkdir,mkdirat", &[1, 4]),
    ("fsync,fdatasync", &[2, 9, 23]),
    ("write,pwrite64", &[3, 17, 60]),
    ("ftruncate", &[1, 2]),
];

/// A kill at a system call.
struct Call {
    calls: &'static str,
    n: u32,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "killed at {} number {}", self.calls, self.n)
    }
}

#[test]
fn killed_at_a_system_call_a_run_goes_on_to_the_same_end() {
    let env = TestEnv::new();
    let able = env.find("strace").is_some() && env.program("strace", env.root(), &["-o", "t", "true"]).code == 0;
    if !able {
        return say("skipped: kills at system calls need strace, and the right to use it");
    }
    let expected = undisturbed();
    let cases: Vec<Call> = CALLS.iter().flat_map(|(calls, ns)| ns.iter().map(move |n| Call { calls, n: *n })).collect();
    let (killed, failures) = each(&cases, AT_ONCE, |case| {
        let env = TestEnv::new();
        let repo = QUEUE.world(&env);
        let program = crate::env::program();
        let program = program.to_str().expect("a plain path");
        let inject = format!("inject={}:signal=SIGKILL:when={}", case.calls, case.n);
        let trace = format!("trace={}", case.calls);
        let traced = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, program];
        let mut end = env.program("strace", &repo.path, &[&traced[..], &RUN].concat());
        kill_processes(env.root());
        audit(&repo, QUEUE.checks);
        let killed = usize::from(end.code != 0);
        for _ in 0..4 {
            if end.code != 0 {
                end = go_on(&env, &repo, None);
            }
        }
        assert_eq!(end.code, 0, "{case}: {}\n{}", end.whole(), told(&repo));
        expected.hold(&env, &repo);
        killed
    });
    say(&format!(
        "faults: {killed} of {} runs were killed at a system call; {} ended otherwise",
        cases.len(),
        failures.len()
    ));
    assert!(failures.is_empty(), "{failures:#?}");
}
