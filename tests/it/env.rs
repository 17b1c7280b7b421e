//! A world of its own for one test: home, state directory, git configuration and repositories, and the
//! program run in it. Nothing of the machine's user reaches it but the search path for programs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for one event of a program in the background: an order of magnitude above the slowest that
/// was measured, so that it only ends a test that would hang.
const EVENT_WAIT: Duration = Duration::from_secs(60);

/// Temporary directory, configuration and environment of one test.
pub(crate) struct TestEnv {
    folder: tempfile::TempDir,
    root: PathBuf,
    vars: BTreeMap<OsString, OsString>,
}

/// What a program has printed, and its exit code.
#[must_use]
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code; 128 and more for a signal.
    pub(crate) code: i32,
    /// Standard output, with the paths of this test rewritten.
    pub(crate) out: String,
    /// Standard error, with the paths of this test rewritten.
    pub(crate) err: String,
}

impl Output {
    /// The same, after a test that it ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// The same, after a test of its exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// The one JSON value on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Every line of stdout as JSON.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(line).collect()
    }

    /// Everything, for a snapshot.
    pub(crate) fn whole(&self) -> String {
        let part = |name: &str, text: &str| match text {
            "" => String::new(),
            text => format!("--- {name}\n{text}"),
        };
        format!("exit {}\n{}{}", self.code, part("stdout", &self.out), part("stderr", &self.err))
    }
}

impl TestEnv {
    /// A home with a git configuration, and nothing else.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("the machine has room for a test");
        let root = folder.path().canonicalize().expect("the folder was just made");
        let config = "[user]\n\tname = Tess Ter\n\temail = tess@example.org\n[init]\n\tdefaultBranch = main\n";
        for name in ["home", "state", "config", "tmp"] {
            std::fs::create_dir(root.join(name)).expect("the folder is ours");
        }
        std::fs::write(root.join("home/.gitconfig"), config).expect("the folder is ours");
        #[expect(clippy::disallowed_methods, reason = "programs are found where the machine has them")]
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut vars = BTreeMap::from([(OsString::from("PATH"), path)]);
        let mut set = |name: &str, value: OsString| vars.insert(name.into(), value);
        set("HOME", root.join("home").into());
        set("XDG_CONFIG_HOME", root.join("config").into());
        set("WATTLE_STATE_DIR", root.join("state").into());
        set("TMPDIR", root.join("tmp").into());
        set("LC_ALL", "C.UTF-8".into());
        set("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z".into());
        set("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z".into());
        if let Some(slots) = slots() {
            set("WATTLE_SLOTS", slots);
        }
        Self { folder, root, vars }
    }

    /// The directory of this test.
    pub(crate) fn root(&self) -> &Path {
        debug_assert!(self.folder.path().exists());
        &self.root
    }

    /// The state of the one repository.
    #[track_caller]
    pub(crate) fn state(&self) -> PathBuf {
        let mut repos = std::fs::read_dir(self.root().join("state/repos")).expect("a run has been here");
        repos.next().expect("there is a repository").expect("it can be read").path()
    }

    /// Sets a variable for everything that is run from here on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.into(), value.into());
    }

    /// A repository with one commit of these files on `main`.
    pub(crate) fn repo(&self, name: &str, files: &[(&str, &str)]) -> TestRepo<'_> {
        let path = self.root.join(name);
        std::fs::create_dir_all(&path).expect("the folder is ours");
        let repo = TestRepo { env: self, path };
        repo.git(&["init", "--quiet"]);
        repo.commit("first", files);
        repo
    }

    /// Runs git in a directory and gives its output.
    #[track_caller]
    pub(crate) fn git(&self, folder: &Path, args: &[&str]) -> String {
        let mut command = self.command("git".as_ref(), folder, args);
        let output = command.output().unwrap_or_else(|error| panic!("git {args:?}: {error}"));
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {err}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs the program to its end.
    pub(crate) fn wattle(&self, folder: &Path, args: &[&str]) -> Output {
        self.wattle_fed(folder, args, "")
    }

    /// Runs the program to its end, with something on standard input.
    pub(crate) fn wattle_fed(&self, folder: &Path, args: &[&str], input: &str) -> Output {
        let mut command = self.command(&program(), folder, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program was built with the tests");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A program that does not read its input closes it early, which is no fault of the test's.
        std::io::Write::write_all(&mut stdin, input.as_bytes()).ok();
        drop(stdin);
        let output = child.wait_with_output().expect("a child can be waited for");
        self.output(output.status, &output.stdout, &output.stderr)
    }

    /// Runs the program to its end with more variables in its environment.
    pub(crate) fn wattle_with(&self, folder: &Path, vars: &[(&str, &str)], args: &[&str]) -> Output {
        let mut command = self.command(&program(), folder, args);
        let output = command.envs(vars.iter().copied()).output().expect("the program was built with the tests");
        self.output(output.status, &output.stdout, &output.stderr)
    }

    /// Runs another program of the machine to its end.
    pub(crate) fn program(&self, name: &str, folder: &Path, args: &[&str]) -> Output {
        let mut command = self.command(Path::new(name), folder, args);
        let output = command.output().unwrap_or_else(|error| panic!("{name} {args:?}: {error}"));
        self.output(output.status, &output.stdout, &output.stderr)
    }

    /// Where the machine has a program, if it has it.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.vars.get(OsStr::new("PATH"))?;
        std::env::split_paths(path).map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// Starts the program in the background; its stdout is read line by line as JSON.
    pub(crate) fn spawn(&self, folder: &Path, args: &[&str]) -> Background<'_> {
        self.spawn_with(folder, &[], args)
    }

    /// The same, with more variables in its environment.
    pub(crate) fn spawn_with(&self, folder: &Path, vars: &[(&str, &str)], args: &[&str]) -> Background<'_> {
        let mut command = self.command(&program(), folder, args);
        command.envs(vars.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program was built with the tests");
        let (stdout, stderr) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let err = std::thread::spawn(move || {
            let mut text = Vec::new();
            BufReader::new(stderr).read_to_end(&mut text).ok();
            text
        });
        Background { env: self, child, lines, seen: Vec::new(), err: Some(err) }
    }

    fn command(&self, program: &Path, folder: &Path, args: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the tests run the program as its users do")]
        let mut command = Command::new(program);
        command.args(args).current_dir(folder).env_clear().envs(&self.vars);
        command
    }

    fn output(&self, status: std::process::ExitStatus, out: &[u8], err: &[u8]) -> Output {
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Output { code, out: self.rewrite(out), err: self.rewrite(err) }
    }

    fn rewrite(&self, bytes: &[u8]) -> String {
        let root = self.root.to_str().expect("temporary directories have plain names");
        String::from_utf8_lossy(bytes).replace(root, "$ROOT")
    }
}

