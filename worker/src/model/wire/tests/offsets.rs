//! Every kind of fault at every byte of one recorded stream per codec: recovered or typed, and no half turn.

use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;
use wattle_cache::prefix::Codec;

use super::super::{Try, assemble, read_stream};
use super::raw_request;
use crate::model::Attempt;
use crate::model::assemble::recorded::STREAMS;
use crate::model::retry::{self, BACKOFF_FIRST, Fault, FaultKind, Tally};

/// What may happen to a stream at a byte.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// It ends.
    Cut,
    /// The connection is reset, or silent for too long.
    Reset,
    /// It goes on in single bytes.
    Dribble,
    /// A ping with line ends of another kind comes in between.
    Ping,
    /// An error event comes, as if a proxy wrote it.
    Error,
    /// Bytes that are no text come.
    Noise,
    /// The rest comes twice.
    Repeated,
    /// It begins again.
    Restarted,
}

const KINDS: [Kind; 8] =
    [Kind::Cut, Kind::Reset, Kind::Dribble, Kind::Ping, Kind::Error, Kind::Noise, Kind::Repeated, Kind::Restarted];

fn chunks(kind: Kind, stream: &'static [u8], at: usize) -> Vec<Result<Bytes, Fault>> {
    let (head, tail) = stream.split_at(at);
    let (head, rest) = (Bytes::from_static(head), Bytes::from_static(tail));
    let then = |part: &'static [u8]| vec![Ok(head.clone()), Ok(Bytes::from_static(part)), Ok(rest.clone())];
    match kind {
        Kind::Cut => vec![Ok(head)],
        Kind::Reset => vec![Ok(head), Err(Fault::of(FaultKind::Broken, "broken", "reset".to_owned()))],
        Kind::Dribble => {
            // As far as the next event or two: the rest has been seen from there.
            let (slow, rest) = tail.split_at(tail.len().min(200));
            let single = slow.chunks(1).map(|byte| Ok(Bytes::from_static(byte)));
            std::iter::once(Ok(head)).chain(single).chain([Ok(Bytes::from_static(rest))]).collect()
        }
        Kind::Ping => then(b"\r\n: ping\r\n\r\n"),
        Kind::Error => {
            then(b"\n\nevent: error\ndata: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n")
        }
        Kind::Noise => then(b"\xff\xfe\x00{\"\n\n"),
        Kind::Repeated => vec![Ok(head), Ok(rest.clone()), Ok(rest)],
        Kind::Restarted => vec![Ok(head), Ok(Bytes::from_static(stream))],
    }
}

async fn read(codec: Codec, chunks: Vec<Result<Bytes, Fault>>) -> (Result<(), Fault>, Try) {
    let mut current = Try { assembly: assemble::assembly(codec), attempt: Attempt::default(), sent: Instant::now() };
    let ended = read_stream(&raw_request("{}".to_owned()), stream::iter(chunks), &mut current).await;
    (ended, current)
}

#[tokio::test]
async fn no_fault_at_any_byte_gives_half_a_turn() {
    for (codec, recorded) in STREAMS {
        let (ended, whole) = read(codec, vec![Ok(Bytes::from_static(recorded))]).await;
        assert_eq!(ended, Ok(()));
        let whole = whole.assembly.finish().content;
        let mut recovered = 0;
        for kind in KINDS {
            for at in 0..recorded.len() {
                let (ended, current) = read(codec, chunks(kind, recorded, at)).await;
                let at = format!("{codec:?} {kind:?} at {at}");
                match (kind, ended) {
                    // What does not touch the message leaves it as it is.
                    (Kind::Cut | Kind::Reset | Kind::Dribble | Kind::Repeated, Ok(())) => {
                        assert_eq!(current.assembly.finish().content, whole, "{at}");
                    }
                    (Kind::Dribble | Kind::Repeated, Err(fault)) => panic!("{at}: {fault:?}"),
                    // What is put into a message may become a part of it; its end has come nevertheless.
                    (Kind::Ping | Kind::Error | Kind::Noise | Kind::Restarted, Ok(())) => {}
                    (_, Err(fault)) => {
                        let next = retry::next(&fault, Tally { made: 1, other: 1 }, "p", BACKOFF_FIRST, 0.0);
                        assert!(next.is_ok(), "{at}: it may pass, and is given up: {fault:?}");
                        recovered += 1;
                    }
                }
            }
        }
        assert!(recovered > 2 * recorded.len() - 20, "{codec:?}: only {recovered} faults were seen");
    }
}
