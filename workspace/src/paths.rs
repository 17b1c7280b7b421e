//! Paths are bytes to git and text to people, JSON and globs. This is the one way between the two, and it loses nothing.
//!
//! A path that is UTF-8 is shown as it is. A byte that is not part of UTF-8 is shown as `\x` and two hexadecimal digits, as
//! in `caf\xe9.txt`. So that the way back is never in doubt, a backslash of the path that would read as one of these is
//! shown as `\x5c`.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How a backslash that would be mistaken is shown.
const BACKSLASH: &str = "\\x5c";

/// A path of a repository as text.
pub fn shown(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            out.push_str(if escape(&rest.as_bytes()[at..]).is_some() { BACKSLASH } else { "\\" });
            rest = &rest[at + 1..];
        }
        out.push_str(rest);
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

/// The path that is shown so.
pub fn path_of_shown(shown: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes(shown).into_owned()))
}

/// A path of the file system as text, by the same rule.
pub(crate) fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_bytes())
}

/// The bytes of the path that is shown so.
pub(crate) fn bytes(shown: &str) -> Cow<'_, [u8]> {
    let mut rest = shown.as_bytes();
    if !shown.contains("\\x") {
        return Cow::Borrowed(rest);
    }
    let mut out = Vec::with_capacity(rest.len());
    while let Some(&first) = rest.first() {
        let (byte, width) = escape(rest).map_or((first, 1), |byte| (byte, BACKSLASH.len()));
        out.push(byte);
        rest = &rest[width..];
    }
    Cow::Owned(out)
}

/// The folder that a `.git` file names.
pub(crate) fn gitdir(file: &[u8]) -> Option<PathBuf> {
    let path = file.strip_prefix(b"gitdir: ")?;
    // git takes line ends off, all of them, so a name that ends in one is no repository to it.
    let end = path.iter().rposition(|b| !matches!(b, b'\n' | b'\r'))?;
    Some(PathBuf::from(OsStr::from_bytes(&path[..=end])))
}

/// The byte that these begin with in its shown form, if they do.
fn escape(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\x")?.get(..2)?;
    let lower = digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let byte = std::str::from_utf8(digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok())?;
    (lower && (byte >= 0x80 || byte == b'\\')).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_comes_back_and_no_two_look_alike() {
        let paths: &[(&[u8], &str)] = &[
            ("grüße/日本.txt".as_bytes(), "grüße/日本.txt"),
            (b"caf\xe9.txt", "caf\\xe9.txt"),
            (b"caf\\xe9.txt", "caf\\x5cxe9.txt"),
            (b"\\x5c", "\\x5cx5c"),
            (b"a\\b\\x41\\x", "a\\b\\x41\\x"),
            (b"\\xE9", "\\xE9"),
            (b"\\\xe9", "\\\\xe9"),
            (b"\xff\xfe/\xc3", "\\xff\\xfe/\\xc3"),
            (b"new\nline", "new\nline"),
        ];
        for (path, text) in paths {
            assert_eq!(shown(path), *text);
            assert_eq!(&*bytes(text), *path, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_come_back(path in proptest::collection::vec(proptest::sample::select(&b"\\x5ce9a\xe9\xc3\xa9/"[..]), 0..12)) {
            let text = shown(&path);
            proptest::prop_assert_eq!(&*bytes(&text), &path[..]);
        }
    }
}
