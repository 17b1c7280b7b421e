//! What is behind fault points in a build that has them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

/// Stands for every point.
const ANY: &str = "*";

/// What was asked for; empty in a program that nobody tests.
static ARMED: OnceLock<Armed> = OnceLock::new();

struct Armed {
    list: Option<File>,
    acts: Vec<Act>,
    passes: Mutex<BTreeMap<String, u32>>,
}

/// What happens at a point, at one of its passes or at each.
#[derive(Debug, PartialEq, Eq)]
struct Act {
    what: What,
    name: String,
    when: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// At this pass.
    At(u32),
    /// At this pass and every later one.
    From(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Kill,
    Stop,
    Fail(Errno),
}

pub(super) fn arm(text: &str) {
    let words = || text.split(';').filter_map(|word| word.split_once('='));
    let path = words().find(|(key, _)| *key == "list").map(|(_, path)| path);
    let list = path.and_then(|path| File::options().append(true).create(true).open(path).ok());
    let acts = words().filter_map(|(key, at)| act(key, at)).collect();
    let _ = ARMED.set(Armed { list, acts, passes: Mutex::default() });
}

fn act(key: &str, at: &str) -> Option<Act> {
    let what = match key {
        "kill" => What::Kill,
        "stop" => What::Stop,
        "fail" => What::Fail(Errno::NOSPC),
        "fail-access" => What::Fail(Errno::ACCESS),
        "fail-io" => What::Fail(Errno::IO),
        "fail-files" => What::Fail(Errno::MFILE),
        _ => return None,
    };
    let (name, when) = match at.rsplit_once(':') {
        Some((name, pass)) => match pass.strip_suffix('+') {
            Some(first) => (name, When::From(first.parse().ok()?)),
            None => (name, When::At(pass.parse().ok()?)),
        },
        None => (at, When::From(1)),
    };
    Some(Act { what, name: name.to_owned(), when })
}

impl When {
    fn is_due(self, pass: u32) -> bool {
        match self {
            Self::At(due) => due == pass,
            Self::From(first) => first <= pass,
        }
    }
}

pub(super) fn is_armed() -> bool {
    ARMED.get().is_some()
}

pub(super) fn pass(name: &str) {
    // A place that cannot fail does not.
    let _ = meet(name, "");
}

pub(super) fn try_pass(name: &str) -> io::Result<()> {
    match meet(name, "!") {
        Some(What::Fail(why)) => Err(why.into()),
        Some(What::Kill | What::Stop) | None => Ok(()),
    }
}

/// Counts the pass, and does what is to be done at it.
fn meet(name: &str, mark: &str) -> Option<What> {
    let armed = ARMED.get()?;
    let mut passes = armed.passes.lock().unwrap_or_else(PoisonError::into_inner);
    let mut count = |name: &str| {
        let pass = passes.entry(name.to_owned()).or_default();
        *pass += 1;
        *pass
    };
    let (pass, of_all) = (count(name), count(ANY));
    if let Some(mut list) = armed.list.as_ref() {
        // One write per line: lines of several threads do not mix. A test that misses one says so.
        let _ = list.write_all(format!("{name}{mark}\n").as_bytes());
    }
    let due = |act: &&Act| match act.name == ANY {
        true => act.when.is_due(of_all),
        false => act.name == name && act.when.is_due(pass),
    };
    let what = armed.acts.iter().find(due)?.what;
    match what {
        What::Kill => die(),
        What::Stop => _ = kill_process(getpid(), Signal::STOP),
        What::Fail(_) => {}
    }
    Some(what)
}

/// Dies as by `kill -9`: nothing is unwound, flushed or given back.
fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    // The signal reaches every thread; this one may be the last.
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read() {
        let read = |key, at| act(key, at).map(|act| (act.what, act.name, act.when));
        let append = || "journal.append".to_owned();
        assert_eq!(read("kill", "slot.chosen:3"), Some((What::Kill, "slot.chosen".to_owned(), When::At(3))));
        assert_eq!(read("fail", "journal.append"), Some((What::Fail(Errno::NOSPC), append(), When::From(1))));
        assert_eq!(read("fail-io", "journal.append:4+"), Some((What::Fail(Errno::IO), append(), When::From(4))));
        assert_eq!(read("stop", "ref.target.after:x"), None);
        assert_eq!(read("list", "file"), None);
    }
}
