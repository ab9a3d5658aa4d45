//! The headers of an answer.

use std::ops::Deref;
use std::sync::OnceLock;

use http::header::{CONTENT_ENCODING, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// An answer may have so many headers, as with hyper.
pub(super) const MAX_HEADERS: usize = 100;

/// The headers of an answer. Most are never asked for, and so they are read when the first one is: to
/// fill a map costs as much as to read the whole answer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Headers {
    /// The head of the answer as it came over the wire.
    head: Box<[u8]>,
    read: OnceLock<HeaderMap>,
    sets_cookies: bool,
    is_encoded: bool,
}

impl Headers {
    /// Those of a head that came whole and in order: `head` as it came, `parsed` what is in it.
    pub(super) fn new(head: &[u8], parsed: &[httparse::Header<'_>]) -> Self {
        let has = |name: &HeaderName| {
            let is =
                |header: &httparse::Header<'_>| header.name.eq_ignore_ascii_case(name.as_str());
            parsed.iter().any(is)
        };
        Self {
            head: head.into(),
            read: OnceLock::new(),
            sets_cookies: has(&SET_COOKIE),
            is_encoded: has(&CONTENT_ENCODING),
        }
    }

    /// Whether there is a cookie among them.
    pub(crate) fn sets_cookies(&self) -> bool {
        self.sets_cookies
    }

    /// Whether they say how the body is encoded.
    pub(super) fn say_encoding(&self) -> bool {
        self.is_encoded
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        Self {
            sets_cookies: map.contains_key(SET_COOKIE),
            is_encoded: map.contains_key(CONTENT_ENCODING),
            head: Box::default(),
            read: map.into(),
        }
    }
}

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.read.get_or_init(|| read(&self.head))
    }
}

/// The headers of a head that was found to be in order.
fn read(head: &[u8]) -> HeaderMap {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = match response.parse(head) {
        Ok(_) => &*response.headers,
        Err(_) => &[],
    };
    let mut map = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        // Whatever is in a head that is in order can be a header.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value)) {
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_when_they_are_asked_for() {
        let head = "HTTP/1.1 200 X\r\nX-Id: 7\r\nset-cookie: a=b\r\nSet-Cookie: \r\n\r\n";
        let mut parsed = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut parsed);
        assert!(response.parse(head.as_bytes()).is_ok());
        let headers = Headers::new(head.as_bytes(), response.headers);
        assert!(headers.sets_cookies() && !headers.say_encoding());
        assert!(headers.read.get().is_none());
        let cookies: Vec<_> = headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=b", ""]);
        assert_eq!(headers["x-id"], "7");
        assert_eq!(headers.len(), 3);
        // Those that somebody else has read.
        let of_map = Headers::from((*headers).clone());
        assert!(of_map.sets_cookies() && !of_map.say_encoding());
        assert_eq!(*of_map, *headers);
    }
}
