//! What a client hears when a request fails, and what only the log hears.

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sqlx::error::DatabaseError as _;
use sqlx::sqlite::SqliteError;

use crate::datalayer::batch::{BatchError, PageError, is_lost};
use crate::datalayer::cache::CacheError;
use crate::datalayer::pool::PoolError;

/// A request that failed: `{"error": {"code", "message"}}` to the client. What the service knows
/// beyond that goes to the log.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    busy: bool,
    internal: Option<String>,
}

/// Why something that is cached could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("there is no such row")]
    NotFound,
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the answer could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Set on answers that ask the client to come back; the router adds the header, since only it
/// knows the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Busy;

impl ApiError {
    /// An error that is the client's to mend.
    pub(super) fn client(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            busy: false,
            internal: None,
        }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::client(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
        )
    }

    pub(super) fn invalid_body(message: impl Into<String>) -> Self {
        Self::client(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", message)
    }

    pub(super) fn too_large(max_bytes: usize) -> Self {
        let message = format!("the body is larger than {max_bytes} bytes");
        Self::client(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// Not the client's fault and perhaps over soon.
    pub(super) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self {
            busy: true,
            ..Self::client(status, code, message)
        }
    }

    pub(super) fn timed_out() -> Self {
        Self::unavailable("timeout", "the request took too long")
    }

    /// As [`ApiError::timed_out`], of a request that goes on, or may have been done: nobody is asked to
    /// send it again.
    pub(super) fn timed_out_in_doubt() -> Self {
        let message = "the request took too long; whether it was or will be done is not known";
        Self {
            busy: false,
            ..Self::unavailable("timeout", message)
        }
    }

    /// Not the client's fault, and perhaps done all the same: nobody is asked to send it again.
    pub(super) fn outcome_unknown() -> Self {
        let message = "the database gave no answer; whether it was done is not known";
        Self {
            busy: false,
            ..Self::unavailable("outcome_unknown", message)
        }
    }

    /// A fault of ours; `error` is for the log alone.
    pub(super) fn internal(error: impl Into<String>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let answer = Self::client(status, "internal", "the service failed; its log says why");
        Self {
            internal: Some(error.into()),
            ..answer
        }
    }

    /// Says how much of a load is in already when it fails, and of how many rows behind it that is not
    /// known. What is in may not be sent again, so nobody is asked to come back then.
    pub(super) fn after_rows(self, rows: u64, unsure: u64) -> Self {
        let doubt = match unsure {
            0 => String::new(),
            unsure => format!(", and whether the next {unsure} were is not known"),
        };
        Self {
            message: format!(
                "{}; {rows} rows before that were loaded{doubt}",
                self.message
            ),
            busy: self.busy && rows == 0 && unsure == 0,
            ..self
        }
    }

    /// Whether the client did nothing wrong, so that what it asked for may have been done.
    pub(super) fn is_ours(&self) -> bool {
        self.status.is_server_error()
    }

    /// The answer, with the time after which to come back: longer than it is, never shorter.
    pub(super) fn after(self, wait: Duration) -> Response {
        let mut response = self.into_response();
        let seconds = HeaderValue::from(whole_seconds(wait));
        response.headers_mut().insert(RETRY_AFTER, seconds);
        response
    }

    /// What a client may hear of it, where there is no answer to give; the rest goes to the log.
    pub(super) fn told_in_log(self) -> String {
        if let Some(internal) = self.internal {
            tracing::warn!(code = self.code, internal, "work in the background failed");
        }
        self.message
    }

    pub(super) fn caused_by(self, error: &dyn Error) -> Self {
        Self {
            internal: Some(chain(error)),
            ..self
        }
    }

    /// The error of a write that is done twice where it is sent twice.
    pub(super) fn from_write(error: &BatchError) -> Self {
        match error.is_in_doubt() {
            true => Self::outcome_unknown().caused_by(error),
            false => Self::from_batch(error),
        }
    }

    pub(super) fn from_batch(error: &BatchError) -> Self {
        match error {
            BatchError::Pool(error) => Self::from_pool(error),
            BatchError::Database { source, .. } if is_lost(source) => {
                Self::unavailable("database_unavailable", "the database is away").caused_by(error)
            }
            BatchError::Silent { .. } => Self::unavailable(
                "database_unavailable",
                "the database does not answer in time",
            )
            .caused_by(error),
            BatchError::Database { source, .. } if is_contended(source) => {
                Self::unavailable("busy", "another writer was in the way").caused_by(error)
            }
            BatchError::MemoryCeiling { .. } => {
                Self::unavailable("busy", "too little memory is free").caused_by(error)
            }
            // At its deadline.
            BatchError::Stopped { .. } => Self::timed_out(),
            BatchError::Database { .. }
            | BatchError::Undone { .. }
            | BatchError::RowShape { .. }
            | BatchError::Cut { .. } => Self::internal(chain(error)),
        }
    }

    fn from_pool(error: &PoolError) -> Self {
        let answer = match error {
            PoolError::Exhausted { .. } => {
                Self::unavailable("pool_exhausted", "all database connections are in use")
            }
            _ => Self::unavailable("database_unavailable", "the database is away"),
        };
        answer.caused_by(error)
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        Self::from_batch(&error)
    }
}

impl From<CacheError> for ApiError {
    fn from(error: CacheError) -> Self {
        let CacheError::Load { source, .. } = &error else {
            return Self::internal(chain(&error));
        };
        match source.downcast_ref::<LoadError>() {
            Some(LoadError::NotFound) => Self::not_found("row"),
            Some(LoadError::Batch(error)) => Self::from_batch(error),
            Some(LoadError::Json(_)) | None => Self::internal(chain(&**source)),
        }
    }
}

impl From<PageError> for ApiError {
    fn from(error: PageError) -> Self {
        let code = match &error {
            PageError::UnknownParameter { .. } => "unknown_parameter",
            PageError::Repeated { .. } => "repeated_parameter",
            PageError::UnknownField { .. } => "unknown_field",
            PageError::Value { .. } => "invalid_value",
            PageError::Cursor { .. } => "invalid_cursor",
        };
        Self::client(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self {
            status,
            code,
            message,
            busy,
            internal,
        } = self;
        match internal {
            Some(internal) if status == StatusCode::INTERNAL_SERVER_ERROR => {
                tracing::error!(code, internal, "a request failed");
            }
            Some(internal) => tracing::warn!(code, internal, "a request was turned away"),
            None => tracing::debug!(code, message, "a request was refused"),
        }
        let body = Json(json!({ "error": { "code": code, "message": message } }));
        let mut response = (status, body).into_response();
        if busy {
            response.extensions_mut().insert(Busy);
        }
        response
    }
}

/// Tells the client of a [`Busy`] answer when to come back.
pub(super) fn add_retry_after(mut response: Response, seconds: u64) -> Response {
    if response.extensions().get::<Busy>().is_some() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A wait in the seconds of HTTP, at least one: who comes back at once finds the same.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

/// Whether the database has undone the transaction because of what others did meanwhile: to be tried
/// again. On SQLite the wait for another connection's lock was over; the low byte is the primary result
/// code, 5 is SQLITE_BUSY, 6 is SQLITE_LOCKED (<https://sqlite.org/rescode.html>). On PostgreSQL 40001 is a
/// failure of serialization and 40P01 a deadlock (manual, section 13.5).
pub(super) fn is_contended(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    match error.try_downcast_ref::<SqliteError>() {
        Some(error) => error
            .code()
            .and_then(|code| code.parse::<u32>().ok())
            .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
        None => matches!(error.code().as_deref(), Some("40001" | "40P01")),
    }
}

/// An error with its causes, of which some repeat the next one in their own text.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            // Writing into a string cannot fail.
            let _ = write!(text, ": {reason}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_comes_back_too_soon() {
        let check = |ms, expected_s| {
            assert_eq!(
                whole_seconds(Duration::from_millis(ms)),
                expected_s,
                "{ms} ms"
            );
        };
        check(0, 1);
        check(60, 1);
        check(1000, 1);
        check(1001, 2);
        check(29_500, 30);
    }

    #[test]
    fn nobody_is_asked_to_send_again_what_is_in() {
        let busy = || ApiError::unavailable("busy", "locked");
        assert!(busy().after_rows(0, 0).busy);
        let partly = busy().after_rows(1000, 0);
        assert!(!partly.busy);
        assert_eq!(partly.message, "locked; 1000 rows before that were loaded");
        let unsure = busy().after_rows(0, 7);
        assert!(!unsure.busy);
        let expected =
            "locked; 0 rows before that were loaded, and whether the next 7 were is not known";
        assert_eq!(unsure.message, expected);
        let silent = BatchError::Silent {
            action: "insert into",
            table: "t",
            waited_ms: 1,
        };
        assert!(!ApiError::from_write(&silent).busy);
        assert!(ApiError::from_batch(&silent).busy);
        let locked = BatchError::MemoryCeiling {
            resident_bytes: 2,
            pause_bytes: 1,
            waited_ms: 1,
        };
        assert!(ApiError::from_write(&locked).busy);
    }
}
