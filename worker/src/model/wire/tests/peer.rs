//! A peer that gives one prepared answer after the other, byte for byte.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens after the bytes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The connection is closed.
    Close,
    /// It is closed although more was announced.
    Short,
    /// Nothing, for good.
    Stall,
}

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    then: Then,
}

impl Answer {
    pub(super) fn new(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut bytes = format!("HTTP/1.1 {status}\r\nconnection: close\r\n").into_bytes();
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Answer { bytes, then: Then::Close }
    }

    pub(super) fn stream(body: &[u8]) -> Answer {
        Answer::new("200 OK", &[("content-type", "text/event-stream")], body)
    }

    /// A stream that does not end as it should.
    pub(super) fn broken(body: &[u8], then: Then) -> Answer {
        let headers: &[(&str, &str)] = match then {
            Then::Short => &[("content-type", "text/event-stream"), ("content-length", "100000")],
            Then::Close | Then::Stall => &[("content-type", "text/event-stream")],
        };
        Answer { then, ..Answer::new("200 OK", headers, body) }
    }

    pub(super) fn json(status: &str, body: &str) -> Answer {
        Answer::new(status, &[("content-type", "application/json")], body.as_bytes())
    }
}

/// A listening peer.
pub(super) struct Peer {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// The first request gets the first answer, and so on; the last one is repeated.
    pub(super) async fn serve(answers: Vec<Answer>) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let Some(request) = read_request(&mut socket).await else { continue };
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    seen.len() - 1
                };
                let answer = &answers[number.min(answers.len() - 1)];
                let _ = socket.write_all(&answer.bytes).await;
                match answer.then {
                    Then::Close | Then::Short => drop(socket.shutdown().await),
                    Then::Stall => held.push(socket),
                }
            }
        });
        Peer { url, requests, task }
    }

    /// Heads and bodies of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = socket.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text.into_owned());
        }
    }
}
