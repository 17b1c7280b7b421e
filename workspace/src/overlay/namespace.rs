//! The namespace in which this process may mount.
//!
//! A process that may mount anyway takes a mount namespace of its own. Any other takes a user namespace too, in which its
//! user and group are what they were and nobody else has a name: files keep their owners, and a program that insists on
//! `root` owning something (`sudo`, some configurations of `ssh`) does not find that here.
//!
//! A user namespace cannot be left again, and a kernel may grant one and refuse the mount in it. So a child of this program
//! tries everything out first (`try_out`), and this process goes in only after it has succeeded.
//!
//! What this process starts sees the mounts and cannot make any: the capability is taken out of what a started program can
//! have. A program can still make namespaces of its own, which change nothing for anybody else.
//!
//! Two mounts of one upper folder destroy each other's work. Mounts live as long as any process in their namespace, so what
//! a killed owner's children still hold is looked for in `/proc`; where there is such a process, this one joins it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, move_into_link_name_space, remove_capability_from_bounding_set,
};

use super::{Layers, flatten, mount, unmount, unshare};

/// A thread that has ended is still counted for a moment: so often is looked again.
const THREADS_TRIES_MAX: u32 = 50;
/// Pause between two such looks.
const THREADS_PAUSE: Duration = Duration::from_millis(2);

/// Whether this process is where it can mount slots; not set while nobody has asked.
static OUTCOME: OnceLock<Result<(), Refused>> = OnceLock::new();

/// Slots cannot be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// What stands against it.
    pub why: String,
}

impl Refused {
    /// A refusal with its reason.
    pub fn new(why: impl Into<String>) -> Refused {
        Refused { why: why.into() }
    }

    fn of(what: &str, error: impl Into<io::Error>) -> Refused {
        let error: io::Error = error.into();
        let setting = |path: &str, refuses: &str| {
            fs::read_to_string(path).is_ok_and(|text| text.trim() == refuses).then(|| format!(" ({path} is {refuses})"))
        };
        let known = [
            ("/proc/sys/user/max_user_namespaces", "0"),
            ("/proc/sys/user/max_mnt_namespaces", "0"),
            ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
        ];
        let hint = known.into_iter().find_map(|(path, refuses)| setting(path, refuses)).unwrap_or_default();
        Refused::new(format!("{what}: {error}{hint}"))
    }
}

/// Why slots cannot be mounted by this process, if somebody has tried.
pub fn refused() -> Option<&'static str> {
    OUTCOME.get().and_then(|outcome| outcome.as_ref().err()).map(|refused| refused.why.as_str())
}

/// Whether this process can mount slots.
pub fn entered() -> bool {
    matches!(OUTCOME.get(), Some(Ok(())))
}

/// Brings this process to where it can mount the slots of this state folder, once and for good; `probe` tries it out in
/// a process of its own (`try_out`). To be called before there is a second thread.
pub fn enter(state_dir: &Path, probe: impl FnOnce() -> Result<(), Refused>) -> Result<(), Refused> {
    let mut outcome = OUTCOME.get().cloned();
    if outcome.is_none() {
        outcome = Some(one_thread().and_then(|()| match living(state_dir)? {
            Some(living) => living.join(),
            None => probe().and_then(|()| leave()),
        }));
    }
    OUTCOME.get_or_init(|| outcome.expect("it was just made")).clone()
}

/// Enters a namespace and mounts something in it, below a folder; for a process that ends afterwards.
pub fn try_out(folder: &Path) -> Result<(), Refused> {
    one_thread()?;
    leave()?;
    let scratch = tempfile::tempdir_in(folder).map_err(|e| Refused::of("make a folder there", e))?;
    trial(scratch.path()).map_err(|e| Refused::of("mount an overlay there", e))
}

fn one_thread() -> Result<(), Refused> {
    let threads = || fs::read_dir("/proc/self/task").map(Iterator::count);
    for _ in 0..THREADS_TRIES_MAX {
        match threads() {
            Ok(1) => return Ok(()),
            Ok(_) => std::thread::sleep(THREADS_PAUSE),
            Err(e) => return Err(Refused::of("read /proc/self/task", e)),
        }
    }
    Err(Refused::new("enter a namespace: this process has several threads"))
}

/// Leaves the namespaces that are shared with others.
fn leave() -> Result<(), Refused> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    match unshare::mounts() {
        Ok(()) => {}
        Err(rustix::io::Errno::PERM) => {
            unshare::user_and_mounts().map_err(|e| Refused::of("make a user namespace", e))?;
            let write = |name: &str, text: String| {
                fs::write(format!("/proc/self/{name}"), text).map_err(|e| Refused::of(&format!("write {name}"), e))
            };
            write("setgroups", "deny".to_owned())?;
            write("uid_map", format!("{user} {user} 1"))?;
            write("gid_map", format!("{group} {group} 1"))?;
        }
        Err(e) => return Err(Refused::of("make a mount namespace", e)),
    }
    // What is mounted here stays here; what the machine mounts meanwhile comes in.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(|e| Refused::of("keep mounts to this process", e))?;
    disarm()
}

/// Takes the capability to mount from every program that is started from here on.
fn disarm() -> Result<(), Refused> {
    let taken = remove_capability_from_bounding_set(CapabilitySet::SYS_ADMIN);
    taken.map_err(|e| Refused::of("keep the capability to mount from what is started", e))
}

