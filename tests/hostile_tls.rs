//! What the load engine withstands of HTTP/2 and of TLS, through the whole program: connections that are
//! given up in the middle of an answer, frames that lie, certificates that don't hold.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use plimsoll::harness::model::ErrorKind;

use support::Tested;
use support::files::repository;
use support::h2_server::{self, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM};
use support::hostile::{Case, Ran, exit_code, run_cases};
use support::http_servers::Act;
use support::project::{Project, PythonServer};

/// Long enough for what was sent to be read.
const MOMENT: Duration = Duration::from_millis(20);

/// What a server of HTTP/2 does with a stream.
type Answer = fn(u32) -> Vec<Act>;

fn passes(name: &'static str, answer: Answer) -> Case<Answer> {
    Case::passes(name, answer).posting()
}

fn fails(name: &'static str, kind: ErrorKind, answer: Answer) -> Case<Answer> {
    Case::fails(name, kind, answer).posting()
}

/// Runs all cases at the same time against one server of HTTP/2, and checks each.
fn withstand(cases: &[Case<Answer>]) -> Result<Ran, Box<dyn std::error::Error>> {
    let by_name: BTreeMap<&str, Answer> =
        cases.iter().map(|case| (case.name, case.answer)).collect();
    let server = h2_server::start(move |name, stream| by_name[name](stream));
    let http = "[http]\nversion = \"2\"\n";
    let code = exit_code(cases);
    run_cases(Project::new()?, &server.url(), http, cases, &[code])
}

/// RFC 9113, section 6.8: a server that goes away answers what it has begun, and the next request takes
/// another connection.
#[test]
fn a_connection_that_goes_away_after_its_answer_costs_nothing_but_itself() -> Tested {
    withstand(&[
        passes("stays", |stream| vec![Act::send(h2_server::ok(stream))]),
        passes("goes", |stream| {
            let goes = h2_server::go_away(stream, NO_ERROR);
            vec![Act::send(h2_server::ok(stream)), Act::send(goes)]
        })
        .pausing(),
        passes("goes-and-closes", |stream| {
            let goes = h2_server::go_away(stream, NO_ERROR);
            vec![
                Act::send(h2_server::ok(stream)),
                Act::send(goes),
                Act::Close,
            ]
        })
        .pausing(),
        passes("hints", |stream| {
            let hints = h2_server::hint(stream).repeat(10);
            vec![Act::send(hints), Act::send(h2_server::ok(stream))]
        }),
    ])?;
    Ok(())
}

/// Whether the connection, the stream or the socket is given up: before the answer was whole, it was
/// closed early. What the server says that it never looked at is sent once more over a new connection, and
/// not for ever; what it may have looked at is not.
#[test]
fn a_stream_that_is_given_up_was_closed_early() -> Tested {
    static REFUSED: AtomicU64 = AtomicU64::new(0);
    static RESET: AtomicU64 = AtomicU64::new(0);
    let closed = ErrorKind::Closed;
    let ran = withstand(&[
        fails("goes-unanswered", closed, |stream| {
            let goes = h2_server::go_away(stream.saturating_sub(2), NO_ERROR);
            vec![Act::send(goes), Act::Pause(MOMENT), Act::Close]
        }),
        fails("goes-in-body", closed, |stream| {
            let goes = h2_server::go_away(stream, ENHANCE_YOUR_CALM);
            vec![
                Act::send(h2_server::head(stream, "2")),
                Act::send(h2_server::data(stream, false, "o")),
                Act::send(goes),
                Act::Pause(MOMENT),
                Act::Close,
            ]
        }),
        fails("reset", closed, |stream| {
            RESET.fetch_add(1, Ordering::Relaxed);
            vec![Act::send(h2_server::reset(stream, INTERNAL_ERROR))]
        }),
        fails("refused", closed, |stream| {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            vec![Act::send(h2_server::reset(stream, REFUSED_STREAM))]
        }),
        fails("reset-in-body", closed, |stream| {
            vec![
                Act::send(h2_server::head(stream, "2")),
                Act::send(h2_server::data(stream, false, "o")),
                Act::Pause(MOMENT),
                Act::send(h2_server::reset(stream, INTERNAL_ERROR)),
            ]
        }),
        fails("closed", closed, |_| vec![Act::Close]),
        fails("closed-in-body", closed, |stream| {
            vec![
                Act::send(h2_server::head(stream, "2")),
                Act::send(h2_server::data(stream, false, "o")),
                Act::Pause(MOMENT),
                Act::Close,
            ]
        }),
        fails("reset-socket", closed, |_| vec![Act::Reset]),
    ])?;
    let failed = |load: &str| -> u64 {
        let series = &ran.load(load).requests[0];
        series.windows.iter().map(|window| window.failed).sum()
    };
    assert_eq!(RESET.load(Ordering::Relaxed), failed("reset"));
    // Only over a connection that is new already a refusal is the end of it.
    let (refused, requests) = (REFUSED.load(Ordering::Relaxed), failed("refused"));
    assert!(
        (requests + 1..2 * requests).contains(&refused),
        "{refused} of {requests}"
    );
    Ok(())
}

