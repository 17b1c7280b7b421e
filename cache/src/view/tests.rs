//! Views of small histories, edit by edit.

use super::check::{Facts, Violation, check};
use super::ladder::{Due, Gauge, Limits, due};
use super::{EditError, Rung, View, ViewEdit};
use crate::prefix::{PrefixTtl, RawMessage, Rendered, RequestOptions, SharedPrefix, render};

const BIG: usize = 4_000;

fn raw(json: &serde_json::Value) -> RawMessage {
    RawMessage::parse(&json.to_string()).unwrap()
}

fn call(id: usize, thinks: bool) -> RawMessage {
    let mut blocks = vec![
        serde_json::json!({"type": "tool_use", "id": format!("t{id}"), "name": "Read", "input": {"file_path": "a.rs"}}),
    ];
    if thinks {
        blocks.insert(0, serde_json::json!({"type": "thinking", "thinking": "", "signature": "s"}));
    }
    raw(&serde_json::json!({"role": "assistant", "content": blocks}))
}

fn answer(id: usize, content: &str) -> RawMessage {
    let block = serde_json::json!({"type": "tool_result", "tool_use_id": format!("t{id}"), "content": content});
    raw(&serde_json::json!({"role": "user", "content": [block]}))
}

/// Exchanges, each with a result of its own.
fn history(exchanges: usize, thinks: impl Fn(usize) -> bool) -> Vec<RawMessage> {
    (0..exchanges).flat_map(|n| [call(n, thinks(n)), answer(n, &format!("{n} {}", "x".repeat(BIG)))]).collect()
}

fn swap(before: u32) -> ViewEdit {
    let (text, stamp) = ("all is well".to_owned(), String::new());
    ViewEdit::Swap { before, rung: Rung::Ledger, at: before, stamp, text }
}

fn shown(view: &View) -> String {
    view.messages().iter().map(|message| format!("{}\n", message.as_str())).collect()
}

fn checked(view: &mut View, history: &[RawMessage], pinned: &[String]) -> Result<(), Violation> {
    let shared = SharedPrefix::new(Vec::new(), "Be exact.", "brief").unwrap();
    let options = RequestOptions {
        model: "m".to_owned(),
        max_tokens: 10,
        effort: None,
        stream: true,
        prefix_ttl: PrefixTtl::FiveMinutes,
        min_cache_tokens: 0,
        tail: String::new(),
    };
    let rendered: Rendered = render(&shared, "worker", view.messages(), &options);
    let limits = Limits { window: 200_000, output: 16_000 };
    let facts = Facts {
        history,
        worker_message: "worker",
        pinned,
        prefix_sha: None,
        tokens: 1_000,
        limits: &limits,
        resolves: &|_| false,
    };
    check(view, &rendered, &facts)
}

#[test]
fn a_mask_tells_old_results_in_a_line_and_keeps_every_call() {
    let history = history(4, |_| false);
    let mut view = View::restore(&history, Vec::new()).unwrap();
    let whole = view.bytes();
    view.edit(&history, ViewEdit::Mask { before: 5 }).unwrap();
    let text = shown(&view);
    assert_eq!(text.matches("Left out to make room: the result of Read").count(), 2);
    assert!(text.contains("\"2 xxx") && text.contains("\"3 xxx") && !text.contains("\"1 xxx"));
    assert!(whole - view.bytes() > 2 * BIG - 600);
    assert_eq!(view.messages().len(), history.len());
    checked(&mut view, &history, &[]).unwrap();
}

#[test]
fn a_swap_ends_before_a_reply_and_tells_what_is_gone() {
    let history = history(4, |_| false);
    let mut view = View::restore(&history, Vec::new()).unwrap();
    assert_eq!(view.edit(&history, swap(6)), Err(EditError::Parts(6)));
    assert_eq!(view.edit(&history, swap(10)), Err(EditError::Place(10)));
    view.edit(&history, swap(5)).unwrap();
    assert_eq!(view.messages().len(), 5);
    assert!(view.messages()[0].as_str().contains("all is well"));
    checked(&mut view, &history, &[]).unwrap();
    assert_eq!(view.edit(&history, swap(3)), Err(EditError::Place(3)));
    view.edit(&history, swap(9)).unwrap();
    assert_eq!(view.messages().len(), 1);
    checked(&mut view, &history, &[]).unwrap();
}

#[test]
fn thinking_never_stands_behind_a_change() {
    let history = history(4, |n| n == 2);
    let mut view = View::restore(&history, Vec::new()).unwrap();
    assert_eq!(view.edit(&history, ViewEdit::Mask { before: 5 }), Err(EditError::Bound(5)));
    assert_eq!(view.edit(&history, swap(3)), Err(EditError::Bound(5)));
    assert_eq!(view.edit(&history, swap(5)), Err(EditError::Bound(5)));
    view.edit(&history, swap(7)).unwrap();
    checked(&mut view, &history, &[]).unwrap();
}

