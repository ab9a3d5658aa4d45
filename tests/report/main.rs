//! What people and machines read of a verdict: goldens of the terminal, the JSON and the page, and
//! what must hold of them whatever the input.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod browser;
mod ci;
mod fixture;
mod list;
mod searched;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plimsoll::harness::gate::{
    AnchorVerdict, AppliedWaiver, MetricOutcome, Outcome, Reason, Standing, VERDICT_FORMAT,
    Verdict, Warning,
};
use plimsoll::harness::model::{
    BenchMeasurement, CapacitySearch, CapacityTrial, ErrorKind, ErrorTally, Fingerprint,
    GroupSeries, InvalidReason, LatencyHistogram, LoadWindow, Measurement, RequestWindow, Run,
    TimelineEvent, TrialOutcome,
};
use plimsoll::harness::report::terminal::{self, TerminalStyle};
use plimsoll::harness::report::{BaseLatency, ReportInput, html, json};
use regex::Regex;
use sha2::{Digest, Sha256};

use self::fixture::Example;
use self::support::files;
use self::support::schemas::{assert_valid, validator};

const PLAIN: TerminalStyle = TerminalStyle {
    colour: false,
    width: 80,
    ascii: false,
};

#[test]
fn terminal() {
    let regression = fixture::regression();
    let terminal = |style| terminal::render(&regression.input(), style);
    insta::assert_snapshot!("terminal_80", terminal(PLAIN));
    insta::assert_snapshot!(
        "terminal_40",
        terminal(TerminalStyle { width: 40, ..PLAIN })
    );
    insta::assert_snapshot!(
        "terminal_120",
        terminal(TerminalStyle {
            width: 120,
            ..PLAIN
        })
    );
    let invalid = invalid();
    insta::assert_snapshot!(
        "terminal_invalid",
        terminal::render(&invalid.input(), PLAIN)
    );
    let coloured = TerminalStyle {
        colour: true,
        ..PLAIN
    };
    let single = fixture::single();
    let text = terminal::render(&single.input(), coloured).replace('\u{1b}', "␛");
    insta::assert_snapshot!("terminal_colour", text);
}

/// What an old terminal can't show is replaced, and nothing of ours by a question mark.
#[test]
fn ascii() {
    let ascii = |width| TerminalStyle {
        width,
        ascii: true,
        ..PLAIN
    };
    let regression = fixture::regression();
    insta::assert_snapshot!(
        "terminal_ascii",
        terminal::render(&regression.input(), ascii(80))
    );
    let ours = [
        regression,
        searched::searched(),
        fixture::single(),
        invalid(),
        waived(),
    ];
    let questions = |text: &str| text.matches('?').count();
    for example in ours.iter().chain([&hostile()]) {
        for width in (20..=130).step_by(10) {
            let text = terminal::render(&example.input(), ascii(width));
            assert!(text.is_ascii(), "{text}");
            for line in text.lines().filter(|line| !line.starts_with("Report: ")) {
                assert!(line.len() <= width, "{} > {width}: {line:?}", line.len());
            }
        }
    }
    for example in &ours {
        let style = |ascii| TerminalStyle {
            width: 130,
            ascii,
            ..PLAIN
        };
        let [plain, ascii] =
            [false, true].map(|ascii| terminal::render(&example.input(), style(ascii)));
        assert_eq!(questions(&ascii), questions(&plain), "{ascii}");
    }
}

#[test]
fn no_line_ends_between_a_number_and_its_unit() {
    let torn = Regex::new(r"(?m)^ *(%|pp|ns|us|µs|ms|s|MiB|cores?)([ ;,.)]|$)").unwrap();
    for example in [fixture::regression(), searched::searched(), waived()] {
        for (width, ascii) in (40..=130)
            .step_by(9)
            .flat_map(|width| [(width, false), (width, true)])
        {
            let style = TerminalStyle {
                width,
                ascii,
                ..PLAIN
            };
            let text = terminal::render(&example.input(), style);
            let found = torn.find(&text).map(|found| found.as_str());
            assert_eq!(found, None, "{width}: {text}");
        }
    }
}

