//! The bodies of ordinary requests.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;

use super::app::App;
use super::error::ApiError;

/// The body of an ordinary request, if all of it came.
pub(super) fn read_body(app: &App, body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(app.settings.service.body_max_bytes),
        _ => ApiError::invalid_body("the body broke off"),
    })
}
