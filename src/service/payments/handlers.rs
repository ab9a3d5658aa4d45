//! Requests to payments and back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use backon::{ExponentialBuilder, Retryable as _};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::input::{
    Callback, Change, Expected, PaymentInput, digest, etag, expected_version, idempotency_key,
    payment_id,
};
use super::ledger::{self, Asked, Payment, Refusal};
use crate::service::app::App;
use crate::service::caller::Caller;
use crate::service::clients;
use crate::service::error::ApiError;
use crate::service::live;
use crate::service::params::Id;
use crate::service::write::to_the_end;

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// `POST /payments`: a new payment, once a key.
pub(in crate::service) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let key = idempotency_key(&headers, &app.settings.payments)?;
    let input = PaymentInput::read(&app, body)?;
    if !caller.may_see(input.tenant_id) {
        return Err(ApiError::invalid_body(
            "`tenant_id` is another than the caller's",
        ));
    }
    let digest = input.digest();
    to_the_end(|| async move { within_limit(&app, once(&app, input, key, digest)).await }).await
}

/// Asks the database for the payment under the lock of its key. A lock that cannot be had (its servers are
/// away, or a holder died) is done without: it spares work and decides nothing.
async fn once(
    app: &App,
    input: PaymentInput,
    key: String,
    digest_of_body: String,
) -> Result<Response, ApiError> {
    let settings = &app.settings.payments;
    let (tenant, client) = (input.tenant_id, input.client_id);
    let name = format!("payment:{}:{}", input.tenant_id, digest(key.as_bytes()));
    let wait = Duration::from_millis(settings.lock_wait_ms);
    let lease = app
        .locks
        .acquire_within(&app.lock_name(&name), settings.timeout(), wait)
        .await;
    if let Err(error) = &lease {
        tracing::debug!(%error, "a payment goes on without its lock");
    }
    let attempt = || {
        let (input, key, digest) = (input.clone(), key.clone(), digest_of_body.clone());
        ledger::ask(&app.payment_pool, input, key, digest)
    };
    // Asked again, it finds what it may have done already.
    let asked = attempt
        .retry(app.payment_retries())
        .sleep(sleep)
        .when(|refusal| refusal.is_contention() || refusal.is_loss())
        .await;
    // Freed in the background: nobody waits for servers that are slow.
    drop(lease);
    let asked = asked?;
    // An answer that is repeated too: the one before may have come through unheard.
    let change = json!({ "kind": "created", "id": asked.head()?.id, "client_id": client });
    app.tell(tenant, live::PAYMENTS, &change);
    asked.into_response()
}

/// `GET /payments/{id}`.
pub(in crate::service) async fn detail(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id,
) -> Result<Response, ApiError> {
    let id = payment_id(&id)?;
    let payment = find(&app, &caller, id).await?;
    Ok(answer(&payment))
}

/// A payment that the caller may see.
async fn find(app: &App, caller: &Caller, id: Uuid) -> Result<Payment, Refusal> {
    let payment = ledger::find(&app.payment_pool, id).await?;
    if !caller.may_see(payment.tenant_id) {
        return Err(ApiError::not_found("payment").into());
    }
    Ok(payment)
}

/// `POST /payments/{id}/callback`: the provider's word.
pub(in crate::service) async fn callback(
    State(app): State<Arc<App>>,
    Id(id): Id,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let id = payment_id(&id)?;
    let callback = Callback::read(&app, id, &headers, body)?;
    to_the_end(|| async move {
        let owner = OnceLock::new();
        let settled = within_limit(&app, settle(&app, id, &callback, &owner)).await;
        announce(&app, id, owner, has_changed(&settled)).await;
        settled
    })
    .await
}

/// Tells in `owner`, as soon as that is known, whose payment it is.
async fn settle(
    app: &App,
    id: Uuid,
    callback: &Callback,
    owner: &OnceLock<Owner>,
) -> Result<Response, ApiError> {
    let attempt = || async {
        let payment = ledger::find(&app.payment_pool, id).await?;
        owner.get_or_init(|| Owner::of(&payment));
        match payment.settled(callback)? {
            Some(step) => ledger::take(&app.payment_pool, &payment, step, Some(callback)).await,
            None => Ok(payment),
        }
    };
    // Read again, a payment that is settled already stays as it is.
    let settled = attempt
        .retry(app.payment_retries())
        .sleep(sleep)
        .when(|refusal| {
            refusal.is_contention() || refusal.is_loss() || matches!(refusal, Refusal::Outrun)
        })
        .await?;
    Ok(answer(&settled))
}