#[test]
fn a_terminal_line_fits_its_terminal() {
    let examples = [
        fixture::regression(),
        searched::searched(),
        hostile(),
        invalid(),
        waived(),
    ];
    for width in (20..=130).step_by(10) {
        for example in &examples {
            let text = terminal::render(&example.input(), TerminalStyle { width, ..PLAIN });
            let (page, lines): (Vec<&str>, Vec<&str>) =
                text.lines().partition(|line| line.starts_with("Report: "));
            for line in lines {
                let wide = textwrap::core::display_width(line);
                assert!(wide <= width, "{wide} > {width}: {line:?}");
            }
            // Where the page is, is copied.
            assert_eq!(page, [format!("Report: {}", example.input().page.unwrap())]);
        }
    }
}

#[test]
fn report_as_json() {
    let example = fixture::single();
    insta::assert_snapshot!(
        "report_json",
        json::render(&json::Report::new(&example.input()))
    );
}

/// The text of the page with its structure; the style sheet and the drawings are looked at with the
/// eye and held by their own tests.
#[test]
fn page() {
    let example = fixture::regression();
    let page = html::render(&example.input());
    let page = Regex::new(r"(?s)<style>.*?</style>")
        .unwrap()
        .replace_all(&page, "<style/>");
    let page = Regex::new(r"(?s)<script>.*?</script>")
        .unwrap()
        .replace_all(&page, "<script/>");
    let page = Regex::new("sha256-[^']*'")
        .unwrap()
        .replace_all(&page, "sha256-…'");
    let page = Regex::new(r"(?s)<svg.*?</svg>")
        .unwrap()
        .replace_all(&page, "<svg/>");
    insta::assert_snapshot!("page", page);
}

