//! What the engine and its loads have in common when they speak HTTP, and the client with which the
//! engine itself asks the subject: whether it is ready, what its metrics are. No load uses that.

use std::error::Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// How Plimsoll introduces itself, to the load's requests too where a step has no other name for it.
pub(crate) const USER_AGENT: &str = concat!("plimsoll/", env!("CARGO_PKG_VERSION"));
/// RFC 3986 calls these unreserved: a value keeps them, and nothing else, in a URL and in a form.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A client that goes straight to where the URL points: a proxy from the environment or a redirect
/// would answer in place of the subject. It asks for nothing compressed, which would take processor
/// time of the subject that the load has no part in.
///
/// # Errors
/// Where TLS can't be set up.
pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        // goose switches reqwest's gzip feature on.
        .no_gzip()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
        .build()
}

/// Basic authentication (RFC 7617), kept out of whatever shows or indexes headers.
pub(crate) fn basic(user: &[u8], password: &[u8]) -> HeaderValue {
    let pair = STANDARD.encode([user, b":", password].concat());
    let value = Bytes::from(format!("Basic {pair}"));
    let mut value =
        HeaderValue::from_maybe_shared(value).expect("BUG: the digits of base64 are plain text");
    value.set_sensitive(true);
    value
}

/// The innermost cause: `Connection refused` where the outermost only says that a request failed.
pub(crate) fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nothing_compressed_is_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let served = async {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).await.unwrap();
            }
            let answer = "HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            head
        };
        let asked = client().unwrap().get(url).send();
        let (answer, head) = tokio::join!(asked, served);
        assert_eq!(answer.unwrap().status(), 200);
        assert!(head.starts_with("GET /metrics HTTP/1.1"), "{head}");
        assert!(!head.to_lowercase().contains("accept-encoding"), "{head}");
    }
}
