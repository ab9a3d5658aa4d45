//! A provider of payments, who signs what it says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use plimsoll::service::ProviderSecret;
use reqwest::RequestBuilder;
use serde_json::Value as Json;
use sha2::Sha256;

/// What it signs with.
pub(crate) const SECRET: &[u8] = b"a secret of thirty-two bytes, so";

/// A secret as the service takes it.
pub(crate) fn shared(secret: &[u8]) -> Option<ProviderSecret> {
    ProviderSecret::new(&written(secret)).expect("a secret")
}

/// A secret as it is written.
pub(crate) fn written(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

/// The request with a body that was signed with a secret at a time.
pub(crate) fn signed(
    request: RequestBuilder,
    body: &Json,
    secret: &[u8],
    at: Timestamp,
) -> RequestBuilder {
    let (body, at) = (body.to_string(), at.as_second());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    mac.update(format!("msg_1.{at}.{body}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    request
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", at)
        .header("webhook-signature", format!("v1,{signature}"))
        .body(body)
}