#[test]
fn documents_are_what_their_schemas_say() {
    let [report, verdict, run] = ["report", "verdict", "run"].map(validator);
    for example in [
        fixture::regression(),
        fixture::single(),
        hostile(),
        invalid(),
        nothing(),
    ] {
        let mut document = serde_json::to_value(json::Report::new(&example.input())).unwrap();
        assert_valid(&report, &document);
        let passed_through = document["verdict"].take();
        assert!(verdict.is_valid(&passed_through), "{passed_through}");
        let back: Verdict = serde_json::from_value(passed_through).unwrap();
        assert_eq!(back, example.verdict);
        // A schema that takes anything would have passed all that.
        assert!(!report.is_valid(&document));
        for made in example.head.iter().chain(&example.base) {
            let mut document = serde_json::to_value(made).unwrap();
            assert!(run.is_valid(&document), "run {}", made.id);
            document["measurement"].take();
            assert!(!run.is_valid(&document));
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let example = hostile();
    let page = html::render(&example.input());
    assert_eq!(page.matches("<script").count(), 1, "a name became code");
    for forbidden in [
        "<script>alert",
        "<img",
        "onerror=alert(1)>",
        "\u{1b}",
        "\u{202e}",
        "\0",
    ] {
        assert!(!page.contains(forbidden), "{forbidden:?} is in the page");
    }
    assert!(page.contains("&lt;script&gt;"), "the names are not shown");
    assert!(page.contains("🚀"), "the names are not shown");
    let terminal = terminal::render(
        &example.input(),
        TerminalStyle {
            colour: true,
            ..PLAIN
        },
    );
    let ours = Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    let rest = ours.replace_all(&terminal, "");
    let control: Vec<char> = rest
        .chars()
        .filter(|c| c.is_control() && *c != '\n')
        .collect();
    assert!(control.is_empty(), "{control:?}");
    assert!(
        !terminal.contains("\u{1b}[2J") && !terminal.contains("\u{1b}[5m"),
        "{terminal:?}"
    );
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn the_page_asks_for_nothing() {
    for example in [fixture::regression(), hostile()] {
        let page = html::render(&example.input());
        // What runs is what the policy names: one script, by its hash.
        let scripts = found(&page, r"(?s)<script>(.*?)</script>");
        let [script] = scripts[..] else {
            panic!("{} scripts", scripts.len());
        };
        let hash = STANDARD.encode(Sha256::digest(script));
        let policy = format!(
            "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; img-src data:; "
        );
        let page = page.replace("&#x27;", "'").replace("&#x2F;", "/");
        assert!(page.contains(&policy), "{policy}");
        for link in found(&page, r#"(?:href|src|srcset|action|poster|data)="([^"]*)""#) {
            assert!(
                link.starts_with('#') || link.starts_with("data:image/svg+xml,"),
                "{link}"
            );
        }
        assert!(!page.contains("@import") && !page.contains("url("));
        let active = found(
            &page,
            r"(?i)<(script .*?|iframe|object|embed|link rel=.stylesheet)",
        );
        assert!(active.is_empty(), "{active:?}");
    }
}

#[test]
fn every_link_has_its_place() {
    for example in [
        fixture::regression(),
        fixture::single(),
        searched::searched(),
        nothing(),
        only_benches(),
    ] {
        let page = html::render(&example.input());
        let ids = found(&page, r#" id="([^"]*)""#);
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(ids.len(), unique.len(), "an id stands twice: {ids:?}");
        for link in found(&page, r##"(?:href="#|labelledby=")([^"]*)""##) {
            assert!(ids.contains(&link), "{link} leads nowhere");
        }
    }
}

#[test]
fn little_data_is_a_page_too() {
    let page = html::render(&nothing().input());
    assert!(page.contains("nothing was judged"), "{page}");
    assert!(page.contains("<h1>comparison</h1>"), "{page}");
    let page = html::render(&only_benches().input());
    assert!(page.contains("id=\"benches\"") && !page.contains("id=\"load\""));
    let page = html::render(&invalid().input());
    assert!(
        page.contains("Nothing is judged") && page.contains("panicked at"),
        "{page}"
    );
}

#[test]
fn a_stored_base_has_its_spectrum() {
    let mut example = fixture::regression();
    let mut latency = LatencyHistogram::new();
    for ms in 1..1000 {
        latency.record(ms * 1_000_000);
    }
    let base_latency = [BaseLatency {
        load: "reads".into(),
        response: latency,
    }];
    example.base = Vec::new();
    let input = ReportInput {
        base_latency: &base_latency,
        ..example.input()
    };
    let page = html::render(&input);
    assert!(page.contains("base response"));
    // A baseline keeps no service times.
    assert!(!page.contains("base service"));
    // The comparison still has the base's points of each bench.
    assert!(page.contains("Base median"));
}

/// An hour of one run with fifty request names, packed as the store leaves it, in more windows and
/// with more samples than the engine keeps.
#[test]
fn an_hour_makes_no_long_page() {
    let mut example = fixture::single();
    let run = &mut example.head[0];
    let load = &mut run.measurement.loads[0];
    let starts_ns = || (0..1800).map(|i| i * 2_000_000_000);
    let (window, mut seen) = (
        load.windows[20].clone(),
        load.requests[0].windows[20].clone(),
    );
    seen.response.pack();
    seen.service.pack();
    load.windows = starts_ns()
        .map(|start_ns| LoadWindow {
            start_ns,
            length_ns: 2_000_000_000,
            ..window.clone()
        })
        .collect();
    let series = load.requests[0].clone();
    load.requests = (0..50)
        .map(|i| {
            let mut request = series.clone();
            request.name = format!("GET /api/v1/resource-{i}");
            request.windows = starts_ns()
                .step_by(if i == 0 { 1 } else { 4 })
                .map(|start_ns| RequestWindow {
                    start_ns,
                    ..seen.clone()
                })
                .collect();
            let measured = request
                .response
                .values_mut()
                .chain(request.service.values_mut());
            measured.for_each(LatencyHistogram::pack);
            request
        })
        .collect();
    for process in &mut run.measurement.processes {
        let sample = process.samples[5];
        process.samples = (0..3600)
            .map(|i| {
                let mut sample = sample;
                sample.at_ns = i * 1_000_000_000;
                sample
            })
            .collect();
    }
    let page = html::render(&example.input());
    assert!(page.contains("resource-49"), "a request is missing");
    // 2 MB are promised; with curves that are not thinned it would be several times as much, each point with what it
    // tells.
    assert!(page.len() < 350_000, "{} bytes", page.len());
}

/// A path with an identifier in it makes as many names as there are identifiers, each with its metric.
fn many_names() -> Example {
    let mut example = fixture::regression();
    let name = |i| format!("GET /api/v1/clients/{i}?expand=orders");
    for run in example.head.iter_mut().chain(&mut example.base) {
        let path = "load.reads.p95";
        let metric = run.metrics.iter().find(|metric| metric.name == path);
        let mut metric = metric.unwrap().clone();
        run.metrics.extend((0..5000).map(|i| {
            metric.name = format!("load.reads.request.{}.p95", name(i));
            metric.clone()
        }));
    }
    // One run an arm has them as requests too: open, their histograms take 400 KB a name.
    for runs in [&mut example.head, &mut example.base] {
        let load = &mut runs[0].measurement.loads[0];
        let mut series = load.requests[0].clone();
        series.windows.clear();
        let measured = series.response.values_mut();
        let measured = measured.chain(series.service.values_mut());
        measured.for_each(LatencyHistogram::pack);
        load.requests = (0..5000)
            .map(|i| {
                series.name = name(i);
                series.clone()
            })
            .collect();
    }
    let gates = vec![fixture::gate("load.reads.*", Some(1e9), None, Some(0.05))];
    fixture::judged(example.base, example.head, gates)
}

/// Its page. Comparing ten thousand metrics takes a debug build a while, so that it is made once.
pub(crate) fn page_of_many_names() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let example = many_names();
        assert!(
            example.verdict.metrics.len() > 5000,
            "the gates don't see them"
        );
        html::render(&example.input())
    });
    &PAGE
}

#[test]
fn many_runs_make_no_long_page() {
    let mut example = only_benches();
    example.head[0].measurement.benches.clear();
    example.head = vec![example.head[0].clone(); 5000];
    let page = html::render(&example.input());
    assert!(page.contains("<p class=\"note\">4,800 more are in the JSON report.</p>"));
    assert!(page.len() < 300_000, "{} bytes", page.len());
}

#[test]
fn many_names_make_no_long_page() {
    let page = page_of_many_names();
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert!(page.contains("more are in the JSON report"));
}

/// A request that the end of the drain cut off failed, as it did for the metric.
#[test]
fn a_cancelled_request_is_a_failed_one() {
    let mut example = fixture::single();
    let request = &mut example.head[0].measurement.loads[0].requests[0];
    let failed: u64 = request.errors.values().map(|tally| tally.count).sum();
    let tally = ErrorTally {
        count: 777,
        example: "the run ended".into(),
    };
    request.errors.insert(ErrorKind::Cancelled, tally);
    let report = json::Report::new(&example.input());
    let shown = &report.loads[0].requests[0];
    assert_eq!(shown.failed, failed + 777);
    let cancelled = shown
        .errors
        .iter()
        .find(|error| error.kind == ErrorKind::Cancelled);
    assert_eq!(cancelled.unwrap().count, 777);
}

/// A limit on failures that is broken is told with what failed, in a few lines that fit.
#[test]
fn the_terminal_says_why_requests_failed() {
    let text = |max: f64, change: &dyn Fn(&mut Run)| {
        let mut head = fixture::single().head;
        head.iter_mut().for_each(change);
        let gate = fixture::gate("load.reads.error_rate", Some(max), None, None);
        let example = fixture::judged(Vec::new(), head, vec![gate]);
        terminal::render(&example.input(), PLAIN)
    };
    let heading = "Why requests of reads failed";
    assert!(!text(0.01, &|_| ()).contains(heading));
    let broken = text(0.0001, &|_| ());
    assert!(broken.contains(heading), "{broken}");
    assert!(!broken.contains("Why requests of writes"), "{broken}");
    let (_, why) = broken.split_once(heading).unwrap();
    let lines: Vec<&str> = why.lines().skip(1).take(2).collect();
    assert!(lines[0].contains(" × unexpected status at GET /"), "{why}");
    assert!(lines[1].starts_with("      | 503 Service Un"), "{why}");
    // An invalid run judges nothing, and its requests failed all the same.
    let invalid = text(0.0001, &|run| {
        run.invalid = vec![InvalidReason::NothingMeasured {
            load: "writes".into(),
        }];
    });
    assert!(invalid.contains(heading), "{invalid}");

    let hostile = text(0.0001, &|run| {
        let request = &mut run.measurement.loads[0].requests[0];
        for (count, kind) in [
            (9001, ErrorKind::Check),
            (9002, ErrorKind::Connect),
            (9003, ErrorKind::Closed),
            (9004, ErrorKind::Tls),
            (9005, ErrorKind::Extract),
            (9006, ErrorKind::Template),
        ] {
            let example = format!("\u{1b}[31mred\nnext{}\u{202e}", "x".repeat(500));
            request.errors.insert(kind, ErrorTally { count, example });
        }
    });
    let (_, why) = hostile.split_once(heading).unwrap();
    let (why, _) = why[1..].split_once("\n\n").unwrap();
    let lines: Vec<&str> = why.lines().collect();
    assert_eq!(lines.len(), 7, "{hostile}");
    assert!(lines[0].starts_with("  · 9,006 × request not built at GET /"));
    assert!(lines[1].starts_with("      | red nextxxx"), "{hostile}");
    assert_eq!(lines[6], "  4 kinds more in the report");
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
    assert!(!hostile.contains('\u{1b}') && !hostile.contains('\u{202e}'));
}

#[test]
fn the_median_of_two_invocations_lies_between_them() {
    let mut example = only_benches();
    example.head.truncate(1);
    let bench = &mut example.head[0].measurement.benches[0];
    bench.invocations.truncate(2);
    bench.invocations[0].point_ns = 10.0;
    bench.invocations[1].point_ns = 20.0;
    let text = terminal::render(&example.input(), PLAIN).replace('\u{202f}', " ");
    let mut lines = text.lines().skip_while(|line| *line != "Benches");
    let line = lines.nth(2).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        words[1..],
        ["15.0", "ns", "10.0", "ns", "20.0", "ns", "2"],
        "{line}"
    );
}

