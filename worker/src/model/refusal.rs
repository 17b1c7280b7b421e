//! What an answer that is no reply means: the error objects of all wires, and bodies that are none.
//!
//! Servers that call themselves compatible write errors in many forms, so one tolerant reader takes them all; the
//! meaning is decided from status, code and words by one table.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::error::Reason;
use super::retry::{self, Fault, FaultKind};

/// Bound on the words of an error that are passed on: enough for what the provider says, not for a page.
const MESSAGE_CHARS_MAX: usize = 600;

/// An error as its sender words it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Its name: the most exact of code and type.
    pub(super) code: String,
    /// The other of the two.
    pub(super) kind: String,
    /// Its text.
    pub(super) message: String,
    /// The status that a stream's error names itself.
    pub(super) status: Option<u16>,
}

/// Reads the error of a body, in whatever form; `None` = the body is no error object.
pub(super) fn words(body: &str) -> Option<Words> {
    let value: Value = serde_json::from_str(body).ok()?;
    let map = value.as_object()?;
    let inner = match map.get("error") {
        Some(Value::Object(inner)) => inner,
        Some(Value::String(message)) => return Some(Words { message: message.clone(), ..Words::default() }),
        Some(_) => return None,
        None if map.contains_key("message") || map.contains_key("detail") => map,
        None => return None,
    };
    let text = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let number = inner.get("code").and_then(Value::as_u64).or_else(|| inner.get("status").and_then(Value::as_u64));
    let detail = text(inner.get("details").and_then(|details| details.get("error_code")));
    let kind = text(inner.get("type"));
    let code = if number.is_some() { String::new() } else { text(inner.get("code")) };
    let code = [detail, code, kind.clone()].into_iter().find(|code| !code.is_empty()).unwrap_or_default();
    let message = match inner.get("message") {
        Some(message) => text(Some(message)),
        None => text(inner.get("detail")),
    };
    let status = number.and_then(|number| u16::try_from(number).ok()).filter(|status| (400..600).contains(status));
    Some(Words { code, kind, message, status })
}

/// The fault that an answer with an error status is.
pub(super) fn answered(status: u16, headers: &HeaderMap, body: &str) -> Fault {
    match words(body) {
        Some(words) => fault(status, headers, words),
        None => {
            let page = is_page(body);
            let code = if page { "(a page, no error object)" } else { "(no error object)" };
            let message = if page { page_title(body) } else { body.trim().to_owned() };
            let words = Words { code: code.to_owned(), message, ..Words::default() };
            let mut fault = fault(status, headers, words);
            // Not the provider's word on a model or a key: something else answers there.
            if matches!(fault.kind, FaultKind::Refused(Reason::UnknownModel | Reason::Request))
                || (300..400).contains(&status)
            {
                fault.kind = FaultKind::Refused(Reason::Address);
            }
            fault
        }
    }
}

/// The fault that an error inside a stream (or in a body with status 200) is.
pub(super) fn reported(words: Words) -> Fault {
    let status = words.status.unwrap_or_else(|| status_of(&words));
    fault(status, &HeaderMap::new(), words)
}

fn fault(status: u16, headers: &HeaderMap, words: Words) -> Fault {
    let kind = match reason(status, &words) {
        Some(reason) => FaultKind::Refused(reason),
        None if retry::retryable(status, headers) => {
            if matches!(status, 429 | 529) {
                FaultKind::Busy
            } else {
                FaultKind::Failed
            }
        }
        None => FaultKind::Refused(usual_reason(status, &words)),
    };
    let message: String = words.message.chars().take(MESSAGE_CHARS_MAX).collect();
    let code = if words.code.is_empty() { "(unnamed)".to_owned() } else { words.code };
    Fault { kind, status, code, words: message, pause: retry::retry_after(headers) }
}

