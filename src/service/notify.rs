//! `/api/v1/clients/{id}/notify`: tells the webhook of something that concerns a client.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::App;
use super::clients::{parse_id, read_body};
use super::error::ApiError;
use super::text::check_line;
use super::webhook::WebhookError;
use crate::datalayer::batch::{Column, fetch_rows};
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
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let body = read_body(&app, body)?;
    let notification: Notification = serde_json::from_slice(&body)
        .map_err(|error| ApiError::invalid_body(format!("not a notification: {error}")))?;
    check_line("message", &notification.message).map_err(ApiError::invalid_body)?;
    let Some(webhook) = &app.webhook else {
        let message = "the service was started without a webhook";
        let status = StatusCode::NOT_IMPLEMENTED;
        return Err(ApiError::client(status, "no_webhook", message));
    };
    let told = about(&app, id, &notification.message).await?;
    match webhook.post(&told).await {
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

/// What the webhook is told of a client.
pub(super) async fn about(app: &App, id: i64, message: &str) -> Result<Value, ApiError> {
    let columns = [Column::integer("id"), Column::integer("tenant_id")];
    let sql = "SELECT id, tenant_id FROM clients WHERE id = $1";
    let mut rows = fetch_rows(&app.pool, ("read", "clients"), sql, &[id.into()], &columns).await?;
    let row = rows.pop().ok_or_else(|| ApiError::not_found("client"))?;
    Ok(json!({
        "client_id": Value::from(&row[0]),
        "tenant_id": Value::from(&row[1]),
        "message": message,
    }))
}

fn failed(error: &WebhookError) -> ApiError {
    let (status, code) = match error {
        WebhookError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "webhook_timeout"),
        WebhookError::Refused(_) => (StatusCode::BAD_GATEWAY, "webhook_refused"),
        _ => (StatusCode::BAD_GATEWAY, "webhook_unreachable"),
    };
    ApiError::client(status, code, error.to_string()).caused_by(error)
}
