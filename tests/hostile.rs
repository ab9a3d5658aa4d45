//! What the load engine withstands: servers that break the promises of TCP and HTTP, through the whole
//! program. Every failure has its kind, everything adds up, nothing stops the run or makes the generator
//! grow, and what was stored says the same as what was measured.

mod support;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use plimsoll::harness::model::{ErrorKind, LatencyHistogram, Outcome};

use support::Tested;
use support::hostile::{Case, OFFERED, PHASES, Ran, TIMEOUT_NS, exit_code, run, run_cases};
use support::http_servers::{Act, Behaviour, Reply, Rest, Server, ok, precise_sleep};
use support::project::Project;

const ANSWER: &str = "HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\nok";
/// An answer that is never the right one.
const FOREIGN: &str = "HTTP/1.1 200 X\r\ncontent-length: 7\r\n\r\nforeign";
/// Long enough for what was sent to be read.
const MOMENT: Duration = Duration::from_millis(20);

/// Runs all cases at the same time against one server, and checks each.
fn withstand(cases: &[Case<Vec<Act>>]) -> Result<Ran, Box<dyn Error>> {
    withstand_ending_with(cases, &[exit_code(cases)])
}

fn withstand_ending_with(cases: &[Case<Vec<Act>>], codes: &[i32]) -> Result<Ran, Box<dyn Error>> {
    let by_path: BTreeMap<String, Vec<Act>> = cases
        .iter()
        .map(|case| (format!("/{}", case.name), case.answer.clone()))
        .collect();
    let server = Server::answering(move |request| Reply::Acts(by_path[request.path()].clone()));
    run_cases(Project::new()?, &server.url(), "", cases, codes)
}

fn head(length: &str) -> String {
    format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n\r\n")
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n{body}")
}

/// RFC 9112, section 8: an answer whose length is not reached is incomplete. Who ends it and how makes no
/// difference: the connection was closed or reset before the answer was whole.
#[test]
fn a_connection_that_ends_before_the_answer_is_whole_was_closed_early() -> Tested {
    let closed = ErrorKind::Closed;
    let end = |text: &str, how: Act| [Act::send(text.to_owned()), Act::Pause(MOMENT), how];
    let half_head = "HTTP/1.1 200 X\r\ncontent-le";
    let half_body = head("10") + "ok";
    withstand(&[
        Case::fails("reset", closed, [Act::Reset]),
        Case::fails("reset-in-head", closed, end(half_head, Act::Reset)),
        Case::fails("reset-in-body", closed, end(&half_body, Act::Reset)),
        // The end of the connection is the end of the body, but a reset is no end.
        Case::fails(
            "reset-at-end",
            closed,
            end("HTTP/1.1 200 X\r\n\r\nok", Act::Reset),
        ),
        Case::fails("closed", closed, [Act::Close]),
        Case::fails("half-closed", closed, [Act::HalfClose]),
        Case::fails(
            "half-closed-in-head",
            closed,
            end(half_head, Act::HalfClose),
        ),
        Case::fails(
            "half-closed-in-body",
            closed,
            end(&half_body, Act::HalfClose),
        ),
    ])?;
    Ok(())
}

/// What ends after a whole answer has kept its promise; the next request takes another connection.
#[test]
fn a_connection_that_ends_after_its_answer_costs_nothing_but_itself() -> Tested {
    withstand(&[
        Case::passes("half-closed", [Act::send(ANSWER), Act::HalfClose]).pausing(),
        Case::passes("reset", [Act::send(ANSWER), Act::Reset]).pausing(),
        Case::passes(
            "reset-idle",
            [Act::send(ANSWER), Act::Pause(MOMENT), Act::Reset],
        )
        .pausing(),
        // RFC 9112, section 6.3: without a length the body goes to the end of the connection.
        Case::passes(
            "to-the-end",
            [Act::send("HTTP/1.1 200 X\r\n\r\nok"), Act::Close],
        ),
    ])?;
    Ok(())
}

