//! A stream of messages that a user opens: a WebSocket, or server-sent events.

use std::time::Instant;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::events::Events;
use super::exchange::{Answer, Connection, Request, since_ns, within};
use super::failure::Failure;
use super::target::{Purpose, Target};
use super::websocket::WebSocket;
use super::wire::{Outgoing, Sender};
use crate::harness::model::ErrorKind;
use crate::harness::scenario::StreamKind;

/// An open stream. It has a connection of its own, which ends with it: the user's other requests
/// don't wait for its end.
#[derive(Debug)]
pub(crate) enum Stream {
    WebSocket(WebSocket),
    Events(Events),
}

/// What came over a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The name of a server-sent event, `message` where it has none; `None` of a WebSocket.
    pub(crate) event: Option<String>,
    /// Of a message that is no text, whatever of it is.
    pub(crate) text: String,
}

impl Connection {
    /// Opens a stream. `answer` holds the head of what came back, even where the server refused.
    pub(crate) async fn open(
        &mut self,
        kind: StreamKind,
        request: Request,
        answer: &mut Answer,
    ) -> Result<Stream, Failure> {
        let timeout = request.timeout;
        let target = &self.target;
        let opened = async {
            match kind {
                StreamKind::WebSocket => web_socket(target, request, answer).await,
                StreamKind::Events => events(target, request, answer).await,
            }
        };
        // In a box, as every user would carry the room for it.
        within(timeout, "no answer", Box::pin(opened)).await
    }
}

impl Stream {
    /// Sends a text message over a WebSocket.
    pub(crate) async fn send(&mut self, text: String) -> Result<(), Failure> {
        match self {
            Self::WebSocket(socket) => socket.send(text).await,
            Self::Events(_) => Err(Failure::new(
                ErrorKind::Protocol,
                "nothing can be sent over a stream of events",
            )),
        }
    }

    /// The next message, which may have come some time ago; `None` where the server has ended the
    /// stream. Nothing is lost when it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        match self {
            Self::WebSocket(socket) => socket.next().await,
            Self::Events(events) => events.next().await,
        }
    }

    /// Ends the stream. A server that doesn't answer is not waited for long.
    pub(crate) async fn close(self) {
        if let Self::WebSocket(socket) = self {
            socket.close().await;
        }
    }
}

/// A WebSocket (RFC 6455, section 4.1).
async fn web_socket(
    target: &Target,
    request: Request,
    answer: &mut Answer,
) -> Result<Stream, Failure> {
    let timeout = request.timeout;
    let mut outgoing = target.outgoing(Purpose::WebSocket, request)?;
    let key = generate_key();
    let expected = derive_accept_key(key.as_bytes());
    let key = HeaderValue::try_from(key);
    let key = key.map_err(|error| Failure::of(ErrorKind::Template, &error))?;
    let headers = outgoing.headers_mut();
    headers.insert(SEC_WEBSOCKET_KEY, key);
    // Not of the step, or it would be no WebSocket.
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));

    let (_sender, response) = ask(target, Purpose::WebSocket, outgoing, answer).await?;
    accepted(answer, StatusCode::SWITCHING_PROTOCOLS)?;
    let is_web_socket = token(&answer.headers, &UPGRADE) == "websocket"
        && answer
            .headers
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|accept| accept.as_bytes() == expected.as_bytes());
    if !is_web_socket {
        let message = "the server switched to another protocol than WebSocket";
        return Err(Failure::new(ErrorKind::Protocol, message));
    }
    let upgraded = hyper::upgrade::on(response).await;
    let upgraded = upgraded.map_err(|error| Failure::broken(&error))?;
    Ok(Stream::WebSocket(WebSocket::new(upgraded, timeout).await))
}

