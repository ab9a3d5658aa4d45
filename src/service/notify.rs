//! `/api/v1/clients/{id}/notify`: tells the webhook of something that concerns a client.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::App;
use super::body::read_body;
use super::caller::Caller;
use super::clients::parse_id;
use super::error::ApiError;
use super::params::Id;
use super::text::check_line;
use super::webhook::{Webhook, WebhookError};
use super::write::to_the_end;
use crate::datalayer::batch::{self, Column, fetch_rows};
use crate::datalayer::breaker::BreakerError;

/// What the webhook is to hear.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notification {
    message: String,
}

/// `POST /clients/{id}/notify`: posts the message to the webhook and says what it answered. It is
/// sent once: whether to send it again is for the client to say.
pub(super) async fn notify(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let body = read_body(&app, body)?;
    let notification: Notification = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid_body(format!("not a notification: {error}")))?;
    check_line("message", &notification.message).map_err(ApiError::invalid_body)?;
    webhook(&app)?;
    let told = about(&app, caller.tenant, id, &notification.message).await?;
    // Brought to its end also when the client gives up: whether a webhook works is not for those to say
    // who don't wait for it.
    to_the_end(|| async move { deliver(&app, &told).await }).await
}

fn webhook(app: &App) -> Result<&Webhook, ApiError> {
    app.webhook.as_ref().ok_or_else(|| {
        let message = "the service was started without a webhook";
        ApiError::client(StatusCode::NOT_IMPLEMENTED, "no_webhook", message)
    })
}

async fn deliver(app: &App, told: &Value) -> Result<Response, ApiError> {
    match webhook(app)?.post(told).await {
        Ok(status) => {
            Ok(Json(json!({ "delivered": true, "status": status.as_u16() })).into_response())
        }
        Err(BreakerError::Open { retry_after }) => {
            let message = "the webhook failed too often to be asked now";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Ok(ApiError::client(status, "circuit_open", message).after(retry_after))
        }
        Err(BreakerError::Failed(error)) => Err(failed(&error)),
    }
}

/// What the webhook is told of a client; to a caller of another tenant there is no such client.
pub(super) async fn about(
    app: &App,
    tenant: Option<i64>,
    id: i64,
    message: &str,
) -> Result<Value, ApiError> {
    let column = [Column::integer("tenant_id")];
    let sql = "SELECT tenant_id FROM clients WHERE id = $1";
    let mut rows = fetch_rows(&app.pool, ("read", "clients"), sql, &[id.into()], &column).await?;
    let owner = rows.pop().and_then(|mut row| row.pop());
    let Some(batch::Value::Integer(owner)) =
        owner.filter(|owner| tenant.is_none_or(|tenant| *owner == batch::Value::Integer(tenant)))
    else {
        return Err(ApiError::not_found("client"));
    };
    Ok(json!({ "client_id": id, "tenant_id": owner, "message": message }))
}

fn failed(error: &WebhookError) -> ApiError {
    let (status, code) = match error {
        WebhookError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "webhook_timeout"),
        WebhookError::Refused(_) => (StatusCode::BAD_GATEWAY, "webhook_refused"),
        _ => (StatusCode::BAD_GATEWAY, "webhook_unreachable"),
    };
    ApiError::client(status, code, error.to_string()).caused_by(error)
}
