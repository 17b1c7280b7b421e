//! Messages on a byte stream: a header with `Content-Length`, an empty line, JSON.

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// Bound on one message, in bytes: the symbols of a huge file are a few hundred KiB; what is larger is no answer that a
/// model could use.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Bound on a line of a header: the two headers that exist have below 100 bytes.
const HEADER_BYTES_MAX: u64 = 1024;
/// Lines of a header: two exist.
const HEADER_LINES_MAX: usize = 16;

/// Why a stream is not, or is no longer, one of messages.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// Something else was written.
    #[error("it wrote what is no message of the protocol: {0}")]
    Garbage(String),
    /// A message above the bound.
    #[error("it wrote a message of {0} bytes; {MESSAGE_BYTES_MAX} is the bound")]
    TooLarge(usize),
    /// The stream is broken.
    #[error("read from it: {0}")]
    Io(#[from] std::io::Error),
}

/// A message as bytes.
pub(super) fn encode(message: &Value) -> Vec<u8> {
    let body = message.to_string();
    let mut bytes = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// The next message; `None` = the stream has ended between two.
pub(super) async fn read(input: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Value>, WireError> {
    let mut length = None;
    for number in 0..HEADER_LINES_MAX {
        let mut line = Vec::new();
        (&mut *input).take(HEADER_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() && number == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            return Err(garbage(&line));
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            let length = length.ok_or_else(|| garbage(b"a header without Content-Length"))?;
            return body(input, length).await.map(Some);
        }
        let (name, value) = text.split_once(':').ok_or_else(|| garbage(&line))?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse().map_err(|_| garbage(&line))?);
        } else if !name.eq_ignore_ascii_case("content-type") {
            // There is no third header; this is somebody's log.
            return Err(garbage(&line));
        }
    }
    Err(garbage(b"a header without an end"))
}

async fn body(input: &mut (impl AsyncBufRead + Unpin), length: usize) -> Result<Value, WireError> {
    if length > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge(length));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).await?;
    serde_json::from_slice(&body).map_err(|_| garbage(&body))
}

fn garbage(bytes: &[u8]) -> WireError {
    /// Enough to recognise a message of an interpreter or a banner.
    const SHOWN: usize = 80;
    let text: String = String::from_utf8_lossy(bytes).trim().chars().take(SHOWN).collect();
    WireError::Garbage(format!("{text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(bytes: &[u8], expected: &[&str]) {
        // One byte at a time, as a pipe may give it.
        let mut input = tokio::io::BufReader::with_capacity(1, bytes);
        let mut found = Vec::new();
        loop {
            match read(&mut input).await {
                Ok(Some(message)) => found.push(message.to_string()),
                Ok(None) => break found.push("end".to_owned()),
                Err(error) => break found.push(error.to_string()),
            }
        }
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(bytes));
    }

    #[tokio::test]
    async fn messages_are_told_apart_by_their_length_and_nothing_else_is_one() {
        let two = [encode(&serde_json::json!({"a": "ü🦀\r\n"})), encode(&serde_json::json!([]))].concat();
        check(&two, &[r#"{"a":"ü🦀\r\n"}"#, "[]", "end"]).await;
        check(b"", &["end"]).await;
        check(b"Content-Type: x\r\ncontent-length:2\r\n\r\n{}", &["{}", "end"]).await;
        check(b"Content-Length: 2\n\n{}", &["{}", "end"]).await;
        check(b"Content-Type: x\nwe", &["it wrote what is no message of the protocol: \"we\""]).await;
        check(b"hello\n", &["it wrote what is no message of the protocol: \"hello\""]).await;
        check(b"Content-Length: x\r\n\r\n", &["it wrote what is no message of the protocol: \"Content-Length: x\""])
            .await;
        check(b"\r\n", &["it wrote what is no message of the protocol: \"a header without Content-Length\""]).await;
        check(b"Content-Length: 5\r\n\r\n{nope", &["it wrote what is no message of the protocol: \"{nope\""]).await;
        check(b"Content-Length: 9\r\n\r\n{}", &["read from it: early eof"]).await;
        check(
            b"Content-Length: 99999999999\r\n\r\n",
            &["it wrote a message of 99999999999 bytes; 16777216 is the bound"],
        )
        .await;
        check(b"debug: on\r\n", &["it wrote what is no message of the protocol: \"debug: on\""]).await;
        let endless = "Content-Length: 2\r\n".repeat(100);
        check(endless.as_bytes(), &["it wrote what is no message of the protocol: \"a header without an end\""]).await;
        let long = vec![b'a'; 4096];
        let shown = format!("it wrote what is no message of the protocol: \"{}\"", "a".repeat(80));
        check(&long, &[&shown]).await;
    }
}
