//! Servers with known answers, and what the tests of this module send to them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use url::Url;

use super::exchange::{Answer, Connection, Keep, Request};
use super::target::Transport;
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{HttpPlan, HttpVersion};

pub(super) const OK: &str = "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok";
/// Nothing more, while the connection stays open.
pub(super) const SILENCE: &str = "";

/// A server of HTTP/1.1 whose connections each give the answers of a script, then close.
pub(super) struct Server {
    pub(super) url: Url,
    seen: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Server {
    pub(super) async fn start(script: &'static [&'static [&'static str]]) -> Self {
        let (listener, url) = listen("http").await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            for (number, answers) in script.iter().enumerate() {
                let (stream, _) = listener.accept().await.unwrap();
                let log = Arc::clone(&log);
                tokio::spawn(answer(stream, answers, move |head| {
                    log.lock().unwrap().push((number, head));
                }));
            }
        });
        Self { url, seen }
    }

    pub(super) fn connection(&self) -> Connection {
        self.connection_by(&HttpPlan::default())
    }

    pub(super) fn connection_by(&self, http: &HttpPlan) -> Connection {
        Transport::new(&self.url, http, None).unwrap().connection()
    }

    /// The connections over which requests came.
    pub(super) fn connections(&self) -> Vec<usize> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(connection, _)| *connection).collect()
    }

    /// What the head of a request said, its lines after the first in order.
    pub(super) fn head(&self, request: usize) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let head = &seen[request].1;
        let mut lines: Vec<_> = head.trim_end().lines().map(str::to_owned).collect();
        lines[1..].sort();
        lines
    }
}

/// A free port, and the URL that leads there.
pub(super) async fn listen(scheme: &str) -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    (listener, Url::parse(&url).unwrap())
}

/// Gives one answer after the other, each to the next head of a request.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    answers: &[&str],
    seen: impl Fn(String),
) {
    let mut stream = BufReader::new(stream);
    for answer in answers {
        let Some(head) = head(&mut stream).await else {
            return;
        };
        seen(head);
        if *answer == SILENCE {
            std::future::pending::<()>().await;
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// The next head of a request; `None` at the end of the connection.
pub(super) async fn head<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(head)
}

/// Answers requests of HTTP/2 with their path and body, so many over this connection.
pub(super) async fn answer_h2<S: AsyncRead + AsyncWrite + Unpin>(stream: S, requests: usize) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut answered = 0;
    while let Some(Ok((mut request, mut respond))) = connection.accept().await {
        answered += 1;
        if answered == requests {
            connection.graceful_shutdown();
        }
        // The connection moves on only while it is asked for the next request.
        tokio::spawn(async move {
            let mut said = request.uri().path().to_owned();
            while let Some(Ok(part)) = request.body_mut().data().await {
                let _ = request
                    .body_mut()
                    .flow_control()
                    .release_capacity(part.len());
                said.push_str(std::str::from_utf8(&part).unwrap());
            }
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from(said), true).unwrap();
        });
    }
}

pub(super) fn http2() -> HttpPlan {
    HttpPlan {
        version: HttpVersion::Two,
        ..HttpPlan::default()
    }
}

pub(super) fn get(path: &'static str) -> Request {
    Request {
        method: Method::GET,
        path: http::uri::PathAndQuery::from_static(path),
        headers: HeaderMap::new(),
        body: None,
        timeout: Duration::from_secs(10),
        keep: Keep::All,
    }
}

/// What came back, or the kind of the failure.
pub(super) async fn exchange(
    connection: &mut Connection,
    request: Request,
) -> Result<(u16, String), ErrorKind> {
    let answered = exchange_or_why(connection, request).await;
    answered.map_err(|(kind, _)| kind)
}

/// What came back, or the kind of the failure with its message.
pub(super) async fn exchange_or_why(
    connection: &mut Connection,
    request: Request,
) -> Result<(u16, String), (ErrorKind, String)> {
    let mut answer = Answer::default();
    let exchanged = connection.exchange(request, &mut answer).await;
    let body = exchanged.and_then(|()| answer.take_body());
    let body = body.map_err(|failure| (failure.kind, failure.message))?;
    let body = String::from_utf8(body.to_vec()).unwrap();
    Ok((answer.status.unwrap(), body))
}

/// Such an answer.
pub(super) fn ok(body: &str) -> Result<(u16, String), ErrorKind> {
    Ok((200, body.to_owned()))
}
