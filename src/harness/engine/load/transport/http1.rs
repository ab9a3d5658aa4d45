//! HTTP/1.1 over an open connection, one exchange after the other (RFC 9112).
//!
//! hyper has a task for each connection, to which requests go and from which answers come by channels, and it
//! keeps both in maps. That is right for a client that serves many; for a user who sends one request and waits
//! for its answer it is most of what a request costs (docs/COST.md). Here whoever waits for an answer writes
//! the request and reads the answer. HTTP/2 and streams are hyper's as before.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use httparse::{Header, ParserConfig, Status};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::task::coop::{consume_budget, unconstrained};
use tokio::time::timeout;

use super::exchange::{Answer, since_ns};
use super::failure::Failure;
use super::headers::{Headers, MAX_HEADERS};
use super::wire::{MAX_HEAD_BYTES, Wire};
use crate::harness::model::ErrorKind;

/// A read has at least so much room; most answers come whole.
const LEAST_ROOM: usize = 4 << 10;
/// A read gets twice the room of the one before, up to about this, while there is more to be read than it
/// takes.
const MOST_ROOM: usize = 64 << 10;
/// The line that tells the length of a chunk has a few bytes; it may have so many.
const MAX_LINE_BYTES: usize = 4 << 10;
/// A longer name is none for the crate `http`.
const MAX_NAME_BYTES: usize = (64 << 10) - 1;
/// Nobody looks at what comes after a body.
const MAX_TRAILER_BYTES: usize = 16 << 10;

/// So long a server is waited for that has to be told of the end of its connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// An open connection over which nothing is under way.
pub(super) struct Http1 {
    wire: Wire,
    /// What came and was not taken yet.
    unread: Unread,
    /// The head of the last request, whose room is used again.
    head: Vec<u8>,
}

/// A request on its way out.
struct Outgoing {
    head: Vec<u8>,
    body: Bytes,
    /// How much of both was handed to the connection.
    written: usize,
    is_sent: bool,
    /// Why no more of it can be sent. The server may have answered all the same.
    failed: Option<io::Error>,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// Whether not a byte of the request was sent.
    pub(super) is_unsent: bool,
}

/// How far the end of a head was looked for.
#[derive(Debug, Default)]
struct Search {
    /// In so many of the bytes there is none.
    seen: usize,
    /// How many bytes of empty lines came before it.
    blank: usize,
}

/// What the head of an answer says.
struct Head {
    status: u16,
    headers: Headers,
    body: Body,
    /// Whether another request may follow over the connection.
    stays_open: bool,
}

/// What is still to come of a body (RFC 9112, section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum Body {
    /// So many bytes.
    Length(u64),
    Chunked(Chunk),
    /// All until the connection ends.
    ToEnd,
}

/// What comes next in a body of chunks (RFC 9112, section 7.1).
#[derive(Debug, PartialEq, Eq)]
enum Chunk {
    Length,
    /// So many bytes of it.
    Data(u64),
    /// The end of its last line.
    End,
    Trailers,
}

/// Bytes that came and were not taken yet.
#[derive(Debug, Default)]
struct Unread {
    buffer: Vec<u8>,
    taken: usize,
    /// How much room the last read had, and whether it took all of it.
    room: usize,
    was_filled: bool,
}

