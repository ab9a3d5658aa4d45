//! What clients and the provider send, checked.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::service::app::App;
use crate::service::body::read_body;
use crate::service::error::ApiError;
use crate::service::settings::PaymentSettings;
use crate::service::text::{check_line, check_one_of};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const METHODS: [&str; 4] = ["card", "transfer", "cash", "insurance"];

/// A payment as it is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PaymentInput {
    pub(super) tenant_id: i64,
    pub(super) client_id: i64,
    pub(super) amount_cents: i64,
    pub(super) method: String,
}

/// What the provider says of a payment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Callback {
    /// The payment, as in the path, which is not signed.
    pub(super) payment_id: Uuid,
    /// The provider's own name of what happened; kept for whoever asks the provider.
    pub(super) event_id: String,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Succeeded,
    Failed,
}

/// What a payment is to become.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) state: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    Cancelled,
    Refunded,
}

impl PaymentInput {
    pub(super) fn read(app: &App, body: Result<Bytes, BytesRejection>) -> Result<Self, ApiError> {
        let input: Self = read(app, body, "a payment")?;
        input.check(app).map_err(ApiError::invalid_body)?;
        Ok(input)
    }

    fn check(&self, app: &App) -> Result<(), String> {
        if !app.has_tenant(self.tenant_id) {
            return Err("`tenant_id` names no tenant".to_owned());
        }
        let most = app.settings.payments.amount_max_cents;
        if !(1..=most).contains(&self.amount_cents) {
            return Err(format!("`amount_cents` must be from 1 to {most}"));
        }
        check_one_of("method", &self.method, &METHODS)
    }

    /// What tells this request from any other: two bodies that say the same are the same.
    /// It is kept: what is written here changes under a new number alone, beside the old one.
    pub(super) fn digest(&self) -> String {
        let Self {
            tenant_id,
            client_id,
            amount_cents,
            method,
        } = self;
        let text = format!("1:{tenant_id}:{client_id}:{amount_cents}:{method}");
        digest(text.as_bytes())
    }
}

impl Callback {
    /// A callback of this payment that the provider has signed.
    pub(super) fn read(
        app: &App,
        id: Uuid,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Self, ApiError> {
        let Some(provider) = &app.provider else {
            let message =
                "the service was started without the provider's secret: no callback is believed";
            let status = StatusCode::NOT_IMPLEMENTED;
            return Err(ApiError::client(status, "no_provider_secret", message));
        };
        let body = read_body(app, body)?;
        let tolerance = app.settings.payments.callback_tolerance();
        provider.check(headers, &body, Timestamp::now(), tolerance)?;
        let callback: Self = parse(&body, "a callback")?;
        if callback.payment_id != id {
            let message = "`payment_id` is not the payment of the path";
            return Err(ApiError::invalid_body(message));
        }
        check_line("event_id", &callback.event_id).map_err(ApiError::invalid_body)?;
        Ok(callback)
    }
}

impl Change {
    pub(super) fn read(app: &App, body: Result<Bytes, BytesRejection>) -> Result<Self, ApiError> {
        read(app, body, "a change of state")
    }
}

/// The key under which a payment is asked for.
pub(super) fn idempotency_key(
    headers: &HeaderMap,
    settings: &PaymentSettings,
) -> Result<String, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(key), None) = (values.next(), values.next()) else {
        let message = "a payment needs one `Idempotency-Key` header: a new one for each payment, and the \
                       same one whenever the same payment is asked for again";
        return Err(bad_request("idempotency_key_missing", message));
    };
    let most = settings.key_max_bytes;
    let key = key.to_str().ok().filter(|key| {
        (1..=most).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let message = format!("`Idempotency-Key` must be 1 to {most} visible ASCII characters");
    key.map(str::to_owned)
        .ok_or_else(|| bad_request("idempotency_key_invalid", message))
}

/// Which versions a client's change is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// Whatever it is now.
    Any,
    /// One of those with these tags, as they stand in `ETag`.
    Tags(Vec<String>),
}

impl Expected {
    pub(super) fn is(&self, version: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.contains(&etag(version)),
        }
    }

    /// The value of `If-Match` (RFC 9110, 13.1.1): `*`, or tags with commas between them. A weak one is
    /// well formed and matches nothing.
    fn read(text: &str) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_start();
        loop {
            let (is_weak, tag) = match rest.strip_prefix("W/") {
                Some(tag) => (true, tag),
                None => (false, rest),
            };
            let (tag, after) = tag.strip_prefix('"')?.split_once('"')?;
            if !is_weak {
                tags.push(format!("\"{tag}\""));
            }
            rest = match after.trim_start() {
                "" => return Some(Self::Tags(tags)),
                more => more.strip_prefix(',')?.trim_start(),
            };
        }
    }
}

pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The versions that the client has seen.
pub(super) fn expected_version(headers: &HeaderMap) -> Result<Expected, ApiError> {
    let mut values = headers.get_all(IF_MATCH).iter();
    let (Some(tag), None) = (values.next(), values.next()) else {
        let message =
            "a change needs one `If-Match` header: the `ETag` of the payment as it was read";
        let status = StatusCode::PRECONDITION_REQUIRED;
        return Err(ApiError::client(status, "version_missing", message));
    };
    tag.to_str().ok().and_then(Expected::read).ok_or_else(|| {
        let message = "`If-Match` must be the `ETag` of a payment, such as \"1\" with its quotes";
        bad_request("version_invalid", message)
    })
}

pub(super) fn payment_id(text: &str) -> Result<Uuid, ApiError> {
    let message = "the id of a payment is a UUID";
    text.parse().map_err(|_| bad_request("invalid_id", message))
}

pub(super) fn digest(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

fn bad_request(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::client(StatusCode::BAD_REQUEST, code, message)
}

fn read<T: DeserializeOwned>(
    app: &App,
    body: Result<Bytes, BytesRejection>,
    what: &str,
) -> Result<T, ApiError> {
    parse(&read_body(app, body)?, what)
}

fn parse<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::invalid_body(format!("not {what}: {error}")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_str(value));
        values
            .map(|value| (name.parse().unwrap(), value.unwrap()))
            .collect()
    }

    #[test]
    fn keys_are_short_and_visible_and_there_is_one() {
        let settings = PaymentSettings::default();
        let check = |values: &[&str], expected: Option<&str>| {
            let key = idempotency_key(&headers(IDEMPOTENCY_KEY, values), &settings);
            assert_eq!(key.ok().as_deref(), expected, "{values:?}");
        };
        check(&["8e03978e-40d5"], Some("8e03978e-40d5"));
        check(&["\"quoted\""], Some("\"quoted\""));
        check(&[], None);
        check(&["a", "a"], None);
        check(&[""], None);
        check(&["a b"], None);
        check(&["ü"], None);
        let (longest, longer) = ("a".repeat(255), "a".repeat(256));
        check(&[&longest], Some(&longest));
        check(&[&longer], None);
    }

    #[test]
    fn versions_are_strong_tags() {
        let check = |values: &[&str], expected: Option<&[i64]>| {
            let read = expected_version(&headers("if-match", values)).ok();
            let matched = read.map(|read| (0..10).filter(|version| read.is(*version)).collect());
            let expected = expected.map(<[i64]>::to_vec);
            assert_eq!(matched, expected, "{values:?}");
        };
        check(&["\"7\""], Some(&[7]));
        check(&["\"7\", \"8\""], Some(&[7, 8]));
        check(&["W/\"7\",\"8\""], Some(&[8]));
        check(&["*"], Some(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
        // Tags are compared as they stand.
        for other in ["W/\"7\"", "\"+7\"", "\"07\"", "\" 7\"", "\"\"", "\"7,8\""] {
            check(&[other], Some(&[]));
        }
        check(&[], None);
        check(&["\"7\"", "\"8\""], None);
        for wrong in [
            "7",
            "\"",
            "\"7\" \"8\"",
            "\"7\",",
            "*, \"7\"",
            "w/\"7\"",
            "",
        ] {
            check(&[wrong], None);
        }
    }

    #[test]
    fn bodies_that_say_the_same_are_the_same() {
        let of = |text: &str| serde_json::from_str::<PaymentInput>(text).unwrap().digest();
        let one = of(r#"{"tenant_id":1,"client_id":2,"amount_cents":3,"method":"card"}"#);
        let same = of(r#"{ "method":"card", "amount_cents":3, "client_id":2, "tenant_id":1 }"#);
        let other = of(r#"{"tenant_id":1,"client_id":2,"amount_cents":4,"method":"card"}"#);
        assert_eq!(one, same);
        assert_ne!(one, other);
        // As it is in stores: SHA-256 of "1:1:2:3:card".
        assert_eq!(one, "CLwPZccgpQVDsbNe7eE0IhT1I3lxOI36GSRrS84c2Hg");
    }
}
