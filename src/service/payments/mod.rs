//! `/api/v1/payments` (LO2): payments that are made once, however often they are asked for.
//!
//! - `POST /payments` with `Idempotency-Key`: a new payment, `pending` until the provider has spoken. The same
//!   key with the same body gives the first answer again (with `Idempotent-Replayed: true`); with another
//!   body it is refused with 422.
//! - `GET /payments/{id}`: a payment, its version as `ETag`.
//! - `POST /payments/{id}/callback`: what became of it, from the provider: `succeeded` or `failed`. Repeated,
//!   it changes nothing; one that contradicts what was said before is refused with 409. Only who signs as
//!   the provider is believed ([`ProviderSecret`]), so where no secret is set every callback is refused. The
//!   path is not signed: the body names the payment once more.
//! - `PUT /payments/{id}/state` with `If-Match`: `cancelled` before the provider has spoken, `refunded` after
//!   money came. Refused with 412 when the payment has changed since it was read.
//!
//! What keeps this right is the database alone: the key is unique in the row of the payment itself, and every
//! change is an update of one version to the next, in one transaction with the money that it moves. The
//! lock that a new payment takes only spares contenders the work.
//!
//! To who comes from a gateway as of one tenant, the payments of another are not there.

mod handlers;
mod input;
mod ledger;
mod signature;

pub(super) use handlers::{callback, change, create, detail};
pub use signature::{ProviderSecret, SecretError};
