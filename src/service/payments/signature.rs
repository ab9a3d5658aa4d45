//! The signature of whoever handles the money, as Standard Webhooks has it
//! (<https://www.standardwebhooks.com/>): HMAC-SHA256 over the id, the time and the body of a callback.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::service::error::ApiError;

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
/// What a secret begins with, and a signature by a secret that both sides share.
const SECRET_PREFIX: &str = "whsec_";
const VERSION: &str = "v1";
/// What the specification asks of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secret that the provider of payments signs its callbacks with.
#[derive(Clone)]
pub struct ProviderSecret {
    keyed: Hmac<Sha256>,
}

/// A text is no secret. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider's secret must be `whsec_` and then 24 to 64 bytes in base64")]
pub struct SecretError;

impl ProviderSecret {
    /// The secret, if there is one: an empty text is none.
    ///
    /// # Errors
    /// [`SecretError`] for a text that is neither.
    pub fn new(text: &str) -> Result<Option<Self>, SecretError> {
        if text.is_empty() {
            return Ok(None);
        }
        let secret = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError)?;
        let secret = STANDARD.decode(secret).map_err(|_| SecretError)?;
        if !SECRET_BYTES.contains(&secret.len()) {
            return Err(SecretError);
        }
        let keyed = Hmac::new_from_slice(&secret).map_err(|_| SecretError)?;
        Ok(Some(Self { keyed }))
    }

    /// Checks that the provider sent this body, at most `tolerance` ago by its own clock or ahead of
    /// ours: what somebody has overheard is not sent again later.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
        tolerance: Duration,
    ) -> Result<(), ApiError> {
        let refused = |message: &str| {
            ApiError::client(StatusCode::UNAUTHORIZED, "signature_invalid", message)
        };
        let (id, timestamp, signatures) = (
            only(headers, ID),
            only(headers, TIMESTAMP),
            only(headers, SIGNATURE),
        );
        let (Some(id), Some(timestamp), Some(signatures)) = (id, timestamp, signatures) else {
            let message = "a callback needs one `webhook-id`, one `webhook-timestamp` and one \
                           `webhook-signature`, as Standard Webhooks has them";
            return Err(refused(message));
        };
        let mut mac = self.keyed.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        // Of several, as while secrets are exchanged, one is enough.
        let signed = signatures.split(' ').find_map(|signature| {
            let signature = signature.strip_prefix(VERSION)?.strip_prefix(',')?;
            let signature = STANDARD.decode(signature).ok()?;
            // In a time that says nothing of how much was right.
            mac.clone().verify_slice(&signature).ok()
        });
        if signed.is_none() {
            return Err(refused(
                "the signature of the callback is not the provider's",
            ));
        }
        // Signed, so it is the provider's own clock.
        let sent = timestamp
            .parse()
            .ok()
            .and_then(|s| Timestamp::from_second(s).ok());
        let age = sent.map(|sent| now.duration_since(sent).unsigned_abs());
        if age.is_none_or(|age| age > tolerance) {
            return Err(refused("the callback is of another time: send it anew"));
        }
        Ok(())
    }
}

fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

impl fmt::Debug for ProviderSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSecret").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    /// The example that the reference libraries of Standard Webhooks are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SENT: &str = "1614265330";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    const TOLERANCE: Duration = Duration::from_secs(300);

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    fn is_signed(given: &[(&'static str, &str)], body: &[u8], now_s: i64) -> bool {
        let secret = ProviderSecret::new(SECRET).unwrap().unwrap();
        let now = Timestamp::from_second(now_s).unwrap();
        let checked = secret.check(&headers(given), body, now, TOLERANCE);
        checked.is_ok()
    }

    #[test]
    fn only_what_the_provider_signed_is_signed() {
        let check = |id: &str, sent: &str, signature: &str, body: &[u8], expected: bool| {
            let given = [(ID, id), (TIMESTAMP, sent), (SIGNATURE, signature)];
            assert_eq!(
                is_signed(&given, body, 1_614_265_330),
                expected,
                "{given:?}"
            );
        };
        check(MESSAGE, SENT, SIGNED, BODY, true);
        let several = format!("v1a,AAAA v1,AAAA {SIGNED}");
        check(MESSAGE, SENT, &several, BODY, true);
        check("msg_other", SENT, SIGNED, BODY, false);
        check(MESSAGE, "1614265331", SIGNED, BODY, false);
        check(MESSAGE, SENT, SIGNED, br#"{"test": 2432232315}"#, false);
        for wrong in [
            "",
            "v1,",
            "v1",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1O",
            "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=,",
        ] {
            check(MESSAGE, SENT, wrong, BODY, false);
        }
    }

    #[test]
    fn each_header_is_there_once() {
        let all = [(ID, MESSAGE), (TIMESTAMP, SENT), (SIGNATURE, SIGNED)];
        assert!(is_signed(&all, BODY, 1_614_265_330));
        for index in 0..all.len() {
            let mut fewer = all.to_vec();
            let header = fewer.remove(index);
            assert!(
                !is_signed(&fewer, BODY, 1_614_265_330),
                "without {header:?}"
            );
            let more = [&all[..], &[header]].concat();
            assert!(!is_signed(&more, BODY, 1_614_265_330), "twice {header:?}");
        }
    }

    #[test]
    fn what_was_signed_is_good_for_a_while() {
        let all = [(ID, MESSAGE), (TIMESTAMP, SENT), (SIGNATURE, SIGNED)];
        for (now_s, expected) in [
            (1_614_265_330 + 300, true),
            (1_614_265_330 + 301, false),
            (1_614_265_330 - 300, true),
            (1_614_265_330 - 301, false),
        ] {
            assert_eq!(is_signed(&all, BODY, now_s), expected, "{now_s}");
        }
    }

    #[test]
    fn a_secret_is_long_enough_and_never_said() {
        assert!(ProviderSecret::new("").unwrap().is_none());
        let secret = ProviderSecret::new(SECRET).unwrap().unwrap();
        assert_eq!(format!("{secret:?}"), "ProviderSecret { .. }");
        for wrong in [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_",
            "whsec_c2hvcnQ=",
            "whsec_hunter2!",
        ] {
            let error = ProviderSecret::new(wrong).unwrap_err().to_string();
            assert!(
                !error.contains("hunter2") && !error.contains("MfKQ"),
                "{error}"
            );
        }
    }
}
