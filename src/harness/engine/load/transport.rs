//! One HTTP exchange, to the last byte of the body. The only file that knows which client does it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url, redirect};

use crate::harness::model::ErrorKind;

/// So much of a body is kept for checks; more is counted, but a step that has to look at it fails.
const MAX_KEPT_BODY_BYTES: usize = 16 << 20;

/// Sends requests over connections that are kept alive and shared by all users.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
    pub(super) timeout: Duration,
    /// Whether the answer's body is looked at.
    pub(super) keep_body: bool,
}

/// What came back, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// `None` until the head of the answer has come.
    pub(super) status: Option<u16>,
    pub(super) headers: HeaderMap,
    /// The body, where it was asked for and is not too large.
    pub(super) body: Vec<u8>,
    /// The length of the body as it came over the wire.
    pub(super) body_bytes: u64,
}

/// Why the exchange failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    /// May hold hostile text.
    pub(super) message: String,
}

impl Transport {
    /// A client for so many users.
    pub(super) fn new(users: usize) -> Result<Self, reqwest::Error> {
        // What is measured is the server, one exchange at a time: nothing is followed, retried,
        // decompressed or sent through a proxy of the environment. goose switches reqwest's gzip
        // feature on, so that has to be said too.
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_gzip()
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(users)
            .pool_idle_timeout(None)
            .user_agent(concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client })
    }

    /// Sends the request and reads the answer to its end. `answer` holds what came even where the
    /// exchange failed.
    pub(super) async fn exchange(
        &self,
        request: Request,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let timeout = request.timeout;
        match tokio::time::timeout(timeout, self.perform(request, answer)).await {
            Ok(result) => result,
            Err(_) => Err(Failure {
                kind: ErrorKind::Timeout,
                message: format!("no whole answer within {timeout:?}"),
            }),
        }
    }

    async fn perform(&self, request: Request, answer: &mut Answer) -> Result<(), Failure> {
        let keep_body = request.keep_body;
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        *outgoing.headers_mut() = request.headers;
        *outgoing.body_mut() = request.body.map(Into::into);
        let mut response = self
            .client
            .execute(outgoing)
            .await
            .map_err(|error| failure(&error))?;
        answer.status = Some(response.status().as_u16());
        answer.headers = std::mem::take(response.headers_mut());
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            answer.body_bytes += chunk.len() as u64;
            if keep_body && answer.body_bytes <= MAX_KEPT_BODY_BYTES as u64 {
                answer.body.extend_from_slice(&chunk);
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
}

fn failure(error: &reqwest::Error) -> Failure {
    // The innermost error says what happened ("Connection refused"); the outer ones say where, with
    // the URL in it, which may hold secrets.
    let innermost = chain(error).last().map(ToString::to_string);
    Failure {
        kind: kind(error),
        message: innermost.unwrap_or_else(|| error.to_string()),
    }
}

fn kind(error: &reqwest::Error) -> ErrorKind {
    if chain(error).any(|cause| cause.is::<rustls::Error>())
        || (error.is_connect() && chain(error).any(is_eof))
    {
        // Only a handshake can read to the end of the stream before there is a connection.
        ErrorKind::Tls
    } else if error.is_connect() {
        ErrorKind::Connect
    } else if error.is_timeout() {
        ErrorKind::Timeout
    } else if chain(error).any(is_closed) {
        ErrorKind::Closed
    } else {
        ErrorKind::Protocol
    }
}

fn is_closed(cause: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::NotConnected
                | io::ErrorKind::UnexpectedEof
        );
    }
    cause.downcast_ref::<hyper::Error>().is_some_and(|error| {
        error.is_incomplete_message() || error.is_closed() || error.is_canceled()
    })
}

fn is_eof(cause: &(dyn StdError + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}

/// The causes below `error`, outermost first. An `io::Error` hides what it wraps from `source`.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| {
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => cause.source(),
        }
    })
}
