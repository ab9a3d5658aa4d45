//! The server that every request goes to, and what each of them says unless its step says otherwise.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHORIZATION, SEC_WEBSOCKET_VERSION, USER_AGENT,
};
use http::uri::{self, Authority, Scheme, Uri};
use http_body_util::Full;
use url::{Position, Url};

use super::super::files::FileError;
use super::dial::{Dial, Place};
use super::exchange::{Connection, Request, Timings};
use super::failure::Failure;
use super::proxy::Proxy;
use super::tls::Tls;
use super::wire::{Outgoing, Sender, Wire};
use crate::harness::engine::http::USER_AGENT as PLIMSOLL;
use crate::harness::model::ErrorKind;
use crate::harness::scenario::{Encoding, HttpPlan, HttpVersion, Reuse};

/// Why the way to the target could not be prepared. No message holds a proxy's password.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// It is not the URL of a server.
    #[error("the target is not the http or https URL of a server")]
    Target,
    /// It is not the URL of a proxy.
    #[error(
        "the proxy is not `http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`; correct `proxy` in [http]"
    )]
    Proxy,
    /// A file could not be read, or is another than the one that was checked.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds nothing of what it was named for.
    #[error("{path} holds no {what} in PEM form: {error}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What was found wrong.
        error: String,
    },
    /// A certificate or a key can't be used.
    #[error("{path} can't be used: {error}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::Error,
    },
    /// No name that a certificate could be for.
    #[error("`{0}` is no name of a server; correct `server_name` in [http]")]
    ServerName(String),
    /// Nobody is trusted.
    #[error(
        "this machine has no certificates of authorities; install them (package ca-certificates), or name \
         the authority of the target as `ca` in [http]"
    )]
    NoAuthorities,
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// How the users of a worker reach the target.
#[derive(Debug)]
pub(crate) struct Transport(Arc<Target>);

/// What all connections to the target have in common.
#[derive(Debug)]
pub(super) struct Target {
    dial: Dial,
    pub(super) version: HttpVersion,
    /// How long a connection is kept.
    pub(super) reuse: Reuse,
    scheme: Scheme,
    authority: Authority,
    /// Whether a proxy makes connections through itself, of which it sees nothing.
    is_tunnelled: bool,
    /// Whether a request says scheme and authority: to a proxy that reads it, and in HTTP/2.
    is_absolute: bool,
    /// What each kind of request says unless the step says otherwise.
    for_exchanges: HeaderMap,
    /// The same as lines.
    lines_for_exchanges: Lines,
    for_events: HeaderMap,
    for_web_sockets: HeaderMap,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Requests and their answers.
    Exchange,
    /// One request, whose answer is a stream of events.
    Events,
    /// One request that makes it a WebSocket: HTTP/1.1 through a tunnel, whatever the others are.
    WebSocket,
}

impl Transport {
    /// The way to the server of `origin`. `proxy` is the plan's, filled with values. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// Where a file can't be read or used, or an address is none.
    pub(crate) fn new(
        origin: &Url,
        http: &HttpPlan,
        proxy: Option<&str>,
    ) -> Result<Self, TransportError> {
        Ok(Self(Arc::new(Target::new(origin, http, proxy)?)))
    }

    /// The way of one user. Connecting belongs to the first exchange.
    pub(crate) fn connection(&self) -> Connection {
        Connection::new(Arc::clone(&self.0))
    }
}

impl Target {
    fn new(origin: &Url, http: &HttpPlan, proxy: Option<&str>) -> Result<Self, TransportError> {
        let place = Place::of(origin).ok_or(TransportError::Target)?;
        let (scheme, tls) = match origin.scheme() {
            "http" => (Scheme::HTTP, None),
            "https" => (Scheme::HTTPS, Some(Tls::new(&http.tls, origin)?)),
            _ => return Err(TransportError::Target),
        };
        let authority = &origin[Position::BeforeHost..Position::AfterPort];
        let authority = Authority::try_from(authority).map_err(|_| TransportError::Target)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| TransportError::Target)?;
        let proxy = proxy.map(|proxy| Proxy::new(proxy, origin)).transpose()?;
        let is_tunnelled = proxy.is_some() && (tls.is_some() || http.version == HttpVersion::Two);
        let is_read_by_proxy = proxy.is_some() && !is_tunnelled;

