//! What CI systems read: held against the schemas of their formats, against what GitHub's runner makes of
//! it, and against a parser of Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use jiff::Timestamp;
use plimsoll::harness::compare::{Design, Settings, compare};
use plimsoll::harness::gate::{Evidence, MetricOutcome, Outcome, Policy, Reason, Verdict, judge};
use plimsoll::harness::model::{Arm, Direction, Metric, Run, RunId, Unit};
use plimsoll::harness::report::ci::{self, Answer, COMMENT_CHARS, Place, SUMMARY_BYTES, Told};
use plimsoll::harness::report::format;
use plimsoll::harness::scenario::GatePlan;
use pulldown_cmark::{Event, Options, Parser, Tag};
use quick_xml::events::Event as XmlEvent;
use quick_xml::{Reader, XmlVersion};
use serde_json::Value;

use super::fixture::{self, Example};
use super::support::files;
use super::{hostile, invalid, nothing, only_benches, searched, waived};

/// Names as bad as names can be.
const BAD: [&str; 12] = [
    "\"quotes\" 'and' `ticks` \\",
    "<img src=x onerror=alert(1)><!-- plimsoll:gate --><script>",
    "🚀 émoji \u{202e}\u{1b}[31m\0\u{fffe}",
    "two\nlines\r::error::three",
    "::add-mask::a ##[set-env name=a]b",
    "a%0A::warning::b%25",
    "]]>&amp;</testcase>",
    "@ada #7 GH-7 https://a.b www.a.b ![x](y) [x](javascript:y) $x$ |",
    "{0} {clients.id}",
    "    - 1. [ ] one\u{2028}two\u{200b}\u{e0041}\u{feff}",
    "12) a@b.co ~label %1 &2 $3 a\\|b",
    "\r::error::a\r\n::b ##[error]c",
];

#[test]
fn what_is_read_by_whom() {
    let all = all_outcomes();
    let redacted = |text: String| text.replace('\u{202f}', " ");
    insta::assert_snapshot!("ci_comment", redacted(ci::comment(&all, "gate", None)));
    insta::assert_snapshot!("ci_annotations", redacted(ci::annotations(&all)));
    insta::assert_snapshot!("ci_junit", redacted(ci::junit(&all)));
    insta::assert_snapshot!("ci_sarif", redacted(ci::sarif(&all, "0.1.0")));
    let one = [told(&fixture::regression())];
    let url = Some("https://example.org/page");
    insta::assert_snapshot!(
        "ci_comment_of_one",
        redacted(ci::comment(&one, "nightly", url))
    );
}

#[test]
fn a_summary_is_the_comment_without_its_marker() {
    for told in [&all_outcomes()[..], &[]] {
        let comment = ci::comment(told, "gate", None);
        let (marker, rest) = comment.split_once('\n').unwrap();
        assert_eq!(marker, "<!-- plimsoll:gate -->");
        assert_eq!(ci::summary(told, None, SUMMARY_BYTES), rest);
    }
}

#[test]
fn junit_is_what_its_readers_know() {
    for (name, told) in sets() {
        let text = ci::junit(&told);
        for schema in ["jenkins-junit-10.xsd", "ant-junit.xsd"] {
            assert_xml_valid(&text, schema, &name);
        }
        let suites = suites(&text);
        assert_eq!(suites.len(), told.len(), "{name}");
        for (suite, told) in suites.iter().zip(&told) {
            let names: BTreeSet<&String> = suite.cases.iter().map(|(case, _)| case).collect();
            assert_eq!(names.len(), suite.cases.len(), "{name}: one name twice");
            let count = |kind: &str| {
                let of_kind = suite.cases.iter().filter(|(_, outcome)| outcome == kind);
                of_kind.count().to_string()
            };
            assert_eq!(suite.attributes["tests"], suite.cases.len().to_string());
            for (attribute, kind) in [
                ("failures", "failure"),
                ("errors", "error"),
                ("skipped", "skipped"),
            ] {
                assert_eq!(suite.attributes[attribute], count(kind), "{name}");
            }
            let is_red = count("failure") != "0" || count("error") != "0";
            let expected = match &told.answer {
                Answer::Failed(_) => true,
                Answer::Verdict(it) => {
                    !it.advisory && matches!(it.verdict, Outcome::Fail | Outcome::Invalid)
                }
            };
            assert_eq!(is_red, expected, "{name}: {text}");
        }
    }
}

