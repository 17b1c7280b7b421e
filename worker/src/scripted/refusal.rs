//! Answers that are no reply: what is wrong, and how each service words it.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::prompt::Wire;
use super::stream::Body;

/// An answer that is no reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The service's own name of the error; empty = the usual one of the status.
    pub(super) kind: String,
    /// Finer than the kind: `details.error_code` of the one service, `code` of the other.
    pub(super) code: Option<Box<str>>,
    /// The field that is wrong.
    pub(super) param: Option<Box<str>>,
    pub(super) message: String,
    /// Further headers.
    pub(super) headers: Vec<(&'static str, String)>,
    /// A page, as a proxy sends it, instead of an error object.
    pub(super) page: bool,
}

/// A request that is wrong in itself.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(400, message)
}

impl Refusal {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), ..Refusal::default() }
    }

    pub(super) fn code(mut self, code: &str) -> Refusal {
        self.code = Some(code.into());
        self
    }

    pub(super) fn param(mut self, param: impl Into<Box<str>>) -> Refusal {
        self.param = Some(param.into());
        self
    }

    /// The error object.
    pub(super) fn body(&self, wire: Wire, request_id: &str) -> Value {
        let kind = if self.kind.is_empty() { kind(wire, self) } else { &self.kind };
        match wire {
            Wire::Messages => {
                let mut error = json!({"type": kind, "message": self.message});
                if let Some(code) = &self.code {
                    error["details"] = json!({"error_code": code});
                }
                json!({"type": "error", "error": error, "request_id": request_id})
            }
            Wire::Chat | Wire::Responses => json!({"error": {
                "message": self.message, "type": kind, "param": self.param, "code": self.code,
            }}),
        }
    }

    pub(super) fn response(&self, wire: Wire, request_id: &str) -> Response<Body> {
        let (bytes, media) = if self.page {
            let status = self.status;
            let page =
                format!("<html>\n<head><title>{status} Bad Gateway</title></head>\n<body>nginx</body>\n</html>\n");
            (Bytes::from(page), "text/html")
        } else {
            (Bytes::from(self.body(wire, request_id).to_string()), "application/json")
        };
        let mut response = Response::new(Full::new(bytes).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert("content-type", HeaderValue::from_static(media));
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).expect("numbers and dates are header values");
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        response
    }
}

/// The service's name for what goes with a status.
fn kind(wire: Wire, refusal: &Refusal) -> &'static str {
    match (wire, refusal.status) {
        (Wire::Messages, 400 | 422) => "invalid_request_error",
        (Wire::Messages, 401) => "authentication_error",
        (Wire::Messages, 402) => "billing_error",
        (Wire::Messages, 403) => "permission_error",
        (Wire::Messages, 404) => "not_found_error",
        (Wire::Messages, 409) => "conflict_error",
        (Wire::Messages, 413) => "request_too_large",
        (Wire::Messages, 429) => "rate_limit_error",
        (Wire::Messages, 504) => "timeout_error",
        (Wire::Messages, 529) => "overloaded_error",
        (Wire::Messages, _) => "api_error",
        (_, 429) if refusal.code.as_deref() == Some("insufficient_quota") => "insufficient_quota",
        (_, 429) => "requests",
        (_, 500..) => "server_error",
        (_, _) => "invalid_request_error",
    }
}