        let mut common = HeaderMap::new();
        common.insert(ACCEPT, HeaderValue::from_static("*/*"));
        common.insert(USER_AGENT, HeaderValue::from_static(PLIMSOLL));
        let mut for_web_sockets = common.clone();
        for_web_sockets.insert(HOST, host.clone());
        for_web_sockets.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if http.version == HttpVersion::One {
            common.insert(HOST, host);
        }
        if let Some(proxy) = proxy.as_ref().filter(|_| is_read_by_proxy)
            && let Some(authorization) = &proxy.authorization
        {
            common.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let mut for_events = common.clone();
        for_events.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let mut for_exchanges = common;
        if let Some(accepted) = accepted(&http.accept_encoding) {
            for_exchanges.insert(ACCEPT_ENCODING, accepted);
        }
        // The server closes such a connection first, so that none of the generator's ports waits
        // for stray packets afterwards (TIME_WAIT).
        if http.version == HttpVersion::One && http.reuse == Reuse::Request {
            for_exchanges.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(Self {
            dial: Dial { place, proxy, tls },
            version: http.version,
            reuse: http.reuse,
            scheme,
            authority,
            is_tunnelled,
            is_absolute: is_read_by_proxy || http.version == HttpVersion::Two,
            lines_for_exchanges: Lines::of(&for_exchanges),
            for_exchanges,
            for_events,
            for_web_sockets,
        })
    }

    /// A new connection of hyper's. What drives it is a task of its own, which ends with it.
    pub(super) async fn connect(
        &self,
        purpose: Purpose,
        timings: &mut Timings,
    ) -> Result<Sender, Failure> {
        let wire = self.open(purpose, timings).await?;
        let greeted = Sender::new(wire, self.version_for(purpose)).await;
        greeted.map_err(|error| Failure::broken(&error))
    }

    /// A new connection that nothing was sent over.
    pub(super) async fn open(
        &self,
        purpose: Purpose,
        timings: &mut Timings,
    ) -> Result<Wire, Failure> {
        let through_tunnel = self.is_tunnelled || purpose == Purpose::WebSocket;
        let version = self.version_for(purpose);
        self.dial.open(through_tunnel, version, timings).await
    }

    fn version_for(&self, purpose: Purpose) -> HttpVersion {
        match purpose {
            Purpose::WebSocket => HttpVersion::One,
            Purpose::Exchange | Purpose::Events => self.version,
        }
    }

    /// The request as it goes over the wire.
    pub(super) fn outgoing(&self, purpose: Purpose, request: Request) -> Result<Outgoing, Failure> {
        let mut headers = request.headers;
        let is_absolute = self.is_absolute && purpose != Purpose::WebSocket;
        let uri = if is_absolute {
            let mut parts = uri::Parts::default();
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.named_authority(&mut headers)?);
            parts.path_and_query = Some(request.path);
            Uri::from_parts(parts).map_err(|error| Failure::of(ErrorKind::Template, &error))?
        } else {
            Uri::from(request.path)
        };
        let defaults = match purpose {
            Purpose::Exchange => &self.for_exchanges,
            Purpose::Events => &self.for_events,
            Purpose::WebSocket => &self.for_web_sockets,
        };
        if headers.is_empty() {
            headers = defaults.clone();
        } else {
            for (name, value) in defaults {
                headers.entry(name).or_insert_with(|| value.clone());
            }
        }
        let mut outgoing = Outgoing::new(Full::new(request.body.unwrap_or_default()));
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = headers;
        Ok(outgoing)
    }

