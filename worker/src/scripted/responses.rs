//! The wire `/v1/responses`: what it reads and refuses, and what it answers.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub(super) use self::read::read;
pub(super) use self::write::reply;

/// What goes with a reasoning item so that it can come back later: it names the text.
fn encrypted(seed: u64, thinking: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"reasoning").update(&seed.to_le_bytes()).update(thinking.as_bytes());
    format!("enc_{}", hasher.finalize().to_hex())
}