/// Mounts an overlay, does in it what only works on a file system that can hold one, and compares.
fn trial(scratch: &Path) -> io::Result<()> {
    let path = |name: &str| scratch.join(name);
    for name in ["lower/gone/inner", "lower/new", "upper", "work", "at", "flat"] {
        fs::create_dir_all(path(name))?;
    }
    for name in ["lower/gone/inner/old", "lower/new/old", "lower/kept", "lower/taken"] {
        fs::write(path(name), name)?;
    }
    let layers = Layers { lower: &path("lower"), upper: &path("upper"), work: &path("work") };
    let at = path("at");
    mount(layers, &at)?;
    let changed = (|| {
        fs::remove_file(at.join("taken"))?;
        fs::remove_dir_all(at.join("gone"))?;
        fs::remove_dir_all(at.join("new"))?;
        fs::create_dir(at.join("new"))?;
        fs::write(at.join("new/one"), "one")
    })();
    unmount(&at)?;
    changed?;
    mount(layers, &at)?;
    let seen = names(&at);
    unmount(&at)?;
    flatten(layers.lower, layers.upper, &path("flat"))?;
    let wanted = ["kept", "new", "new/one"].map(PathBuf::from);
    if seen? != wanted || names(&path("flat"))? != wanted {
        return Err(io::Error::other("what was removed comes back"));
    }
    Ok(())
}

/// What lies below a folder, sorted.
fn names(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            found.push(path.strip_prefix(root).expect("it is below").to_owned());
            open.extend(path.is_dir().then_some(path));
        }
    }
    found.sort();
    Ok(found)
}

/// A process in whose namespace slots of ours are mounted.
struct Living {
    pid: u32,
    users: Option<File>,
    mounts: File,
}

impl Living {
    /// Goes to where it is.
    fn join(self) -> Result<(), Refused> {
        let here = std::env::current_dir();
        let what = format!("join process {}, which a wattle that died has started", self.pid);
        let into =
            |file: &File, kind| move_into_link_name_space(file.as_fd(), Some(kind)).map_err(|e| Refused::of(&what, e));
        if let Some(users) = &self.users {
            into(users, LinkNameSpaceType::User)?;
        }
        into(&self.mounts, LinkNameSpaceType::Mount)?;
        // The kernel has put this process at the root.
        if let Ok(here) = here {
            rustix::process::chdir(&here).map_err(|e| Refused::of(&what, e))?;
        }
        disarm()
    }
}

/// The process of another namespace that has something below this folder mounted, if any can be seen.
pub(crate) fn mounted_by(folder: &Path) -> Option<u32> {
    others(folder).next()
}

fn living(state_dir: &Path) -> Result<Option<Living>, Refused> {
    let root =
        |of: &str| fs::metadata(Path::new("/proc").join(of).join("root")).ok().map(|meta| (meta.dev(), meta.ino()));
    let mut found = None;
    for pid in others(state_dir) {
        let same = root(&pid.to_string()).is_some_and(|theirs| root("self") == Some(theirs));
        let open = |name: &str| File::open(format!("/proc/{pid}/ns/{name}"));
        let link = |of: &str| fs::read_link(format!("/proc/{of}/ns/user")).ok();
        // Walls that a program has built around itself are no place to work in.
        if let (true, Ok(mounts), Ok(users)) = (same, open("mnt"), open("user")) {
            let users = (link(&pid.to_string()) != link("self")).then_some(users);
            return Ok(Some(Living { pid, users, mounts }));
        }
        found = Some(pid);
    }
    match found {
        Some(pid) => {
            Err(Refused::new(format!("process {pid}, which a wattle that died has started, still uses slots")))
        }
        None => Ok(None),
    }
}

/// Processes, one of each namespace but this one's, that have an overlay mounted below a folder.
fn others(folder: &Path) -> impl Iterator<Item = u32> {
    let space = |of: &str| fs::read_link(format!("/proc/{of}/ns/mnt")).ok();
    let mut seen: BTreeSet<PathBuf> = space("self").into_iter().collect();
    let folder = folder.to_owned();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(move |pid| {
        let new = space(&pid.to_string()).is_some_and(|space| seen.insert(space));
        let table = || fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        new && table().split(|byte| *byte == b'\n').filter_map(overlay_at).any(|at| at.starts_with(&folder))
    })
}

/// Where the overlay of a line of `mountinfo` is mounted; none if it is of something else.
fn overlay_at(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let at = fields.nth(4)?;
    fields.find(|field| *field == b"-")?;
    (fields.next()? == b"overlay").then(|| unescaped(at))
}

/// A path as `mountinfo` writes it: blanks, line ends and backslashes as three octal digits.
fn unescaped(text: &[u8]) -> PathBuf {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = octal.filter(|_| first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_several_threads_stays_where_it_is_and_says_so() {
        // The harness runs a test beside its own thread.
        let refused = enter(Path::new("/nowhere"), || panic!("not even tried out")).unwrap_err();
        assert!(refused.why.contains("several threads"), "{refused}");
        assert_eq!((super::refused(), entered()), (Some(refused.why.as_str()), false));
    }

    #[test]
    fn lines_of_the_kernels_table_are_read() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(overlay_at(line.as_bytes()), expected.map(PathBuf::from), "{line}");
        };
        check("50 30 0:39 / /a\\040b/slots/1 rw,nosuid - overlay wattle rw,lowerdir=/x", Some("/a b/slots/1"));
        check("50 30 0:39 / /a\\134040 rw master:1 - overlay wattle rw", Some("/a\\040"));
        check("29 1 254:0 / / rw - ext4 /dev/vda rw", None);
        check("", None);
    }
}