/// Every command line in a remedy and in the documentation can be typed: its words and its flags are
/// in the program's help.
#[test]
fn every_command_that_is_named_exists() {
    let mut paths = files::below(&files::repository("src/harness"), "rs").unwrap();
    paths.extend(files::below(&files::repository("docs"), "md").unwrap());
    paths.push(files::repository("README.md"));
    let texts: Vec<String> = paths
        .into_iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let commands: BTreeSet<&str> = texts
        .iter()
        .flat_map(|text| found(text, "(?m)(?:`|^)plimsoll ([^`#|\n]*)"))
        .collect();
    assert!(commands.len() > 30, "{commands:?}");
    for command in commands {
        let words = command.split_whitespace();
        let path: Vec<&str> = words
            .clone()
            .take_while(|word| {
                let mut chars = word.chars();
                chars.all(|char| char.is_ascii_lowercase() || char.is_ascii_digit())
            })
            .collect();
        let help = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .args(&path)
            .arg("--help")
            .output()
            .unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        // What follows the command's name may be an argument: `plimsoll history shop`.
        let name = path.first().unwrap_or(&"");
        assert!(
            help.contains(&format!("Usage: plimsoll {name}")),
            "there is no `plimsoll {command}`"
        );
        for flag in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "`plimsoll {command}` has no {flag}");
        }
    }
}

