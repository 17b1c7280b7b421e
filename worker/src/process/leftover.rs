//! Finds what a job left behind outside of its process group.
//!
//! A child that calls `setsid` leaves the group, but it keeps the environment it was started with and,
//! mostly, the output pipe. Both can be seen in `/proc`. Elsewhere than on Linux nothing is found and
//! the group is all that is killed.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal};

/// Rounds of looking and killing. One process can start another between two looks, but a killed one
/// cannot: a chain that outruns this many looks is a fork bomb, which is for limits of the system.
const ROUNDS_MAX: usize = 8;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A text that no other job of this machine carries: process id and start time of this process, and
/// a number.
pub(super) fn token() -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let own = std::process::id();
    let since = started(Path::new("/proc/self/stat")).unwrap_or_default();
    format!("{own}-{since}-{number}")
}

/// Start time of a process in clock ticks since boot: with it, a process id is unique.
fn started(stat: &Path) -> Option<u64> {
    let stat = std::fs::read_to_string(stat).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

/// The inode of a pipe.
pub(super) fn inode(pipe: impl AsFd) -> Option<u64> {
    rustix::fs::fstat(pipe).ok().map(|stat| stat.st_ino)
}

/// Kills every process whose environment holds this variable with this value.
pub(super) fn kill_token(name: &str, value: &str) -> usize {
    let wanted = format!("{name}={value}");
    kill_all(|process| carries(process, wanted.as_bytes()))
}

/// Kills every process that holds the writing end of this pipe.
///
/// The reading end does not count: a sibling that is just being started has all our files for a moment.
pub(super) fn kill_writers(pipe: u64) -> usize {
    let wanted = format!("pipe:[{pipe}]");
    kill_all(|process| {
        let Ok(files) = std::fs::read_dir(process.join("fd")) else {
            return false;
        };
        let mut ours = files.flatten().filter(|file| {
            std::fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == OsStr::new(&wanted))
        });
        ours.any(|file| writes(&process.join("fdinfo").join(file.file_name())))
    })
}

/// Is this an open file that is written to? Its flags are octal, and the two lowest bits are the access mode.
fn writes(info: &Path) -> bool {
    let info = std::fs::read_to_string(info).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 3 != 0)
}

/// Ends the processes that a run left behind when the process that ran it died (`kill -9`): all that
/// carry `WATTLE_RUN` with its id, but never this process or one it descends from. Returns how many.
///
/// To be called by the owner of the repository only, when nothing of the run is live.
pub fn end_leftovers(run: &str) -> usize {
    kill_token("WATTLE_RUN", run)
}

fn carries(process: &Path, wanted: &[u8]) -> bool {
    let environ = std::fs::read(process.join("environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable == wanted)
}

fn kill_all(wanted: impl Fn(&Path) -> bool) -> usize {
    let spared = ancestry();
    let mut killed = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let mut found = false;
        for (pid, process) in processes() {
            if spared.contains(&pid) || killed.contains(&(pid, started(&process.join("stat")))) {
                continue;
            }
            if !wanted(&process) {
                continue;
            }
            let since = started(&process.join("stat"));
            if let Some(raw) = Pid::from_raw(pid)
                && rustix::process::kill_process(raw, Signal::KILL).is_ok()
            {
                killed.insert((pid, since));
                found = true;
            }
        }
        if !found {
            break;
        }
    }
    killed.len()
}

/// This process and all it descends from.
fn ancestry() -> Vec<i32> {
    let mut line = Vec::new();
    let mut next = i32::try_from(std::process::id()).ok();
    while let Some(pid) = next {
        if pid <= 0 || line.contains(&pid) {
            break;
        }
        line.push(pid);
        next = parent(pid);
    }
    line
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

fn processes() -> Vec<(i32, std::path::PathBuf)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let pid = std::str::from_utf8(name.as_bytes()).ok()?.parse().ok()?;
            Some((pid, entry.path()))
        })
        .collect()
}
