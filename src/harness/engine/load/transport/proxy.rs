//! A proxy between the generator and the target.

use std::fmt::Write as _;

use http::HeaderValue;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use super::dial::Place;
use super::failure::Failure;
use super::target::TransportError;
use crate::harness::engine::http::{USER_AGENT, basic};
use crate::harness::model::ErrorKind;

/// A longer answer to the wish for a tunnel is refused.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// As many lines may its head have.
const MAX_HEADERS: usize = 64;

/// A proxy that speaks plain HTTP.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) place: Place,
    /// What it is told about who wants through; marked as sensitive, so it is never printed.
    pub(super) authorization: Option<HeaderValue>,
    /// Where tunnels lead: host and port of the target.
    target: String,
}

impl Proxy {
    /// The proxy of that URL before the server of `origin`.
    pub(super) fn new(url: &str, origin: &Url) -> Result<Self, TransportError> {
        let url = Url::parse(url).map_err(|_| TransportError::Proxy)?;
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !is_bare {
            return Err(TransportError::Proxy);
        }
        let host = origin.host_str().ok_or(TransportError::Target)?;
        let port = origin.port_or_known_default();
        Ok(Self {
            place: Place::of(&url).ok_or(TransportError::Proxy)?,
            authorization: authorization(&url),
            target: format!("{host}:{}", port.ok_or(TransportError::Target)?),
        })
    }

