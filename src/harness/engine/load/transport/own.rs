//! An exchange over an HTTP/1.1 connection that one user owns.
//!
//! The connection is driven by the task that waits for the answer, so that no other task has to be
//! woken on the way from the socket to the clock.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};

use hyper::Uri;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use url::{Position, Url};

use super::exchange::{self, Answer, Request};
use super::failure::{Failure, kind};
use crate::harness::model::ErrorKind;

/// A server that is reached without TLS.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// A name, or an address without brackets.
    host: Arc<str>,
    port: u16,
    /// Sent where a step doesn't say otherwise.
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

/// The connection of one user: there is none before the first exchange and where the last one left
/// it unfit for another.
#[derive(Debug)]
pub(crate) struct OwnConnection {
    target: Target,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<String>,
    /// `None` when the connection is at its end.
    driver: Option<http1::Connection<TokioIo<TcpStream>, String>>,
}

impl Target {
    /// The server of that origin; `None` where it wants TLS.
    pub(super) fn plain(origin: &Url) -> Option<Self> {
        let host = origin.host_str().filter(|_| origin.scheme() == "http")?;
        let authority = &origin[Position::BeforeHost..Position::AfterPort];
        let headers = [
            (ACCEPT, HeaderValue::from_static("*/*")),
            (USER_AGENT, HeaderValue::from_static(exchange::USER_AGENT)),
            (HOST, HeaderValue::from_str(authority).ok()?),
        ];
        Some(Self {
            host: host.trim_matches(['[', ']']).into(),
            port: origin.port_or_known_default()?,
            headers: headers.into(),
        })
    }

    /// The request as it goes over the wire.
    fn outgoing(&self, request: Request) -> Result<hyper::Request<String>, Failure> {
        let path = &request.url[Position::BeforePath..Position::AfterQuery];
        let uri = Uri::try_from(path).map_err(|error| Failure::new(ErrorKind::Protocol, &error))?;
        let mut outgoing = hyper::Request::new(request.body.unwrap_or_default());
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = self.completed(request.headers);
        Ok(outgoing)
    }

    fn completed(&self, mut headers: HeaderMap) -> HeaderMap {
        for (name, value) in &*self.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        headers
    }
}

impl OwnConnection {
    /// Not connected yet.
    pub(super) fn new(target: Target) -> Self {
        Self { target, open: None }
    }

    /// Sends the request and reads the answer to its end. What was sent is never sent again. Call
    /// [`close`](Self::close) where this failed or was given up.
    pub(super) async fn perform(
        &mut self,
        request: Request,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let keep_body = request.keep_body;
        let outgoing = self.target.outgoing(request)?;
        // The server may have closed the connection while nothing was sent over it.
        if !self.open.as_mut().is_some_and(Open::is_fit) {
            self.close();
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::connect(&self.target).await?),
        };
        open.exchange(outgoing, answer, keep_body)
            .await
            .map_err(|error| Failure::new(kind(&error), &error))?;
        // The server may have said that it closes the connection.
        if !open.sender.is_ready() {
            self.close();
        }
        Ok(())
    }

    /// The next exchange makes a new connection.
    pub(super) fn close(&mut self) {
        self.open = None;
    }
}

impl Open {
    async fn connect(target: &Target) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(ErrorKind::Connect, &error);
        let stream = TcpStream::connect((&*target.host, target.port))
            .await
            .map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::new(ErrorKind::Connect, &error))?;
        Ok(Self {
            sender,
            driver: Some(driver),
        })
    }

    /// Whether another request can be sent, as far as is known on this side.
    fn is_fit(&mut self) -> bool {
        // Nobody waits, so nobody is to be woken.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }

    async fn exchange(
        &mut self,
        request: hyper::Request<String>,
        answer: &mut Answer,
        keep_body: bool,
    ) -> hyper::Result<()> {
        let response = self.sender.send_request(request);
        let received = async {
            let (head, mut body) = response.await?.into_parts();
            answer.status = Some(head.status.as_u16());
            answer.headers = head.headers;
            while let Some(part) = next_part(&mut body).await? {
                answer.receive(&part, keep_body);
            }
            Ok(())
        };
        // What is received comes from the driver alone, so it is enough that the driver wakes this
        // task; if both did, every answer would wake it a second time, when it is no longer waiting.
        // Without a waker of its own, the one that receives must not be held back by tokio either.
        let mut received = pin!(unconstrained(received));
        poll_fn(|context| {
            self.drive(context);
            received
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Does what can be done at the moment. How the connection ended, whoever waits is told.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(context).is_ready()
        {
            self.driver = None;
        }
    }
}

/// The next part of the body; `None` at its end.
async fn next_part(body: &mut Incoming) -> hyper::Result<Option<bytes::Bytes>> {
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            // Trailers are no part of the body.
            Some(frame) => {
                if let Ok(part) = frame?.into_data() {
                    return Ok(Some(part));
                }
            }
            None => return Ok(None),
        }
    }
}