/// The most steps that these events show in the state `running` at one time.
pub(crate) fn at_once(events: &[Value]) -> usize {
    let (mut running, mut most) = (BTreeSet::new(), 0);
    for event in events.iter().filter(|event| event["type"] == "step_state") {
        let step = event["step"].as_str().expect("a step has a name");
        if event["state"] == "running" {
            running.insert(step)
        } else {
            running.remove(step)
        };
        most = most.max(running.len());
    }
    most
}

/// The program under test; `.ci/run` names another copy when it runs the tests as somebody else.
pub(crate) fn program() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "set by .ci/run alone")]
    let given = std::env::var_os("WATTLE_TEST_BIN");
    given.unwrap_or_else(|| env!("CARGO_BIN_EXE_wattle").into()).into()
}

/// What slots are made of in all tests that do not say it themselves: a whole suite can be tried on overlay mounts.
fn slots() -> Option<OsString> {
    #[expect(clippy::disallowed_methods, reason = "set by whoever tries it")]
    std::env::var_os("WATTLE_TEST_SLOTS")
}

/// Root of the sources that the rules of the house are held against.
pub(crate) fn sources() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "set by .ci/run alone")]
    let given = std::env::var_os("WATTLE_TEST_SOURCES");
    given.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), PathBuf::from)
}

/// A repository of a test.
pub(crate) struct TestRepo<'e> {
    env: &'e TestEnv,
    /// Its checkout.
    pub(crate) path: PathBuf,
}

