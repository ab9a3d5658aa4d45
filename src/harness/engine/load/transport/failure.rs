//! Why an exchange failed, told apart by what the clients below report.

use std::error::Error as StdError;
use std::io;

use nix::errno::Errno;

use crate::harness::engine::http;
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
        Self {
            kind,
            message: http::cause(error),
        }
    }
}

/// Why there is no connection.
pub(super) fn unconnected(error: &(dyn StdError + 'static)) -> ErrorKind {
    if chain(error).any(is_own_limit) {
        ErrorKind::Exhausted
    } else {
        ErrorKind::Connect
    }
}

/// Whether this process or this machine has no file or no port left.
fn is_own_limit(cause: &(dyn StdError + 'static)) -> bool {
    let code = cause
        .downcast_ref::<io::Error>()
        .and_then(io::Error::raw_os_error);
    code.map(Errno::from_raw)
        .is_some_and(|errno| matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_s_own_limits_are_told_from_the_target_s_refusal() {
        let check = |errno: Errno, expected: ErrorKind| {
            let error = io::Error::from(errno);
            assert_eq!(unconnected(&error), expected, "{errno}");
            // As a client hands it on.
            let wrapped = io::Error::other(io::Error::from(errno));
            assert_eq!(unconnected(&wrapped), expected, "{errno}");
        };
        check(Errno::EMFILE, ErrorKind::Exhausted);
        check(Errno::ENFILE, ErrorKind::Exhausted);
        check(Errno::EADDRNOTAVAIL, ErrorKind::Exhausted);
        check(Errno::ECONNREFUSED, ErrorKind::Connect);
        check(Errno::EHOSTUNREACH, ErrorKind::Connect);
        let unresolved = io::Error::other("failed to lookup address information");
        assert_eq!(unconnected(&unresolved), ErrorKind::Connect);
    }
}
