//! The parameters of a query string, in their order and with their repetitions.

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::error::ApiError;

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
