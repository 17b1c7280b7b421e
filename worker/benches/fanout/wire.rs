//! What reading a stream costs: the decoder alone, and a whole client from the socket to the finished turn.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wattle_cache::prefix::{Codec, Dialect, Target};
use wattle_worker::model::sse::Decoder;
use wattle_worker::model::wire::HttpModel;
use wattle_worker::model::{Auth, Model as _, ModelRequest, WireOptions};

use crate::Res;
use crate::table::{Line, Table};

const MB: f64 = 1_000_000.0;
/// Bytes of the streams: long enough that starting up does not show.
const STREAM_BYTES: usize = 24_000_000;
/// What a socket gives at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Repetitions; the median counts.
const TIMES: usize = 5;

/// Measures.
pub(crate) fn run(table: &mut Table) -> Res<()> {
    for codec in [Codec::AnthropicMessages, Codec::OpenaiChat, Codec::OpenaiResponses] {
        let stream = Arc::new(stream(codec));
        let mut rates = Vec::new();
        let mut costs = Vec::new();
        for _ in 0..TIMES {
            rates.push(stream.len() as f64 / MB / decode(&stream)?.as_secs_f64());
            costs.push(client_cpu(codec, &stream)?.as_secs_f64() * 1000.0 / (stream.len() as f64 / MB));
        }
        let (rate, cost) = (median(rates), median(costs));
        table.add(Line {
            what: format!("SSE decode rate, one core, {codec:?}"),
            measured: format!("{rate:.0} MB/s"),
            goal: "≥ 300 MB/s",
            reached: Some(rate >= 300.0),
        });
        table.add(Line {
            what: format!("client CPU per streamed MB, socket to turn, {codec:?}"),
            measured: format!("{cost:.1} ms"),
            goal: "≤ 15 ms",
            reached: Some(cost <= 15.0),
        });
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A reply of text in pieces of a few words, as providers stream it.
fn stream(codec: Codec) -> Vec<u8> {
    let words = "the quick \\\"brown\\\" fox, ";
    let (start, piece, end) = match codec {
        Codec::AnthropicMessages => (
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":1}}}\n\n\
             event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{words}\"}}}}\n\n"
            ),
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        Codec::OpenaiChat => (
            "",
            format!(
                "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{words}\"}},\"finish_reason\":null}}]}}\n\n"
            ),
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
        Codec::OpenaiResponses => (
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n",
            format!(
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"{words}\"}}\n\n"
            ),
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[]}}\n\n",
        ),
    };
    let mut all = start.as_bytes().to_vec();
    while all.len() < STREAM_BYTES {
        all.extend_from_slice(piece.as_bytes());
    }
    all.extend_from_slice(end.as_bytes());
    all
}

/// Time that the decoder takes for a stream.
fn decode(stream: &[u8]) -> Res<Duration> {
    let start = Instant::now();
    let mut decoder = Decoder::default();
    for chunk in stream.chunks(CHUNK_BYTES) {
        decoder.push::<()>(chunk, |event| {
            black_box(event);
            ControlFlow::Continue(())
        })?;
    }
    Ok(start.elapsed())
}

/// CPU time of the thread that reads a stream from a socket and puts its turn together; the server is another.
fn client_cpu(codec: Codec, stream: &Arc<Vec<u8>>) -> Res<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let options = WireOptions {
        target: Target { codec, provider: "bench".to_owned(), dialect: Dialect::plain() },
        base_url: format!("http://{}", listener.local_addr()?),
        auth: Auth::None,
        version: None,
        pressure: Arc::default(),
    };
    let served = Arc::clone(stream);
    let server = thread::spawn(move || answer(&listener, &served));
    let model = HttpModel::new(options)?;
    let request = ModelRequest {
        bytes: "{}".into(),
        prefix_len: 0,
        prefix_sha: String::new(),
        model: "m".to_owned(),
        first: true,
        watch: None,
    };
    // One thread, so that its time is the client's whole time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let spent = runtime.block_on(async {
        let before = thread_cpu()?;
        let reply = model.stream(request, CancellationToken::new()).await?;
        let after = thread_cpu()?;
        black_box(reply);
        Res::Ok(after.saturating_sub(before))
    })?;
    server.join().map_err(|_| "the server panicked")??;
    Ok(spent)
}

/// Answers one request with a stream.
fn answer(listener: &TcpListener, stream: &[u8]) -> std::io::Result<()> {
    let (mut socket, _): (TcpStream, _) = listener.accept()?;
    let mut head = [0; 4096];
    // The request is so short that it comes at once.
    let _ = socket.read(&mut head)?;
    socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n")?;
    // The client closes as soon as it has seen the end.
    let _ = socket.write_all(stream);
    Ok(())
}

/// CPU time of this thread, as the kernel counts it.
fn thread_cpu() -> Res<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().ok_or("no times in schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos))
}
