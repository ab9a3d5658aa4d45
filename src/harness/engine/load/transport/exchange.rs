//! What is sent and what comes back, whichever client does it.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url};

use super::failure::Failure;
use super::own::{OwnConnection, Target};
use super::pooled;
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{HttpPlan, StreamKind};

/// So much of a body is kept for checks; more is counted, but a step that has to look at it fails.
const MAX_KEPT_BODY_BYTES: usize = 16 << 20;

/// How the users of a worker reach the target. What is measured is the server, one exchange at a
/// time: nothing is followed, retried, decompressed or sent through a proxy of the environment.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Over a connection that each user owns.
    Own(Target),
    /// Over connections that all users share.
    Pooled(Client, Url),
}

/// Why there is no way to the target.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No client could be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// A user's way to the target.
#[derive(Debug)]
pub(crate) enum Connection {
    /// Not shared with anybody.
    Own(OwnConnection),
    /// Whichever the client has.
    Pooled(Client, Url),
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query as they go over the wire; never a URL, so that nothing can lead elsewhere.
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) timeout: Duration,
    /// Whether the answer's body is looked at.
    pub(crate) keep_body: bool,
}

/// What came back, as far as it came.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// `None` until the head of the answer has come.
    pub(crate) status: Option<u16>,
    pub(crate) headers: HeaderMap,
    /// The body, where it was asked for and is not too large.
    body: Vec<u8>,
    /// The length of the body as it came over the wire.
    pub(crate) body_bytes: u64,
    /// How long what belongs to the exchange took.
    pub(crate) timings: Timings,
}

/// How long what belongs to an exchange took, in ns; `None` for what it did not need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timings {
    pub(crate) dns_ns: Option<u64>,
    pub(crate) connect_ns: Option<u64>,
    pub(crate) tls_ns: Option<u64>,
    /// From the actual send to the first byte of the answer.
    pub(crate) first_byte_ns: Option<u64>,
}

/// A stream that is open.
#[derive(Debug)]
pub(crate) struct Stream(Infallible);

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// The event's name, of server-sent events.
    pub(crate) event: Option<String>,
    pub(crate) text: String,
}

impl Stream {
    /// Sends a text message.
    pub(crate) async fn send(&mut self, _text: String) -> Result<(), Failure> {
        match self.0 {}
    }

    /// The next message; `None` where the server closed the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Failure> {
        match self.0 {}
    }

    /// Closes it.
    pub(crate) async fn close(self) {
        match self.0 {}
    }
}

impl Transport {
    /// The way to the server of that origin.
    pub(crate) fn new(
        origin: &Url,
        _http: &HttpPlan,
        _proxy: Option<&str>,
    ) -> Result<Self, TransportError> {
        match Target::plain(origin) {
            Some(target) => Ok(Self::Own(target)),
            None => Ok(Self::Pooled(pooled::client(usize::MAX)?, origin.clone())),
        }
    }

    /// The way of one user. Nothing is connected yet: that belongs to the first exchange.
    pub(crate) fn connection(&self) -> Connection {
        match self {
            Self::Own(target) => Connection::Own(OwnConnection::new(target.clone())),
            Self::Pooled(client, origin) => Connection::Pooled(client.clone(), origin.clone()),
        }
    }
}

impl Connection {
    /// Sends the request and reads the answer to its end. `answer` holds what came even where the
    /// exchange failed.
    pub(crate) async fn exchange(
        &mut self,
        request: Request,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let (timeout, keep_body) = (request.timeout, request.keep_body);
        let performed = async {
            match self {
                Self::Own(connection) => connection.perform(request, answer).await,
                Self::Pooled(client, origin) => {
                    pooled::perform(client, origin, request, answer).await
                }
            }
        };
        match tokio::time::timeout(timeout, performed).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(Failure {
                    kind: ErrorKind::Timeout,
                    message: format!("no whole answer within {timeout:?}"),
                });
            }
        }
        if keep_body && answer.body_bytes > MAX_KEPT_BODY_BYTES as u64 {
            return Err(Failure {
                kind: ErrorKind::Protocol,
                message: format!(
                    "the body has {} bytes; only {MAX_KEPT_BODY_BYTES} can be checked",
                    answer.body_bytes
                ),
            });
        }
        Ok(())
    }

    /// Opens a stream.
    pub(crate) async fn open(
        &mut self,
        kind: StreamKind,
        _request: Request,
        _answer: &mut Answer,
    ) -> Result<Stream, Failure> {
        Err(Failure {
            kind: ErrorKind::Protocol,
            message: format!("no {kind:?} yet"),
        })
    }

    /// Closes what is not kept for the next iteration.
    pub(crate) fn end_iteration(&mut self) {}
}

impl Answer {
    /// The body where it was asked for.
    pub(crate) fn body(&self) -> Result<Bytes, Failure> {
        Ok(Bytes::copy_from_slice(&self.body))
    }

    /// Takes the next part of the body.
    pub(super) fn receive(&mut self, part: &[u8], keep: bool) {
        self.body_bytes += part.len() as u64;
        if keep && self.body_bytes <= MAX_KEPT_BODY_BYTES as u64 {
            self.body.extend_from_slice(part);
        }
    }
}