/// What became of each case, by its name.
#[test]
fn every_judged_thing_is_a_case() {
    let of = |example: &Example| -> BTreeMap<String, String> {
        let mut suites = suites(&ci::junit(&[told(example)]));
        suites.remove(0).cases.into_iter().collect()
    };
    let check = |cases: &BTreeMap<String, String>, name: &str, expected: &str| {
        assert_eq!(
            cases.get(name).map(String::as_str),
            Some(expected),
            "{name} in {cases:#?}"
        );
    };
    let cases = of(&fixture::regression());
    check(&cases, "measurement", "passed");
    check(&cases, "load.reads.p95 limit", "passed");
    check(&cases, "load.reads.p95 margin", "failure");
    check(&cases, "load.writes.p95 limit", "skipped");
    check(&cases, "load.writes.p95 margin", "skipped");
    check(&cases, "bench.cache/get_hot margin", "passed");
    assert!(
        !cases.contains_key("load.reads.p99 margin"),
        "nobody judges it"
    );
    let too_much = vec![fixture::gate("load.reads.p95", Some(1e6), None, None)];
    let broken = fixture::judged(Vec::new(), fixture::single().head, too_much);
    check(&of(&broken), "load.reads.p95 limit", "failure");
    check(&of(&excused()), "load.reads.p95 margin", "skipped");
    let cases = of(&invalid());
    check(&cases, "measurement", "error");
    check(&cases, "load.reads.p95 limit", "skipped");
    // With a margin and no base, or with a base that had to be there.
    let mut example = fixture::judged(
        Vec::new(),
        fixture::single().head,
        vec![fixture::gate(
            "load.reads.p95",
            Some(500e6),
            None,
            Some(0.05),
        )],
    );
    check(&of(&example), "baseline", "skipped");
    example.verdict.verdict = Outcome::NoBaseline;
    check(&of(&example), "baseline", "failure");
    // A gate on what neither arm has stands in no row of the verdict.
    let regression = fixture::regression();
    let nobodys = vec![fixture::gate("load.raeds.p95", None, None, Some(0.05))];
    let example = fixture::judged(regression.base, regression.head, nobodys);
    check(&of(&example), "load.raeds.p95 margin", "skipped");
}

