//! Answers that the client has already: `ETag` and `If-None-Match` (RFC 9110, section 13.1.2).

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// As much of a hash as no two bodies have in common.
const ETAG_BYTES: usize = 16;

/// The strong entity tag of a body: equal for equal bytes, whichever process sends them.
pub(super) fn etag(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash[..ETAG_BYTES]))
}

/// Gives a compressed answer an entity tag of its own, and turns an answer that the client has into
/// 304.
pub(super) async fn conditional(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = request.headers().get_all(IF_NONE_MATCH).iter();
    let known: Vec<HeaderValue> = known.filter(|_| reads).cloned().collect();
    let mut response = next.run(request).await;
    let Some(tag) = representation(response.headers()) else {
        return response;
    };
    let has = known.iter().any(|tags| names(tags, &tag));
    response.headers_mut().insert(ETAG, tag);
    if !has || response.status() != StatusCode::OK {
        return response;
    }
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = Body::empty();
    for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
        response.headers_mut().remove(name);
    }
    response
}

/// The entity tag of an answer that has one, with the encoding that was applied to it: a strong tag
/// stands for the bytes that are sent.
fn representation(headers: &HeaderMap) -> Option<HeaderValue> {
    let tag = headers.get(ETAG)?;
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Some(tag.clone());
    };
    let opaque = tag.to_str().ok()?.strip_suffix('"')?;
    let encoding = encoding.to_str().ok()?;
    HeaderValue::from_str(&format!("{opaque}-{encoding}\"")).ok()
}

/// Whether an `If-None-Match` names this tag; a weak one does as well.
fn names(tags: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(tags), Ok(tag)) = (tags.to_str(), tag.to_str()) else {
        return false;
    };
    // No tag of ours has a comma in it.
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_hash_of_the_body() {
        // The first 16 bytes of `printf abc | sha256sum`, by `base64`.
        assert_eq!(etag(b"abc"), "\"ungWv48Bz-pBQUDeXa4iIw\"");
        assert_ne!(etag(b"abc"), etag(b"abd"));
    }

    #[test]
    fn a_client_may_name_several_tags_or_any() {
        let tag = HeaderValue::from_static("\"a\"");
        let check = |tags, expected| {
            assert_eq!(
                names(&HeaderValue::from_static(tags), &tag),
                expected,
                "{tags}"
            );
        };
        check("\"a\"", true);
        check("W/\"a\"", true);
        check("\"x\", \"a\"", true);
        check("*", true);
        check("\"x\"", false);
        check("a", false);
        check("\"x,\"a", false);
        check("", false);
    }
}