#[test]
fn the_same_edits_give_the_same_bytes_after_an_interruption() {
    let mut history = history(6, |_| false);
    let mut view = View::restore(&history, Vec::new()).unwrap();
    view.edit(&history, ViewEdit::Mask { before: 7 }).unwrap();
    view.edit(&history, swap(9)).unwrap();
    for message in [call(6, true), answer(6, "small")] {
        view.push(&message);
        history.push(message);
    }
    let json: Vec<String> = view.edits().iter().map(|edit| serde_json::to_string(edit).unwrap()).collect();
    let edits = json.iter().map(|edit| serde_json::from_str(edit).unwrap()).collect();
    let again = View::restore(&history, edits).unwrap();
    assert_eq!(shown(&again), shown(&view));
    assert_eq!(again.reads(), view.reads());
}

#[test]
fn a_stub_lives_as_long_as_its_copy() {
    let content = format!("     1\t{}", "x".repeat(BIG));
    let mut view = View { next: 1, ..View::default() };
    let mut history = Vec::new();
    let mut add = |view: &mut View, message: RawMessage| {
        view.push(&message);
        history.push(message);
    };
    add(&mut view, call(0, false));
    add(&mut view, answer(0, &content));
    let range = crate::reads::Range::of_input(r#"{"file_path":"a.rs"}"#).unwrap();
    let stub = view.reads().stub(&range, &content).unwrap();
    add(&mut view, call(1, false));
    add(&mut view, answer(1, &stub));
    checked(&mut view, &history, &[]).unwrap();
    // Its copy goes: the registry forgets, and the stub says so instead of pointing nowhere.
    view.edit(&history, ViewEdit::Mask { before: 3 }).unwrap();
    assert_eq!(view.reads().stub(&range, &content), None);
    assert!(!shown(&view).contains(crate::reads::STUB_START));
    checked(&mut view, &history, &[]).unwrap();
}

#[test]
fn each_violation_is_seen() {
    let good = history(3, |_| false);
    let view = |history: &[RawMessage]| View::restore(history, Vec::new()).unwrap();
    let check = |history: &[RawMessage], view: &mut View, expected: Violation| {
        assert_eq!(checked(view, history, &[]), Err(expected));
    };
    let mut lost = good.clone();
    lost.remove(3);
    let mut seen = view(&lost);
    check(&lost, &mut seen, Violation::Pairing(4));
    let mut seen = view(&good[..5]);
    check(&good[..5], &mut seen, Violation::Pairing(6));

    let mut seen = view(&good);
    assert_eq!(checked(&mut seen, &good, &["a rule".to_owned()]), Err(Violation::Pinned("a rule".to_owned())));

    let mut seen = view(&good);
    checked(&mut seen, &good, &[]).unwrap();
    let mut other = good.clone();
    other[3] = answer(1, "something else");
    seen.rebuild(&other);
    check(&other, &mut seen, Violation::Prefix("message 3 of the view".to_owned()));

    let mut dangling = good.clone();
    dangling[3] = answer(1, &format!("{}40 holds it", crate::reads::STUB_START));
    let mut seen = View { next: 1, ..View::default() };
    dangling.iter().for_each(|message| seen.push(message));
    check(&dangling, &mut seen, Violation::Stub("message 40".to_owned()));

    let lines = "line\n".repeat(1_000);
    let mut unkept = good.clone();
    unkept[3] = answer(1, &crate::offload::preview(&lines, true));
    let mut seen = view(&unkept);
    check(&unkept, &mut seen, Violation::Stub(crate::offload::name(&lines)));

    let mut seen = view(&good);
    seen.edit(&good, ViewEdit::Mask { before: 3 }).unwrap();
    seen.messages[1] = good[1].clone();
    check(&good, &mut seen, Violation::Idempotence(1));

    let mut seen = view(&good);
    seen.reads.put(crate::reads::Range::of_input(r#"{"file_path":"b.rs"}"#).unwrap(), "x", 77);
    check(&good, &mut seen, Violation::Registry(77));
}

#[test]
fn masks_come_in_batches_and_spare_the_newest() {
    let limits = Limits { window: 16_000, output: 4_000 };
    let gauge = Gauge::default();
    let mut history = Vec::new();
    let mut view = View { next: 1, ..View::default() };
    let (mut masks, mut requests) = (Vec::new(), 0);
    for n in 0..40 {
        for message in [call(n, false), answer(n, &format!("{n} {}", "x".repeat(BIG)))] {
            view.push(&message);
            history.push(message);
        }
        requests += 1;
        let edit = match due(&view, gauge.tokens(view.bytes()), &limits, &gauge) {
            Due::Nothing => continue,
            Due::Mask(before) => {
                masks.push(before);
                ViewEdit::Mask { before }
            }
            Due::Swap(before) => swap(before),
        };
        view.edit(&history, edit).unwrap();
        assert!(shown(&view).contains(&format!("\"{n} xxx")), "the newest result is never masked");
        checked(&mut view, &history, &[]).unwrap();
    }
    assert!(masks.len() > 2 && masks.len() * 2 < requests, "{masks:?}");
    assert!(masks.windows(2).all(|pair| pair[0] < pair[1]), "{masks:?}");
}
