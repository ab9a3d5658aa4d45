//! The parameters of a query string, in their order and with their repetitions.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::app::App;
use super::error::ApiError;

/// The one variable part of a path, as text.
pub(super) struct Id(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| {
            let message = "the path is not well formed";
            ApiError::client(StatusCode::BAD_REQUEST, "invalid_id", message)
        })
    }
}

/// All parameters.
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        query.map(|Query(pairs)| Self(pairs)).map_err(|_| {
            let message = "the query string is not well formed";
            ApiError::client(StatusCode::BAD_REQUEST, "invalid_query", message)
        })
    }
}

impl Params {
    /// The values of `names`, each given once or not at all, and nothing else given.
    pub(super) fn only<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[Option<&str>; N], ApiError> {
        let mut values = [None; N];
        for (name, value) in &self.0 {
            let Some(index) = names.iter().position(|known| known == name) else {
                let message = format!("unknown parameter; known are {}", names.join(", "));
                let status = StatusCode::BAD_REQUEST;
                return Err(ApiError::client(status, "unknown_parameter", message));
            };
            if values[index].replace(value.as_str()).is_some() {
                let message = format!("parameter `{}` is given twice", names[index]);
                let status = StatusCode::BAD_REQUEST;
                return Err(ApiError::client(status, "repeated_parameter", message));
            }
        }
        Ok(values)
    }
}

/// A parameter that must be a whole number within `range`.
pub(super) fn whole_number(
    name: &str,
    text: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, ApiError> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| {
            let message = format!(
                "`{name}` must be a whole number from {} to {}",
                range.start(),
                range.end()
            );
            ApiError::client(StatusCode::BAD_REQUEST, "invalid_value", message)
        })
}

/// A parameter that names something there is.
pub(super) fn known<T>(
    name: &str,
    text: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let found = read(text).ok_or_else(|| {
        let message = format!("`{name}` names nothing that there is");
        ApiError::client(StatusCode::BAD_REQUEST, "invalid_value", message)
    });
    found.map(Some)
}

/// How many rows a page is to have, as its parameter says.
pub(super) fn page_rows(app: &App, limit: Option<&str>) -> Result<u64, ApiError> {
    let settings = &app.settings.batch;
    match limit {
        Some(text) => whole_number("limit", text, 1..=u64::from(settings.page_max_rows)),
        None => Ok(u64::from(settings.page_rows)),
    }
}