/// Refusals that no header can turn into a retry.
fn reason(status: u16, words: &Words) -> Option<Reason> {
    let named = |names: &[&str]| names.contains(&words.code.as_str()) || names.contains(&words.kind.as_str());
    let message = words.message.to_lowercase();
    let spent = words.code.ends_with("spend_limit_reached")
        || named(&["insufficient_quota", "billing_hard_limit_reached", "billing_error", "billing_not_active"])
        || status == 402
        || (status == 400 && message.starts_with("you have reached your specified"));
    let long = named(&["context_length_exceeded", "exceed_context_size_error"])
        || (matches!(status, 400 | 413 | 422 | 500)
            && [
                "prompt is too long",
                "maximum context length",
                "exceeds the available context size",
                "exceed context limit",
                "exceeds the context window",
            ]
            .iter()
            .any(|part| message.contains(part)));
    if spent {
        Some(Reason::Money)
    } else if long {
        Some(Reason::Context)
    } else if named(&["misalignment_policy_violation", "content_policy_violation"]) {
        Some(Reason::Policy)
    } else if named(&["model_not_found"]) {
        Some(Reason::UnknownModel)
    } else {
        None
    }
}

fn usual_reason(status: u16, words: &Words) -> Reason {
    match status {
        401 | 403 => Reason::Key,
        404 if words.message.to_lowercase().contains("model") => Reason::UnknownModel,
        404 | 405 => Reason::Address,
        413 => Reason::TooLarge,
        300..=399 => Reason::Address,
        _ => Reason::Request,
    }
}

/// The status that an error of a stream stands for.
fn status_of(words: &Words) -> u16 {
    for name in [&words.code, &words.kind] {
        let status = match name.as_str() {
            "invalid_request_error" | "context_length_exceeded" | "invalid_prompt" => 400,
            "authentication_error" | "invalid_api_key" => 401,
            "billing_error" => 402,
            "permission_error" => 403,
            "not_found_error" | "model_not_found" => 404,
            "request_too_large" => 413,
            "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" => 429,
            "timeout_error" => 504,
            "overloaded_error" | "overloaded" | "server_is_overloaded" | "slow_down" => 529,
            _ => continue,
        };
        return status;
    }
    500
}

/// Is it a page, as proxies and portals answer?
pub(super) fn is_page(body: &str) -> bool {
    body.trim_start().starts_with('<')
}