impl TestRepo<'_> {
    /// Runs git in it and gives its output.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.env.git(&self.path, args)
    }

    /// Runs the program in it.
    pub(crate) fn wattle(&self, args: &[&str]) -> Output {
        self.env.wattle(&self.path, args)
    }

    /// Starts the program in it.
    pub(crate) fn spawn(&self, args: &[&str]) -> Background<'_> {
        self.env.spawn(&self.path, args)
    }

    /// Writes a file of the checkout.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path.join(path);
        std::fs::create_dir_all(path.parent().expect("it lies in the checkout")).expect("the folder is ours");
        std::fs::write(path, text).expect("the folder is ours");
    }

    /// Reads a file of the checkout.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Commits these files on the branch checked out and gives the commit.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            self.write(path, text);
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A branch off a revision with these files, which is not checked out afterwards.
    pub(crate) fn branch(&self, name: &str, from: &str, files: &[(&str, &str)]) -> String {
        let back = self.git(&["rev-parse", "--abbrev-ref", "HEAD"]);
        self.git(&["checkout", "--quiet", "-b", name, from]);
        let commit = self.commit(name, files);
        self.git(&["checkout", "--quiet", &back]);
        commit
    }
}

/// The program, running.
pub(crate) struct Background<'e> {
    env: &'e TestEnv,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<Value>,
    err: Option<std::thread::JoinHandle<Vec<u8>>>,
}

impl Background<'_> {
    /// Waits for an event of `--json` output that fits, unless one has come already; fails the test when the
    /// program ends before.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(event) = self.seen.iter().find(|event| fits(event)) {
            return event.clone();
        }
        self.next_that(fits)
    }

    /// Waits for the next event that fits, whatever has come already.
    #[track_caller]
    pub(crate) fn next_that(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.lines.recv_timeout(EVENT_WAIT) {
                Ok(line) => {
                    let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    self.seen.push(event.clone());
                    if fits(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no such event within {EVENT_WAIT:?}: {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => {
                    let err = self.err.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
                    panic!("it ended before: {:#?}\n{}", self.seen, String::from_utf8_lossy(&err));
                }
            }
        }
    }

    /// Reads so many more lines of its output. `false` = it has ended before.
    pub(crate) fn read(&mut self, lines: usize) -> bool {
        for _ in 0..lines {
            match self.lines.recv_timeout(EVENT_WAIT) {
                Ok(line) => {
                    self.seen.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
                }
                Err(RecvTimeoutError::Timeout) => panic!("no line within {EVENT_WAIT:?}: {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Waits for so many events; `true` = it ended before.
    #[track_caller]
    pub(crate) fn events(&mut self, count: usize) -> bool {
        while self.seen.len() < count {
            match self.lines.recv_timeout(EVENT_WAIT) {
                Ok(line) => {
                    self.seen.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
                }
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => panic!("no event within {EVENT_WAIT:?}: {:#?}", self.seen.last()),
            }
        }
        false
    }

    /// Kills it at once, as a crash does. `false` = it had ended by itself.
    pub(crate) fn kill(mut self) -> bool {
        let alive = self.child.try_wait().expect("it is our child").is_none();
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        alive
    }

    /// Waits until it has stopped itself (as by SIGSTOP). `false` = it has ended.
    pub(crate) fn stopped(&self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let pid = i32::try_from(self.child.id()).expect("process ids fit");
        let pid = rustix::process::Pid::from_raw(pid).expect("process ids are positive");
        let ends = WaitIdOptions::STOPPED | WaitIdOptions::EXITED;
        // Left to be waited for again by whoever ends it.
        let status = waitid(WaitId::Pid(pid), ends | WaitIdOptions::NOWAIT).expect("it is our child");
        let stopped = status.is_some_and(|status| status.stopped());
        if stopped {
            waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).expect("it is our child");
        }
        stopped
    }

    /// The commits that it has said to have landed so far.
    pub(crate) fn landed(&mut self) -> Vec<String> {
        for line in self.lines.try_iter() {
            self.seen.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
        let landed = self.seen.iter().filter(|event| event["type"] == "landed");
        landed.map(|event| event["commit"].as_str().expect("a commit").to_owned()).collect()
    }

    /// Asks it to stop, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).expect("process ids fit");
        let pid = rustix::process::Pid::from_raw(pid).expect("process ids are positive");
        rustix::process::kill_process(pid, signal).expect("it is our child");
    }

    /// Waits for its end and gives all it has printed.
    pub(crate) fn end(mut self) -> Output {
        let status = self.child.wait().expect("it is our child");
        let err = self.err.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let rest: Vec<String> = self.lines.iter().collect();
        let seen = self.seen.iter().map(ToString::to_string);
        let out = seen.chain(rest).map(|line| line + "\n").collect::<String>();
        self.env.output(status, out.as_bytes(), &err)
    }
}

impl Drop for Background<'_> {
    fn drop(&mut self) {
        // A failed test leaves no program behind; one that has ended is not an error.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