impl Http1 {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            unread: Unread::default(),
            head: Vec::new(),
        }
    }

    /// Whether a request can be sent: the server has not ended the connection, nor said anything that it
    /// was not asked for.
    pub(super) async fn is_fit(&mut self) -> bool {
        // There is nothing to be read, of which the runtime knows in most cases without asking the kernel. It
        // must not say so only because it is somebody else's turn.
        let look = poll_fn(|context| Poll::Ready(self.unread.poll(&mut self.wire, context)));
        unconstrained(look).await.is_pending()
    }

    /// Sends a request, whose head `write` appends, and reads the answer to its end. Returns the connection
    /// where another request may follow over it.
    pub(super) async fn exchange(
        mut self,
        method: &Method,
        write: impl FnOnce(&mut Vec<u8>),
        body: Option<Bytes>,
        answer: &mut Answer,
    ) -> Result<Option<Self>, Broken> {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        write(&mut head);
        let mut outgoing = Outgoing {
            head,
            body: body.unwrap_or_default(),
            written: 0,
            is_sent: false,
            failed: None,
        };
        let answered = self.answered(method, &mut outgoing, answer).await;
        let stays_open = answered.map_err(|failure| Broken {
            failure,
            // What is secured may have been sent in part though it was not taken.
            is_unsent: outgoing.written == 0 && matches!(self.wire, Wire::Plain(_)),
        })?;
        if !outgoing.is_sent {
            // The server has answered without the rest.
            return Ok(None);
        }
        if !stays_open || !self.unread.bytes().is_empty() {
            self.end();
            return Ok(None);
        }
        self.head = outgoing.head;
        self.unread.shrink();
        Ok(Some(self))
    }

    /// Ends the connection in good order: who listens at the end of one that is secured is told of it.
    pub(super) fn end(mut self) {
        // At the end of a load there is nobody left to do so.
        if matches!(self.wire, Wire::Secured(_))
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                let _ = timeout(FAREWELL, self.wire.shutdown()).await;
            });
        }
    }

    async fn answered(
        &mut self,
        method: &Method,
        outgoing: &mut Outgoing,
        answer: &mut Answer,
    ) -> Result<bool, Failure> {
        let sent = Instant::now();
        let head = self.head(method, outgoing).await?;
        answer.timings.first_byte_ns = Some(since_ns(sent));
        answer.begin(head.status, head.headers);
        let mut body = head.body;
        while let Some(length) = self.part(&mut body, outgoing).await? {
            answer.take(&self.unread.bytes()[..length]);
            self.unread.take(length);
        }
        Ok(head.stays_open)
    }

    /// The head of the answer, after those that only say that there will be one (RFC 9110, section 15.2).
    async fn head(&mut self, method: &Method, outgoing: &mut Outgoing) -> Result<Head, Failure> {
        let mut search = Search::default();
        loop {
            if search.seen == 0 {
                // Empty lines before it are no part of it (RFC 9112, section 2.2).
                let bytes = self.unread.bytes().iter();
                let blank = bytes.take_while(|byte| matches!(byte, b'\r' | b'\n'));
                let blank = blank.count();
                search.blank += blank;
                self.unread.take(blank);
            }
            let bytes = self.unread.bytes();
            if search.is_worth_it(bytes)
                && let Some((head, length)) = parse(bytes, method)?
            {
                if outgoing.written == 0 {
                    return Err(broken("there was an answer before there was a request"));
                }
                self.unread.take(length);
                if !(100..=199).contains(&head.status) || head.status == 101 {
                    return Ok(head);
                }
                search = Search::default();
                // A server that sends nothing else must not keep the thread from others, nor from the timeout.
                consume_budget().await;
                continue;
            }
            if search.blank + bytes.len() > MAX_HEAD_BYTES {
                return Err(broken(format!(
                    "the head of the answer has more than {MAX_HEAD_BYTES} bytes"
                )));
            }
            self.more(outgoing, "its answer").await?;
        }
    }

    /// How many of the bytes that came are the next part of the body, which is to be taken; `None` at its
    /// end.
    async fn part(
        &mut self,
        body: &mut Body,
        outgoing: &mut Outgoing,
    ) -> Result<Option<usize>, Failure> {
        loop {
            let bytes = self.unread.bytes();
            match body {
                Body::Length(0) => return Ok(None),
                Body::Length(left) | Body::Chunked(Chunk::Data(left)) if !bytes.is_empty() => {
                    let length = bytes
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= length as u64;
                    if *body == Body::Chunked(Chunk::Data(0)) {
                        *body = Body::Chunked(Chunk::End);
                    }
                    return Ok(Some(length));
                }
                Body::ToEnd if !bytes.is_empty() => return Ok(Some(bytes.len())),
                Body::Chunked(chunk) if !matches!(chunk, Chunk::Data(_)) => {
                    if let Some((length, next)) = chunk.next(bytes)? {
                        self.unread.take(length);
                        match next {
                            Some(next) => *chunk = next,
                            None => return Ok(None),
                        }
                        // As many small chunks as there is room for may have come at once.
                        consume_budget().await;
                        continue;
                    }
                }
                _ => {}
            }
            match body {
                Body::ToEnd => match self.read(outgoing).await {
                    Ok(0) => return Ok(None),
                    read => read.map_err(|error| Failure::broken(&error))?,
                },
                _ => self.more(outgoing, "the end of the body").await?,
            };
        }
    }

    /// Reads more of the answer where there has to be more.
    async fn more(&mut self, outgoing: &mut Outgoing, missing: &str) -> Result<usize, Failure> {
        match self.read(outgoing).await {
            Ok(0) => {
                let message = format!("the server closed the connection before {missing}");
                Err(Failure::new(ErrorKind::Closed, message))
            }
            Ok(length) => Ok(length),
            Err(error) => Err(Failure::broken(&error)),
        }
    }

    /// Reads more, and meanwhile sends what is left of the request; how many bytes were read, none at the
    /// end of the connection.
    async fn read(&mut self, outgoing: &mut Outgoing) -> io::Result<usize> {
        let read = poll_fn(|context| {
            outgoing.poll(&mut self.wire, context);
            self.unread.poll(&mut self.wire, context)
        });
        let read = read.await;
        // What is missing of the request is why there is no answer. Where there is an error, it may be what the
        // server said of the handshake.
        match outgoing.failed.take_if(|_| matches!(read, Ok(0))) {
            Some(error) => Err(error),
            None => read,
        }
    }
}

