//! Which process holds a slot, and whether it lives. A process id alone is given to others in time, so the time of its
//! start goes with it.

use std::fs;

use rustix::process::{Pid, test_kill_process};

use crate::slot::Owner;

/// This process.
pub(crate) fn own() -> Owner {
    let pid = std::process::id();
    Owner { pid, started: started(pid).unwrap_or(0) }
}

impl Owner {
    /// Whether the process lives. One of another boot does not, nor one whose id somebody else has now.
    pub(crate) fn lives(&self) -> bool {
        match started(self.pid) {
            Some(started) => self.started == 0 || started == self.started,
            None => cfg!(not(target_os = "linux")) && signalled(self.pid),
        }
    }
}

/// Whether a process of this id can be asked anything, where there is no `/proc`.
fn signalled(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

/// When a process started; none if there is no such process. A zombie has ended.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything, parentheses too.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    // The start is field 22 of the line; the state was the third.
    (state != "Z").then(|| fields.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_others_of_its_id_did_not() {
        let own = own();
        assert!(own.lives() && own.started > 0);
        let earlier = Owner { started: own.started - 1, ..own };
        assert!(!earlier.lives(), "the id was another's before");
        let none = Owner { pid: u32::try_from(i32::MAX).unwrap(), started: 1 };
        assert!(!none.lives());
    }
}