    /// Appends the head of a request of HTTP/1.1 as it goes over the wire (RFC 9112, section 2.1).
    pub(super) fn write_head(&self, request: &Request, head: &mut Vec<u8>) {
        head.extend_from_slice(request.method.as_str().as_bytes());
        head.push(b' ');
        if self.is_absolute {
            head.extend_from_slice(self.scheme.as_str().as_bytes());
            head.extend_from_slice(b"://");
            head.extend_from_slice(self.authority.as_str().as_bytes());
        }
        head.extend_from_slice(request.path.as_str().as_bytes());
        head.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in &request.headers {
            write_line(head, name, value);
        }
        if request.headers.is_empty() {
            head.extend_from_slice(&self.lines_for_exchanges.0);
        } else {
            for (name, value) in &self.for_exchanges {
                if !request.headers.contains_key(name) {
                    write_line(head, name, value);
                }
            }
        }
        // Of an empty body the request says by itself what is to be said.
        let length = request.body.as_ref().map_or(0, Bytes::len);
        if length > 0 {
            write_line(head, &CONTENT_LENGTH, &HeaderValue::from(length));
        }
        head.extend_from_slice(b"\r\n");
    }

    /// What the request calls the server. In HTTP/2 a step that sets the `host` header means that.
    /// A proxy would take it for the place to go to, which is the target and nothing else.
    fn named_authority(&self, headers: &mut HeaderMap) -> Result<Authority, Failure> {
        if self.version == HttpVersion::Two
            && let Some(host) = headers.remove(HOST)
        {
            return Authority::try_from(host.as_bytes())
                .map_err(|_| Failure::new(ErrorKind::Template, "the host header names no host"));
        }
        Ok(self.authority.clone())
    }
}

/// Headers as lines of a head. They may hold a proxy's password, and so are never printed.
struct Lines(Vec<u8>);

impl Lines {
    fn of(headers: &HeaderMap) -> Self {
        let mut lines = Vec::new();
        for (name, value) in headers {
            write_line(&mut lines, name, value);
        }
        Self(lines)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lines").finish_non_exhaustive()
    }
}

fn write_line(head: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    head.extend_from_slice(name.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_bytes());
    head.extend_from_slice(b"\r\n");
}

