//! An open connection, and what hyper does over it: HTTP/2, and the requests that open streams.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::failure::is_unprocessed;
use crate::harness::scenario::HttpVersion;

/// The head of an answer may have so many bytes, several times what servers allow.
pub(super) const MAX_HEAD_BYTES: usize = 128 << 10;

/// A request as it goes over the wire.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// An open connection.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secured(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Secured(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secured(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secured(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// What sends requests over a connection. The connection ends with the last of its senders.
#[derive(Debug)]
pub(super) enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) error: hyper::Error,
    /// The request, where it was not sent or where the server says that it did not process it.
    pub(super) unprocessed: Option<Box<Outgoing>>,
}

impl Sender {
    /// Has both sides agree on a connection of that version.
    pub(super) async fn new(wire: Wire, version: HttpVersion) -> hyper::Result<Self> {
        match version {
            HttpVersion::One => one(wire).await,
            HttpVersion::Two => two(wire).await,
        }
    }

    /// Whether a request can be sent at once.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_ready(),
            Self::Two(sender) => sender.is_ready(),
        }
    }

    /// A second sender, where an exchange that fails leaves the connection as it is.
    pub(super) fn shared(&self) -> Option<Self> {
        match self {
            Self::One(_) => None,
            Self::Two(sender) => Some(Self::Two(sender.clone())),
        }
    }

    /// Sends the request and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Outgoing,
    ) -> Result<Response<Incoming>, Unanswered> {
        match self {
            // What hyper gives back was not sent.
            Self::One(sender) => {
                let sent = sender.try_send_request(request).await;
                sent.map_err(|error| Unanswered::new(error, None))
            }
            // hyper keeps what the server says that it did not process.
            Self::Two(sender) => {
                let copy = Box::new(request.clone());
                let sent = sender.try_send_request(request).await;
                sent.map_err(|error| Unanswered::new(error, Some(copy)))
            }
        }
    }
}

impl Unanswered {
    fn new(mut error: TrySendError<Outgoing>, copy: Option<Box<Outgoing>>) -> Self {
        let unsent = error.take_message().map(Box::new);
        Self {
            unprocessed: unsent.or_else(|| copy.filter(|_| is_unprocessed(error.error()))),
            error: error.into_error(),
        }
    }
}

async fn one(wire: Wire) -> hyper::Result<Sender> {
    let (sender, driver) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(wire))
        .await?;
    // How it ends, whoever waits for an answer is told.
    tokio::spawn(driver.with_upgrades());
    Ok(Sender::One(sender))
}