#[test]
fn sarif_is_what_oasis_says() {
    let path = files::repository("tests/data/ci/sarif-schema-2.1.0.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, told) in sets() {
        let mut document: Value = serde_json::from_str(&ci::sarif(&told, "0.1.0")).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        let run = &document["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let mut seen = BTreeSet::new();
        for result in run["results"].as_array().unwrap() {
            let index = result["ruleIndex"].as_u64().unwrap() as usize;
            assert_eq!(result["ruleId"], rules[index]["id"]);
            let hash = &result["partialFingerprints"]["primaryLocationLineHash"];
            let is_new = seen.insert(hash.as_str().unwrap().to_owned());
            assert!(is_new, "{name}: two alerts would be one: {result:#}");
        }
        // A schema that takes anything would have passed all that.
        document["version"] = "3.0".into();
        assert!(!validator.is_valid(&document));
    }
}

#[test]
fn an_alert_is_known_again_and_leads_to_its_gate() {
    let results = |slower: f64| -> Vec<Value> {
        let arm = |arm, slower| {
            (1..=5)
                .map(|pair| fixture::run(arm, pair, slower, 1.0))
                .collect()
        };
        let gates = vec![fixture::gate("load.reads.p95", None, None, Some(0.05))];
        let example = fixture::judged(arm(Arm::Base, 1.0), arm(Arm::Head, slower), gates);
        let mut document: Value =
            serde_json::from_str(&ci::sarif(&[told(&example)], "0.1.0")).unwrap();
        serde_json::from_value(document["runs"][0]["results"].take()).unwrap()
    };
    let (today, tomorrow) = (results(1.3), results(1.5));
    assert_eq!((today.len(), tomorrow.len()), (1, 1));
    assert_ne!(today[0]["message"], tomorrow[0]["message"]);
    for key in ["ruleId", "partialFingerprints", "locations", "level"] {
        assert_eq!(today[0][key], tomorrow[0][key]);
    }
    let place = &today[0]["locations"][0]["physicalLocation"];
    assert_eq!(
        place["artifactLocation"]["uri"],
        "scenarios/mixed%20workload%23.toml"
    );
    assert_eq!(place["artifactLocation"]["uriBaseId"], "%SRCROOT%");
    assert_eq!(place["region"]["startLine"], 42);
    // A file that is nowhere in the repository.
    let mut elsewhere = told(&fixture::regression());
    if let Some(place) = &mut elsewhere.place {
        place.file = "/tmp/a b.toml".into();
    }
    let document: Value = serde_json::from_str(&ci::sarif(&[elsewhere], "0.1.0")).unwrap();
    let place = &document["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    let expected = serde_json::json!({ "uri": "file:///tmp/a%20b.toml" });
    assert_eq!(place["artifactLocation"], expected);
}

#[test]
fn what_is_void_is_no_result() {
    let document: Value = serde_json::from_str(&ci::sarif(&[told(&invalid())], "0.1.0")).unwrap();
    let run = &document["runs"][0];
    assert_eq!(run["results"], serde_json::json!([]));
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let said = &run["invocations"][0]["toolExecutionNotifications"][0];
    assert_eq!(
        (&said["level"], &said["descriptor"]["id"]),
        (&"error".into(), &"invalid_run".into())
    );
    let fine: Value =
        serde_json::from_str(&ci::sarif(&[told(&fixture::regression())], "0.1.0")).unwrap();
    assert_eq!(
        fine["runs"][0]["invocations"][0]["executionSuccessful"],
        true
    );
}

/// Markdown as a reader of it sees it: nothing hostile has become a part of its structure.
#[test]
fn nothing_hostile_is_markup() {
    for (name, told) in sets() {
        let comment = ci::comment(&told, "gate", None);
        let seen = Seen::of(&comment);
        assert_eq!(seen.html, ["<!-- plimsoll:gate -->\n"], "{name}");
        assert_eq!(seen.active, Vec::<String>::new(), "{name}");
        for text in &seen.texts {
            for (at, _) in text.match_indices(['@', '#']) {
                let after = text[at + 1..].chars().next();
                assert!(
                    !after.is_some_and(|c| c.is_ascii_alphanumeric()),
                    "{name}: a mention in {text}"
                );
            }
            let lower = text.to_lowercase();
            // That of GitHub needs no more than these to begin one.
            for linked in ["://", "www.", "gh-7"] {
                assert!(!lower.contains(linked), "{name}: a link in {text}");
            }
        }
        let unseen = ['\u{200b}', '\u{2028}', '\u{e0041}', '\u{feff}', '\u{202e}'];
        let control = |c: &char| (c.is_control() && *c != '\n') || unseen.contains(c);
        assert_eq!(comment.chars().find(control), None, "{name}");
    }
}

#[test]
fn every_row_has_every_column() {
    for (name, told) in sets() {
        let comment = ci::comment(&told, "gate", None);
        let mut columns = 0;
        for line in comment.lines() {
            let pipes = line.replace("\\|", "").matches('|').count();
            if line.starts_with("| metric") {
                columns = pipes;
                assert!([9, 10].contains(&pipes), "{name}: {line}");
            } else if line.starts_with('|') {
                assert_eq!(pipes, columns, "{name}: {line}");
            } else {
                assert_eq!(pipes, 0, "{name}: {line}");
            }
        }
    }
}

#[test]
fn a_comment_is_never_too_long() {
    let big = five_thousand();
    let times = |told: Vec<Told>, times| -> Vec<Told> { vec![told; times].concat() };
    let many = times(all_outcomes(), 100);
    let several = times(thousands(500), 5);
    for (told, filled, has_rows) in [
        (&big, 0.95, true),
        (&many, 0.6, false),
        (&several, 0.95, true),
    ] {
        let comment = ci::comment(told, "gate", None);
        let units = comment.encode_utf16().count();
        assert!(units <= COMMENT_CHARS, "{units}");
        // What fits is there.
        assert!(units as f64 > filled * COMMENT_CHARS as f64, "{units}");
        assert!(comment.contains("eft out"), "{comment}");
        assert!(comment.contains("\n| metric |") || !has_rows);
        for max in [0, 10, 100, 1000, 20_000, SUMMARY_BYTES] {
            let bytes = ci::summary(told, None, max).len();
            assert!(bytes <= max, "{bytes} of {max}");
        }
    }
    // Of metrics by the thousand the worst are those that are shown, and how many are not is right.
    let comment = ci::comment(&big, "gate", None);
    let rows: Vec<&str> = comment
        .lines()
        .filter(|line| line.starts_with("| `m."))
        .collect();
    assert!(rows.len() > 100, "{}", rows.len());
    assert!(rows.iter().all(|row| row.ends_with("| **regressed** |")));
    let left_out = format::count((5000 - rows.len()) as u64);
    let said = format!("Left out: 4,980 more reasons, {left_out} of 5,000 rows");
    assert!(comment.contains(&said), "no {said:?}");
}

/// Whoever wrote an artifact may have put any number anywhere.
#[test]
fn no_number_is_too_much() {
    let extremes = [
        serde_json::json!(0),
        serde_json::json!(-1),
        serde_json::json!(u64::MAX),
        serde_json::json!(5e-324),
        serde_json::json!(f64::MAX),
        serde_json::json!(f64::MIN),
    ];
    let (mut read, mut keys) = (0, BTreeSet::new());
    for told in all_outcomes() {
        let Answer::Verdict(verdict) = &told.answer else {
            continue;
        };
        let value = serde_json::to_value(&**verdict).unwrap();
        number_keys(&value, &mut keys);
        for (key, extreme) in keys
            .iter()
            .flat_map(|key| extremes.iter().map(move |it| (key, it)))
        {
            let mut value = value.clone();
            set_numbers(&mut value, key, extreme);
            // No count is negative, and nothing reads one that is.
            let Ok(verdict) = serde_json::from_value(value) else {
                continue;
            };
            read += 1;
            let told = [Told {
                answer: Answer::Verdict(Box::new(verdict)),
                ..told.clone()
            }];
            let comment = ci::comment(&told, "gate", None);
            assert!(comment.contains("\n### "), "{key} = {extreme}: {comment}");
            assert!(comment.len() < 20_000, "{key} = {extreme}: {comment}");
        }
    }
    assert!(keys.len() > 20 && read > 500, "{read} with {keys:?}");
}

/// The keys of a document whose values are numbers.
fn number_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::Number(_) => {
                        keys.insert(key.clone());
                    }
                    other => number_keys(other, keys),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| number_keys(item, keys)),
        _ => {}
    }
}