#[test]
fn frames_that_lie_are_no_proper_http_and_none_for_ever_is_a_timeout() -> Tested {
    let (protocol, timeout) = (ErrorKind::Protocol, ErrorKind::Timeout);
    withstand(&[
        fails("too-large", protocol, |stream| {
            vec![Act::send(h2_server::too_large(stream)), Act::Hold]
        }),
        fails("undecodable", protocol, |stream| {
            vec![Act::send(h2_server::undecodable_head(stream)), Act::Hold]
        }),
        fails("longer", protocol, |stream| {
            vec![
                Act::send(h2_server::head(stream, "7")),
                Act::send(h2_server::data(stream, true, "ok")),
            ]
        }),
        fails("shorter", protocol, |stream| {
            vec![
                Act::send(h2_server::head(stream, "1")),
                Act::send(h2_server::data(stream, true, "ok")),
            ]
        }),
        fails("other-version", protocol, |_| {
            vec![
                Act::send("HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok"),
                Act::Hold,
            ]
        }),
        // A head of a kilobyte after the other, without an end.
        fails("unended", protocol, |stream| {
            let more = Bytes::from(h2_server::continuation(stream));
            vec![
                Act::send(h2_server::unended_head(stream)),
                Act::Repeat(Duration::ZERO, more),
            ]
        }),
        fails("silence", timeout, |_| vec![]),
        fails("silence-in-body", timeout, |stream| {
            vec![Act::send(h2_server::head(stream, "2"))]
        }),
        fails("pings", timeout, |_| {
            vec![Act::Repeat(
                Duration::from_millis(1),
                Bytes::from(h2_server::ping()),
            )]
        })
        .alone(),
    ])?;
    Ok(())
}

/// A server over TLS: `CERTIFICATE KEY MODE`. With the mode `cut` it ends its answer with the connection,
/// and that without saying so, as somebody between would.
const TLS_SERVER: &str = r#"
import socket, ssl, sys, threading

certificate, key, mode = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)

def serve(plain):
    try:
        with context.wrap_socket(plain, server_side=True) as connection:
            request = b""
            while part := connection.recv(4096):
                request += part
                if not request.endswith(b"\r\n\r\n"):
                    continue
                request = b""
                if mode == "cut":
                    connection.sendall(b"HTTP/1.1 200 X\r\n\r\nok")
                    return
                connection.sendall(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok")
    except OSError:
        pass

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"#;

/// What a server proves who it is with, and what the scenario makes of it.
struct Handshake {
    name: &'static str,
    certificate: &'static str,
    mode: &'static str,
    /// The keys of `[http]`.
    http: &'static str,
    expected: Result<(), ErrorKind>,
    /// What the message of the failure says, in small letters.
    said: &'static str,
}

#[test]
fn a_certificate_that_does_not_hold_fails_every_request() -> Tested {
    let ours = "ca = \"ca.pem\"\n";
    let holds = Handshake {
        name: "holds",
        certificate: "valid.pem",
        mode: "",
        http: ours,
        expected: Ok(()),
        said: "",
    };
    let handshakes = [
        Handshake {
            name: "unknown",
            http: "",
            expected: Err(ErrorKind::Tls),
            said: "certificate",
            ..holds
        },
        Handshake {
            name: "expired",
            certificate: "expired.pem",
            expected: Err(ErrorKind::Tls),
            said: "expired",
            ..holds
        },
        Handshake {
            name: "elsewhere",
            certificate: "elsewhere.pem",
            expected: Err(ErrorKind::Tls),
            said: "not valid for name",
            ..holds
        },
        Handshake {
            name: "named",
            certificate: "elsewhere.pem",
            http: "ca = \"ca.pem\"\nserver_name = \"elsewhere.example\"\n",
            ..holds
        },
        Handshake {
            name: "insecure",
            certificate: "expired.pem",
            http: "insecure = true\n",
            ..holds
        },
        // The end of the connection would be the end of the body, if the server had said that it is.
        Handshake {
            name: "cut",
            mode: "cut",
            expected: Err(ErrorKind::Closed),
            ..holds
        },
        holds,
    ];
    for handshake in handshakes {
        let data = |file: &str| repository("tests/data/tls").join(file);
        let (certificate, key) = (data(handshake.certificate), data("key.pem"));
        let args = [
            &*certificate.to_string_lossy(),
            &*key.to_string_lossy(),
            handshake.mode,
        ];
        let server = PythonServer::running(TLS_SERVER, &args)?;
        let project = Project::new()?;
        fs::copy(data("ca.pem"), project.path().join("ca.pem"))?;
        let case = match handshake.expected {
            Ok(()) => Case::<()>::passes(handshake.name, ()),
            Err(kind) => Case::fails(handshake.name, kind, ()),
        };
        let cases = [case];
        let url = server.url.replace("http:", "https:");
        let http = format!("[http]\n{}", handshake.http);
        let code = exit_code(&cases);
        let ran = run_cases(project, &url, &http, &cases, &[code])?;
        let load = ran.load(handshake.name);
        for tally in load.requests[0].errors.values() {
            let said = tally.example.to_lowercase();
            assert!(said.contains(handshake.said), "{}: {said}", handshake.name);
        }
    }
    Ok(())
}
