//! What is behind fault points in a build that has them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::{Signal, getpid, kill_process};

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
    pass: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Kill,
    Stop,
    Fail,
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
        "fail" => What::Fail,
        _ => return None,
    };
    let (name, pass) = match at.rsplit_once(':') {
        Some((name, pass)) => (name, Some(pass.parse().ok()?)),
        None => (at, None),
    };
    Some(Act { what, name: name.to_owned(), pass })
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
        Some(What::Fail) => Err(rustix::io::Errno::NOSPC.into()),
        Some(What::Kill | What::Stop) | None => Ok(()),
    }
}

/// Counts the pass, and does what is to be done at it.
fn meet(name: &str, mark: &str) -> Option<What> {
    let armed = ARMED.get()?;
    let mut passes = armed.passes.lock().unwrap_or_else(PoisonError::into_inner);
    let pass = passes.entry(name.to_owned()).or_default();
    *pass += 1;
    if let Some(mut list) = armed.list.as_ref() {
        // One write per line: lines of several threads do not mix. A test that misses one says so.
        let _ = list.write_all(format!("{name}{mark}\n").as_bytes());
    }
    let due = |act: &&Act| act.name == name && act.pass.is_none_or(|due| due == *pass);
    let what = armed.acts.iter().find(due)?.what;
    match what {
        What::Kill => die(),
        What::Stop => _ = kill_process(getpid(), Signal::STOP),
        What::Fail => {}
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
        let read = |key, at| act(key, at).map(|act| (act.what, act.name, act.pass));
        assert_eq!(read("kill", "slot.chosen:3"), Some((What::Kill, "slot.chosen".to_owned(), Some(3))));
        assert_eq!(read("fail", "journal.append"), Some((What::Fail, "journal.append".to_owned(), None)));
        assert_eq!(read("stop", "ref.target.after:x"), None);
        assert_eq!(read("list", "file"), None);
    }
}
