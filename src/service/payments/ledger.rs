//! Payments in the database: what may become of one, and the transactions that make it so.
//!
//! A payment is a row of `payment_intents`; the money that it moved is rows of `payments`, which everything
//! else reads. Both change together.

use axum::http::StatusCode;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::input::{Callback, Outcome, PaymentInput, Target};
use crate::datalayer::batch::{
    BatchError, Column, Row, Value, fetch_rows, in_transaction, is_lost, name_list,
};
use crate::datalayer::pool::{Pool, PoolError};
use crate::service::clients::now;
use crate::service::error::{ApiError, is_contended};

const TABLE: &str = "payment_intents";

/// The columns of a [`Payment`], in the order of its fields.
const COLUMNS: [Column; 10] = [
    Column::text("id"),
    Column::integer("tenant_id"),
    Column::integer("client_id"),
    Column::integer("amount_cents"),
    Column::text("method"),
    Column::text("state"),
    Column::integer("version"),
    Column::text("provider_outcome"),
    Column::text("created_at"),
    Column::text("updated_at"),
];

const PENDING: &str = "pending";
const SUCCEEDED: &str = "succeeded";
const FAILED: &str = "failed";
const CANCELLED: &str = "cancelled";
const REFUNDED: &str = "refunded";

/// A payment at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) tenant_id: i64,
    pub(super) client_id: i64,
    pub(super) amount_cents: i64,
    pub(super) method: String,
    pub(super) state: String,
    pub(super) version: i64,
    /// What the provider said; empty until it has.
    pub(super) provider_outcome: String,
    pub(super) created_at: String,
    pub(super) updated_at: String,
}

/// A payment that was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The first answer, as it was given then.
    pub(super) answer: String,
    /// Whether it had been asked for before.
    pub(super) replayed: bool,
}

/// What a payment becomes, and which money moves with that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    state: &'static str,
    /// What the provider said, where that is why.
    outcome: Option<&'static str>,
    /// Positive where a client paid, negative where it was given back, 0 where none moves.
    moved_cents: i64,
}

/// Why a payment was not made or changed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It was changed meanwhile.
    Outrun,
    Database(BatchError),
    Answer(ApiError),
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        Self::Database(error)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Answer(error)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Outrun => conflict(
                StatusCode::PRECONDITION_FAILED,
                "version_mismatch",
                "the payment has changed since it was read: read it again",
            ),
            Refusal::Database(error) => error.into(),
            Refusal::Answer(error) => error,
        }
    }
}

impl Refusal {
    /// Whether the database has undone everything because of what others did meanwhile.
    pub(super) fn is_contention(&self) -> bool {
        match self {
            Self::Database(BatchError::Database { source, .. }) => is_contended(source),
            _ => false,
        }
    }

    /// Whether it is not known what the database has done, so that only what may be done twice may be
    /// tried again.
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Self::Database(
                BatchError::Database { source, .. }
                | BatchError::Pool(PoolError::Refused { source }),
            ) => is_lost(source),
            _ => false,
        }
    }
}

impl Payment {
    fn new(input: PaymentInput) -> Self {
        let now = now();
        Self {
            // Drawn at random: nobody guesses another's.
            id: Uuid::new_v4().to_string(),
            tenant_id: input.tenant_id,
            client_id: input.client_id,
            amount_cents: input.amount_cents,
            method: input.method,
            state: PENDING.to_owned(),
            version: 1,
            provider_outcome: String::new(),
            created_at: now.clone(),
            updated_at: now,
        }
    }

    fn read(row: Row) -> Option<Self> {
        let row: [Value; 10] = row.try_into().ok()?;
        let [
            id,
            tenant,
            client,
            amount,
            method,
            state,
            version,
            outcome,
            created,
            updated,
        ] = row;
        Some(Self {
            id: text(id)?,
            tenant_id: integer(&tenant)?,
            client_id: integer(&client)?,
            amount_cents: integer(&amount)?,
            method: text(method)?,
            state: text(state)?,
            version: integer(&version)?,
            provider_outcome: text(outcome)?,
            created_at: text(created)?,
            updated_at: text(updated)?,
        })
    }

