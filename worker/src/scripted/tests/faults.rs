//! Every fault that a script can order, on every wire that it makes sense on.

use serde_json::json;

use super::{Wire, ask, body, path, post, server, settled};

const WIRES: [Wire; 3] = [Wire::Messages, Wire::Chat, Wire::Responses];
const BLOCKS: &str = "blocks: [{ text: \"one two three four five six seven eight nine ten\" }]";

/// A server whose every reply has this fault.
async fn faulty(fault: &str) -> super::Server {
    server(&format!("replies: [{{ {BLOCKS}, fault: {{ {fault} }} }}]\n")).await
}

/// The reply with nothing wrong.
async fn sound(wire: Wire) -> String {
    ask(&server(&format!("replies: [{{ {BLOCKS} }}]\n")).await, wire).await.body
}

#[tokio::test]
async fn statuses_have_the_error_objects_of_their_service() {
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        let got = ask(&faulty(&format!("status: {status}")).await, Wire::Messages).await;
        assert_eq!((got.status, &got.json()["error"]["type"]), (status, &json!(kind)));
        assert_eq!(got.json()["request_id"].as_str(), got.header("request-id"));
    }
    let spent = ask(&faulty("status: 429, code: enforced_spend_limit_reached").await, Wire::Messages).await;
    assert_eq!(spent.json()["error"]["details"]["error_code"], "enforced_spend_limit_reached");
    assert_eq!(spent.header("retry-after"), None);
    let busy = "status: 429, retry_after: 2.5, retry_after_ms: 2500, should_retry: false";
    for wire in WIRES {
        let got = ask(&faulty(busy).await, wire).await;
        let headers = ["retry-after", "retry-after-ms", "x-should-retry"].map(|name| got.header(name).unwrap());
        assert_eq!(headers, ["2.5", "2500", "false"]);
    }
    let quota = ask(&faulty("status: 429, code: insufficient_quota").await, Wire::Chat).await.json();
    assert_eq!(
        (&quota["error"]["type"], &quota["error"]["code"]),
        (&json!("insufficient_quota"), &json!("insufficient_quota"))
    );
    let page = ask(&faulty("status: 502, page: true").await, Wire::Chat).await;
    assert!(page.status == 502 && page.body.starts_with("<html>") && page.header("content-type") == Some("text/html"));
}

#[tokio::test]
async fn a_cut_comes_after_exactly_so_many_bytes() {
    for wire in WIRES {
        let whole = sound(wire).await;
        for cut in [0, 1, 57, whole.len() / 2, whole.len() - 1] {
            let server = faulty(&format!("cut_after_bytes: {cut}")).await;
            let got = ask(&server, wire).await;
            assert!(got.cut && got.body == whole[..cut], "{wire:?} {cut}");
            assert!(!settled(&server, 1).await[0].complete);
        }
    }
    let reset = ask(&faulty("reset: true").await, Wire::Messages).await;
    assert!(reset.cut && reset.status == 0);
}

#[tokio::test]
async fn pieces_and_line_ends_change_no_content() {
    for wire in WIRES {
        let whole = sound(wire).await;
        assert_eq!(ask(&faulty("chunk_bytes: 1").await, wire).await.body, whole);
        assert_eq!(ask(&faulty("crlf: true").await, wire).await.body, whole.replace('\n', "\r\n"));
        let pinged = ask(&faulty("pings: 2").await, wire).await.body;
        let (sign, left) = match wire {
            Wire::Messages => (
                "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                whole.replace("event: ping\ndata: {\"type\":\"ping\"}\n\n", ""),
            ),
            Wire::Chat | Wire::Responses => (": ping\n\n", whole),
        };
        assert_eq!(pinged.replace(sign, ""), left);
        assert!(pinged.matches(sign).count() > 8);
    }
}

#[tokio::test]
async fn a_stall_lasts_as_long_as_the_script_says() {
    for wire in WIRES {
        let server = faulty("stall_after_bytes: 100, stall_ms: 150").await;
        let start = std::time::Instant::now();
        assert_eq!(ask(&server, wire).await.body, sound(wire).await);
        assert!(start.elapsed().as_millis() >= 150, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_stream_can_end_with_an_error_or_be_none_at_all() {
    for wire in WIRES {
        let server = faulty("error_event: overloaded_error, code: some_code").await;
        let got = ask(&server, wire).await;
        let last = got.events().pop().unwrap();
        let (kind, code) = match wire {
            Wire::Messages => (&last["error"]["type"], &last["error"]["details"]["error_code"]),
            Wire::Chat => (&last["error"]["type"], &last["error"]["code"]),
            Wire::Responses => (&last["code"], &last["param"]),
        };
        assert_eq!(kind, "overloaded_error");
        assert_eq!(code.as_str(), (wire != Wire::Responses).then_some("some_code"));
        assert!(!got.cut && !settled(&server, 1).await[0].complete);
        let whole = ask(&faulty("whole: true").await, wire).await;
        assert_eq!(whole.header("content-type"), Some("application/json"));
        assert!(whole.json()["id"].is_string());
    }
    let failed = ask(&faulty("error_event: response.failed").await, Wire::Responses).await.events().pop().unwrap();
    assert_eq!(failed["response"]["error"]["code"], "server_error");
}

#[tokio::test]
async fn events_can_come_twice_and_be_unknown() {
    let got = ask(&faulty("duplicate: [message_start, message_stop], unknown: true").await, Wire::Messages).await;
    let kinds: Vec<String> = got.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds[..2], ["message_start"; 2]);
    assert_eq!(kinds[kinds.len() - 2..], ["message_stop"; 2]);
    for wire in WIRES {
        let got = ask(&faulty("unknown: true").await, wire).await;
        assert!(got.body.contains("of_tomorrow") || got.body.contains("of.tomorrow"), "{wire:?}");
    }
}

#[tokio::test]
async fn chance_strikes_the_same_requests_of_the_same_seed() {
    let script = "seed: 3\nchaos: { percent: 40, faults: [{ status: 529 }, { cut_after_bytes: 200 }] }\nreplies: [{ blocks: [{ text: a }] }]\n";
    let mut runs = Vec::new();
    for _ in 0..2 {
        let server = server(script).await;
        let mut ends = Vec::new();
        for number in 0..30 {
            let got = post(&server, path(Wire::Messages), &body(Wire::Messages, "m", &format!("{number}"))).await;
            ends.push((got.status, got.cut));
        }
        runs.push(ends);
    }
    assert_eq!(runs[0], runs[1]);
    for end in [(200, false), (200, true), (529, false)] {
        assert!(runs[0].contains(&end), "{end:?}");
    }
}