impl fmt::Debug for Http1 {
    /// Without the last request, which may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Http1");
        debug.field("wire", &self.wire).finish_non_exhaustive()
    }
}

impl Search {
    /// Whether more can be said of these bytes than the last time: what is no HTTP is so from its beginning
    /// on; else a head has to have its end. So one that comes byte by byte is not parsed again for each.
    fn is_worth_it(&mut self, bytes: &[u8]) -> bool {
        let is_worth_it = match self.seen {
            0 => !bytes.is_empty(),
            seen => has_end(&bytes[seen..]),
        };
        // The line before the empty one may have come already.
        self.seen = bytes.len().saturating_sub(2);
        is_worth_it
    }
}

impl Outgoing {
    /// Sends as much as the connection takes.
    fn poll(&mut self, wire: &mut Wire, context: &mut Context<'_>) {
        if self.is_sent || self.failed.is_some() {
            return;
        }
        match self.poll_send(wire, context) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.is_sent = true,
            Poll::Ready(Err(error)) => self.failed = Some(error),
        }
    }

    fn poll_send(&mut self, wire: &mut Wire, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let head = self.head.get(self.written..).unwrap_or_default();
            let body = &self.body[self.written.saturating_sub(self.head.len())..];
            let wire = Pin::new(&mut *wire);
            let written = match (head.is_empty(), body.is_empty()) {
                (true, true) => return wire.poll_flush(context),
                (false, true) => wire.poll_write(context, head),
                (true, false) => wire.poll_write(context, body),
                (false, false) => {
                    let parts = [IoSlice::new(head), IoSlice::new(body)];
                    wire.poll_write_vectored(context, &parts)
                }
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.written += written,
            }
        }
    }
}

impl Unread {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    fn take(&mut self, length: usize) {
        self.taken += length;
        if self.taken == self.buffer.len() {
            // From the beginning again, which is in the processor's caches.
            self.buffer.clear();
            self.taken = 0;
        }
    }