/// RFC 9112, section 6.3: a length that is none, or two that differ, make the answer unreadable; what is
/// beyond the length belongs to no answer.
#[test]
fn a_length_that_lies_is_told_from_one_that_is_none() -> Tested {
    let (closed, protocol) = (ErrorKind::Closed, ErrorKind::Protocol);
    let with = |length: &str| [Act::send(head(length) + "ok")];
    let cases = [
        Case::fails("long", closed, [Act::send(head("100") + "ok"), Act::Close]),
        Case::fails(
            "long-silent",
            ErrorKind::Timeout,
            [Act::send(head("100") + "ok"), Act::Hold],
        ),
        // Nothing is set aside for what is only promised.
        Case::fails(
            "longest",
            closed,
            [Act::send(head("9000000000000000000") + "ok"), Act::Close],
        ),
        Case::passes("short", [Act::send([ANSWER, FOREIGN].concat())]),
        Case::fails("negative", protocol, with("-2")),
        Case::fails("overflowing", protocol, with("99999999999999999999999")),
        Case::fails("none", protocol, with("")),
        Case::fails("two", protocol, with("2\r\ncontent-length: 3")),
        Case::passes("two-alike", with("2\r\ncontent-length: 2")),
        // A 204 has no body, whatever its length says.
        Case::passes(
            "no-content",
            [Act::send("HTTP/1.1 204 X\r\ncontent-length: 2\r\n\r\nok")],
        )
        .checking(""),
    ];
    let ran = withstand(&cases)?;
    let short = ran.load("short");
    assert_eq!(
        short.requests[0].bytes_received,
        2 * short.counts.completed,
        "what follows an answer was counted as its body"
    );
    Ok(())
}

/// RFC 9112, section 7.1.
#[test]
fn chunks_that_lie_are_told_from_chunks_that_end_too_early() -> Tested {
    let (closed, protocol) = (ErrorKind::Closed, ErrorKind::Protocol);
    let body = |body: &str| [Act::send(chunked(body))];
    let cut = |body: &str| [Act::send(chunked(body)), Act::Close];
    let extension = format!("2;{}\r\nok\r\n0\r\n\r\n", "x".repeat(20_000));
    let trailers = format!("2\r\nok\r\n0\r\n{}\r\n", "t: x\r\n".repeat(5_000));
    withstand(&[
        Case::fails("no-size", protocol, body("two\r\nok\r\n0\r\n\r\n")),
        Case::fails("negative", protocol, body("-2\r\nok\r\n0\r\n\r\n")),
        Case::fails("overflowing", protocol, body("fffffffffffffffff\r\nok")),
        Case::fails("longer", protocol, body("2\r\nokay\r\n0\r\n\r\n")),
        Case::fails("shorter", closed, cut("a\r\nok")),
        Case::fails("unended", closed, cut("2\r\nok\r\n")),
        Case::fails(
            "silent",
            ErrorKind::Timeout,
            [Act::send(chunked("a\r\nok")), Act::Hold],
        ),
        Case::fails("extension", protocol, body(&extension)),
        Case::fails("trailers", protocol, body(&trailers)),
        // The chunks count, not the length.
        Case::passes(
            "and-length",
            [Act::send(
                "HTTP/1.1 200 X\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n\
                 2\r\nok\r\n0\r\n\r\n",
            )],
        ),
    ])?;
    Ok(())
}

/// A head that is too large, that never ends, or that is none. Without a limit, one that never ends would
/// take all the memory there is.
#[test]
fn a_head_that_is_none_is_no_proper_http() -> Tested {
    let protocol = ErrorKind::Protocol;
    let says = |text: &str| [Act::send(text.to_owned())];
    let large = format!(
        "HTTP/1.1 200 X\r\nx: {}\r\ncontent-length: 2\r\n\r\nok",
        "x".repeat(1 << 20)
    );
    let many = format!(
        "HTTP/1.1 200 X\r\n{}content-length: 2\r\n\r\nok",
        "x: y\r\n".repeat(1_000)
    );
    let fields = Bytes::from("x: y\r\n".repeat(1_000));
    let breaks = Bytes::from("\r\n".repeat(4_000));
    let garbage: Vec<u8> = (0..=255).rev().cycle().take(4_000).collect();
    withstand(&[
        Case::fails("megabyte", protocol, says(&large)),
        Case::fails("thousand-fields", protocol, says(&many)),
        Case::fails(
            "endless",
            protocol,
            [
                Act::send("HTTP/1.1 200 X\r\n"),
                Act::Repeat(Duration::ZERO, fields),
            ],
        ),
        // Each part of it is read from its beginning, so that this takes its time.
        Case::fails("breaks", protocol, [Act::Repeat(Duration::ZERO, breaks)]).alone(),
        Case::fails("garbage", protocol, [Act::send(garbage)]),
        Case::fails(
            "no-head",
            protocol,
            [Act::send("<p>ok</p>\r\n"), Act::Close],
        ),
        Case::fails(
            "status",
            protocol,
            says("HTTP/1.1 099 X\r\ncontent-length: 2\r\n\r\nok"),
        ),
        Case::fails(
            "version",
            protocol,
            says("HTTP/9.1 200 X\r\ncontent-length: 2\r\n\r\nok"),
        ),
        Case::fails(
            "control",
            protocol,
            says("HTTP/1.1 200 X\r\nx: a\0b\r\n\r\n"),
        ),
    ])?;
    Ok(())
}

