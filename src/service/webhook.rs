//! Another service, which hears of what happens here by HTTP.
//!
//! Its address may hold a secret and is in no message. Calls go through a circuit breaker: while it
//! does not answer, nobody waits for it.

use std::fmt;

use axum::http::StatusCode;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::Value;

use super::settings::Settings;
use crate::datalayer::breaker::{Breaker, BreakerError, BreakerStats};

/// The other service.
pub(super) struct Webhook {
    url: Url,
    http: Client,
    breaker: Breaker,
}

/// Why the webhook was not told.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address is none.
    #[error("the webhook's address must begin with http:// or https://")]
    Address,
    /// The client could not be made.
    #[error("no HTTP client could be made for the webhook")]
    Client(#[source] reqwest::Error),
    /// It does not answer in time.
    #[error("the webhook did not answer within service.webhook_timeout_ms")]
    TimedOut,
    /// It cannot be reached, or breaks off.
    #[error("the webhook cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// It answers, but not with success.
    #[error("the webhook answered {0}")]
    Refused(StatusCode),
}

impl WebhookError {
    /// Whether the other service is at fault, and not what it was sent: it may answer 4xx all day and
    /// still work, but not that it has too much to do.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::Refused(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => true,
        }
    }
}

impl Webhook {
    /// The service at `url`. Nothing is asked of it yet.
    pub(super) fn new(url: &str, settings: &Settings) -> Result<Self, WebhookError> {
        let url: Url = url.parse().map_err(|_| WebhookError::Address)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WebhookError::Address);
        }
        let http = Client::builder()
            .no_proxy()
            // It would carry the notification to where nobody meant it to go.
            .redirect(Policy::none())
            .timeout(settings.service.webhook_timeout())
            .build()
            .map_err(WebhookError::Client)?;
        Ok(Self {
            url,
            http,
            breaker: Breaker::new(&settings.breaker),
        })
    }

    /// Posts `notification`, once. Gives the status of the answer, a success; its body is not read.
    pub(super) async fn post(
        &self,
        notification: &Value,
    ) -> Result<StatusCode, BreakerError<WebhookError>> {
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(notification.to_string());
        let call = async {
            let answer = request.send().await.map_err(|error| match error {
                error if error.is_timeout() => WebhookError::TimedOut,
                error => WebhookError::Unreachable(error.without_url()),
            })?;
            match answer.status() {
                status if status.is_success() => Ok(status),
                status => Err(WebhookError::Refused(status)),
            }
        };
        self.breaker.call(WebhookError::is_failure, call).await
    }

    /// The state and the counts of its breaker.
    pub(super) fn stats(&self) -> BreakerStats {
        self.breaker.stats()
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_told_without_saying_it() {
        for url in ["hunter2", "ftp://hunter2@host/", "http//hunter2", ""] {
            let error = Webhook::new(url, &Settings::default()).err();
            let text = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(text.contains("http://"), "{url}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let webhook = Webhook::new("https://host/hunter2", &Settings::default());
        let text = format!("{webhook:?}");
        assert!(webhook.is_ok() && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn who_refuses_works() {
        let check = |status: u16, expected| {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            assert_eq!(
                WebhookError::Refused(status).is_failure(),
                expected,
                "{status}"
            );
        };
        check(400, false);
        check(404, false);
        check(302, false);
        check(429, true);
        check(500, true);
        check(503, true);
        assert!(WebhookError::TimedOut.is_failure());
    }
}