fn set_numbers(value: &mut Value, of: &str, number: &Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::Number(_) if key == of => *field = number.clone(),
                    other => set_numbers(other, of, number),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| set_numbers(item, of, number)),
        _ => {}
    }
}

#[test]
fn the_worst_comes_first() {
    let badges = |text: &str| -> Vec<String> {
        let heads = text.lines().filter_map(|line| line.strip_prefix("### "));
        heads
            .filter_map(|head| Some(head.split_once(':')?.0.to_owned()))
            .collect()
    };
    let comment = ci::comment(&all_outcomes(), "gate", None);
    assert_eq!(
        badges(&comment),
        [
            "NOT JUDGED",
            "INVALID",
            "FAIL",
            "INCONCLUSIVE",
            "PASS",
            "PASS",
            "PASS",
            "ADVISORY"
        ]
    );
}

/// What the runner of GitHub makes of a line, after its `ActionCommand.cs`.
#[test]
fn the_runner_finds_our_annotations_and_nothing_else() {
    for (name, told) in sets() {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut kinds = Vec::new();
        for line in ci::annotations(&told).lines() {
            let (kind, properties, data) =
                command(line).unwrap_or_else(|| panic!("{name}: {line}"));
            let known = ["file", "line", "title"];
            assert!(
                properties.keys().all(|key| known.contains(&&**key)),
                "{line}"
            );
            assert!(properties["title"].encode_utf16().count() <= 255);
            assert!(data.encode_utf16().count() <= 4096 && !data.is_empty());
            *counts.entry(kind.clone()).or_default() += 1;
            kinds.push(kind);
        }
        assert!(
            counts.values().all(|count| *count <= 10),
            "{name}: {counts:?}"
        );
        let sorted = ["error", "warning", "notice"];
        assert!(kinds.is_sorted_by_key(|kind| sorted.iter().position(|it| it == kind)));
    }
    let thousands = ci::annotations(&five_thousand());
    assert!(thousands.contains("title=4991 more::"), "{thousands}");
}