/// A byte every 50 ms is an answer like any other, as long as it takes, unless the timeout is shorter:
/// then that is how long it took.
#[test]
fn slow_answers_take_their_time_or_time_out() -> Tested {
    let every = Duration::from_millis(50);
    let byte = Bytes::from_static(b"x");
    let timeout = ErrorKind::Timeout;
    let mut patient = vec![Act::send(head("10"))];
    for _ in 0..10 {
        patient.extend([Act::Pause(every), Act::Send(byte.clone())]);
    }
    let cases = [
        Case::fails("silence", timeout, [Act::Hold]),
        Case::fails(
            "slow-head",
            timeout,
            [
                Act::send("HTTP/1.1 200 X\r\n"),
                Act::Repeat(every, Bytes::from_static(b"x: y\r\n")),
            ],
        ),
        Case::fails(
            "slow-body",
            timeout,
            [Act::send(head("100")), Act::Repeat(every, byte.clone())],
        ),
        Case::passes("patient", patient).checking(""),
    ];
    let ran = withstand(&cases)?;
    for case in cases {
        let series = &ran.load(case.name).requests[0];
        let (outcome, least_ns) = match case.expected {
            Ok(()) => (Outcome::Ok, 500_000_000),
            Err(_) => (Outcome::Failed, TIMEOUT_NS),
        };
        for times in [&series.service[&outcome], &series.response[&outcome]] {
            let median_ns = times.quantile_ns(0.5).ok_or("nothing measured")?;
            assert!(
                (least_ns..least_ns + 300_000_000).contains(&median_ns),
                "{}: {median_ns} ns",
                case.name
            );
        }
    }
    let patient = ran.load("patient");
    assert_eq!(
        patient.requests[0].bytes_received,
        10 * patient.counts.completed
    );
    Ok(())
}

