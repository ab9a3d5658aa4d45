//! What is sent and what comes back, whichever client does it.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Url};

use super::failure::Failure;
use super::own::{OwnConnection, Target};
use super::pooled;
use crate::harness::model::ErrorKind;

/// So much of a body is kept for checks; more is counted, but a step that has to look at it fails.
const MAX_KEPT_BODY_BYTES: usize = 16 << 20;

/// How the users of a worker reach the target. What is measured is the server, one exchange at a
/// time: nothing is followed, retried, decompressed or sent through a proxy of the environment.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Over a connection that each user owns.
    Own(Target),
    /// Over connections that all users share.
    Pooled(Client),
}

/// A user's way to the target.
#[derive(Debug)]
pub(crate) enum Connection {
    /// Not shared with anybody.
    Own(OwnConnection),
    /// Whichever the client has.
    Pooled(Client),
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<String>,
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
    pub(crate) body: Vec<u8>,
    /// The length of the body as it came over the wire.
    pub(crate) body_bytes: u64,
}

impl Transport {
    /// The way to the server of that origin for so many users.
    pub(crate) fn new(origin: &Url, users: usize) -> Result<Self, reqwest::Error> {
        match Target::plain(origin) {
            Some(target) => Ok(Self::Own(target)),
            None => Ok(Self::Pooled(pooled::client(users)?)),
        }
    }

    /// The way of one user. Nothing is connected yet: that belongs to the first exchange.
    pub(crate) fn connection(&self) -> Connection {
        match self {
            Self::Own(target) => Connection::Own(OwnConnection::new(target.clone())),
            Self::Pooled(client) => Connection::Pooled(client.clone()),
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
                Self::Pooled(client) => pooled::perform(client, request, answer).await,
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
}

impl Answer {
    /// Takes the next part of the body.
    pub(super) fn receive(&mut self, part: &[u8], keep: bool) {
        self.body_bytes += part.len() as u64;
        if keep && self.body_bytes <= MAX_KEPT_BODY_BYTES as u64 {
            self.body.extend_from_slice(part);
        }
    }
}