#[test]
fn an_annotation_says_what_was_said() {
    let mut example = fixture::regression();
    for metric in &mut example.verdict.metrics {
        metric.name = metric.name.replace("load.reads.p95", BAD[5]);
    }
    example.verdict.reasons = vec![Reason::Regressed {
        metric: BAD[5].into(),
    }];
    let annotations = ci::annotations(&[told(&example)]);
    let (kind, properties, data) = command(annotations.lines().next().unwrap()).unwrap();
    assert_eq!(kind, "error");
    assert_eq!(properties["file"], "scenarios/mixed workload#.toml");
    assert_eq!(properties["title"], "mixed-workload: regressed");
    assert!(data.starts_with("a%0A::warning::b%25 is "), "{data}");
    assert!(data.ends_with("reads that of the base."), "{data}");
}

/// Every outcome, each of a scenario of its own.
fn all_outcomes() -> Vec<Told> {
    static MADE: LazyLock<Vec<Told>> = LazyLock::new(made_outcomes);
    MADE.clone()
}

fn made_outcomes() -> Vec<Told> {
    let mut advisory = fixture::regression();
    advisory.verdict.advisory = true;
    let failed = Told {
        scenario: "broken".into(),
        answer: Answer::Failed(
            "building broken of the head: `make` failed; its last lines:\ncc -c a.c\na.c:1: error: <b>"
                .into(),
        ),
        place: None,
        ..told(&fixture::single())
    };
    let examples = [
        ("fine", fixture::single()),
        ("slower", fixture::regression()),
        ("unsure", inconclusive()),
        ("void", invalid()),
        ("new", advisory),
        ("excused", excused()),
        ("load-line", capacity()),
    ];
    let told = |(scenario, mut example): (&str, Example)| {
        scenario.clone_into(&mut example.verdict.scenario);
        told(&example)
    };
    examples.into_iter().map(told).chain([failed]).collect()
}

/// What every output has to bear.
fn sets() -> Vec<(String, Vec<Told>)> {
    let mut sets = vec![
        ("all outcomes".to_owned(), all_outcomes()),
        ("no base".to_owned(), vec![told(&no_base())]),
        ("only benches".to_owned(), vec![told(&only_benches())]),
        ("nothing measured".to_owned(), vec![told(&nothing())]),
        ("hostile runs".to_owned(), vec![told(&hostile())]),
        ("a search".to_owned(), vec![told(&searched::searched())]),
        ("hundreds".to_owned(), thousands(500)),
    ];
    for bad in BAD.into_iter().map(str::to_owned).chain([long_name()]) {
        let short: String = bad.chars().take(40).collect();
        sets.push((format!("named {short:?}"), named(&bad)));
    }
    sets.push(("no scenario at all".to_owned(), Vec::new()));
    sets
}

fn long_name() -> String {
    format!("GET /{}", "a|`🚀<".repeat(1700))
}

/// Whatever can have a name has this one, in every kind of answer.
fn named(bad: &str) -> Vec<Told> {
    let spoil = |mut told: Told| {
        told.scenario = bad.to_owned();
        told.page = Some(bad.to_owned());
        if let Some(place) = &mut told.place {
            place.file = bad.to_owned();
        }
        match &mut told.answer {
            Answer::Failed(why) => *why = bad.to_owned(),
            Answer::Verdict(verdict) => spoil_verdict(verdict, bad),
        }
        told
    };
    all_outcomes().into_iter().map(spoil).collect()
}

/// Puts a name in the place of every text of a verdict that comes from outside.
fn spoil_verdict(verdict: &mut Verdict, bad: &str) {
    let mut value = serde_json::to_value(&*verdict).unwrap();
    spoil_texts(&mut value, bad);
    *verdict = serde_json::from_value(value).unwrap();
}

fn spoil_texts(value: &mut Value, bad: &str) {
    // Texts by which a reader knows what it has before it, or that are no texts.
    const KEPT: [&str; 12] = [
        "schema",
        "verdict",
        "kind",
        "unit",
        "better",
        "state",
        "design",
        "arm",
        "expires",
        "base_runs",
        "head_runs",
        "standing",
    ];
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    _ if KEPT.contains(&key.as_str()) => {}
                    Value::String(text) => *text = format!("{text}{bad}"),
                    other => spoil_texts(other, bad),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| match item {
            Value::String(text) => *text = format!("{text}{bad}"),
            other => spoil_texts(other, bad),
        }),
        _ => {}
    }
}