/// The title of a page, else its start.
fn page_title(body: &str) -> String {
    let lower = body.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let end = lower[start..].find("</title>")?;
        Some(body[start + 7..start + end].trim().to_owned())
    });
    title.filter(|title| !title.is_empty()).unwrap_or_else(|| body.trim().chars().take(80).collect())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::super::error::Reason;
    use super::super::retry::FaultKind::{self, Busy, Failed, Refused};
    use super::{answered, reported, words};

    /// Statuses and bodies as servers send them, and what they mean.
    const ANSWERS: &[(u16, &str, FaultKind, &str)] = &[
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: required"}}"#,
            Refused(Reason::Request),
            "invalid_request_error",
        ),
        (
            401,
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
            Refused(Reason::Key),
            "authentication_error",
        ),
        (
            402,
            r#"{"type":"error","error":{"type":"billing_error","message":"no"}}"#,
            Refused(Reason::Money),
            "billing_error",
        ),
        (
            402,
            r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#,
            Refused(Reason::Money),
            "invalid_request_error",
        ),
        (
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#,
            Refused(Reason::Key),
            "permission_error",
        ),
        (
            403,
            r#"{"error":{"message":"no","code":"misalignment_policy_violation"}}"#,
            Refused(Reason::Policy),
            "misalignment_policy_violation",
        ),
        (
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#,
            Refused(Reason::UnknownModel),
            "not_found_error",
        ),
        (
            404,
            r#"{"error":{"message":"The model `x` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#,
            Refused(Reason::UnknownModel),
            "model_not_found",
        ),
        (404, r#"{"error":"model \"x\" not found, try pulling it first"}"#, Refused(Reason::UnknownModel), "(unnamed)"),
        (
            404,
            r#"{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}"#,
            Refused(Reason::UnknownModel),
            "NotFoundError",
        ),
        (404, r#"{"detail":"Not Found"}"#, Refused(Reason::Address), "(unnamed)"),
        (
            404,
            "<html><head><title>404 Not Found</title></head></html>",
            Refused(Reason::Address),
            "(a page, no error object)",
        ),
        (404, "404 page not found\n", Refused(Reason::Address), "(no error object)"),
        (301, "", Refused(Reason::Address), "(no error object)"),
        (405, "{}", Refused(Reason::Address), "(no error object)"),
        (413, "<html>Request Entity Too Large</html>", Refused(Reason::TooLarge), "(a page, no error object)"),
        (
            400,
            r#"{"error":{"message":"You have reached your specified API usage limits.","type":"invalid_request_error"}}"#,
            Refused(Reason::Money),
            "invalid_request_error",
        ),
        (
            400,
            r#"{"error":{"message":"prompt is too long: 210000 tokens > 200000 maximum","type":"invalid_request_error"}}"#,
            Refused(Reason::Context),
            "invalid_request_error",
        ),
        (
            400,
            r#"{"error":{"code":"context_length_exceeded","message":"x","type":"invalid_request_error"}}"#,
            Refused(Reason::Context),
            "context_length_exceeded",
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error"}}"#,
            Refused(Reason::Context),
            "exceed_context_size_error",
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 8192 tokens.","type":"BadRequestError","code":400}"#,
            Refused(Reason::Context),
            "BadRequestError",
        ),
        (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#, Busy, "rate_limit_error"),
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow","details":{"error_code":"ramp_limit_exceeded"}}}"#,
            Busy,
            "ramp_limit_exceeded",
        ),
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#,
            Refused(Reason::Money),
            "enforced_spend_limit_reached",
        ),
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"contract_spend_limit_reached"}}}"#,
            Refused(Reason::Money),
            "contract_spend_limit_reached",
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            Refused(Reason::Money),
            "insufficient_quota",
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"requests","code":"rate_limit_exceeded"}}"#,
            Busy,
            "rate_limit_exceeded",
        ),
        (429, "slow down", Busy, "(no error object)"),
        (500, r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#, Failed, "api_error"),
        (502, "<html><head><TITLE>502 Bad Gateway</TITLE></head></html>", Failed, "(a page, no error object)"),
        (
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            Failed,
            "unavailable_error",
        ),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, Busy, "overloaded_error"),
    ];

    #[test]
    fn every_answer_of_the_table_means_what_it_should() {
        for (status, body, kind, code) in ANSWERS {
            let fault = answered(*status, &HeaderMap::new(), body);
            assert_eq!((fault.kind, fault.code.as_str(), fault.status), (*kind, *code, *status), "{body}");
        }
        let page = answered(502, &HeaderMap::new(), "<html><TITLE>502 Bad Gateway</TITLE></html>");
        assert_eq!(page.words, "502 Bad Gateway");
    }

    #[test]
    fn a_spend_limit_is_fatal_whatever_the_headers_say() {
        let headers = HeaderMap::from_iter([
            ("x-should-retry".parse().unwrap(), HeaderValue::from_static("true")),
            ("retry-after".parse().unwrap(), HeaderValue::from_static("1")),
        ]);
        let spent = r#"{"error":{"type":"insufficient_quota","message":"m"}}"#;
        assert_eq!(answered(429, &headers, spent).kind, Refused(Reason::Money));
        assert_eq!(answered(400, &headers, r#"{"error":{"message":"x"}}"#).kind, Failed);
    }

    #[test]
    fn errors_inside_a_stream_stand_for_a_status() {
        for (data, status, kind) in [
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, 529, Busy),
            (r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#, 500, Failed),
            (
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#,
                400,
                Refused(Reason::Request),
            ),
            (r#"{"error":{"message":"m","code":429,"type":"x"}}"#, 429, Busy),
            (r#"{"error":{"message":"m","code":"insufficient_quota"}}"#, 429, Refused(Reason::Money)),
            (r#"{"type":"error","code":"rate_limit_exceeded","message":"m","param":null}"#, 429, Busy),
            (r#"{"error":"something broke"}"#, 500, Failed),
        ] {
            let fault = reported(words(data).unwrap());
            assert_eq!((fault.status, fault.kind), (status, kind), "{data}");
        }
        assert_eq!(words("[1]"), None);
        assert_eq!(words(r#"{"error":null}"#), None);
        assert_eq!(words(r#"{"id":"x"}"#), None);
    }

    #[test]
    fn words_are_bounded() {
        let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "ä".repeat(5000));
        assert_eq!(answered(500, &HeaderMap::new(), &long).words.chars().count(), 600);
    }
}