/// Curves are those of a run that the table and the reasons call by the same number.
#[test]
fn curves_say_whose_they_are() {
    let curves_of = |spoil: fn(&mut [Run])| {
        let mut example = fixture::regression();
        spoil(&mut example.head);
        let page = html::render(&example.input());
        let said = found(&page, r#"class="note">(Curves over time[^<]*)"#);
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].to_owned()
    };
    // By their p95 (56.7, 58.9, 53.6, 57.9 and 57.8 ms) the second of four is the fifth.
    let said = curves_of(|head| head[0].partial = true);
    assert!(
        said.contains("head run 5 of 5, the one with the median p95"),
        "{said}"
    );
    assert!(said.ends_with("all valid runs."), "{said}");
    // Without a load nothing has a p95, and the processes have curves all the same.
    let said = curves_of(|head| {
        head.iter_mut()
            .for_each(|run| run.measurement.loads.clear())
    });
    assert!(
        said.contains("head run 5 of 5, the last valid one"),
        "{said}"
    );
}

#[test]
fn the_generator_is_shown_as_it_is_judged() {
    let mut example = fixture::regression();
    // Of the first run, whose curves are not shown.
    let generator = &mut example.head[0].measurement.loads[0].generator;
    for (at_ns, cpu_cores) in [(2_000_000_000, 1.9), (20_000_000_000, 0.77)] {
        let sample = generator
            .samples
            .iter_mut()
            .find(|sample| sample.at_ns == at_ns);
        sample.unwrap().cpu_cores = cpu_cores;
    }
    let page = html::render(&example.input()).replace('\u{202f}', " ");
    assert!(
        page.contains(">0.770 cores</td>"),
        "not the busiest of all runs"
    );
    assert!(!page.contains(">1.90 cores</td>"), "the warm-up counts");
}

