//! An exchange over a general client, which serves TLS.

use std::error::Error as StdError;
use std::io;

use reqwest::{Client, Url, redirect};

use super::exchange::{Answer, Request};
use super::failure::{Failure, chain, kind, unconnected};
use crate::harness::engine::http::USER_AGENT;
use crate::harness::model::ErrorKind;

/// A client that keeps a connection for each of so many users.
pub(super) fn client(users: usize) -> Result<Client, reqwest::Error> {
    // goose switches reqwest's gzip feature on, so that has to be said too.
    Client::builder()
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_gzip()
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(users)
        .pool_idle_timeout(None)
        .user_agent(USER_AGENT)
        .build()
}

/// Sends the request and reads the answer to its end.
pub(super) async fn perform(
    client: &Client,
    origin: &Url,
    request: Request,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let mut url = origin.clone();
    url.set_path(request.path.path());
    url.set_query(request.path.query());
    let mut outgoing = reqwest::Request::new(request.method, url);
    *outgoing.headers_mut() = request.headers;
    *outgoing.body_mut() = request.body.map(Into::into);
    let mut response = client.execute(outgoing).await.map_err(failure)?;
    answer.status = Some(response.status().as_u16());
    answer.headers = std::mem::take(response.headers_mut());
    while let Some(part) = response.chunk().await.map_err(failure)? {
        answer.receive(&part, request.keep_body);
    }
    Ok(())
}

fn failure(error: reqwest::Error) -> Failure {
    let kind = if chain(&error).any(|cause| cause.is::<rustls::Error>())
        || (error.is_connect() && chain(&error).any(is_eof))
    {
        // Only a handshake can read to the end of the stream before there is a connection.
        ErrorKind::Tls
    } else if error.is_connect() {
        unconnected(&error)
    } else if error.is_timeout() {
        ErrorKind::Timeout
    } else {
        kind(&error)
    };
    Failure::new(kind, &error)
}

fn is_eof(cause: &(dyn StdError + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
}
