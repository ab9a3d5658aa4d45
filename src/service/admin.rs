//! The token of whoever runs the service.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::app::App;
use super::error::ApiError;

/// A token that is compared in a time that says nothing about it. The token itself is not kept.
pub struct AdminToken {
    digest: [u8; 32],
}

/// That a request shows the token; all others are answered 401, and everybody where there is none.
pub(super) struct Admin;

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let token = app.admin.as_ref();
        if token.is_some_and(|token| token.is_shown(&parts.headers)) {
            return Ok(Self);
        }
        let message = "this is for whoever shows the admin's token";
        let refused = ApiError::client(StatusCode::UNAUTHORIZED, "unauthorized", message);
        Err(([(WWW_AUTHENTICATE, "Bearer")], refused).into_response())
    }
}

impl AdminToken {
    /// The token, if there is one: an empty text is none.
    pub fn new(token: &str) -> Option<Self> {
        (!token.is_empty()).then(|| Self {
            digest: Sha256::digest(token).into(),
        })
    }

    /// Whether a request shows it as `Authorization: Bearer …`.
    pub(super) fn is_shown(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (shown.next(), shown.next()) else {
            return false;
        };
        let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' '))
        else {
            return false;
        };
        // Digests are as long as each other, whatever is shown.
        let digest: [u8; 32] = Sha256::digest(token).into();
        scheme.eq_ignore_ascii_case("bearer") && bool::from(self.digest.ct_eq(&digest))
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AdminToken").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_one() {
        let token = AdminToken::new("hunter2hunter2").unwrap();
        let shown = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            token.is_shown(&headers)
        };
        assert!(shown(&["Bearer hunter2hunter2"]));
        assert!(shown(&["bearer hunter2hunter2"]));
        for wrong in [
            &[][..],
            &["hunter2hunter2"],
            &["Basic hunter2hunter2"],
            &["Bearer hunter2hunter"],
            &["Bearer hunter2hunter22"],
            &["Bearer  hunter2hunter2"],
            &["Bearer "],
            &["Bearer"],
            &["Bearer x", "Bearer hunter2hunter2"],
        ] {
            assert!(!shown(wrong), "{wrong:?}");
        }
        assert!(AdminToken::new("").is_none());
        assert_eq!(format!("{token:?}"), "AdminToken { .. }");
    }
}