#[test]
fn validity_is_claimed_of_what_was_watched() {
    let lead = |example: &Example| {
        let page = html::render(&example.input());
        let lead = Regex::new(r#"class="lead ?([a-z]*)">([^<]*)"#).unwrap();
        let found = lead.captures(&page).unwrap();
        (found[1].to_owned(), found[2].to_owned())
    };
    let (tone, said) = lead(&fixture::regression());
    assert_eq!(tone, "good");
    assert!(said.contains("the generator kept up"), "{said}");
    let (tone, said) = lead(&only_benches());
    assert_eq!(tone, "good");
    assert!(said.contains("no bench failed"), "{said}");
    let mut imported = fixture::single();
    imported.head[0].measurement = Measurement::default();
    imported.head[0].fingerprint = Fingerprint::unknown();
    let (tone, said) = lead(&imported);
    assert_eq!(tone, "");
    assert!(said.contains("not known here"), "{said}");
    let page = html::render(&imported.input());
    assert!(page.contains("Nothing is known about where this was measured"));
}

#[test]
fn numbers_of_a_foreign_file_may_be_any() {
    let mut example = fixture::regression();
    for run in &mut example.head {
        run.metrics[0].observations = u64::MAX;
        for load in &mut run.measurement.loads {
            load.counts.offered = u64::MAX;
            for window in &mut load.windows {
                window.start_ns = u64::MAX;
                window.length_ns = u64::MAX;
                window.counts.completed = u64::MAX;
            }
            for request in &mut load.requests {
                request.bytes_received = u64::MAX;
                let tally = request.errors.entry(ErrorKind::Check).or_default();
                tally.count = u64::MAX;
            }
        }
        for span in &mut run.measurement.phases {
            span.end_ns = u64::MAX;
        }
    }
    let input = example.input();
    let _ = json::render(&json::Report::new(&input));
    let _ = terminal::render(&input, PLAIN);
    let page = html::render(&input);
    assert!(
        page.contains("18,446,744,073,709,551,615"),
        "not the largest number"
    );
}

#[test]
fn what_is_advisory_looks_so() {
    let mut example = fixture::regression();
    example.verdict.advisory = true;
    let page = html::render(&example.input());
    assert!(page.contains("<body class=\"advisory\">") && page.contains("ADVISORY"));
    let text = terminal::render(&example.input(), PLAIN);
    assert!(
        text.starts_with("[ADVISORY] ") && !text.contains("FAIL"),
        "{text}"
    );
}

#[test]
fn the_same_input_gives_the_same_page() {
    let example = fixture::single();
    assert_eq!(
        html::render(&example.input()),
        html::render(&example.input())
    );
}

/// The first group of every match.
fn found<'a>(page: &'a str, pattern: &str) -> Vec<&'a str> {
    let pattern = Regex::new(pattern).unwrap();
    pattern
        .captures_iter(page)
        .map(|found| found.get(1).unwrap().as_str())
        .collect()
}