/// `PUT /payments/{id}/state`: cancelled or refunded, if it is still as the client has read it.
pub(in crate::service) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let id = payment_id(&id)?;
    let expected = expected_version(&headers)?;
    let change = Change::read(&app, body)?;
    to_the_end(|| async move {
        let owner = OnceLock::new();
        let stepped = step(&app, &caller, id, expected, change, &owner);
        let changed = within_limit(&app, stepped).await;
        announce(&app, id, owner, has_changed(&changed)).await;
        changed
    })
    .await
}

/// As [`settle`].
async fn step(
    app: &App,
    caller: &Caller,
    id: Uuid,
    expected: Expected,
    change: Change,
    owner: &OnceLock<Owner>,
) -> Result<Response, ApiError> {
    let attempt = || async {
        let payment = find(app, caller, id).await?;
        owner.get_or_init(|| Owner::of(&payment));
        if !expected.is(payment.version) {
            return Err(Refusal::Outrun);
        }
        let step = payment.changed(change.state)?;
        ledger::take(&app.payment_pool, &payment, step, None).await
    };
    // After a loss the change may be there, under a version that the client has not seen.
    let changed = attempt
        .retry(app.payment_retries())
        .sleep(sleep)
        .when(Refusal::is_contention)
        .await?;
    Ok(answer(&changed))
}

/// Whose payment it is, which never changes.
#[derive(Debug, Clone, Copy)]
struct Owner {
    tenant: i64,
    client: i64,
}

impl Owner {
    fn of(payment: &Payment) -> Self {
        Self {
            tenant: payment.tenant_id,
            client: payment.client_id,
        }
    }
}

/// Whether a payment has changed. Not known after an error of ours: a commit that was not heard of may have
/// come through, or still do.
fn has_changed(changed: &Result<Response, ApiError>) -> Option<bool> {
    match changed {
        Ok(_) => Some(true),
        Err(error) if error.is_ours() => None,
        Err(_) => Some(false),
    }
}

/// Forgets what a change of a payment concerns, and tells of it where there may be one.
/// A payment that was not found has no owner.
async fn announce(app: &App, id: Uuid, owner: OnceLock<Owner>, changed: Option<bool>) {
    let Some(owner) = owner.into_inner() else {
        return;
    };
    clients::forget_one(app, owner.client, changed.is_none()).await;
    let change = json!({ "kind": "changed", "id": id, "client_id": owner.client });
    match changed {
        Some(true) => app.tell(owner.tenant, live::PAYMENTS, &change),
        Some(false) => {}
        None => app.tell_in_doubt(owner.tenant, live::PAYMENTS, change),
    }
}

/// What `work` gives within `payments.timeout_ms`. What is dropped then is rolled back, unless its commit
/// was under way: whoever asked asks again.
async fn within_limit<T>(
    app: &App,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let limited = timeout(app.settings.payments.timeout(), work).await;
    limited.unwrap_or_else(|_| Err(ApiError::timed_out()))
}

fn answer(payment: &Payment) -> Response {
    ([(ETAG, etag(payment.version))], Json(payment.json())).into_response()
}

/// What of an answer goes into headers.
#[derive(Deserialize)]
struct Head {
    id: Uuid,
    version: i64,
}

impl Asked {
    fn head(&self) -> Result<Head, ApiError> {
        serde_json::from_str(&self.answer)
            .map_err(|error| ApiError::internal(format!("a stored answer is none: {error}")))
    }

    fn into_response(self) -> Result<Response, ApiError> {
        let head = self.head()?;
        let headers = [
            (CONTENT_TYPE, "application/json".to_owned()),
            (LOCATION, format!("/api/v1/payments/{}", head.id)),
            (ETAG, etag(head.version)),
        ];
        let mut response = (StatusCode::CREATED, headers, self.answer).into_response();
        if self.replayed {
            response
                .headers_mut()
                .insert(REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }
}

impl App {
    fn payment_retries(&self) -> ExponentialBuilder {
        let settings = &self.settings.payments;
        ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(settings.retry_min_ms))
            .with_max_delay(Duration::from_millis(settings.retry_max_ms))
            .with_max_times(settings.retries_max)
            .with_jitter()
    }
}
