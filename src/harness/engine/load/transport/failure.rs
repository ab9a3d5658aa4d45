//! Why an exchange failed, told apart by what the clients below report.

use std::error::Error as StdError;
use std::io;

use crate::harness::model::ErrorKind;

/// Why the exchange failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    /// May hold hostile text.
    pub(crate) message: String,
}

impl Failure {
    /// A failure of that kind. The innermost error says what happened ("Connection refused"); the
    /// outer ones say where, with the URL in it, which may hold secrets.
    pub(super) fn new(kind: ErrorKind, error: &(dyn StdError + 'static)) -> Self {
        let innermost = chain(error).last().unwrap_or(error);
        Self {
            kind,
            message: innermost.to_string(),
        }
    }
}

/// What went wrong on a connection that had been there.
pub(super) fn kind(error: &(dyn StdError + 'static)) -> ErrorKind {
    if chain(error).any(is_closed) {
        ErrorKind::Closed
    } else {
        ErrorKind::Protocol
    }
}

fn is_closed(cause: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::NotConnected
                | io::ErrorKind::UnexpectedEof
        );
    }
    cause.downcast_ref::<hyper::Error>().is_some_and(|error| {
        error.is_incomplete_message() || error.is_closed() || error.is_canceled()
    })
}

/// The error and its causes, outermost first. An `io::Error` hides what it wraps from `source`.
pub(super) fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&cause| {
        let wrapped = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => cause.source(),
        }
    })
}
