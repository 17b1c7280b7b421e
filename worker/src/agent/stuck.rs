//! A model that makes the same calls again and again and gets the same answers (All-Hands-AI/OpenHands#7237).

use super::transcript::{Call, Transcript};
use crate::tool::BASH_OUTPUT;

/// Repetitions after which nothing new is to be hoped for. Waiting for something that changes gives other answers.
const REPEATS_MAX: usize = 10;

/// Are the newest replies all the same, and what they were told as well?
pub(super) fn stuck(transcript: &Transcript) -> bool {
    // Two that differ are seen without a look at the others.
    if let [newest, before] = &transcript.newest_exchanges(2)[..]
        && newest.1 != before.1
    {
        return false;
    }
    let exchanges: Vec<(Vec<Call>, Vec<String>)> = transcript.newest_exchanges(REPEATS_MAX);
    let told = |(calls, answers): &(Vec<Call>, Vec<String>)| {
        let calls: Vec<(String, String)> = calls.iter().map(|call| (call.name.clone(), call.input.clone())).collect();
        (calls, answers.clone())
    };
    // The first of them may have been given in full what the later ones were given a stub for.
    let Some((newest, earlier)) = exchanges.split_first() else { return false };
    let newest = told(newest);
    // A job that runs may be waited for as long as it may run: its own time ends it.
    if newest.0.iter().all(|(name, _)| name == BASH_OUTPUT) {
        return false;
    }
    exchanges.len() == REPEATS_MAX && earlier.iter().all(|exchange| told(exchange) == newest)
}
