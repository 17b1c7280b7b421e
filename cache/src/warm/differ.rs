//! Where two requests that should share a prefix part, and what that means in the providers' words.
//!
//! It needs no provider: a cache is keyed by the bytes, so the first one that differs says what has changed. Every wire
//! of ours writes model, tools, system text and messages in this order.

use super::Cause;

/// The first difference of two prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Place of the first byte that differs.
    pub at: usize,
    /// What has changed.
    pub cause: Cause,
    /// What the two have there, a few words each.
    pub texts: (String, String),
}

/// Bytes around a difference that are shown.
const SHOWN: usize = 24;

/// The first difference; `None` = they are the same.
pub fn first_difference(ours: &[u8], theirs: &[u8]) -> Option<Difference> {
    let common = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    if common == ours.len() && common == theirs.len() {
        return None;
    }
    let shown = |bytes: &[u8]| {
        let end = bytes.len().min(common + SHOWN);
        String::from_utf8_lossy(&bytes[common.min(end)..end]).into_owned()
    };
    // The key that the difference is in may itself be what differs: then the longer text names it.
    let longer = if ours.len() >= theirs.len() { ours } else { theirs };
    Some(Difference { at: common, cause: cause(longer, common), texts: (shown(ours), shown(theirs)) })
}

/// What a byte of a request belongs to.
fn cause(json: &[u8], at: usize) -> Cause {
    let place = place_of(json, at);
    match place.key.as_str() {
        "tools" => Cause::ToolsChanged,
        "system" | "instructions" => Cause::SystemChanged,
        "messages" | "input" if matches!(place.role.as_str(), "system" | "developer") => Cause::SystemChanged,
        "messages" | "input" => Cause::MessagesChanged,
        _ => Cause::ModelChanged,
    }
}

#[derive(Default)]
struct Place {
    /// The key of the outermost object.
    key: String,
    /// The value of `role` in the element of its list.
    role: String,
}

/// Reads the text up to the byte, as far as it goes: it need not be whole.
fn place_of(json: &[u8], at: usize) -> Place {
    let mut place = Place::default();
    let (mut depth, mut text, mut escaped) = (0usize, None::<usize>, false);
    let (mut last, mut role_next) = (String::new(), false);
    for (index, byte) in json.iter().enumerate().take(at.saturating_add(1)) {
        if let Some(start) = text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    last = String::from_utf8_lossy(&json[start..index]).into_owned();
                    text = None;
                    if role_next {
                        place.role = std::mem::take(&mut last);
                        role_next = false;
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => text = Some(index + 1),
            b':' if depth == 1 => {
                place.key = std::mem::take(&mut last);
                place.role.clear();
            }
            b':' if depth == 3 && last == "role" => role_next = true,
            b'{' | b'[' => {
                depth += 1;
                if depth == 3 {
                    place.role.clear();
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::{Cause, first_difference};

    const REQUEST: &str = r#"{"model":"m","output_config":{"effort":"low"},"tools":[{"name":"a","description":"say \"role\": x"}],"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"brief"}"#;

    /// Changes a part of the request and tells what is made of it.
    #[track_caller]
    fn check(from: &str, to: &str, cause: Cause) {
        let other = REQUEST.replacen(from, to, 1);
        let found = first_difference(REQUEST.as_bytes(), other.as_bytes()).expect("they differ");
        assert_eq!(found.cause, cause, "{from} {to}: {found:?}");
        assert_eq!(&REQUEST.as_bytes()[..found.at], &other.as_bytes()[..found.at]);
        assert_ne!(REQUEST.as_bytes().get(found.at), other.as_bytes().get(found.at));
    }

    #[test]
    fn the_first_difference_has_the_providers_name_for_it() {
        check("\"m\"", "\"n\"", Cause::ModelChanged);
        check("low", "high", Cause::ModelChanged);
        check("say", "says", Cause::ToolsChanged);
        check("\"a\"", "\"b\"", Cause::ToolsChanged);
        check("\"s\"", "\"t\"", Cause::SystemChanged);
        check("brief", "grief", Cause::MessagesChanged);
        check("brief\"}", "brief and more\"}", Cause::MessagesChanged);
        assert_eq!(first_difference(REQUEST.as_bytes(), REQUEST.as_bytes()), None);
    }

    #[test]
    fn a_system_text_among_the_messages_is_one() {
        let one = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}"#;
        let cause = |from: &str, to: &str| {
            let other = one.replacen(from, to, 1);
            first_difference(one.as_bytes(), other.as_bytes()).expect("they differ").cause
        };
        assert_eq!(cause("\"s\"", "\"t\""), Cause::SystemChanged);
        assert_eq!(cause("\"u\"", "\"v\""), Cause::MessagesChanged);
    }

    #[test]
    fn what_is_cut_or_no_json_is_read_as_far_as_it_goes() {
        for (a, b) in [("", "x"), ("{\"tools\"", "{\"tools\":"), ("\u{fffd}\"\\", "\u{fffd}\"\\\"")] {
            assert!(first_difference(a.as_bytes(), b.as_bytes()).is_some());
        }
    }
}