fn told(example: &Example) -> Told {
    let gates = [
        ("bench.*", 60),
        ("load.reads.*", 50),
        ("load.reads.p95", 42),
    ];
    Told {
        scenario: example.verdict.scenario.clone(),
        answer: Answer::Verdict(Box::new(example.verdict.clone())),
        place: Some(Place {
            file: "scenarios/mixed workload#.toml".into(),
            gates: gates.map(|(gate, line)| (gate.to_owned(), line)).to_vec(),
        }),
        at: "2026-11-20T10:00:00Z".parse::<Timestamp>().unwrap(),
        measured_ns: 413_000_000_000,
        page: Some("reports/mixed-workload/today.html".into()),
    }
}

/// What regressed is waived, and no limit is broken.
fn excused() -> Example {
    let mut example = waived();
    let limits = &mut example.verdict.limits;
    limits.retain(|limit| limit.holds != Some(false));
    example
}

/// Two pairs say too little.
fn inconclusive() -> Example {
    let arm = |arm, slower| {
        (1..=2)
            .map(|pair| fixture::run(arm, pair, slower, 1.0))
            .collect()
    };
    let gates = vec![fixture::gate("load.reads.p50", None, None, Some(0.001))];
    let example = fixture::judged(arm(Arm::Base, 1.0), arm(Arm::Head, 1.0), gates);
    assert_eq!(example.verdict.verdict, Outcome::Inconclusive);
    example
}

fn no_base() -> Example {
    fixture::judged(
        Vec::new(),
        fixture::single().head,
        vec![fixture::gate("load.reads.p95", None, None, Some(0.05))],
    )
}

/// Five pairs in which the highest rate that holds stayed what it is.
fn capacity() -> Example {
    let run = |arm, pair: u32, rate: f64| {
        let mut run = fixture::run(arm, pair, 1.0, 1.0);
        let (unit, better) = (Unit::PerSecond, Direction::Higher);
        let rate = rate + f64::from(pair);
        run.metrics = vec![Metric::single(
            "load.reads.capacity",
            unit,
            better,
            rate,
            1000,
        )];
        run
    };
    let arm = |arm, rate| -> Vec<Run> { (1..=5).map(|pair| run(arm, pair, rate)).collect() };
    fixture::judged(
        arm(Arm::Base, 1000.0),
        arm(Arm::Head, 1001.0),
        vec![fixture::gate(
            "load.reads.capacity",
            None,
            Some(500.0),
            Some(0.05),
        )],
    )
}

/// A verdict on as many metrics as anybody has, made once.
fn five_thousand() -> Vec<Told> {
    static MADE: LazyLock<Vec<Told>> = LazyLock::new(|| thousands(5000));
    MADE.clone()
}

/// Pairs with so many metrics, all of which got worse.
fn thousands(count: usize) -> Vec<Told> {
    let run = |arm, pair: u32, factor: f64| {
        let metric = |at: usize| {
            let value = (1e6 + f64::from(pair) * 1e3) * factor;
            let name = format!("m.GET /api/{at:05}/<b>\"|🚀.p95");
            Metric::single(name, Unit::Nanoseconds, Direction::Lower, value, 10_000)
        };
        Run {
            arm: Some(arm),
            pair: Some(pair),
            ..Run::imported(RunId::now(), "s".into(), (0..count).map(metric).collect())
        }
    };
    let arm = |arm, factor| -> Vec<Run> { (1..=3).map(|pair| run(arm, pair, factor)).collect() };
    let (base, head) = (arm(Arm::Base, 1.0), arm(Arm::Head, 1.2));
    let comparison = compare(&base, &head, &Settings::new(Design::Paired));
    let policy = Policy {
        gates: vec![GatePlan {
            regress: Some(0.05),
            ..GatePlan::on("m.*")
        }],
        ..Policy::default()
    };
    let evidence = Evidence {
        base: &base,
        head: &head,
        comparison: Some(&comparison),
    };
    let verdict = judge(&policy, &evidence);
    let regressed = |it: &&_| matches!(it, MetricOutcome::Regressed);
    let outcomes: Vec<_> = verdict
        .metrics
        .iter()
        .map(|metric| metric.verdict)
        .collect();
    assert_eq!(outcomes.iter().filter(regressed).count(), count);
    vec![Told {
        scenario: String::new(),
        answer: Answer::Verdict(Box::new(verdict)),
        ..told(&fixture::single())
    }]
}