/// Server-sent events (WHATWG HTML, section 9.2).
async fn events(target: &Target, request: Request, answer: &mut Answer) -> Result<Stream, Failure> {
    let outgoing = target.outgoing(Purpose::Events, request)?;
    let (sender, response) = ask(target, Purpose::Events, outgoing, answer).await?;
    accepted(answer, StatusCode::OK)?;
    let media_type = token(&answer.headers, &CONTENT_TYPE);
    if media_type != "text/event-stream" {
        let message =
            format!("the server answered with `{media_type}`, not with `text/event-stream`");
        return Err(Failure::new(ErrorKind::Protocol, message));
    }
    let encoding = token(&answer.headers, &CONTENT_ENCODING);
    if !matches!(encoding.as_str(), "" | "identity") {
        let message = format!("the events have the encoding `{encoding}`, which was not asked for");
        return Err(Failure::new(ErrorKind::Protocol, message));
    }
    Ok(Stream::Events(Events::new(response.into_body(), sender)))
}

/// The head of the answer to a request over a new connection.
async fn ask(
    target: &Target,
    purpose: Purpose,
    outgoing: Outgoing,
    answer: &mut Answer,
) -> Result<(Sender, http::Response<Incoming>), Failure> {
    let mut sender = target.connect(purpose, &mut answer.timings).await?;
    let sent = Instant::now();
    let response = sender.send(outgoing).await;
    let mut response = response.map_err(|unanswered| Failure::broken(&unanswered.error))?;
    answer.timings.first_byte_ns = Some(since_ns(sent));
    answer.status = Some(response.status().as_u16());
    answer.headers = std::mem::take(response.headers_mut()).into();
    Ok((sender, response))
}

fn accepted(answer: &Answer, expected: StatusCode) -> Result<(), Failure> {
    match answer.status {
        Some(status) if status == expected.as_u16() => Ok(()),
        status => {
            let status = status.unwrap_or_default();
            let message = format!("the server answered {status}, which opens no stream");
            Err(Failure::new(ErrorKind::Status, message))
        }
    }
}