/// A run whose target died.
fn invalid() -> Example {
    let mut run = fixture::run(plimsoll::harness::model::Arm::Head, 1, 1.0, 1.0);
    run.partial = true;
    run.invalid = vec![
        InvalidReason::ProcessExited {
            process: "service".into(),
            status: "exit status 101".into(),
            at_ns: 12_400_000_000,
            output: "listening on 127.0.0.1:4711\nthread 'main' panicked at 'pool'\nnote: run with RUST_BACKTRACE=1".into(),
        },
        InvalidReason::Dropped { load: "reads".into(), dropped: 1234, offered: 18_000, allowed: 0.01 },
    ];
    fixture::judged(
        Vec::new(),
        vec![run],
        vec![fixture::gate("load.reads.p95", Some(500e6), None, None)],
    )
}

/// No runs, no gates.
fn nothing() -> Example {
    Example {
        verdict: Verdict {
            schema: VERDICT_FORMAT.into(),
            scenario: String::new(),
            head_revision: None,
            base_revision: None,
            verdict: Outcome::Pass,
            advisory: false,
            exit_code: 0,
            reasons: Vec::new(),
            warnings: Vec::new(),
            metrics: Vec::new(),
            limits: Vec::new(),
            comparison: None,
            anchors: Vec::new(),
        },
        head: Vec::new(),
        base: Vec::new(),
        commands: Vec::new(),
    }
}

/// The regression of the reads, excused, and worse than an anchor.
fn waived() -> Example {
    let mut example = fixture::regression();
    let verdict = &mut example.verdict;
    let anchor = verdict.metrics.iter().filter(|metric| metric.gating);
    verdict.anchors.push(AnchorVerdict {
        name: "v1.0".into(),
        metrics: anchor.cloned().collect(),
    });
    for metric in &mut verdict.metrics {
        if metric.gating && metric.verdict == MetricOutcome::Regressed {
            metric.verdict = MetricOutcome::Waived;
            metric.waiver = Some(AppliedWaiver {
                metric: "load.reads.*".into(),
                allow: 0.2,
                reason: "the <old> index is still there".into(),
                expires: jiff::civil::date(2026, 12, 31),
                standing: Standing::Holds,
            });
        }
    }
    verdict.verdict = Outcome::Pass;
    verdict.reasons = vec![Reason::Waived {
        metric: "load.reads.p95".into(),
    }];
    verdict.warnings = vec![
        Warning::Crept {
            metric: "load.reads.p95".into(),
            anchor: "v1.0".into(),
        },
        Warning::WaiverExpired {
            metric: "load.writes.p95".into(),
            expires: jiff::civil::date(2026, 11, 1),
        },
        Warning::WaiverUnmatched {
            metric: "load.wriets.p95".into(),
        },
    ];
    example
}

/// What is excused is seen to be: the word, how much, until when and why, and the anchor beside it.
#[test]
fn waivers_and_anchors_are_shown() {
    let example = waived();
    insta::assert_snapshot!("terminal_waived", terminal::render(&example.input(), PLAIN));
    let page = html::render(&example.input());
    for part in [
        "waived",
        "until 2026-12-31",
        "the &lt;old&gt; index",
        "Changes against anchors",
        "Against anchor v1.0",
    ] {
        assert!(page.contains(part), "{part} is not on the page");
    }
}

fn only_benches() -> Example {
    let mut example = fixture::single();
    let measurement = &mut example.head[0].measurement;
    measurement.loads.clear();
    measurement.processes.clear();
    measurement.probes.clear();
    measurement.phases.clear();
    measurement.events.clear();
    example
}