/// RFC 9110, section 15.2: interim answers precede the one that counts, however many there are. What
/// nobody asked for becomes no answer to a later request.
#[test]
fn what_nobody_asked_for_is_no_answer() -> Tested {
    let hint = "HTTP/1.1 103 X\r\nlink: </a>\r\n\r\n";
    let goes_on = Bytes::from("HTTP/1.1 100 Continue\r\n\r\n".repeat(50));
    withstand(&[
        Case::passes("hints", [Act::send(hint.repeat(100) + ANSWER)]),
        Case::fails(
            "only-hints",
            ErrorKind::Timeout,
            [Act::Repeat(Duration::from_millis(1), goes_on)],
        )
        .alone(),
        // The upgrade to something that the request did not offer.
        Case::fails(
            "switched",
            ErrorKind::Status,
            [
                Act::send("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
                Act::Hold,
            ],
        ),
        Case::passes(
            "one-later",
            [Act::send(ANSWER), Act::Pause(MOMENT), Act::send(FOREIGN)],
        )
        .pausing(),
    ])?;
    Ok(())
}

/// An answer that is there before the request can't be told from the answer to it, but where it is seen
/// first. Either way it fails, and is never taken for one that is in order.
#[test]
fn an_answer_before_the_request_is_not_the_one_that_was_asked_for() -> Tested {
    let server = Server::start(Behaviour::Early(FOREIGN, Arc::new(|_| ok("ok"))));
    let text = Case::<()>::passes("early", ()).toml() + PHASES;
    let ran = run(Project::new()?, &server.url(), &text, &[10])?;
    let load = ran.load("early");
    assert_eq!(load.counts.offered, OFFERED);
    for (kind, tally) in &load.requests[0].errors {
        let known = [ErrorKind::Check, ErrorKind::Closed];
        assert!(known.contains(kind), "{kind:?}: {tally:?}");
    }
    // Late on a busy machine, the right answer can meet the next request on the same connection.
    assert!(load.counts.failed > OFFERED / 2, "{:?}", load.counts);
    Ok(())
}

/// As much as the machine can carry, and for ever: the timeout holds, and what is kept is bounded. Such a
/// server can take the generator's core, which makes the run invalid and is no bug.
#[test]
fn floods_time_out_and_fill_no_memory() -> Tested {
    let flood = |unit: &str| Act::Repeat(Duration::ZERO, Bytes::from(unit.repeat(4_000)));
    // Each is a head to be read, for which a debug build takes longer than the server to send it.
    let hints = Bytes::from("HTTP/1.1 103 X\r\n\r\n".repeat(400));
    let hints = Act::Repeat(Duration::from_millis(10), hints);
    let timeout = ErrorKind::Timeout;
    let cases = [
        Case::fails("hints", timeout, [hints]).alone(),
        Case::fails(
            "body",
            timeout,
            [
                Act::send("HTTP/1.1 200 X\r\n\r\n"),
                flood("no end is near "),
            ],
        )
        .alone(),
        Case::fails(
            "chunks",
            timeout,
            [Act::send(chunked("")), flood("1\r\nx\r\n")],
        )
        .alone(),
        // It ends, but there is more of it than a check may look at.
        Case::fails(
            "too-large",
            ErrorKind::Protocol,
            [
                Act::send(head(&(17 << 20).to_string())),
                Act::send(vec![b'x'; 17 << 20]),
            ],
        )
        .alone(),
    ];
    withstand_ending_with(&cases, &[10, 13])?;
    Ok(())
}

/// Those who have a connection are served; the others fail as the server lets them, and come back.
#[test]
fn a_limit_on_connections_fails_those_beyond_it() -> Tested {
    let (users, most) = (8, 4);
    let text = format!(
        "[[flow.all.step]]\nget = \"/\"\ntimeout = \"300ms\"\nthink = \"10ms\"\n\
         [load.all]\nclosed = {{ users = {users} }}\n{PHASES}"
    );
    let without = (users - most) as u64;
    for (rest, kind, each_at_most) in [
        // In a second three timeouts of each, or four where one reaches into it.
        (Rest::Waiting, ErrorKind::Timeout, 4),
        // They rest 10 ms after each refusal.
        (Rest::Refused, ErrorKind::Connect, 101),
    ] {
        // Whether the target is there is asked with a connection of its own.
        let server = Server::accepting(1 + most, rest, |_| ok("ok"));
        let ran = run(Project::new()?, &server.url(), &text, &[10])?;
        let load = ran.load("all");
        assert_eq!(server.connections(), 1 + most, "{rest:?}");
        assert!(load.counts.completed > 0, "{rest:?}: {:?}", load.counts);
        let mut errors = load.requests[0].errors.clone();
        // Who stood in the queue when it was done away with was cut off, once.
        let cut_off = errors.remove(&ErrorKind::Closed);
        let cut_off = cut_off.map_or(0, |tally| tally.count);
        assert!(cut_off <= if rest == Rest::Refused { without } else { 0 });
        let found: Vec<_> = errors.keys().collect();
        assert_eq!(found, [&kind], "{errors:?}");
        let count = errors[&kind].count;
        assert!(
            (without..=each_at_most * without).contains(&count),
            "{rest:?}: {count}"
        );
    }
    Ok(())
}

/// Each answer takes a millisecond longer than the one before: at 50/s, 50 ms more each second. What ends
/// at time t began at t / 1.05, so that it took t · 0.05 / 1.05; and so the median of a second is what
/// its middle says.
#[test]
fn a_latency_that_leaks_is_seen_growing() -> Tested {
    let answers = AtomicU64::new(0);
    let server = Server::answering(move |_| {
        precise_sleep(Duration::from_millis(
            answers.fetch_add(1, Ordering::SeqCst),
        ));
        ok("ok")
    });
    let text = "[[flow.leak.step]]\nget = \"/\"\n[load.leak]\n\
                open = { rate = \"50/s\", max_in_flight = 50 }\n\
                [phases]\nwarmup = \"1s\"\nmeasure = \"4s\"\ndrain = \"3s\"\n";
    let ran = run(Project::new()?, &server.url(), text, &[0])?;
    let load = ran.load("leak");
    assert_eq!((load.counts.offered, load.counts.completed), (200, 200));
    let windows = &load.requests[0].windows;
    for second in 1..5 {
        let window = windows
            .iter()
            .find(|window| window.start_ns == second * 1_000_000_000)
            .ok_or("a window is missing")?;
        let true_ms = (second as f64 + 0.5) * 50.0 / 1.05;
        for times in [&window.service, &window.response] {
            let seen_ms = median_ms(times)?;
            assert!(
                (seen_ms - true_ms).abs() < 0.05 * true_ms + 10.0,
                "second {second}: {seen_ms} ms instead of {true_ms} ms"
            );
        }
    }
    // The median of all says nothing of it: it is what the middle of the measure phase had.
    let all_ms = median_ms(&load.requests[0].service[&Outcome::Ok])?;
    assert!((all_ms - 150.0).abs() < 0.05 * 150.0 + 10.0, "{all_ms} ms");
    Ok(())
}

/// What a server says is shown as text, wherever it is shown.
#[test]
fn hostile_words_are_text() -> Tested {
    // An override of the direction of writing, and the control sequence introducer of one character.
    let steering = "\u{202e}\u{9b}31m";
    let script = "<script>alert(1)</script>";
    let header =
        format!("HTTP/1.1 200 X\r\nx-note: {script}{steering}\r\ncontent-length: 2\r\n\r\nok");
    let state = format!("{{\"state\": \"\\u001b[31m{steering}<img src=x onerror=alert(2)>\"}}");
    let json = head(&state.len().to_string()) + &state;
    let ran = withstand(&[
        Case::fails("header", ErrorKind::Check, [Act::send(header)])
            .checking("check = { headers = { x-note = \"fine\" } }\n"),
        Case::fails("json", ErrorKind::Check, [Act::send(json)])
            .checking("check = { json = { \"$.state\" = \"fine\" } }\n"),
        // No reason phrase holds an escape.
        Case::fails(
            "reason",
            ErrorKind::Protocol,
            [Act::send(
                "HTTP/1.1 200 \u{1b}[31mX\r\ncontent-length: 2\r\n\r\nok",
            )],
        ),
    ])?;
    let example = &ran.load("header").requests[0].errors[&ErrorKind::Check].example;
    assert!(example.contains(script), "it is kept as it came: {example}");

    let (_, human, said) = ran.project.output(&["report", "latest"], 0)?;
    let pages = ran.project.files("reports", "html")?;
    assert!(!pages.is_empty());
    let pages = pages.iter().map(fs::read_to_string);
    let pages: String = pages.collect::<Result<_, _>>()?;
    let human = human + &said;
    for forbidden in ["\u{1b}", "\u{202e}", "\u{9b}"] {
        assert!(!human.contains(forbidden), "{forbidden:?} in the terminal");
        assert!(!pages.contains(forbidden), "{forbidden:?} in the page");
    }
    assert!(human.contains(script), "to a terminal, HTML is a text");
    for forbidden in ["<script>alert", "<img src=x"] {
        assert!(!pages.contains(forbidden), "{forbidden:?} in the page");
    }
    for shown in ["&lt;script&gt;alert(1)", "&lt;img src=x"] {
        assert!(pages.contains(shown), "{shown} is not shown");
    }
    Ok(())
}

fn median_ms(times: &LatencyHistogram) -> Result<f64, Box<dyn Error>> {
    let median_ns = times.quantile_ns(0.5).ok_or("nothing measured")?;
    Ok(median_ns as f64 / 1e6)
}
