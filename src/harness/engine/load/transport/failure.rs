//! Why an exchange failed, told apart by what the layers below report.

use std::error::Error as StdError;
use std::fs::File;
use std::io;

use nix::errno::Errno;

use super::tls;
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
    /// A failure of that kind.
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// A failure of that kind. The innermost error says what happened ("Connection refused"); the
    /// outer ones say where.
    pub(super) fn of(kind: ErrorKind, error: &(dyn StdError + 'static)) -> Self {
        Self::new(kind, http::cause(error))
    }

    /// There is no connection.
    pub(super) fn unconnected(error: &io::Error) -> Self {
        let kind = match is_own_limit(error) {
            true => ErrorKind::Exhausted,
            false => ErrorKind::Connect,
        };
        Self::of(kind, error)
    }

    /// A name was not resolved. The resolver of the C library doesn't say that it found no file left:
    /// then it is as if the name server were not there.
    pub(super) fn unresolved(name: &str, error: &io::Error) -> Self {
        match File::open("/dev/null") {
            Err(error) if is_own_limit(&error) => Self::unconnected(&error),
            _ if is_own_limit(error) => Self::unconnected(error),
            _ => {
                let cause = http::cause(error);
                Self::new(ErrorKind::Connect, format!("`{name}`: {cause}"))
            }
        }
    }

    /// Something went wrong on a connection that had been there.
    pub(super) fn broken(error: &(dyn StdError + 'static)) -> Self {
        if let Some(error) = chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return tls::refused(error);
        }
        let breaks_rules = chain(error)
            .filter_map(|cause| cause.downcast_ref::<h2::Error>())
            .any(|error| error.is_library() && error.is_go_away());
        if breaks_rules {
            let cause = http::cause(error);
            return Self::new(
                ErrorKind::Protocol,
                format!("what came back breaks the rules of HTTP/2: {cause}"),
            );
        }
        let kind = match chain(error).any(is_closed) {
            true => ErrorKind::Closed,
            false => ErrorKind::Protocol,
        };
        Self::of(kind, error)
    }
}

impl From<Failure> for (ErrorKind, String) {
    fn from(failure: Failure) -> Self {
        (failure.kind, failure.message)
    }
}

/// Whether the server says that it did not process a request of HTTP/2: it ended the connection and
/// named an earlier one as the last (RFC 9113, section 6.8), or refused it (section 8.7). Of a request
/// that it may have processed, no error of `h2` says that the server sent a GOAWAY.
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    chain(error)
        .filter_map(|cause| cause.downcast_ref::<h2::Error>())
        .any(|error| {
            error.is_remote()
                && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
        })
}

/// Whether this process or this machine has no file or no port left.
fn is_own_limit(error: &io::Error) -> bool {
    chain(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .filter_map(io::Error::raw_os_error)
        .map(Errno::from_raw)
        .any(|errno| matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::EADDRNOTAVAIL))
}

fn is_closed(cause: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        return is_end(error);
    }
    if let Some(error) = cause.downcast_ref::<h2::Error>() {
        // A connection or a stream that the server ended, or that is gone.
        return error.is_remote() || error.get_io().is_some_and(is_end);
    }
    cause.downcast_ref::<hyper::Error>().is_some_and(|error| {
        error.is_incomplete_message() || error.is_closed() || error.is_canceled()
    })
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}

/// The error and its causes, outermost first. An `io::Error` hides what it wraps from `source`.
fn chain<'a>(
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
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::env;
    use std::process::Command;

    use nix::sys::resource::{Resource, setrlimit};
    use tokio::net::TcpListener;
    use url::Url;

    use super::super::fixture::{exchange, get};
    use super::super::target::Transport;
    use super::*;
    use crate::harness::scenario::HttpPlan;

    #[test]
    fn the_generator_s_own_limits_are_told_from_the_target_s_refusal() {
        let check = |errno: Errno, expected: ErrorKind| {
            let error = io::Error::from(errno);
            assert_eq!(Failure::unconnected(&error).kind, expected, "{errno}");
            let of_name = Failure::unresolved("a.example", &error);
            assert_eq!(of_name.kind, expected, "{errno}");
            // As a layer above hands it on.
            let wrapped = io::Error::other(io::Error::from(errno));
            assert_eq!(Failure::unconnected(&wrapped).kind, expected, "{errno}");
        };
        check(Errno::EMFILE, ErrorKind::Exhausted);
        check(Errno::ENFILE, ErrorKind::Exhausted);
        check(Errno::EADDRNOTAVAIL, ErrorKind::Exhausted);
        check(Errno::ECONNREFUSED, ErrorKind::Connect);
        check(Errno::EHOSTUNREACH, ErrorKind::Connect);
        let unresolved = io::Error::other("failed to lookup address information");
        let failure = Failure::unresolved("a.example", &unresolved);
        assert_eq!(failure.kind, ErrorKind::Connect);
        assert!(failure.message.contains("`a.example`"), "{failure:?}");
    }

    /// The limit is one of the process, so this test is performed in one of its own.
    #[test]
    fn a_generator_without_a_file_left_says_so() {
        const INSIDE: &str = "PLIMSOLL_TEST_WITHOUT_FILES";
        if env::var_os(INSIDE).is_some() {
            return without_files();
        }
        let name = concat!(module_path!(), "::a_generator_without_a_file_left_says_so");
        let name = name.split_once("::").unwrap().1;
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains("1 passed"), "{said}");
    }

    fn without_files() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
            let taken: Vec<_> = std::iter::repeat_with(|| File::open("/dev/null"))
                .take_while(Result::is_ok)
                .collect();
            assert!(!taken.is_empty());
            // `localhost` is in a file that can't be read now.
            for host in ["127.0.0.1", "localhost"] {
                let url = Url::parse(&format!("http://{host}:{port}")).unwrap();
                let http = HttpPlan::default();
                let mut connection = Transport::new(&url, &http, None).unwrap().connection();
                let found = exchange(&mut connection, get("/")).await;
                assert_eq!(found, Err(ErrorKind::Exhausted), "{host}");
            }
        });
    }
}
