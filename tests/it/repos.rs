//! Every kind of repository opens: a whole plan on each, against the same work done by hand with plain git.
//!
//! A kind is a shell script that makes the repository, the same one twice: in `theirs` the program works, in `hand` a
//! person does. Afterwards the trees must be equal, and nothing else of the user's may have changed by a byte.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its stage has failed")]

mod content;
mod formats;
mod layouts;
mod slots;
mod special;
mod world;

pub(crate) use world::{Kind, check};

/// One test per kind.
macro_rules! kinds {
    ($($name:ident: $kind:expr;)*) => {
        $(#[test]
        fn $name() {
            $crate::repos::check(&$kind);
        })*
    };
}
pub(crate) use kinds;
