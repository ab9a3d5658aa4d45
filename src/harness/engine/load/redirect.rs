//! Where an answer sends a request next (RFC 9110, section 15.4), as browsers go.
//!
//! A load goes to its target and nowhere else: an answer that leads away from it is a failure, and
//! nothing is sent, least of all credentials.

use http::Method;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, HeaderMap,
    LOCATION,
};
use http::uri::PathAndQuery;
use url::{Position, Url};

use super::request::Ready;

/// The request that follows from the answer to `sent`, which went to `url`; `None` where the answer
/// sends it nowhere. The error says why it can't be followed; it holds hostile text.
pub(super) fn next(
    sent: &Ready,
    url: &Url,
    status: u16,
    headers: &HeaderMap,
) -> Result<Option<Ready>, String> {
    let Some(location) = headers.get(LOCATION).filter(|_| is_redirect(status)) else {
        return Ok(None);
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    let to = url
        .join(&location)
        .map_err(|error| format!("the redirect to `{location}` leads nowhere: {error}"))?;
    if to.origin() != url.origin() {
        return Err(format!(
            "the redirect to `{location}` leads away from the target"
        ));
    }
    let path: PathAndQuery = to[Position::BeforePath..Position::AfterQuery]
        .parse()
        .map_err(|error| format!("the redirect to `{location}` can't be followed: {error}"))?;
    let mut next = Ready {
        path,
        ..sent.clone()
    };
    if becomes_get(status, &sent.method) {
        next.method = Method::GET;
        next.body = None;
        for of_body in [
            CONTENT_ENCODING,
            CONTENT_LANGUAGE,
            CONTENT_LENGTH,
            CONTENT_LOCATION,
            CONTENT_TYPE,
        ] {
            next.headers.remove(of_body);
        }
    }
    Ok(Some(next))
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// As in the Fetch standard, section 4.4: after a 301 or a 302 only a POST does.
fn becomes_get(status: u16, method: &Method) -> bool {
    match status {
        301 | 302 => method == Method::POST,
        303 => !matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use http::header::{AUTHORIZATION, HeaderValue};

    use super::*;

    fn sent(method: Method) -> Ready {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer t"));
        Ready {
            method,
            path: PathAndQuery::from_static("/base/a/b?c"),
            headers,
            body: Some("x".into()),
        }
    }

    fn follow(
        method: Method,
        status: u16,
        location: Option<&[u8]>,
    ) -> Result<Option<Ready>, String> {
        let url = Url::parse("http://127.0.0.1:8080/base/a/b?c").unwrap();
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, HeaderValue::from_bytes(location).unwrap());
        }
        next(&sent(method), &url, status, &headers)
    }

    #[test]
    fn a_redirect_leads_somewhere_on_the_target_or_fails() {
        let check = |location: &str, expected: Result<&str, &str>| {
            let found = follow(Method::GET, 302, Some(location.as_bytes()));
            match (&found, expected) {
                (Ok(Some(next)), Ok(path)) => assert_eq!(next.path.as_str(), path, "{location}"),
                (Err(message), Err(part)) if message.contains(part) => {}
                _ => panic!("{location}: {found:?}, not {expected:?}"),
            }
        };
        check("/x?y=1#top", Ok("/x?y=1"));
        check("d", Ok("/base/a/d"));
        check("../d", Ok("/base/d"));
        check("?e", Ok("/base/a/b?e"));
        check("", Ok("/base/a/b?c"));
        check("http://127.0.0.1:8080/y z", Ok("/y%20z"));
        check("http://user:secret@127.0.0.1:8080/y", Ok("/y"));
        for away in [
            "http://127.0.0.1:8081/",
            "http://127.0.0.1/",
            "https://127.0.0.1:8080/",
            "//evil.example/",
            "http://127.0.0.1.evil.example:8080/",
            "javascript:alert(1)",
            "file:///etc/passwd",
        ] {
            check(away, Err("leads away"));
        }
        check("http://[", Err("leads nowhere"));
    }

    #[test]
    fn only_a_redirect_with_a_location_is_followed() {
        for status in [200, 201, 300, 304, 305, 404] {
            assert!(follow(Method::GET, status, Some(b"/x")).unwrap().is_none());
        }
        assert!(follow(Method::GET, 302, None).unwrap().is_none());
        assert!(follow(Method::GET, 302, Some(b"/\xff")).unwrap().is_some());
    }

    #[test]
    fn method_and_body_change_as_in_browsers() {
        let check = |status: u16, method: Method, expected: Method| {
            let next = follow(method.clone(), status, Some(b"/x"))
                .unwrap()
                .unwrap();
            assert_eq!(next.method, expected, "{status} {method}");
            let has_changed = method != expected;
            assert_eq!(next.body.is_none(), has_changed, "{status} {method}");
            assert_eq!(!next.headers.contains_key(CONTENT_TYPE), has_changed);
            // It stays on the target, so the credentials do too.
            assert!(next.headers.contains_key(AUTHORIZATION));
        };
        for status in [301, 302] {
            check(status, Method::POST, Method::GET);
            check(status, Method::PUT, Method::PUT);
            check(status, Method::HEAD, Method::HEAD);
        }
        check(303, Method::POST, Method::GET);
        check(303, Method::DELETE, Method::GET);
        check(303, Method::HEAD, Method::HEAD);
        for status in [307, 308] {
            check(status, Method::POST, Method::POST);
            check(status, Method::GET, Method::GET);
        }
    }
}