    /// Reads more; how many bytes, none at the end of the connection.
    fn poll(&mut self, wire: &mut Wire, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = match self.was_filled {
            true => (2 * self.room).min(MOST_ROOM),
            false => LEAST_ROOM,
        };
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        if self.buffer.capacity() - self.buffer.len() < room {
            self.buffer.reserve(room);
        }
        let before = self.buffer.len();
        let room = self.buffer.capacity() - before;
        let read = ready!(pin!(wire.read_buf(&mut self.buffer)).poll(context))?;
        (self.room, self.was_filled) = (room, read == room);
        Poll::Ready(Ok(read))
    }

    /// Gives room back that only a large answer needed.
    fn shrink(&mut self) {
        self.was_filled = false;
        if self.buffer.is_empty() && self.buffer.capacity() > MOST_ROOM / 4 {
            self.buffer = Vec::new();
        }
    }
}

impl Chunk {
    /// How many bytes belong to this, and what comes after it, `None` at the end of the body; nothing
    /// where it has not come whole.
    fn next(&self, bytes: &[u8]) -> Result<Option<(usize, Option<Self>)>, Failure> {
        let none = Ok(None);
        match self {
            // httparse takes a line without a digit for the last chunk.
            Self::Length
                if bytes
                    .first()
                    .is_some_and(|first| !first.is_ascii_hexdigit()) =>
            {
                Err(broken("a chunk of the body has no length"))
            }
            Self::Length => match httparse::parse_chunk_size(bytes) {
                // Only its end may be one.
                Ok(Status::Complete((length, _))) if bytes[..length - 2].contains(&b'\n') => {
                    Err(broken("the length of a chunk has several lines"))
                }
                Ok(Status::Complete((length, 0))) => Ok(Some((length, Some(Self::Trailers)))),
                Ok(Status::Complete((length, size))) => Ok(Some((length, Some(Self::Data(size))))),
                Ok(Status::Partial) if bytes.len() <= MAX_LINE_BYTES => none,
                _ => Err(broken("a chunk of the body has no length")),
            },
            Self::Data(_) => none,
            Self::End => match bytes {
                [b'\r', b'\n', ..] => Ok(Some((2, Some(Self::Length)))),
                [] | [b'\r'] => none,
                _ => Err(broken("a chunk of the body is longer than it says")),
            },
            Self::Trailers => {
                let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
                match httparse::parse_headers(bytes, &mut headers) {
                    Ok(Status::Complete((length, _))) if length <= MAX_TRAILER_BYTES => {
                        Ok(Some((length, None)))
                    }
                    Ok(Status::Partial) if bytes.len() <= MAX_TRAILER_BYTES => none,
                    Ok(_) => Err(broken(format!(
                        "the trailers of the answer have more than {MAX_TRAILER_BYTES} bytes"
                    ))),
                    Err(error) => Err(broken(format!("the trailers of the answer: {error}"))),
                }
            }
        }
    }
}

/// Whether an empty line ends in there; the line before it may have ended before.
fn has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        rest = &rest[end + 1..];
        if matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
            return true;
        }
    }
    false
}

/// The head of the answer to such a request, and its length in bytes; `None` where it has not come whole.
fn parse(bytes: &[u8], method: &Method) -> Result<Option<(Head, usize)>, Failure> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(broken(format!(
                "the answer has more than {MAX_HEADERS} headers"
            )));
        }
        Err(error) => return Err(broken(format!("what came back is no HTTP/1.1: {error}"))),
    };
    let (Some(status @ 100..), Some(version)) = (response.code, response.version) else {
        return Err(broken("the answer has no status"));
    };
    let headers = &*response.headers;
    let is_too_long = |header: &Header<'_>| header.name.len() > MAX_NAME_BYTES;
    if headers.iter().any(is_too_long) {
        return Err(broken(format!(
            "the name of a header has more than {MAX_NAME_BYTES} bytes"
        )));
    }
    let body = Body::of(status, version, headers, method)?;
    let head = Head {
        status,
        stays_open: stays_open(version, headers) && body != Body::ToEnd && status != 101,
        body,
        headers: Headers::new(&bytes[..length], headers),
    };
    Ok(Some((head, length)))
}