/// Everything that comes from outside is as bad as it can be.
fn hostile() -> Example {
    let bad = "<script>alert('\"x\"')</script><img src=x onerror=alert(1)>\u{1b}[2J\u{1b}]0;t\u{7}\u{202e}\0 & 🚀";
    let name = |text: &mut String| *text = format!("{bad}{text}");
    let url = format!("GET /{}{bad}", "a".repeat(10_000));
    let spoil = |mut run: Run| {
        name(&mut run.scenario);
        name(&mut run.session);
        run.revision = Some(bad.into());
        name(&mut run.plimsoll_version);
        name(&mut run.fingerprint.cpu_model);
        for metric in &mut run.metrics {
            metric.name = format!("{}{bad}", metric.name);
        }
        let measurement = &mut run.measurement;
        for load in &mut measurement.loads {
            name(&mut load.name);
            name(&mut load.flow);
            for request in &mut load.requests {
                request.name.clone_from(&url);
                let tally = ErrorTally {
                    count: 3,
                    example: bad.repeat(50),
                };
                request.errors.insert(ErrorKind::Check, tally);
            }
            load.groups.push(GroupSeries {
                name: url.clone(),
                failed: u64::MAX,
                ..GroupSeries::default()
            });
            load.capacity = Some(CapacitySearch {
                holds: Some(100.0),
                breaks: Some(f64::MAX),
                trials: vec![CapacityTrial {
                    rate: 100.0,
                    achieved: 1e300,
                    error_rate: -1.0,
                    quantiles: vec![(0.5, u64::MAX), (-1.0, 0)],
                    outcome: TrialOutcome::Broke,
                    reason: bad.repeat(50),
                }],
            });
        }
        measurement
            .processes
            .iter_mut()
            .for_each(|process| name(&mut process.name));
        measurement
            .probes
            .iter_mut()
            .for_each(|probe| name(&mut probe.name));
        measurement
            .benches
            .iter_mut()
            .for_each(|bench: &mut BenchMeasurement| name(&mut bench.id));
        measurement.events.push(TimelineEvent {
            at_ns: 9_000_000_000,
            what: bad.into(),
        });
        run
    };
    let regression = fixture::regression();
    let gates = vec![
        fixture::gate(&format!("load.reads.p95{bad}"), Some(1e6), None, Some(0.05)),
        fixture::gate("bench.*", None, None, Some(0.05)),
    ];
    let mut example = fixture::judged(
        regression.base.into_iter().map(spoil).collect(),
        regression.head.into_iter().map(spoil).collect(),
        gates,
    );
    name(&mut example.verdict.scenario);
    example.commands.push(bad.into());
    let process = InvalidReason::ProcessExited {
        process: bad.into(),
        status: bad.into(),
        at_ns: -5,
        output: format!("{bad}\n{bad}"),
    };
    example.verdict.reasons.extend([
        Reason::InvalidRun {
            run: bad.into(),
            reason: process,
        },
        Reason::NotMeasurable {
            metric: bad.into(),
            reason: bad.into(),
            remedy: bad.into(),
        },
    ]);
    example
        .verdict
        .warnings
        .push(Warning::Note { text: bad.into() });
    example
}

/// A service that got slower moves dozens of metrics; the terminal says what its gates say.
#[test]
fn what_no_gate_names_fills_no_terminal() {
    let mut example = fixture::regression();
    let mut moved = example.verdict.metrics[0].clone();
    (moved.gating, moved.advisory, moved.margin) = (false, false, None);
    moved.verdict = MetricOutcome::Regressed;
    example.verdict.metrics.extend((0..30).map(|n| {
        let mut another = moved.clone();
        another.name = format!("load.reads.moved{n}");
        another
    }));
    let style = TerminalStyle {
        width: 120,
        ..PLAIN
    };
    let text = terminal::render(&example.input(), style);
    let told = text.matches("(regressed)").count() + text.matches("(improved)").count();
    assert_eq!(told, 6, "{text}");
    for metric in example.verdict.metrics.iter().filter(|it| it.gating) {
        assert!(text.contains(&metric.name), "{}: {text}", metric.name);
    }
}