/// What a header says before its parameters, in small letters; empty where there is none.
fn token(headers: &HeaderMap, name: &http::HeaderName) -> String {
    let value = headers.get(name).map(HeaderValue::as_bytes);
    let value = String::from_utf8_lossy(value.unwrap_or_default());
    let token = value.split(';').next().unwrap_or_default();
    token.trim().to_ascii_lowercase()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::time::Duration;

    use super::super::fixture::{OK, SILENCE, Server, exchange, get, http2, listen, ok};
    use super::super::target::Transport;
    use super::*;
    use crate::harness::scenario::HttpPlan;

    const EVENTS: &str = "HTTP/1.1 200 X\r\ncontent-type: Text/Event-Stream; charset=utf-8\r\n\
                          transfer-encoding: chunked\r\n\r\n\
                          12\r\nevent: tick\ndata: \r\n11\r\n1\n\ndata: 2\n\ndata:\r\n";
    const END: &str = "0\r\n\r\n";

    async fn open(
        connection: &mut Connection,
        kind: StreamKind,
    ) -> (Result<Stream, (ErrorKind, String)>, Answer) {
        let mut answer = Answer::default();
        let opened = connection.open(kind, get("/live?a"), &mut answer).await;
        let opened = opened.map_err(|failure| (failure.kind, failure.message));
        (opened, answer)
    }

    fn event(name: &str, text: &str) -> Message {
        Message {
            event: Some(name.to_owned()),
            text: text.to_owned(),
        }
    }

    #[tokio::test]
    async fn events_come_over_a_connection_of_their_own() {
        let server = Server::start(&[&[OK, OK, OK], &[EVENTS, SILENCE], &[OK]]).await;
        let mut connection = server.connection();
        assert_eq!(exchange(&mut connection, get("/")).await, ok("ok"));
        let (opened, answer) = open(&mut connection, StreamKind::Events).await;
        let mut stream = opened.unwrap();
        assert_eq!(answer.status, Some(200));
        assert!(answer.timings.connect_ns.is_some() && answer.timings.first_byte_ns.is_some());
        assert_eq!(stream.next().await.unwrap(), Some(event("tick", "1")));
        assert_eq!(exchange(&mut connection, get("/")).await, ok("ok"));
        assert_eq!(stream.next().await.unwrap(), Some(event("message", "2")));
        // The third has only begun.
        let third = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
        assert!(third.is_err());
        assert!(stream.send("x".to_owned()).await.is_err());
        stream.close().await;
        assert_eq!(exchange(&mut connection, get("/")).await, ok("ok"));
        assert_eq!(server.connections(), [0, 1, 0, 0]);
        let head = server.head(1);
        assert_eq!(head[0], "GET /live?a HTTP/1.1");
        assert_eq!(head[1], "accept: text/event-stream");
    }

    #[tokio::test]
    async fn the_end_of_events_is_told_from_a_cut() {
        async fn rest(end: &'static str) -> Result<Option<Message>, ErrorKind> {
            let (listener, url) = listen("http").await;
            tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = format!("{EVENTS}{end}");
                super::super::fixture::answer(stream, &[&answer], |_| {}).await;
            });
            let transport = Transport::new(&url, &HttpPlan::default(), None).unwrap();
            let (opened, _) = open(&mut transport.connection(), StreamKind::Events).await;
            let mut stream = opened.unwrap();
            stream.next().await.unwrap();
            stream.next().await.unwrap();
            stream.next().await.map_err(|failure| failure.kind)
        }
        assert_eq!(rest(END).await, Ok(None));
        assert_eq!(rest("").await, Err(ErrorKind::Closed));
    }

    #[tokio::test]
    async fn a_server_may_refuse_a_stream() {
        async fn check(answer: &'static str, kind: StreamKind, expected: ErrorKind, message: &str) {
            let answers = &*Vec::leak(vec![answer]);
            let server = Server::start(Vec::leak(vec![answers])).await;
            let (opened, answer) = open(&mut server.connection(), kind).await;
            let (found, said) = opened.unwrap_err();
            assert_eq!(found, expected, "{said}");
            assert!(said.contains(message), "{said}");
            let has_answered = expected != ErrorKind::Closed;
            assert_eq!(answer.status.is_some(), has_answered);
        }
        use ErrorKind::{Closed, Protocol, Status};
        use StreamKind::{Events, WebSocket};
        const NOT_FOUND: &str = "HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n";
        const NO_CONTENT: &str = "HTTP/1.1 204 X\r\n\r\n";
        const ZIPPED: &str = "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\n\
                              content-encoding: gzip\r\ncontent-length: 0\r\n\r\n";
        const KEYLESS: &str = "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        const OTHER: &str = "HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n";
        check(NOT_FOUND, Events, Status, "404").await;
        check(NO_CONTENT, Events, Status, "204").await;
        check(OK, Events, Protocol, "not with `text/event-stream`").await;
        check(ZIPPED, Events, Protocol, "`gzip`").await;
        check("HTTP/1.1", Events, Closed, "").await;
        check(NOT_FOUND, WebSocket, Status, "404").await;
        check(OK, WebSocket, Status, "200").await;
        check(KEYLESS, WebSocket, Protocol, "another protocol").await;
        check(OTHER, WebSocket, Protocol, "another protocol").await;
    }

    #[tokio::test]
    async fn a_server_that_doesn_t_answer_is_not_waited_for() {
        let server = Server::start(&[&[SILENCE]]).await;
        let mut answer = Answer::default();
        let request = Request {
            timeout: Duration::from_millis(50),
            ..get("/")
        };
        let mut connection = server.connection();
        let opened = connection
            .open(StreamKind::Events, request, &mut answer)
            .await;
        assert_eq!(opened.unwrap_err().kind, ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn events_come_over_http2_as_well() {
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut response = http::Response::new(());
                let media_type = HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert(CONTENT_TYPE, media_type);
                let mut body = respond.send_response(response, false).unwrap();
                body.send_data("data: a\n\n".into(), true).unwrap();
            }
        });
        let transport = Transport::new(&url, &http2(), None).unwrap();
        let (opened, _) = open(&mut transport.connection(), StreamKind::Events).await;
        let mut stream = opened.unwrap();
        assert_eq!(stream.next().await.unwrap(), Some(event("message", "a")));
        assert_eq!(stream.next().await.unwrap(), None);
    }
}
