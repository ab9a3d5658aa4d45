//! An exchange: a request that is sent, an answer that is read to its end.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use hyper::body::{Body as _, Incoming};

use super::content::{decoded, is_encoded};
use super::failure::Failure;
use super::headers::Headers;
use super::http1::{Broken, Http1};
use super::target::{Purpose, Target};
use super::wire::Sender;
use crate::harness::engine::nanoseconds::nanoseconds;
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{HttpVersion, MAX_SEEN_BYTES, Reuse};

/// So much of a body is kept for checks, and so much at most of a message; more is counted, but a
/// step that has to look at it fails.
pub(super) const MAX_KEPT_BYTES: usize = MAX_SEEN_BYTES as usize;

/// A user's way to the target.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) target: Arc<Target>,
    /// The connection over which the next request goes. One of HTTP/1.1 is not here while it is used:
    /// an exchange that fails, or that nobody waits for any more, takes it along.
    idle: Option<Idle>,
    /// Whether the last exchange over it timed out before anything came back.
    is_suspect: bool,
}

/// An open connection that may be used again.
#[derive(Debug)]
enum Idle {
    One(Http1),
    Two(Sender),
}

/// How much of an answer's body is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None: nothing looks at it.
    #[default]
    Nothing,
    /// What its length has to be told from: all of it where it is compressed, else none.
    Length,
    /// All of it.
    All,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Where it goes on the target: there is no other place that it could go to.
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// How long the whole answer may take; of a stream, the head of it.
    pub(crate) timeout: Duration,
    pub(crate) keep: Keep,
}

/// What came back, as far as it came.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// `None` until the head of the answer has come.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Headers,
    /// The length of the body as it came over the wire.
    pub(crate) body_bytes: u64,
    pub(crate) timings: Timings,
    /// As it came over the wire, where it is kept.
    body: Vec<u8>,
    keep: Keep,
    is_kept: bool,
}

/// What the parts of an exchange took, in ns; `None` for those that it didn't need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timings {
    /// The resolution of a name.
    pub(crate) dns_ns: Option<u64>,
    /// From the first packet to an open connection, a proxy's consent included.
    pub(crate) connect_ns: Option<u64>,
    /// The TLS handshake.
    pub(crate) tls_ns: Option<u64>,
    /// From the send over an open connection to the head of the answer.
    pub(crate) first_byte_ns: Option<u64>,
}