impl Body {
    /// What the head of an answer says of its body (RFC 9112, section 6.3).
    fn of(
        status: u16,
        minor_version: u8,
        headers: &[Header<'_>],
        method: &Method,
    ) -> Result<Self, Failure> {
        if method == Method::HEAD || matches!(status, 100..=199 | 204 | 304) {
            return Ok(Self::Length(0));
        }
        if let Some(last) = values(headers, "transfer-encoding").last() {
            if minor_version == 0 {
                return Err(broken(
                    "an answer of HTTP/1.0 can't have a transfer-encoding",
                ));
            }
            // What else its bytes went through is not undone, as nobody asked for it.
            return Ok(match tokens(last).last() {
                Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => {
                    Self::Chunked(Chunk::Length)
                }
                _ => Self::ToEnd,
            });
        }
        let mut length = None;
        for told in values(headers, "content-length").flat_map(tokens) {
            let told = std::str::from_utf8(told).ok();
            let told = told.filter(|told| told.bytes().all(|byte| byte.is_ascii_digit()));
            let told = told.and_then(|told| told.parse::<u64>().ok());
            match told {
                Some(told) if length.is_none_or(|length| length == told) => length = Some(told),
                _ => return Err(broken("the content-length of the answer is no length")),
            }
        }
        Ok(length.map_or(Self::ToEnd, Self::Length))
    }
}

/// Whether the server keeps the connection (RFC 9112, section 9.3).
fn stays_open(minor_version: u8, headers: &[Header<'_>]) -> bool {
    let says = |option: &[u8]| {
        let mut options = values(headers, "connection").flat_map(tokens);
        options.any(|said| said.eq_ignore_ascii_case(option))
    };
    match minor_version {
        0 => says(b"keep-alive") && !says(b"close"),
        _ => !says(b"close"),
    }
}

/// What the headers of that name say, in their order.
fn values<'a>(headers: &'a [Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    let of_name = headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name));
    of_name.map(|header| header.value)
}

