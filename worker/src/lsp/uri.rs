//! Paths as `file:` addresses and back.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Bytes that stand for themselves in the path of an address (RFC 3986, unreserved, and what a path is made of).
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte)
}

/// The address of an absolute path.
pub(super) fn of(path: &Path) -> String {
    let mut uri = "file://".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if plain(*byte) {
            uri.push(char::from(*byte));
        } else {
            write!(uri, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    uri
}

/// The path of a `file:` address of this machine; servers differ in what they escape.
pub(super) fn path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix("file://")?;
    let rest = rest.strip_prefix("localhost").unwrap_or(rest);
    if !rest.starts_with('/') {
        return None;
    }
    let mut bytes = Vec::new();
    let mut left = rest.bytes();
    while let Some(byte) = left.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || left.next().and_then(|byte| char::from(byte).to_digit(16));
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).ok()?);
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_and_other_addresses_are_none() {
        for path in ["/a/b.rs", "/a b/ü#%41?.py", "/a+b@c:d,[1]"] {
            assert_eq!(super::path(&of(Path::new(path))), Some(PathBuf::from(path)));
        }
        assert_eq!(of(Path::new("/a b/ü.rs")), "file:///a%20b/%C3%BC.rs");
        assert_eq!(path("file:///a+b@c:d"), Some(PathBuf::from("/a+b@c:d")));
        assert_eq!(path("file://localhost/a"), Some(PathBuf::from("/a")));
        for other in ["file://server/a", "untitled:1", "jdt://x/y", "file:///a%2", "file:///a%zz"] {
            assert_eq!(path(other), None, "{other}");
        }
    }
}
