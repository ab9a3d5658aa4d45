//! One HTTP exchange, to the last byte of its body. The only module that knows which client does it.
//!
//! A plain target is reached over a [connection](own) that each user owns, because a pool and the
//! layers of a general client would add to every service time; a general [client](pooled) serves
//! TLS. The target's scheme decides.

mod exchange;
mod own;
mod pooled;
mod failure;

pub use self::exchange::TransportError;
pub(super) use self::exchange::{Answer, Connection, Message, Request, Stream, Timings, Transport};
pub(super) use self::failure::Failure;