    fn values(&self) -> Row {
        vec![
            self.id.clone().into(),
            self.tenant_id.into(),
            self.client_id.into(),
            self.amount_cents.into(),
            self.method.clone().into(),
            self.state.clone().into(),
            self.version.into(),
            self.provider_outcome.clone().into(),
            self.created_at.clone().into(),
            self.updated_at.clone().into(),
        ]
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "id": self.id,
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "amount_cents": self.amount_cents,
            "method": self.method,
            "state": self.state,
            "version": self.version,
            "provider_outcome": Some(&self.provider_outcome).filter(|said| !said.is_empty()),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        })
    }

    /// What a callback makes of it; `None` where it says nothing new.
    pub(super) fn settled(&self, callback: &Callback) -> Result<Option<Step>, ApiError> {
        let (outcome, moved_cents) = match callback.outcome {
            Outcome::Succeeded => (SUCCEEDED, self.amount_cents),
            Outcome::Failed => (FAILED, 0),
        };
        match (self.state.as_str(), self.provider_outcome.as_str()) {
            (PENDING, _) => Ok(Some(Step {
                state: outcome,
                outcome: Some(outcome),
                moved_cents,
            })),
            (_, said) if said == outcome => Ok(None),
            (CANCELLED, "") if callback.outcome == Outcome::Failed => Ok(None),
            // The money is with the provider, and no client of ours paid it: somebody has to give it back.
            (CANCELLED, "") => {
                let (id, amount_cents) = (&self.id, self.amount_cents);
                tracing::warn!(%id, amount_cents, "money came for a payment that was cancelled");
                Ok(Some(Step {
                    state: CANCELLED,
                    outcome: Some(outcome),
                    moved_cents: 0,
                }))
            }
            (state, said) => {
                let id = &self.id;
                tracing::warn!(%id, state, said, outcome, "a callback contradicts an earlier one");
                Err(conflict(
                    StatusCode::CONFLICT,
                    "callback_contradicts",
                    "another outcome of this payment was called back before, and stands",
                ))
            }
        }
    }

    /// What a client's change makes of it.
    pub(super) fn changed(&self, target: Target) -> Result<Step, ApiError> {
        match (target, self.state.as_str()) {
            (Target::Cancelled, PENDING) => Ok(Step {
                state: CANCELLED,
                outcome: None,
                moved_cents: 0,
            }),
            (Target::Refunded, SUCCEEDED) => Ok(Step {
                state: REFUNDED,
                outcome: None,
                moved_cents: -self.amount_cents,
            }),
            (_, state) => Err(conflict(
                StatusCode::CONFLICT,
                "state_conflict",
                format!(
                    "the payment is {state}: only a pending one can be cancelled, and only one that \
                     succeeded refunded"
                ),
            )),
        }
    }
}

/// Makes a payment under a key of its tenant, or gives the answer to the first request with this key.
pub(super) async fn ask(
    pool: &Pool,
    input: PaymentInput,
    key: String,
    digest: String,
) -> Result<Asked, Refusal> {
    let tenant = input.tenant_id;
    let payment = Payment::new(input);
    let answer = payment.json().to_string();
    let more: Row = vec![
        "".into(),
        key.clone().into(),
        digest.clone().into(),
        answer.clone().into(),
    ];
    let values = [payment.values(), more].concat();
    // A request with the same key that is under way is waited for here; it has then made the payment,
    // or left it to this one.
    let insert = format!(
        "INSERT INTO {TABLE} ({}, provider_event, idempotency_key, request_digest, answer) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 \
         FROM clients WHERE id = $3 AND tenant_id = $2 \
         ON CONFLICT (tenant_id, idempotency_key) DO NOTHING RETURNING id",
        name_list(&COLUMNS)
    );
    let first = format!(
        "SELECT request_digest, answer FROM {TABLE} WHERE tenant_id = $1 AND idempotency_key = $2"
    );
    in_transaction(pool, ("insert into", TABLE), async |transaction| {
        let id = [Column::text("id")];
        let insert = AssertSqlSafe(insert);
        let inserted = transaction.fetch_rows(("insert into", TABLE), insert, &values, &id);
        if !inserted.await?.is_empty() {
            return Ok(Asked {
                answer,
                replayed: false,
            });
        }
        let columns = [Column::text("request_digest"), Column::text("answer")];
        let names: Row = vec![tenant.into(), key.into()];
        let first = AssertSqlSafe(first);
        let found = transaction.fetch_rows(("read", TABLE), first, &names, &columns);
        let found = found.await?.pop();
        let found = found.and_then(|row| <[Value; 2]>::try_from(row).ok());
        match found {
            None => {
                Err(ApiError::invalid_body("`client_id` names no client of this tenant").into())
            }
            Some([Value::Text(first), answer]) if first == digest => Ok(Asked {
                answer: text(answer).unwrap_or_default(),
                replayed: true,
            }),
            Some(_) => Err(conflict(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this `Idempotency-Key` was used for another payment: take a new one",
            )
            .into()),
        }
    })
    .await
}

/// A payment as it is now.
pub(super) async fn find(pool: &Pool, id: Uuid) -> Result<Payment, Refusal> {
    let sql = AssertSqlSafe(format!(
        "SELECT {} FROM {TABLE} WHERE id = $1",
        name_list(&COLUMNS)
    ));
    let id = [id.to_string().into()];
    let rows = fetch_rows(pool, ("read", TABLE), sql, &id, &COLUMNS).await?;
    let row = rows.into_iter().next();
    let row = row.ok_or_else(|| ApiError::not_found("payment"))?;
    let payment = Payment::read(row);
    Ok(payment.ok_or_else(|| ApiError::internal("a payment has columns of other kinds"))?)
}