/// What the server may compress answers with.
fn accepted(encodings: &[Encoding]) -> Option<HeaderValue> {
    let names: Vec<_> = encodings
        .iter()
        .map(|encoding| match encoding {
            Encoding::Gzip => "gzip",
            Encoding::Br => "br",
            Encoding::Zstd => "zstd",
        })
        .collect();
    HeaderValue::try_from(names.join(", "))
        .ok()
        .filter(|accepted| !accepted.is_empty())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::super::fixture::get;
    use super::*;

    fn outgoing(url: &str, change: impl FnOnce(&mut HttpPlan), purpose: Purpose) -> Outgoing {
        let mut http = HttpPlan::default();
        http.tls.insecure = true;
        change(&mut http);
        let proxy = http.proxy.take().map(|_| "http://u:p@127.0.0.1:3128");
        let target = Target::new(&Url::parse(url).unwrap(), &http, proxy).unwrap();
        asked(&target, purpose, get("/a?b=c"))
    }

    /// The request as it goes over the wire, also where that is written as text.
    fn asked(target: &Target, purpose: Purpose, request: Request) -> Outgoing {
        if (purpose, target.version) != (Purpose::Exchange, HttpVersion::One) {
            return target.outgoing(purpose, request).unwrap();
        }
        let mut head = Vec::new();
        target.write_head(&request, &mut head);
        let mut headers = [httparse::EMPTY_HEADER; 20];
        let mut read = httparse::Request::new(&mut headers);
        assert_eq!(
            read.parse(&head),
            Ok(httparse::Status::Complete(head.len()))
        );
        let mut outgoing = http::Request::builder()
            .method(read.method.unwrap())
            .uri(read.path.unwrap());
        for header in read.headers {
            outgoing = outgoing.header(header.name, header.value);
        }
        outgoing.body(Full::default()).unwrap()
    }

    #[test]
    fn a_request_says_as_much_of_its_url_as_the_next_hop_needs() {
        let version = |version| move |http: &mut HttpPlan| http.version = version;
        let by_proxy = |version| {
            move |http: &mut HttpPlan| {
                http.version = version;
                http.proxy = Some(crate::harness::scenario::Template::literal(""));
            }
        };
        use HttpVersion::{One, Two};
        use Purpose::{Events, Exchange, WebSocket};
        let check = |outgoing: Outgoing, uri: &str, host: Option<&str>, asks_proxy: bool| {
            assert_eq!(outgoing.uri().to_string(), uri);
            let headers = outgoing.headers();
            let found = headers.get(HOST).map(|host| host.to_str().unwrap());
            assert_eq!(found, host, "{uri}");
            assert_eq!(
                headers.contains_key(PROXY_AUTHORIZATION),
                asks_proxy,
                "{uri}"
            );
        };
        let (plain, secured) = ("http://u:p@a.example:81/b", "https://[::1]/");
        let (path, whole) = ("/a?b=c", "http://a.example:81/a?b=c");
        let host = Some("a.example:81");
        check(outgoing(plain, version(One), Exchange), path, host, false);
        check(outgoing(plain, version(One), WebSocket), path, host, false);
        check(outgoing(plain, version(Two), Exchange), whole, None, false);
        check(outgoing(plain, version(Two), WebSocket), path, host, false);
        check(outgoing(plain, by_proxy(One), Exchange), whole, host, true);
        check(outgoing(plain, by_proxy(One), Events), whole, host, true);
        // Through a tunnel nothing is the proxy's business.
        check(outgoing(plain, by_proxy(One), WebSocket), path, host, false);
        check(outgoing(plain, by_proxy(Two), Exchange), whole, None, false);
        let (path, whole) = ("/a?b=c", "https://[::1]/a?b=c");
        check(
            outgoing(secured, by_proxy(One), Exchange),
            path,
            Some("[::1]"),
            false,
        );
        check(outgoing(secured, by_proxy(Two), Events), whole, None, false);
    }

    #[test]
    fn a_host_header_changes_what_the_server_is_called_and_no_more() {
        let check = |version, proxy: Option<&str>, uri: &str, host: Option<&str>| {
            let http = HttpPlan {
                version,
                ..HttpPlan::default()
            };
            let url = Url::parse("http://a.example").unwrap();
            let target = Target::new(&url, &http, proxy).unwrap();
            let mut request = get("/a");
            let other = HeaderValue::from_static("other.example");
            request.headers.insert(HOST, other);
            let outgoing = asked(&target, Purpose::Exchange, request);
            assert_eq!(outgoing.uri().to_string(), uri);
            let found = outgoing.headers().get_all(HOST).iter();
            let found: Vec<_> = found.map(|host| host.to_str().unwrap()).collect();
            assert_eq!(found, host.into_iter().collect::<Vec<_>>());
        };
        let other = Some("other.example");
        check(HttpVersion::One, None, "/a", other);
        let proxy = Some("http://127.0.0.1:3128");
        check(HttpVersion::One, proxy, "http://a.example/a", other);
        check(HttpVersion::Two, None, "http://other.example/a", None);
    }

    #[test]
    fn a_target_is_the_http_or_https_url_of_a_server() {
        let check = |url: &str, is_target: bool| {
            let target = Target::new(&Url::parse(url).unwrap(), &HttpPlan::default(), None);
            assert_eq!(target.is_ok(), is_target, "{url}");
        };
        check("http://a.example/b", true);
        check("ftp://a.example/", false);
        check("file:///a", false);
        check("mailto:a@b.example", false);
    }
}
