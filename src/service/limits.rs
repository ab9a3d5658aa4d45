//! The rate limits of everything under `/api`, and of paths that there are not.
//!
//! Answers say how much is left in two forms: `RateLimit-Limit`, `RateLimit-Remaining` and
//! `RateLimit-Reset` as in draft-ietf-httpapi-ratelimit-headers-06, which most clients know, and
//! `RateLimit-Policy` and `RateLimit` as in draft 11 of the same, which replaced them. Both tell of
//! the limit of which the least is left.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::caller::Caller;
use super::error::{ApiError, whole_seconds};
use super::metrics::method_name;
use crate::datalayer::limit::{Dimension, Limits, Verdict};

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// The window of every limit.
const WINDOW_S: u32 = 60;

/// Lets a request through, or answers 429 with the time after which to come back.
pub(super) async fn limit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (verdict, denial) = judge(&app, &request);
    let mut response = match denial {
        Some(denial) => denial,
        None => next.run(request).await,
    };
    if let Some(verdict) = verdict {
        tell(response.headers_mut(), &verdict, &app.limit_policy);
    }
    response
}

/// What the limits say, and the answer to a request that is not to go on.
fn judge(app: &App, request: &Request) -> (Option<Verdict>, Option<Response>) {
    let (headers, extensions) = (request.headers(), request.extensions());
    let route = extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let is_internal = route.is_some_and(|route| !route.starts_with("/api/"));
    let admin = app.admin.as_ref();
    if is_internal || admin.is_some_and(|token| token.is_shown(headers)) {
        return (None, None);
    }
    // Who claims nonsense is counted too.
    let (caller, denial) = match Caller::of(headers, extensions, &app.settings.service) {
        Ok(caller) => (caller, None),
        Err(error) => (Caller::by_address(extensions), Some(error.into_response())),
    };
    let method = match request.method() {
        // The same work without its answer.
        &Method::HEAD => "GET",
        method => method_name(method),
    };
    let endpoint = format!("{method} {}", route.unwrap_or("none"));
    let verdict = app.limits.check(&caller.key(), caller.tenant, &endpoint);
    match verdict {
        Some(verdict) if !verdict.decision.allowed => (Some(verdict), Some(refuse(&verdict))),
        verdict => (verdict, denial),
    }
}

/// What `RateLimit-Policy` says, as long as the service runs; `None` where no limit is on.
pub(super) fn policy(limits: &Limits) -> Option<HeaderValue> {
    let each = limits.stats().into_iter().map(|limit| {
        let (name, per_min) = (limit.dimension.name(), limit.per_min);
        format!("\"{name}\";q={per_min};w={WINDOW_S}")
    });
    let all: Vec<String> = each.collect();
    HeaderValue::try_from(all.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
}

fn refuse(verdict: &Verdict) -> Response {
    let whose = match verdict.dimension {
        Dimension::User => "of this user",
        Dimension::Tenant => "of this tenant",
        Dimension::Endpoint => "of this user to this endpoint",
    };
    let limit = verdict.decision.limit;
    let message = format!("more than the {limit} requests a minute {whose}");
    let status = StatusCode::TOO_MANY_REQUESTS;
    ApiError::client(status, "rate_limited", message).after(verdict.decision.reset)
}

fn tell(headers: &mut HeaderMap, verdict: &Verdict, policy: &Option<HeaderValue>) {
    let decision = verdict.decision;
    let reset_s = whole_seconds(decision.reset);
    let mut state = String::with_capacity(40);
    let name = verdict.dimension.name();
    // Writing into a string cannot fail.
    let _ = write!(state, "\"{name}\";r={};t={reset_s}", decision.remaining);
    headers.insert(LIMIT, decision.limit.into());
    headers.insert(REMAINING, decision.remaining.into());
    headers.insert(RESET, reset_s.into());
    headers.extend(policy.clone().map(|policy| (POLICY, policy)));
    headers.extend(
        HeaderValue::try_from(state)
            .ok()
            .map(|state| (STATE, state)),
    );
}
