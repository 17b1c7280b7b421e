//! Long conversations: what stays in the cache, and thinking that is bound to what stands before it.

use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, Recorder};
use crate::assignment::{Mode, StepAssignment, Work};
use crate::host::Usage;
use crate::model::{ModelRequest, Reply};
use crate::outcome::{Cause, End};

const LIB: &[(&str, &str)] = &[("src/lib.rs", "fn alpha() {}\n")];

/// Calls of one reply: with their results, more blocks than twice what a provider looks back over.
const CALLS: usize = 25;
/// Replies of a long conversation.
const TURNS: usize = 50;

fn prompt(usage: &Usage) -> u64 {
    usage.uncached_in + usage.cache_read + usage.cache_write
}

/// What a later request finds in the cache: all but the card.
fn cached(usage: &Usage) -> u64 {
    usage.cache_read + usage.cache_write
}

/// Sends a body as it is.
pub(super) async fn send(bench: &Bench, body: &Value) -> Reply {
    let request = ModelRequest {
        bytes: Bytes::from(body.to_string()),
        prefix_len: 0,
        prefix_sha: String::new(),
        model: "claude-sonnet-5-5".to_owned(),
        first: true,
        watch: None,
    };
    bench.tools.model.as_ref().unwrap().stream(request, CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn a_turn_of_many_blocks_still_finds_its_entry() {
    let calls = "{ tool: Read, input: { file_path: src/lib.rs } }, ".repeat(CALLS);
    let script = format!(
        "version: 1\nreplies:\n  - {{ match: {{ turn: 0 }}, blocks: [{calls}] }}\n  - {{ match: {{ turn: 1 }}, blocks: [{calls}] }}\n  - {{ blocks: [{{ text: Done. }}] }}\n"
    );
    let bench = Bench::new(&script, LIB).await;
    let host = Recorder::new();
    let outcome = bench.perform(&bench.step("one", Mode::Read, "x"), &host).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    let usages = host.usages();
    assert_eq!(usages.len(), 3);
    for pair in usages.windows(2) {
        assert_eq!(pair[1].cache_read, cached(&pair[0]), "all of the request before is read: {usages:?}");
        assert!(pair[1].uncached_in < 100, "{usages:?}");
    }

    // The same second request without the mark where the first one ended finds no more than the shared part.
    let bodies: Vec<Value> = bench.requests().iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    let again = Bench::new(&script, LIB).await;
    send(&again, &bodies[0]).await;
    let mut unmarked = bodies[1].clone();
    let own = unmarked["messages"][0]["content"].as_array_mut().unwrap().get_mut(1).unwrap();
    assert!(own.as_object_mut().unwrap().remove("cache_control").is_some());
    let read = send(&again, &unmarked).await.usage.cache_read;
    assert!(read < cached(&usages[0]), "{read} of {}", cached(&usages[0]));
    // (Both are long enough to be cached at all.)
    assert_eq!(send(&again, &bodies[1]).await.usage.cache_read, cached(&usages[1]));
}

/// Thinks without a word and with some, in blocks that only its maker can read, and goes on calling.
fn thinker() -> String {
    let last = TURNS - 1;
    let calling: String = (0..last)
        .map(|turn| {
            format!(
                r##"
  - match: {{ turn: {turn} }}
    blocks:
      - thinking: ""
      - thinking: 'hm, "so"'
      - redacted: QUJD
      - raw: {{ type: block_of_tomorrow, of: [1, 2.5, null], text: "" }}
      - {{ tool: Glob, input: {{ pattern: "*{turn}" }} }}"##
            )
        })
        .collect();
    format!(
        r##"
version: 1
replies:{calling}
  - match: {{ turn: {last} }}
    blocks: [{{ thinking: "" }}, {{ text: "Done." }}]
"##
    )
}

fn patient(mut step: StepAssignment) -> StepAssignment {
    let Work::Agent(work) = &mut step.work else { panic!() };
    work.max_turns = 2 * TURNS as u32;
    step
}

/// The blocks of a journaled reply, as text.
fn blocks(turn: &str) -> &str {
    let (_, rest) = turn.split_once("\"content\":[").unwrap();
    rest.split_once("],\"origin\":").unwrap().0
}

fn bare(body: &str) -> String {
    body.replace(r#","cache_control":{"type":"ephemeral"}"#, "")
}

#[tokio::test]
async fn bound_thinking_is_accepted_over_fifty_turns_and_in_a_fork() {
    let bench = Bench::new(&thinker(), LIB).await;
    let host = Recorder::new();
    let outcome = bench.perform(&patient(bench.step("one", Mode::Read, "x")), &host).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    let (turns, usages) = (host.turns(), host.usages());
    assert_eq!((usages.len(), turns.len()), (TURNS, 2 * TURNS));
    assert!(usages.iter().all(|usage| usage.status == 200), "the server has checked every signature: {usages:?}");
    assert!(usages.windows(2).all(|pair| pair[1].cache_read == cached(&pair[0])), "{usages:?}");
    let requests = bench.requests();
    let last = bare(requests.last().unwrap());
    let replies: Vec<&str> = turns[..2 * TURNS - 1].iter().skip(1).step_by(2).map(|turn| blocks(turn)).collect();
    for reply in &replies {
        for kind in ["\"thinking\":\"\"", "redacted_thinking", "\"of\":[1,2.5,null]"] {
            assert!(reply.contains(kind), "{kind}: {reply}");
        }
        assert!(last.contains(reply), "it goes back as it came: {reply}");
    }

    // Another worker goes on from the middle, elsewhere and with other words.
    let mut fork = patient(bench.step("two", Mode::Read, "something else"));
    fork.resume.messages = turns[..21].to_vec();
    fork.feedback = vec!["go another way".to_owned()];
    let forked = Recorder::new();
    let outcome = bench.perform(&fork, &forked).await;
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    assert!(forked.usages().iter().all(|usage| usage.status == 200));
    let first = bare(&bench.requests()[TURNS]);
    let parent = bare(&requests[10]);
    assert!(first.starts_with(parent.rsplit_once("],\"max_tokens\"").unwrap().0), "byte for byte its parent's");
    assert!(first.contains("go another way"));
    assert_eq!(forked.usages()[0].cache_read, prompt(&usages[10]), "and read from the cache");

    // A history that is not the parent's is refused: the check bites.
    let mut other = patient(bench.step("three", Mode::Read, "x"));
    other.resume.messages = turns[..21].to_vec();
    other.resume.messages[0] = turns[0].replace("Step: one", "Step: eno");
    assert_ne!(other.resume.messages[0], turns[0]);
    let outcome = bench.perform(&other, &Recorder::new()).await;
    let End::Failed { cause: Cause::RequestRefused, message } = outcome.end else { panic!("{outcome:?}") };
    assert!(message.contains("bound to a different conversation") && message.contains("wattle log"), "{message}");
}
