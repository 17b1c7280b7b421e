//! Fields of JSON objects, with the words by which a service refuses a wrong one.

use serde_json::{Map, Value};

use super::refusal::{Refusal, invalid};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// Refuses a field that is not listed: the services refuse what they do not know.
pub(super) fn known(object: &Object, fields: &[&str], prefix: &str) -> Result<(), Refusal> {
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(key) => {
            Err(invalid(format!("{prefix}{key}: Extra inputs are not permitted")).param(format!("{prefix}{key}")))
        }
        None => Ok(()),
    }
}

pub(super) fn object<'a>(value: &'a Value, at: &str) -> Result<&'a Object, Refusal> {
    value.as_object().ok_or_else(|| invalid(format!("{at}: Input should be an object")).param(at))
}

pub(super) fn array<'a>(value: &'a Value, at: &str) -> Result<&'a Vec<Value>, Refusal> {
    value.as_array().ok_or_else(|| invalid(format!("{at}: Input should be a valid list")).param(at))
}

/// A string that has to be there.
pub(super) fn string(object: &Object, field: &str, at: &str) -> Result<String, Refusal> {
    let at = if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") };
    match object.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(invalid(format!("{at}: Input should be a valid string")).param(at)),
        None => Err(invalid(format!("{at}: Field required")).param(at)),
    }
}

/// A truth value that may be absent or null.
pub(super) fn flag(object: &Object, field: &str, at: &str) -> Result<bool, Refusal> {
    let at = if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") };
    match object.get(field) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => {
            value.as_bool().ok_or_else(|| invalid(format!("{at}: Input should be a valid boolean")).param(at))
        }
    }
}

/// A string out of a list, which may be absent or null.
pub(super) fn word<'a>(object: &'a Object, field: &str, at: &str, words: &[&str]) -> Result<Option<&'a str>, Refusal> {
    let at = if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") };
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_str().filter(|word| words.contains(word)) {
            Some(word) => Ok(Some(word)),
            None => Err(invalid(format!("{at}: Input should be one of {}", words.join(", "))).param(at)),
        },
    }
}

/// A field that is there and not null.
pub(super) fn given<'a>(object: &'a Object, field: &str) -> Option<&'a Value> {
    object.get(field).filter(|value| !value.is_null())
}
