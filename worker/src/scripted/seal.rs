//! Signatures of thinking: what a server gives out with a thinking block, and checks when it comes back.
//!
//! A signature names the text and everything before the block. Whether the second part is checked is the
//! model's: the newest ones refuse a block whose conversation was changed.

use serde_json::Value;

use super::fields::Object;

/// Digits of the hash of what stands before.
const PLACE_DIGITS: usize = 16;

/// Hash of a conversation so far, as it is understood: marks, nulls and the order of a block's own fields do
/// not count; what a tool is called with counts to the byte.
#[derive(Debug, Clone, Default)]
pub(super) struct Seal(blake3::Hasher);

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It was not given for this text.
    Forged,
    /// It was given for this text after something else.
    Moved,
}

impl Seal {
    /// One more block.
    pub(super) fn push(&mut self, role: &str, block: &Object) {
        let mut fields: Vec<(&String, &Value)> =
            block.iter().filter(|(key, value)| *key != "cache_control" && !value.is_null()).collect();
        fields.sort_by_key(|(key, _)| *key);
        self.0.update(role.as_bytes());
        for (key, value) in fields {
            self.0.update(format!("\n{key} {value}").as_bytes());
        }
        self.0.update(b"\0");
    }

    /// The signature of a thinking text that stands here.
    pub(super) fn sign(&self, seed: u64, thinking: &str) -> String {
        let place = self.0.finalize().to_hex();
        signature(seed, &place[..PLACE_DIGITS], thinking)
    }

    /// Is it the signature of this text, and (where that counts) of this place?
    pub(super) fn check(&self, seed: u64, bound: bool, thinking: &str, given: &str) -> Result<(), Broken> {
        let place = given.strip_prefix("sig_").and_then(|rest| rest.get(..PLACE_DIGITS)).unwrap_or_default();
        if given != signature(seed, place, thinking) {
            return Err(Broken::Forged);
        }
        let here = self.0.finalize().to_hex();
        if bound && place != &here[..PLACE_DIGITS] { Err(Broken::Moved) } else { Ok(()) }
    }
}

fn signature(seed: u64, place: &str, thinking: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(place.as_bytes()).update(thinking.as_bytes());
    format!("sig_{place}_{}", hasher.finalize().to_hex())
}