/// What a reader of Markdown finds.
#[derive(Default)]
struct Seen {
    html: Vec<String>,
    /// Links, images, footnotes, formulas: whatever does something.
    active: Vec<String>,
    /// Text outside of code.
    texts: Vec<String>,
}

impl Seen {
    fn of(markdown: &str) -> Self {
        let mut seen = Self::default();
        for event in Parser::new_ext(markdown, Options::all()) {
            match event {
                Event::Html(html) | Event::InlineHtml(html) => seen.html.push(html.into_string()),
                Event::Start(
                    tag @ (Tag::Link { .. }
                    | Tag::Image { .. }
                    | Tag::FootnoteDefinition(_)
                    | Tag::CodeBlock(_)
                    | Tag::MetadataBlock(_)
                    | Tag::DefinitionList),
                ) => seen.active.push(format!("{tag:?}")),
                Event::FootnoteReference(text)
                | Event::InlineMath(text)
                | Event::DisplayMath(text) => seen.active.push(text.into_string()),
                Event::TaskListMarker(_) => seen.active.push("a task".into()),
                Event::Start(Tag::List(Some(_))) => seen.active.push("a numbered list".into()),
                Event::Text(text) => seen.texts.push(text.into_string()),
                _ => {}
            }
        }
        seen
    }
}

/// A workflow command: its name, its properties and its data, as the runner reads them.
fn command(line: &str) -> Option<(String, BTreeMap<String, String>, String)> {
    let rest = line.trim_start().strip_prefix("::")?;
    let (info, data) = rest.split_once("::")?;
    let (name, properties) = info.split_once(' ').unwrap_or((info, ""));
    let unescaped = |text: &str, also: &[(&str, &str)]| {
        let pairs = [("%0D", "\r"), ("%0A", "\n")];
        let mut text = text.to_owned();
        for (from, to) in pairs.iter().chain(also).chain(&[("%25", "%")]) {
            text = text.replace(from, to);
        }
        text
    };
    let properties = properties.split(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = unescaped(value, &[("%3A", ":"), ("%2C", ",")]);
        Some((key.to_owned(), value))
    });
    Some((name.to_owned(), properties.collect(), unescaped(data, &[])))
}

struct Suite {
    attributes: BTreeMap<String, String>,
    /// The name of each case, and `passed` or the element within it.
    cases: Vec<(String, String)>,
}

/// The suites of a document, read by a parser.
fn suites(text: &str) -> Vec<Suite> {
    let mut reader = Reader::from_str(text);
    let mut suites: Vec<Suite> = Vec::new();
    loop {
        let event = reader.read_event().unwrap();
        let (XmlEvent::Start(element) | XmlEvent::Empty(element)) = &event else {
            match event {
                XmlEvent::Eof => return suites,
                _ => continue,
            }
        };
        let attributes: BTreeMap<String, String> = element
            .attributes()
            .map(|attribute| {
                let attribute = attribute.unwrap();
                let value = attribute.normalized_value(XmlVersion::Explicit1_0).unwrap();
                (attribute.key.0.to_owned(), value.into_owned())
            })
            .collect();
        match element.name().0 {
            "testsuite" => suites.push(Suite {
                attributes,
                cases: Vec::new(),
            }),
            "testcase" => {
                let name = attributes["name"].clone();
                let suite = suites.last_mut().unwrap();
                suite.cases.push((name, "passed".to_owned()));
            }
            outcome @ ("failure" | "error" | "skipped") => {
                assert!(!attributes["message"].is_empty());
                let case = suites.last_mut().unwrap().cases.last_mut().unwrap();
                case.1 = outcome.to_owned();
            }
            _ => {}
        }
    }
}

/// Demands that a document is what `tests/data/ci/SCHEMA` says.
fn assert_xml_valid(text: &str, schema: &str, what: &str) {
    let schema = files::repository(&format!("tests/data/ci/{schema}"));
    let mut xmllint = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .arg(schema)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xmllint, of Debian's libxml2-utils: tests/run.sh installs it");
    let mut stdin = xmllint.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = xmllint.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {:.2000}", said);
}