async fn two(wire: Wire) -> hyper::Result<Sender> {
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .handshake(TokioIo::new(wire))
        .await?;
    tokio::spawn(driver);
    Ok(Sender::Two(sender))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use http::{HeaderValue, Method};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::exchange::Request as Outline;
    use super::super::fixture::{
        OK, Server, answer_h2, exchange, exchange_or_why, get, http2, listen, ok,
    };
    use super::super::target::Transport;
    use super::*;
    use crate::harness::model::ErrorKind;

    /// What a server of HTTP/2 does when a request has come.
    #[derive(Debug, Clone, Copy)]
    enum Deed {
        Answer,
        Silence,
        /// A GOAWAY that names the last stream which was or may be processed, and its reason.
        GoAway(u32, u32),
        /// The same after the answer.
        AnswerAndGoAway(u32),
        /// RST_STREAM with its reason.
        Reset(u32),
        Close,
    }
    use Deed::{Answer, AnswerAndGoAway, Close, GoAway, Reset, Silence};

    // RFC 9113, sections 6 and 7.
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const ACK: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    const NO_ERROR: u32 = 0;
    const INTERNAL_ERROR: u32 = 2;
    const REFUSED_STREAM: u32 = 7;
    const ENHANCE_YOUR_CALM: u32 = 11;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    impl Deed {
        fn frames(self, stream: u32) -> Vec<u8> {
            let go_away = |last: u32, reason: u32| {
                let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
                frame(GOAWAY, 0, 0, &payload)
            };
            // `:status: 200` of HPACK's static table.
            let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
            let body = frame(DATA, END_STREAM, stream, b"ok");
            match self {
                Answer => [head, body].concat(),
                Silence | Close => Vec::new(),
                GoAway(last, reason) => go_away(last, reason),
                AnswerAndGoAway(last) => [head, body, go_away(last, NO_ERROR)].concat(),
                Reset(reason) => frame(RST_STREAM, 0, stream, &reason.to_be_bytes()),
            }
        }
    }

    /// Performs the deeds, then closes.
    async fn perform(mut stream: TcpStream, deeds: &[Deed], seen: impl Fn()) {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        let settings = frame(SETTINGS, 0, 0, &[]);
        stream.write_all(&settings).await.unwrap();
        let mut deeds = deeds.iter();
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let answer = match (head[3], head[4] & ACK) {
                (SETTINGS, 0) => frame(SETTINGS, ACK, 0, &[]),
                (PING, 0) => frame(PING, ACK, 0, &payload),
                (HEADERS, _) => {
                    seen();
                    match deeds.next() {
                        None | Some(Close) => return,
                        Some(deed) => deed.frames(number),
                    }
                }
                _ => continue,
            };
            stream.write_all(&answer).await.unwrap();
            if matches!(head[3], HEADERS) && deeds.as_slice().is_empty() {
                // Long enough for what was written to be read before the end is.
                tokio::time::sleep(Duration::from_millis(50)).await;
                return;
            }
        }
    }

    #[tokio::test]
    async fn only_what_was_certainly_not_processed_is_sent_again() {
        async fn check(
            script: &'static [&'static [Deed]],
            expected: &[Result<&str, ErrorKind>],
            requests_over: &[usize],
        ) {
            let (listener, url) = listen("http").await;
            let seen = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&seen);
            tokio::spawn(async move {
                for (number, deeds) in script.iter().enumerate() {
                    let (stream, _) = listener.accept().await.unwrap();
                    let log = Arc::clone(&log);
                    tokio::spawn(perform(stream, deeds, move || {
                        log.lock().unwrap().push(number);
                    }));
                }
            });
            let transport = Transport::new(&url, &http2(), None).unwrap();
            let mut connection = transport.connection();
            for expected in expected {
                let mut request = get("/");
                if *expected == Err(ErrorKind::Timeout) {
                    request.timeout = Duration::from_millis(200);
                }
                let found = exchange(&mut connection, request).await;
                let expected = expected.map(|body| (200, body.to_owned()));
                assert_eq!(found, expected, "{script:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert_eq!(*seen.lock().unwrap(), requests_over, "{script:?}");
        }
        let ok = Ok("ok");
        let closed = Err(ErrorKind::Closed);
        check(&[&[Answer, Answer, Silence]], &[ok, ok], &[0, 0]).await;
        // The server says good-bye between two requests.
        check(
            &[&[AnswerAndGoAway(1), Silence], &[Answer, Silence]],
            &[ok, ok],
            &[0, 1],
        )
        .await;
        // It says of a request that came that it was not processed, whatever the reason is.
        const CALM: &[Deed] = &[Answer, GoAway(1, ENHANCE_YOUR_CALM)];
        check(
            &[&[Answer, GoAway(1, NO_ERROR)], &[Answer]],
            &[ok, ok],
            &[0, 0, 1],
        )
        .await;
        check(&[CALM, &[Answer]], &[ok, ok], &[0, 0, 1]).await;
        check(
            &[&[Answer, Reset(REFUSED_STREAM)], &[Answer]],
            &[ok, ok],
            &[0, 0, 1],
        )
        .await;
        // It may have been.
        let once_more = [ok, closed, ok];
        check(
            &[&[Answer, GoAway(3, NO_ERROR)], &[Answer]],
            &once_more,
            &[0, 0, 1],
        )
        .await;
        check(
            &[&[Answer, GoAway(3, INTERNAL_ERROR)], &[Answer]],
            &once_more,
            &[0, 0, 1],
        )
        .await;
        check(&[&[Answer, Close], &[Answer]], &once_more, &[0, 0, 1]).await;
        // A server that processes nothing is not asked for ever.
        check(&[&[GoAway(0, NO_ERROR)], &[Answer]], &[closed, ok], &[0, 1]).await;
        check(
            &[&[Reset(REFUSED_STREAM), Answer, Silence]],
            &[closed, ok],
            &[0, 0],
        )
        .await;
        // One stream that fails leaves the connection as it is.
        const ONE_FAILS: &[Deed] = &[Answer, Reset(INTERNAL_ERROR), Answer, Silence];
        check(&[ONE_FAILS], &once_more, &[0, 0, 0]).await;
        let timeout = Err(ErrorKind::Timeout);
        check(
            &[&[Answer, Silence, Answer, Silence]],
            &[ok, timeout, ok],
            &[0, 0, 0],
        )
        .await;
        // Nothing comes any more, and no end either.
        check(
            &[&[Answer, Silence, Silence, Silence], &[Answer, Silence]],
            &[ok, timeout, timeout, ok],
            &[0, 0, 0, 1],
        )
        .await;
        check(
            &[&[Silence, Answer, Silence, Answer, Silence]],
            &[timeout, ok, timeout, ok],
            &[0, 0, 0, 0],
        )
        .await;
    }

    #[tokio::test]
    async fn a_server_that_ends_its_connections_in_good_order_gets_each_request_once() {
        let (listener, url) = listen("http").await;
        let connections = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock().unwrap() += 1;
                tokio::spawn(answer_h2(stream, 3));
            }
        });
        let mut connection = Transport::new(&url, &http2(), None).unwrap().connection();
        for body in ["", "a", "b", "c", "d", "e", "f", "g", "h"] {
            let upload = Outline {
                method: Method::POST,
                body: Some(body.into()),
                ..get("/path")
            };
            let found = exchange(&mut connection, upload).await;
            assert_eq!(found, ok(&format!("/path{body}")));
        }
        let connections = *connections.lock().unwrap();
        assert!((3..9).contains(&connections), "{connections}");
    }

    #[tokio::test]
    async fn a_server_that_ends_its_connection_at_once_has_failed() {
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let _asked = connection.accept().await;
            connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
            let _ = connection.accept().await;
        });
        let mut connection = Transport::new(&url, &http2(), None).unwrap().connection();
        let found = exchange(&mut connection, get("/")).await;
        assert_eq!(found, Err(ErrorKind::Closed));
    }

    #[tokio::test]
    async fn a_large_body_comes_whole() {
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            answer_h2(stream, usize::MAX).await;
        });
        let mut connection = Transport::new(&url, &http2(), None).unwrap().connection();
        let body = "0123456789".repeat(1_000_000);
        let upload = Outline {
            method: Method::POST,
            body: Some(body.clone().into()),
            ..get("/")
        };
        let found = exchange(&mut connection, upload).await;
        assert!(found == ok(&format!("/{body}")));
    }

    #[tokio::test]
    async fn a_head_of_a_megabyte_is_refused() {
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut response = Response::new(());
                let large = HeaderValue::try_from("a".repeat(1 << 20)).unwrap();
                response.headers_mut().insert("a", large);
                let _ = respond.send_response(response, true);
            }
        });
        let mut connection = Transport::new(&url, &http2(), None).unwrap().connection();
        let found = exchange_or_why(&mut connection, get("/")).await;
        let (kind, message) = found.unwrap_err();
        assert_eq!(kind, ErrorKind::Protocol, "{message}");
    }

    #[tokio::test]
    async fn a_server_of_the_other_version_is_told_from_one_that_fails() {
        let server = Server::start(&[&[OK]]).await;
        let transport = Transport::new(&server.url, &http2(), None).unwrap();
        let found = exchange_or_why(&mut transport.connection(), get("/")).await;
        let (kind, message) = found.unwrap_err();
        assert_eq!(kind, ErrorKind::Protocol, "{message}");
        assert!(message.contains("HTTP/2"), "{message}");

        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let settings = frame(SETTINGS, 0, 0, &[]);
            stream.write_all(&settings).await.unwrap();
            std::future::pending::<()>().await;
        });
        let http = crate::harness::scenario::HttpPlan::default();
        let mut connection = Transport::new(&url, &http, None).unwrap().connection();
        let found = exchange(&mut connection, get("/")).await;
        assert_eq!(found, Err(ErrorKind::Protocol));
    }
}