/// Takes a payment from the version that was read one step on, and gives it as it is then.
///
/// # Errors
/// [`Refusal::Outrun`] if it has another version by now: nothing was changed.
pub(super) async fn take(
    pool: &Pool,
    payment: &Payment,
    step: Step,
    callback: Option<&Callback>,
) -> Result<Payment, Refusal> {
    let now = now();
    let event = callback.map(|callback| callback.event_id.clone());
    let outcome = step.outcome.unwrap_or(&payment.provider_outcome);
    let next = Payment {
        state: step.state.to_owned(),
        version: payment.version + 1,
        provider_outcome: outcome.to_owned(),
        updated_at: now.clone(),
        ..payment.clone()
    };
    let values: Row = vec![
        next.state.clone().into(),
        next.version.into(),
        next.provider_outcome.clone().into(),
        event.unwrap_or_default().into(),
        next.updated_at.clone().into(),
        payment.id.clone().into(),
        payment.version.into(),
    ];
    // What a client changes leaves the provider's event as it is.
    let update = format!(
        "UPDATE {TABLE} SET state = $1, version = $2, provider_outcome = $3, \
         provider_event = CASE WHEN $4 = '' THEN provider_event ELSE $4 END, updated_at = $5 \
         WHERE id = $6 AND version = $7 RETURNING version"
    );
    let money: Row = vec![
        payment.tenant_id.into(),
        payment.client_id.into(),
        now.chars().take(DAY_LENGTH).collect::<String>().into(),
        step.moved_cents.into(),
        payment.method.clone().into(),
    ];
    in_transaction(pool, ("update", TABLE), async |transaction| {
        let version = [Column::integer("version")];
        let update = AssertSqlSafe(update);
        let updated = transaction.fetch_rows(("update", TABLE), update, &values, &version);
        if updated.await?.is_empty() {
            return Err(Refusal::Outrun);
        }
        if step.moved_cents != 0 {
            let statement = ("insert into", "payments");
            let insert = "INSERT INTO payments (tenant_id, client_id, paid_on, amount_cents, method) \
                          VALUES ($1, $2, $3, $4, $5)";
            transaction
                .fetch_rows(statement, insert, &money, &[])
                .await?;
        }
        Ok(())
    })
    .await?;
    Ok(next)
}

/// The characters of the day in what [`now`] gives.
const DAY_LENGTH: usize = "YYYY-MM-DD".len();

fn conflict(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::client(status, code, message)
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.into_owned()),
        Value::Integer(_) => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment(state: &str, provider_outcome: &str) -> Payment {
        let input = PaymentInput {
            tenant_id: 1,
            client_id: 2,
            amount_cents: 300,
            method: "card".to_owned(),
        };
        Payment {
            state: state.to_owned(),
            provider_outcome: provider_outcome.to_owned(),
            ..Payment::new(input)
        }
    }

    #[test]
    fn a_callback_settles_once() {
        let check = |state, said, outcome, expected: Option<Option<(&str, i64)>>| {
            let callback = Callback {
                payment_id: Uuid::nil(),
                event_id: "e".to_owned(),
                outcome,
            };
            let step = payment(state, said).settled(&callback).ok();
            let step = step.map(|step| step.map(|step| (step.state, step.moved_cents)));
            assert_eq!(step, expected, "{state} {said} {outcome:?}");
        };
        let (succeeded, failed) = (Outcome::Succeeded, Outcome::Failed);
        check(PENDING, "", succeeded, Some(Some((SUCCEEDED, 300))));
        check(PENDING, "", failed, Some(Some((FAILED, 0))));
        check(SUCCEEDED, SUCCEEDED, succeeded, Some(None));
        check(SUCCEEDED, SUCCEEDED, failed, None);
        check(FAILED, FAILED, failed, Some(None));
        check(FAILED, FAILED, succeeded, None);
        // Late repetitions of what was refunded since.
        check(REFUNDED, SUCCEEDED, succeeded, Some(None));
        check(REFUNDED, SUCCEEDED, failed, None);
        check(CANCELLED, "", failed, Some(None));
        // It stays cancelled, and what the provider has is known.
        check(CANCELLED, "", succeeded, Some(Some((CANCELLED, 0))));
        check(CANCELLED, SUCCEEDED, succeeded, Some(None));
        check(CANCELLED, SUCCEEDED, failed, None);
    }

    #[test]
    fn only_what_has_not_come_is_cancelled_and_only_what_has_is_refunded() {
        let check = |state, target, expected: Option<(&str, i64)>| {
            let step = payment(state, "").changed(target).ok();
            let step = step.map(|step| (step.state, step.moved_cents));
            assert_eq!(step, expected, "{state} {target:?}");
        };
        check(PENDING, Target::Cancelled, Some((CANCELLED, 0)));
        check(SUCCEEDED, Target::Refunded, Some((REFUNDED, -300)));
        for state in [SUCCEEDED, FAILED, CANCELLED, REFUNDED] {
            check(state, Target::Cancelled, None);
        }
        for state in [PENDING, FAILED, CANCELLED, REFUNDED] {
            check(state, Target::Refunded, None);
        }
    }
}
