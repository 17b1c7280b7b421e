//! Fault points: named places before and after every effect, at which a test kills the program, stops it, or lets the
//! effect fail as on a full disk.
//!
//! They exist in builds with debug assertions only. In a release build [`arm`] ignores what it is given and [`point`] and
//! [`fails`] are empty, so nothing of this file is left there: a switch that kills the program at a chosen place has no
//! business in what people run. A point decides nothing and orders nothing, so both builds take the same way.
//!
//! What happens where is one text, which the configuration reads from the environment and hands to [`arm`]:
//! `list=FILE` appends the name of every point that is passed to a file (with a `!` where the effect can be made to fail),
//! so that nobody keeps a list of points by hand; `kill=NAME:N` kills the process by SIGKILL at the N-th pass of a point,
//! `stop=NAME:N` stops it by SIGSTOP until somebody continues it, and `fail=NAME:N` makes the effect fail at that pass as on
//! a full disk (`fail=NAME:N+`: from there on; `fail=NAME`: every time; `fail-access`, `fail-io`, `fail-files`: as without
//! permission, with a broken disk, with too many files open). `*` for a name is any point. Several are separated by `;`.
//!
//! Our own and not the crate `fail`: that one (0.5.1, of 2022) ends a process by a panic only, which unwinds and cleans up
//! where a crash does not, it reads the environment by itself, and it cannot tell which points a run has passed.

use std::io;

#[cfg(debug_assertions)]
mod armed;

/// Takes what is to happen, once per process; a later call and a text that makes no sense change nothing.
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "a release build has no fault points"))]
pub fn arm(what: &str) {
    #[cfg(debug_assertions)]
    armed::arm(what);
}

/// A place where the program may die.
#[inline]
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "a release build has no fault points"))]
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
}

/// The same, with a name that is made only where it is needed, and perhaps not even there.
#[inline]
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "a release build has no fault points"))]
pub fn point_of(name: impl FnOnce() -> Option<String>) {
    #[cfg(debug_assertions)]
    if armed::is_armed()
        && let Some(name) = name()
    {
        armed::pass(&name);
    }
}

/// A place where the program may die, and where the effect that follows may be told that the disk is full.
#[inline]
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "a release build has no fault points"))]
pub fn fails(name: &str) -> io::Result<()> {
    #[cfg(debug_assertions)]
    armed::try_pass(name)?;
    Ok(())
}

/// The same, with a name that is made only where it is needed, and perhaps not even there.
#[inline]
#[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "a release build has no fault points"))]
pub fn fails_of(name: impl FnOnce() -> Option<String>) -> io::Result<()> {
    #[cfg(debug_assertions)]
    if armed::is_armed()
        && let Some(name) = name()
    {
        armed::try_pass(&name)?;
    }
    Ok(())
}