impl Connection {
    /// Not connected yet.
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            idle: None,
            is_suspect: false,
        }
    }

    /// Sends the request and reads the answer to its end. `answer` holds what came even where the
    /// exchange failed.
    pub(crate) async fn exchange(
        &mut self,
        request: Request,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let timeout = request.timeout;
        let performed = {
            // In its place: to hand it on is to copy it, two kilobytes.
            let performing = pin!(self.perform(request, answer));
            within(timeout, "no whole answer", performing).await
        };
        if self.target.reuse == Reuse::Request {
            self.give_up();
        }
        self.suspect(&performed, answer);
        performed?;
        if answer.is_kept && answer.body_bytes > MAX_KEPT_BYTES as u64 {
            let message = format!(
                "the body has {} bytes; only {MAX_KEPT_BYTES} can be checked",
                answer.body_bytes
            );
            return Err(Failure::new(ErrorKind::Protocol, message));
        }
        Ok(())
    }

    /// Closes the connection where the next iteration is to have its own.
    pub(crate) fn end_iteration(&mut self) {
        if self.target.reuse != Reuse::User {
            self.give_up();
        }
    }

    /// Ends the connection that nothing is under way over.
    fn give_up(&mut self) {
        if let Some(Idle::One(idle)) = self.idle.take() {
            idle.end();
        }
    }

    /// Gives a connection of HTTP/2 up over which nothing came in two exchanges: all its packets may
    /// get lost without a word, and TCP takes a quarter of an hour to say so. One slow answer is no
    /// reason: only its stream is given up then.
    fn suspect(&mut self, performed: &Result<(), Failure>, answer: &Answer) {
        let is_timeout = |failure: &Failure| failure.kind == ErrorKind::Timeout;
        let is_silent = performed.as_ref().is_err_and(is_timeout) && answer.status.is_none();
        if is_silent && self.is_suspect {
            self.idle = None;
        }
        self.is_suspect = is_silent && self.idle.is_some();
    }

    async fn perform(&mut self, request: Request, answer: &mut Answer) -> Result<(), Failure> {
        answer.keep = request.keep;
        match self.target.version {
            HttpVersion::One => self.perform_one(request, answer).await,
            // Such a request carries more room with it.
            HttpVersion::Two => Box::pin(self.perform_two(request, answer)).await,
        }
    }

    async fn perform_one(&mut self, request: Request, answer: &mut Answer) -> Result<(), Failure> {
        loop {
            let idle = match self.idle.take() {
                Some(Idle::One(mut idle)) => match idle.is_fit().await {
                    true => Some(idle),
                    false => None,
                },
                _ => None,
            };
            let is_new = idle.is_none();
            let connection = match idle {
                Some(connection) => connection,
                // Few exchanges connect; in a box, the others don't carry the room for a handshake.
                None => {
                    let timings = &mut answer.timings;
                    let wire = Box::pin(self.target.open(Purpose::Exchange, timings));
                    Http1::new(wire.await?)
                }
            };
            let write = |head: &mut Vec<u8>| self.target.write_head(&request, head);
            let body = request.body.clone();
            let exchanged = connection.exchange(&request.method, write, body, answer);
            match exchanged.await {
                Ok(again) => self.idle = again.map(Idle::One),
                // A connection that had been idle came to its end just now. Over a new one, the request
                // is sent for the first time.
                Err(Broken {
                    is_unsent: true, ..
                }) if !is_new => continue,
                Err(broken) => return Err(broken.failure),
            }
            return Ok(());
        }
    }

    async fn perform_two(&mut self, request: Request, answer: &mut Answer) -> Result<(), Failure> {
        let mut outgoing = self.target.outgoing(Purpose::Exchange, request)?;
        let (sender, response) = loop {
            let idle = match self.idle.take() {
                Some(Idle::Two(idle)) => Some(idle).filter(Sender::is_ready),
                _ => None,
            };
            let is_new = idle.is_none();
            let mut sender = match idle {
                Some(sender) => sender,
                None => {
                    let timings = &mut answer.timings;
                    self.target.connect(Purpose::Exchange, timings).await?
                }
            };
            self.idle = sender.shared().map(Idle::Two);
            let sent = Instant::now();
            match sender.send(outgoing).await {
                Ok(response) => {
                    answer.timings.first_byte_ns = Some(since_ns(sent));
                    break (sender, response);
                }
                Err(unanswered) => match unanswered.unprocessed {
                    // A connection that had been idle came to its end just now. Over a new one, what
                    // the server has not processed is sent for the first time.
                    Some(request) if !is_new => {
                        self.idle = None;
                        outgoing = *request;
                    }
                    _ => return Err(Failure::broken(&unanswered.error)),
                },
            }
        };
        let (head, mut body) = response.into_parts();
        answer.begin(head.status.as_u16(), head.headers.into());
        while let Some(part) = next_part(&mut body).await? {
            answer.take(&part);
        }
        self.idle = Some(Idle::Two(sender));
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Answer {
    /// The head has come.
    pub(super) fn begin(&mut self, status: u16, headers: Headers) {
        self.status = Some(status);
        self.headers = headers;
        self.is_kept = match self.keep {
            Keep::Nothing => false,
            Keep::Length => is_encoded(&self.headers),
            Keep::All => true,
        };
    }

    /// A part of the body has come.
    pub(super) fn take(&mut self, part: &[u8]) {
        self.body_bytes += part.len() as u64;
        if self.is_kept && self.body_bytes <= MAX_KEPT_BYTES as u64 {
            self.body.extend_from_slice(part);
        }
    }

    /// The body where it was asked for, decompressed. That is the generator's work and no part of
    /// the exchange, so it belongs after the moment at which the exchange ended.
    pub(crate) fn take_body(&mut self) -> Result<Bytes, Failure> {
        decoded(&self.headers, &std::mem::take(&mut self.body).into())
    }

    /// The length of that body, which needs to be kept for this only where it is compressed.
    pub(crate) fn length(&self, body: &Bytes) -> u64 {
        match self.is_kept {
            true => body.len() as u64,
            false => self.body_bytes,
        }
    }
}

/// Waits so long for a result; `what` says what is missing without it.
pub(super) async fn within<T>(
    timeout: Duration,
    what: &str,
    performed: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(timeout, performed).await {
        Ok(result) => result,
        Err(_) => {
            let message = format!("{what} within {timeout:?}");
            Err(Failure::new(ErrorKind::Timeout, message))
        }
    }
}

/// The next part of a body; `None` at its end. Nothing is lost when it is not waited for to the end.
pub(super) async fn next_part(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        // Trailers are no part of the body.
        if let Ok(part) = frame.map_err(|error| Failure::broken(&error))?.into_data() {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// The time since then, in ns.
pub(super) fn since_ns(then: Instant) -> u64 {
    nanoseconds(then.elapsed())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use http::HeaderValue;
    use http::header::{ACCEPT, HOST, USER_AGENT};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use url::Url;

    use super::super::fixture::{OK, SILENCE, Server, exchange, exchange_or_why, get, listen, ok};
    use super::super::target::Transport;
    use super::*;
    use crate::harness::engine::http::USER_AGENT as PLIMSOLL;
    use crate::harness::scenario::{Encoding, HttpPlan};

    const CLOSE: &str = "HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    const OLD: &str = "HTTP/1.0 200 X\r\ncontent-length: 2\r\n\r\nok";
    const CHUNKS: &str = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\ntrailer: t\r\n\r\n\
                          1\r\no\r\n1\r\nk\r\n0\r\nt: 1\r\n\r\n";
    const BODILESS: &str = "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n";
    const EMPTY: &str = "HTTP/1.1 204 X\r\n\r\n";
    const CONTINUE: &str = "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok";
    const CUT: &str = "HTTP/1.1 200";
    const HALF: &str = "HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nok";
    const UNASKED: &str = "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nokmore";
    const GARBAGE: &str = "SSH-2.0-OpenSSH_9.2\r\n";
    const ENCODED: &str =
        "HTTP/1.1 200 X\r\ncontent-encoding: x-other\r\ncontent-length: 2\r\n\r\nok";
    const REDIRECT: &str = "HTTP/1.1 302 X\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nok";

    #[tokio::test]
    async fn a_connection_is_kept_as_long_as_it_is_fit() {
        async fn check(
            script: &'static [&'static [&'static str]],
            expected: &[(Result<&str, ErrorKind>, usize)],
        ) {
            let server = Server::start(script).await;
            let mut connection = server.connection();
            for (body, _) in expected {
                let mut request = get("/a?b=c");
                if *body == Err(ErrorKind::Timeout) {
                    request.timeout = Duration::from_millis(200);
                }
                let found = exchange(&mut connection, request).await;
                let expected = body.map(|body| (200, body.to_owned()));
                assert_eq!(found, expected, "{script:?}");
                // So that the end of a connection that the server closed is there to be seen.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let over: Vec<_> = expected.iter().map(|(_, over)| *over).collect();
            assert_eq!(server.connections(), over, "{script:?}");
        }
        let ok = Ok("ok");
        let closed = Err(ErrorKind::Closed);
        check(&[&[OK, OK, OK, OK]], &[(ok, 0), (ok, 0), (ok, 0)]).await;
        check(&[&[CHUNKS, CONTINUE, OK, OK]], &[(ok, 0), (ok, 0), (ok, 0)]).await;
        // The server says that it closes the connection; then it would still take a request.
        check(&[&[CLOSE, OK], &[OK, OK]], &[(ok, 0), (ok, 1)]).await;
        check(&[&[OLD, OK], &[OK, OK]], &[(ok, 0), (ok, 1)]).await;
        // It closes without a word.
        check(&[&[OK], &[OK], &[OK]], &[(ok, 0), (ok, 1), (ok, 2)]).await;
        // It closes when the request has come: that is not sent again, nor over a new connection.
        check(&[&[CUT], &[OK, OK]], &[(closed, 0), (ok, 1)]).await;
        check(&[&[OK, CUT], &[OK]], &[(ok, 0), (closed, 0), (ok, 1)]).await;
        // An answer that nobody waits for any more doesn't become that to another request.
        let timeout = Err(ErrorKind::Timeout);
        check(&[&[SILENCE], &[OK, OK]], &[(timeout, 0), (ok, 1)]).await;
        check(&[&[HALF, OK], &[OK, OK]], &[(timeout, 0), (ok, 1)]).await;
        check(&[&[UNASKED, OK], &[OK, OK]], &[(ok, 0), (ok, 1)]).await;
        // What is no HTTP.
        let protocol = Err(ErrorKind::Protocol);
        check(&[&[GARBAGE], &[OK, OK]], &[(protocol, 0), (ok, 1)]).await;
    }

    #[tokio::test]
    async fn a_connection_is_kept_as_long_as_the_plan_says() {
        async fn check(
            reuse: Reuse,
            script: &'static [&'static [&'static str]],
            expected: &[usize],
        ) {
            let server = Server::start(script).await;
            let http = HttpPlan {
                reuse,
                ..HttpPlan::default()
            };
            let mut connection = server.connection_by(&http);
            for _ in 0..2 {
                for _ in 0..2 {
                    let found = exchange(&mut connection, get("/")).await;
                    assert_eq!(found, ok("ok"), "{reuse:?}");
                }
                connection.end_iteration();
            }
            assert_eq!(server.connections(), expected, "{reuse:?}");
            let says_so = server.head(0).contains(&"connection: close".to_owned());
            assert_eq!(says_so, reuse == Reuse::Request);
        }
        const MANY: &[&str] = &[OK, OK, OK, OK, OK];
        const ALL: &[&[&str]] = &[MANY, MANY, MANY, MANY];
        check(Reuse::User, ALL, &[0, 0, 0, 0]).await;
        check(Reuse::Iteration, ALL, &[0, 0, 1, 1]).await;
        check(Reuse::Request, ALL, &[0, 1, 2, 3]).await;
    }

    #[tokio::test]
    async fn an_answer_without_a_body_ends_with_its_head() {
        let server = Server::start(&[&[BODILESS, EMPTY, OK, OK]]).await;
        let mut connection = server.connection();
        let head = Request {
            method: Method::HEAD,
            ..get("/")
        };
        assert_eq!(exchange(&mut connection, head).await, ok(""));
        let found = exchange(&mut connection, get("/")).await;
        assert_eq!(found, Ok((204, String::new())));
        assert_eq!(exchange(&mut connection, get("/")).await, ok("ok"));
        assert_eq!(server.connections(), [0, 0, 0]);
    }

    #[tokio::test]
    async fn an_answer_before_the_whole_request_costs_the_connection() {
        let server = Server::start(&[&[OK, SILENCE], &[OK, OK]]).await;
        let mut connection = server.connection();
        let upload = Request {
            method: Method::POST,
            // More than the sockets hold, and without a line's end the server reads none of it.
            body: Some("x".repeat(64 << 20).into()),
            ..get("/")
        };
        assert_eq!(exchange(&mut connection, upload).await, ok("ok"));
        assert_eq!(exchange(&mut connection, get("/")).await, ok("ok"));
        assert_eq!(server.connections(), [0, 1]);
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer() {
        let server = Server::start(&[&[REDIRECT, OK]]).await;
        let found = exchange(&mut server.connection(), get("/")).await;
        assert_eq!(found, Ok((302, "ok".to_owned())));
        assert_eq!(server.connections(), [0]);
    }

    #[tokio::test]
    async fn a_request_says_where_it_goes_and_who_sends_it() {
        let server = Server::start(&[&[OK, OK, OK], &[OK, OK]]).await;
        let mut connection = server.connection();
        let mut own = get("/a?b=c");
        for name in [HOST, USER_AGENT, ACCEPT] {
            own.headers.insert(name, HeaderValue::from_static("own"));
        }
        exchange(&mut connection, get("/a?b=c")).await.unwrap();
        exchange(&mut connection, own).await.unwrap();
        let http = HttpPlan {
            accept_encoding: vec![Encoding::Gzip, Encoding::Br, Encoding::Zstd],
            ..HttpPlan::default()
        };
        let mut connection = server.connection_by(&http);
        exchange(&mut connection, get("/a?b=c")).await.unwrap();
        let host = format!("host: 127.0.0.1:{}", server.url.port().unwrap());
        let agent = format!("user-agent: {PLIMSOLL}");
        let line = "GET /a?b=c HTTP/1.1";
        assert_eq!(server.head(0), [line, "accept: */*", &host, &agent]);
        let own = ["accept: own", "host: own", "user-agent: own"];
        assert_eq!(server.head(1), [line, own[0], own[1], own[2]]);
        let encoding = "accept-encoding: gzip, br, zstd";
        let expected = [line, encoding, "accept: */*", &host, &agent];
        assert_eq!(server.head(2), expected);
    }

    #[tokio::test]
    async fn each_part_of_an_exchange_is_timed_where_it_was_needed() {
        let (listener, mut url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = tokio::io::BufReader::new(stream);
            while super::super::fixture::head(&mut stream).await.is_some() {
                tokio::time::sleep(Duration::from_millis(30)).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        });
        url.set_host(Some("localhost")).unwrap();
        let http = HttpPlan::default();
        let mut connection = Transport::new(&url, &http, None).unwrap().connection();
        let (mut first, mut second) = (Answer::default(), Answer::default());
        connection.exchange(get("/"), &mut first).await.unwrap();
        connection.exchange(get("/"), &mut second).await.unwrap();
        let Timings {
            dns_ns: Some(_),
            connect_ns: Some(connect_ns),
            tls_ns: None,
            first_byte_ns: Some(first_byte_ns),
        } = first.timings
        else {
            panic!("{first:?}");
        };
        assert!(first_byte_ns >= 30_000_000, "{first:?}");
        assert!(connect_ns < first_byte_ns, "{first:?}");
        let expected = Timings {
            first_byte_ns: second.timings.first_byte_ns,
            ..Timings::default()
        };
        assert_eq!(second.timings, expected);
        assert!(second.timings.first_byte_ns.unwrap() >= 30_000_000);
    }

    #[tokio::test]
    async fn a_head_of_a_megabyte_is_refused() {
        async fn check(head: String) {
            let (listener, url) = listen("http").await;
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                // The client is gone before the end.
                let _ = stream.write_all(head.as_bytes()).await;
                std::future::pending::<()>().await;
            });
            let http = HttpPlan::default();
            let mut connection = Transport::new(&url, &http, None).unwrap().connection();
            let found = exchange(&mut connection, get("/")).await;
            assert_eq!(found, Err(ErrorKind::Protocol));
        }
        let end = "content-length: 2\r\n\r\nok";
        let large = "a".repeat(1 << 20);
        check(format!("HTTP/1.1 200 X\r\na: {large}\r\n{end}")).await;
        let many = "a: b\r\n".repeat(1000);
        check(format!("HTTP/1.1 200 X\r\n{many}{end}")).await;
    }

    #[tokio::test]
    async fn a_body_is_decompressed_only_where_it_is_looked_at() {
        let server = Server::start(&[&[ENCODED, ENCODED, OK]]).await;
        let mut connection = server.connection();
        let unseen = Request {
            keep: Keep::Nothing,
            ..get("/")
        };
        assert_eq!(exchange(&mut connection, unseen).await, ok(""));
        let (kind, message) = exchange_or_why(&mut connection, get("/"))
            .await
            .unwrap_err();
        assert_eq!(kind, ErrorKind::Protocol);
        assert!(message.contains("`x-other`"), "{message}");
        // The exchange was in order, and so is the connection.
        assert_eq!(exchange(&mut connection, get("/")).await, ok("ok"));
        assert_eq!(server.connections(), [0, 0, 0]);
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_to_be_kept_is_counted() {
        let (listener, url) = listen("http").await;
        let bytes = MAX_KEPT_BYTES + 1;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let head = format!("HTTP/1.1 200 X\r\ncontent-length: {bytes}\r\n\r\n");
            let mut stream = tokio::io::BufReader::new(stream);
            while super::super::fixture::head(&mut stream).await.is_some() {
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&vec![b'x'; bytes]).await.unwrap();
            }
        });
        let http = HttpPlan::default();
        let mut connection = Transport::new(&url, &http, None).unwrap().connection();
        let mut answer = Answer::default();
        let found = connection.exchange(get("/"), &mut answer).await;
        assert_eq!(found.unwrap_err().kind, ErrorKind::Protocol);
        assert_eq!(answer.body_bytes, bytes as u64);
        // Only its length is asked for.
        let sized = Request {
            keep: Keep::Length,
            ..get("/")
        };
        let mut answer = Answer::default();
        connection.exchange(sized, &mut answer).await.unwrap();
        let body = answer.take_body().unwrap();
        assert_eq!((body.len(), answer.length(&body)), (0, bytes as u64));
    }

    #[tokio::test]
    async fn the_length_of_a_compressed_body_is_that_of_what_it_says() {
        // `hello` by node's zlib.brotliCompressSync.
        const HELLO: &[u8] = b"\x0b\x02\x80hello\x03";
        const HEAD: &str = "HTTP/1.1 200 X\r\ncontent-encoding: br\r\ncontent-length: 9\r\n\r\n";
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = tokio::io::BufReader::new(stream);
            for answer in [&[HEAD.as_bytes(), HELLO].concat(), OK.as_bytes()] {
                super::super::fixture::head(&mut stream).await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
            std::future::pending::<()>().await;
        });
        let http = HttpPlan::default();
        let mut connection = Transport::new(&url, &http, None).unwrap().connection();
        for length in [5, 2] {
            let sized = Request {
                keep: Keep::Length,
                ..get("/")
            };
            let mut answer = Answer::default();
            connection.exchange(sized, &mut answer).await.unwrap();
            let body = answer.take_body().unwrap();
            assert_eq!(answer.length(&body), length);
        }
    }

    #[tokio::test]
    async fn who_is_not_there_is_not_connected() {
        async fn check(url: &str, expected: &str) {
            let url = Url::parse(url).unwrap();
            let http = HttpPlan::default();
            let mut connection = Transport::new(&url, &http, None).unwrap().connection();
            let found = exchange_or_why(&mut connection, get("/")).await;
            let (kind, message) = found.unwrap_err();
            assert_eq!(kind, ErrorKind::Connect, "{message}");
            assert!(message.contains(expected), "{message}");
        }
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        check(&format!("http://127.0.0.1:{port}"), "Connection refused").await;
        // RFC 6761: a name that nobody has. Longer than any name may be, no server is asked.
        let name = "a".repeat(64);
        check(&format!("http://{name}.invalid"), &name).await;
    }
}