/// The parts of a list.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// It is no HTTP/1.1.
fn broken(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Protocol, message)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use url::Url;

    use super::super::exchange::{Connection, Request};
    use super::super::fixture::{exchange, exchange_or_why, get, listen};
    use super::super::target::Transport;
    use super::*;
    use crate::harness::scenario::HttpPlan;

    const OK: &str = "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok";

    fn connection(url: &Url) -> Connection {
        let http = HttpPlan::default();
        Transport::new(url, &http, None).unwrap().connection()
    }

    /// What comes of two requests to a server that answers each of its connections' first request with the parts,
    /// and the second as it should; and whether the second went over the same connection.
    async fn exchanged(
        parts: Vec<Vec<u8>>,
        closes: bool,
        request: impl Fn() -> Request,
    ) -> (Result<(u16, String), (ErrorKind, String)>, bool) {
        let (listener, url) = listen("http").await;
        let served = tokio::spawn(async move {
            let mut connections = 0;
            while let Ok((stream, _)) = listener.accept().await {
                connections += 1;
                let mut stream = tokio::io::BufReader::new(stream);
                stream.get_ref().set_nodelay(true).unwrap();
                let mut is_first = connections == 1;
                while super::super::fixture::head(&mut stream).await.is_some() {
                    if !std::mem::take(&mut is_first) {
                        stream.write_all(OK.as_bytes()).await.unwrap();
                        return connections;
                    }
                    for part in &parts {
                        if stream.write_all(part).await.is_err() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    if closes {
                        break;
                    }
                }
            }
            0
        });
        let mut connection = connection(&url);
        let found = exchange_or_why(&mut connection, request()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let next = exchange(&mut connection, get("/")).await;
        assert_eq!(next, Ok((200, "ok".to_owned())));
        (found, served.await.unwrap() == 1)
    }

    /// The same of an answer that comes at once, and of one in two parts wherever it is cut.
    async fn check(answer: &str, expected: Result<&str, ErrorKind>, is_kept: bool) {
        check_of(answer, !is_kept, expected, is_kept).await;
    }

    async fn check_of(
        answer: &str,
        closes: bool,
        expected: Result<&str, ErrorKind>,
        is_kept: bool,
    ) {
        let bytes = answer.as_bytes();
        let cuts = (0..bytes.len()).step_by(1 + bytes.len() / 40);
        for cut in cuts {
            let (before, after) = bytes.split_at(cut);
            let parts = vec![before.to_vec(), after.to_vec()];
            let (found, kept) = exchanged(parts, closes, || get("/")).await;
            let found = found.map(|(_, body)| body).map_err(|(kind, _)| kind);
            assert_eq!(found, expected.map(str::to_owned), "{answer:?} at {cut}");
            assert_eq!(kept, is_kept, "{answer:?} at {cut}");
        }
    }

    #[tokio::test]
    async fn a_body_ends_where_the_head_says() {
        let closed = Err(ErrorKind::Closed);
        // The shape of RFC 9112, section 6.3, and where a line ends without a return.
        check("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", Ok("ok"), true).await;
        check(
            "\r\nHTTP/1.1 200\r\nContent-Length: 2, 2\r\n\r\nok",
            Ok("ok"),
            true,
        )
        .await;
        check(
            "HTTP/1.1 200 X\r\ncontent-length: 3\r\n\r\nok",
            closed,
            false,
        )
        .await;
        check("HTTP/1.1 200 X\r\n\r\nto the end", Ok("to the end"), false).await;
        check("HTTP/1.1 204 X\r\ncontent-length: 2\r\n\r\n", Ok(""), true).await;
        check(
            "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\nlink: a\r\n\r\nHTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n",
            Ok(""),
            true,
        )
        .await;
        // A chunked body needs no length, and one that is told all the same doesn't count.
        let chunked = |coding: &str, body: &str| {
            format!(
                "HTTP/1.1 200 X\r\ntransfer-encoding: {coding}\r\ncontent-length: 1\r\n\r\n{body}"
            )
        };
        let chunks = "1\r\no\r\n00001;a=\"b\"\r\nk\r\n0\r\n";
        check(
            &chunked("Chunked", &format!("{chunks}\r\n")),
            Ok("ok"),
            true,
        )
        .await;
        let trailers = format!("{chunks}a: b\r\nc: d\r\n\r\n");
        check(&chunked("gzip , chunked", &trailers), Ok("ok"), true).await;
        check(&chunked("chunked", chunks), closed, false).await;
        check(&chunked("chunked", "2\r\no"), closed, false).await;
        check(&chunked("chunked, gzip", "bytes"), Ok("bytes"), false).await;
    }

    #[tokio::test]
    async fn a_connection_is_kept_where_both_versions_say_so() {
        let answer = |line: &str, connection: &str| {
            format!("{line} 200 X\r\nconnection: {connection}\r\ncontent-length: 2\r\n\r\nok")
        };
        for (line, connection, is_kept) in [
            ("HTTP/1.1", "upgrade", true),
            ("HTTP/1.1", "Keep-Alive,\tClose", false),
            ("HTTP/1.0", "keep-alive", true),
            ("HTTP/1.0", "x", false),
        ] {
            // The server would keep it.
            check_of(&answer(line, connection), false, Ok("ok"), is_kept).await;
        }
        // Another protocol begins; what comes over it is no answer.
        let (found, is_kept) = exchanged(
            vec![b"HTTP/1.1 101 X\r\nupgrade: other\r\n\r\n".to_vec()],
            false,
            || get("/"),
        )
        .await;
        assert_eq!((found, is_kept), (Ok((101, String::new())), false));
    }

    #[tokio::test]
    async fn what_breaks_the_rules_is_no_answer() {
        let length = |told: &str| format!("HTTP/1.1 200 X\r\ncontent-length: {told}\r\n\r\nok");
        let chunk =
            |body: &str| format!("HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n{body}");
        let long = "a".repeat(MAX_LINE_BYTES);
        let endless = "a: b\r\n".repeat(99) + &long.repeat(4);
        for answer in [
            length("2, 3"),
            length("2\r\ncontent-length: 3"),
            length("+2"),
            length("-1"),
            length(""),
            length("0x2"),
            length("18446744073709551616"),
            "HTTP/1.0 200 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            chunk("g\r\no"),
            chunk("\r\n"),
            chunk("2\r\nokay\r\n"),
            chunk("fffffffffffffffff\r\no"),
            chunk(&format!("1;{long}")),
            chunk("2;a\nb\r\nok\r\n0\r\n\r\n"),
            "\r\n".repeat(MAX_HEAD_BYTES),
            format!("HTTP/1.1 200 X\r\n{}: b\r\n\r\n", "a".repeat(64 << 10)),
            chunk(&format!("0\r\n{endless}")),
            chunk("0\r\nno trailer\r\n\r\n"),
            "HTTP/1.1 099 X\r\n\r\n".to_owned(),
            "HTTP/2 200\r\n\r\n".to_owned(),
            "HTTP/1.1 200 X\r\na b: c\r\n\r\n".to_owned(),
            "HTTP/1.1 200 X\r\na: b\r\n c\r\n\r\n".to_owned(),
            "hello\n".to_owned(),
        ] {
            let (found, is_kept) =
                exchanged(vec![answer.clone().into_bytes()], false, || get("/")).await;
            let (kind, message) = found.unwrap_err();
            assert_eq!(kind, ErrorKind::Protocol, "{message}: {answer:.80}");
            assert!(!is_kept, "{answer:.80}");
        }
    }

    #[test]
    fn a_head_that_comes_byte_by_byte_is_not_parsed_again_for_each() {
        for end in ["\r\n", "\n"] {
            let head = format!("HTTP/1.1 200 X{end}a: {}{end}", "b".repeat(6_000));
            let head = format!("{head}{end}");
            let mut search = Search::default();
            let looks: Vec<_> = (1..=head.len())
                .filter(|length| search.is_worth_it(&head.as_bytes()[..*length]))
                .collect();
            // At its beginning, and then only where it ends.
            assert_eq!(looks, [1, 2, 3, head.len()]);
        }
    }

    #[tokio::test]
    async fn an_answer_to_half_a_request_is_read_though_the_rest_can_t_be_sent() {
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = "HTTP/1.1 413 X\r\ncontent-length: 4\r\n\r\nmuch";
            stream.write_all(answer.as_bytes()).await.unwrap();
            // What was not read by now makes it a reset.
        });
        let upload = Request {
            method: Method::POST,
            body: Some("x".repeat(64 << 20).into()),
            ..get("/")
        };
        let found = exchange(&mut connection(&url), upload).await;
        assert_eq!(found, Ok((413, "much".to_owned())));
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_could_be_sent_goes_over_a_new_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (reset, was_reset) = std::sync::mpsc::channel();
        let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
        let server = std::thread::spawn(move || {
            let answer = |bytes: usize| {
                let (mut stream, _) = listener.accept().unwrap();
                assert!(stream.read(&mut vec![0; bytes]).unwrap() > 0);
                stream.write_all(OK.as_bytes()).unwrap();
                stream
            };
            let stream = answer(5);
            goes_on.recv().unwrap();
            // What was not read of the first request makes it a reset.
            drop(stream);
            reset.send(()).unwrap();
            answer(4096)
        });
        let mut connection = connection(&Url::parse(&url).unwrap());
        for _ in 0..2 {
            let found = exchange(&mut connection, get("/")).await;
            assert_eq!(found, Ok((200, "ok".to_owned())));
            // The thread is kept busy, so that the runtime doesn't hear of the end.
            let _ = go_on.send(());
            let _ = was_reset.recv();
        }
        server.join().unwrap();
    }
}
