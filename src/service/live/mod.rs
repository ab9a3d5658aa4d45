//! `/api/v1/live`: live updates over WebSocket (RFC 6455), each tenant's own.
//!
//! A client joins rooms with `{"join": "clients"}` (or a list of rooms) and leaves one with
//! `{"leave": "clients"}`. It is sent `{"epoch": …, "seq": …, "updates": [{"seq", "room", "data"}, …]}`; `data`
//! says what changed, not how: whoever wants to know asks the API, which then has it. A client that comes
//! back says `{"join": […], "after": {"epoch": …, "seq": …}}`, with the rooms that it was in and the last
//! place that it was told, before it joins anything else; a place that was told as null too. `"gap": true`
//! tells it that updates were lost, so that it has to read anew what it shows. Where it is not known whether
//! a client was created, its `id` is null: one may be in the list now.
//!
//! Closed with 1000 because nothing was said for long, 1001 because the service stops, 1008 after too many
//! messages, 1009 after one too large, 1013 because it read too slowly. A tenant's connections and a user's
//! messages are counted in each process; of those whose user no gateway names, each connection's. A gateway that knows its users by cookies has to check `Origin`:
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
use crate::datalayer::config::LiveSettings;
use crate::datalayer::limit::Limiter;
use crate::datalayer::live::{Hub, Refused};

/// The room for changes of clients.
pub(super) const CLIENTS: &str = "clients";
/// The room for changes of payments.
pub(super) const PAYMENTS: &str = "payments";

const ROOMS: [&str; 2] = [CLIENTS, PAYMENTS];

/// What may wait to be written to a connection, besides the longest message: pongs, which a client that
/// reads nothing could ask for without end.
const WRITE_SPARE_BYTES: usize = 4 * 1024 * 1024;
/// No update of this service is longer.
const UPDATE_MAX_BYTES: usize = 512;

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
        .read_buffer_size(max_bytes)
        .max_write_buffer_size(write_max_bytes(&app.settings.live));
    let mut user = caller.key();
    if caller.user.is_none() {
        // Else one gateway's users would be one.
        user = format!("{user} #{}", subscription.id());
    }
    Ok(upgrade.on_upgrade(move |socket| socket::serve(app, user, subscription, socket)))
}

/// What may wait to be written to one connection: the longest message has all that is kept of a tenant, and
/// what came meanwhile.
fn write_max_bytes(settings: &LiveSettings) -> usize {
    let updates = 2 * settings.history_updates.max(settings.batch_max_updates);
    updates * UPDATE_MAX_BYTES + WRITE_SPARE_BYTES
}
