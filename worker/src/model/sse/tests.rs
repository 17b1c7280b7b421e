//! Tests of [`super`]: examples, any cut of any stream, and bytes that are no stream at all.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::{Decoder, EVENT_BYTES_MAX, SseError};

type Owned = (String, String);

fn event(name: &str, data: &str) -> Owned {
    (name.to_owned(), data.to_owned())
}

/// All events of some chunks, and the error that ended them.
fn decode(chunks: &[&[u8]]) -> (Vec<Owned>, Option<SseError>) {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for chunk in chunks {
        let pushed = decoder.push::<()>(chunk, |found| {
            events.push(event(found.name, found.data));
            ControlFlow::Continue(())
        });
        if let Err(error) = pushed {
            return (events, Some(error));
        }
    }
    (events, None)
}

/// Decodes whole, cut in two at every byte, and byte by byte.
fn check(stream: &str, expected: &[Owned]) {
    let bytes = stream.as_bytes();
    assert_eq!(decode(&[bytes]), (expected.to_vec(), None), "{stream:?} whole");
    for at in 0..=bytes.len() {
        assert_eq!(decode(&[&bytes[..at], &bytes[at..]]).0, expected, "{stream:?} cut at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(decode(&single).0, expected, "{stream:?} byte by byte");
}

#[test]
fn line_ends_of_every_kind_are_one() {
    let expected = [event("ping", "{\"a\":1}"), event("", "zwei ä€😀")];
    for end in ["\n", "\r\n", "\r"] {
        check(&["event: ping", "data: {\"a\":1}", "", "data:zwei ä€😀", "", ""].join(end), &expected);
    }
}

#[test]
fn fields_are_read_as_the_standard_says() {
    check("\u{feff}data: x\n\n", &[event("", "x")]);
    check("data: x\ndata:  y\ndata\n\n", &[event("", "x\n y\n")]);
    check(": alive\n\nevent: none\n\ndata: z\n\n", &[event("", "z")]);
    check("id: 4\nretry: 9\nlater: x\nevent: e\ndata: d\n\n", &[event("e", "d")]);
    check("datax: no\ndata : no\nevents: no\ndata: d\n\n", &[event("", "d")]);
    check("data\n\n", &[event("", "")]);
    check("data: dropped at the end of the stream\n", &[]);
}

#[test]
fn what_cannot_be_decoded_is_an_error() {
    assert_eq!(decode(&[b"data: \xff\n\n"]).1, Some(SseError::NotText));
    assert_eq!(decode(&[b"event: \xc3", b"\n"]).1, Some(SseError::NotText));
    // What is not looked at may be anything.
    assert_eq!(decode(&[b": \xff\nid: \xff\ndata: x\n\n"]), (vec![event("", "x")], None));
}

#[test]
fn what_is_held_is_bounded() {
    let megabyte = vec![b'x'; 1024 * 1024];
    let mut decoder = Decoder::default();
    let mut failed = None;
    for number in 0..40 {
        if decoder.push::<()>(&megabyte, |_| ControlFlow::Continue(())).is_err() {
            failed = Some(number);
            break;
        }
        assert!(decoder.held_bytes() <= EVENT_BYTES_MAX);
    }
    assert_eq!(failed, Some(16));
    // Many short lines of one event are one event as well.
    let line = [b"data: ".as_slice(), &megabyte, b"\n"].concat();
    let mut decoder = Decoder::default();
    let refused = (0..40).position(|_| decoder.push::<()>(&line, |_| ControlFlow::Continue(())).is_err());
    assert_eq!(refused, Some(15));
}

#[test]
fn a_break_ends_the_stream_with_its_value() {
    let mut decoder = Decoder::default();
    let mut seen = 0;
    let broke = decoder.push(b"data: a\n\ndata: b\n\ndata: c\n\n", |found| {
        seen += 1;
        if found.data == "b" { ControlFlow::Break(7) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((broke, seen), (Ok(Some(7)), 2));
}

/// Bytes from a seed: a linear congruence is random enough to be no stream, and the same everywhere.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    // Half of the bytes are those that mean something.
    const MEANING: &[u8] = b"\n\r: data:event:\xef\xbb\xbf\xf0\x9f{}\"";
    (0..length)
        .map(|_| match next() {
            random if random % 2 == 0 => MEANING[(random / 2) as usize % MEANING.len()],
            random => (random / 2) as u8,
        })
        .collect()
}

#[test]
fn a_corpus_of_noise_is_decoded_alike_however_it_is_cut() {
    for seed in 0..400 {
        let bytes = noise(seed, 40 + (seed as usize * 7) % 400);
        let whole = decode(&[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), whole, "seed {seed}, byte by byte");
        for size in [2, 3, 7, 64] {
            let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(decode(&chunks), whole, "seed {seed}, by {size}");
        }
    }
}

#[test]
fn a_recorded_stream_with_any_byte_changed_never_panics() {
    let stream = include_bytes!("../anthropic/stream.sse");
    let mut changed = stream.to_vec();
    for at in 0..stream.len() {
        for byte in [0, b'\n', b'\r', b':', 0xff] {
            changed[at] = byte;
            decode(&[&changed]);
        }
        changed[at] = stream[at];
    }
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(
        stream in "(data|event|x|:|: |\r|\n|\r\n|\n\n|ä|😀){0,30}",
        cuts in prop::collection::vec(0usize..60, 0..5),
    ) {
        let bytes = stream.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(&chunks), decode(&[bytes]));
    }

    #[test]
    fn any_bytes_give_events_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1usize..40,
    ) {
        let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
        prop_assert_eq!(decode(&chunks), decode(&[&bytes]));
    }

    #[test]
    fn what_was_written_is_read(
        events in prop::collection::vec(("[a-z_.]{0,12}", "[^\r\n]{0,40}(\n[^\r\n]{0,10})?"), 0..6),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let mut stream = String::new();
        for (name, data) in &events {
            if !name.is_empty() {
                stream.push_str(&format!("event: {name}{end}"));
            }
            for line in data.split('\n') {
                stream.push_str(&format!("data: {line}{end}"));
            }
            stream.push_str(end);
        }
        prop_assert_eq!(decode(&[stream.as_bytes()]).0, events);
    }
}
