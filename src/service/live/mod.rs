//! `/api/v1/live`: live updates over WebSocket (RFC 6455), each tenant's own.
//!
//! A client joins rooms with `{"join": "clients"}` (or a list of rooms) and leaves one with
//! `{"leave": "clients"}`. It is sent `{"epoch": …, "seq": …, "updates": [{"seq", "room", "data"}, …]}`; `data`
//! says what changed, not how: whoever wants to know asks the API, which then has it. A client that comes
//! back says `{"join": […], "after": {"epoch": …, "seq": …}}`, with the rooms that it was in and the last
//! place that it was told, before it joins anything else. `"gap": true` tells it that updates were lost, so
//! that it has to read anew what it shows.
//!
//! Closed with 1000 because nothing was said for long, 1001 because the service stops, 1008 after too many
//! messages, 1009 after one too large, 1013 because it read too slowly. A tenant's connections and a user's
//! messages are counted in each process. A gateway that knows its users by cookies has to check `Origin`:
//! browsers let any page open a WebSocket.

mod request;
mod socket;

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::interval;

use super::app::App;
use super::caller::Caller;
use super::error::ApiError;
use super::settings::Settings;
use crate::datalayer::limit::Limiter;
use crate::datalayer::live::{Hub, Refused};

/// The room for changes of clients.
pub(super) const CLIENTS: &str = "clients";
/// The room for changes of payments.
pub(super) const PAYMENTS: &str = "payments";

const ROOMS: [&str; 2] = [CLIENTS, PAYMENTS];

/// Live updates of one service.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) hub: Hub,
    /// What users may send; nothing where they may send what they like.
    messages: Option<Limiter<String>>,
    upkeep: Duration,
}

impl Live {
    pub(super) fn new(hub: Hub, settings: &Settings) -> Self {
        let per_min = NonZeroU32::new(settings.live.messages_per_min);
        Self {
            hub,
            messages: per_min.map(|per_min| Limiter::new(per_min, settings.limit.keys_max)),
            upkeep: Duration::from_millis(settings.limit.upkeep_ms),
        }
    }

    /// Forgets users who send nothing, for ever.
    pub(super) async fn keep_tidy(&self) -> Infallible {
        let mut period = interval(self.upkeep);
        loop {
            period.tick().await;
            if let Some(messages) = &self.messages {
                messages.forget_idle();
            }
        }
    }

    /// Counts one message of a user, if that is not one too many.
    fn admits(&self, user: &String) -> bool {
        let decision = self.messages.as_ref().map(|limit| limit.check(user));
        decision.is_none_or(|decision| decision.allowed)
    }
}

/// `GET /live`: a connection for the tenant of the caller.
pub(super) async fn connect(
    State(app): State<Arc<App>>,
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| {
        ApiError::client(rejection.status(), "no_websocket", rejection.body_text())
    })?;
    let tenant = caller.tenant.filter(|tenant| app.has_tenant(*tenant));
    let tenant = tenant.ok_or_else(|| {
        let message = "live updates are a tenant's own, and no tenant is known for this request";
        ApiError::client(StatusCode::FORBIDDEN, "no_tenant", message)
    })?;
    let subscription = app.live.hub.connect(&app.tenant_name(tenant));
    let subscription = subscription.map_err(|refused| match refused {
        Refused::Full => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            ApiError::client(status, "too_many_connections", refused.to_string())
        }
        Refused::Closing => ApiError::unavailable("stopping", refused.to_string()),
    })?;
    let max_bytes = app.settings.live.message_max_bytes;
    let upgrade = upgrade
        .max_message_size(max_bytes)
        .max_frame_size(max_bytes)
        .read_buffer_size(max_bytes);
    let user = caller.key();
    Ok(upgrade.on_upgrade(move |socket| socket::serve(app, user, subscription, socket)))
}
