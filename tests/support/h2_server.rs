//! A server of HTTP/2 without TLS that says what a test wants, frame by frame (RFC 9113). It understands
//! no header fields; a request is known by its body.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::net::TcpStream;
use std::sync::Arc;

use super::http_servers::{Act, Behaviour, Server, perform};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Section 6: types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
// Flags.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
// Section 7: error codes.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A server that does what `answer` makes of a request's body and stream.
pub(crate) fn start(answer: impl Fn(&str, u32) -> Vec<Act> + Send + Sync + 'static) -> Server {
    Server::start(Behaviour::Other(Arc::new(move |connection| {
        let _ = serve(connection, &answer);
    })))
}

fn serve(connection: &TcpStream, answer: &dyn Fn(&str, u32) -> Vec<Act>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut preface = [0; PREFACE.len()];
    reader.read_exact(&mut preface).ok()?;
    if preface != PREFACE {
        return None;
    }
    let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    perform(connection, [Act::send(frame(SETTINGS, 0, 0, &[]))])?;
    loop {
        let mut head = [0; 9];
        reader.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        reader.read_exact(&mut payload).ok()?;
        match (head[3], head[4]) {
            (SETTINGS, flags) if flags & ACK == 0 => {
                perform(connection, [Act::send(frame(SETTINGS, ACK, 0, &[]))])?;
            }
            (PING, flags) if flags & ACK == 0 => {
                perform(connection, [Act::send(frame(PING, ACK, 0, &payload))])?;
            }
            (DATA, flags) => {
                bodies.entry(stream).or_default().extend(payload);
                if flags & END_STREAM != 0 {
                    let body = bodies.remove(&stream)?;
                    perform(connection, answer(&String::from_utf8(body).ok()?, stream))?;
                }
            }
            _ => {}
        }
    }
}

/// A whole answer with status 200 and the body `ok`.
pub(crate) fn ok(stream: u32) -> Vec<u8> {
    [head(stream, "2"), data(stream, true, "ok")].concat()
}

/// The head of an answer with status 200 and this length.
pub(crate) fn head(stream: u32, length: &str) -> Vec<u8> {
    // RFC 7541: the indexed field `:status: 200`, then `content-length` (index 28 of the static table)
    // with a value of its own that is not added to the dynamic one.
    let mut fields = vec![0x88, 0x0f, 28 - 15, length.len() as u8];
    fields.extend(length.as_bytes());
    frame(HEADERS, END_HEADERS, stream, &fields)
}

/// The head of an interim answer (103).
pub(crate) fn hint(stream: u32) -> Vec<u8> {
    // `:status` is index 8 of the static table.
    frame(HEADERS, END_HEADERS, stream, b"\x08\x03103")
}

/// A head whose fields can't be decoded: an index beyond all tables.
pub(crate) fn undecodable_head(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &[0xff, 0xff, 0xff, 0x0f])
}

/// The beginning of a head that goes on.
pub(crate) fn unended_head(stream: u32) -> Vec<u8> {
    frame(HEADERS, 0, stream, &[0x88])
}

/// How it goes on: a field of a kilobyte, and still no end.
pub(crate) fn continuation(stream: u32) -> Vec<u8> {
    // A new name, not added to the table; lengths of 127 and more continue in the next byte.
    let mut field = vec![0x00, 1, b'x', 0x7f, 0x81, 0x07];
    field.extend([b'x'; 127 + 1 + 7 * 128]);
    frame(CONTINUATION, 0, stream, &field)
}

/// A part of a body.
pub(crate) fn data(stream: u32, is_last: bool, text: &str) -> Vec<u8> {
    let flags = if is_last { END_STREAM } else { 0 };
    frame(DATA, flags, stream, text.as_bytes())
}

/// Nothing after stream `last` was or will be looked at.
pub(crate) fn go_away(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// The end of a stream that is not at its end.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A question whether anybody is there.
pub(crate) fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[0; 8])
}

/// The beginning of a frame that is larger than any that the client allows.
pub(crate) fn too_large(stream: u32) -> Vec<u8> {
    let mut frame = frame(DATA, 0, stream, &[]);
    frame[..3].fill(0xff);
    frame
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
