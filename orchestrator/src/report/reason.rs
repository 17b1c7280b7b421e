//! Reasons in words: what a `why` code means to a person, why a landing is held, and counts of things.

use crate::ui::clean::one_line;

/// Characters of paths that fit on a line.
const PATHS_MAX: usize = 160;

/// A `why` code in words; codes that need none are given back as they are.
pub(crate) fn reason(code: &str) -> &str {
    match code {
        "manual" => "waits for your approval",
        "outside_touches" => "it changes paths outside its touches",
        "branch_moved" => "somebody else moved its branch",
        "lapsed" => "its commit has changed since it was approved",
        "final_red" => "a final check is red",
        "group" => "another step of its group cannot land",
        "base_red" => "a check is red on the base itself",
        "held" => "a landing before it is held",
        "tip_moved" => "the target has moved",
        "gathered" => "waits for the final checks",
        "needs_conflict" => "what it needs does not merge cleanly yet",
        "needed" => "a step that it needs has not ended well",
        "base_changed" => "what it stands on has changed",
        "restack" => "put on its new base",
        "index_locked" => "its index is locked, by an editor or another git",
        "checkout_failed" => "git could not check the new files out",
        "split" => "a check of it together with others is red; they are tried apart",
        "clash" => "it does not merge with what is before it in the queue",
        "not_generated" => "a generated file cannot be made of it together with others; they are tried apart",
        "superseded" => "another candidate says more",
        "timeout" => "a check ran out of time",
        "target_gone" => "the target branch is gone",
        "environment" => "the machine refused",
        other => other,
    }
}

/// Why a landing is held, and by what.
pub(crate) fn held(why: &str, worktree: &str, paths: &[String]) -> String {
    let paths = one_line(&paths.join(", "), PATHS_MAX);
    let at = if worktree.is_empty() { "the checkout" } else { worktree };
    match why {
        "dirty" => format!("landing held: {at} has changes of its own in {paths}"),
        "rebase" | "merge" | "cherry_pick" | "revert" | "bisect" => {
            format!("landing held: a {} is under way in {at}", why.replace('_', "-"))
        }
        "target_gone" | "environment" => format!("landing held: {}", reason(why)),
        _ if paths.is_empty() => format!("landing held: {at}: {}", reason(why)),
        _ => format!("landing held: {at}: {}: {paths}", reason(why)),
    }
}

/// So many of a thing.
pub(crate) fn counted(n: usize, thing: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {thing}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Machine;
    use crate::state::landing::Landing;

    #[test]
    fn every_reason_to_hold_reads_as_a_sentence() {
        for why in Landing::Held.why() {
            let words = held(why, "/r", &["a".to_owned(), "b".to_owned()]);
            assert!(words.starts_with("landing held: ") && !words.contains('_'), "{words}");
        }
        assert_eq!(held("dirty", "/r", &["a".to_owned()]), "landing held: /r has changes of its own in a");
        assert_eq!(held("rebase", "/r", &[]), "landing held: a rebase is under way in /r");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!((counted(1, "file"), counted(0, "file")), ("1 file".to_owned(), "0 files".to_owned()));
    }
}
