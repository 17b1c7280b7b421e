//! The socket over which a verb in another process wakes the owner.
//!
//! It carries no data: the verb is in table `command`. A wake-up that is lost costs one tick.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crossbeam_channel::Sender;

use super::input::Input;

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("owner.sock")
}

/// Listens until the value is dropped.
pub(crate) struct Listener {
    path: PathBuf,
}

impl Listener {
    /// Starts to listen. `None` where the system allows no socket there (a path that is too long, a file
    /// system without sockets): verbs are then seen at the next tick.
    pub(crate) fn start(state_dir: &Path, inputs: Sender<Input>) -> Option<Self> {
        let path = path(state_dir);
        // We hold the owner's lock, so a socket that is there is a dead one's.
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).ok()?;
        std::thread::spawn(move || {
            let mut byte = [0; 1];
            while let Ok(1) = socket.recv(&mut byte) {
                if byte[0] == b'q' || inputs.send(Input::Wake).is_err() {
                    break;
                }
            }
        });
        Some(Self { path })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        send(&self.path, b"q");
        let _ = std::fs::remove_file(&self.path);
    }
}

fn send(path: &Path, byte: &[u8]) {
    if let Ok(socket) = UnixDatagram::unbound() {
        let _ = socket.send_to(byte, path);
    }
}

/// Wakes the owner, if there is one.
pub(crate) fn wake(state_dir: &Path) {
    send(&path(state_dir), b"w");
}