    /// Has the proxy connect the stream with the target (RFC 9110, section 9.3.6).
    pub(super) async fn tunnel(&self, stream: &mut TcpStream) -> Result<(), Failure> {
        let mut request = String::new();
        let target = &self.target;
        let _ = write!(
            request,
            "CONNECT {target} HTTP/1.1\r\nhost: {target}\r\nuser-agent: {USER_AGENT}\r\n"
        );
        if let Some(Ok(authorization)) = self.authorization.as_ref().map(HeaderValue::to_str) {
            let _ = write!(request, "proxy-authorization: {authorization}\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.map_err(broken)?;

        let head = read_head(stream).await?;
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(&head);
        match answer.code {
            Some(200..=299) if parsed.is_ok() => Ok(()),
            Some(code) if parsed.is_ok() => Err(Failure::new(
                ErrorKind::Connect,
                match code {
                    407 => "it wants user and password, or others; correct `proxy` in [http]"
                        .to_owned(),
                    code => format!("it answered {code} to CONNECT {target}"),
                },
            )),
            _ => Err(Failure::new(
                ErrorKind::Protocol,
                format!("what it answered to CONNECT {target} is not HTTP"),
            )),
        }
    }
}

/// The head of the answer, and not a byte of what the target says after it: a server that speaks
/// first may have said it already.
async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, Failure> {
    const END: &[u8] = b"\r\n\r\n";
    let mut head = Vec::new();
    let mut part = [0; 1024];
    loop {
        let seen = stream.peek(&mut part).await.map_err(broken)?;
        if seen == 0 {
            let message = "it closed the connection before it had answered";
            return Err(Failure::new(ErrorKind::Connect, message));
        }
        let before = head.len();
        head.extend_from_slice(&part[..seen]);
        // The end may have begun in the part before.
        let from = before.saturating_sub(END.len() - 1);
        let end = head[from..]
            .windows(END.len())
            .position(|window| window == END)
            .map(|at| from + at + END.len());
        head.truncate(end.unwrap_or(head.len()));
        let taken = head.len() - before;
        stream
            .read_exact(&mut part[..taken])
            .await
            .map_err(broken)?;
        if end.is_some() {
            return Ok(head);
        }
        if head.len() > MAX_HEAD_BYTES {
            let message = format!("the head of its answer has more than {MAX_HEAD_BYTES} bytes");
            return Err(Failure::new(ErrorKind::Protocol, message));
        }
    }
}

/// The connection with the proxy broke before there was a tunnel.
fn broken(error: std::io::Error) -> Failure {
    Failure::of(ErrorKind::Connect, &error)
}

/// Basic authentication with the user and the password of a URL.
fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text| percent_decode_str(text).collect::<Vec<u8>>();
    let password = url.password().unwrap_or_default();
    Some(basic(&decoded(url.username()), &decoded(password)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{BufReader, copy_bidirectional};
    use tokio::net::TcpListener;

    use super::super::fixture::{
        OK, Server, answer_h2, exchange, exchange_or_why, get, head, http2, listen, ok,
    };
    use super::super::target::Transport;
    use super::*;
    use crate::harness::scenario::HttpPlan;

    const CREDENTIALS: &str = "Basic dTo6cEA6Yg=="; // printf 'u::p@:b' | base64

    /// A proxy that leads every tunnel to one place, whatever it is asked for. Gives its URL, with
    /// user and password, and what it was asked.
    async fn proxy_to(target: &Url) -> (String, Arc<Mutex<Vec<String>>>) {
        let (listener, url) = listen("http").await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let target = (
            target.host_str().unwrap().to_owned(),
            target.port().unwrap(),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream = BufReader::new(stream);
                let head = head(&mut stream).await.unwrap();
                log.lock().unwrap().push(head);
                let mut target = TcpStream::connect((target.0.as_str(), target.1))
                    .await
                    .unwrap();
                let agreed = "HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n";
                stream.write_all(agreed.as_bytes()).await.unwrap();
                tokio::spawn(async move {
                    let _ = copy_bidirectional(&mut stream, &mut target).await;
                });
            }
        });
        let port = url.port().unwrap();
        (format!("http://u:%3ap%40%3Ab@127.0.0.1:{port}"), asked)
    }

    #[tokio::test]
    async fn a_plain_request_is_read_by_the_proxy() {
        let proxy = Server::start(&[&[OK, OK]]).await;
        let url = proxy
            .url
            .as_str()
            .replace("http://", "http://u:%3ap%40%3Ab@");
        // Nobody but the proxy would know where that is.
        let target = Url::parse("http://target.invalid:81").unwrap();
        let transport = Transport::new(&target, &HttpPlan::default(), Some(&url)).unwrap();
        let mut connection = transport.connection();
        assert_eq!(exchange(&mut connection, get("/a?b=c")).await, ok("ok"));
        assert_eq!(exchange(&mut connection, get("/a?b=c")).await, ok("ok"));
        assert_eq!(proxy.connections(), [0, 0]);
        let head = proxy.head(1);
        assert_eq!(head[0], "GET http://target.invalid:81/a?b=c HTTP/1.1");
        let authorization = format!("proxy-authorization: {CREDENTIALS}");
        assert!(head.contains(&authorization), "{head:?}");
        assert!(
            head.contains(&"host: target.invalid:81".to_owned()),
            "{head:?}"
        );
        assert!(!format!("{transport:?}").contains(CREDENTIALS));
    }

    #[tokio::test]
    async fn a_tunnel_leads_through_the_proxy_to_the_target() {
        let (listener, url) = listen("http").await;
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            answer_h2(stream, usize::MAX).await;
        });
        let (proxy, asked) = proxy_to(&url).await;
        let target = Url::parse("http://target.invalid").unwrap();
        let transport = Transport::new(&target, &http2(), Some(&proxy)).unwrap();
        let mut connection = transport.connection();
        let mut answer = super::super::Answer::default();
        connection.exchange(get("/a"), &mut answer).await.unwrap();
        assert_eq!(&*answer.take_body().unwrap(), b"/a");
        assert!(answer.timings.connect_ns.is_some() && answer.timings.dns_ns.is_none());
        assert_eq!(exchange(&mut connection, get("/b")).await, ok("/b"));
        let asked = asked.lock().unwrap();
        let expected = format!(
            "CONNECT target.invalid:80 HTTP/1.1\r\nhost: target.invalid:80\r\n\
             user-agent: {USER_AGENT}\r\nproxy-authorization: {CREDENTIALS}\r\n\r\n"
        );
        assert_eq!(*asked, [expected]);
    }

    #[tokio::test]
    async fn a_proxy_that_opens_no_tunnel_says_why() {
        async fn check(answer: &'static str, kind: ErrorKind, expected: &str) {
            let proxy = Server::start(Box::leak(Box::new([&*Vec::leak(vec![answer])]))).await;
            let target = Url::parse("http://target.invalid").unwrap();
            let transport = Transport::new(&target, &http2(), Some(proxy.url.as_str()));
            let mut connection = transport.unwrap().connection();
            let found = exchange_or_why(&mut connection, get("/")).await;
            let (found, message) = found.unwrap_err();
            assert_eq!(found, kind, "{message}");
            assert!(message.starts_with("the proxy: "), "{message}");
            assert!(message.contains(expected), "{message}");
        }
        use ErrorKind::{Connect, Protocol};
        check("HTTP/1.1 407 X\r\n\r\n", Connect, "`proxy` in [http]").await;
        check("HTTP/1.1 503 X\r\n\r\n", Connect, "503").await;
        check("HTTP/1.1 200 X\r\n", Connect, "closed the connection").await;
        check("SSH-2.0-x\r\n\r\n", Protocol, "not HTTP").await;
        let long = format!("HTTP/1.1 200 X\r\na: {}", "a".repeat(2 * MAX_HEAD_BYTES));
        check(String::leak(long), Protocol, "more than").await;
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_there_is_named() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", free.local_addr().unwrap());
        drop(free);
        let target = Url::parse("http://target.invalid").unwrap();
        let transport = Transport::new(&target, &HttpPlan::default(), Some(&proxy));
        let mut connection = transport.unwrap().connection();
        let (kind, message) = exchange_or_why(&mut connection, get("/"))
            .await
            .unwrap_err();
        assert_eq!(kind, ErrorKind::Connect);
        assert!(
            message.starts_with("the proxy: Connection refused"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn what_the_target_says_first_is_not_lost() {
        const HEAD: &str = "HTTP/1.1 200 X\r\na: b\r\n\r\n";
        for cut in 0..HEAD.len() {
            let (listener, url) = listen("http").await;
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                stream.write_all(&HEAD.as_bytes()[..cut]).await.unwrap();
                tokio::task::yield_now().await;
                let rest = format!("{}more", &HEAD[cut..]);
                stream.write_all(rest.as_bytes()).await.unwrap();
            });
            let proxy = Proxy::new(url.as_str(), &url).unwrap();
            let mut stream = TcpStream::connect(("127.0.0.1", url.port().unwrap()))
                .await
                .unwrap();
            proxy.tunnel(&mut stream).await.unwrap();
            let mut more = [0; 4];
            stream.read_exact(&mut more).await.unwrap();
            assert_eq!(&more, b"more", "{cut}");
        }
    }

    #[test]
    fn a_proxy_is_named_by_its_plain_url() {
        let check = |url: &str, is_proxy: bool| {
            let origin = Url::parse("http://a.example").unwrap();
            match Proxy::new(url, &origin) {
                Ok(_) => assert!(is_proxy, "{url}"),
                Err(error) => {
                    assert!(!is_proxy, "{url}");
                    assert!(!error.to_string().contains("secret"), "{error}");
                }
            }
        };
        check("http://127.0.0.1:3128", true);
        check("http://proxy.example", true);
        check("http://[::1]:3128/", true);
        check("http://u:secret@proxy.example:3128", true);
        check("https://u:secret@proxy.example:3128", false);
        check("socks5://u:secret@proxy.example:3128", false);
        check("http://u:secret@proxy.example:3128/a", false);
        check("http://u:secret@proxy.example:3128/?a", false);
        check("u:secret@proxy.example:3128", false);
        check("", false);
    }
}
